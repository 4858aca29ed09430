//! Why a test failed, for people: the text is shown as it is, line breaks included.

use std::fmt::{self, Debug, Display};

/// The outcome of a test.
pub(crate) type Check = Result<(), Failure>;

/// What went wrong.
pub(crate) struct Failure(String);

/// A failure with these words.
pub(crate) fn fail<T>(text: impl Display) -> Result<T, Failure> {
    Err(Failure(text.to_string()))
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        Failure(text)
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being done to an error.
pub(crate) trait Context<T> {
    fn context(self, doing: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{doing}: {}", error.into())))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure(doing.to_string()))
    }
}

/// Fails the test unless the two are equal, with words that say what they are.
pub(crate) fn same<T: PartialEq + Debug>(what: impl Display, found: T, wanted: T) -> Check {
    if found == wanted { Ok(()) } else { fail(format!("{what}:\n   found {found:?}\n  wanted {wanted:?}")) }
}

/// Fails the test unless this is true.
pub(crate) fn holds(what: impl Display, is: bool) -> Check {
    if is { Ok(()) } else { fail(what) }
}
