//! The role's loop: requests in, calls side by side, answers out. It ends when PID 1 does.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hilum_sys::channel::Channel;
use hilum_sys::pages::Pages;
use hilum_sys::{confine, open};
use hilum_wire::{Answer, FrameError, FromSandbox, LoadFailure, MAX_FRAME, Octets, Series, ToSandbox, VERSION, decode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{AbortHandle, JoinSet};

use crate::bindings::plugin::Description;
use crate::call;
use crate::host::{Host, HostError};
use crate::load::{self, LoadCause, LoadError, Order, Plugin};
use crate::outbox::Outbox;
use crate::runs::Runs;
use crate::ticker;
use crate::uplink::{Running, Uplink};

/// Calls that may run at once. Each holds up to its memory cap; PID 1's plans have a handful. More are answered `unknown` at once.
const MAX_CALLS: usize = 256;

/// Requests taken in a row before answers get their turn.
const MAX_BATCH: usize = 64;

/// Why the role ended before PID 1 did.
#[derive(Debug)]
pub enum ServeError {
    /// There is nothing to run plugins on.
    Host(HostError),
    /// The loop could not be set up.
    Runtime(io::Error),
    /// The channel failed.
    Channel(io::Error),
    /// PID 1 sent something that is not in the protocol.
    Frame(FrameError),
    /// PID 1 spoke before its hello, or said it twice.
    Hello,
    /// PID 1 speaks another version.
    Version {
        /// Which.
        theirs: u32,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Host(_) => f.write_str("cannot set up the plugin host"),
            ServeError::Runtime(_) => f.write_str("cannot set up the event loop"),
            ServeError::Channel(_) => f.write_str("cannot use the channel to PID 1"),
            ServeError::Frame(_) => f.write_str("cannot understand PID 1"),
            ServeError::Hello => f.write_str("bug: PID 1 did not begin with one hello"),
            ServeError::Version { theirs } => {
                write!(
                    f,
                    "PID 1 speaks protocol {theirs}, this worker {VERSION}: the file was replaced under it; restart the container"
                )
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Host(error) => Some(error),
            ServeError::Runtime(error) | ServeError::Channel(error) => Some(error),
            ServeError::Frame(error) => Some(error),
            ServeError::Hello | ServeError::Version { .. } => None,
        }
    }
}

/// Serves PID 1 at the other end of `channel` until it closes it. `refused` is what confinement could not take, for its log.
///
/// **Order:** once, as the last thing the process does, after it confined itself.
///
/// **Errors:** [`ServeError`]; calls in flight are then lost.
pub fn serve(channel: Channel, refused: Vec<String>) -> Result<(), ServeError> {
    let host = Arc::new(Host::new().map_err(ServeError::Host)?);
    run(async {
        // A loop knows a descriptor once; this is the one to wait for room by.
        let second = channel.as_fd().try_clone_to_owned().map_err(ServeError::Channel)?;
        let channel = listen(channel, Interest::READABLE)?;
        Role {
            outbox: Outbox::default(),
            plugins: HashMap::new(),
            calls: HashMap::new(),
            loads: HashMap::new(),
            kept: HashMap::new(),
            runs: Runs::default(),
            tasks: JoinSet::new(),
            greeted: false,
            sealing: Sealing::Open(host),
        }
        .run(&channel, second.as_fd(), refused)
        .await
    })
    .map_err(ServeError::Runtime)?
}

/// Has the loop tell when `descriptor` is ready for what `interest` says, and for nothing else.
fn listen<T: AsRawFd>(descriptor: T, interest: Interest) -> Result<AsyncFd<T>, ServeError> {
    #[expect(
        deprecated,
        reason = "its successor asks in unsafe for what holds here: what is given keeps its one descriptor"
    )]
    AsyncFd::with_interest(descriptor, interest).map_err(ServeError::Channel)
}

/// Runs `future` on a loop as calls need it, without a role around it: for tools that make a call by hand.
///
/// **Errors:** the loop could not be set up.
pub fn run<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(ticker::runtime()?.block_on(future))
}

struct Role {
    outbox: Outbox,
    plugins: HashMap<u16, Arc<Plugin>>,
    /// Calls in flight by their number.
    calls: HashMap<u64, AbortHandle>,
    /// Loads in flight by their plugin.
    loads: HashMap<u16, AbortHandle>,
    /// What plugins kept before, until they are loaded.
    kept: HashMap<u16, BTreeMap<String, Vec<u8>>>,
    /// Commands that run.
    runs: Runs,
    tasks: JoinSet<Done>,
    /// Whether PID 1 has said hello.
    greeted: bool,
    sealing: Sealing,
}

/// How far the worker has given up what only loading needs.
enum Sealing {
    /// It may load, with this.
    Open(Arc<Host>),
    /// It loads what was ordered, and nothing more.
    Asked,
    /// It cannot load.
    Done,
}

