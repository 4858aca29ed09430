//! A host of real sockets, for native tests against real servers. It grants what a test lists and ends when its time is up, as hilum does;
//! what it cannot show is the sandbox. What is no socket is scripted as in [`FakeHost`]; HTTP is the sandbox's, and so is TLS without the
//! feature `tls`.

#[cfg(feature = "tls")]
mod tls;

use std::any::Any;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::fake::FakeHost;
use crate::host::{
    CommandError, CommandOutput, Connection, Datagrams, FileError, FileStatus, Host, HttpRequest, HttpResponse, Level,
    NetworkError, ProcessError, ProcessTable, Service, TlsOptions, WriteMode,
};

/// A host that opens the sockets of this machine.
pub struct NativeHost {
    started: Instant,
    until: Instant,
    granted: Vec<(String, u16)>,
    fake: FakeHost,
}

impl NativeHost {
    /// A host that grants nothing, with this much time.
    #[must_use]
    pub fn new(timeout: Duration) -> NativeHost {
        let started = Instant::now();
        NativeHost { started, until: started + timeout, granted: Vec::new(), fake: FakeHost::new() }
    }

    /// Takes what is no socket from a script.
    #[must_use]
    pub fn with_script(mut self, fake: FakeHost) -> NativeHost {
        self.fake = fake;
        self
    }

    /// Allows connections to `host` and `port`; to a socket in the file system by its path and port 0.
    #[must_use]
    pub fn with_grant(mut self, host: &str, port: u16) -> NativeHost {
        self.granted.push((host.to_owned(), port));
        self
    }

    /// The lines the plugin logged.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.fake.lines()
    }
}

impl NativeHost {
    fn permit(&self, host: &str, port: u16) -> Result<(), NetworkError> {
        if self.granted.iter().any(|(name, number)| name == host && *number == port) {
            return Ok(());
        }
        Err(NetworkError::Denied(format!("connect to {host}:{port} is not granted")))
    }

    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetworkError> {
        self.permit(host, port)?;
        let found = (host, port).to_socket_addrs();
        found.map(Iterator::collect).map_err(|error| NetworkError::NameUnresolved(error.to_string()))
    }
}

impl fmt::Debug for NativeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeHost").field("granted", &self.granted).finish_non_exhaustive()
    }
}

/// Time left before `until`.
fn left(until: Instant) -> Result<Duration, NetworkError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(NetworkError::TimedOut) } else { Ok(left) }
}

