//! Reads from a peer that says nothing, and does not take a time-out for an answer.

use hilum_plugin::Host;

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    match host.connect(given.text("host")?, given.port("port")?) {
        Ok(mut connection) => loop {
            connection.read(u32::MAX).unwrap_or_default();
        },
        Err(error) => Ok(met(error)),
    }
}
