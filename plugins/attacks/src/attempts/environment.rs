//! Reads a variable.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.environment(given.text("name")?) {
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
