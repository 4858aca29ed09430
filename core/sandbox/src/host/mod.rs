//! What guests may import, one file per interface of `hilum:host` and one for WASI, and the state of a call that stands behind it.
//!
//! Two layers guard each: an interface that is not linked here fails the load with its name, and one that is asks the plan's
//! grants on every use. Host functions never block the thread; each that waits does so through `Pace::wait`, which ends with the
//! call's time.

mod clock;
mod command;
mod environment;
mod files;
mod kept;
mod log;
mod metrics;
pub(crate) mod network;
mod processes;
mod random;
mod service;
pub(crate) mod settings;
mod state;
#[cfg(feature = "full")]
pub(crate) mod wasi;

use std::fmt;
use std::io;
#[cfg(any(feature = "full", feature = "pulley"))]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hilum_wire::Subject;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};

use crate::bindings::host;
use crate::code::{Code, Origin};
use crate::engine::{self, Target};
use crate::grant::Grants;
use crate::load::LoadCause;
use crate::text::{MAX_TEXT, clean};
use crate::ticker::{Lanes, Pace};

pub(crate) use kept::{Kept, aside};

/// Engine and linked host functions for one kind of code.
pub(crate) struct Backend {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// The same with WASI 0.2, made for the first plugin that imports it.
    #[cfg(feature = "full")]
    with_wasi: OnceLock<Linker<State>>,
}

/// Links interfaces of `hilum:host` and names them.
macro_rules! interfaces {
    ($($module:ident $name:literal),+ $(,)?) => {
        /// Interfaces that are linked, for messages.
        pub(crate) const INTERFACES: &[&str] = &[$(concat!("hilum:host/", $name, "@0.1.0")),+];

        fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
            $(host::$module::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;)+
            crate::compat::v0_0_1::link(linker)
        }
    };
}

interfaces! {
    log "log",
    clock "clock",
    random "random",
    settings "settings",
    service "service",
    state "state",
    metrics "metrics",
    connection "connection",
    tcp "tcp",
    unix "unix",
    tls "tls",
    udp "udp",
    dns "dns",
    http "http",
    files "files",
    environment "environment",
    command "command",
    processes "processes",
}

impl Backend {
    fn new(target: Option<Target>) -> wasmtime::Result<Backend> {
        let engine = Engine::new(&engine::config(target)?)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        Ok(Backend {
            engine,
            linker,
            #[cfg(feature = "full")]
            with_wasi: OnceLock::new(),
        })
    }

    /// The linker that has WASI too.
    ///
    /// **Errors:** none that depend on input.
    #[cfg(feature = "full")]
    pub(crate) fn with_wasi(&self) -> wasmtime::Result<&Linker<State>> {
        if let Some(linker) = self.with_wasi.get() {
            return Ok(linker);
        }
        let mut linker = self.linker.clone();
        wasi::link(&mut linker)?;
        Ok(self.with_wasi.get_or_init(|| linker))
    }
}

/// What plugins are loaded with; one for a process. Those that are loaded need it no more.
pub struct Host {
    native: Backend,
    /// The interpreter, where it is not what is native; made for the first plugin that is compiled for it.
    #[cfg(feature = "pulley")]
    pulley: OnceLock<Backend>,
    pub(crate) lanes: Arc<Lanes>,
    /// What was loaded already.
    codes: Mutex<Vec<(Origin, Arc<Code>)>>,
}

/// Why there is no host.
#[derive(Debug)]
pub enum HostError {
    /// wasmtime does not run here.
    Engine(wasmtime::Error),
    /// The clock's thread could not be started.
    Ticker(io::Error),
}

impl Host {
    /// A host with no plugin in it.
    ///
    /// **Errors:** [`HostError`].
    pub fn new() -> Result<Host, HostError> {
        // Told nothing, wasmtime takes this very CPU's own code, which must be asked for where that is not the one to run.
        let interpreted = (Target::native() == Target::pulley()).then(Target::pulley);
        let native = Backend::new(interpreted).map_err(HostError::Engine)?;
        let lanes = Lanes::open().map_err(HostError::Ticker)?;
        lanes.ticker.drive(&native.engine);
        Ok(Host {
            native,
            #[cfg(feature = "pulley")]
            pulley: OnceLock::new(),
            lanes: Arc::new(lanes),
            codes: Mutex::default(),
        })
    }

    /// The code of `origin`, made by `make` if it was not loaded before.
    ///
    /// **Errors:** those of `make`.
    pub(crate) fn code(
        &self,
        origin: Origin,
        make: impl FnOnce() -> Result<Code, LoadCause>,
    ) -> Result<Arc<Code>, LoadCause> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, code)) = codes.iter().find(|(known, _)| *known == origin) {
            return Ok(Arc::clone(code));
        }
        let code = Arc::new(make()?);
        codes.push((origin, Arc::clone(&code)));
        Ok(code)
    }

    /// What runs code for `target`; `None` if this machine or this build does not.
    ///
    /// **Errors:** the interpreter could not be started: wasmtime's own.
    pub(crate) fn backend(&self, target: Target) -> wasmtime::Result<Option<&Backend>> {
        if target == Target::native() {
            return Ok(Some(&self.native));
        }
        #[cfg(feature = "pulley")]
        if target == Target::pulley() {
            if let Some(pulley) = self.pulley.get() {
                return Ok(Some(pulley));
            }
            let pulley = Backend::new(Some(target))?;
            return Ok(Some(self.pulley.get_or_init(|| {
                self.lanes.ticker.drive(&pulley.engine);
                pulley
            })));
        }
        Ok(None)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::Engine(_) => f.write_str("cannot start wasmtime"),
            HostError::Ticker(_) => f.write_str("cannot start the clock (is there a process or descriptor limit?)"),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HostError::Engine(error) => Some(error.as_ref()),
            HostError::Ticker(error) => Some(error),
        }
    }
}

