//! What a plugin may ask of the host, as traits, so that a test can stand in for it. What each function means, and which grant it needs, is
//! said in `wit/host/`.

use std::any::Any;
use std::fmt;

use crate::plugin::{Outcome, Reaction};
use crate::unit::format_duration;

/// The host.
pub trait Host {
    /// Writes a line to hilum's log.
    fn log(&self, level: Level, line: &str);

    /// Time that never goes back; only differences mean something. **Units:** nanoseconds.
    fn monotonic_now(&self) -> u64;

    /// Time as the machine believes it to be. **Units:** nanoseconds since 1970.
    fn wall_now(&self) -> u64;

    /// Time until host functions answer that it is up. **Units:** milliseconds.
    fn remaining_ms(&self) -> u32;

    /// Waits, no longer than there is time.
    fn sleep(&self, ms: u32);

    /// Chance, good enough for secrets; at most 4,096 bytes.
    fn random(&self, count: u32) -> Vec<u8>;

    /// Opens a TCP connection to an address (without brackets) or name the plan allows.
    ///
    /// **Errors:** [`NetworkError`].
    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, NetworkError>;

    /// Agrees on TLS with the peer of a connection that this host opened, and returns the one it protects.
    ///
    /// **Errors:** [`NetworkError`]; the connection is gone then.
    fn start_tls(
        &self,
        connection: Box<dyn Connection>,
        options: &TlsOptions,
    ) -> Result<Box<dyn Connection>, NetworkError>;

    /// Opens a connection to a socket in the file system.
    ///
    /// **Errors:** [`NetworkError`].
    fn connect_unix(&self, path: &str) -> Result<Box<dyn Connection>, NetworkError>;

    /// Makes a datagram socket with one peer.
    ///
    /// **Errors:** [`NetworkError`].
    fn connect_udp(&self, host: &str, port: u16) -> Result<Box<dyn Datagrams>, NetworkError>;

    /// The addresses of a name.
    ///
    /// **Errors:** [`NetworkError`].
    fn resolve(&self, name: &str) -> Result<Vec<String>, NetworkError>;

    /// The DNS servers the machine asks.
    ///
    /// **Errors:** [`NetworkError`].
    fn dns_servers(&self) -> Result<Vec<String>, NetworkError>;

    /// Asks something by HTTP, with TLS done by the host.
    ///
    /// **Errors:** [`NetworkError`].
    fn fetch(&self, request: &HttpRequest) -> Result<HttpResponse, NetworkError>;

    /// What is known of a file or directory.
    ///
    /// **Errors:** [`FileError`].
    fn file_status(&self, path: &str) -> Result<FileStatus, FileError>;

    /// At most `limit` bytes of a file, from `offset`. It is read 65,536 bytes at a time: of a file that is written to meanwhile it may be neither
    /// what was nor what is.
    ///
    /// **Errors:** [`FileError`].
    fn read_file(&self, path: &str, offset: u64, limit: u32) -> Result<Vec<u8>, FileError>;

    /// The names in a directory, sorted.
    ///
    /// **Errors:** [`FileError`].
    fn list_directory(&self, path: &str) -> Result<Vec<String>, FileError>;

