//! The shell around the engine: wait, make events of what happened, hand them to the engine, carry out its actions.
//!
//! One thread, one `ppoll` over a handful of descriptors, one deadline. The shell decides nothing about services: that is the engine's. It never
//! waits for anything but that `ppoll` (or for a signal, where signals are all there is), and with nothing due it sleeps until something happens.
//!
//! There is no async runtime here. PID 1 has few descriptors and a single thread of decisions; `ppoll` serves both with no allocation, no
//! extra descriptor and no wake-up of its own. The workers, which hold many connections and calls at once, are on tokio.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hilum_config::{Drill, Group, Launch, Output, Relay as RelayKind, Voice};
use hilum_engine::{
    Action, Event, Exit, Incarnation, Pid, Scope, ServiceId, Signal, Span, SpawnFailure, Supervisor, Tick, Wall,
};
use hilum_sys::child::{self, Child, Environment, Program, SpawnError, Spec};
use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::{self, Change, Peek};
use hilum_sys::signal::{Arrived, SignalFd, block};
use hilum_sys::{clock, crash, executable, signal, terminal};

use crate::broker::{self, Broker};
use crate::listener::Listeners;
use crate::log::{Level, Log, pair};
use crate::personality::{self, SpawnStep};
use crate::relay::Relay;
use crate::report::{self, History, Now};
use crate::run_table::RunTable;
use crate::starts::Starts;

/// How much later than asked the loop must wake for the container to count as frozen. **Units:** nanoseconds. A busy machine delays a
/// wake-up by milliseconds; a frozen cgroup or a stopped PID 1 by as long as it takes. Shorter, load would stretch time-outs; longer, a short
/// freeze would fail probes.
const THAW: Span = Span::from_secs(1);

/// Most that a thaw gives back of the time before a deadline. **Units:** nanoseconds. The usual grace period; without a bound, a time to live of an
/// hour that ends while the machine is slow for a second would become two.
const REPRIEVE: Span = Span::from_secs(10);

/// How soon after a stop signal the same one from the same sender is still the same request. **Units:** nanoseconds. timeout(1) takes
/// microseconds between the two, or a time slice if it is interrupted; a person, or a program that waits for anything, takes longer.
const ECHO: Span = Span::from_millis(20);

/// Exit code of a command that does not exist, as a shell's.
const NOT_FOUND: u8 = 127;
/// Exit code of a command that cannot be executed, or not now.
const NOT_EXECUTABLE: u8 = 126;

/// Exit code when hilum itself cannot start: the plan or command line asks for what cannot be had.
pub(crate) const CANNOT_START: u8 = 78;

/// How the terminal is handed to the first child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handover {
    /// There is none to hand over.
    None,
    /// The child's group becomes the foreground group of our session.
    Foreground,
    /// The child gets a session of its own with the terminal.
    Session,
}

/// Everything the loop needs.
#[derive(Debug)]
struct Shell {
    /// Our own.
    pid: i32,
    launch: Launch,
    supervisor: Supervisor,
    /// When this turn of the loop began.
    now: Tick,
    runs: RunTable,
    broker: Broker,
    listeners: Option<Listeners>,
    log: Log,
    relays: Vec<Relay>,
    history: History,
    /// Facts that carrying out an action made, not yet told to the engine.
    events: VecDeque<Event>,
    /// The last stop signal from the process that started us, and when it came.
    last_from_parent: Option<(Signal, Tick)>,
    /// Whether a child may have ended or stopped that was not looked at.
    children_changed: bool,
    handover: Handover,
    awaits_descendants: bool,
    notify: Option<OsString>,
    notified: bool,
    /// Variables of our own environment that are not for children.
    hidden: Vec<&'static str>,
    /// When services were started.
    starts: Starts,
    orphans: u64,
    cmdline: Vec<String>,
    since: u64,
    exit: Option<u8>,
}

