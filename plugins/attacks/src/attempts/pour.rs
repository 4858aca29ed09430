//! Writes to a peer that does not read, until it may not any more.

use hilum_plugin::Host;

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let drop = vec![0; given.size("size")?];
    match host.connect(given.text("host")?, given.port("port")?) {
        Ok(mut connection) => loop {
            if let Err(error) = connection.write(&drop) {
                return Ok(met(error));
            }
        },
        Err(error) => Ok(met(error)),
    }
}
