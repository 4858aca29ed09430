//! Reads a file.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.read_file(given.text("path")?, 0, 64) {
        Ok(bytes) if bytes.is_empty() => stopped("it was empty"),
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
