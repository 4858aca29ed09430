//! A host of real sockets, for native tests against real servers. It grants what a test lists and ends when its time is up, as hilum does;
//! what it cannot show is the sandbox.

use std::cell::RefCell;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use crate::host::{Connection, Host, Level, TcpError};

/// A host that opens the sockets of this machine.
pub struct NativeHost {
    started: Instant,
    until: Instant,
    granted: Vec<(String, u16)>,
    lines: RefCell<Vec<(Level, String)>>,
}

impl NativeHost {
    /// A host that grants nothing, with this much time.
    #[must_use]
    pub fn new(timeout: Duration) -> NativeHost {
        let started = Instant::now();
        NativeHost { started, until: started + timeout, granted: Vec::new(), lines: RefCell::default() }
    }

    /// Allows connections to `host` and `port`.
    #[must_use]
    pub fn with_grant(mut self, host: &str, port: u16) -> NativeHost {
        self.granted.push((host.to_owned(), port));
        self
    }

    /// The lines the plugin logged.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.lines.borrow().clone()
    }
}

impl fmt::Debug for NativeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeHost").field("granted", &self.granted).finish_non_exhaustive()
    }
}

/// Time left before `until`.
fn left(until: Instant) -> Result<Duration, TcpError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(TcpError::TimedOut) } else { Ok(left) }
}

fn failure(error: &std::io::Error) -> TcpError {
    match error.kind() {
        ErrorKind::ConnectionRefused => TcpError::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => TcpError::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => TcpError::Closed,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => TcpError::Unreachable(error.to_string()),
        _ => TcpError::Other(error.to_string()),
    }
}

impl Host for NativeHost {
    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.to_owned()));
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

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, TcpError> {
        if !self.granted.iter().any(|(name, number)| name == host && *number == port) {
            return Err(TcpError::Denied(format!("connect to {host}:{port} is not in the plugin's allow.connect")));
        }
        let addresses: Vec<SocketAddr> =
            (host, port).to_socket_addrs().map_err(|error| TcpError::NameUnresolved(error.to_string()))?.collect();
        let mut last = TcpError::NameUnresolved(format!("{host} has no address"));
        for address in addresses {
            match TcpStream::connect_timeout(&address, left(self.until)?) {
                Ok(stream) => return Ok(Box::new(NativeConnection { stream, until: self.until })),
                Err(error) => last = failure(&error),
            }
        }
        Err(last)
    }
}

struct NativeConnection {
    stream: TcpStream,
    until: Instant,
}

impl Connection for NativeConnection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TcpError> {
        self.stream.set_write_timeout(Some(left(self.until)?)).map_err(|error| failure(&error))?;
        self.stream.write_all(bytes).map_err(|error| failure(&error))
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, TcpError> {
        let mut bytes = vec![0; usize::try_from(limit.min(65_536)).unwrap_or_default()];
        loop {
            self.stream.set_read_timeout(Some(left(self.until)?)).map_err(|error| failure(&error))?;
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

    fn shutdown_write(&mut self) -> Result<(), TcpError> {
        self.stream.shutdown(Shutdown::Write).map_err(|error| failure(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::NativeHost;
    use crate::host::{Host, TcpError};
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
        assert!(matches!(host.connect("localhost", port), Err(TcpError::Denied(_))));
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
        assert_eq!(host.connect("127.0.0.1", port)?.read(1), Err(TcpError::TimedOut));
        assert_eq!(host.remaining_ms(), 0);
        assert!(matches!(host.connect("127.0.0.1", port), Err(TcpError::TimedOut)));
        Ok(())
    }
}
