//! One call of a plugin: a fresh store, bounded in memory, stack, time and words, and dropped afterwards whatever happened, unless the plan
//! has good ones [reused](crate::reuse).
//!
//! Two bounds on time. Host functions answer `timed-out` at the soft deadline, a little before the hard one, so that a plugin can say
//! what took so long. At the hard deadline the call is over wherever it is: in guest code, where the epoch brings it back within a
//! [`TICK`](crate::ticker::TICK); parked in a host function; or still in its start function, which runs under the same bounds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hilum_wire::{Answer, Ask, Problem, Subject};
use tokio::sync::oneshot;
use wasmtime::component::{Instance, ResourceTable};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::bindings::callback::{Context, Event, Reaction};
use crate::bindings::plugin::Description;
use crate::bindings::probe::{Outcome, Request};
use crate::code::Speaks;
use crate::compat::v0_0_1;
use crate::grant::Grants;
use crate::host::settings::Given;
use crate::host::{Limits, MemoryLimit, State};
use crate::load::Plugin;
use crate::reuse::{Seat, Spares};
use crate::text::{MAX_TEXT, clean};
use crate::ticker::Pace;

/// Longest time a plugin may take to say what it is.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes a guest may pass to the host in one call across the boundary. A list of many strings that all lie at the same place would
/// else become gigabytes here.
const MAX_PASSED: usize = 1024 * 1024;

/// Processor time of a call that is told while it goes on; the rest is with its answer.
const TOLD: Duration = Duration::from_millis(20);

/// Bytes of what a callback's receiver answered. With escapes it fits in a frame.
const MAX_REACTION: usize = 16 * 1024;

/// Mistakes in settings that are told.
const MAX_PROBLEMS: usize = 32;

/// Handles alive in one call. By WASI each file is one and each connection three, so that this is what bounds the descriptors of such a guest; doubled,
/// one call may hold a quarter of what a process may open by default.
const MAX_HANDLES: usize = 128;

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
    /// It waited for somebody else, by WASI, when its time was over. No fault of its own: WASI tells a guest no deadline.
    Waiting,
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
            BrokenKind::Waiting => "waiting",
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

/// What a plugin is asked, in its own words.
enum Question {
    Describe,
    Check(Request),
    Notify(Context, Event),
    CheckSettings(String),
}

/// What it answers.
enum Reply {
    Is(Description),
    Found(Outcome),
    Told(Reaction),
    Judged(Vec<Problem>),
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// What came of it.
    pub answer: Answer,
    /// How often it asked for what is not granted.
    pub denied: u32,
    /// Whether its instance had served a call before.
    pub reused: bool,
    /// Processor time it used, the host's work for it included, less what the [`Uplink`](crate::uplink::Uplink) was told meanwhile.
    pub used: Duration,
}

/// Asks `plugin` what it is. Nothing is granted to it meanwhile.
///
/// **Errors:** [`Broken`].
pub async fn describe(plugin: &Arc<Plugin>) -> Result<Description, Broken> {
    let terms = Terms { timeout: DESCRIBE_TIMEOUT, granted: false, settings: Given::default(), subject: None };
    match run(plugin, Question::Describe, terms).await.replied? {
        Reply::Is(description) => Ok(description),
        Reply::Found(_) | Reply::Told(_) | Reply::Judged(_) => {
            Err(Broken { kind: BrokenKind::Trap, message: "bug: the reply to another question".to_owned() })
        }
    }
}

