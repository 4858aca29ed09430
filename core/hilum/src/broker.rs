//! PID 1's end of the workers: it starts them, speaks with them, replaces them when they are lost, and keeps what is to be said of them.
//!
//! PID 1 never waits for a worker. What a worker owes has a deadline here; a worker that overstays it is killed and replaced. A probe call lost with
//! its worker is repeated once and then answered `unknown`: a crashing probe must not restart a healthy service. A plugin that fails three
//! calls in a row, or takes its worker down with it, is quarantined for a while, visibly; the others go on.

mod calls;
mod meter;
mod plugins;
mod succession;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hilum_config::{Isolation, Launch};
use hilum_engine::{CallId, Event, Exit, Incarnation, ProbeId, Signal, Span, Tick};
use hilum_sys::channel::Channel;
use hilum_sys::child::Child;
use hilum_sys::crash;
use hilum_sys::pages::Pages;
use hilum_wire::{
    FromSandbox, FromStatus, MAX_FRAME, Overview, PluginInfo, PluginState, Series, ServiceReport, ToSandbox, ToStatus,
    VERSION,
};

use self::meter::Meter;
use crate::errand::{Asker, Errands};
use crate::listener::Listeners;
use crate::log::{Level, Log, pair};
use crate::run_table::RunTable;
use crate::starts::Starts;
use crate::worker::{self, Role};

/// Time a new worker has for its hello and a plugin for its load before it counts as hung. **Units:** nanoseconds. Loading a 40 MB plugin
/// takes 30 ms; ten seconds is for a machine that is frozen to a crawl.
const LOAD_DEADLINE: Span = Span::from_secs(10);

/// Workers of one role that may be lost within [`BURST_WINDOW`] before the next is held back for [`HOLD`].
const BURST: usize = 20;
/// See [`BURST`]. **Units:** nanoseconds.
const BURST_WINDOW: Span = Span::from_secs(5);
/// See [`BURST`]. **Units:** nanoseconds.
const HOLD: Span = Span::from_millis(250);

/// A worker's process.
#[derive(Debug)]
struct Live {
    child: Child,
    channel: Channel,
    /// It said hello in our version.
    greeted: bool,
    /// Frames it did not take yet, with the descriptors each carries.
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// When it counts as hung unless it says hello.
    hello_by: Option<Tick>,
    /// Plugins it was handed: the ones it may speak for.
    handed: BTreeSet<u16>,
    /// Those of them it has not loaded yet, each with when it counts as hung.
    loading: BTreeMap<u16, Tick>,
}

/// A worker's place, kept over all processes that fill it.
#[derive(Debug)]
struct Slot {
    role: Role,
    live: Option<Live>,
    /// When the next process is started, while there is none.
    start_at: Option<Tick>,
    losses: VecDeque<Tick>,
    replaced: u64,
    /// What the process could not give up of its rights.
    refused: Vec<String>,
    /// What it is to do for the plugins.
    stage: Stage,
}

/// Where a sandbox's process is in its life. A status worker always serves.
#[derive(Clone, PartialEq, Debug)]
enum Stage {
    /// Calls go to it.
    Serving,
    /// It is to take over from the process in this place; what became of each plugin so far.
    Succeeding { place: usize, loaded: BTreeMap<u16, Result<PluginInfo, String>> },
    /// Calls go elsewhere; it ends with its last.
    Draining,
    /// There is none, and none is wanted.
    Vacant,
}

/// A probe call that has not been answered.
#[derive(Debug)]
struct Call {
    probe: ProbeId,
    run: Incarnation,
    plugin: u16,
    settings: String,
    timeout: Span,
    attempt: u32,
    since: Tick,
    /// When its worker counts as hung.
    overdue_at: Tick,
    /// The place of the worker it has been sent to.
    sent: Option<usize>,
    /// It was lost with a worker once already.
    repeated: bool,
}

/// A plugin as its worker knows it.
#[derive(Debug)]
struct Plugin {
    slot: usize,
    state: PluginState,
    message: String,
    strikes: u32,
    quarantines: u32,
    /// When the quarantine ends.
    free_at: Option<Tick>,
    /// The process in its place has it.
    loaded: bool,
    /// What its long calls use of a processor.
    meter: Meter,
    /// It could not be set apart, and stays with the others until then or a reload.
    stays_until: Option<Tick>,
    calls: u64,
    /// Processor time of all its calls.
    used: Span,
    broken: u64,
    denied: u64,
    kinds: Vec<String>,
    /// What it wants kept.
    kept: BTreeMap<String, Vec<u8>>,
    /// What it measured.
    series: Vec<Series>,
    /// What it measured differs from what the status worker was told.
    series_stale: bool,
}

