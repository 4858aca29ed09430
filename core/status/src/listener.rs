//! Takes connections in. Never ends and never spins, whatever accept(2) says.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use crate::connection::{self, Stream};
use crate::seats::{HEADROOM, MAX_CONNECTIONS};
use crate::server::{Seat, Server};

/// Pause after a failure of accept(2), doubled up to [`LAST_PAUSE`] while it lasts. Short, for an evicted connection's descriptor is free by
/// then.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause: a listener that fails for good costs one wake-up a second.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How long the number of connections stays below what the kernel refused, before more are tried. ENFILE is about the whole machine and
/// passes; RLIMIT_NOFILE stays, and then one connection a minute is evicted too many.
const SHRUNK: Duration = Duration::from_secs(60);

/// ENFILE and EMFILE: no descriptor left, in the system or in this process.
const NO_DESCRIPTOR: [i32; 2] = [23, 24];

/// ENOMEM and ENOBUFS.
const NO_MEMORY: [i32; 2] = [12, 105];

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Listener {
    /// The listener behind a descriptor.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Listener> {
        let tcp = std::net::TcpListener::from(descriptor);
        tcp.set_nonblocking(true)?;
        if tcp.local_addr().is_ok() {
            return Ok(Listener::Tcp(TcpListener::from_std(tcp)?));
        }
        let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
        unix.local_addr()?;
        Ok(Listener::Unix(UnixListener::from_std(unix)?))
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written in one piece; pipelined ones shall not wait for each other's acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// Accepts connections for ever.
pub(crate) async fn accept(server: Rc<Server>, listener: Listener) {
    let mut pause = FIRST_PAUSE;
    let mut shrunk: Option<Instant> = None;
    let mut evicted = 0;
    loop {
        match listener.accept().await {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                if shrunk.is_some_and(|since| since.elapsed() > SHRUNK) {
                    shrunk = None;
                    server.seats.borrow_mut().restore(MAX_CONNECTIONS);
                }
                server.traffic.borrow_mut().accepted += 1;
                make_room(&server, &mut evicted).await;
                seat(&server, stream);
            }
            // The client was gone before it was accepted; that is its own affair.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                server.traffic.borrow_mut().accept_errors += 1;
                let code = error.raw_os_error().unwrap_or_default();
                let no_descriptor = NO_DESCRIPTOR.contains(&code);
                if no_descriptor {
                    shrunk = Some(Instant::now());
                    server.seats.borrow_mut().shrink();
                }
                if no_descriptor || NO_MEMORY.contains(&code) {
                    evict(&server);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// Evicts until there is a seat. Where nobody is idle, the newcomer waits: every reason to be busy ends within a second, but for `?wait`,
/// which may hold no more than half of the seats.
async fn make_room(server: &Server, evicted: &mut usize) {
    loop {
        let freed = server.freed.notified();
        if !server.seats.borrow().is_full() {
            return;
        }
        if evict(server) {
            *evicted += 1;
            if (*evicted).is_multiple_of(HEADROOM / 2) {
                // Lets the evicted tasks drop their sockets, so that descriptors do not pile up over a burst.
                tokio::task::yield_now().await;
            }
        } else {
            freed.await;
        }
    }
}

/// Drops the longest idle connection; says whether there was one.
fn evict(server: &Server) -> bool {
    let evicted = server.seats.borrow_mut().evict();
    evicted.map(|task| task.abort()).is_some()
}

/// Starts to talk to a client.
pub(crate) fn seat(server: &Rc<Server>, stream: Stream) {
    server.seats.borrow_mut().take(|number| {
        let seat = Seat::new(Rc::clone(server), number);
        tokio::task::spawn_local(connection::converse(stream, seat)).abort_handle()
    });
}
