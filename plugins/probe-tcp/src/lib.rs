//! Probe: whether someone accepts a TCP connection and, if asked, whether the first bytes are the right ones.
//!
//! What each setting means is said in the README; what is a failure and what is unknown is
//! [`NetworkError::outcome`](hilum_plugin::NetworkError::outcome)'s rule.
#![forbid(unsafe_code)]

use hilum_plugin::{
    Description, Exchange, Grant, Host, Outcome, Place, Plugin, Probe, Request, Settings, SettingsError,
};

/// The plugin.
#[derive(Debug)]
pub struct ProbeTcp;

impl Plugin for ProbeTcp {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-tcp",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "connect", value: None, reason: "host and port of the settings" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Ok(Target { place: Place::read(settings, None)?, exchange: Exchange::read(settings)? })
    }
}

impl Probe for ProbeTcp {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        target.exchange.over(target.place.connect(host), &target.place)
    }
}

hilum_plugin::export!(ProbeTcp);

/// Where to connect and what to say there.
#[derive(Debug)]
pub struct Target {
    place: Place,
    exchange: Exchange,
}