    /// Writes a file.
    ///
    /// **Errors:** [`FileError`].
    fn write_file(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<(), FileError>;

    /// Removes a file.
    ///
    /// **Errors:** [`FileError`].
    fn remove_file(&self, path: &str) -> Result<(), FileError>;

    /// A variable of hilum's environment.
    ///
    /// **Errors:** it is not granted, and which grant is missing.
    fn environment(&self, name: &str) -> Result<Option<String>, String>;

    /// Runs a command of the plan to its end.
    ///
    /// **Errors:** [`CommandError`].
    fn run(&self, command: &str) -> Result<CommandOutput, CommandError>;

    /// The processes of the container.
    ///
    /// **Errors:** [`ProcessError`].
    fn processes(&self) -> Result<ProcessTable, ProcessError>;

    /// The service the call is about.
    fn service(&self) -> Option<Service>;

    /// Adds to a counter of the metrics page.
    ///
    /// **Errors:** why it was not taken.
    fn count(&self, name: &str, labels: &[(&str, &str)], increment: f64) -> Result<(), String>;

    /// Sets a gauge of the metrics page.
    ///
    /// **Errors:** why it was not taken.
    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String>;

    /// What the plugin kept under a key.
    fn recall(&self, key: &str) -> Option<Vec<u8>>;

    /// Keeps a value under a key, or with none forgets it.
    ///
    /// **Errors:** why it was not taken.
    fn keep(&self, key: &str, value: Option<&[u8]>) -> Result<(), String>;

    /// The same if the value is `expected` until then; whether it was.
    ///
    /// **Errors:** why it was not taken.
    fn keep_if(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, String>;
}

/// An open connection; dropping it closes it.
pub trait Connection: 'static {
    /// Writes all of `bytes`, at most 1 MiB.
    ///
    /// **Errors:** [`NetworkError`].
    fn write(&mut self, bytes: &[u8]) -> Result<(), NetworkError>;

    /// Waits for bytes, at most `limit` and at most 65,536. Empty: the peer has ended its side.
    ///
    /// **Errors:** [`NetworkError`].
    fn read(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError>;

    /// Ends our side; reading goes on.
    ///
    /// **Errors:** [`NetworkError`].
    fn shutdown_write(&mut self) -> Result<(), NetworkError>;

    /// Itself, for the host that made it.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A datagram socket with one peer; dropping it closes it.
pub trait Datagrams {
    /// Sends one datagram.
    ///
    /// **Errors:** [`NetworkError`].
    fn send(&mut self, datagram: &[u8]) -> Result<(), NetworkError>;

    /// Waits for one datagram, of which at most `limit` bytes are returned.
    ///
    /// **Errors:** [`NetworkError`].
    fn receive(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError>;

    /// The same, but waits no longer than `ms` milliseconds; `None` if nothing came in that time.
    ///
    /// **Errors:** [`NetworkError`].
    fn receive_within(&mut self, limit: u32, ms: u32) -> Result<Option<Vec<u8>>, NetworkError>;
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

/// Who may answer by TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Whom the machine trusts.
    #[default]
    System,
    /// Whom these authorities vouch for: PEM text.
    Authorities(String),
    /// Anybody.
    Anybody,
}

/// Who we are: certificates and private key, PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Ours first.
    pub certificates: String,
    /// Without a passphrase.
    pub key: String,
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// How to agree on TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsOptions {
    /// Name or address the peer's certificate must be for.
    pub server_name: String,
    /// Who may answer.
    pub trust: Trust,
    /// Who we are, if the peer asks.
    pub identity: Option<Identity>,
    /// Protocols to offer (ALPN).
    pub protocols: Vec<String>,
}

/// A request by HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpRequest {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Fields to send.
    pub headers: Vec<(String, String)>,
    /// Content to send.
    pub body: Vec<u8>,
    /// Redirects to follow.
    pub redirects: u32,
    /// Who may answer, for `https`.
    pub trust: Trust,
    /// Name the peer's certificate must be for; the URL's host if none.
    pub server_name: Option<String>,
    /// Who we are, for `https`.
    pub identity: Option<Identity>,
    /// Bytes of content wanted.
    pub limit: u32,
}

/// An answer by HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpResponse {
    /// The URL that answered.
    pub url: String,
    /// The method it was asked with last.
    pub method: String,
    /// Its status.
    pub status: u16,
    /// Its fields, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Special,
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// **Units:** bytes.
    pub size: u64,
    /// When it was changed last. **Units:** nanoseconds since 1970.
    pub modified: u64,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::File => "a file",
            FileKind::Directory => "a directory",
            FileKind::Special => "neither a file nor a directory",
        })
    }
}

/// How far a file may be ahead of the clock. **Units:** nanoseconds; a minute. File systems keep coarse time, and that of a network is another
/// machine's; what is further ahead is the sign of a clock that was set back, after which no age means anything.
const AHEAD: u64 = 60_000_000_000;

impl FileStatus {
    /// How long ago it was changed last. **Units:** milliseconds; 0 for what is up to a minute ahead of the clock.
    ///
    /// **Errors:** it is further ahead; the text fits after what it is called.
    pub fn age_ms(&self, host: &impl Host) -> Result<u64, String> {
        let now = host.wall_now();
        match self.modified.saturating_sub(now) {
            0..=AHEAD => Ok(now.saturating_sub(self.modified) / 1_000_000),
            ahead => Err(format!(
                "was changed {} after now by the machine's clock; the clock was set back, or the file's time was set",
                format_duration(ahead / 1_000_000)
            )),
        }
    }
}

/// How to write a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// The file has exactly these bytes afterwards.
    Replace,
    /// The bytes come after those that are there.
    Append,
    /// The file is made; one that is there is an error.
    Create,
}