/// What the shell lends for one task.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) listeners: Option<&'a Listeners>,
    pub(crate) now: Tick,
    /// Which process is whose.
    pub(crate) runs: &'a RunTable,
    /// When services were started.
    pub(crate) starts: &'a Starts,
    /// Variables that are not for children.
    pub(crate) hidden: &'a [&'static str],
    pub(crate) log: &'a mut Log,
    /// Where answers go.
    pub(crate) events: &'a mut VecDeque<Event>,
}

impl<'a> Context<'a> {
    fn plugin_name(&self, plugin: u16) -> &'a str {
        self.launch.plugins.get(usize::from(plugin)).map_or("?", |plugin| plugin.name.as_str())
    }
}

/// All workers.
#[derive(Debug)]
pub(crate) struct Broker {
    executable: OwnedFd,
    slots: Vec<Slot>,
    plugins: Vec<Plugin>,
    calls: BTreeMap<CallId, Call>,
    errands: Errands,
    buffer: Option<Pages>,
    sent_overview: Option<Overview>,
    sent_services: Vec<Option<ServiceReport>>,
    /// Pings the status worker waits to have answered.
    pongs: Vec<u64>,
    /// What is published differs from what the status worker was told.
    stale: bool,
}

impl Broker {
    /// Places for all workers the launch needs; starts none.
    #[must_use]
    pub(crate) fn new(launch: &Launch, executable: OwnedFd) -> Broker {
        let mut slots = Vec::new();
        if launch.status.is_some() {
            slots.push(Slot::new(Role::Status));
        }
        let mut shared = None;
        let mut plugins = Vec::new();
        for (index, plugin) in (0u16..).zip(&launch.plugins) {
            let place = if plugin.isolation == Isolation::Own {
                slots.push(Slot::new(Role::Sandbox(Some(index))));
                slots.len() - 1
            } else {
                *shared.get_or_insert_with(|| {
                    slots.push(Slot::new(Role::Sandbox(None)));
                    slots.len() - 1
                })
            };
            plugins.push(Plugin {
                slot: place,
                state: PluginState::Loading,
                message: String::new(),
                strikes: 0,
                quarantines: 0,
                free_at: None,
                loaded: false,
                meter: Meter::default(),
                stays_until: None,
                calls: 0,
                used: Span::ZERO,
                broken: 0,
                denied: 0,
                kinds: Vec::new(),
                kept: BTreeMap::new(),
                series: Vec::new(),
                series_stale: false,
            });
        }
        Broker {
            executable,
            slots,
            plugins,
            calls: BTreeMap::new(),
            errands: Errands::default(),
            buffer: None,
            sent_overview: None,
            sent_services: Vec::new(),
            pongs: Vec::new(),
            stale: true,
        }
    }

    // Questions.

