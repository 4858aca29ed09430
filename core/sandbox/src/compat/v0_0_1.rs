//! `hilum:host@0.0.1` and `hilum:probe@0.0.1`: what the first plugins were written for. Probes described themselves, there was no check of
//! settings, and connections belonged to `tcp`.

use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::host::connection::{Error as NewError, HostConnection as NewConnection};
use crate::bindings::host::{clock as new_clock, log as new_log, tcp as new_tcp};
use crate::bindings::plugin::{Description, Grant};
use crate::bindings::probe::{Outcome, Request};
use crate::host::State;
use crate::host::network::Connection;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/compat/probe-0.0.1",
        world: "hilum:probe/probe-plugin",
        imports: {
            "hilum:host/tcp": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: { "hilum:host/tcp.connection": crate::host::network::Connection },
    });
}

use generated::exports::hilum::probe::probe as old;
use generated::hilum::host::{clock, log, tcp};

pub(crate) use generated::ProbePluginIndices;

/// The interface of a probe then.
pub(crate) const PROBE: &str = "hilum:probe/probe@0.0.1";

/// Its interfaces of the host.
pub(crate) const INTERFACES: &[&str] = &["hilum:host/log@0.0.1", "hilum:host/clock@0.0.1", "hilum:host/tcp@0.0.1"];

pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    tcp::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// A description as it is today.
pub(crate) fn description(is: old::Description) -> Description {
    let grant = |grant: old::Grant| Grant { kind: grant.kind, value: grant.value, reason: grant.reason };
    Description {
        name: is.name,
        version: is.version,
        settings_schema: is.settings_schema,
        grants: is.grants.into_iter().map(grant).collect(),
    }
}

/// A request as it was then.
pub(crate) fn request(request: Request) -> old::Request {
    let Request { settings, timeout_ms, attempt } = request;
    old::Request { settings, timeout_ms, attempt }
}

/// An outcome as it is today.
pub(crate) fn outcome(outcome: old::Outcome) -> Outcome {
    match outcome {
        old::Outcome::Pass => Outcome::Pass,
        old::Outcome::Fail(why) => Outcome::Fail(why),
        old::Outcome::Unknown(why) => Outcome::Unknown(why),
    }
}

impl From<NewError> for tcp::Error {
    fn from(error: NewError) -> tcp::Error {
        match error {
            NewError::Denied(text) => tcp::Error::Denied(text),
            NewError::Invalid(text) => tcp::Error::Invalid(text),
            NewError::NameUnresolved(text) => tcp::Error::NameUnresolved(text),
            NewError::Refused => tcp::Error::Refused,
            NewError::Unreachable(text) => tcp::Error::Unreachable(text),
            NewError::TimedOut => tcp::Error::TimedOut,
            NewError::Closed => tcp::Error::Closed,
            NewError::Limit(text) => tcp::Error::Limit(text),
            NewError::Other(text)
            | NewError::Forbidden(text)
            | NewError::Unsupported(text)
            | NewError::Untrusted(text) => tcp::Error::Other(text),
        }
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => new_log::Level::Debug,
            log::Level::Info => new_log::Level::Info,
            log::Level::Warn => new_log::Level::Warn,
            log::Level::Error => new_log::Level::Error,
        };
        new_log::Host::write(self, level, message)
    }
}

impl clock::Host for State {
    fn monotonic_now(&mut self) -> wasmtime::Result<u64> {
        new_clock::Host::monotonic_now(self)
    }

    fn wall_now(&mut self) -> wasmtime::Result<u64> {
        new_clock::Host::wall_now(self)
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        new_clock::Host::remaining_ms(self)
    }
}

impl tcp::Host for State {
    async fn connect(&mut self, host: String, port: u16) -> wasmtime::Result<Result<Resource<Connection>, tcp::Error>> {
        Ok(new_tcp::Host::connect(self, host, port).await?.map_err(Into::into))
    }
}

impl tcp::HostConnection for State {
    async fn write(&mut self, this: Resource<Connection>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), tcp::Error>> {
        Ok(NewConnection::write(self, this, bytes).await?.map_err(Into::into))
    }

    async fn read(&mut self, this: Resource<Connection>, limit: u32) -> wasmtime::Result<Result<Vec<u8>, tcp::Error>> {
        Ok(NewConnection::read(self, this, limit).await?.map_err(Into::into))
    }

    async fn shutdown_write(&mut self, this: Resource<Connection>) -> wasmtime::Result<Result<(), tcp::Error>> {
        Ok(NewConnection::shutdown_write(self, this).await?.map_err(Into::into))
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        NewConnection::drop(self, this).await
    }
}
