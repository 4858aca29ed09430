//! Mistakes and their places: what people read when a plan is wrong. All are collected and none stops the search for
//! the next.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Most characters of a found value that a message repeats. Long enough for a command or a URL, short enough for a
/// line.
const SHOWN: usize = 60;

/// What is wrong with a value and how to put it right, without a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// What was found: `"10" has no unit`.
    pub problem: String,
    /// The way out: `write "10s"`.
    pub remedy: String,
}

impl Mistake {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Mistake {
        Mistake { problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl std::error::Error for Mistake {}

/// One mistake in a plan. Displays as `/etc/hilum.toml:7:42: service.web.stop.grace-period: "10" has no unit; write
/// "10s"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The plan's file, as it was named.
    pub origin: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1 in characters.
    pub column: usize,
    /// The key it is about, as `service.web.command`; empty where the text is not TOML.
    pub key: String,
    /// What was found, and the way out.
    pub mistake: Mistake,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.origin.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.mistake.fmt(f)
    }
}

impl std::error::Error for Diagnostic {}

/// A mistake at a byte of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) key: String,
    pub(crate) mistake: Mistake,
}

/// The diagnostics for `faults`, in order of place.
pub(crate) fn locate(text: &str, origin: &Path, mut faults: Vec<Fault>) -> Vec<Diagnostic> {
    faults.sort_by_key(|fault| fault.at);
    let mut rest = text.char_indices().peekable();
    let (mut line, mut column) = (1, 1);
    // One walk for all: a long line full of mistakes must not be walked once for each.
    let place = |fault: Fault| {
        while let Some((_, character)) = rest.next_if(|(offset, _)| *offset < fault.at) {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        Diagnostic { origin: origin.to_path_buf(), line, column, key: fault.key, mistake: fault.mistake }
    };
    faults.into_iter().map(place).collect()
}

/// `text` in double quotes for a message: cut to one line's worth, control characters escaped.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
    }
}

/// Key path elements joined with points; an element that TOML would not take bare is quoted.
pub(crate) fn join<T: AsRef<str>>(path: &[T]) -> String {
    let mut joined = String::new();
    for (index, element) in path.iter().enumerate() {
        let element = element.as_ref();
        if index > 0 {
            joined.push('.');
        }
        let bare = !element.is_empty() && element.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if bare {
            joined.push_str(element);
        } else {
            joined.push_str(&quote(element));
        }
    }
    joined
}

/// `"a", "b" or "c"`.
pub(crate) fn alternatives<T: AsRef<str>>(words: &[T]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == words.len() { " or " } else { ", " });
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{:?}", word.as_ref());
    }
    text
}

/// The candidate nearest to `typed`, if it is near enough for a slip of the finger.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any name of ours: no slip, and not worth a quadratic comparison.
    if typed.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let best = if a == b { diagonal } else { 1 + diagonal.min(*cell).min(before) };
            diagonal = *cell;
            *cell = best;
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Fault, Mistake, alternatives, distance, join, locate, nearest, quote};
    use std::path::Path;

    #[test]
    fn places_count_characters_from_one() {
        let text = "a = 1\nä = \"ü\" x\n";
        let fault = |at| Fault { at, key: String::from("k"), mistake: Mistake::new("p", "r") };
        let places = locate(text, Path::new("/p.toml"), vec![fault(text.len()), fault(0), fault(14), fault(6)]);
        let found: Vec<String> = places.iter().map(ToString::to_string).collect();
        let expected = ["/p.toml:1:1: k: p; r", "/p.toml:2:1: k: p; r", "/p.toml:2:7: k: p; r", "/p.toml:3:1: k: p; r"];
        assert_eq!(found, expected);
    }

    #[test]
    fn found_values_stay_on_one_short_line() {
        assert_eq!(quote("a\n\u{1b}[31m"), r#""a\n\u{1b}[31m""#);
        assert_eq!(quote(&"x".repeat(61)), format!("\"{}\"…", "x".repeat(60)));
        assert_eq!(join(&["service", "a.b", "x-y"]), "service.\"a.b\".x-y");
        assert_eq!(alternatives(&["a", "b", "c"]), r#""a", "b" or "c""#);
    }

    #[test]
    fn slips_are_recognised_and_guesses_are_not_made() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("comand", ["command", "env"].into_iter()), Some("command"));
        assert_eq!(nearest("grace_period", ["grace-period"].into_iter()), Some("grace-period"));
        assert_eq!(nearest("user", ["ttl", "env"].into_iter()), None);
    }
}
