//! `hilum:host/tls` and `hilum:host/http` in builds that have neither: linked, so that what imports them loads, and refusing.

use wasmtime::component::Resource;

use super::{Connection, Error};
use crate::bindings::host::{http, tls};
use crate::host::State;

fn missing(what: &str) -> Error {
    Error::Unsupported(format!("this hilum does no {what}; use the full build instead of hilum-tiny"))
}

impl tls::Host for State {
    async fn wrap(
        &mut self,
        connection: Resource<Connection>,
        _: tls::Options,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        self.table.delete(connection)?;
        self.open = self.open.saturating_sub(1);
        Ok(Err(missing("TLS")))
    }

    fn protocol(&mut self, connection: Resource<Connection>) -> wasmtime::Result<Option<String>> {
        self.table.get(&connection)?;
        Ok(None)
    }
}

impl http::Host for State {
    async fn fetch(&mut self, _: http::Request) -> wasmtime::Result<Result<http::Response, Error>> {
        Ok(Err(missing("HTTP")))
    }
}