/// Runs a launch to its end and returns the exit code.
///
/// **Errors:** what stands in the way before the first spawn, in words for people.
pub(crate) fn run(mut launch: Launch, cmdline: Vec<String>) -> Result<u8, String> {
    block().map_err(|error| format!("cannot block signals: {error}"))?;
    // Before any descriptor of our own: sockets that were passed are known by their numbers.
    let environment = |name: &str| std::env::var_os(name);
    let listeners = match &launch.status {
        Some(status) => Some(Listeners::open(status, &environment).map_err(|error| error.to_string())?),
        None => None,
    };
    let signals = SignalFd::open().map_err(|error| format!("cannot open a signal descriptor: {error}"))?;
    let mut log = Log::new(launch.process.voice, launch.process.verbosity);
    let executable = executable::open().map_err(|error| format!("cannot open hilum's own executable: {error}"))?;
    let for_workers = executable.try_clone().map_err(|error| format!("cannot duplicate a descriptor: {error}"))?;
    crash::arm(executable, launch.process.last_resort_grace.as_millis_ceil())
        .map_err(|error| format!("cannot prepare for a crash: {error}"))?;
    become_reaper(&launch, &mut log);
    if launch.process.parent_death_signal != 0 {
        process::set_parent_death_signal(launch.process.parent_death_signal)
            .map_err(|error| format!("cannot set the parent death signal: {error}"))?;
    }
    let pid = process::pid();
    let notify = launch.status.is_some().then(|| std::env::var_os("NOTIFY_SOCKET")).flatten();
    let hidden = hidden(&launch, notify.is_some());
    let handover = plan_handover(&launch);
    launch.plan.signals.suspend_with_child |= handover == Handover::Foreground && pid != 1;
    let supervisor = Supervisor::new(launch.plan.clone(), clock::monotonic() ^ u64::from(pid.unsigned_abs()));
    let mut shell = Shell {
        pid,
        broker: Broker::new(&launch, for_workers),
        history: History::new(&launch),
        launch,
        supervisor,
        now: now(),
        runs: RunTable::default(),
        listeners,
        log,
        relays: Vec::new(),
        events: VecDeque::new(),
        last_from_parent: None,
        // Those we had before our exec.
        children_changed: true,
        handover,
        awaits_descendants: false,
        hidden,
        starts: Starts::default(),
        notify,
        notified: false,
        orphans: 0,
        cmdline,
        since: clock::wall(),
        exit: None,
    };
    shell.say_addresses();
    shell.events.push_back(Event::Started);
    shell.settle();
    let (broker, mut cx) = shell.lend();
    broker.start_all(&mut cx);
    let code = loop {
        if let Some(code) = shell.exit {
            break code;
        }
        shell.turn(&signals);
    };
    shell.end();
    Ok(code)
}

/// Variables of our own environment that would mislead a child.
fn hidden(launch: &Launch, notifies: bool) -> Vec<&'static str> {
    let mut hidden = Vec::new();
    if notifies {
        // READY is ours to say; a child that said it too would be taken for us.
        hidden.push("NOTIFY_SOCKET");
    }
    if launch.status.as_ref().is_some_and(|status| status.socket_activation) {
        // They name our pid and descriptors the child does not have (sd_listen_fds(3)).
        hidden.extend(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]);
    }
    hidden
}

fn now() -> Tick {
    Tick(clock::monotonic())
}

/// Makes orphans come here, or says that they do not.
fn become_reaper(launch: &Launch, log: &mut Log) {
    if process::pid() == 1 {
        return;
    }
    let adopted = launch.process.subreaper && process::set_subreaper().is_ok();
    if !adopted
        && launch.process.warn_orphans
        && !process::is_subreaper()
        && let Some(warning) = personality::orphan_warning(launch.process.voice)
    {
        log.say(Level::Warn, warning);
    }
}

/// Only a lone child gets the terminal: two would fight for it.
fn plan_handover(launch: &Launch) -> Handover {
    let [service] = launch.services.as_slice() else { return Handover::None };
    if service.group == Group::Shared || !terminal::is_controlling() {
        return Handover::None;
    }
    let session = service.group == Group::Session || (process::pid() == 1 && terminal::leads_session());
    if session && terminal::leads_session() {
        // A new session can take the terminal only once ours has let go of it.
        return if terminal::give_up().is_ok() { Handover::Session } else { Handover::Foreground };
    }
    if service.group == Group::Session { Handover::None } else { Handover::Foreground }
}

