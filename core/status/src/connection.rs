//! One client: heads in, answers out, in order. Every wait has a deadline, and nothing is kept for a client that only waits.

use std::io;
use std::time::Duration;

use tiny_http::{HTTPVersion, Method};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use crate::answer;
use crate::head::{Head, MAX_HEAD, Scanner};
use crate::reply::Reply;
use crate::server::{Seat, Server, Share};
use crate::time;

/// How long a connection may say nothing before it is closed without a word. Longer than a browser page's two seconds and the usual scrape
/// period of 15; a client that comes back later connects again.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a head may take from its first byte. A head is one packet; doubling it lets slow heads hold twice as many seats.
const HEAD: Duration = Duration::from_secs(5);

/// How long an answer may take to be written.
const WRITE: Duration = Duration::from_secs(10);

/// How long a closed connection is still read from. A socket closed with unread bytes is reset, and the reset destroys the answer before
/// the client has read it.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes of answers that wait for slow readers, over all connections. **Units:** bytes. The kernel takes most answers at once; what it
/// does not take is ours to hold. Beyond this the connection that wants to add to it is closed.
const MAX_UNSENT: usize = 2 * 1024 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.writable().await,
            Stream::Unix(stream) => stream.writable().await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read(buffer),
            Stream::Unix(stream) => stream.try_read(buffer),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown().await,
            Stream::Unix(stream) => stream.shutdown().await,
        }
    }

    /// Waits for bytes and appends them to `inbox`. `false`: there will be none any more.
    async fn read(&self, server: &Server, inbox: &mut Vec<u8>) -> bool {
        loop {
            if self.readable().await.is_err() {
                return false;
            }
            let mut scratch = server.scratch.borrow_mut();
            match self.try_read(scratch.as_mut_slice()) {
                Ok(0) => return false,
                Ok(read) => {
                    // Exactly, or a thousand heads of 8 KiB would hold twice that.
                    inbox.reserve_exact(read.max(inbox.len().min(1024)));
                    inbox.extend_from_slice(scratch.get(..read).unwrap_or_default());
                    return true;
                }
                Err(error) if is_momentary(&error) => {}
                Err(_) => return false,
            }
        }
    }

    /// Returns when the client has closed its end. What it sends meanwhile is kept, up to a head's length; beyond that it is not read,
    /// and its going is noticed by the answer's failure only.
    pub(crate) async fn hang_up(&self, server: &Server, inbox: &mut Vec<u8>) {
        while inbox.len() <= MAX_HEAD {
            if !self.read(server, inbox).await {
                return;
            }
        }
        std::future::pending().await
    }
}

/// What came of waiting for a head.
enum Received {
    Head(Head),
    Refused(Reply),
    Gone,
}

/// Talks to one client until one of the two has enough.
pub(crate) async fn converse(mut stream: Stream, seat: Seat) {
    let server = &seat.server;
    let mut inbox = Vec::new();
    loop {
        seat.set_idle();
        let received = receive(server, &stream, &mut inbox).await;
        seat.set_busy();
        let (reply, head) = match received {
            Received::Head(head) => match answer::answer(server, &stream, &head, &mut inbox).await {
                Some(reply) => (reply, Some(head)),
                None => return,
            },
            Received::Refused(reply) => (reply, None),
            Received::Gone => return,
        };
        server.traffic.borrow_mut().count(reply.status);
        let persistent = head.as_ref().is_some_and(|head| head.persistent && !head.has_body);
        let bytes = match &head {
            Some(head) => reply.encode(&head.version, persistent, head.method == Method::Head, time::wall()),
            None => reply.encode(&HTTPVersion(1, 1), false, false, time::wall()),
        };
        drop(reply);
        if !write(&seat, &stream, &bytes).await {
            return;
        }
        if !persistent {
            if head.is_none_or(|head| head.has_body) {
                seat.set_idle();
                linger(server, &mut stream, &mut inbox).await;
            }
            return;
        }
        if !inbox.is_empty() {
            // A client that pipelines takes turns with the others.
            tokio::task::yield_now().await;
        }
    }
}

/// Waits for a head and takes it out of `inbox`, which keeps what follows it.
async fn receive(server: &Server, stream: &Stream, inbox: &mut Vec<u8>) -> Received {
    let mut scanner = Scanner::default();
    let idle_since = Instant::now();
    let mut deadline = idle_since + SILENCE;
    let mut begun = false;
    loop {
        match scanner.scan(inbox) {
            Ok(Some(length)) => {
                let head = Head::parse(inbox.get(..length).unwrap_or_default());
                inbox.drain(..length);
                if inbox.is_empty() {
                    *inbox = Vec::new();
                }
                return head.map_or_else(|refusal| Received::Refused(Reply::refusal(refusal)), Received::Head);
            }
            Ok(None) => {}
            Err(refusal) => return Received::Refused(Reply::refusal(refusal)),
        }
        if scanner.started() && !begun {
            begun = true;
            deadline = Instant::now() + HEAD;
        }
        match timeout_at(deadline, stream.read(server, inbox)).await {
            Ok(true) => {}
            Ok(false) => return Received::Gone,
            Err(_) if begun => return Received::Refused(Reply::text(408, "request head not complete within 5 s\n")),
            Err(_) => return Received::Gone,
        }
    }
}

/// Writes an answer; says whether it was written. While the client is too slow for it, the connection counts as idle.
async fn write(seat: &Seat, stream: &Stream, bytes: &[u8]) -> bool {
    let deadline = Instant::now() + WRITE;
    let mut rest = bytes;
    let mut unsent = None;
    while !rest.is_empty() {
        match stream.try_write(rest) {
            Ok(0) => return false,
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if unsent.is_none() {
                    unsent = Share::take(&seat.server.unsent, bytes.len(), MAX_UNSENT);
                    if unsent.is_none() {
                        return false;
                    }
                    seat.set_idle();
                }
                if !matches!(timeout_at(deadline, stream.writable()).await, Ok(Ok(()))) {
                    return false;
                }
            }
            Err(error) if is_momentary(&error) => {}
            Err(_) => return false,
        }
    }
    seat.set_busy();
    true
}

/// Closes in a way that lets the client read the last answer: no more is sent, and what still comes is thrown away for a while.
async fn linger(server: &Server, stream: &mut Stream, inbox: &mut Vec<u8>) {
    let deadline = Instant::now() + LINGER;
    if stream.shutdown().await.is_err() {
        return;
    }
    loop {
        inbox.clear();
        if !matches!(timeout_at(deadline, stream.read(server, inbox)).await, Ok(true)) {
            return;
        }
    }
}

fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
