//! Lists processes.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(_: &Given, host: &impl Host) -> Tried {
    Ok(match host.processes() {
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
