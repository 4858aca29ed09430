//! Opens connections or sockets and never drops one.

use hilum_plugin::{Host, NetworkError, Outcome, SettingsError};

use super::{Tried, stopped};
use crate::given::Given;

/// As many as one call may have open, as `wit/host/tcp.wit` says.
const MOST: u32 = 16;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let times = given.number("times")?;
    let opened = match given.text("kind")? {
        "tcp" => {
            let (peer, port) = (given.text("host")?, given.port("port")?);
            hoard(times, || host.connect(peer, port))
        }
        "udp" => {
            let (peer, port) = (given.text("host")?, given.port("port")?);
            hoard(times, || host.connect_udp(peer, port))
        }
        "unix" => {
            let path = given.text("path")?;
            hoard(times, || host.connect_unix(path))
        }
        _ => return Err(SettingsError::new("kind", "write tcp, udp or unix")),
    };
    Ok(if opened > MOST { Outcome::Pass } else { stopped(&format!("{opened} opened")) })
}

/// How many of so many could be opened.
fn hoard<T>(times: u32, open: impl Fn() -> Result<T, NetworkError>) -> u32 {
    let mut opened: u32 = 0;
    for _ in 0..times {
        if let Ok(kept) = open() {
            std::mem::forget(kept);
            opened = opened.saturating_add(1);
        }
    }
    opened
}
