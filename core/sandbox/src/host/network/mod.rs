//! The network, as granted: one file per interface, and here what they share: streams, their errors, and the one way to a peer.

pub(crate) mod dns;
#[cfg(feature = "full")]
mod http;
#[cfg(not(feature = "full"))]
mod refused;
mod tcp;
#[cfg(feature = "full")]
mod tls;
pub(crate) mod udp;
mod unix;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use wasmtime::component::Resource;

use crate::bindings::host::connection::{Error, Host, HostConnection};
use crate::grant::{Endpoint, Grants, Transport, is_name};
use crate::host::State;
use crate::resolve::{Origin, ResolveError, resolve};
use crate::text::clean;
#[cfg(feature = "full")]
use crate::ticker::Pace;
use crate::ticker::TimedOut;

#[cfg(feature = "full")]
pub(crate) use http::{Peer, exchange};
#[cfg(feature = "full")]
pub(crate) use tls::BUNDLES;

/// Connections, and datagram sockets, one call may have open.
const MAX_OPEN: usize = 16;

/// Bytes one `read` returns at most.
const MAX_READ: usize = 64 * 1024;

/// What bytes go through.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "full")]
    Tls(Box<tokio_rustls::client::TlsStream<Stream>>),
}

/// An open connection.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    stream: Stream,
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            #[cfg(feature = "full")]
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl Stream {
    /// Waits for bytes. Where the kernel keeps them, the buffer is made only once there are some: a connection that waits holds none.
    async fn receive(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        match self {
            Stream::Tcp(stream) => stream.readable().await?,
            Stream::Unix(stream) => stream.readable().await?,
            #[cfg(feature = "full")]
            Stream::Tls(_) => {}
        }
        let mut bytes = vec![0; limit];
        let count = self.read(&mut bytes).await?;
        bytes.truncate(count);
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        #[cfg(feature = "full")]
        if let Some(why) = tls::distrust(&error) {
            return Error::Untrusted(why);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Error::Refused,
            ErrorKind::PermissionDenied => Error::Forbidden(error.to_string()),
            ErrorKind::TimedOut => Error::TimedOut,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotConnected => Error::Closed,
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
            | ErrorKind::NotFound
            | ErrorKind::Unsupported => Error::Unreachable(error.to_string()),
            _ => Error::Other(error.to_string()),
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

/// What a way to a peer needs: whose grants hold, and how many lookups may wait.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    /// Whose time it is that an exchange takes.
    #[cfg(feature = "full")]
    pub(crate) pace: Pace,
    pub(crate) grants: Arc<Grants>,
    pub(crate) waiting: Arc<Semaphore>,
}

impl Dialer {
    /// Where `host` at `port` may be reached, all checked against the grants: the name as asked for, and what DNS made of it.
    ///
    /// **Errors:** `invalid`, `denied`, `name-unresolved`, `limit`.
    pub(crate) async fn find(&self, transport: Transport, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.permit(transport, host, port)?;
        let (addresses, origin) = self.lookup(host).await?;
        let allowed =
            |address: &std::net::IpAddr| origin == Origin::Local || self.grants.may_reach(transport, *address, port);
        match addresses.iter().find(|address| !allowed(address)) {
            Some(near) if !addresses.iter().any(allowed) => {
                let place = Endpoint::spell(transport, &near.to_string(), port);
                Err(Error::Denied(format!(
                    "DNS leads {host} to {near}, an address of this machine or its link; to allow it, add \"{place}\" to allow.connect of \
                     this plugin"
                )))
            }
            _ => Ok(addresses.into_iter().filter(allowed).map(|address| SocketAddr::new(address, port)).collect()),
        }
    }

    /// Whether the place may be asked for at all.
    fn permit(&self, transport: Transport, host: &str, port: u16) -> Result<(), Error> {
        if port == 0 {
            return Err(Error::Invalid("port 0 cannot be connected to".to_owned()));
        }
        if host.parse::<std::net::IpAddr>().is_err() && !is_name(host) {
            return Err(Error::Invalid(format!("{:?} is neither an address nor a host name", clean(host, 256))));
        }
        if self.grants.may_connect(transport, host, port) {
            return Ok(());
        }
        let place = Endpoint::spell(transport, host, port);
        Err(Error::Denied(format!(
            "connect to {place} is not granted; to allow it, add \"{place}\" to allow.connect of this plugin"
        )))
    }

    /// The addresses of a name.
    async fn lookup(&self, host: &str) -> Result<(Vec<std::net::IpAddr>, Origin), Error> {
        resolve(host, &self.waiting).await.map_err(|error| match error {
            ResolveError::Unknown(why) => Error::NameUnresolved(format!("cannot find the address of {why}")),
            ResolveError::Busy => Error::Limit("too many lookups of this plugin are waiting already".to_owned()),
        })
    }

    /// A connection to `host` at `port`: its addresses are tried in order, the last failure stands for all.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let mut failure = Error::NameUnresolved(format!("{host} has no address"));
        for address in self.find(Transport::Tcp, host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // What is written is a request that waits for its answer.
                    let _without_delay = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }
}

impl State {
    /// The way to peers.
    pub(crate) fn dialer(&self) -> Dialer {
        Dialer {
            #[cfg(feature = "full")]
            pace: self.pace.clone(),
            grants: Arc::clone(&self.grants),
            waiting: Arc::clone(&self.kept.waiting),
        }
    }

    /// Notes a denial for the operator; passes everything on.
    fn report<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Denied(why)) = &result {
            self.deny(why);
        }
        result
    }

    /// Whether one more may be opened.
    fn room(&self) -> Result<(), Error> {
        if self.open < MAX_OPEN {
            Ok(())
        } else {
            Err(Error::Limit(format!("{MAX_OPEN} connections are open already, the most a call may have")))
        }
    }

    /// Waits for a stream and makes a connection of it. Waited for even where it fails at once: asking for what is denied must not be a way
    /// to keep the thread.
    async fn open(
        &mut self,
        opening: impl Future<Output = Result<Stream, Error>>,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let room = self.room();
        let opened = self.pace.wait(async {
            room?;
            opening.await
        });
        let opened = flatten(opened.await);
        match self.report(opened) {
            Ok(stream) => {
                let connection = self.table.push(Connection { stream })?;
                self.open += 1;
                Ok(Ok(connection))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

impl Host for State {}

impl HostConnection for State {
    async fn write(&mut self, this: Resource<Connection>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let stream = &mut self.table.get_mut(&this)?.stream;
        let written = self.pace.wait(async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        });
        Ok(flatten(written.await))
    }

    async fn read(&mut self, this: Resource<Connection>, limit: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let stream = &mut self.table.get_mut(&this)?.stream;
        let limit = usize::try_from(limit).unwrap_or(MAX_READ).min(MAX_READ);
        if limit == 0 {
            return Ok(Ok(Vec::new()));
        }
        Ok(flatten(self.pace.wait(stream.receive(limit)).await))
    }

    async fn shutdown_write(&mut self, this: Resource<Connection>) -> wasmtime::Result<Result<(), Error>> {
        let stream = &mut self.table.get_mut(&this)?.stream;
        Ok(flatten(self.pace.wait(stream.shutdown()).await))
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.open = self.open.saturating_sub(1);
        Ok(())
    }
}