/// Asks `plugin` what PID 1 wants to know, within `timeout_ms`.
///
/// **Errors:** none; what goes wrong is an [`Answer`].
pub async fn ask(plugin: &Arc<Plugin>, ask: Ask, timeout_ms: u64, subject: Option<Subject>) -> Ended {
    let timeout = Duration::from_millis(timeout_ms.max(1));
    // A time-out that WIT's 32 bits do not hold is 49 days, and none at all is a millisecond.
    let timeout_ms = u32::try_from(timeout_ms).unwrap_or(u32::MAX).max(1);
    let granted = !matches!(ask, Ask::CheckSettings { .. });
    let (given, question) = match ask {
        Ask::Check { settings, attempt } => {
            (Given::new(&settings), Question::Check(Request { settings, timeout_ms, attempt }))
        }
        Ask::Notify { settings, attempt, event } => {
            let given = Given::new(&settings);
            let event =
                Event { name: event.name, id: event.id, at: event.at, service: event.service, body: event.body };
            (given, Question::Notify(Context { settings, timeout_ms, attempt }, event))
        }
        Ask::CheckSettings { settings } => (Given::new(&settings), Question::CheckSettings(settings)),
    };
    let Ran { replied, denied, reused, used } =
        run(plugin, question, Terms { timeout, granted, settings: given, subject }).await;
    let answer = match replied {
        Ok(Reply::Found(Outcome::Pass)) => Answer::Pass,
        Ok(Reply::Found(Outcome::Fail(why))) => Answer::Fail(clean(&why, MAX_TEXT)),
        Ok(Reply::Found(Outcome::Unknown(why))) => Answer::Unknown(clean(&why, MAX_TEXT)),
        Ok(Reply::Told(Reaction::Done(text))) => Answer::Done(clean(&text, MAX_REACTION)),
        Ok(Reply::Told(Reaction::Retry(again))) => {
            Answer::Retry { why: clean(&again.why, MAX_TEXT), after_ms: again.after_ms }
        }
        Ok(Reply::Told(Reaction::Failed(why))) => Answer::Failed(clean(&why, MAX_TEXT)),
        Ok(Reply::Judged(problems)) => Answer::Judged(problems),
        Ok(Reply::Is(_)) => Answer::Unknown("bug: the reply to another question".to_owned()),
        Err(Broken { kind: BrokenKind::Waiting, message }) => Answer::Fail(message),
        Err(Broken { kind, message }) => Answer::Broken { kind: kind.name().to_owned(), message },
    };
    Ended { answer, denied, reused, used }
}

/// A plugin was asked what it does not do.
fn not_a(kind: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("bug: it is no {kind}"))
}

/// Puts the question to an instance.
async fn put(
    plugin: &Plugin,
    question: Question,
    instance: &Instance,
    store: &mut Store<State>,
) -> wasmtime::Result<Reply> {
    match (question, &plugin.code.speaks) {
        (Question::Describe, Speaks::Current { plugin, .. }) => {
            let plugin = plugin.load(&mut *store, instance)?;
            plugin.hilum_plugin_plugin().call_describe(store).await.map(Reply::Is)
        }
        (Question::Describe, Speaks::V0_0_1(probe)) => {
            let probe = probe.load(&mut *store, instance)?;
            let described = probe.hilum_probe_probe().call_describe(store).await?;
            Ok(Reply::Is(v0_0_1::description(described)))
        }
        (Question::Check(request), Speaks::Current { probe: Some(probe), .. }) => {
            let probe = probe.load(&mut *store, instance)?;
            probe.hilum_probe_probe().call_check(store, &request).await.map(Reply::Found)
        }
        (Question::Check(request), Speaks::V0_0_1(probe)) => {
            let probe = probe.load(&mut *store, instance)?;
            let found = probe.hilum_probe_probe().call_check(store, &v0_0_1::request(request)).await?;
            Ok(Reply::Found(v0_0_1::outcome(found)))
        }
        (Question::Check(_), Speaks::Current { probe: None, .. }) => Err(not_a("probe")),
        (Question::Notify(context, event), Speaks::Current { callback: Some(callback), .. }) => {
            let callback = callback.load(&mut *store, instance)?;
            callback.hilum_callback_callback().call_notify(store, &context, &event).await.map(Reply::Told)
        }
        (Question::Notify(..), Speaks::Current { callback: None, .. } | Speaks::V0_0_1(_)) => Err(not_a("callback")),
        (Question::CheckSettings(settings), Speaks::Current { plugin, .. }) => {
            let plugin = plugin.load(&mut *store, instance)?;
            let found = plugin.hilum_plugin_plugin().call_check_settings(store, &settings).await?;
            let problem = |problem: crate::bindings::plugin::Problem| Problem {
                path: clean(&problem.path, 256),
                message: clean(&problem.message, MAX_TEXT),
            };
            Ok(Reply::Judged(found.into_iter().take(MAX_PROBLEMS).map(problem).collect()))
        }
        // It could not be asked then.
        (Question::CheckSettings(_), Speaks::V0_0_1(_)) => Ok(Reply::Judged(Vec::new())),
    }
}

/// What a call may do and is about.
struct Terms {
    timeout: Duration,
    /// Whether the plan's grants hold.
    granted: bool,
    settings: Given,
    subject: Option<Subject>,
}

/// How a question ended.
struct Ran {
    replied: Result<Reply, Broken>,
    denied: u32,
    reused: bool,
    used: Duration,
}

