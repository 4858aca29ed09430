//! Connects over TCP, and says something to whoever is there.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    Ok(match host.connect(given.text("host")?, given.port("port")?) {
        Ok(mut connection) => match connection.write(b"let me in") {
            Ok(()) => Outcome::Pass,
            Err(error) => met(error),
        },
        Err(error) => met(error),
    })
}
