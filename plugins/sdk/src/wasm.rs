//! The component's side: generated bindings and their translation. Compiled for guests only.

use crate::host::{Connection, Host, Level, TcpError};
use crate::probe::{self, Probe};

#[expect(missing_docs, reason = "generated; the documentation is in wit/")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/probe",
        world: "hilum:probe/probe-plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_probe",
    });
}

use bindings::hilum::host::{clock, log, tcp};

pub use bindings::exports::hilum::probe::probe::{Description, Grant, Guest, Outcome, Request};

/// Glue of [`export!`](crate::export).
pub fn describe<P: Probe>() -> Description {
    log_panics();
    let description = P::describe();
    let grant = |grant: probe::Grant| Grant {
        kind: grant.kind.to_owned(),
        value: grant.value.map(str::to_owned),
        reason: grant.reason.to_owned(),
    };
    Description {
        name: description.name.to_owned(),
        version: description.version.to_owned(),
        settings_schema: description.settings_schema.to_owned(),
        grants: description.grants.into_iter().map(grant).collect(),
    }
}

/// Glue of [`export!`](crate::export).
pub fn check<P: Probe>(request: Request) -> Outcome {
    log_panics();
    let Request { settings, timeout_ms, attempt } = request;
    match P::check(&probe::Request { settings, timeout_ms, attempt }, &Guesthost) {
        probe::Outcome::Pass => Outcome::Pass,
        probe::Outcome::Fail(why) => Outcome::Fail(why),
        probe::Outcome::Unknown(why) => Outcome::Unknown(why),
    }
}

/// A panic ends in a trap that has no words; so they are logged first.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &info.to_string())));
}

/// The host behind the imports.
struct Guesthost;

impl Host for Guesthost {
    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, line);
    }

    fn monotonic_now(&self) -> u64 {
        clock::monotonic_now()
    }

    fn wall_now(&self) -> u64 {
        clock::wall_now()
    }

    fn remaining_ms(&self) -> u32 {
        clock::remaining_ms()
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, TcpError> {
        match tcp::connect(host, port) {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Connection for tcp::Connection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TcpError> {
        Ok(tcp::Connection::write(self, bytes)?)
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, TcpError> {
        Ok(tcp::Connection::read(self, limit)?)
    }

    fn shutdown_write(&mut self) -> Result<(), TcpError> {
        Ok(tcp::Connection::shutdown_write(self)?)
    }
}

impl From<tcp::Error> for TcpError {
    fn from(error: tcp::Error) -> TcpError {
        match error {
            tcp::Error::Denied(text) => TcpError::Denied(text),
            tcp::Error::Invalid(text) => TcpError::Invalid(text),
            tcp::Error::NameUnresolved(text) => TcpError::NameUnresolved(text),
            tcp::Error::Refused => TcpError::Refused,
            tcp::Error::Unreachable(text) => TcpError::Unreachable(text),
            tcp::Error::TimedOut => TcpError::TimedOut,
            tcp::Error::Closed => TcpError::Closed,
            tcp::Error::Limit(text) => TcpError::Limit(text),
            tcp::Error::Other(text) => TcpError::Other(text),
        }
    }
}
