//! PID 1's end of the conversation: reports and pongs in, pings out. Never waits for room in the channel.

use std::io;
use std::os::fd::AsFd;

use hilum_sys::channel::Channel;
use hilum_sys::pages::Pages;
use hilum_wire::{FromStatus, MAX_FRAME, ToStatus, VERSION};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::Instant;

use crate::ServeError;
use crate::server::Server;
use crate::time;

/// Frames handled before other tasks get their turn. PID 1 sends a burst only at the start, one frame per service.
const BURST: u32 = 64;

/// The channel to PID 1.
#[derive(Debug)]
pub(crate) struct Link {
    channel: Channel,
    /// A second descriptor of the same socket, to wait on: the runtime waits for sockets of the standard library without unsafe code, and
    /// there any packet socket is a datagram socket. Nothing is read from or written to it.
    readiness: UnixDatagram,
}

impl Link {
    /// Registers the channel with the runtime.
    pub(crate) fn new(channel: Channel) -> io::Result<Link> {
        let socket = std::os::unix::net::UnixDatagram::from(channel.as_fd().try_clone_to_owned()?);
        Ok(Link { channel, readiness: UnixDatagram::from_std(socket)? })
    }

    /// Waits for a packet; 0 is the end.
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.readiness.readable().await?;
        self.readiness.try_io(Interest::READABLE, || self.channel.receive(buffer).map(|packet| packet.len))
    }

    fn send(&self, message: &FromStatus) -> io::Result<()> {
        let frame = hilum_wire::encode(message).map_err(io::Error::other)?;
        loop {
            match self.channel.send(&frame, &[]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }
}

/// Says hello. PID 1's hello is awaited by [`follow`].
pub(crate) fn greet(server: &Server, refused: Vec<String>) -> Result<(), ServeError> {
    match server.link.send(&FromStatus::Hello { version: VERSION, refused }) {
        // PID 1 is gone already; `follow` reads whatever it left behind, and the end.
        Err(error) if is_hang_up(&error) => Ok(()),
        sent => sent.map_err(ServeError::Channel),
    }
}

/// Asks PID 1 for a sign of life, if a request that arrived at `asked` needs one and none is under way.
pub(crate) fn ping(server: &Server, asked: Instant) {
    let nonce = server.pulse.borrow_mut().ask(asked);
    if let Some(nonce) = nonce
        && server.link.send(&FromStatus::Ping { nonce }).is_err()
    {
        // A full channel is a PID 1 that does not read: the request runs into its deadline.
        server.pulse.borrow_mut().unsent();
    }
}

/// Takes in what PID 1 says until it closes the channel.
pub(crate) async fn follow(server: &Server) -> Result<(), ServeError> {
    let mut buffer = Pages::new(MAX_FRAME).map_err(ServeError::Channel)?;
    let mut greeted = false;
    let mut burst = 0;
    loop {
        match server.link.receive(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let frame = buffer.get(..length).unwrap_or_default();
                let message = hilum_wire::decode(frame).map_err(ServeError::Frame)?;
                greeted = take(server, message, greeted)?;
                burst += 1;
                if burst == BURST {
                    burst = 0;
                    server.reported.notify_waiters();
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                burst = 0;
                server.reported.notify_waiters();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_hang_up(&error) => return Ok(()),
            Err(error) => return Err(ServeError::Channel(error)),
        }
    }
}

/// Takes one message in; says whether hellos have been exchanged.
fn take(server: &Server, message: ToStatus, greeted: bool) -> Result<bool, ServeError> {
    match message {
        ToStatus::Hello { version: VERSION } => return Ok(true),
        ToStatus::Hello { version } => return Err(ServeError::Version { ours: VERSION, theirs: version }),
        _ if !greeted => return Err(ServeError::NoHello),
        ToStatus::Overview(overview) => server.snapshot.borrow_mut().set_overview(overview),
        ToStatus::Measured { index, series } => server.snapshot.borrow_mut().set_series(index, series),
        ToStatus::Service { index, report } => {
            server.snapshot.borrow_mut().set_service(index, *report, time::wall());
        }
        ToStatus::Pong { nonce } => {
            server.pulse.borrow_mut().answer(nonce, Instant::now());
            server.answered.notify_waiters();
        }
    }
    Ok(true)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}