/// How a command ended, and what it wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandOutput {
    /// How.
    pub ending: Ending,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
    /// Whether one of them was longer.
    pub cut: bool,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
}

/// A process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The kernel's name for it.
    pub name: String,
    /// Its command line.
    pub command: Vec<String>,
    /// `R`, `S`, `D`, `Z` and so on.
    pub state: String,
    /// The user it runs as.
    pub user: u32,
    /// How long ago it was started. **Units:** milliseconds.
    pub age_ms: u64,
    /// Resident memory. **Units:** bytes.
    pub memory: u64,
    /// Processor time. **Units:** milliseconds.
    pub cpu_ms: u64,
}

/// The processes of a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessTable {
    /// By number.
    pub processes: Vec<Process>,
    /// Whether there are more.
    pub cut: bool,
}

/// Why processes cannot be listed. See `wit/host/processes.wit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProcessError {
    /// The plan does not allow it.
    Denied(String),
    /// This machine cannot tell.
    Unsupported(String),
    /// The call's time is up.
    TimedOut,
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessError::Denied(text) | ProcessError::Unsupported(text) => f.write_str(text),
            ProcessError::TimedOut => f.write_str("timed out"),
        }
    }
}

impl std::error::Error for ProcessError {}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// Its name in the plan.
    pub name: String,
    /// The life it is in; none between two.
    pub run: Option<Run>,
    /// How long ago it was started, the last time first. **Units:** milliseconds.
    pub starts: Vec<u64>,
}

/// One life of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Which, from 1.
    pub number: u32,
    /// Its process.
    pub pid: u32,
    /// **Units:** milliseconds.
    pub age_ms: u64,
}

/// Why something could not be done on the network. See `wit/host/connection.wit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkError {
    /// The plan does not allow it.
    Denied(String),
    /// The system does not permit it.
    Forbidden(String),
    /// The argument cannot be used.
    Invalid(String),
    /// This hilum or this machine cannot do it.
    Unsupported(String),
    /// Nobody knows the name.
    NameUnresolved(String),
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable(String),
    /// The call's time is up.
    TimedOut,
    /// The connection is not open any more.
    Closed,
    /// TLS was not agreed on.
    Untrusted(String),
    /// Too many connections.
    Limit(String),
    /// Anything else.
    Other(String),
}

impl NetworkError {
    /// What a probe makes of it: what the service did is a failure, time-outs included; what the plan, the machine or the plugin did is
    /// unknown. `action` fits after "cannot".
    #[must_use]
    pub fn outcome(&self, action: &str) -> Outcome {
        let story = format!("cannot {action}: {self}");
        match self {
            NetworkError::Denied(_)
            | NetworkError::Forbidden(_)
            | NetworkError::Invalid(_)
            | NetworkError::Unsupported(_)
            | NetworkError::NameUnresolved(_)
            | NetworkError::Limit(_) => Outcome::Unknown(story),
            NetworkError::Refused
            | NetworkError::Unreachable(_)
            | NetworkError::TimedOut
            | NetworkError::Closed
            | NetworkError::Untrusted(_)
            | NetworkError::Other(_) => Outcome::Fail(story),
        }
    }

    /// What a callback makes of it: what may be over by the next try is tried again, whoever is to blame, for names, certificates and limits
    /// come right while nobody touches the plan; what the plan, the system or the plugin itself is in the way of will be there again, and
    /// has failed. `story` is all that is said; it should end with this error.
    #[must_use]
    pub fn reaction(&self, story: String) -> Reaction {
        match self {
            NetworkError::Denied(_)
            | NetworkError::Forbidden(_)
            | NetworkError::Invalid(_)
            | NetworkError::Unsupported(_) => Reaction::Failed(story),
            NetworkError::NameUnresolved(_)
            | NetworkError::Refused
            | NetworkError::Unreachable(_)
            | NetworkError::TimedOut
            | NetworkError::Closed
            | NetworkError::Untrusted(_)
            | NetworkError::Limit(_)
            | NetworkError::Other(_) => Reaction::retry(story),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Denied(text)
            | NetworkError::Forbidden(text)
            | NetworkError::Invalid(text)
            | NetworkError::Unsupported(text)
            | NetworkError::NameUnresolved(text)
            | NetworkError::Unreachable(text)
            | NetworkError::Untrusted(text)
            | NetworkError::Limit(text)
            | NetworkError::Other(text) => f.write_str(text),
            NetworkError::Refused => f.write_str("connection refused"),
            NetworkError::TimedOut => f.write_str("timed out"),
            NetworkError::Closed => f.write_str("connection closed by the peer"),
        }
    }
}

