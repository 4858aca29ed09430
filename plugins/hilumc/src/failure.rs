//! What goes wrong, for the person at the keyboard: one text that says what was done, what was found and the way out.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::path::Path;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(story: impl Into<String>) -> Failure {
        Failure(story.into())
    }

    /// An error and what caused it, to the root.
    pub(crate) fn of(error: &dyn Error) -> Failure {
        let causes = iter::successors(Some(error), |&error| error.source());
        Failure(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
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
