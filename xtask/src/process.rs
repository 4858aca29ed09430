//! Running other programs: one progress line each, their output kept in `target/log` and shown only when they fail.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::workspace;

/// How often a long step says that it still runs. Shorter fills CI's log, longer and CI may think it hangs.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Lines of a failed program's output that are shown; the rest is in the log it names.
const TAIL: usize = 60;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// Everything it wrote, both streams in the order written.
    pub(crate) output: String,
    /// What to tell whoever asked for it, should it have failed.
    pub(crate) complaint: String,
}

/// Prints a progress line.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "hilum: {line}");
}

/// Runs a program to its end.
///
/// **Errors:** it could not be started, or it failed: the end of its output, and where all of it is.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<String, String> {
    let ended = watch(title, command)?;
    if ended.success { Ok(ended.output) } else { Err(ended.complaint) }
}

/// Runs a program to its end, which may be a failure.
///
/// **Errors:** it could not be started.
pub(crate) fn watch(title: &str, command: &mut Command) -> Result<Ended, String> {
    let log = log_path(title);
    let folder = log.parent().unwrap_or(&log);
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", workspace::shorten(folder)))?;
    let file = File::create(&log).map_err(|error| format!("cannot write {}: {error}", workspace::shorten(&log)))?;
    let again = file.try_clone().map_err(|error| format!("cannot copy a descriptor: {error}"))?;
    let words = spell(command);

    say(title);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(again)
        .spawn()
        .map_err(|error| format!("cannot run {words}: {error}"))?;
    let (done, waiting) = mpsc::channel::<()>();
    let status = thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                say(&format!("{title}: still running after {}", elapsed(start)));
            }
        });
        let status = child.wait();
        drop(done);
        status
    })
    .map_err(|error| format!("cannot wait for {words}: {error}"))?;

    let output = String::from_utf8_lossy(&workspace::read(&log)?).into_owned();
    if start.elapsed() > Duration::from_secs(5) {
        say(&format!("{title}: {} after {}", if status.success() { "done" } else { "failed" }, elapsed(start)));
    }
    let complaint = format!(
        "{title} failed ({status})\n{}\n  ran: {words}\n  all of it: {}",
        tail(&output),
        workspace::shorten(&log)
    );
    Ok(Ended { success: status.success(), output, complaint })
}

/// Runs a program for what it prints, with no line of progress.
///
/// **Errors:** it could not be started, or it failed.
pub(crate) fn ask(command: &mut Command) -> Result<String, String> {
    let words = spell(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {words}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{words} failed ({}): {}", output.status, tail(&said).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{words} printed what is not UTF-8"))
}

/// Minutes and seconds since.
pub(crate) fn elapsed(start: Instant) -> String {
    let seconds = start.elapsed().as_secs();
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

fn spell(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for word in command.get_args() {
        text.push(' ');
        text.push_str(&word.to_string_lossy());
    }
    text
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL);
    let mut text = String::new();
    if skipped > 0 {
        text.push_str(&format!("  … {skipped} lines before\n"));
    }
    for line in lines.iter().skip(skipped) {
        text.push_str("  | ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A file name made of the title's letters and digits.
fn log_path(title: &str) -> PathBuf {
    let name: String = title
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let name: String = name.trim_matches('-').chars().take(80).collect();
    workspace::target().join("log").join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_the_output() -> Result<(), String> {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 100; echo oops >&2; exit 3"]);
        let ended = watch("xtask test: a failure", &mut command)?;
        assert!(!ended.success);
        assert!(ended.complaint.contains("exit status: 3"), "{}", ended.complaint);
        assert!(ended.complaint.contains("| oops"), "{}", ended.complaint);
        assert!(ended.complaint.contains("… 41 lines before"), "{}", ended.complaint);
        assert!(ended.output.starts_with("1\n2\n"));
        Ok(())
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = ask(&mut Command::new("/nowhere/at-all")).err().unwrap_or_default();
        assert!(error.starts_with("cannot run /nowhere/at-all: "), "{error}");
    }
}
