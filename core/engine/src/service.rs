//! One service: its state, and what each fact and command does to it.
//!
//! Every method that takes a fact or a command is one `match` over [`State`] without a wildcard arm, so no pair of the two can be
//! forgotten. Data lives inside the variants: leaving a state drops its deadlines, and a timer of an earlier state cannot fire in a later
//! one. What is *wanted* is kept apart from what *is*; only the end of the container changes it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::action::Action;
use crate::event::{Exit, Outcome, SpawnFailure};
use crate::id::{CallId, Incarnation, Pid, ProbeId, ServiceId, Signal};
use crate::log::{Entry, Next, Record, StopReason};
use crate::plan::{ProbeKind, Scope, ServicePlan};
use crate::probe::{ANSWER_SLACK, Crossing, Probe, Schedule};
use crate::restart::{End, History, Verdict};
use crate::rng::Rng;
use crate::status::{ServiceStatus, StateName};
use crate::tick::{Span, Tick, Wall};

/// How long a killed process may take to be gone before the end of the container stops waiting for it. KILL cannot be caught, so what is
/// left is a process stuck in the kernel; it dies with the PID namespace. **Units:** nanoseconds.
pub(crate) const KILL_BOUND: Span = Span::from_secs(5);

/// Shortest wait after a failed spawn, whatever the backoff says: without an exec there is no process whose start paces the loop.
/// **Units:** nanoseconds.
const SPAWN_RETRY_FLOOR: Span = Span::from_millis(100);

/// Where a service is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// Not started yet.
    Down,
    /// A spawn was ordered; its answer decides.
    Starting {
        run: Incarnation,
        /// A stop that came meanwhile: the signal and whether it is a kill.
        stop: Option<(Signal, bool)>,
    },
    /// The leader runs.
    Up { run: Incarnation, pid: Pid, since: Tick, ttl: Option<Span> },
    /// The leader was asked to stop.
    Stopping {
        run: Incarnation,
        pid: Pid,
        since: Tick,
        kill_at: Option<Tick>,
        why: StopReason,
        /// SIGCONT was sent. Once is enough: one that stops itself again each time it is continued would never come to an end.
        continued: bool,
    },
    /// The leader was killed and has not been reaped. `give_up_at` only once the container ends: before, a second run beside a stuck
    /// one would be worse than waiting.
    Killed { run: Incarnation, pid: Pid, since: Tick, give_up_at: Option<Tick>, why: StopReason },
    /// The leader is gone; the rest of its group was asked to stop, or, with `killed`, was killed.
    Sweeping { run: Incarnation, deadline: Option<Tick>, killed: bool, end: End, lasted: Span },
    /// Waits for its next run.
    BackingOff { until: Tick },
    /// Ended for good.
    Ended,
}

impl State {
    /// The life whose leader has been ordered and not been reaped.
    fn run(&self) -> Option<Incarnation> {
        match self {
            State::Starting { run, .. }
            | State::Up { run, .. }
            | State::Stopping { run, .. }
            | State::Killed { run, .. } => Some(*run),
            State::Down | State::Sweeping { .. } | State::BackingOff { .. } | State::Ended => None,
        }
    }

    fn pid(&self) -> Option<Pid> {
        match self {
            State::Up { pid, .. } | State::Stopping { pid, .. } | State::Killed { pid, .. } => Some(*pid),
            State::Down | State::Starting { .. } | State::Sweeping { .. } | State::BackingOff { .. } | State::Ended => {
                None
            }
        }
    }

    fn name(&self) -> StateName {
        match self {
            State::Down => StateName::Down,
            State::Starting { .. } => StateName::Starting,
            State::Up { .. } => StateName::Up,
            State::Stopping { .. } => StateName::Stopping,
            State::Killed { .. } => StateName::Killed,
            State::Sweeping { .. } => StateName::Sweeping,
            State::BackingOff { .. } => StateName::BackingOff,
            State::Ended => StateName::Ended,
        }
    }
}

