//! A host for native tests: a script of what each place answers, and a record of what the plugin did. Time passes only where the script
//! says so. What hostile places answer is [`Random`]'s to make up.

mod random;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::host::{
    CommandError, CommandOutput, Connection, Datagrams, FileError, FileKind, FileStatus, Host, HttpRequest,
    HttpResponse, Level, NetworkError, Process, ProcessError, ProcessTable, Service, TlsOptions, WriteMode,
};

pub use self::random::Random;

/// A host that plays a script. What the script does not mention is denied.
#[derive(Debug, Default)]
pub struct FakeHost {
    clock: Rc<FakeClock>,
    peers: RefCell<Vec<Peer>>,
    lines: RefCell<Vec<(Level, String)>>,
    conversations: RefCell<Vec<Rc<RefCell<Conversation>>>>,
    names: Vec<(String, Result<Vec<String>, NetworkError>)>,
    servers: Vec<String>,
    pages: Vec<(String, Result<HttpResponse, NetworkError>)>,
    requests: RefCell<Vec<HttpRequest>>,
    files: RefCell<BTreeMap<String, Result<FakeFile, FileError>>>,
    variables: BTreeMap<String, Option<String>>,
    commands: Vec<(String, Result<CommandOutput, CommandError>)>,
    processes: Option<Vec<Process>>,
    service: Option<Service>,
    series: RefCell<Vec<(String, f64)>>,
    kept: RefCell<BTreeMap<String, Vec<u8>>>,
    tls_refusal: Option<NetworkError>,
    agreements: RefCell<Vec<TlsOptions>>,
}

/// A file of a script.
#[derive(Clone, Debug)]
struct FakeFile {
    bytes: Vec<u8>,
    status: FileStatus,
}

/// Time left, counted down by scripts.
#[derive(Debug, Default)]
struct FakeClock {
    started_with_ms: Cell<u32>,
    remaining_ms: Cell<u32>,
}

impl FakeClock {
    fn pass(&self, ms: u32) -> Result<(), NetworkError> {
        let left = self.remaining_ms.get().saturating_sub(ms);
        self.remaining_ms.set(left);
        if left == 0 { Err(NetworkError::TimedOut) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Peer {
    host: String,
    port: u16,
    behaviour: Result<Vec<Step>, NetworkError>,
}

/// The place of a socket in the file system, among peers.
fn unix(path: &str) -> String {
    format!("unix:{path}")
}

/// The place of one that talks by datagrams, among peers.
fn udp(host: &str) -> String {
    format!("udp:{host}")
}

/// What a peer does next on a connection, or with datagrams, of which each `Send` is one. After the last step it has ended its side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Sends bytes. A read gets those of one step at a time.
    Send(Vec<u8>),
    /// Sends bytes one by one, this many milliseconds apart.
    Drip {
        /// What.
        bytes: Vec<u8>,
        /// How slowly.
        every_ms: u32,
    },
    /// Says nothing until the call's time is up.
    Hang,
    /// Breaks the connection off.
    Reset,
}

/// What passed over one connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conversation {
    /// Where to.
    pub peer: (String, u16),
    /// What the plugin wrote; datagrams one after the other.
    pub written: Vec<u8>,
    /// The name it agreed on TLS with, if it did.
    pub tls: Option<String>,
    /// Whether it ended its side.
    pub shut: bool,
    /// Whether it let go of the connection.
    pub closed: bool,
}

impl FakeHost {
    /// A host that grants nothing, with ten seconds left.
    #[must_use]
    pub fn new() -> FakeHost {
        let host = FakeHost::default();
        host.with_remaining(10_000)
    }

    /// Sets the time left. **Units:** milliseconds.
    #[must_use]
    pub fn with_remaining(self, ms: u32) -> FakeHost {
        self.clock.started_with_ms.set(ms);
        self.clock.remaining_ms.set(ms);
        self
    }