fn failure(error: &std::io::Error) -> NetworkError {
    #[cfg(feature = "tls")]
    if let Some(distrust) = tls::distrust(error) {
        return distrust;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => NetworkError::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => NetworkError::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::UnexpectedEof => {
            NetworkError::Closed
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NotFound => {
            NetworkError::Unreachable(error.to_string())
        }
        _ => NetworkError::Other(error.to_string()),
    }
}

impl Host for NativeHost {
    fn log(&self, level: Level, line: &str) {
        self.fake.log(level, line);
    }

    fn monotonic_now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wall_now(&self) -> u64 {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn remaining_ms(&self) -> u32 {
        let left = self.until.saturating_duration_since(Instant::now());
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX)
    }

    fn sleep(&self, ms: u32) {
        thread::sleep(Duration::from_millis(ms.into()).min(self.until.saturating_duration_since(Instant::now())));
    }

    fn random(&self, count: u32) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(count.min(4096)).unwrap_or_default()];
        let read = std::fs::File::open("/dev/urandom").and_then(|mut chance| chance.read_exact(&mut bytes));
        if read.is_ok() { bytes } else { self.fake.random(count) }
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, NetworkError> {
        let mut last = NetworkError::NameUnresolved(format!("{host} has no address"));
        for address in self.addresses(host, port)? {
            match TcpStream::connect_timeout(&address, left(self.until)?) {
                Ok(stream) => return Ok(Box::new(NativeConnection { stream: Box::new(stream), until: self.until })),
                Err(error) => last = failure(&error),
            }
        }
        Err(last)
    }

    #[cfg(feature = "tls")]
    fn start_tls(
        &self,
        connection: Box<dyn Connection>,
        options: &TlsOptions,
    ) -> Result<Box<dyn Connection>, NetworkError> {
        let connection = connection.into_any().downcast::<NativeConnection>();
        let connection = connection.map_err(|_| NetworkError::Invalid("it is another host's connection".to_owned()))?;
        tls::start(*connection, options)
    }

    #[cfg(not(feature = "tls"))]
    fn start_tls(&self, _: Box<dyn Connection>, _: &TlsOptions) -> Result<Box<dyn Connection>, NetworkError> {
        let story = "native tests speak TLS with the feature tls of hilum-plugin; or try it with hilumc call";
        Err(NetworkError::Unsupported(story.to_owned()))
    }

    fn connect_unix(&self, path: &str) -> Result<Box<dyn Connection>, NetworkError> {
        self.permit(path, 0)?;
        let stream = UnixStream::connect(path).map_err(|error| failure(&error))?;
        Ok(Box::new(NativeConnection { stream: Box::new(stream), until: self.until }))
    }

    fn connect_udp(&self, host: &str, port: u16) -> Result<Box<dyn Datagrams>, NetworkError> {
        let addresses = self.addresses(host, port)?;
        let peer = addresses.first().ok_or_else(|| NetworkError::NameUnresolved(format!("{host} has no address")))?;
        let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).map_err(|error| failure(&error))?;
        socket.connect(peer).map_err(|error| failure(&error))?;
        Ok(Box::new(NativeDatagrams { socket, until: self.until }))
    }

    fn resolve(&self, name: &str) -> Result<Vec<String>, NetworkError> {
        self.fake.resolve(name)
    }

    fn dns_servers(&self) -> Result<Vec<String>, NetworkError> {
        self.fake.dns_servers()
    }

    fn fetch(&self, request: &HttpRequest) -> Result<HttpResponse, NetworkError> {
        self.fake.fetch(request)
    }

    fn file_status(&self, path: &str) -> Result<FileStatus, FileError> {
        self.fake.file_status(path)
    }

    fn read_file(&self, path: &str, offset: u64, limit: u32) -> Result<Vec<u8>, FileError> {
        self.fake.read_file(path, offset, limit)
    }

    fn list_directory(&self, path: &str) -> Result<Vec<String>, FileError> {
        self.fake.list_directory(path)
    }

    fn write_file(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<(), FileError> {
        self.fake.write_file(path, bytes, mode)
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        self.fake.remove_file(path)
    }

    fn environment(&self, name: &str) -> Result<Option<String>, String> {
        self.fake.environment(name)
    }

    fn run(&self, command: &str) -> Result<CommandOutput, CommandError> {
        self.fake.run(command)
    }

    fn processes(&self) -> Result<ProcessTable, ProcessError> {
        self.fake.processes()
    }

    fn service(&self) -> Option<Service> {
        self.fake.service()
    }

    fn count(&self, name: &str, labels: &[(&str, &str)], increment: f64) -> Result<(), String> {
        self.fake.count(name, labels, increment)
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String> {
        self.fake.gauge(name, labels, value)
    }

    fn recall(&self, key: &str) -> Option<Vec<u8>> {
        self.fake.recall(key)
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        self.fake.keep(key, value)
    }

    fn keep_if(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, String> {
        self.fake.keep_if(key, expected, value)
    }
}

/// A stream of the system.
trait Stream: Read + Write {
    /// How long a read or a write may take.
    fn limit(&self, time: Duration) -> std::io::Result<()>;
    /// Ends our side.
    fn end(&mut self) -> std::io::Result<()>;
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            fn limit(&self, time: Duration) -> std::io::Result<()> {
                self.set_read_timeout(Some(time))?;
                self.set_write_timeout(Some(time))
            }

            fn end(&mut self) -> std::io::Result<()> {
                self.shutdown(Shutdown::Write)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

struct NativeConnection {
    stream: Box<dyn Stream>,
    until: Instant,
}

struct NativeDatagrams {
    socket: UdpSocket,
    until: Instant,
}

impl Datagrams for NativeDatagrams {
    fn send(&mut self, datagram: &[u8]) -> Result<(), NetworkError> {
        self.socket.send(datagram).map(drop).map_err(|error| failure(&error))
    }

    fn receive(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        let mut bytes = vec![0; usize::try_from(limit.min(65_536)).unwrap_or_default()];
        self.socket.set_read_timeout(Some(left(self.until)?)).map_err(|error| failure(&error))?;
        let count = self.socket.recv(&mut bytes).map_err(|error| failure(&error))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn receive_within(&mut self, limit: u32, ms: u32) -> Result<Option<Vec<u8>>, NetworkError> {
        let soon = self.until.min(Instant::now() + Duration::from_millis(ms.into()));
        let mut hurried =
            NativeDatagrams { socket: self.socket.try_clone().map_err(|error| failure(&error))?, until: soon };
        match hurried.receive(limit) {
            Err(NetworkError::TimedOut) if soon < self.until => Ok(None),
            received => received.map(Some),
        }
    }
}

impl Connection for NativeConnection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NetworkError> {
        self.stream.limit(left(self.until)?).map_err(|error| failure(&error))?;
        self.stream.write_all(bytes).map_err(|error| failure(&error))
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        let mut bytes = vec![0; usize::try_from(limit.min(65_536)).unwrap_or_default()];
        loop {
            self.stream.limit(left(self.until)?).map_err(|error| failure(&error))?;
            match self.stream.read(&mut bytes) {
                Ok(count) => {
                    bytes.truncate(count);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    fn shutdown_write(&mut self) -> Result<(), NetworkError> {
        self.stream.end().map_err(|error| failure(&error))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::NativeHost;
    use crate::host::{Host, NetworkError};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn speaks_with_a_real_peer_where_it_may() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut asked = String::new();
            stream.read_to_string(&mut asked)?;
            stream.write_all(asked.to_uppercase().as_bytes())
        });
        let host = NativeHost::new(Duration::from_secs(10)).with_grant("127.0.0.1", port);
        assert!(matches!(host.connect("localhost", port), Err(NetworkError::Denied(_))));
        let mut connection = host.connect("127.0.0.1", port)?;
        connection.write(b"ping")?;
        connection.shutdown_write()?;
        assert_eq!(connection.read(2)?, b"PI");
        assert_eq!(connection.read(100)?, b"NG");
        assert_eq!(connection.read(100)?, b"");
        assert!(server.join().is_ok_and(|done| done.is_ok()));
        Ok(())
    }

    #[test]
    fn ends_when_its_time_is_up() -> Result<(), Box<dyn std::error::Error>> {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let port = silent.local_addr()?.port();
        let host = NativeHost::new(Duration::from_millis(30)).with_grant("127.0.0.1", port);
        assert_eq!(host.connect("127.0.0.1", port)?.read(1), Err(NetworkError::TimedOut));
        assert_eq!(host.remaining_ms(), 0);
        assert!(matches!(host.connect("127.0.0.1", port), Err(NetworkError::TimedOut)));
        Ok(())
    }
}
