//! Counting what `cargo test` reports. A test that was skipped counts as failed, and so does a run in which nothing ran: both
//! look like success and prove nothing.

use std::process::Command;

use crate::process;

/// Lines of what a failed test printed that are shown; the rest is in the log.
const STORY: usize = 30;

/// Tests that passed and failed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// What each failed test printed, to be shown last, where it is found.
    pub(crate) stories: Vec<String>,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.stories.extend(other.stories);
    }
}

impl Tally {
    /// One check that is not a cargo test.
    pub(crate) fn of(success: bool) -> Tally {
        Tally { passed: u64::from(success), failed: u64::from(!success), stories: Vec::new() }
    }
}

/// Runs a `cargo test` and counts; what failed is named, and told by the stories of the count.
///
/// **Errors:** cargo could not be started.
pub(crate) fn run(title: &str, cargo: &mut Command) -> Result<Tally, String> {
    let ended = process::watch(title, cargo)?;
    let tally = judge(&ended.output, ended.success);
    if tally.failed > 0 {
        let failed: Vec<&str> =
            ended.output.lines().filter(|line| line.ends_with("... FAILED") || line.ends_with("... ignored")).collect();
        let reason = if ended.success { "a test was skipped, or none ran" } else { ended.complaint.as_str() };
        process::say(&format!("{title}: {reason}\n{}", failed.join("\n")));
    }
    process::say(&format!("{title}: {} passed, {} failed", tally.passed, tally.failed));
    Ok(tally)
}

/// Runs a `cargo test` for a verb of its own, which fails when a test does.
pub(crate) fn require(title: &str, cargo: &mut Command) -> Result<(), String> {
    let tally = run(title, cargo)?;
    if tally.failed == 0 {
        Ok(())
    } else {
        Err(format!("{} passed, {} failed\n{}", tally.passed, tally.failed, tally.stories.join("\n")))
    }
}

fn judge(output: &str, success: bool) -> Tally {
    let mut tally = output.lines().filter_map(parse).fold(Tally::default(), |mut sum, one| {
        sum += one;
        sum
    });
    tally.stories = stories(output);
    if tally.failed == 0 && (!success || tally.passed == 0) {
        tally.failed = 1;
    }
    tally
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn parse(line: &str) -> Option<Tally> {
    let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for count in counts.split("; ") {
        let (number, what) = count.split_once(' ')?;
        match what {
            "passed" => tally.passed += number.parse::<u64>().ok()?,
            "failed" | "ignored" => tally.failed += number.parse::<u64>().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

/// What failed tests printed: from `---- NAME stdout ----` to the next such line, or to the list of names that follows the last.
fn stories(output: &str) -> Vec<String> {
    let mut stories = Vec::new();
    let mut story: Option<Vec<&str>> = None;
    for line in output.lines() {
        let begins = line.starts_with("---- ") && line.ends_with(" stdout ----");
        if begins || line == "failures:" {
            stories.extend(story.take().map(|lines| lines.join("\n")));
        }
        if begins {
            story = Some(Vec::new());
        }
        if let Some(lines) = story.as_mut().filter(|lines| lines.len() < STORY && !line.is_empty()) {
            lines.push(line);
        }
    }
    stories
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed, stories: Vec::new() }
    }

    const OK: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s";

    #[test]
    fn sums_every_binary() {
        let output = format!("running 3 tests\n{OK}\nnoise\n{OK}\n");
        assert_eq!(judge(&output, true), counted(6, 0));
    }

    #[test]
    fn a_skipped_test_is_a_failed_one() {
        let line = "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(judge(line, true), counted(3, 2));
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.19s";
        assert_eq!(judge(line, false), counted(1, 2));
    }

    #[test]
    fn silence_is_no_success() {
        assert_eq!(judge("", true), counted(0, 1));
        assert_eq!(judge(OK, false), counted(3, 1));
    }

    #[test]
    fn a_failed_test_tells_its_story() {
        let noise = "again\n".repeat(100);
        let output = format!(
            "failures:\n\n---- one stdout ----\n\nthread 'one' panicked\nit said no\n\n---- two stdout ----\n{noise}\nfailures:\n    one\n    two\n"
        );
        let told = judge(&output, false).stories;
        assert_eq!(told.len(), 2);
        assert_eq!(told.first().map(String::as_str), Some("---- one stdout ----\nthread 'one' panicked\nit said no"));
        assert_eq!(told.last().map(|story| story.lines().count()), Some(STORY));
    }
}
