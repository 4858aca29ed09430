//! Writes a file, in each of the ways there are.

use hilum_plugin::{Host, Outcome, WriteMode};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let path = given.text("path")?;
    let mut told = Vec::new();
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::Create] {
        match host.write_file(path, b"taken over", mode) {
            Ok(()) => return Ok(Outcome::Pass),
            Err(error) => told.push(error),
        }
    }
    Ok(met(told))
}
