//! `hilum:host/tcp`.

use wasmtime::component::Resource;

use super::{Connection, Error, Stream};
use crate::bindings::host::tcp::Host;
use crate::host::State;

impl Host for State {
    async fn connect(&mut self, host: String, port: u16) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let dialer = self.dialer();
        self.open(async { dialer.dial(&host, port).await.map(Stream::Tcp) }).await
    }
}
