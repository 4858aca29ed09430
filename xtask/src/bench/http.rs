//! The two ends of HTTP a measurement needs: a server for probes to ask, and a client for the status socket. Beside them the servers that say
//! nothing, for probes that only connect or that are kept waiting.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a peer may take with one request.
const PATIENCE: Duration = Duration::from_secs(5);

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// A server on a port of its own, one connection at a time.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One that says ok to every request.
    pub(super) fn start() -> Result<Server, String> {
        Server::with(|stream| serve(&stream))
    }

    /// One that closes every connection as soon as it is there.
    pub(super) fn closing() -> Result<Server, String> {
        Server::with(|_| Ok(()))
    }

    /// One that keeps every connection open, answers nothing, and tells when the first byte of a request has come.
    pub(super) fn holding(asked: Sender<()>) -> Result<Server, String> {
        let mut held = Vec::new();
        Server::with(move |mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read_exact(&mut [0])?;
            held.push(stream);
            // Nobody wants to know any more when the measurement is over.
            let _told = asked.send(());
            Ok(())
        })
    }

    fn with(mut serve: impl FnMut(TcpStream) -> io::Result<()> + Send + 'static) -> Result<Server, String> {
        let fail = |error: io::Error| format!("cannot start a server for probes: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A client that goes away or stalls is one sample the other side will miss and say so.
                let _served = stream.and_then(&mut serve);
            }
        });
        Ok(Server { address, over, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ended = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < 8192 {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    stream.write_all(ANSWER)
}

/// The body of `GET path` from a unix socket.
pub(super) fn get(socket: &Path, path: &str) -> Result<String, String> {
    let fail = |error: io::Error| format!("cannot ask {} for {path}: {error}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(fail)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(fail)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(format!("cannot ask {} for {path}: it answered \"{first}\"", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_answers_and_ends() -> Result<(), Box<dyn std::error::Error>> {
        let server = Server::start()?;
        for _ in 0..2 {
            let mut stream = TcpStream::connect(server.address)?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            assert_eq!(answer, ANSWER);
        }
        drop(server);
        Ok(())
    }

    #[test]
    fn a_closing_server_says_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let server = Server::closing()?;
        assert_eq!(TcpStream::connect(server.address)?.read(&mut [0])?, 0);
        Ok(())
    }

    #[test]
    fn a_holding_server_tells_of_a_request_and_leaves_it_open() -> Result<(), Box<dyn std::error::Error>> {
        let (told, asked) = std::sync::mpsc::channel();
        let server = Server::holding(told)?;
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(b"x")?;
        asked.recv_timeout(PATIENCE)?;
        stream.set_nonblocking(true)?;
        let answer = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(answer, Err(io::ErrorKind::WouldBlock));
        Ok(())
    }
}