/// What one call may do and has done: the data of its store. Of an instance that serves several, what it holds outlives the call: `limits`, and
/// `table`, which is empty between them.
pub struct State {
    pub(crate) limits: Limits,
    pub(crate) table: ResourceTable,
    /// Connections and datagram sockets in `table`.
    pub(crate) open: usize,
    /// What it may do.
    pub(crate) grants: Arc<Grants>,
    /// What all calls of the plugin share.
    pub(crate) kept: Arc<Kept>,
    /// How it shares the thread, and until when.
    pub(crate) pace: Pace,
    /// When it is over wherever it is.
    pub(crate) deadline: Instant,
    /// What it was told, as JSON; read when asked for.
    pub(crate) settings: settings::Given,
    /// What it is about.
    pub(crate) subject: Option<Subject>,
    /// Log lines it has written.
    pub(crate) logged: u32,
    /// What it asked for that is not granted.
    pub(crate) denied: u32,
    /// What WASI keeps, for guests that import it.
    #[cfg(feature = "full")]
    pub(crate) wasi: Option<Box<wasi::Wasi>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("limits", &self.limits).field("open", &self.open).finish_non_exhaustive()
    }
}

impl State {
    /// Writes a log line, cleaned and cut, if the call has not had its share yet.
    pub(crate) fn say(&mut self, level: &'static str, line: &str) {
        if self.logged < MAX_LINES {
            self.kept.uplink.log(level, clean(line, MAX_TEXT));
        }
        self.logged = self.logged.saturating_add(1);
    }

    /// Says how much was not said.
    ///
    /// **Idempotent:** yes, once the guest says no more.
    pub(crate) fn end(&mut self) {
        let more = self.logged.saturating_sub(MAX_LINES);
        if more > 0 {
            let line = format!("{more} more log lines of this call dropped; the limit is {MAX_LINES} a call");
            self.kept.uplink.log("warn", line);
        }
        self.logged = self.logged.min(MAX_LINES);
    }

    /// Between two calls of an instance: lets go of what the last one was about.
    pub(crate) fn rest(&mut self) {
        self.pace.end();
        self.settings = settings::Given::default();
        self.subject = None;
        #[cfg(feature = "full")]
        {
            self.wasi = None;
        }
    }

    /// The next call of an instance begins: what it holds stays, all else is the new call's.
    pub(crate) fn wake(&mut self, mut next: State) {
        let Limits { memory_used, table_used, .. } = self.limits;
        next.limits = Limits { memory_used, table_used, ..next.limits };
        *self = next;
    }

    /// Waits until PID 1 has heard most of what plugins keep and measure.
    ///
    /// **Errors:** it did not in the call's time; why, for people.
    pub(crate) async fn heard(&mut self) -> Result<(), String> {
        let room = self.kept.uplink.room();
        self.pace
            .wait(room)
            .await
            .map_err(|_| "what plugins keep and measure comes faster than hilum takes it".to_owned())
    }

    /// Notes that the call asked for something that is not granted, and tells the operator.
    pub(crate) fn deny(&mut self, why: &str) {
        self.denied = self.denied.saturating_add(1);
        self.say("warn", &format!("denied: {why}"));
    }
}

impl State {
    /// How often it asked for what is not granted.
    pub(crate) fn denied(&self) -> u32 {
        #[cfg(feature = "full")]
        let by_wasi = self.wasi.as_ref().map_or(0, |wasi| wasi.denied());
        #[cfg(not(feature = "full"))]
        let by_wasi = 0;
        self.denied.saturating_add(by_wasi)
    }
}

impl Drop for State {
    /// For calls that are given up.
    fn drop(&mut self) {
        self.end();
    }
}

/// What a call may use up, and what it has.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Linear memory of all instances of the call together. **Units:** bytes.
    pub(crate) memory: usize,
    pub(crate) memory_used: usize,
    pub(crate) table_used: usize,
}

/// Log lines taken from one call; the rest is counted. Doubled, 256 calls at once can fill PID 1's ring twice as fast.
const MAX_LINES: u32 = 64;

/// Core instances in one call. A component from an ordinary toolchain has about five.
const MAX_INSTANCES: usize = 64;
/// Tables in one call, and elements in all of them together: 1 MiB of pointers.
const MAX_TABLES: usize = 32;
const MAX_TABLE_ELEMENTS: usize = 128 * 1024;
/// Linear memories in one call.
const MAX_MEMORIES: usize = 8;

/// A call wanted more memory than it may have.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    pub(crate) wanted: usize,
    pub(crate) limit: usize,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it wanted {} KiB of memory and may have {} KiB", self.wanted / 1024, self.limit / 1024)
    }
}

impl std::error::Error for MemoryLimit {}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory_used.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory {
            // A trap rather than -1: most guests would end in an abort without a word about why.
            return Err(wasmtime::Error::new(MemoryLimit { wanted, limit: self.memory }));
        }
        self.memory_used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_used.saturating_add(desired.saturating_sub(current));
        if wanted > MAX_TABLE_ELEMENTS {
            let (wanted, limit) = (wanted.saturating_mul(size_of::<usize>()), MAX_TABLE_ELEMENTS * size_of::<usize>());
            return Err(wasmtime::Error::new(MemoryLimit { wanted, limit }));
        }
        self.table_used = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
