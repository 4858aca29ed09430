//! `hilum:host/tcp`: connections to granted places, each wait bounded by the call's time.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wasmtime::component::Resource;

use crate::bindings::tcp::{Error, Host, HostConnection};
use crate::grant::{Endpoint, is_name};
use crate::host::State;
use crate::resolve::resolve;
use crate::text::clean;
use crate::ticker::TimedOut;

/// Connections one call may have open.
const MAX_CONNECTIONS: usize = 16;

/// Bytes one `read` returns at most.
const MAX_READ: usize = 64 * 1024;

/// An open connection.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    stream: TcpStream,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::ConnectionRefused => Error::Refused,
            ErrorKind::TimedOut => Error::TimedOut,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Error::Closed,
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
            | ErrorKind::Unsupported => Error::Unreachable(error.to_string()),
            _ => Error::Other(error.to_string()),
        }
    }
}

impl State {
    /// What `connect` checks before it does anything.
    fn permit(&mut self, host: &str, port: u16) -> Result<(), Error> {
        if port == 0 {
            return Err(Error::Invalid("port 0 cannot be connected to".to_owned()));
        }
        if host.parse::<std::net::IpAddr>().is_err() && !is_name(host) {
            return Err(Error::Invalid(format!("{:?} is neither an address nor a host name", clean(host, 256))));
        }
        let place = Endpoint::spell(host, port);
        if !self.connect.iter().any(|granted| granted.covers(host, port)) {
            self.say(
                "warn",
                &format!("denied: connect to {place}; to allow it, add \"{place}\" to allow.connect of this plugin"),
            );
            return Err(Error::Denied(format!("connect to {place} is not in the plugin's allow.connect")));
        }
        if self.connections >= MAX_CONNECTIONS {
            return Err(Error::Limit(format!(
                "{MAX_CONNECTIONS} connections are open already, the most a call may have"
            )));
        }
        Ok(())
    }
}

/// Tries the addresses of `host` in order. The last failure stands for all.
async fn open(host: &str, port: u16) -> Result<TcpStream, Error> {
    let mut failure = Error::NameUnresolved(format!(
        "{host} is not an address, localhost or a name in /etc/hosts; names are not looked up elsewhere"
    ));
    for address in resolve(host) {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// Waits for bytes. The buffer is made only once there are some: a connection that waits holds none.
async fn receive(stream: &TcpStream, limit: usize) -> io::Result<Vec<u8>> {
    loop {
        stream.readable().await?;
        let mut bytes = vec![0; limit];
        match stream.try_read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                bytes.shrink_to_fit();
                return Ok(bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// One result of a wait for something that can itself fail.
fn flatten<T>(waited: Result<Result<T, impl Into<Error>>, TimedOut>) -> Result<T, Error> {
    match waited {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.into()),
        Err(TimedOut) => Err(Error::TimedOut),
    }
}

impl Host for State {
    async fn connect(&mut self, host: String, port: u16) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let permitted = self.permit(&host, port);
        // Waited for even when denied: asking for what is denied must not be a way to keep the thread.
        let opened = self.pace.wait(async {
            permitted?;
            open(&host, port).await
        });
        match flatten(opened.await) {
            Ok(stream) => {
                let connection = self.table.push(Connection { stream })?;
                self.connections += 1;
                Ok(Ok(connection))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostConnection for State {
    async fn write(&mut self, this: Resource<Connection>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let stream = &mut self.table.get_mut(&this)?.stream;
        Ok(flatten(self.pace.wait(stream.write_all(&bytes)).await))
    }

    async fn read(&mut self, this: Resource<Connection>, limit: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let stream = &self.table.get(&this)?.stream;
        let limit = usize::try_from(limit).unwrap_or(MAX_READ).min(MAX_READ);
        if limit == 0 {
            return Ok(Ok(Vec::new()));
        }
        Ok(flatten(self.pace.wait(receive(stream, limit)).await))
    }

    async fn shutdown_write(&mut self, this: Resource<Connection>) -> wasmtime::Result<Result<(), Error>> {
        let stream = &mut self.table.get_mut(&this)?.stream;
        Ok(flatten(self.pace.wait(stream.shutdown()).await))
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.connections = self.connections.saturating_sub(1);
        Ok(())
    }
}
