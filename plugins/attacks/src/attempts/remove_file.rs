//! Removes a file.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.remove_file(given.text("path")?) {
        Ok(()) => Outcome::Pass,
        Err(error) => met(error),
    })
}
