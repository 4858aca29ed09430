//! What guests may import, one file per interface of `hilum:host`, and the state of a call that stands behind it.
//!
//! Two layers guard each: an interface that is not linked here fails the load with its name, and one that is asks the plan's
//! grants on every use. Host functions never block the thread; each that waits does so through `Pace::wait`, which ends with the
//! call's time.

mod clock;
mod log;
pub(crate) mod tcp;

use std::fmt;
use std::io;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};

use crate::bindings;
use crate::engine::{self, Target};
use crate::grant::Endpoint;
use crate::text::{MAX_TEXT, clean};
use crate::ticker::{Lane, Pace, Ticker};

/// Engine and linked host functions for one kind of code.
pub(crate) struct Backend {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
}

impl Backend {
    fn new(target: Option<Target>) -> wasmtime::Result<Backend> {
        let engine = Engine::new(&engine::config(target)?)?;
        let mut linker = Linker::new(&engine);
        bindings::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        bindings::clock::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        bindings::tcp::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        Ok(Backend { engine, linker })
    }
}

/// Interfaces that are linked, for messages.
pub(crate) const INTERFACES: [&str; 3] = ["hilum:host/log@0.1.0", "hilum:host/clock@0.1.0", "hilum:host/tcp@0.1.0"];

/// What plugins run on; one for a process.
pub struct Host {
    native: Backend,
    #[cfg(feature = "pulley")]
    pulley: Backend,
    pub(crate) ticker: Ticker,
    pub(crate) lane: Lane,
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
        #[cfg(feature = "pulley")]
        let pulley = Backend::new(Some(Target::pulley())).map_err(HostError::Engine)?;
        let engines = vec![
            native.engine.clone(),
            #[cfg(feature = "pulley")]
            pulley.engine.clone(),
        ];
        let ticker = Ticker::start(engines).map_err(HostError::Ticker)?;
        Ok(Host {
            native,
            #[cfg(feature = "pulley")]
            pulley,
            ticker,
            lane: Lane::new(),
        })
    }

    /// What runs code for `target`; `None` if this machine or this build does not.
    pub(crate) fn backend(&self, target: Target) -> Option<&Backend> {
        #[cfg(feature = "pulley")]
        if target == Target::pulley() {
            return Some(&self.pulley);
        }
        (target == Target::native()).then_some(&self.native)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("ticker", &self.ticker).finish_non_exhaustive()
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

/// Takes the log lines of calls: level, and the line already cleaned.
pub type LogSink = Arc<dyn Fn(&'static str, String) + Send + Sync>;

/// What one call may do and has done: the data of its store.
pub struct State {
    pub(crate) limits: Limits,
    pub(crate) table: ResourceTable,
    /// Connections open in `table`.
    pub(crate) connections: usize,
    /// What it may connect to.
    pub(crate) connect: Arc<[Endpoint]>,
    /// How it shares the thread, and until when.
    pub(crate) pace: Pace,
    /// Where its log lines go.
    pub(crate) log: LogSink,
    /// Log lines it has written.
    pub(crate) logged: u32,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("limits", &self.limits)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Writes a log line, cleaned and cut, if the call has not had its share yet.
    pub(crate) fn say(&mut self, level: &'static str, line: &str) {
        if self.logged < MAX_LINES {
            (self.log)(level, clean(line, MAX_TEXT));
        }
        self.logged = self.logged.saturating_add(1);
    }
}

impl Drop for State {
    /// Says what was not said.
    fn drop(&mut self) {
        let more = self.logged.saturating_sub(MAX_LINES);
        if more > 0 {
            (self.log)("warn", format!("{more} more log lines of this call dropped; the limit is {MAX_LINES} a call"));
        }
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
