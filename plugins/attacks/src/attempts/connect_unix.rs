//! Connects to a socket in the file system, or one that has only a name.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.connect_unix(given.text("path")?) {
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
