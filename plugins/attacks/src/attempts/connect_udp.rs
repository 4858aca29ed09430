//! Sends a datagram.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.connect_udp(given.text("host")?, given.port("port")?) {
        Ok(mut socket) => match socket.send(b"let me in") {
            Ok(()) => Outcome::Pass,
            Err(error) => met(error),
        },
        Err(error) => met(error),
    })
}
