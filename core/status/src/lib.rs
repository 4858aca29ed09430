//! The `status` worker: answers HTTP on the sockets PID 1 bound, from what PID 1 reports over a channel.
//!
//! It is a process of its own so that no byte from the network is parsed by PID 1, and so that a PID 1 whose loop hangs is answered for with
//! 503 instead of silence. Losing it costs nothing: PID 1 holds the sockets and starts another, which begins with an empty `snapshot`
//! and makes requests wait until it has been told everything.
//!
//! **One thread, a task per connection.** tiny_http's own server starts a thread per connection without a cap, panics when none can be
//! started, and stops accepting for good at the first error of accept(2): ten thousand silent clients end it. Here an idle connection is a
//! small future and no buffer, the number of connections is bounded by `seats`, and every wait has a deadline. From tiny_http come the types
//! of HTTP and the writing of answers. With no connection open there is no timer, so an idle worker never wakes up.
//!
//! **What it does not do:** decide anything, write anything (no log, no file: what there is to say about it is in `/metrics` and `/status`),
//! read request bodies, TLS.
//!
//! Code map: `head`, `routes`, `pulse`, `seats`, `snapshot`, `verdict`, `render` and `reply` are pure; `link` reads the
//! channel; `listener` accepts, `connection` talks to one client, `answer` puts replies together; `server` is what they share.

#![forbid(unsafe_code)]

mod answer;
mod connection;
#[cfg(test)]
mod deadlines;
mod head;
mod link;
mod listener;
mod pulse;
mod render;
mod reply;
mod routes;
mod seats;
mod server;
mod snapshot;
mod time;
mod traffic;
mod verdict;

pub use time::rfc3339;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use hilum_sys::channel::Channel;
use hilum_wire::FrameError;
use tokio::runtime::{Builder, LocalOptions};

use link::Link;
use listener::Listener;
use server::Server;

/// Why the worker cannot go on. PID 1 then starts another, which is told everything anew.
#[derive(Debug)]
pub enum ServeError {
    /// The runtime could not be made.
    Runtime(io::Error),
    /// A descriptor is not a listening stream socket.
    Listener {
        /// Position among the listeners.
        index: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The channel to PID 1 failed.
    Channel(io::Error),
    /// PID 1 speaks another version: the executable was replaced under it.
    Version {
        /// This worker's.
        ours: u32,
        /// PID 1's.
        theirs: u32,
    },
    /// PID 1 did not begin with its hello.
    NoHello,
    /// PID 1 sent what is not a message. To go on without it would be to show an old state as the present one for ever.
    Frame(FrameError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Runtime(_) => write!(f, "cannot start the status worker"),
            ServeError::Listener { index, .. } => {
                write!(f, "cannot listen on status socket {index}: pass a listening TCP or unix stream socket")
            }
            ServeError::Channel(_) => write!(f, "cannot read the channel to pid 1"),
            ServeError::Version { ours, theirs } => write!(
                f,
                "cannot serve status: the worker speaks protocol {ours}, pid 1 speaks {theirs}; \
                 the executable was replaced while it ran, restart the container"
            ),
            ServeError::NoHello => write!(f, "cannot serve status: pid 1 did not begin with its hello"),
            ServeError::Frame(_) => write!(f, "cannot understand pid 1"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Runtime(error) | ServeError::Channel(error) | ServeError::Listener { source: error, .. } => {
                Some(error)
            }
            ServeError::Frame(error) => Some(error),
            ServeError::Version { .. } | ServeError::NoHello => None,
        }
    }
}

/// Answers HTTP on `listeners` until PID 1 closes `channel`. `refused` is what confinement could not take, for its log.
///
/// `listeners` are listening stream sockets, TCP or unix, in whatever state a predecessor left them. They are made non-blocking, which
/// their other holders see too.
///
/// **Errors:** [`ServeError`]; nothing a client does causes one.
pub fn serve(channel: Channel, listeners: Vec<OwnedFd>, refused: Vec<String>) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.map_err(ServeError::Runtime)?.block_on(async {
        let server = Rc::new(Server::new(Link::new(channel).map_err(ServeError::Channel)?));
        link::greet(&server, refused)?;
        for (index, descriptor) in listeners.into_iter().enumerate() {
            let listener = Listener::new(descriptor).map_err(|source| ServeError::Listener { index, source })?;
            tokio::task::spawn_local(listener::accept(Rc::clone(&server), listener));
        }
        link::follow(&server).await
    })
}