    /// Lets someone listen at `host` and `port` who does `steps` on every connection.
    #[must_use]
    pub fn with_peer(self, host: &str, port: u16, steps: Vec<Step>) -> FakeHost {
        self.peers.borrow_mut().push(Peer { host: host.to_owned(), port, behaviour: Ok(steps) });
        self
    }

    /// Lets connections to `host` and `port` fail.
    #[must_use]
    pub fn with_failure(self, host: &str, port: u16, error: NetworkError) -> FakeHost {
        self.peers.borrow_mut().push(Peer { host: host.to_owned(), port, behaviour: Err(error) });
        self
    }

    /// Lets someone listen at the socket `path` who does `steps` on every connection.
    #[must_use]
    pub fn with_unix_peer(self, path: &str, steps: Vec<Step>) -> FakeHost {
        self.with_peer(&unix(path), 0, steps)
    }

    /// Lets connections to the socket `path` fail.
    #[must_use]
    pub fn with_unix_failure(self, path: &str, error: NetworkError) -> FakeHost {
        self.with_failure(&unix(path), 0, error)
    }

    /// Lets someone answer datagrams at `host` and `port` by `steps`.
    #[must_use]
    pub fn with_datagrams(self, host: &str, port: u16, steps: Vec<Step>) -> FakeHost {
        self.with_peer(&udp(host), port, steps)
    }

    /// Lets every agreement on TLS fail.
    #[must_use]
    pub fn with_tls_refusal(mut self, error: NetworkError) -> FakeHost {
        self.tls_refusal = Some(error);
        self
    }

    /// How the plugin wanted to agree on TLS, each time.
    #[must_use]
    pub fn agreements(&self) -> Vec<TlsOptions> {
        self.agreements.borrow().clone()
    }

    /// Gives a name addresses, or an error.
    #[must_use]
    pub fn with_name(mut self, name: &str, addresses: Result<Vec<&str>, NetworkError>) -> FakeHost {
        let addresses = addresses.map(|all| all.into_iter().map(str::to_owned).collect());
        self.names.push((name.to_owned(), addresses));
        self
    }

    /// Gives the machine DNS servers.
    #[must_use]
    pub fn with_dns_servers(mut self, servers: &[&str]) -> FakeHost {
        self.servers = servers.iter().map(|server| (*server).to_owned()).collect();
        self
    }

    /// Lets a request for `url` end so.
    #[must_use]
    pub fn with_page(mut self, url: &str, answer: Result<HttpResponse, NetworkError>) -> FakeHost {
        self.pages.push((url.to_owned(), answer));
        self
    }

    /// Grants a file with these bytes, last changed `age_ms` before the call.
    #[must_use]
    pub fn with_file(self, path: &str, bytes: &[u8], age_ms: u64) -> FakeHost {
        let modified = START.saturating_sub(age_ms.saturating_mul(1_000_000));
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let status = FileStatus { kind: FileKind::File, size, modified, mode: 0o644 };
        self.with_entry(path, Ok(FakeFile { bytes: bytes.to_vec(), status }))
    }

    /// Grants something that is no file.
    #[must_use]
    pub fn with_special(self, path: &str, kind: FileKind) -> FakeHost {
        let status = FileStatus { kind, size: 0, modified: START, mode: 0o755 };
        self.with_entry(path, Ok(FakeFile { bytes: Vec::new(), status }))
    }

    /// Grants something of which only this is known; as a file it is empty, whatever its size.
    #[must_use]
    pub fn with_status(self, path: &str, status: FileStatus) -> FakeHost {
        self.with_entry(path, Ok(FakeFile { bytes: Vec::new(), status }))
    }

    /// Grants a path that cannot be used.
    #[must_use]
    pub fn with_file_error(self, path: &str, error: FileError) -> FakeHost {
        self.with_entry(path, Err(error))
    }

    fn with_entry(self, path: &str, entry: Result<FakeFile, FileError>) -> FakeHost {
        self.files.borrow_mut().insert(path.to_owned(), entry);
        self
    }