impl Shell {
    /// The broker, and what it needs of the rest.
    fn lend(&mut self) -> (&mut Broker, broker::Context<'_>) {
        let cx = broker::Context {
            launch: &self.launch,
            listeners: self.listeners.as_ref(),
            now: self.now,
            runs: &self.runs,
            starts: &self.starts,
            hidden: &self.hidden,
            log: &mut self.log,
            events: &mut self.events,
        };
        (&mut self.broker, cx)
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self, signals: &SignalFd) {
        let asked = [self.supervisor.next_deadline(), self.broker.next_deadline()].into_iter().flatten().min();
        let ready = self.wait(signals, asked);
        // One reading of the clock for the whole turn, so that a freeze in the middle of one shows in the next.
        let before = std::mem::replace(&mut self.now, now());
        if let Some(asked) = asked
            && self.now.since(asked) >= THAW
        {
            // When before the deadline the freeze began is not known. With the part after it alone, the deadline would be due this very
            // moment, and a service frozen in the first second of its grace period would be killed at the thaw.
            let gap = Span(self.now.since(asked).0.saturating_add(asked.since(before).min(REPRIEVE).0));
            self.broker.shift(gap);
            self.tell(Event::Thawed { gap });
        }
        // Signals first: a stop must not wait behind a worker's chatter.
        if let Some(arrived) = ready.signal {
            self.on_signal(arrived);
        }
        while ready.signals
            && let Ok(Some(arrived)) = signals.read()
        {
            self.on_signal(arrived);
        }
        self.reap();
        if ready.log {
            self.log.flush();
        }
        for slot in ready.workers {
            let (broker, mut cx) = self.lend();
            broker.on_ready(slot, &mut cx);
        }
        if ready.relays {
            self.read_relays();
        }
        self.settle();
        if asked.is_some_and(|at| at <= self.now) {
            let (broker, mut cx) = self.lend();
            broker.on_due(&mut cx);
            self.tell(Event::Due);
        }
        self.settle();
        // What was just awaited may be gone already.
        self.reap();
        self.report();
    }

    fn wait(&self, signals: &SignalFd, deadline: Option<Tick>) -> Ready {
        let stderr = io::stderr();
        let mut slots = Vec::new();
        if self.log.wants_write() {
            slots.push(Slot::new(stderr.as_fd(), false, true));
        }
        let workers_from = slots.len();
        let mut workers = Vec::new();
        for (index, channel, wants_write) in self.broker.interests() {
            workers.push(index);
            slots.push(Slot::new(channel, true, wants_write));
        }
        let relays_from = slots.len();
        if self.log.has_room() {
            slots.extend(self.relays.iter().map(|relay| Slot::new(relay.as_fd(), true, false)));
        }
        let timeout = deadline.map(|at| Duration::from_nanos(at.since(now()).0));
        if slots.is_empty() {
            // An error would be a bug of ours, as below.
            return Ready { signal: signals.wait(timeout).unwrap_or_default(), ..Ready::default() };
        }
        let signals_at = slots.len();
        slots.push(Slot::new(signals.as_fd(), true, false));
        // An error here would be a bug in the slots; the next turn finds the same and the services run on.
        let _ = poll::wait(&mut slots, timeout);
        let fired = |at: usize| slots.get(at).is_some_and(|slot| slot.readable() || slot.writable());
        Ready {
            signal: None,
            signals: fired(signals_at),
            log: (0..workers_from).any(fired),
            workers: workers.into_iter().zip(workers_from..).filter(|(_, at)| fired(*at)).map(|(i, _)| i).collect(),
            relays: (relays_from..signals_at).any(fired),
        }
    }

    fn on_signal(&mut self, arrived: Arrived) {
        match Signal(arrived.signal) {
            Signal::CHLD => self.children_changed = true,
            // Our own write to a pipe that nobody reads (SIGPIPE) is not the services' business.
            _ if arrived.pid == self.pid => {}
            Signal::USR2 if self.launch.process.drill.is_some() => self.drill(),
            signal if self.is_echo(signal, arrived.pid) => {}
            Signal::HUP if self.launch.process.reloads => {
                let (broker, mut cx) = self.lend();
                broker.reload(&mut cx);
            }
            signal => self.tell(Event::SignalArrived { signal }),
        }
    }

    /// Whether this is the stop signal that our parent has just sent, once more: timeout(1) sends it to its child, and then to the whole
    /// process group, where that child is. It is not somebody's impatience.
    fn is_echo(&mut self, signal: Signal, sender: i32) -> bool {
        if sender == 0 || !self.launch.plan.signals.stop.contains(signal) || sender != process::parent() {
            return false;
        }
        let last = self.last_from_parent.replace((signal, self.now));
        last.is_some_and(|(before, at)| before == signal && self.now.since(at) < ECHO)
    }

