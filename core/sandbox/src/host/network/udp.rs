//! `hilum:host/udp`.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use wasmtime::component::Resource;

use super::{Error, MAX_READ, flatten};
use crate::bindings::host::udp::{Host, HostSocket};
use crate::grant::Transport;
use crate::host::State;

/// Longest datagram. **Units:** bytes. **Source:** udp(7): 64 KiB less both headers.
const MAX_DATAGRAM: usize = 65_507;

/// A socket with one peer.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Socket {
    socket: UdpSocket,
}

/// A socket that talks to the first of `peers`.
async fn open(peers: Vec<SocketAddr>) -> Result<UdpSocket, Error> {
    let peer = peers.first().ok_or_else(|| Error::NameUnresolved("it has no address".to_owned()))?;
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

/// Waits for a datagram, or for the news that there will be none: the buffer is made only then.
async fn receive(socket: &UdpSocket, limit: usize) -> io::Result<Vec<u8>> {
    loop {
        socket.ready(Interest::READABLE | Interest::ERROR).await?;
        let mut bytes = vec![0; limit];
        match socket.try_recv(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // An error that a wait told of and that is gone, or was taken by a send. Forgotten, lest it ends every further wait at once.
                let taken =
                    || -> io::Result<()> { Err(socket.take_error()?.unwrap_or_else(|| ErrorKind::WouldBlock.into())) };
                match socket.try_io(Interest::ERROR, taken) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl Host for State {
    async fn connect(&mut self, host: String, port: u16) -> wasmtime::Result<Result<Resource<Socket>, Error>> {
        let dialer = self.dialer();
        let room = self.room();
        let opened = self.pace.wait(async {
            room?;
            open(dialer.find(Transport::Udp, &host, port).await?).await
        });
        let opened = flatten(opened.await);
        match self.report(opened) {
            Ok(socket) => {
                let socket = self.table.push(Socket { socket })?;
                self.open += 1;
                Ok(Ok(socket))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostSocket for State {
    async fn send(&mut self, this: Resource<Socket>, datagram: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let socket = &self.table.get(&this)?.socket;
        if datagram.len() > MAX_DATAGRAM {
            let story = format!("a datagram of {} bytes is longer than {MAX_DATAGRAM}", datagram.len());
            return Ok(Err(Error::Invalid(story)));
        }
        Ok(flatten(self.pace.wait(socket.send(&datagram)).await).map(drop))
    }

    async fn receive(&mut self, this: Resource<Socket>, limit: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let socket = &self.table.get(&this)?.socket;
        let limit = usize::try_from(limit).unwrap_or(MAX_READ).min(MAX_READ);
        Ok(flatten(self.pace.wait(receive(socket, limit)).await))
    }

    async fn receive_within(
        &mut self,
        this: Resource<Socket>,
        limit: u32,
        ms: u32,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let socket = &self.table.get(&this)?.socket;
        let limit = usize::try_from(limit).unwrap_or(MAX_READ).min(MAX_READ);
        let within = Duration::from_millis(ms.into());
        let received = self.pace.wait(async {
            match tokio::time::timeout(within, receive(socket, limit)).await {
                Ok(received) => received.map(Some),
                Err(_) => Ok(None),
            }
        });
        Ok(flatten(received.await))
    }

    async fn drop(&mut self, this: Resource<Socket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.open = self.open.saturating_sub(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Interest, open, receive};
    use std::future::poll_fn;
    use std::io;
    use std::net::UdpSocket;
    use std::pin::pin;
    use std::time::Duration;

    #[test]
    fn an_error_that_a_send_took_does_not_keep_a_wait_awake() -> io::Result<()> {
        // Nobody listens there once the socket is dropped.
        let nobody = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        crate::run(async {
            let Ok(socket) = open(vec![nobody]).await else { return Err(io::ErrorKind::Other.into()) };
            socket.send(b"one").await?;
            socket.ready(Interest::ERROR).await?;
            let told = socket.send(b"two").await.map_err(|error| error.kind());
            assert_eq!(told, Err(io::ErrorKind::ConnectionRefused));
            let mut polls = 0;
            let mut receiving = pin!(receive(&socket, 10));
            let counted = poll_fn(|context| {
                polls += 1;
                receiving.as_mut().poll(context)
            });
            assert!(tokio::time::timeout(Duration::from_millis(50), counted).await.is_err());
            assert!(polls < 10, "it woke up {polls} times");
            Ok(())
        })?
    }
}