    /// Grants a variable, set or not.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: Option<&str>) -> FakeHost {
        self.variables.insert(name.to_owned(), value.map(str::to_owned));
        self
    }

    /// Grants a command that ends so.
    #[must_use]
    pub fn with_command(mut self, name: &str, result: Result<CommandOutput, CommandError>) -> FakeHost {
        self.commands.push((name.to_owned(), result));
        self
    }

    /// Grants the processes.
    #[must_use]
    pub fn with_processes(mut self, processes: Vec<Process>) -> FakeHost {
        self.processes = Some(processes);
        self
    }

    /// Says which service the call is about.
    #[must_use]
    pub fn with_service(mut self, service: Service) -> FakeHost {
        self.service = Some(service);
        self
    }

    /// Has kept a value since an earlier call.
    #[must_use]
    pub fn with_kept(self, key: &str, value: &[u8]) -> FakeHost {
        self.kept.borrow_mut().insert(key.to_owned(), value.to_vec());
        self
    }

    /// The requests the plugin made by HTTP.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.borrow().clone()
    }

    /// The series the plugin measured, `name{label="value"}` and what it said last.
    #[must_use]
    pub fn series(&self) -> Vec<(String, f64)> {
        self.series.borrow().clone()
    }

    /// What the plugin keeps.
    #[must_use]
    pub fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        self.kept.borrow().clone()
    }

    /// The content of a file now, if there is one.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.files.borrow().get(path)?.as_ref().ok().map(|file| file.bytes.clone())
    }

    fn entry(&self, path: &str) -> Result<FakeFile, FileError> {
        self.clock.pass(0).map_err(|_| FileError::TimedOut)?;
        match self.files.borrow().get(path) {
            Some(entry) => entry.clone(),
            None => Err(FileError::Denied(format!("reading {path} is not granted"))),
        }
    }

    fn measure(&self, name: &str, labels: &[(&str, &str)], value: impl FnOnce(f64) -> f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let name = if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) };
        let mut series = self.series.borrow_mut();
        match series.iter_mut().find(|(known, _)| *known == name) {
            Some((_, current)) => *current = value(*current),
            None => series.push((name, value(0.0))),
        }
    }

    fn converse(&self, host: &str, port: u16, shown: &str) -> Result<FakeConnection, NetworkError> {
        self.clock.pass(0)?;
        let peers = self.peers.borrow();
        let Some(peer) = peers.iter().find(|peer| peer.host == host && peer.port == port) else {
            return Err(NetworkError::Denied(format!(
                "connect to {shown} is not granted; to allow it, add \"{shown}\" to allow.connect of this plugin"
            )));
        };
        let steps = peer.behaviour.clone()?;
        let conversation = Conversation { peer: (host.to_owned(), port), ..Conversation::default() };
        let conversation = Rc::new(RefCell::new(conversation));
        self.conversations.borrow_mut().push(Rc::clone(&conversation));
        Ok(FakeConnection { clock: Rc::clone(&self.clock), steps: steps.into(), conversation })
    }

    /// The lines the plugin logged.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.lines.borrow().clone()
    }

    /// The connections the plugin made, in order.
    #[must_use]
    pub fn conversations(&self) -> Vec<Conversation> {
        self.conversations.borrow().iter().map(|conversation| conversation.borrow().clone()).collect()
    }
}

/// When calls begin. **Units:** nanoseconds since 1970.
const START: u64 = 1_800_000_000_000_000_000;