    /// Reaps every child that has ended, telling whose it was before its pid can mean another.
    fn reap(&mut self) {
        // Every end and stop of a child is told by a SIGCHLD; without one there is no call to make. Whether any is left is told by none.
        while self.children_changed || self.awaits_descendants {
            let peeked = match reap::peek() {
                Ok(Peek::Child(peeked)) => peeked,
                Ok(Peek::NoneReady) => {
                    self.children_changed = false;
                    break;
                }
                Ok(Peek::NoChildren) => {
                    self.children_changed = false;
                    if std::mem::take(&mut self.awaits_descendants) {
                        self.tell(Event::DescendantsGone);
                    }
                    break;
                }
                Err(_) => break,
            };
            let leader = self.runs.leader(peeked.pid);
            if reap::reap(peeked).is_err() {
                break;
            }
            match (peeked.change, leader) {
                (Change::Stopped(_), Some((service, run))) => self.tell(Event::Stopped { service, run }),
                (Change::Stopped(_) | Change::Continued, _) => {}
                (Change::Exited(code), _) => self.on_end(peeked.pid, Exit::Code(low_byte(code))),
                (Change::Signaled(signal), _) => self.on_end(peeked.pid, Exit::Signaled(Signal(signal))),
            }
        }
        for (service, run) in self.runs.sweep() {
            self.tell(Event::GroupGone { service, run });
        }
    }

    /// A child was reaped: a service's leader, a worker, or an orphan.
    fn on_end(&mut self, pid: i32, exit: Exit) {
        // What a leader wrote before it ended comes before the news of its end.
        self.read_relays();
        if let Some((service, run, group_left)) = self.runs.remove(pid) {
            self.tell(Event::Exited { service, run, exit, group_left, at: Wall(clock::wall()) });
        } else if self.broker.is_own(pid) {
            let (broker, mut cx) = self.lend();
            broker.on_exited(pid, exit, &mut cx);
        } else {
            self.orphans = self.orphans.saturating_add(1);
            if self.launch.process.log_orphans {
                self.log.say(Level::Warn, &personality::orphan_reaped(self.launch.process.voice, pid));
            }
        }
    }

