//! PID 1's end of the workers: it starts them, speaks with them, replaces them when they are lost, and keeps what is to be said of them.
//!
//! PID 1 never waits for a worker. What a worker owes has a deadline here; a worker that overstays it is killed and replaced. A probe call lost with
//! its worker is repeated once and then answered `unknown`: a crashing probe must not restart a healthy service. A plugin that fails three
//! calls in a row, or takes its worker down with it, is quarantined for a while, visibly; the others go on.
//!
//! A sandbox loads its plugins once and then gives up the right to load more. So whatever changes what is loaded, a reload or the end of a
//! quarantine, starts a *successor* that loads everything anew; it takes over when it is ready, and the old one ends with its last call.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hilum_config::Launch;
use hilum_engine::{CallId, Event, Exit, Incarnation, Outcome, ProbeId, Signal, Span, Tick};
use hilum_sys::channel::Channel;
use hilum_sys::child::Child;
use hilum_sys::crash;
use hilum_wire::{
    Answer, Ask, Ending, FromSandbox, FromStatus, MAX_FRAME, Octets, Overview, PluginInfo, PluginReport, PluginState,
    Series, ServiceReport, Subject, ToSandbox, ToStatus, VERSION, WorkerReport,
};

use crate::errand::{self, Asker, Errands};
use crate::listener::Listeners;
use crate::log::{Level, Log, pair};
use crate::run_table::RunTable;
use crate::starts::Starts;
use crate::worker::{self, Role};

/// Extra time for an answer beyond the call's own timeout before the worker counts as hung and is killed. **Units:** nanoseconds.
/// Shorter than the engine's own slack, so that the loss is noticed here first and blamed on the right plugin.
const CALL_SLACK: Span = Span::from_millis(500);

/// Time a new worker has for its hello and a plugin for its load before it counts as hung. **Units:** nanoseconds. Loading a 40 MB plugin
/// takes 30 ms; ten seconds is for a machine that is frozen to a crawl.
const LOAD_DEADLINE: Span = Span::from_secs(10);

/// Workers of one role that may be lost within [`BURST_WINDOW`] before the next is held back for [`HOLD`].
const BURST: usize = 20;
/// See [`BURST`]. **Units:** nanoseconds.
const BURST_WINDOW: Span = Span::from_secs(5);
/// See [`BURST`]. **Units:** nanoseconds.
const HOLD: Span = Span::from_millis(250);

/// Broken calls in a row that quarantine a plugin.
const STRIKES: u32 = 3;
/// First quarantine; doubles each time up to [`QUARANTINE_CAP`]. **Units:** nanoseconds.
const QUARANTINE: Span = Span::from_secs(10);
/// See [`QUARANTINE`]. **Units:** nanoseconds.
const QUARANTINE_CAP: Span = Span::from_secs(600);

/// What one plugin may have kept, keys and values together. **Units:** bytes. Its worker counts too; this is for one that does not.
const KEPT: usize = 32 * 1024;

