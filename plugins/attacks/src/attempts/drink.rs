//! Reads from a peer that never stops, for as long as there is time.

use hilum_plugin::Host;

use super::{Tried, met, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let mut connection = match host.connect(given.text("host")?, given.port("port")?) {
        Ok(connection) => connection,
        Err(error) => return Ok(met(error)),
    };
    let mut bytes: usize = 0;
    while host.remaining_ms() > 0 {
        match connection.read(u32::MAX) {
            Ok(read) => bytes = bytes.saturating_add(read.len()),
            Err(error) => return Ok(stopped(&format!("{bytes} bytes, then {error}"))),
        }
    }
    Ok(stopped(&format!("{bytes} bytes")))
}
