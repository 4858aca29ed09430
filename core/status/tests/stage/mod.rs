//! Plays PID 1 and the clients for a worker that runs in a thread of the test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails here has failed")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hilum_status::{ServeError, serve};
use hilum_sys::channel::Channel;
use hilum_wire::{FromStatus, Overview, ServiceReport, ToStatus, VERSION, decode, encode};

/// Longer than anything may take; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// PID 1's end of a channel. Packets are sent and received blocking, which a datagram socket of the standard library does for any kind of
/// packet socket.
pub(crate) struct Pid1 {
    socket: UnixDatagram,
}

impl Pid1 {
    /// Both ends.
    pub(crate) fn pair() -> (Pid1, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        let socket = UnixDatagram::from(OwnedFd::from(ours));
        socket.set_nonblocking(false).unwrap();
        (Pid1 { socket }, theirs)
    }

    pub(crate) fn send(&self, message: &ToStatus) {
        self.send_raw(&encode(message).unwrap());
    }

    pub(crate) fn send_raw(&self, frame: &[u8]) {
        self.socket.send(frame).unwrap();
    }

    /// `None`: the worker is gone.
    pub(crate) fn receive(&self) -> Option<FromStatus> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(0) | Err(_) => None,
            Ok(len) => Some(decode(buffer.get(..len).unwrap()).unwrap()),
        }
    }

    pub(crate) fn expect_hello(&self) {
        assert_eq!(self.receive(), Some(FromStatus::Hello { version: VERSION, refused: Vec::new() }));
    }
}

/// A worker and all it is connected to.
pub(crate) struct Worker {
    pub(crate) pid1: Arc<Pid1>,
    pub(crate) address: SocketAddr,
    pub(crate) pings: Arc<AtomicU64>,
    /// Whether pings are answered.
    pub(crate) answers: Arc<AtomicBool>,
    listener: TcpListener,
    serving: JoinHandle<Result<(), ServeError>>,
    listening: JoinHandle<()>,
}

impl Worker {
    /// A worker that was told everything and whose pings are answered.
    pub(crate) fn start(overview: Overview, services: Vec<ServiceReport>) -> Worker {
        let worker = Worker::start_untold();
        worker.tell(overview, services);
        worker
    }

    /// A worker that knows PID 1's hello and nothing else.
    pub(crate) fn start_untold() -> Worker {
        Worker::start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn start_on(listener: TcpListener) -> Worker {
        let address = listener.local_addr().unwrap();
        let (pid1, channel) = Pid1::pair();
        let listeners = vec![OwnedFd::from(listener.try_clone().unwrap())];
        let serving = std::thread::spawn(move || serve(channel, listeners, Vec::new()));
        pid1.expect_hello();
        pid1.send(&ToStatus::Hello { version: VERSION });
        let pid1 = Arc::new(pid1);
        let (pings, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let listening = std::thread::spawn({
            let (pid1, pings, answers) = (Arc::clone(&pid1), Arc::clone(&pings), Arc::clone(&answers));
            move || {
                while let Some(message) = pid1.receive() {
                    let FromStatus::Ping { nonce } = message else { panic!("{message:?}") };
                    pings.fetch_add(1, Ordering::SeqCst);
                    if answers.load(Ordering::SeqCst) {
                        pid1.send(&ToStatus::Pong { nonce });
                    }
                }
            }
        });
        Worker { pid1, address, pings, answers, listener, serving, listening }
    }

    pub(crate) fn tell(&self, overview: Overview, services: Vec<ServiceReport>) {
        let count = u16::try_from(services.len()).unwrap();
        self.pid1.send(&ToStatus::Overview(Box::new(Overview { services: count, complete: true, ..overview })));
        for (index, report) in (0..).zip(services) {
            self.pid1.send(&ToStatus::Service { index, report: Box::new(report) });
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// Sends one request on a connection of its own and reads to its end.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request);
        client.rest()
    }

    /// Status code and body of a GET.
    pub(crate) fn get(&self, target: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.get(9..12).unwrap().parse().unwrap(), body.to_owned())
    }

    /// PID 1 closes the channel; the worker ends well.
    pub(crate) fn end(self) {
        self.pid1.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.serving.join().unwrap().unwrap();
        self.listening.join().unwrap();
        drop(self.listener);
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// All there is until the worker closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        self.stream.read_to_end(&mut self.buffer).unwrap();
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// One answer with a body, by its length.
    pub(crate) fn answer(&mut self) -> (String, String) {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.get(..end).unwrap().to_vec()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                let whole = end + 4 + length.parse::<usize>().unwrap();
                if self.buffer.len() >= whole {
                    let answer: Vec<u8> = self.buffer.drain(..whole).collect();
                    return (head, String::from_utf8(answer.get(end + 4..).unwrap().to_vec()).unwrap());
                }
            }
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "closed in the middle of an answer");
            self.buffer.extend_from_slice(chunk.get(..read).unwrap());
        }
    }
}

/// All is well.
pub(crate) fn well() -> Overview {
    Overview {
        version: "0.1.0".into(),
        cmdline: vec!["/hilum".into(), "run".into()],
        phase: "running".into(),
        ready: true,
        started: true,
        alive: true,
        since: 1_700_000_000_000_000_000,
        ..Overview::default()
    }
}

/// A service that runs.
pub(crate) fn running(name: &str) -> ServiceReport {
    ServiceReport {
        name: name.into(),
        command: format!("/app/{name}"),
        arguments: Some(vec!["-x".into()]),
        state: "up".into(),
        running: true,
        run: 1,
        pid: Some(42),
        ready: true,
        started_at: Some(1_700_000_000_500_000_000),
        ..ServiceReport::default()
    }
}
