//! Probe: a MySQL or PostgreSQL server lets a user in and answers a query as it should.
//!
//! What each setting means is said in the README. The modules: [`settings`] says what to ask, [`wire`] reads bytes within limits,
//! [`mysql`] and [`postgresql`] speak, [`scram`] proves a password, [`rows`] judges what came.
#![forbid(unsafe_code)]

mod mysql;
mod postgresql;
mod rows;
mod scram;
mod settings;
mod wire;

use hilum_plugin::{Description, Grant, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

use crate::settings::Kind;
pub use crate::settings::Target;
use crate::wire::Line;

/// The plugin.
#[derive(Debug)]
pub struct ProbeSql;

impl Plugin for ProbeSql {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-sql",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant { kind: "connect", value: None, reason: "host and port of the settings" },
                Grant { kind: "files", value: None, reason: "files that `tls` names, if it names any" },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Probe for ProbeSql {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        ask(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeSql);

/// One login and one query. An early end is an `Err`.
fn ask(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let server = target.server();
    let connection = target.place.connect(host).map_err(|error| error.outcome(&format!("connect to {server}")))?;
    let line = Line::new(connection, server, target.kind.name());
    match target.kind {
        Kind::MySql => mysql::ask(line, target, host),
        Kind::PostgreSql => postgresql::ask(line, target, host),
    }
}
