//! Opens connections or sockets and drops each at once.

use hilum_plugin::{Host, NetworkError, SettingsError};

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let (times, peer, port) = (given.number("times")?, given.text("host")?, given.port("port")?);
    let opened = match given.text("kind")? {
        "tcp" => churn(times, || host.connect(peer, port)),
        "udp" => churn(times, || host.connect_udp(peer, port)),
        _ => return Err(SettingsError::new("kind", "write tcp or udp")),
    };
    Ok(stopped(&format!("{opened} opened")))
}

/// How many of so many could be opened.
fn churn<T>(times: u32, open: impl Fn() -> Result<T, NetworkError>) -> u32 {
    (0..times).fold(0, |opened, _| opened.saturating_add(u32::from(open().is_ok())))
}