    /// Tells the engine one fact, after those that already wait.
    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    /// Tells the engine the facts that wait, in order, and carries out what it answers. A fact that an action makes (a process spawned, a call
    /// refused) is told before anything else is looked at, so no exit can overtake the news of its spawn.
    fn settle(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            let ended = match &event {
                Event::Exited { service, run, exit, .. } => Some((usize::from(service.0), *run, *exit)),
                _ => None,
            };
            self.supervisor.handle(self.now, event, &mut actions);
            if let Some((index, run, exit)) = ended
                && let Some(status) = self.supervisor.status().services.get(index)
            {
                self.history.note(&self.launch, index, run, exit, status);
            }
            // What there is to say is said last: no signal and no spawn waits for a log line.
            for action in actions.extract_if(.., |action| !matches!(action, Action::Log(_))) {
                self.perform(action);
            }
            for action in actions.drain(..) {
                self.perform(action);
            }
        }
    }

    /// Carries out one action. Decides nothing.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { service, run } => {
                let event = self.spawn(service, run);
                self.events.push_back(event);
            }
            Action::Signal { service, run, signal, scope } => {
                let sent = match scope {
                    Scope::Leader => self.runs.signal_leader(service, run, signal),
                    Scope::Group => self.runs.signal_group(service, run, signal),
                };
                if let Err(error) = sent {
                    self.say_signal_failed(signal, &error);
                }
            }
            Action::SignalAll { signal } => {
                // Only the init of a PID namespace may mean everybody.
                if self.pid != 1 || process::signal(Target::All, signal.0).is_err() {
                    self.runs.signal_every(signal);
                }
            }
            Action::AwaitDescendants => {
                // Workers are children too: with them there would always be one left.
                self.broker.stop_all();
                self.awaits_descendants = true;
            }
            Action::RunProbe { probe, run, call, timeout, attempt } => {
                let (broker, mut cx) = self.lend();
                broker.call(&mut cx, probe, run, call, timeout, attempt);
            }
            Action::CancelProbe { probe: _, call } => self.broker.cancel(call),
            Action::Suspend => self.suspend(),
            Action::Publish => {
                self.broker.publish();
                self.notify();
            }
            Action::Log(record) => self.log.record(&self.launch, &record),
            Action::Exit { code } => self.exit = Some(code),
        }
    }

    fn spawn(&mut self, service: ServiceId, run: Incarnation) -> Event {
        let at = Wall(clock::wall());
        let failed =
            |code, message: String| Event::SpawnFailed { service, run, reason: SpawnFailure { code, message }, at };
        let Some(plan) = self.launch.services.get(usize::from(service.0)) else {
            return failed(NOT_FOUND, "bug: no such service".to_owned());
        };
        let Some(program) = plan.command.first() else {
            return failed(NOT_FOUND, "bug: the command is empty".to_owned());
        };
        let mut environment = Environment::inherit();
        for name in &plan.env_remove {
            environment.remove(name);
        }
        for name in &self.hidden {
            environment.remove(name);
        }
        for (name, value) in &plan.env {
            environment.set(name, value);
        }
        let streams = match Streams::open(plan.empty_input, plan.output) {
            Ok(streams) => streams,
            Err(error) => return failed(NOT_EXECUTABLE, format!("cannot open a pipe: {error}")),
        };
        let group = match (plan.group, self.handover) {
            (Group::Shared, _) => child::Group::Shared,
            (_, Handover::Session) => child::Group::Session { terminal: true },
            (Group::Session, _) => child::Group::Session { terminal: false },
            (Group::Own, Handover::Foreground) => child::Group::Own { foreground: true },
            (Group::Own, Handover::None) => child::Group::Own { foreground: false },
        };
        let spec = Spec {
            directory: plan.directory.as_deref(),
            descriptors: &streams.for_child(),
            group,
            parent_death_signal: plan.parent_death_signal,
            ..Spec::new(Program::Search(program), &plan.command, environment)
        };
        let voice = self.launch.process.voice;
        match child::spawn(&spec).or_else(|error| spawn_script(voice, error, spec)) {
            Ok(child) => {
                let pid = Pid(child.pid);
                self.runs.insert(service, run, child, plan.group != Group::Shared);
                self.starts.note(service, now());
                self.relays.extend(streams.relays(service, run));
                Event::Spawned { service, run, pid, at }
            }
            Err(error) => {
                let mut code = match error.kind() {
                    child::Kind::NotFound => NOT_FOUND,
                    child::Kind::NotExecutable | child::Kind::Resources => NOT_EXECUTABLE,
                };
                let step = if error.step == child::Step::Create { SpawnStep::Fork } else { SpawnStep::Exec };
                let (number, text) = (error.error.raw_os_error().unwrap_or(0), description(&error.error));
                if let Some((message, own)) = personality::spawn_failure(voice, step, program, number, &text) {
                    self.log.fail(&message);
                    code = own;
                }
                failed(code, error.to_string())
            }
        }
    }

    fn read_relays(&mut self) {
        let voice = self.launch.process.voice;
        let mut relays = std::mem::take(&mut self.relays);
        relays.retain_mut(|relay| {
            let plan = self.launch.plan.services.get(usize::from(relay.service().0));
            relay.read(plan.map_or("?", |plan| plan.name.as_str()), voice, &mut self.log)
        });
        self.relays = relays;
    }

    /// Stops this process until somebody continues it, then gives the terminal back to the child.
    fn suspend(&mut self) {
        if self.handover == Handover::Foreground {
            let _ = terminal::take_foreground();
        }
        let _ = signal::suspend_self();
        if self.handover == Handover::Foreground
            && let Some(pid) = self.supervisor.status().services.first().and_then(|service| service.pid)
        {
            let _ = terminal::set_foreground(pid.0);
        }
    }

    fn drill(&mut self) {
        match self.launch.process.drill {
            Some(Drill::Panic) => {
                #[expect(clippy::panic, reason = "the drill is there to panic")]
                {
                    panic!("drill");
                }
            }
            Some(Drill::Fault) => crash::drill_fault(),
            Some(Drill::Abort) => crash::drill_abort(),
            Some(Drill::Overflow) => crash::drill_overflow(),
            None => {}
        }
    }

    /// Sends what changed to the status worker, if it waits for news.
    fn report(&mut self) {
        if !self.broker.wants_reports() {
            return;
        }
        let status = self.supervisor.status();
        let mut overview = report::overview(&self.launch, &status, &self.cmdline, self.since);
        overview.sidebind_port = self.listeners.as_ref().map_or(0, |listeners| listeners.sidebind_port);
        (overview.plugins, overview.workers) = self.broker.reports(&self.launch);
        overview.log_dropped = self.log.dropped();
        overview.orphans_reaped = self.orphans;
        let now = Now { tick: now(), wall: clock::wall() };
        let (launch, history) = (&self.launch, &self.history);
        let services = status.services.iter().enumerate();
        let services = services.map(|(index, status)| report::service(launch, index, status, history, now));
        self.broker.tell(overview, services);
    }

    /// Tells a service manager above us that we are ready, once, and that we stop.
    fn notify(&mut self) {
        let Some(socket) = &self.notify else { return };
        let status = self.supervisor.status();
        if !self.notified && status.ready {
            self.notified = true;
            let _ = hilum_sys::listen::notify(socket, b"READY=1");
        } else if self.notified && status.phase != hilum_engine::Phase::Running {
            let _ = hilum_sys::listen::notify(socket, b"STOPPING=1");
            self.notify = None;
        }
    }

    fn say_addresses(&mut self) {
        let Some(listeners) = &self.listeners else { return };
        for address in &listeners.addresses {
            let mut pairs = String::new();
            pair(&mut pairs, "event", "listening");
            pair(&mut pairs, "address", address);
            self.log.say(Level::Info, &pairs);
        }
    }

    fn say_signal_failed(&mut self, signal: Signal, error: &io::Error) {
        let mut pairs = String::new();
        pair(&mut pairs, "event", "signal-failed");
        pair(&mut pairs, "signal", &hilum_config::signal_name(signal));
        pair(&mut pairs, "error", &error.to_string());
        self.log.say(Level::Warn, &pairs);
    }

    /// Leaves nothing behind that outlives us.
    fn end(&mut self) {
        self.broker.stop_all();
        self.read_relays();
        if self.handover == Handover::Foreground {
            let _ = terminal::take_foreground();
        }
        self.log.flush();
    }
}

