//! What goes wrong, for the person at the keyboard: one text that says what was done, what was found and the way out.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(story: impl Into<String>) -> Failure {
        Failure(story.into())
    }

    /// A file operation that failed; `action` fits after "cannot".
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Failure {
        Failure(format!("cannot {action} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