/// What a task ends with.
enum Done {
    Loaded { plugin: u16, loaded: Box<Result<(Arc<Plugin>, Description), LoadError>> },
    Answered { id: u64, ended: call::Ended, took: Duration },
}

impl Role {
    /// `second` is the channel's descriptor too.
    async fn run(
        mut self,
        channel: &AsyncFd<Channel>,
        second: BorrowedFd<'_>,
        refused: Vec<String>,
    ) -> Result<(), ServeError> {
        self.outbox.push(&FromSandbox::Hello { version: VERSION, refused });
        let mut buffer = Pages::new(MAX_FRAME).map_err(ServeError::Channel)?;
        // While PID 1 does not keep up. To wait for room all the time would be to wake up whenever it takes an answer.
        let mut full = None;
        loop {
            if full.is_none() {
                match self.outbox.flush(|frame| channel.get_ref().send(frame, &[])) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        full = Some(listen(second, Interest::WRITABLE)?);
                    }
                    Err(error) if is_gone(&error) => return Ok(()),
                    Err(error) => return Err(ServeError::Channel(error)),
                }
            }
            let room = async {
                match &full {
                    Some(full) => full.ready(Interest::WRITABLE).await.map(drop),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => self.finish(done.ok()),
                room = room => {
                    room.map_err(ServeError::Channel)?;
                    full = None;
                }
                ready = channel.ready(Interest::READABLE), if !self.outbox.is_full() => {
                    let mut ready = ready.map_err(ServeError::Channel)?;
                    for _ in 0..MAX_BATCH {
                        match channel.get_ref().receive(&mut buffer) {
                            Ok(packet) if packet.len == 0 => return Ok(()),
                            Ok(packet) => {
                                let frame = buffer.get(..packet.len).unwrap_or_default();
                                let message = decode(frame).map_err(ServeError::Frame)?;
                                self.take(message, packet.descriptors)?;
                            }
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                                ready.clear_ready();
                                break;
                            }
                            Err(error) if is_gone(&error) => return Ok(()),
                            Err(error) => return Err(ServeError::Channel(error)),
                        }
                    }
                }
                () = self.outbox.filled() => {}
            }
        }
    }

    fn take(&mut self, message: ToSandbox, descriptors: Vec<OwnedFd>) -> Result<(), ServeError> {
        if let ToSandbox::Hello { version } = message {
            if self.greeted {
                return Err(ServeError::Hello);
            }
            self.greeted = true;
            return if version == VERSION { Ok(()) } else { Err(ServeError::Version { theirs: version }) };
        }
        if !self.greeted {
            return Err(ServeError::Hello);
        }
        match message {
            ToSandbox::Hello { .. } => {}
            ToSandbox::Restore { plugin, key, value } => {
                self.kept.entry(plugin).or_default().insert(key, value.0);
            }
            ToSandbox::Load { plugin, name, sha256, part, memory, reuse_instances, grants } => {
                let state = self.kept.remove(&plugin).unwrap_or_default();
                let Sealing::Open(host) = &self.sealing else {
                    let error = LoadError { plugin: name, cause: LoadCause::Sealed };
                    self.outbox.push(&FromSandbox::LoadFailed { plugin, failure: LoadFailure::from(&error) });
                    return Ok(());
                };
                let mut descriptors = descriptors.into_iter();
                let file = descriptors.next().map(File::from);
                let order =
                    Order { name, sha256, part, memory, reuse_instances, grants, files: descriptors.collect(), state };
                let loading = load::load(Arc::clone(host), order, file, self.uplink(plugin));
                let task = self.tasks.spawn(async move { Done::Loaded { plugin, loaded: Box::new(loading.await) } });
                if let Some(earlier) = self.loads.insert(plugin, task) {
                    earlier.abort();
                }
            }
            ToSandbox::Seal => {
                self.sealing = Sealing::Asked;
                self.seal_if_loaded();
            }
            ToSandbox::Call { id, plugin, ask, timeout_ms, service } => {
                let began = Instant::now();
                let refusal = match self.plugins.get(&plugin) {
                    None => Some(format!("bug: plugin {plugin} is not loaded")),
                    Some(_) if self.calls.len() >= MAX_CALLS => Some(format!(
                        "{MAX_CALLS} plugin calls are running already; give the probes longer periods or shorter timeouts"
                    )),
                    Some(called) => {
                        let called = Arc::clone(called);
                        let task = self.tasks.spawn(async move {
                            let ended = call::ask(&called, ask, timeout_ms, service).await;
                            Done::Answered { id, ended, took: began.elapsed() }
                        });
                        // A number that is used twice names the later call.
                        if let Some(earlier) = self.calls.insert(id, task) {
                            earlier.abort();
                        }
                        None
                    }
                };
                if let Some(why) = refusal {
                    let answer = Answer::Unknown(why);
                    self.answer(
                        id,
                        call::Ended { answer, denied: 0, reused: false, used: Duration::ZERO },
                        Duration::ZERO,
                    );
                }
            }
            ToSandbox::Started { id } => self.runs.on_started(id, descriptors),
            ToSandbox::Ran { id, ending } => self.runs.on_ran(id, ending),
            ToSandbox::Cancel { id } => {
                if let Some(call) = self.calls.remove(&id) {
                    call.abort();
                }
            }
        }
        Ok(())
    }

    /// Says what came of a task; nothing of one that was aborted.
    fn finish(&mut self, done: Option<Done>) {
        match done {
            None => {}
            Some(Done::Loaded { plugin, loaded }) => {
                self.loads.remove(&plugin);
                match *loaded {
                    Ok((loaded, description)) => {
                        self.outbox.push(&FromSandbox::Loaded { plugin, info: load::info(&loaded, &description) });
                        self.plugins.insert(plugin, loaded);
                    }
                    Err(error) => {
                        // What was loaded before under this index had other grants; it does not stand in for the new one.
                        self.plugins.remove(&plugin);
                        self.outbox.push(&FromSandbox::LoadFailed { plugin, failure: LoadFailure::from(&error) });
                    }
                }
                self.seal_if_loaded();
            }
            // A cancelled call that was quicker has no place in the table any more, and no answer.
            Some(Done::Answered { id, ended, took }) if self.calls.remove(&id).is_some() => {
                self.answer(id, ended, took)
            }
            Some(Done::Answered { .. }) => {}
        }
    }

    fn answer(&self, id: u64, ended: call::Ended, took: Duration) {
        let call::Ended { answer, denied, used, .. } = ended;
        let (took_us, used_us) = (micros(took), micros(used));
        self.outbox.push(&FromSandbox::Answered { id, answer, denied, took_us, used_us });
    }

    fn uplink(&self, plugin: u16) -> Arc<dyn Uplink> {
        Arc::new(Up { plugin, outbox: self.outbox.clone(), runs: self.runs.clone() })
    }

    /// Gives up what only loading needs, once everything that was ordered is loaded.
    fn seal_if_loaded(&mut self) {
        if matches!(self.sealing, Sealing::Asked) && self.loads.is_empty() {
            self.sealing = Sealing::Done;
            let refused = seal(self.plugins.values().map(AsRef::as_ref));
            self.outbox.push(&FromSandbox::Sealed { refused });
        }
    }
}

