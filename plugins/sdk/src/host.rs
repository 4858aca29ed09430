//! What a plugin may ask of the host, as traits, so that a test can stand in for it.

use std::fmt;

use crate::probe::Outcome;

/// The host.
pub trait Host {
    /// Writes a line to hilum's log.
    fn log(&self, level: Level, line: &str);

    /// Time that never goes back; only differences mean something. **Units:** nanoseconds.
    fn monotonic_now(&self) -> u64;

    /// Time as the machine believes it to be. **Units:** nanoseconds since 1970.
    fn wall_now(&self) -> u64;

    /// Time until host functions answer [`TcpError::TimedOut`]. **Units:** milliseconds.
    fn remaining_ms(&self) -> u32;

    /// Opens a TCP connection to an address (without brackets) or name the plan allows.
    ///
    /// **Errors:** [`TcpError`].
    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, TcpError>;
}

/// An open connection; dropping it closes it.
pub trait Connection {
    /// Writes all of `bytes`, at most 1 MiB.
    ///
    /// **Errors:** [`TcpError`].
    fn write(&mut self, bytes: &[u8]) -> Result<(), TcpError>;

    /// Waits for bytes, at most `limit` and at most 65,536. Empty: the peer has ended its side.
    ///
    /// **Errors:** [`TcpError`].
    fn read(&mut self, limit: u32) -> Result<Vec<u8>, TcpError>;

    /// Ends our side; reading goes on.
    ///
    /// **Errors:** [`TcpError`].
    fn shutdown_write(&mut self) -> Result<(), TcpError>;
}

/// How important a log line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Why something was decided.
    Debug,
    /// What happened.
    Info,
    /// Something is wrong and the plugin carries on.
    Warn,
    /// Something is wrong and the plugin cannot carry on.
    Error,
}

/// Why something could not be done on the network. See `wit/host/tcp.wit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TcpError {
    /// The plan does not allow it.
    Denied(String),
    /// The argument cannot be used.
    Invalid(String),
    /// The host does not know the name.
    NameUnresolved(String),
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable(String),
    /// The call's time is up.
    TimedOut,
    /// The connection is not open any more.
    Closed,
    /// Too many connections.
    Limit(String),
    /// Anything else.
    Other(String),
}

impl TcpError {
    /// What a probe makes of it: what the service did is a failure, time-outs included; what the plan or the plugin did is unknown.
    /// `action` fits after "cannot".
    #[must_use]
    pub fn outcome(&self, action: &str) -> Outcome {
        let story = format!("cannot {action}: {self}");
        match self {
            TcpError::Denied(_) | TcpError::Invalid(_) | TcpError::NameUnresolved(_) | TcpError::Limit(_) => {
                Outcome::Unknown(story)
            }
            TcpError::Refused
            | TcpError::Unreachable(_)
            | TcpError::TimedOut
            | TcpError::Closed
            | TcpError::Other(_) => Outcome::Fail(story),
        }
    }
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpError::Denied(text)
            | TcpError::Invalid(text)
            | TcpError::NameUnresolved(text)
            | TcpError::Unreachable(text)
            | TcpError::Limit(text)
            | TcpError::Other(text) => f.write_str(text),
            TcpError::Refused => f.write_str("connection refused"),
            TcpError::TimedOut => f.write_str("timed out"),
            TcpError::Closed => f.write_str("connection closed by the peer"),
        }
    }
}

impl std::error::Error for TcpError {}