impl std::error::Error for NetworkError {}

/// Why something could not be done with a file. See `wit/host/files.wit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileError {
    /// The plan does not allow it.
    Denied(String),
    /// The argument cannot be used.
    Invalid(String),
    /// It is not there.
    NotFound(String),
    /// It is there already.
    Exists(String),
    /// It is not of the kind asked for.
    WrongKind(String),
    /// The system does not permit it.
    Forbidden(String),
    /// The call's time is up.
    TimedOut,
    /// Anything else.
    Other(String),
}

impl FileError {
    /// What a probe makes of it, by the rule of [`NetworkError::outcome`]: what is missing, of the wrong kind, broken or does not answer is a
    /// failure; what the plan or a permission keeps the plugin from is unknown. `action` fits after "cannot", and need not name the path:
    /// the texts of the host do.
    #[must_use]
    pub fn outcome(&self, action: &str, path: &str) -> Outcome {
        let story = match self {
            FileError::TimedOut => format!("cannot {action}: {path}: the file system did not answer in time"),
            error => format!("cannot {action}: {error}"),
        };
        match self {
            FileError::Denied(_) | FileError::Invalid(_) => Outcome::Unknown(story),
            FileError::Forbidden(_) => Outcome::Unknown(format!(
                "{story}; plugins run as user 65534 where hilum is root, and links must not lead out of what is granted"
            )),
            FileError::NotFound(_)
            | FileError::Exists(_)
            | FileError::WrongKind(_)
            | FileError::TimedOut
            | FileError::Other(_) => Outcome::Fail(story),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Denied(text)
            | FileError::Invalid(text)
            | FileError::NotFound(text)
            | FileError::Exists(text)
            | FileError::WrongKind(text)
            | FileError::Forbidden(text)
            | FileError::Other(text) => f.write_str(text),
            FileError::TimedOut => f.write_str("timed out"),
        }
    }
}

impl std::error::Error for FileError {}

/// Why a command did not run to its end. See `wit/host/command.wit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The plan does not allow it.
    Denied(String),
    /// It could not be started.
    Failed(String),
    /// Its time, or the call's, was up.
    TimedOut,
    /// Too many run already.
    Limit(String),
}

impl CommandError {
    /// What a probe makes of it, by the rule of [`NetworkError::outcome`]: too slow is a failure; a command that did not run at all says
    /// nothing about the service. `action` fits after "cannot".
    #[must_use]
    pub fn outcome(&self, action: &str) -> Outcome {
        let story = format!("cannot {action}: {self}");
        match self {
            CommandError::Denied(_) | CommandError::Failed(_) | CommandError::Limit(_) => Outcome::Unknown(story),
            CommandError::TimedOut => Outcome::Fail(story),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Denied(text) | CommandError::Failed(text) | CommandError::Limit(text) => f.write_str(text),
            CommandError::TimedOut => f.write_str("timed out"),
        }
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::NetworkError;
    use crate::plugin::{Outcome, Reaction};

    #[test]
    fn probes_blame_the_service_and_callbacks_ask_whether_it_can_be_over() {
        let text = || "because".to_owned();
        let said = |error: &NetworkError| format!("cannot try: {error}");
        // Whether it is the service's fault, and whether it may be over by the next try.
        for (error, blamed, passing) in [
            (NetworkError::Denied(text()), false, false),
            (NetworkError::Forbidden(text()), false, false),
            (NetworkError::Invalid(text()), false, false),
            (NetworkError::Unsupported(text()), false, false),
            (NetworkError::NameUnresolved(text()), false, true),
            (NetworkError::Limit(text()), false, true),
            (NetworkError::Refused, true, true),
            (NetworkError::Unreachable(text()), true, true),
            (NetworkError::TimedOut, true, true),
            (NetworkError::Closed, true, true),
            (NetworkError::Untrusted(text()), true, true),
            (NetworkError::Other(text()), true, true),
        ] {
            let outcome = if blamed { Outcome::Fail(said(&error)) } else { Outcome::Unknown(said(&error)) };
            assert_eq!(error.outcome("try"), outcome);
            let reaction = if passing { Reaction::retry(said(&error)) } else { Reaction::Failed(said(&error)) };
            assert_eq!(error.reaction(said(&error)), reaction);
        }
    }
}
