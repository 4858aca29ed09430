//! Answers with a long reason.

use hilum_plugin::{Host, Outcome};

use super::Tried;
use crate::given::Given;

pub(super) fn attempt(given: &Given, _: &impl Host) -> Tried {
    Ok(Outcome::Fail("\u{1b}reason".repeat(given.size("repeat")?)))
}