async fn run(plugin: &Arc<Plugin>, question: Question, terms: Terms) -> Ran {
    let deadline = Instant::now() + terms.timeout;
    let margin = (terms.timeout / 10).clamp(Duration::from_millis(2), Duration::from_millis(100));
    let pace = Pace::new(&plugin.lanes.ticker, deadline.checked_sub(margin).unwrap_or(deadline));
    let (called, turns) = (Arc::clone(plugin), pace.clone());
    let call = |answer| async move {
        let call = called.call(question, terms, turns.clone(), deadline, answer);
        turns.count(call).await;
    };
    plugin.lanes.slow.run(&pace, &plugin.slow, call).await
}

impl Plugin {
    /// One call, from its store to its answer. Owns all it needs, for it may move to another thread.
    async fn call(
        self: Arc<Plugin>,
        question: Question,
        terms: Terms,
        pace: Pace,
        deadline: Instant,
        answer: oneshot::Sender<Ran>,
    ) {
        pace.set_running(true);
        // What is asked without grants meets an instance that never had any.
        let spares = self.spares.as_ref().filter(|_| terms.granted);
        let state = State {
            limits: Limits { memory: self.memory, memory_used: 0, table_used: 0 },
            table: ResourceTable::new(),
            open: 0,
            grants: if terms.granted { Arc::clone(&self.grants) } else { Arc::new(Grants::default()) },
            kept: Arc::clone(&self.kept),
            pace: pace.clone(),
            deadline,
            settings: terms.settings,
            subject: terms.subject,
            logged: 0,
            denied: 0,
            #[cfg(feature = "full")]
            wasi: None,
        };
        let mut seat = match spares.and_then(Spares::take) {
            Some(mut seat) => {
                seat.store.data_mut().wake(state);
                seat
            }
            None => Seat { store: self.store(state), answered: None, served: 0 },
        };
        let reused = seat.served > 0;
        seat.store.set_hostcall_fuel(MAX_PASSED);
        seat.store.set_epoch_deadline(1);
        let asked = tokio::time::timeout_at(deadline.into(), async {
            // Gone unless it answers.
            let instance = match seat.answered.take() {
                Some(instance) => instance,
                None => self.code.pre.instantiate_async(&mut seat.store).await?,
            };
            let reply = put(&self, question, &instance, &mut seat.store).await?;
            seat.answered = Some(instance);
            Ok(reply)
        });
        let replied = match asked.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(explain(&error, terms.timeout)),
            Err(_) if pace.is_waiting() => Err(Broken {
                kind: BrokenKind::Waiting,
                message: format!(
                    "it was still waiting for an answer when its {} ms were over",
                    terms.timeout.as_millis()
                ),
            }),
            Err(_) => Err(explain(&wasmtime::Error::new(Overrun), terms.timeout)),
        };
        pace.set_running(false);
        seat.store.data_mut().end();
        let used = pace.used(Duration::ZERO).unwrap_or_default();
        let ran = Ran { replied, denied: seat.store.data().denied(), reused, used };
        let left = match spares {
            Some(spares) => spares.give(seat),
            None => Some(seat),
        };
        // Whoever waited may have gone.
        let _gone = answer.send(ran);
        if left.is_some() {
            // To give back what it took may take as long as all before, and is not waited for.
            pace.answered().await;
        }
    }

    /// What a fresh instance lives in, with the bounds of all its calls.
    fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(self.code.pre.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_max_component_handles(MAX_HANDLES);
        store.epoch_deadline_callback(|context| {
            let State { pace, deadline, kept, .. } = context.data();
            if Instant::now() >= *deadline {
                return Err(wasmtime::Error::new(Overrun));
            }
            if let Some(used) = pace.used(TOLD) {
                kept.uplink.used(used);
            }
            Ok(if pace.is_spent() { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
        });
        #[cfg(feature = "full")]
        if self.code.wasi {
            // WASI's own functions wait without telling the pace.
            store.call_hook(|mut context, hook| {
                context.data_mut().pace.on_hook(hook.entering_host());
                Ok(())
            });
        }
        store
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
            None if exit_code(error).is_some() => {
                (BrokenKind::Trap, format!("it ended itself with exit code {}", exit_code(error).unwrap_or_default()))
            }
            None => (BrokenKind::Trap, format!("it was stopped: {}", error.root_cause())),
        }
    };
    let place = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    Broken { kind, message: clean(&format!("{story}{place}"), MAX_TEXT) }
}

/// The code a guest ended itself with, by WASI.
#[cfg(feature = "full")]
fn exit_code(error: &wasmtime::Error) -> Option<i32> {
    error.downcast_ref::<wasmtime_wasi::I32Exit>().map(|exit| exit.0)
}

/// Without WASI no guest can.
#[cfg(not(feature = "full"))]
fn exit_code(_: &wasmtime::Error) -> Option<i32> {
    None
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
