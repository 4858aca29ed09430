//! PID 1's end of the workers: it starts them, speaks with them, replaces them when they are lost, and keeps what is to be said of them.
//!
//! PID 1 never waits for a worker. What a worker owes has a deadline here; a worker that overstays it is killed and replaced. A probe call lost with
//! its worker is repeated once and then answered `unknown`: a crashing probe must not restart a healthy service. A plugin that fails three
//! calls in a row, or takes its worker down with it, is quarantined for a while, visibly; the others go on.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hilum_config::Launch;
use hilum_engine::{CallId, Event, Incarnation, Outcome, ProbeId, Signal, Span, Tick};
use hilum_sys::channel::Channel;
use hilum_sys::child::{self, Child, Environment, Group, Program, Spec};
use hilum_sys::crash;
use hilum_wire::{
    Answer, FromSandbox, FromStatus, Grants, MAX_FRAME, Overview, PluginReport, PluginState, ServiceReport, ToSandbox,
    ToStatus, VERSION, WorkerReport,
};

use crate::listener::Listeners;
use crate::log::{Level, Log, pair};

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

/// First descriptor handed to a worker: its channel. Listeners follow.
pub(crate) const CHANNEL_DESCRIPTOR: i32 = 3;

/// What a worker is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Answers HTTP.
    Status,
    /// Hosts plugins: the shared one, or that of one plugin.
    Sandbox(Option<u16>),
}

impl Role {
    /// The word on the worker's command line.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Status => "status",
            Role::Sandbox(_) => "sandbox",
        }
    }
}

/// A worker's process.
#[derive(Debug)]
struct Live {
    child: Child,
    channel: Channel,
    /// It said hello in our version.
    greeted: bool,
    /// Frames it did not take yet, with the descriptor each carries.
    outbox: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
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
    /// It has been sent to the worker that runs now.
    sent: bool,
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
    calls: u64,
    broken: u64,
}

