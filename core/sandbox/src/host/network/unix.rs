//! `hilum:host/unix`.

use std::path::Path;

use tokio::net::UnixStream;
use wasmtime::component::Resource;

use super::{Connection, Error, Stream};
use crate::bindings::host::unix::Host;
use crate::grant::is_plain;
use crate::host::State;
use crate::text::clean;

/// Longest path of a socket. **Units:** bytes. **Source:** unix(7), less the final NUL.
const MAX_PATH: usize = 107;

impl Host for State {
    async fn connect(&mut self, path: String) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let permitted = if path.len() > MAX_PATH || !is_plain(Path::new(&path)) {
            Err(Error::Invalid(format!(
                "{:?} is not the absolute path of a socket, of at most {MAX_PATH} bytes",
                clean(&path, 256)
            )))
        } else if !self.grants.may_connect_to_path(&path) {
            Err(Error::Denied(format!(
                "connect to {path} is not granted; to allow it, add \"unix:{path}\" to allow.connect of this plugin"
            )))
        } else {
            Ok(())
        };
        self.open(async {
            permitted?;
            UnixStream::connect(&path).await.map(Stream::Unix).map_err(Error::from)
        })
        .await
    }
}