/// What a wait came to.
#[derive(Debug, Default)]
struct Ready {
    /// A signal that was awaited alone.
    signal: Option<Arrived>,
    /// There are signals to read.
    signals: bool,
    log: bool,
    workers: Vec<usize>,
    relays: bool,
}

/// A child's standard streams that are not our own.
#[derive(Debug, Default)]
struct Streams {
    input: Option<OwnedFd>,
    /// Number in the child, the child's end, our end, the stream's name, and whether its lines are logged.
    outputs: Vec<(i32, OwnedFd, OwnedFd, &'static str, bool)>,
}

impl Streams {
    fn open(empty_input: bool, output: Output) -> io::Result<Streams> {
        let mut streams = Streams::default();
        if empty_input {
            // The read end of a pipe nobody can write to: end of file, without a /dev/null that may not be there.
            streams.input = Some(hilum_sys::pipe::pair()?.0);
        }
        if let Output::Relay { stdout, stderr } = output {
            for (number, kind, name) in [(1, stdout, "stdout"), (2, stderr, "stderr")] {
                if kind != RelayKind::Inherit {
                    let (ours, theirs) = hilum_sys::pipe::pair()?;
                    hilum_sys::pipe::set_nonblocking(ours.as_fd())?;
                    streams.outputs.push((number, theirs, ours, name, kind == RelayKind::Log));
                }
            }
        }
        Ok(streams)
    }

    fn for_child(&self) -> Vec<(BorrowedFd<'_>, i32)> {
        let input = self.input.iter().map(|input| (input.as_fd(), 0));
        input.chain(self.outputs.iter().map(|(number, theirs, ..)| (theirs.as_fd(), *number))).collect()
    }

    fn relays(self, service: ServiceId, run: Incarnation) -> impl Iterator<Item = Relay> {
        self.outputs.into_iter().map(move |(_, _, ours, name, logged)| Relay::new(service, run, name, ours, logged))
    }
}

/// errno(3) of a file in no format the kernel knows, on every architecture hilum is built for.
const ENOEXEC: i32 = 8;

/// What execvp(3) hands such a file to.
const SHELL: &str = "/bin/sh";

/// As execvp(3) does, for the tools that are built on it: a file in no known format is a script for the shell.
fn spawn_script(voice: Voice, error: SpawnError, spec: Spec<'_>) -> Result<Child, SpawnError> {
    let unknown_format = error.step == child::Step::Execute && error.error.raw_os_error() == Some(ENOEXEC);
    if !(unknown_format && personality::runs_scripts_without_interpreter(voice)) {
        return Err(error);
    }
    let words = spec.argv.iter().skip(1).cloned();
    let argv: Vec<OsString> = [SHELL.into(), error.object.clone().into()].into_iter().chain(words).collect();
    child::spawn(&Spec { program: Program::Search(SHELL.as_ref()), argv: &argv, ..spec }).map_err(|_| error)
}

/// The description of an error without the number std adds.
fn description(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The low eight bits of an exit status, which is all a parent sees (`_exit(2)`).
pub(crate) fn low_byte(code: i32) -> u8 {
    code.to_le_bytes().first().copied().unwrap_or_default()
}
