//! Probe: whether someone accepts a connection to a socket in the file system and, if asked, whether the first bytes are the right ones.
//!
//! What each setting means is said in the README; what is a failure and what is unknown is
//! [`NetworkError::outcome`](hilum_plugin::NetworkError::outcome)'s rule. What is said on the connection is [`Exchange`]'s, as for TCP.
#![forbid(unsafe_code)]

use std::fmt;

use hilum_plugin::{Description, Exchange, Grant, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

/// Longest path of a socket. **Units:** bytes. **Source:** unix(7), less the final NUL.
const MAX_PATH: usize = 107;

/// The plugin.
#[derive(Debug)]
pub struct ProbeUnix;

impl Plugin for ProbeUnix {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-unix",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "connect", value: None, reason: "unix: and the path of the settings" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let path = settings.required("path", "path = \"/run/app.sock\"")?;
        let place = path.path()?;
        if place.len() > MAX_PATH {
            return Err(path.error(format_args!(
                "has {} bytes, and the path of a socket at most {MAX_PATH}; give the socket a shorter one",
                place.len()
            )));
        }
        Ok(Target { path: place.to_owned(), exchange: Exchange::read(settings)? })
    }
}

impl Probe for ProbeUnix {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        target.exchange.over(host.connect_unix(&target.path), target)
    }
}

hilum_plugin::export!(ProbeUnix);

/// Where to connect and what to say there. Shown as `unix:/path`, as the plan grants it.
#[derive(Debug)]
pub struct Target {
    path: String,
    exchange: Exchange,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path)
    }
}