    /// Descriptors to wait for, each with whether a frame waits to be written to it.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, bool)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.live.as_ref().map(|live| (index, live.channel.as_fd(), !live.outbox.is_empty()))
        })
    }

    /// When something is to be done here if nothing else happens.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let starts = self.slots.iter().filter_map(|slot| slot.start_at);
        let live = self.slots.iter().filter_map(|slot| slot.live.as_ref());
        let owed = live.flat_map(|live| live.hello_by.into_iter().chain(live.loading.values().copied()));
        let plugins = self.plugins.iter().filter_map(|plugin| plugin.free_at);
        let calls = self.calls.values().map(|call| call.overdue_at);
        starts.chain(owed).chain(plugins).chain(calls).chain(self.errands.next_deadline()).min()
    }

    /// Whether a pid is a worker's, or that of a command a plugin asked for.
    #[must_use]
    pub(crate) fn is_own(&self, pid: i32) -> bool {
        self.errands.is_errand(pid)
            || self.slots.iter().any(|slot| slot.live.as_ref().is_some_and(|live| live.child.pid == pid))
    }

    // Commands.

    /// Starts every worker that is not there.
    pub(crate) fn start_all(&mut self, cx: &mut Context<'_>) {
        for slot in 0..self.slots.len() {
            self.start(slot, cx);
        }
    }

    /// Ends all workers; none is replaced.
    pub(crate) fn stop_all(&mut self) {
        for slot in &mut self.slots {
            slot.start_at = None;
            if let Some(live) = slot.live.take() {
                kill(&live);
            }
        }
        self.errands.stop_all();
    }

    // Facts.

    /// Reads and writes what a worker's channel is ready for.
    pub(crate) fn on_ready(&mut self, slot: usize, cx: &mut Context<'_>) {
        self.write_outbox(slot);
        let mut buffer = match self.buffer.take().map_or_else(|| Pages::new(MAX_FRAME), Ok) {
            Ok(buffer) => buffer,
            Err(error) => return self.abandon(slot, &format!("no room for what it says: {error}"), cx),
        };
        // Bounded, so that a worker that never stops talking cannot keep the loop from signals and children.
        for _ in 0..64 {
            let Some(live) = self.slots.get(slot).and_then(|slot| slot.live.as_ref()) else { break };
            match live.channel.receive(&mut buffer) {
                Ok(packet) if packet.len == 0 => {
                    self.abandon(slot, "closed its channel", cx);
                    break;
                }
                Ok(packet) => {
                    let frame = buffer.get(..packet.len).unwrap_or_default();
                    self.on_frame(slot, frame, cx);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.abandon(slot, &format!("channel: {error}"), cx);
                    break;
                }
            }
        }
        self.buffer = Some(buffer);
    }

    /// A worker's process was reaped.
    pub(crate) fn on_exited(&mut self, pid: i32, exit: Exit, cx: &mut Context<'_>) {
        let code = match exit {
            Exit::Code(code) => Ok(code),
            Exit::Signaled(signal) => Err(signal),
        };
        if let Some(ended) = self.errands.on_exited(pid, code) {
            return self.say_ran(ended.asker, ended.ending, cx);
        }
        let how = match exit {
            Exit::Code(code) => format!("exit {code}"),
            Exit::Signaled(signal) => hilum_config::signal_name(signal),
        };
        let Some(index) =
            self.slots.iter().position(|slot| slot.live.as_ref().is_some_and(|live| live.child.pid == pid))
        else {
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let loading = slot.live.take().map(|live| live.loading).unwrap_or_default();
        crash::unregister_group(pid);
        self.errands.stop_all_of(index);
        match &slot.stage {
            Stage::Serving => {}
            Stage::Vacant | Stage::Draining => {
                slot.stage = Stage::Vacant;
                self.stale = true;
                return self.on_sandbox_lost(index, &BTreeMap::new(), cx);
            }
            Stage::Succeeding { place, .. } => {
                let place = *place;
                slot.stage = Stage::Vacant;
                self.stale = true;
                return self.say_not_succeeded(index, place, &format!("its worker died ({how})"), cx);
            }
        }
        slot.replaced = slot.replaced.saturating_add(1);
        while slot.losses.front().is_some_and(|&at| cx.now.since(at) > BURST_WINDOW) {
            slot.losses.pop_front();
        }
        slot.losses.push_back(cx.now);
        let wait = if slot.losses.len() > BURST { HOLD } else { Span::ZERO };
        slot.start_at = Some(cx.now.after(wait));
        let mut pairs = String::new();
        pair(&mut pairs, "role", slot.role.word());
        pair(&mut pairs, "event", "worker-lost");
        pair(&mut pairs, "pid", &pid.to_string());
        pair(&mut pairs, "how", &how);
        pair(&mut pairs, "next", "replace");
        cx.log.say(Level::Warn, &pairs);
        match slot.role {
            Role::Status => {
                self.sent_overview = None;
                self.sent_services.clear();
                self.pongs.clear();
                for plugin in &mut self.plugins {
                    plugin.series_stale = !plugin.series.is_empty();
                }
            }
            Role::Sandbox(_) => self.on_sandbox_lost(index, &loading, cx),
        }
        self.stale = true;
    }

    /// Does all that is due.
    pub(crate) fn on_due(&mut self, cx: &mut Context<'_>) {
        for slot in 0..self.slots.len() {
            let Some(place) = self.slots.get_mut(slot) else { continue };
            if place.start_at.is_some_and(|at| at <= cx.now) {
                place.start_at = None;
                self.start(slot, cx);
            } else if place.live.as_ref().and_then(|live| live.hello_by).is_some_and(|at| at <= cx.now) {
                self.abandon(slot, "no hello in time", cx);
            }
        }
        self.plugins_due(cx);
        self.calls_due(cx);
        self.errands.on_due(cx.now);
    }

    /// Moves all deadlines by `gap`: the container was frozen, and its workers with it.
    pub(crate) fn shift(&mut self, gap: Span) {
        for slot in &mut self.slots {
            slot.start_at = slot.start_at.map(|at| at.after(gap));
            if let Some(live) = &mut slot.live {
                live.hello_by = live.hello_by.map(|at| at.after(gap));
                live.loading.values_mut().for_each(|at| *at = at.after(gap));
            }
        }
        for plugin in &mut self.plugins {
            plugin.free_at = plugin.free_at.map(|at| at.after(gap));
        }
        for call in self.calls.values_mut() {
            call.since = call.since.after(gap);
            call.overdue_at = call.overdue_at.after(gap);
        }
        self.errands.shift(gap);
    }

    // Steps.

    fn start(&mut self, index: usize, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let role = slot.role;
        match worker::spawn(role, self.executable.as_fd(), cx.listeners) {
            Ok((child, channel)) => {
                slot.live = Some(Live {
                    child,
                    channel,
                    greeted: false,
                    outbox: VecDeque::new(),
                    hello_by: Some(cx.now.after(LOAD_DEADLINE)),
                    handed: BTreeSet::new(),
                    loading: BTreeMap::new(),
                });
            }
            Err(message) => {
                slot.start_at = Some(cx.now.after(Span::from_secs(1)));
                let mut pairs = String::new();
                pair(&mut pairs, "role", role.word());
                pair(&mut pairs, "event", "worker-not-started");
                pair(&mut pairs, "error", &message);
                pair(&mut pairs, "next", "retry");
                pair(&mut pairs, "in", "1s");
                cx.log.say(Level::Error, &pairs);
            }
        }
        self.stale = true;
    }

    fn on_frame(&mut self, slot: usize, frame: &[u8], cx: &mut Context<'_>) {
        let Some(role) = self.slots.get(slot).map(|slot| slot.role) else { return };
        match role {
            Role::Status => match hilum_wire::decode::<FromStatus>(frame) {
                Ok(FromStatus::Hello { version, refused }) => {
                    if self.greet(slot, version, refused, &ToStatus::Hello { version: VERSION }, cx) {
                        self.stale = true;
                    }
                }
                // A worker asks at most ten times a second; one that asks more is not listened to.
                Ok(FromStatus::Ping { nonce }) if self.pongs.len() < 16 => self.pongs.push(nonce),
                Ok(FromStatus::Ping { .. }) => {}
                Err(error) => self.abandon(slot, &error.to_string(), cx),
            },
            Role::Sandbox(_) => match hilum_wire::decode::<FromSandbox>(frame) {
                Ok(message) => self.on_sandbox(slot, message, cx),
                Err(error) => self.abandon(slot, &error.to_string(), cx),
            },
        }
    }

    /// Whether `plugin` was handed to the process in `slot`: a worker speaks only for those.
    fn hosts(&self, slot: usize, plugin: u16) -> bool {
        self.slots.get(slot).and_then(|slot| slot.live.as_ref()).is_some_and(|live| live.handed.contains(&plugin))
    }

    fn on_sandbox(&mut self, slot: usize, message: FromSandbox, cx: &mut Context<'_>) {
        match message {
            FromSandbox::Hello { version, refused } => {
                if self.greet(slot, version, refused, &ToSandbox::Hello { version: VERSION }, cx) {
                    self.load_all(slot, cx);
                }
            }
            FromSandbox::Loaded { plugin, info } if self.hosts(slot, plugin) => {
                self.on_loaded(slot, plugin, Ok(info), cx);
            }
            FromSandbox::LoadFailed { plugin, failure } if self.hosts(slot, plugin) => {
                self.on_loaded(slot, plugin, Err(failure.message), cx);
            }
            FromSandbox::Sealed { refused } => self.on_sealed(slot, refused, cx),
            FromSandbox::Keep { plugin, key, value } if self.hosts(slot, plugin) => {
                self.keep(plugin, key, value);
            }
            FromSandbox::Measured { plugin, series } if self.hosts(slot, plugin) => {
                self.measure(plugin, series);
            }
            FromSandbox::Run { id, plugin, command } if self.hosts(slot, plugin) => {
                self.run(Asker { slot, id }, plugin, &command, cx);
            }
            FromSandbox::StopRun { id } => self.errands.stop(Asker { slot, id }),
            FromSandbox::Answered { id, answer, denied, took_us, used_us } => {
                self.on_answered(slot, id, answer, denied, [took_us, used_us].map(micros), cx);
            }
            FromSandbox::Used { plugin, us } if self.hosts(slot, plugin) => self.on_used(plugin, micros(us), cx),
            FromSandbox::Log { plugin, level, message } if self.hosts(slot, plugin) => {
                let mut pairs = String::new();
                pair(&mut pairs, "plugin", cx.plugin_name(plugin));
                pair(&mut pairs, "event", "plugin-log");
                pair(&mut pairs, "message", &message);
                let level = match level.as_str() {
                    "error" => Level::Error,
                    "warn" => Level::Warn,
                    "info" => Level::Info,
                    _ => Level::Debug,
                };
                cx.log.say(level, &pairs);
            }
            FromSandbox::Loaded { .. }
            | FromSandbox::LoadFailed { .. }
            | FromSandbox::Keep { .. }
            | FromSandbox::Measured { .. }
            | FromSandbox::Run { .. }
            | FromSandbox::Used { .. }
            | FromSandbox::Log { .. } => {
                self.abandon(slot, "spoke for a plugin it does not host", cx);
            }
        }
    }

    /// Checks a worker's version and answers its hello.
    fn greet<T: serde::Serialize>(
        &mut self,
        slot: usize,
        version: u32,
        refused: Vec<String>,
        hello: &T,
        cx: &mut Context<'_>,
    ) -> bool {
        if version != VERSION {
            let why = format!(
                "speaks protocol {version}, PID 1 speaks {VERSION}: the executable was replaced; restart the container"
            );
            self.abandon(slot, &why, cx);
            return false;
        }
        let Some(place) = self.slots.get_mut(slot) else { return false };
        place.refused.clear();
        if let Some(live) = &mut place.live {
            live.greeted = true;
            live.hello_by = None;
        }
        self.say_refused(slot, refused, cx);
        self.send(slot, hello, Vec::new());
        true
    }

    /// Notes what a worker could not give up of its rights.
    fn say_refused(&mut self, slot: usize, refused: Vec<String>, cx: &mut Context<'_>) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        for what in refused {
            let mut pairs = String::new();
            pair(&mut pairs, "role", place.role.word());
            pair(&mut pairs, "event", "worker-less-confined");
            pair(&mut pairs, "what", &what);
            cx.log.say(Level::Warn, &pairs);
            place.refused.push(what);
        }
        self.stale = true;
    }

    fn is_greeted(&self, slot: usize) -> bool {
        self.slots.get(slot).and_then(|slot| slot.live.as_ref()).is_some_and(|live| live.greeted)
    }

    /// Kills a worker that is of no use; its exit does the rest.
    fn abandon(&mut self, slot: usize, why: &str, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        if let Some(live) = &mut slot.live {
            live.hello_by = None;
            live.greeted = false;
            let mut pairs = String::new();
            pair(&mut pairs, "role", slot.role.word());
            pair(&mut pairs, "event", "worker-abandoned");
            pair(&mut pairs, "pid", &live.child.pid.to_string());
            pair(&mut pairs, "why", why);
            cx.log.say(Level::Debug, &pairs);
            kill(live);
        }
    }

    /// Queues a frame and writes what the channel takes.
    fn send<T: serde::Serialize>(&mut self, slot: usize, message: &T, descriptors: Vec<OwnedFd>) {
        if let Ok(frame) = hilum_wire::encode(message) {
            self.send_frame(slot, frame, descriptors);
        }
    }

    fn send_frame(&mut self, slot: usize, frame: Vec<u8>, descriptors: Vec<OwnedFd>) {
        if let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) {
            live.outbox.push_back((frame, descriptors));
            self.write_outbox(slot);
        }
    }

    fn write_outbox(&mut self, slot: usize) {
        let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) else { return };
        while let Some((frame, descriptors)) = live.outbox.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match live.channel.send(frame, &borrowed) {
                Ok(()) => {
                    live.outbox.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It is gone; its exit will be seen.
                Err(_) => {
                    live.outbox.clear();
                    return;
                }
            }
        }
    }
}

impl Slot {
    fn new(role: Role) -> Slot {
        Slot {
            role,
            live: None,
            start_at: None,
            losses: VecDeque::new(),
            replaced: 0,
            refused: Vec::new(),
            stage: Stage::Serving,
        }
    }

    /// Whether it is on its way to take over from the process in `place`, or from a part of it.
    fn succeeds(&self, place: usize) -> bool {
        matches!(self.stage, Stage::Succeeding { place: other, .. } if other == place)
    }

    /// Kills the process, if there is one; its exit does the rest.
    fn kill(&self) {
        if let Some(live) = &self.live {
            kill(live);
        }
    }
}

fn micros(us: u64) -> Span {
    Span(us.saturating_mul(1000))
}

fn kill(live: &Live) {
    let _ = live.child.signal(Signal::KILL.0);
}