/// Series of one plugin, likewise.
const SERIES: usize = 64;

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
    /// When a load that was not answered counts as hung.
    load_by: Option<Tick>,
    /// The process in its place has it.
    loaded: bool,
    calls: u64,
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
    buffer: Vec<u8>,
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
            let place = if plugin.own_worker {
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
                load_by: None,
                loaded: false,
                calls: 0,
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
            buffer: Vec::new(),
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
        let slots =
            self.slots.iter().flat_map(|slot| [slot.start_at, slot.live.as_ref().and_then(|live| live.hello_by)]);
        let plugins = self.plugins.iter().flat_map(|plugin| [plugin.free_at, plugin.load_by]);
        let calls = self.calls.values().map(|call| Some(call.overdue_at));
        slots.chain(plugins).chain(calls).chain([self.errands.next_deadline()]).flatten().min()
    }

    /// Whether a pid is a worker's, or that of a command a plugin asked for.
    #[must_use]
    pub(crate) fn is_own(&self, pid: i32) -> bool {
        self.errands.is_errand(pid)
            || self.slots.iter().any(|slot| slot.live.as_ref().is_some_and(|live| live.child.pid == pid))
    }

    /// What is to be said of plugins and workers.
    #[must_use]
    pub(crate) fn reports(&self, launch: &Launch) -> (Vec<PluginReport>, Vec<WorkerReport>) {
        let plugins = self.plugins.iter().zip(&launch.plugins).map(|(plugin, launch)| PluginReport {
            name: launch.name.clone(),
            state: plugin.state,
            message: crate::report::cut(&plugin.message, 512),
            calls: plugin.calls,
            broken: plugin.broken,
            denied: plugin.denied,
            kinds: plugin.kinds.clone(),
        });
        let workers = self.slots.iter().filter(|slot| slot.stage != Stage::Vacant).map(|slot| WorkerReport {
            role: match slot.role {
                Role::Status => "status".to_owned(),
                Role::Sandbox(None) => "sandbox".to_owned(),
                Role::Sandbox(Some(plugin)) => {
                    let name = launch.plugins.get(usize::from(plugin)).map_or("?", |plugin| plugin.name.as_str());
                    format!("sandbox {name}")
                }
            },
            pid: slot.live.as_ref().map(|live| live.child.pid),
            replaced: slot.replaced,
            refused: slot.refused.clone(),
        });
        (plugins.collect(), workers.collect())
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

    /// Loads all plugins anew, from the files as they are now. Those whose new file cannot be used keep the old one.
    pub(crate) fn reload(&mut self, cx: &mut Context<'_>) {
        for place in 0..self.slots.len() {
            let serves = |slot: &Slot| slot.stage == Stage::Serving && slot.role != Role::Status;
            if self.slots.get(place).is_some_and(serves) {
                self.succeed(place, cx);
            }
        }
    }

    /// Starts a successor for the process in `place`. One that is on its way already is given up: it may have read what has changed since.
    fn succeed(&mut self, place: usize, cx: &mut Context<'_>) {
        let Some(role) = self.slots.get(place).map(|slot| slot.role) else { return };
        for slot in &mut self.slots {
            if matches!(slot.stage, Stage::Succeeding { place: other, .. } if other == place) {
                slot.stage = Stage::Draining;
                slot.kill();
            }
        }
        let vacant = self.slots.iter().position(|slot| slot.stage == Stage::Vacant && slot.live.is_none());
        let index = vacant.unwrap_or(self.slots.len());
        let slot = Slot { stage: Stage::Succeeding { place, loaded: BTreeMap::new() }, ..Slot::new(role) };
        match self.slots.get_mut(index) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        self.start(index, cx);
    }

    /// Makes a probe call; the answer comes as an event.
    pub(crate) fn call(
        &mut self,
        cx: &mut Context<'_>,
        probe: ProbeId,
        run: Incarnation,
        call: CallId,
        timeout: Span,
        attempt: u32,
    ) {
        let target = cx
            .launch
            .services
            .get(usize::from(probe.service.0))
            .and_then(|service| service.probes.get(usize::from(probe.index)));
        let Some(target) = target else {
            return answer(cx.events, probe, run, call, Outcome::Unknown("bug: no such probe".to_owned()), Span::ZERO);
        };
        let Some(plugin) = self.plugins.get(usize::from(target.plugin)) else {
            return answer(cx.events, probe, run, call, Outcome::Unknown("bug: no such plugin".to_owned()), Span::ZERO);
        };
        let name = cx.plugin_name(target.plugin);
        let refused = match plugin.state {
            PluginState::Refused => Some(format!("plugin {name} cannot be used: {}", plugin.message)),
            PluginState::Quarantined => Some(format!("plugin {name} is quarantined: {}", plugin.message)),
            PluginState::Loading | PluginState::Ready => None,
        };
        if let Some(message) = refused {
            return answer(cx.events, probe, run, call, Outcome::Unknown(message), Span::ZERO);
        }
        self.calls.insert(
            call,
            Call {
                probe,
                run,
                plugin: target.plugin,
                settings: target.settings.clone(),
                timeout,
                attempt,
                since: cx.now,
                overdue_at: cx.now.after(timeout).after(CALL_SLACK),
                sent: None,
                repeated: false,
            },
        );
        self.send_calls(target.plugin, cx);
    }

    /// Gives up on a call.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let Some(gone) = self.calls.remove(&call) else { return };
        if let Some(slot) = gone.sent {
            self.send(slot, &ToSandbox::Cancel { id: call.0 }, Vec::new());
            self.dismiss_if_done(slot);
        }
    }

    /// Notes that there is something new to publish.
    pub(crate) fn publish(&mut self) {
        self.stale = true;
    }

    /// Whether a status worker waits for news.
    #[must_use]
    pub(crate) fn wants_reports(&self) -> bool {
        let reachable = |slot: &Slot| {
            slot.role == Role::Status && slot.live.as_ref().is_some_and(|live| live.greeted && live.outbox.is_empty())
        };
        let measured = self.plugins.iter().any(|plugin| plugin.series_stale);
        (self.stale || measured || !self.pongs.is_empty()) && self.slots.iter().any(reachable)
    }

    /// Tells the status worker what changed since it was told last, then answers its pings.
    pub(crate) fn tell(&mut self, overview: Overview, services: impl Iterator<Item = ServiceReport>) {
        let Some(slot) = self.slots.iter().position(|slot| slot.role == Role::Status) else { return };
        self.stale = false;
        self.sent_services.truncate(usize::from(overview.services));
        for (index, report) in (0u16..).zip(services) {
            let at = usize::from(index);
            if self.sent_services.len() <= at {
                self.sent_services.resize(at.saturating_add(1), None);
            }
            let Some(sent) = self.sent_services.get_mut(at) else { continue };
            if sent.as_ref() != Some(&report) {
                *sent = Some(report.clone());
                self.send(slot, &ToStatus::Service { index, report: Box::new(report) }, Vec::new());
            }
        }
        if self.sent_overview.as_ref() != Some(&overview) {
            self.sent_overview = Some(overview.clone());
            self.send(slot, &ToStatus::Overview(Box::new(overview)), Vec::new());
        }
        for index in 0..self.plugins.len() {
            let Some(plugin) = self.plugins.get_mut(index).filter(|plugin| plugin.series_stale) else { continue };
            plugin.series_stale = false;
            let series = plugin.series.clone();
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            self.send(slot, &ToStatus::Measured { index, series }, Vec::new());
        }
        for nonce in std::mem::take(&mut self.pongs) {
            self.send(slot, &ToStatus::Pong { nonce }, Vec::new());
        }
    }

    // Facts.

    /// Reads and writes what a worker's channel is ready for.
    pub(crate) fn on_ready(&mut self, slot: usize, cx: &mut Context<'_>) {
        self.write_outbox(slot);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(MAX_FRAME, 0);
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
        self.buffer = buffer;
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
        slot.live = None;
        crash::unregister_group(pid);
        self.errands.stop_all_of(index);
        match &slot.stage {
            Stage::Serving => {}
            Stage::Vacant | Stage::Draining => {
                slot.stage = Stage::Vacant;
                self.stale = true;
                return self.on_sandbox_lost(index, cx);
            }
            Stage::Succeeding { place, .. } => {
                let place = *place;
                slot.stage = Stage::Vacant;
                self.stale = true;
                return self.say_not_succeeded(place, &format!("its worker died ({how})"), cx);
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
            Role::Sandbox(_) => self.on_sandbox_lost(index, cx),
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
        for index in 0..self.plugins.len() {
            let Some(plugin) = self.plugins.get_mut(index) else { continue };
            if plugin.free_at.is_some_and(|at| at <= cx.now) {
                plugin.free_at = None;
                plugin.strikes = 0;
                plugin.state = if plugin.loaded { PluginState::Ready } else { PluginState::Loading };
                let (slot, loaded) = (plugin.slot, plugin.loaded);
                if !loaded && self.is_greeted(slot) {
                    self.succeed(slot, cx);
                }
                self.stale = true;
            } else if plugin.load_by.is_some_and(|at| at <= cx.now) {
                plugin.load_by = None;
                let slot = plugin.slot;
                self.strike(index, "it does not finish loading", true, cx);
                self.abandon(slot, "a load overstayed its time", cx);
            }
        }
        let overdue: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.overdue_at <= cx.now).map(|(id, _)| *id).collect();
        for id in overdue {
            let Some(call) = self.calls.remove(&id) else { continue };
            let message = "the plugin's worker did not answer in time".to_owned();
            answer(cx.events, call.probe, call.run, id, Outcome::Unknown(message), cx.now.since(call.since));
            let plugin = usize::from(call.plugin);
            if let Some(slot) = call.sent {
                self.strike(plugin, "a call overstayed its deadline", false, cx);
                self.abandon(slot, "a call overstayed its deadline", cx);
            }
        }
        self.errands.on_due(cx.now);
    }

    /// Moves all deadlines by `gap`: the container was frozen, and its workers with it.
    pub(crate) fn shift(&mut self, gap: Span) {
        for slot in &mut self.slots {
            slot.start_at = slot.start_at.map(|at| at.after(gap));
            if let Some(live) = &mut slot.live {
                live.hello_by = live.hello_by.map(|at| at.after(gap));
            }
        }
        for plugin in &mut self.plugins {
            plugin.free_at = plugin.free_at.map(|at| at.after(gap));
            plugin.load_by = plugin.load_by.map(|at| at.after(gap));
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

    /// Whether the process in `slot` is that of `plugin`: a worker speaks only for the plugins it hosts.
    fn hosts(&self, slot: usize, plugin: u16) -> bool {
        let here = self.slots.get(slot).map(|slot| slot.role);
        let Some(plugin) = self.plugins.get(usize::from(plugin)) else { return false };
        here.is_some() && here == self.slots.get(plugin.slot).map(|slot| slot.role)
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
                if let Some(plugin) = self.plugins.get_mut(usize::from(plugin)) {
                    measure(&mut plugin.series, series);
                    plugin.series_stale = true;
                }
            }
            FromSandbox::Run { id, plugin, command } if self.hosts(slot, plugin) => {
                self.run(Asker { slot, id }, plugin, &command, cx);
            }
            FromSandbox::StopRun { id } => self.errands.stop(Asker { slot, id }),
            FromSandbox::Answered { id, answer: what, denied, took_us } => {
                let id = CallId(id);
                if self.calls.get(&id).is_none_or(|call| call.sent != Some(slot)) {
                    return;
                }
                let Some(call) = self.calls.remove(&id) else { return };
                self.dismiss_if_done(slot);
                let index = usize::from(call.plugin);
                if let Some(plugin) = self.plugins.get_mut(index) {
                    plugin.calls = plugin.calls.saturating_add(1);
                    plugin.denied = plugin.denied.saturating_add(denied.into());
                }
                let outcome = match what {
                    Answer::Pass => Outcome::Pass,
                    Answer::Fail(message) => Outcome::Fail(message),
                    Answer::Unknown(message) => Outcome::Unknown(message),
                    Answer::Done(_) | Answer::Retry { .. } | Answer::Failed(_) | Answer::Judged(_) => {
                        Outcome::Unknown("bug: the answer to another question".to_owned())
                    }
                    Answer::Broken { kind, message } => {
                        let name = cx.plugin_name(call.plugin);
                        let message = format!("plugin {name} broke ({kind}): {message}");
                        self.strike(index, &message, false, cx);
                        Outcome::Unknown(message)
                    }
                };
                if !matches!(outcome, Outcome::Unknown(_))
                    && let Some(plugin) = self.plugins.get_mut(index)
                {
                    plugin.strikes = 0;
                    plugin.quarantines = 0;
                }
                answer(cx.events, call.probe, call.run, id, outcome, Span(took_us.saturating_mul(1000)));
            }
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

    /// Hands a worker all plugins it is to load, and tells it that these are all.
    fn load_all(&mut self, slot: usize, cx: &mut Context<'_>) {
        for index in 0..self.plugins.len() {
            let here = self.hosts(slot, u16::try_from(index).unwrap_or(u16::MAX));
            if here && self.plugins.get(index).is_some_and(|plugin| plugin.free_at.is_none()) {
                self.load(slot, index, cx);
            }
        }
        self.send(slot, &ToSandbox::Seal, Vec::new());
    }

    /// Opens a plugin's file and what it may use, and hands it to a worker, with what it wanted kept.
    fn load(&mut self, slot: usize, index: usize, cx: &mut Context<'_>) {
        let (Some(plugin), Some(plan)) = (self.plugins.get_mut(index), cx.launch.plugins.get(index)) else { return };
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        plugin.load_by = Some(cx.now.after(LOAD_DEADLINE));
        let kept = plugin.kept.iter();
        let kept: Vec<_> = kept
            .map(|(key, value)| ToSandbox::Restore { plugin: id, key: key.clone(), value: Octets(value.clone()) })
            .collect();
        match worker::order(id, plan) {
            Ok((frame, descriptors)) => {
                for message in kept {
                    self.send(slot, &message, Vec::new());
                }
                self.send_frame(slot, frame, descriptors);
            }
            Err(message) => self.on_loaded(slot, id, Err(message), cx),
        }
    }

    /// A plugin was loaded, or cannot be.
    fn on_loaded(&mut self, slot: usize, plugin: u16, outcome: Result<PluginInfo, String>, cx: &mut Context<'_>) {
        let index = usize::from(plugin);
        let Some(state) = self.plugins.get_mut(index) else { return };
        state.load_by = None;
        if let Some(Slot { stage: Stage::Succeeding { loaded, .. }, .. }) = self.slots.get_mut(slot) {
            loaded.insert(plugin, outcome);
            return;
        }
        match outcome {
            Ok(info) => {
                self.ready(index, &info, "plugin-loaded", cx);
                self.send_calls(plugin, cx);
            }
            Err(message) => self.refuse(index, &message, cx),
        }
    }

    /// A plugin can be called.
    fn ready(&mut self, index: usize, info: &PluginInfo, event: &str, cx: &mut Context<'_>) {
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        plugin.loaded = true;
        plugin.kinds.clone_from(&info.kinds);
        if plugin.state != PluginState::Quarantined {
            plugin.state = PluginState::Ready;
            plugin.message = format!("{} {}", info.name, info.version);
        }
        self.stale = true;
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(u16::try_from(index).unwrap_or(u16::MAX)));
        pair(&mut pairs, "event", event);
        pair(&mut pairs, "name", &info.name);
        pair(&mut pairs, "version", &info.version);
        cx.log.say(Level::Info, &pairs);
    }

    /// A worker has loaded what it was told to. A successor takes over, unless a plugin that can be called now could then not be.
    fn on_sealed(&mut self, slot: usize, refused: Vec<String>, cx: &mut Context<'_>) {
        self.say_refused(slot, refused, cx);
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Stage::Succeeding { place: old, loaded } = &mut place.stage else { return };
        let (old, loaded) = (*old, std::mem::take(loaded));
        let lost = loaded.iter().find_map(|(plugin, outcome)| {
            let usable = self.plugins.get(usize::from(*plugin)).is_some_and(|plugin| plugin.loaded);
            outcome.as_ref().err().filter(|_| usable)
        });
        if let Some(message) = lost {
            let message = message.clone();
            place.stage = Stage::Draining;
            place.kill();
            return self.say_not_succeeded(old, &message, cx);
        }
        place.stage = Stage::Serving;
        if let Some(replaced) = self.slots.get(old).map(|old| old.replaced)
            && let Some(place) = self.slots.get_mut(slot)
        {
            place.replaced = replaced;
        }
        if let Some(old) = self.slots.get_mut(old) {
            old.stage = Stage::Draining;
            old.start_at = None;
        }
        for plugin in self.plugins.iter_mut().filter(|plugin| plugin.slot == old) {
            plugin.slot = slot;
            plugin.loaded = false;
        }
        for (plugin, outcome) in loaded {
            let index = usize::from(plugin);
            match outcome {
                Ok(info) => {
                    self.ready(index, &info, "plugin-swapped", cx);
                    self.send_calls(plugin, cx);
                }
                Err(message) => self.refuse(index, &message, cx),
            }
        }
        self.dismiss_if_done(old);
    }

    /// Says that a successor did not take over; the process it was for serves on.
    fn say_not_succeeded(&mut self, place: usize, why: &str, cx: &mut Context<'_>) {
        let mut pairs = String::new();
        pair(&mut pairs, "role", self.slots.get(place).map_or("?", |slot| slot.role.word()));
        pair(&mut pairs, "event", "plugins-not-swapped");
        pair(&mut pairs, "error", why);
        pair(&mut pairs, "next", "keep");
        cx.log.say(Level::Error, &pairs);
    }

    /// Ends a process that has no call left and gets none.
    fn dismiss_if_done(&mut self, slot: usize) {
        let busy = self.calls.values().any(|call| call.sent == Some(slot));
        if let Some(place) = self.slots.get_mut(slot)
            && place.stage == Stage::Draining
            && !busy
        {
            match &place.live {
                Some(live) => kill(live),
                None => place.stage = Stage::Vacant,
            }
        }
    }

    /// Keeps a value of a plugin, or with none forgets it.
    fn keep(&mut self, plugin: u16, key: String, value: Option<Octets>) {
        let Some(plugin) = self.plugins.get_mut(usize::from(plugin)) else { return };
        plugin.kept.remove(&key);
        if let Some(Octets(value)) = value {
            let others: usize = plugin.kept.iter().map(|(key, value)| key.len() + value.len()).sum();
            if others.saturating_add(key.len()).saturating_add(value.len()) <= KEPT {
                plugin.kept.insert(key, value);
            }
        }
    }

    /// Runs a command for a plugin.
    fn run(&mut self, asker: Asker, plugin: u16, name: &str, cx: &mut Context<'_>) {
        let granted =
            cx.launch.plugins.get(usize::from(plugin)).is_some_and(|plan| plan.allow.exec.iter().any(|it| it == name));
        let command = cx.launch.commands.iter().find(|command| granted && command.name == name);
        let started = match command {
            Some(command) => self.errands.start(asker, plugin, command, cx.hidden, cx.now),
            None => Err(format!("the plan does not let this plugin run {name:?}")),
        };
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(plugin));
        pair(&mut pairs, "command", name);
        match started {
            Ok(ends) => {
                pair(&mut pairs, "event", "command-started");
                cx.log.say(Level::Debug, &pairs);
                self.send(asker.slot, &ToSandbox::Started { id: asker.id }, ends.into());
            }
            Err(why) => {
                pair(&mut pairs, "event", "command-not-started");
                pair(&mut pairs, "error", &why);
                cx.log.say(Level::Warn, &pairs);
                self.send(asker.slot, &ToSandbox::Ran { id: asker.id, ending: Ending::Refused(why) }, Vec::new());
            }
        }
    }

    /// Tells whoever asked how a command ended.
    fn say_ran(&mut self, asker: Asker, ending: Ending, cx: &mut Context<'_>) {
        let mut pairs = String::new();
        pair(&mut pairs, "event", "command-ended");
        pair(&mut pairs, "how", &errand::describe(&ending));
        cx.log.say(Level::Debug, &pairs);
        self.send(asker.slot, &ToSandbox::Ran { id: asker.id, ending }, Vec::new());
    }

    fn refuse(&mut self, index: usize, message: &str, cx: &mut Context<'_>) {
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.load_by = None;
            plugin.loaded = false;
            plugin.state = PluginState::Refused;
            plugin.message = message.to_owned();
        }
        self.stale = true;
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(id));
        pair(&mut pairs, "event", "plugin-refused");
        pair(&mut pairs, "error", message);
        cx.log.say(Level::Error, &pairs);
        self.resolve_calls(id, &format!("plugin {} cannot be used: {message}", cx.plugin_name(id)), cx);
    }

    /// Answers every call of a plugin that is not in its worker's hands with `unknown`.
    fn resolve_calls(&mut self, plugin: u16, message: &str, cx: &mut Context<'_>) {
        let waiting: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.plugin == plugin).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(call) = self.calls.remove(&id) {
                let outcome = Outcome::Unknown(message.to_owned());
                answer(cx.events, call.probe, call.run, id, outcome, cx.now.since(call.since));
            }
        }
    }

    /// Counts a broken call against a plugin; `fatal` ones took a worker down.
    fn strike(&mut self, index: usize, message: &str, fatal: bool, cx: &mut Context<'_>) {
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        plugin.broken = plugin.broken.saturating_add(1);
        plugin.strikes = plugin.strikes.saturating_add(1);
        plugin.message = message.to_owned();
        self.stale = true;
        if plugin.strikes < STRIKES || plugin.state == PluginState::Quarantined {
            return;
        }
        let factor = 1u64 << plugin.quarantines.min(16);
        let time = Span(QUARANTINE.0.saturating_mul(factor)).min(QUARANTINE_CAP);
        plugin.quarantines = plugin.quarantines.saturating_add(1);
        plugin.state = PluginState::Quarantined;
        plugin.free_at = Some(cx.now.after(time));
        plugin.load_by = None;
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.launch.plugins.get(index).map_or("?", |plugin| plugin.name.as_str()));
        pair(&mut pairs, "event", "plugin-quarantined");
        pair(&mut pairs, "for", &format!("{}s", time.as_secs()));
        pair(&mut pairs, "error", message);
        if fatal {
            pair(&mut pairs, "worker", "lost");
        }
        cx.log.say(Level::Error, &pairs);
    }

    /// The calls and loads that went down with a sandbox: blamed, repeated once, or answered `unknown`.
    fn on_sandbox_lost(&mut self, slot: usize, cx: &mut Context<'_>) {
        let lost: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.sent == Some(slot)).map(|(id, _)| *id).collect();
        let mut blamed: Vec<u16> = lost.iter().filter_map(|id| self.calls.get(id)).map(|call| call.plugin).collect();
        for (index, plugin) in (0u16..).zip(&mut self.plugins) {
            if plugin.slot == slot && plugin.load_by.take().is_some() {
                blamed.push(index);
            }
        }
        blamed.sort_unstable();
        blamed.dedup();
        for plugin in blamed {
            self.strike(usize::from(plugin), "its worker died during a call", true, cx);
        }
        for plugin in self.plugins.iter_mut().filter(|plugin| plugin.slot == slot) {
            plugin.loaded = false;
            if plugin.state == PluginState::Ready {
                plugin.state = PluginState::Loading;
            }
        }
        for id in lost {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = None;
            let quarantined = self
                .plugins
                .get(usize::from(call.plugin))
                .is_some_and(|plugin| plugin.state == PluginState::Quarantined);
            if call.repeated || quarantined {
                let (probe, run, since) = (call.probe, call.run, call.since);
                self.calls.remove(&id);
                let message = "the plugin's worker died during the call".to_owned();
                answer(cx.events, probe, run, id, Outcome::Unknown(message), cx.now.since(since));
            } else {
                call.repeated = true;
                let plugin = call.plugin;
                // Where a successor serves already.
                self.send_calls(plugin, cx);
            }
        }
    }

    /// Sends the calls of a plugin that are waiting, if it can take them.
    fn send_calls(&mut self, plugin: u16, cx: &Context<'_>) {
        let Some(state) = self.plugins.get(usize::from(plugin)) else { return };
        if state.state != PluginState::Ready {
            return;
        }
        let slot = state.slot;
        let waiting: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.plugin == plugin && call.sent.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = Some(slot);
            let spent = cx.now.since(call.since);
            let left = Span(call.timeout.0.saturating_sub(spent.0));
            let service = call.probe.service;
            let plan = cx.launch.plan.services.get(usize::from(service.0));
            let subject = Subject {
                name: plan.map(|plan| plan.name.clone()).unwrap_or_default(),
                run: u32::try_from(call.run.0).unwrap_or(u32::MAX),
                pid: cx.runs.pid(service, call.run).and_then(|pid| u32::try_from(pid).ok()),
                starts: cx.starts.ages(service, cx.now),
            };
            let message = ToSandbox::Call {
                id: id.0,
                plugin,
                ask: Ask::Check { settings: call.settings.clone(), attempt: call.attempt },
                timeout_ms: left.as_millis_ceil().max(1),
                service: Some(subject),
            };
            self.send(slot, &message, Vec::new());
        }
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

    /// Kills the process, if there is one; its exit does the rest.
    fn kill(&self) {
        if let Some(live) = &self.live {
            kill(live);
        }
    }
}

/// Takes the value of a series, if there is room.
fn measure(known: &mut Vec<Series>, series: Series) {
    let room = known.len() < SERIES;
    match known.iter_mut().find(|known| known.name == series.name && known.labels == series.labels) {
        Some(known) => *known = series,
        None if room => known.push(series),
        None => {}
    }
}

fn answer(events: &mut VecDeque<Event>, probe: ProbeId, run: Incarnation, call: CallId, outcome: Outcome, took: Span) {
    events.push_back(Event::ProbeAnswered { probe, run, call, outcome, took });
}

fn kill(live: &Live) {
    let _ = live.child.signal(Signal::KILL.0);
}