/// Files of the machine that host functions read for whoever may use them.
const READ_BY_HOST: &[&str] = &["/etc/hosts", "/etc/resolv.conf"];

/// Confines the process to what these plugins may need. Returns what was refused, for people.
fn seal<'a>(plugins: impl Iterator<Item = &'a Plugin> + Clone) -> Vec<String> {
    let exists = |path: &str| open::anchor(Path::new(path)).ok().filter(|(_, rest)| rest.as_os_str().is_empty());
    let mut own: Vec<OwnedFd> = READ_BY_HOST.iter().filter_map(|path| exists(path)).map(|(file, _)| file).collect();
    #[cfg(feature = "full")]
    own.extend(crate::host::network::BUNDLES.iter().filter_map(|path| exists(path)).map(|(file, _)| file));
    if plugins.clone().any(|plugin| plugin.grants.processes) {
        own.extend(exists("/proc").map(|(folder, _)| folder));
    }
    let trees = |write| plugins.clone().flat_map(|plugin| &plugin.grants.files).filter(move |tree| tree.write == write);
    let readable: Vec<_> = own.iter().map(AsFd::as_fd).chain(trees(false).map(|tree| tree.anchor.as_fd())).collect();
    let writable: Vec<_> = trees(true).map(|tree| tree.anchor.as_fd()).collect();
    // Long answers of DNS come by TCP.
    let ports = plugins.map(Plugin::tcp_ports).try_fold(vec![53], |mut all, ports| {
        all.extend(ports?);
        Some(all)
    });
    let seal = confine::Seal { readable: &readable, writable: &writable, connect_ports: ports.as_deref() };
    confine::seal(&seal).iter().map(|refused| format!("{}: {}", refused.what, refused.error)).collect()
}

/// The way up of one plugin: frames to PID 1.
struct Up {
    plugin: u16,
    outbox: Outbox,
    runs: Runs,
}

impl Uplink for Up {
    fn log(&self, level: &'static str, line: String) {
        self.outbox.log(self.plugin, level, line);
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let outbox = self.outbox.clone();
        Box::pin(async move { outbox.room().await })
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) {
        let value = value.map(|value| Octets(value.to_vec()));
        self.outbox.push(&FromSandbox::Keep { plugin: self.plugin, key: key.to_owned(), value });
    }

    fn show(&self, series: Series) {
        self.outbox.push(&FromSandbox::Measured { plugin: self.plugin, series });
    }

    fn used(&self, time: Duration) {
        self.outbox.push(&FromSandbox::Used { plugin: self.plugin, us: micros(time) });
    }

    fn run(&self, command: &str) -> Running {
        self.runs.run(self.plugin, command, &self.outbox)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whether the error means that PID 1 has closed its end.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}
