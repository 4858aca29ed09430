//! Lists a directory.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.list_directory(given.text("path")?) {
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