/// What the shell lends for one task.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) listeners: Option<&'a Listeners>,
    pub(crate) now: Tick,
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
        let slot =
            |role| Slot { role, live: None, start_at: None, losses: VecDeque::new(), replaced: 0, refused: Vec::new() };
        let mut slots = Vec::new();
        if launch.status.is_some() {
            slots.push(slot(Role::Status));
        }
        let mut shared = None;
        let mut plugins = Vec::new();
        for (index, plugin) in (0u16..).zip(&launch.plugins) {
            let place = if plugin.own_worker {
                slots.push(slot(Role::Sandbox(Some(index))));
                slots.len() - 1
            } else {
                *shared.get_or_insert_with(|| {
                    slots.push(slot(Role::Sandbox(None)));
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
                calls: 0,
                broken: 0,
            });
        }
        Broker {
            executable,
            slots,
            plugins,
            calls: BTreeMap::new(),
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
        slots.chain(plugins).chain(calls).flatten().min()
    }

    /// Whether a pid is a worker's.
    #[must_use]
    pub(crate) fn is_worker(&self, pid: i32) -> bool {
        self.slots.iter().any(|slot| slot.live.as_ref().is_some_and(|live| live.child.pid == pid))
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
        });
        let workers = self.slots.iter().map(|slot| WorkerReport {
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
                sent: false,
                repeated: false,
            },
        );
        self.send_calls(target.plugin, cx);
    }

    /// Gives up on a call.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let Some(gone) = self.calls.remove(&call) else { return };
        if gone.sent
            && let Some(plugin) = self.plugins.get(usize::from(gone.plugin))
        {
            self.send(plugin.slot, &ToSandbox::Cancel { id: call.0 }, None);
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
        (self.stale || !self.pongs.is_empty()) && self.slots.iter().any(reachable)
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
                self.send(slot, &ToStatus::Service { index, report: Box::new(report) }, None);
            }
        }
        if self.sent_overview.as_ref() != Some(&overview) {
            self.sent_overview = Some(overview.clone());
            self.send(slot, &ToStatus::Overview(Box::new(overview)), None);
        }
        for nonce in std::mem::take(&mut self.pongs) {
            self.send(slot, &ToStatus::Pong { nonce }, None);
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
    pub(crate) fn on_exited(&mut self, pid: i32, how: &str, cx: &mut Context<'_>) {
        let Some(index) =
            self.slots.iter().position(|slot| slot.live.as_ref().is_some_and(|live| live.child.pid == pid))
        else {
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.live = None;
        crash::unregister_group(pid);
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
        pair(&mut pairs, "how", how);
        pair(&mut pairs, "next", "replace");
        cx.log.say(Level::Warn, &pairs);
        match slot.role {
            Role::Status => {
                self.sent_overview = None;
                self.sent_services.clear();
                self.pongs.clear();
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
                plugin.state = PluginState::Loading;
                plugin.strikes = 0;
                let slot = plugin.slot;
                if self.is_greeted(slot) {
                    self.load(index, cx);
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
            let slot = self.plugins.get(plugin).map(|plugin| plugin.slot);
            if call.sent {
                self.strike(plugin, "a call overstayed its deadline", false, cx);
                if let Some(slot) = slot {
                    self.abandon(slot, "a call overstayed its deadline", cx);
                }
            }
        }
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
    }

    // Steps.

    fn start(&mut self, index: usize, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let role = slot.role;
        match spawn(role, self.executable.as_fd(), cx.listeners) {
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

    fn on_sandbox(&mut self, slot: usize, message: FromSandbox, cx: &mut Context<'_>) {
        // A worker speaks only for the plugins it hosts.
        let own = |broker: &Broker, plugin: u16| {
            broker.plugins.get(usize::from(plugin)).is_some_and(|plugin| plugin.slot == slot)
        };
        match message {
            FromSandbox::Hello { version, refused } => {
                if self.greet(slot, version, refused, &ToSandbox::Hello { version: VERSION }, cx) {
                    for index in 0..self.plugins.len() {
                        let here = self
                            .plugins
                            .get(index)
                            .is_some_and(|plugin| plugin.slot == slot && plugin.free_at.is_none());
                        if here {
                            self.load(index, cx);
                        }
                    }
                }
            }
            FromSandbox::Loaded { plugin, info } if own(self, plugin) => {
                if let Some(state) = self.plugins.get_mut(usize::from(plugin)) {
                    state.load_by = None;
                    if state.state == PluginState::Quarantined {
                        return;
                    }
                    state.state = PluginState::Ready;
                    state.message = format!("{} {}", info.name, info.version);
                    self.stale = true;
                }
                let mut pairs = String::new();
                pair(&mut pairs, "plugin", cx.plugin_name(plugin));
                pair(&mut pairs, "event", "plugin-loaded");
                pair(&mut pairs, "name", &info.name);
                pair(&mut pairs, "version", &info.version);
                cx.log.say(Level::Info, &pairs);
                self.send_calls(plugin, cx);
            }
            FromSandbox::LoadFailed { plugin, failure } if own(self, plugin) => {
                self.refuse(usize::from(plugin), &failure.message, cx);
            }
            FromSandbox::Answered { id, answer: what, took_us } => {
                let id = CallId(id);
                let Some(call) = self.calls.get(&id) else { return };
                if !own(self, call.plugin) {
                    return;
                }
                let Some(call) = self.calls.remove(&id) else { return };
                let index = usize::from(call.plugin);
                if let Some(plugin) = self.plugins.get_mut(index) {
                    plugin.calls = plugin.calls.saturating_add(1);
                }
                let outcome = match what {
                    Answer::Pass => Outcome::Pass,
                    Answer::Fail(message) => Outcome::Fail(message),
                    Answer::Unknown(message) => Outcome::Unknown(message),
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
            FromSandbox::Log { plugin, level, message } if own(self, plugin) => {
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
            FromSandbox::Loaded { .. } | FromSandbox::LoadFailed { .. } | FromSandbox::Log { .. } => {
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
        for what in &refused {
            let mut pairs = String::new();
            pair(&mut pairs, "role", place.role.word());
            pair(&mut pairs, "event", "worker-less-confined");
            pair(&mut pairs, "what", what);
            cx.log.say(Level::Warn, &pairs);
        }
        place.refused = refused;
        if let Some(live) = &mut place.live {
            live.greeted = true;
            live.hello_by = None;
        }
        self.send(slot, hello, None);
        true
    }

    fn is_greeted(&self, slot: usize) -> bool {
        self.slots.get(slot).and_then(|slot| slot.live.as_ref()).is_some_and(|live| live.greeted)
    }

    /// Opens a plugin's file and hands it to its worker.
    fn load(&mut self, index: usize, cx: &mut Context<'_>) {
        let (Some(plugin), Some(plan)) = (self.plugins.get_mut(index), cx.launch.plugins.get(index)) else { return };
        let slot = plugin.slot;
        match hilum_sys::open::regular_file(&plan.path) {
            Ok(file) => {
                plugin.state = PluginState::Loading;
                plugin.load_by = Some(cx.now.after(LOAD_DEADLINE));
                let load = ToSandbox::Load {
                    plugin: u16::try_from(index).unwrap_or(u16::MAX),
                    name: plan.name.clone(),
                    sha256: plan.sha256.clone(),
                    memory: plan.memory,
                    grants: Grants { connect: plan.connect.clone() },
                };
                self.send(slot, &load, Some(file));
            }
            Err(error) => {
                let message = format!("cannot open {}: {error}", plan.path.display());
                self.refuse(index, &message, cx);
            }
        }
    }

    fn refuse(&mut self, index: usize, message: &str, cx: &mut Context<'_>) {
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.load_by = None;
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
        let lost: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.sent && self.plugins.get(usize::from(call.plugin)).is_some_and(|p| p.slot == slot))
            .map(|(id, _)| *id)
            .collect();
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
        for plugin in &mut self.plugins {
            if plugin.slot == slot && plugin.state == PluginState::Ready {
                plugin.state = PluginState::Loading;
            }
        }
        for id in lost {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = false;
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
        let waiting: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.plugin == plugin && !call.sent).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = true;
            let spent = cx.now.since(call.since);
            let left = Span(call.timeout.0.saturating_sub(spent.0));
            let message = ToSandbox::Call {
                id: id.0,
                plugin,
                settings: call.settings.clone(),
                timeout_ms: left.as_millis_ceil().max(1),
                attempt: call.attempt,
            };
            self.send(slot, &message, None);
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
    fn send<T: serde::Serialize>(&mut self, slot: usize, message: &T, descriptor: Option<OwnedFd>) {
        let Ok(frame) = hilum_wire::encode(message) else { return };
        if let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) {
            live.outbox.push_back((frame, descriptor));
            self.write_outbox(slot);
        }
    }

    fn write_outbox(&mut self, slot: usize) {
        let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) else { return };
        while let Some((frame, descriptor)) = live.outbox.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
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

fn answer(events: &mut VecDeque<Event>, probe: ProbeId, run: Incarnation, call: CallId, outcome: Outcome, took: Span) {
    events.push_back(Event::ProbeAnswered { probe, run, call, outcome, took });
}

fn kill(live: &Live) {
    let _ = live.child.signal(Signal::KILL.0);
}

/// Starts a worker: our own executable, a clean environment, and no descriptor but standard error, its channel and, for `status`, the
/// listeners.
fn spawn(role: Role, executable: BorrowedFd<'_>, listeners: Option<&Listeners>) -> Result<(Child, Channel), String> {
    let (ours, theirs) = Channel::pair().map_err(|error| format!("cannot make a channel: {error}"))?;
    let theirs = OwnedFd::from(theirs);
    let mut descriptors = vec![(theirs.as_fd(), CHANNEL_DESCRIPTOR)];
    let parent = hilum_sys::process::pid().to_string();
    let mut argv = ["hilum", "worker", role.word(), &parent].map(OsString::from).to_vec();
    if role == Role::Status
        && let Some(listeners) = listeners
    {
        for (socket, number) in listeners.descriptors().zip(CHANNEL_DESCRIPTOR + 1..) {
            descriptors.push((socket, number));
        }
        argv.push(OsString::from(listeners.descriptors().count().to_string()));
    }
    let spec = Spec {
        group: Group::Own { foreground: false },
        parent_death_signal: Signal::KILL.0,
        descriptors: &descriptors,
        close_rest: true,
        ..Spec::new(Program::Descriptor(executable), &argv, Environment::empty())
    };
    let child = child::spawn(&spec).map_err(|error| error.to_string())?;
    crash::register_group(child.pid);
    Ok((child, ours))
}