/// What a service should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Up,
    Down,
}

/// What the supervisor lends a service for one event.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Tick,
    pub(crate) id: ServiceId,
    pub(crate) plan: &'a ServicePlan,
    /// Sent to what an essential leader leaves of its group, without waiting.
    pub(crate) parting_signal: Option<Signal>,
    pub(crate) rng: &'a mut Rng,
    pub(crate) last_call: &'a mut CallId,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Context<'_> {
    fn log(&mut self, run: Option<Incarnation>, entry: Entry) {
        self.out.push(Action::Log(Record { service: Some(self.id), run, entry }));
    }

    fn signal(&mut self, run: Incarnation, signal: Signal, scope: Scope) {
        self.out.push(Action::Signal { service: self.id, run, signal, scope });
    }

    fn cancel(&mut self, index: u16, call: Option<CallId>) {
        if let Some(call) = call {
            self.out.push(Action::CancelProbe { probe: ProbeId { service: self.id, index }, call });
        }
    }
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Service {
    state: State,
    wanted: Wanted,
    last_run: Incarnation,
    probes: Vec<Probe>,
    history: History,
    /// It has been up and past its startup probes at least once.
    started: bool,
    /// It ended for good although it was wanted, and not with success.
    failed: bool,
    /// Its restart limit asks for the container's end.
    ends_container: bool,
    /// The leader was stopped by job control and not continued by us since.
    suspended: bool,
    was_ready: bool,
    ttl: Option<Span>,
    started_at: Option<Wall>,
    ended_at: Option<Wall>,
    last_exit: Option<Exit>,
    stop_reason: Option<StopReason>,
    spawn_failure: Option<SpawnFailure>,
}

impl Service {
    pub(crate) fn new(plan: &ServicePlan) -> Service {
        Service {
            state: State::Down,
            wanted: Wanted::Up,
            last_run: Incarnation(0),
            probes: plan.probes.iter().map(|_| Probe::new()).collect(),
            history: History::default(),
            started: false,
            failed: false,
            ends_container: false,
            suspended: false,
            was_ready: false,
            ttl: None,
            started_at: None,
            ended_at: None,
            last_exit: None,
            stop_reason: None,
            spawn_failure: None,
        }
    }

    // Questions.

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn ends_container(&self) -> bool {
        self.ends_container
    }

    /// Whether it takes work: up, past its startup probes, all readiness probes passing.
    pub(crate) fn is_ready(&self, plan: &ServicePlan) -> bool {
        let up = matches!(self.state, State::Up { .. });
        let held_back = |(probe, plan): (&Probe, &crate::plan::ProbePlan)| match plan.kind {
            ProbeKind::Startup | ProbeKind::Readiness => !probe.is_passing(),
            ProbeKind::Liveness => false,
        };
        up && !self.probes.iter().zip(&plan.probes).any(held_back)
    }

    /// The exit code it stands for: its last exit's, its spawn failure's, or 0.
    pub(crate) fn code(&self) -> u8 {
        match (&self.spawn_failure, self.last_exit) {
            (Some(failure), _) => failure.code,
            (None, Some(exit)) => exit.code(),
            (None, None) => 0,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let own = match &self.state {
            State::Up { since, ttl, .. } => ttl.map(|ttl| since.after(ttl)),
            State::Stopping { kill_at, .. } => *kill_at,
            State::Killed { give_up_at, .. } => *give_up_at,
            State::Sweeping { deadline, .. } => *deadline,
            State::BackingOff { until } => Some(*until),
            State::Down | State::Starting { .. } | State::Ended => None,
        };
        self.probes.iter().filter_map(Probe::deadline).chain(own).min()
    }

    pub(crate) fn status(&self, plan: &ServicePlan) -> ServiceStatus {
        ServiceStatus {
            state: self.state.name(),
            run: self.last_run,
            pid: self.state.pid(),
            ready: self.is_ready(plan),
            started_at: self.started_at,
            ended_at: self.ended_at,
            last_exit: self.last_exit,
            stop_reason: self.stop_reason,
            spawn_failure: self.spawn_failure.clone(),
            restarts: self.last_run.0.saturating_sub(1),
            restart_at: if let State::BackingOff { until } = self.state { Some(until) } else { None },
            ttl: self.ttl,
            probes: self.probes.iter().zip(&plan.probes).map(|(probe, plan)| probe.status(plan)).collect(),
        }
    }

    // Commands.

    /// Begins the first run.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Down => self.spawn(cx),
            State::Starting { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => self.bug(cx, "start"),
        }
    }

    /// Ends it for good, politely: `arrived` is the signal that asks for it unless the plan names another.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>, arrived: Signal) {
        self.wanted = Wanted::Down;
        match &mut self.state {
            State::Down | State::BackingOff { .. } => self.state = State::Ended,
            State::Starting { stop, .. } => *stop = stop.or(Some((arrived, false))),
            State::Up { .. } => self.ask_to_stop(cx, arrived, StopReason::Shutdown),
            // Already asked; the grace period it was given stands.
            State::Stopping { why, .. } => *why = StopReason::Shutdown,
            State::Killed { give_up_at, why, .. } => {
                *why = StopReason::Shutdown;
                *give_up_at = give_up_at.or(Some(cx.now.after(KILL_BOUND)));
            }
            State::Sweeping { .. } | State::Ended => {}
        }
    }

    /// Ends it for good, at once.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>) {
        self.wanted = Wanted::Down;
        match &mut self.state {
            State::Down | State::BackingOff { .. } => self.state = State::Ended,
            State::Starting { stop, .. } => *stop = Some((Signal::KILL, true)),
            State::Up { .. } | State::Stopping { .. } => self.kill_leader(cx, StopReason::Shutdown),
            State::Killed { give_up_at, .. } => *give_up_at = give_up_at.or(Some(cx.now.after(KILL_BOUND))),
            State::Sweeping { run, deadline, killed, .. } => {
                if !*killed {
                    *killed = true;
                    *deadline = Some(cx.now.after(KILL_BOUND));
                    let run = *run;
                    cx.log(Some(run), Entry::Killed);
                    cx.signal(run, Signal::KILL, Scope::Group);
                }
            }
            State::Ended => {}
        }
    }

    /// Passes a signal on to a process that runs; without one there is nobody to tell.
    pub(crate) fn forward(&mut self, cx: &mut Context<'_>, signal: Signal) {
        match self.state {
            State::Up { run, .. } | State::Stopping { run, .. } => {
                if signal == Signal::CONT {
                    self.suspended = false;
                }
                cx.signal(run, signal, cx.plan.stop.scope);
            }
            State::Down
            | State::Starting { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => {}
        }
    }

    // Facts.

    pub(crate) fn on_spawned(&mut self, cx: &mut Context<'_>, run: Incarnation, pid: Pid, at: Wall) {
        let stop = match &self.state {
            State::Starting { run: ordered, stop } if *ordered == run => *stop,
            State::Down
            | State::Starting { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => return self.bug(cx, "spawned"),
        };
        self.ttl = cx.plan.ttl.map(|ttl| {
            let width = ttl.max.0.saturating_sub(ttl.min.0);
            Span(ttl.min.0.saturating_add(cx.rng.up_to(width)))
        });
        self.state = State::Up { run, pid, since: cx.now, ttl: self.ttl };
        self.started_at = Some(at);
        self.spawn_failure = None;
        self.suspended = false;
        cx.log(Some(run), Entry::Started);
        match stop {
            Some((_, true)) => self.kill_leader(cx, StopReason::Shutdown),
            Some((signal, false)) => self.ask_to_stop(cx, signal, StopReason::Shutdown),
            None => {
                self.schedule_probes(cx);
                self.tell_readiness(cx);
            }
        }
    }

    pub(crate) fn on_spawn_failed(&mut self, cx: &mut Context<'_>, run: Incarnation, reason: SpawnFailure, at: Wall) {
        match &self.state {
            State::Starting { run: ordered, .. } if *ordered == run => {}
            State::Down
            | State::Starting { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => return self.bug(cx, "spawn-failed"),
        }
        self.ended_at = Some(at);
        self.spawn_failure = Some(reason.clone());
        let (state, next) = self.decide(cx, End::SpawnFailed, Span::ZERO);
        cx.log(Some(run), Entry::SpawnFailed { reason, next });
        self.enter(cx, state);
    }

    pub(crate) fn on_exited(&mut self, cx: &mut Context<'_>, run: Incarnation, exit: Exit, group_left: bool, at: Wall) {
        if self.state.run() != Some(run) {
            return cx.log(Some(run), Entry::Stale { what: "exit" });
        }
        // What the rest of the group has been told so far: nothing, to stop, or KILL.
        let (since, why, deadline, killed) = match self.state {
            State::Up { since, .. } => (since, None, None, false),
            State::Stopping { since, kill_at, why, .. } => (since, Some(why), kill_at, false),
            State::Killed { since, why, .. } => (since, Some(why), None, true),
            State::Starting { .. } => return self.bug(cx, "exited"),
            State::Down | State::Sweeping { .. } | State::BackingOff { .. } | State::Ended => {
                return self.bug(cx, "exited");
            }
        };
        self.ended_at = Some(at);
        self.last_exit = Some(exit);
        self.stop_reason = why;
        self.silence_probes(cx);
        self.was_ready = false;
        let lasted = cx.now.since(since);
        let end = match why {
            Some(StopReason::Ttl) => End::Ttl,
            Some(StopReason::Probe(_)) => End::Unhealthy,
            Some(StopReason::Shutdown | StopReason::Leftover) | None => End::Exit(exit),
        };
        if group_left && cx.plan.stop.sweep {
            cx.log(Some(run), Entry::Exited { exit, after: lasted, next: Next::Sweep });
            let polite = cx.plan.stop.signal.unwrap_or(Signal::TERM);
            let told = why.is_some() && cx.plan.stop.scope == Scope::Group;
            let deadline = if killed {
                cx.signal(run, Signal::KILL, Scope::Group);
                Some(cx.now.after(KILL_BOUND))
            } else {
                if !told {
                    cx.signal(run, polite, Scope::Group);
                }
                if why.is_some() { deadline } else { cx.plan.stop.grace.map(|grace| cx.now.after(grace)) }
            };
            self.state = State::Sweeping { run, deadline, killed, end, lasted };
            return;
        }
        if let (true, true, Some(signal)) = (group_left, cx.plan.essential, cx.parting_signal) {
            cx.signal(run, signal, Scope::Group);
        }
        let (state, next) = self.decide(cx, end, lasted);
        cx.log(Some(run), Entry::Exited { exit, after: lasted, next });
        self.enter(cx, state);
    }

    pub(crate) fn on_group_gone(&mut self, cx: &mut Context<'_>, run: Incarnation) {
        match self.state {
            State::Sweeping { run: swept, end, lasted, .. } if swept == run => self.end_sweep(cx, run, end, lasted),
            // Told for a run nobody sweeps any more, or has given up on: no news.
            State::Down
            | State::Starting { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => {}
        }
    }

    /// Notes that job control stopped the leader. Returns whether whoever started the supervisor is to see it stop too.
    pub(crate) fn on_stopped(&mut self, cx: &mut Context<'_>, run: Incarnation) -> bool {
        if self.state.run() != Some(run) {
            return false;
        }
        match &mut self.state {
            State::Up { .. } => {
                self.suspended = true;
                true
            }
            // It was asked to stop and would not hear of it: either it stopped just before, or it stops now and again.
            State::Stopping { continued, .. } if !*continued => {
                *continued = true;
                cx.signal(run, Signal::CONT, cx.plan.stop.scope);
                false
            }
            State::Stopping { .. } => true,
            State::Down
            | State::Starting { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => false,
        }
    }

    pub(crate) fn on_probe_answered(
        &mut self,
        cx: &mut Context<'_>,
        index: u16,
        call: CallId,
        outcome: Outcome,
        took: Span,
    ) {
        let run = self.state.run();
        let at = usize::from(index);
        let (Some(probe), Some(plan)) = (self.probes.get_mut(at), cx.plan.probes.get(at)) else {
            return self.bug(cx, "probe-answered");
        };
        match probe.schedule {
            Schedule::InFlight { call: current, .. } if current == call => {}
            // Cancelled, or given up on, before the answer came.
            Schedule::InFlight { .. } | Schedule::Idle | Schedule::Waiting { .. } => {
                return cx.log(run, Entry::Stale { what: "probe answer" });
            }
        }
        let crossing = probe.answer(plan, cx.now, outcome, took);
        let message = String::from(probe.message());
        match crossing {
            Some(Crossing::Passing) => {
                cx.log(run, Entry::Probe { index, kind: plan.kind, passing: true, message });
                if plan.kind == ProbeKind::Startup {
                    probe.silence();
                    self.begin_after_startup(cx);
                }
            }
            Some(Crossing::Failing) => {
                cx.log(run, Entry::Probe { index, kind: plan.kind, passing: false, message });
                match plan.kind {
                    ProbeKind::Startup | ProbeKind::Liveness => {
                        self.ask_to_stop(cx, Signal::TERM, StopReason::Probe(index));
                    }
                    ProbeKind::Readiness => {}
                }
            }
            None => {}
        }
        self.tell_readiness(cx);
    }

    /// Does all that is due. Harmless when nothing is.
    pub(crate) fn on_due(&mut self, cx: &mut Context<'_>) {
        let reached = |deadline: Option<Tick>, now: Tick| deadline.is_some_and(|at| at <= now);
        match self.state {
            State::Up { since, ttl, .. } if reached(ttl.map(|ttl| since.after(ttl)), cx.now) => {
                self.ask_to_stop(cx, Signal::TERM, StopReason::Ttl);
            }
            State::Stopping { kill_at, why, .. } if reached(kill_at, cx.now) => self.kill_leader(cx, why),
            State::Killed { run, since, give_up_at, why, .. } if reached(give_up_at, cx.now) => {
                cx.log(Some(run), Entry::GivenUpOn);
                self.last_exit = Some(Exit::Signaled(Signal::KILL));
                self.stop_reason = Some(why);
                let lasted = cx.now.since(since);
                let (state, _) = self.decide(cx, End::Exit(Exit::Signaled(Signal::KILL)), lasted);
                self.enter(cx, state);
            }
            State::Sweeping { run, deadline, killed: false, end, lasted } if reached(deadline, cx.now) => {
                cx.log(Some(run), Entry::Killed);
                cx.signal(run, Signal::KILL, Scope::Group);
                let deadline = Some(cx.now.after(KILL_BOUND));
                self.state = State::Sweeping { run, deadline, killed: true, end, lasted };
            }
            State::Sweeping { run, deadline, killed: true, end, lasted } if reached(deadline, cx.now) => {
                cx.log(Some(run), Entry::GivenUpOn);
                self.end_sweep(cx, run, end, lasted);
            }
            State::BackingOff { until } if until <= cx.now => self.spawn(cx),
            State::Down
            | State::Starting { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => {}
        }
        self.run_due_probes(cx);
    }

    /// Moves every deadline by `gap`; frozen time counts for nothing.
    pub(crate) fn shift(&mut self, gap: Span) {
        match &mut self.state {
            State::Up { since, .. } => *since = since.after(gap),
            State::Stopping { since, kill_at: deadline, .. } | State::Killed { since, give_up_at: deadline, .. } => {
                *since = since.after(gap);
                *deadline = deadline.map(|at| at.after(gap));
            }
            State::Sweeping { deadline, .. } => *deadline = deadline.map(|at| at.after(gap)),
            State::BackingOff { until } => *until = until.after(gap),
            State::Down | State::Starting { .. } | State::Ended => {}
        }
        self.history.shift(gap);
        for probe in &mut self.probes {
            probe.shift(gap);
        }
    }

    // Steps.

    fn spawn(&mut self, cx: &mut Context<'_>) {
        let run = Incarnation(self.last_run.0.saturating_add(1));
        self.last_run = run;
        self.state = State::Starting { run, stop: None };
        cx.out.push(Action::Spawn { service: cx.id, run });
    }

    /// The state after an end, and its word for the log. Decides only; [`Service::enter`] acts.
    fn decide(&mut self, cx: &mut Context<'_>, end: End, lasted: Span) -> (State, Next) {
        if self.wanted == Wanted::Down {
            return (State::Ended, Next::Nothing);
        }
        match self.history.judge(&cx.plan.restart, cx.now, end, lasted, cx.rng) {
            Verdict::Restart(wait) => {
                let wait = if end == End::SpawnFailed { wait.max(SPAWN_RETRY_FLOOR) } else { wait };
                (State::BackingOff { until: cx.now.after(wait) }, Next::Restart { wait })
            }
            Verdict::End => {
                self.failed = end != End::Exit(Exit::Code(0)) && end != End::Ttl;
                (State::Ended, if cx.plan.essential { Next::EndContainer } else { Next::Nothing })
            }
            Verdict::GiveUp => {
                self.failed = true;
                cx.log(None, Entry::LimitReached);
                (State::Ended, if cx.plan.essential { Next::EndContainer } else { Next::Nothing })
            }
            Verdict::EndContainer => {
                self.failed = true;
                self.ends_container = true;
                cx.log(None, Entry::LimitReached);
                (State::Ended, Next::EndContainer)
            }
        }
    }

    fn enter(&mut self, cx: &mut Context<'_>, state: State) {
        self.state = state;
        if let State::BackingOff { until } = self.state
            && until <= cx.now
        {
            self.spawn(cx);
        }
    }

    fn end_sweep(&mut self, cx: &mut Context<'_>, run: Incarnation, end: End, lasted: Span) {
        let (state, next) = self.decide(cx, end, lasted);
        cx.log(Some(run), Entry::Swept { next });
        self.enter(cx, state);
    }

    /// Sends the polite signal to a leader that is up.
    fn ask_to_stop(&mut self, cx: &mut Context<'_>, arrived: Signal, why: StopReason) {
        match self.state {
            State::Up { run, pid, since, .. } => {
                let signal = cx.plan.stop.signal.unwrap_or(arrived);
                cx.log(Some(run), Entry::Stopping { reason: why, signal });
                cx.signal(run, signal, cx.plan.stop.scope);
                // A stopped process sees no signal but KILL until it is continued.
                let continued = self.suspended;
                if continued {
                    self.suspended = false;
                    cx.signal(run, Signal::CONT, cx.plan.stop.scope);
                }
                let kill_at = cx.plan.stop.grace.map(|grace| cx.now.after(grace));
                self.state = State::Stopping { run, pid, since, kill_at, why, continued };
                self.silence_probes(cx);
                self.tell_readiness(cx);
            }
            State::Down
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => self.bug(cx, "ask-to-stop"),
        }
    }

    fn kill_leader(&mut self, cx: &mut Context<'_>, why: StopReason) {
        match self.state {
            State::Up { run, pid, since, .. } | State::Stopping { run, pid, since, .. } => {
                cx.log(Some(run), Entry::Killed);
                cx.signal(run, Signal::KILL, cx.plan.stop.scope);
                let give_up_at = (self.wanted == Wanted::Down).then(|| cx.now.after(KILL_BOUND));
                self.state = State::Killed { run, pid, since, give_up_at, why };
                self.silence_probes(cx);
                self.tell_readiness(cx);
            }
            State::Down
            | State::Starting { .. }
            | State::Killed { .. }
            | State::Sweeping { .. }
            | State::BackingOff { .. }
            | State::Ended => self.bug(cx, "kill"),
        }
    }

    fn schedule_probes(&mut self, cx: &mut Context<'_>) {
        let starting = cx.plan.probes.iter().any(|probe| probe.kind == ProbeKind::Startup);
        for (index, (probe, plan)) in (0u16..).zip(self.probes.iter_mut().zip(&cx.plan.probes)) {
            let call = probe.reset();
            if starting == (plan.kind == ProbeKind::Startup) {
                probe.schedule = Schedule::Waiting { at: cx.now.after(plan.initial_delay) };
            }
            cx.cancel(index, call);
        }
        self.started |= !starting;
        self.run_due_probes(cx);
    }

    /// Lets the other probes begin once the last startup probe passed.
    fn begin_after_startup(&mut self, cx: &mut Context<'_>) {
        let all = self.probes.iter().zip(&cx.plan.probes);
        if all.clone().any(|(probe, plan)| plan.kind == ProbeKind::Startup && !probe.is_passing()) {
            return;
        }
        self.started = true;
        for (probe, plan) in self.probes.iter_mut().zip(&cx.plan.probes) {
            if plan.kind != ProbeKind::Startup {
                probe.schedule = Schedule::Waiting { at: cx.now.after(plan.initial_delay) };
            }
        }
        self.run_due_probes(cx);
    }

    fn silence_probes(&mut self, cx: &mut Context<'_>) {
        for (index, probe) in (0u16..).zip(&mut self.probes) {
            let call = probe.silence();
            cx.cancel(index, call);
        }
    }

    /// Gives up on calls nobody has answered in time, then makes those that are due, so that nothing stays due.
    fn run_due_probes(&mut self, cx: &mut Context<'_>) {
        for (index, at) in (0u16..).zip(0..self.probes.len()) {
            // Asked anew each time: a lost call can stop the service, which cancels all others.
            let Some(Schedule::InFlight { call, since, give_up_at }) = self.probes.get(at).map(|probe| probe.schedule)
            else {
                continue;
            };
            if give_up_at <= cx.now {
                cx.cancel(index, Some(call));
                let outcome = Outcome::Unknown("no answer from the plugin's worker in time".to_string());
                self.on_probe_answered(cx, index, call, outcome, cx.now.since(since));
            }
        }
        let Some(run) = self.state.run() else { return };
        for (index, (probe, plan)) in (0u16..).zip(self.probes.iter_mut().zip(&cx.plan.probes)) {
            match probe.schedule {
                Schedule::Waiting { at } if at <= cx.now => {
                    let call = CallId(cx.last_call.0.saturating_add(1));
                    *cx.last_call = call;
                    probe.attempts = probe.attempts.saturating_add(1);
                    let give_up_at = cx.now.after(plan.timeout).after(ANSWER_SLACK);
                    probe.schedule = Schedule::InFlight { call, since: cx.now, give_up_at };
                    let probe_id = ProbeId { service: cx.id, index };
                    let (timeout, attempt) = (plan.timeout, probe.attempts);
                    cx.out.push(Action::RunProbe { probe: probe_id, run, call, timeout, attempt });
                }
                Schedule::Idle | Schedule::Waiting { .. } | Schedule::InFlight { .. } => {}
            }
        }
    }

    fn tell_readiness(&mut self, cx: &mut Context<'_>) {
        let ready = self.is_ready(cx.plan);
        if ready != self.was_ready {
            self.was_ready = ready;
            if !cx.plan.probes.is_empty() {
                cx.log(self.state.run(), Entry::Ready(ready));
            }
        }
    }

    fn bug(&self, cx: &mut Context<'_>, event: &'static str) {
        cx.log(self.state.run(), Entry::Bug { state: self.state.name().as_str(), event });
    }
}