impl Host for FakeHost {
    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.to_owned()));
    }

    fn monotonic_now(&self) -> u64 {
        u64::from(self.clock.started_with_ms.get() - self.clock.remaining_ms.get()) * 1_000_000
    }

    fn wall_now(&self) -> u64 {
        START + self.monotonic_now()
    }

    fn remaining_ms(&self) -> u32 {
        self.clock.remaining_ms.get()
    }

    fn sleep(&self, ms: u32) {
        let _slept = self.clock.pass(ms.min(self.clock.remaining_ms.get()));
    }

    fn random(&self, count: u32) -> Vec<u8> {
        // Not chance: a test wants the same each time.
        (0..count.min(4096)).map(|index| u8::try_from(index % 251).unwrap_or_default()).collect()
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, NetworkError> {
        Ok(Box::new(self.converse(host, port, &format!("{host}:{port}"))?))
    }

    fn start_tls(
        &self,
        connection: Box<dyn Connection>,
        options: &TlsOptions,
    ) -> Result<Box<dyn Connection>, NetworkError> {
        self.clock.pass(0)?;
        self.agreements.borrow_mut().push(options.clone());
        self.tls_refusal.clone().map_or(Ok(()), Err)?;
        match connection.into_any().downcast::<FakeConnection>() {
            Ok(connection) => {
                connection.conversation.borrow_mut().tls = Some(options.server_name.clone());
                Ok(connection)
            }
            Err(_) => Err(NetworkError::Invalid("the connection is not this host's".to_owned())),
        }
    }

    fn connect_unix(&self, path: &str) -> Result<Box<dyn Connection>, NetworkError> {
        Ok(Box::new(self.converse(&unix(path), 0, &unix(path))?))
    }

    fn connect_udp(&self, host: &str, port: u16) -> Result<Box<dyn Datagrams>, NetworkError> {
        Ok(Box::new(self.converse(&udp(host), port, &format!("udp:{host}:{port}"))?))
    }

    fn resolve(&self, name: &str) -> Result<Vec<String>, NetworkError> {
        self.clock.pass(0)?;
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map_or_else(
            || {
                Err(NetworkError::Denied(format!(
                    "looking up {name} is not granted; to allow it, add \"{name}\" to allow.resolve of this plugin"
                )))
            },
            |(_, addresses)| addresses.clone(),
        )
    }

    fn dns_servers(&self) -> Result<Vec<String>, NetworkError> {
        Ok(self.servers.clone())
    }

    fn fetch(&self, request: &HttpRequest) -> Result<HttpResponse, NetworkError> {
        self.clock.pass(0)?;
        self.requests.borrow_mut().push(request.clone());
        let found = self.pages.iter().find(|(url, _)| *url == request.url);
        found.map_or_else(
            || Err(NetworkError::Denied(format!("connect to {} is not granted", request.url))),
            |(_, answer)| answer.clone(),
        )
    }

    fn file_status(&self, path: &str) -> Result<FileStatus, FileError> {
        self.entry(path).map(|file| file.status)
    }

    fn read_file(&self, path: &str, offset: u64, limit: u32) -> Result<Vec<u8>, FileError> {
        let file = self.entry(path)?;
        if file.status.kind != FileKind::File {
            return Err(FileError::WrongKind(format!("{path}: it is not a regular file")));
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.bytes.len());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(file.bytes.iter().skip(from).take(limit).copied().collect())
    }

    fn list_directory(&self, path: &str) -> Result<Vec<String>, FileError> {
        if self.entry(path)?.status.kind != FileKind::Directory {
            return Err(FileError::WrongKind(format!("{path}: it is not a directory")));
        }
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let files = self.files.borrow();
        let below = files.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(below.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn write_file(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<(), FileError> {
        let mut file = self.entry(path)?;
        match mode {
            WriteMode::Replace => file.bytes = bytes.to_vec(),
            WriteMode::Append => file.bytes.extend_from_slice(bytes),
            WriteMode::Create => return Err(FileError::Exists(format!("{path}: it is there already"))),
        }
        file.status.size = u64::try_from(file.bytes.len()).unwrap_or(u64::MAX);
        self.files.borrow_mut().insert(path.to_owned(), Ok(file));
        Ok(())
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        self.entry(path)?;
        let gone = Err(FileError::NotFound(format!("{path}: no such file")));
        self.files.borrow_mut().insert(path.to_owned(), gone);
        Ok(())
    }

    fn environment(&self, name: &str) -> Result<Option<String>, String> {
        let denied =
            || format!("reading {name} is not granted; to allow it, add \"{name}\" to allow.env of this plugin");
        self.variables.get(name).cloned().ok_or_else(denied)
    }

    fn run(&self, command: &str) -> Result<CommandOutput, CommandError> {
        let found = self.commands.iter().find(|(name, _)| name == command);
        let denied = || {
            let story = format!(
                "running {command} is not granted; to allow it, add \"{command}\" to allow.exec of this plugin"
            );
            Err(CommandError::Denied(story))
        };
        found.map_or_else(denied, |(_, result)| result.clone())
    }

    fn processes(&self) -> Result<ProcessTable, ProcessError> {
        let denied = || "seeing processes is not granted; to allow it, set allow.processes of this plugin to true";
        let processes = self.processes.clone().ok_or_else(|| ProcessError::Denied(denied().to_owned()))?;
        Ok(ProcessTable { processes, cut: false })
    }

    fn service(&self) -> Option<Service> {
        self.service.clone()
    }

    fn count(&self, name: &str, labels: &[(&str, &str)], increment: f64) -> Result<(), String> {
        self.measure(name, labels, |value| value + increment);
        Ok(())
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String> {
        self.measure(name, labels, |_| value);
        Ok(())
    }

    fn recall(&self, key: &str) -> Option<Vec<u8>> {
        self.kept.borrow().get(key).cloned()
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let mut kept = self.kept.borrow_mut();
        match value {
            Some(value) => kept.insert(key.to_owned(), value.to_vec()),
            None => kept.remove(key),
        };
        Ok(())
    }

    fn keep_if(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, String> {
        let holds = self.recall(key).as_deref() == expected;
        if holds {
            self.keep(key, value)?;
        }
        Ok(holds)
    }
}

struct FakeConnection {
    clock: Rc<FakeClock>,
    steps: VecDeque<Step>,
    conversation: Rc<RefCell<Conversation>>,
}

impl Connection for FakeConnection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NetworkError> {
        self.clock.pass(0)?;
        let mut conversation = self.conversation.borrow_mut();
        if conversation.shut {
            return Err(NetworkError::Closed);
        }
        conversation.written.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        self.clock.pass(0)?;
        let limit = usize::try_from(limit.min(65_536)).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        loop {
            match self.steps.front_mut() {
                None => return Ok(Vec::new()),
                Some(Step::Hang) => return self.clock.pass(u32::MAX).map(|()| Vec::new()),
                Some(Step::Reset) => return Err(NetworkError::Closed),
                Some(Step::Send(bytes) | Step::Drip { bytes, .. }) if bytes.is_empty() => {
                    self.steps.pop_front();
                }
                Some(Step::Send(bytes)) => return Ok(bytes.drain(..limit.min(bytes.len())).collect()),
                Some(Step::Drip { bytes, every_ms }) => {
                    self.clock.pass(*every_ms)?;
                    return Ok(bytes.drain(..1).collect());
                }
            }
        }
    }

    fn shutdown_write(&mut self) -> Result<(), NetworkError> {
        self.clock.pass(0)?;
        self.conversation.borrow_mut().shut = true;
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Datagrams for FakeConnection {
    fn send(&mut self, datagram: &[u8]) -> Result<(), NetworkError> {
        self.write(datagram)
    }

    fn receive(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        if self.steps.is_empty() {
            // Nobody ends a side there; there is only silence.
            self.steps.push_back(Step::Hang);
        }
        let whole = self.read(65_536)?;
        Ok(whole.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    fn receive_within(&mut self, limit: u32, ms: u32) -> Result<Option<Vec<u8>>, NetworkError> {
        // A step of silence is for one wait.
        if self.steps.pop_front_if(|step| *step == Step::Hang).is_some() || self.steps.is_empty() {
            self.clock.pass(ms)?;
            return Ok(None);
        }
        self.receive(limit).map(Some)
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.conversation.borrow_mut().closed = true;
    }
}
