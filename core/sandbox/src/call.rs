//! One call of a plugin: a fresh store, bounded in memory, stack, time and words, and dropped afterwards whatever happened.
//!
//! Two bounds on time. Host functions answer `timed-out` at the soft deadline, a little before the hard one, so that a plugin can say
//! what took so long. At the hard deadline the call is over wherever it is: in guest code, where the epoch brings it back within a
//! [`TICK`](crate::ticker::TICK); parked in a host function; or still in its start function, which runs under the same bounds.

use std::fmt;
use std::time::{Duration, Instant};

use hilum_wire::Answer;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::bindings::ProbePlugin;
use crate::host::{Limits, LogSink, MemoryLimit, State};
use crate::load::Plugin;
use crate::probe::{Description, Outcome, Request};
use crate::text::{MAX_TEXT, clean};
use crate::ticker::Pace;

/// Longest time a plugin may take to say what it is.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes a guest may pass to the host in one call across the boundary. A list of many strings that all lie at the same place would
/// else become gigabytes here.
const MAX_PASSED: usize = 1024 * 1024;

/// Handles alive in one call.
const MAX_HANDLES: usize = 1024;

/// A plugin failed, as opposed to what it was asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// In what way.
    pub kind: BrokenKind,
    /// The story for people.
    pub message: String,
}

/// Ways to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokenKind {
    /// It trapped.
    Trap,
    /// It did not come back in time.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It recursed too deeply.
    Stack,
}

impl BrokenKind {
    /// Name, as [`Answer::Broken`] lists them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BrokenKind::Trap => "trap",
            BrokenKind::Deadline => "deadline",
            BrokenKind::Memory => "memory",
            BrokenKind::Stack => "stack",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Broken {}

/// The hard deadline passed while guest code ran.
#[derive(Debug)]
struct Overrun;

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline passed")
    }
}

impl std::error::Error for Overrun {}

/// Asks `plugin` what it is. It may connect nowhere meanwhile.
///
/// **Errors:** [`Broken`].
pub async fn describe(plugin: &Plugin, log: LogSink) -> Result<Description, Broken> {
    let calling = Calling { plugin, timeout: DESCRIBE_TIMEOUT, grants: false, log };
    calling.run(async |probe, store| probe.hilum_probe_probe().call_describe(store).await).await
}

/// Asks `plugin` about its service.
///
/// **Errors:** none; what goes wrong is an [`Answer`].
pub async fn check(plugin: &Plugin, request: Request, log: LogSink) -> Answer {
    let timeout = Duration::from_millis(request.timeout_ms.into());
    let calling = Calling { plugin, timeout, grants: true, log };
    match calling.run(async |probe, store| probe.hilum_probe_probe().call_check(store, &request).await).await {
        Ok(Outcome::Pass) => Answer::Pass,
        Ok(Outcome::Fail(why)) => Answer::Fail(clean(&why, MAX_TEXT)),
        Ok(Outcome::Unknown(why)) => Answer::Unknown(clean(&why, MAX_TEXT)),
        Err(Broken { kind, message }) => Answer::Broken { kind: kind.name().to_owned(), message },
    }
}

/// The request of a check: a timeout that WIT's 32 bits do not hold is 49 days, and none at all is a millisecond.
#[must_use]
pub fn request(settings: String, timeout_ms: u64, attempt: u32) -> Request {
    Request { settings, timeout_ms: u32::try_from(timeout_ms).unwrap_or(u32::MAX).max(1), attempt }
}

struct Calling<'a> {
    plugin: &'a Plugin,
    timeout: Duration,
    /// Whether the plan's grants hold.
    grants: bool,
    log: LogSink,
}

impl Calling<'_> {
    async fn run<R>(
        self,
        ask: impl AsyncFnOnce(&ProbePlugin, &mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, Broken> {
        let plugin = self.plugin;
        let deadline = Instant::now() + self.timeout;
        let margin = (self.timeout / 10).clamp(Duration::from_millis(2), Duration::from_millis(100));
        let pace = Pace::new(deadline.checked_sub(margin).unwrap_or(deadline));
        let _running = plugin.host.ticker.enter();
        let mut store = Store::new(
            plugin.pre.engine(),
            State {
                limits: Limits { memory: plugin.memory, memory_used: 0, table_used: 0 },
                table: ResourceTable::new(),
                connections: 0,
                connect: if self.grants { plugin.connect.clone() } else { [].into() },
                pace: pace.clone(),
                log: self.log,
                logged: 0,
            },
        );
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(MAX_PASSED);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        let lane = plugin.host.lane.clone();
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline {
                return Err(wasmtime::Error::new(Overrun));
            }
            // The epoch went on while the guest was parked; it has not had its tick yet.
            if !pace.is_spent() {
                return Ok(UpdateDeadline::Continue(1));
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(lane.clone().requeue(pace.clone()))))
        });
        let asked = tokio::time::timeout_at(deadline.into(), async {
            let probe = plugin.pre.instantiate_async(&mut store).await?;
            ask(&probe, &mut store).await
        });
        match asked.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(explain(&error, self.timeout)),
            Err(_) => Err(explain(&wasmtime::Error::new(Overrun), self.timeout)),
        }
    }
}

/// What went wrong, in a kind and for people.
fn explain(error: &wasmtime::Error, timeout: Duration) -> Broken {
    let (kind, story) = if error.is::<Overrun>() {
        (BrokenKind::Deadline, format!("it did not answer within {} ms and was stopped", timeout.as_millis()))
    } else if let Some(limit) = error.downcast_ref::<MemoryLimit>() {
        (BrokenKind::Memory, format!("{limit}; raise memory of this plugin in the plan if it needs more"))
    } else {
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => (BrokenKind::Stack, "it recursed too deeply: stack overflow".to_owned()),
            Some(Trap::UnreachableCodeReached) => {
                (BrokenKind::Trap, "it gave up: it panicked, aborted or reached an unreachable instruction".to_owned())
            }
            Some(trap) => (BrokenKind::Trap, format!("it trapped: {trap}")),
            None => (BrokenKind::Trap, format!("it was stopped: {}", error.root_cause())),
        }
    };
    let place = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    Broken { kind, message: clean(&format!("{story}{place}"), MAX_TEXT) }
}

/// The innermost frames, innermost first, by name where the plugin carries names.
fn frames(backtrace: &WasmBacktrace) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = backtrace
        .frames()
        .iter()
        .take(SHOWN)
        .map(|frame| frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned))
        .collect();
    if names.is_empty() { String::new() } else { format!(" (in {})", names.join(", called by ")) }
}
