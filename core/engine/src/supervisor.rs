//! The supervisor: routes facts to services, gives signals their meaning, and brings the container to its end.

use alloc::vec::Vec;
use core::mem;

use crate::action::Action;
use crate::event::Event;
use crate::id::{CallId, ServiceId, Signal};
use crate::log::{Entry, Record};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::service::{Context, KILL_BOUND, Service};
use crate::status::{Phase, Status};
use crate::tick::{Span, Tick};

/// Where the container is, with what that stage needs.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// Services run.
    Running,
    /// A stop signal arrived and is passed on at `at`.
    Delaying { at: Tick },
    /// Services are being stopped.
    Stopping,
    /// No service is left; descendants are waited for, and killed at the deadline; with `killed`, given up on at it.
    Draining { deadline: Option<Tick>, killed: bool },
    /// Nothing is left; the status stays readable until then.
    Lingering { until: Tick },
    /// `Exit` was ordered.
    Done,
}

/// Decides everything; does nothing. Same plan, seed and events: same actions.
///
/// **Order:** [`Supervisor::handle`] with [`Event::Started`] first, then one call for each fact, with a time that does not go backwards
/// (an earlier one counts as the latest seen). After each call, carry out the actions in order, then arm a timer for
/// [`Supervisor::next_deadline`] and call with [`Event::Due`] when it fires; calling early is harmless. [`Action::Exit`] is the last action
/// ever; what comes after it is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Supervisor {
    plan: Plan,
    services: Vec<Service>,
    stage: Stage,
    /// Stop signals that arrived.
    stop_signals: u32,
    /// The signal that asked for the stop, rewritten; what descendants get.
    stop_signal: Signal,
    /// The code the container ends with, once something has decided it.
    code: Option<u8>,
    rng: Rng,
    last_call: CallId,
    now: Tick,
}

impl Supervisor {
    /// A supervisor that has done nothing yet. `seed` decides jitter and times to live.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Supervisor {
        let services = plan.services.iter().map(Service::new).collect();
        Supervisor {
            plan,
            services,
            stage: Stage::Running,
            stop_signals: 0,
            stop_signal: Signal::TERM,
            code: None,
            rng: Rng::new(seed),
            last_call: CallId(0),
            now: Tick(0),
        }
    }

    /// The plan it decides by.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes one fact and appends the orders it causes.
    pub fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Action>) {
        if self.stage == Stage::Done {
            return;
        }
        self.now = self.now.max(now);
        let (before, stage) = (out.len(), mem::discriminant(&self.stage));
        // The facts that can change the status without an order of their own.
        let silent = matches!(event, Event::ProbeAnswered { .. } | Event::GroupGone { .. });
        self.route(event, out);
        let exit = self.conclude(out);
        let moved = exit.is_some() || mem::discriminant(&self.stage) != stage;
        if silent || moved || out.len() > before {
            out.push(Action::Publish);
        }
        if let Some(code) = exit {
            self.stage = Stage::Done;
            out.push(Action::Exit { code });
        }
    }

    /// When to call again with [`Event::Due`] if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let own = match self.stage {
            Stage::Delaying { at } => Some(at),
            Stage::Draining { deadline, .. } => deadline,
            Stage::Lingering { until } => Some(until),
            Stage::Running | Stage::Stopping => None,
            Stage::Done => return None,
        };
        self.services.iter().filter_map(Service::next_deadline).chain(own).min()
    }

    /// Everything there is to say.
    #[must_use]
    pub fn status(&self) -> Status {
        let phase = match self.stage {
            Stage::Running => Phase::Running,
            Stage::Delaying { .. } | Stage::Stopping => Phase::Stopping,
            Stage::Draining { .. } | Stage::Lingering { .. } => Phase::Lingering,
            Stage::Done => Phase::Done,
        };
        let mut pairs = self.services.iter().zip(&self.plan.services);
        Status {
            phase,
            ready: phase == Phase::Running
                && pairs
                    .clone()
                    .all(|(service, plan)| service.is_ready(plan) || (service.is_ended() && !service.has_failed())),
            started: pairs.clone().all(|(service, _)| service.has_started()),
            alive: matches!(phase, Phase::Running | Phase::Stopping) && !pairs.any(|(service, _)| service.has_failed()),
            services: self
                .services
                .iter()
                .zip(&self.plan.services)
                .map(|(service, plan)| service.status(plan))
                .collect(),
        }
    }

    fn route(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Started => self.each(out, |service, cx| service.start(cx)),
            Event::Spawned { service, run, pid, at } => {
                self.one(service, out, |service, cx| service.on_spawned(cx, run, pid, at));
            }
            Event::SpawnFailed { service, run, reason, at } => {
                self.one(service, out, |service, cx| service.on_spawn_failed(cx, run, reason, at));
            }
            Event::Exited { service, run, exit, group_left, at } => {
                self.one(service, out, |service, cx| service.on_exited(cx, run, exit, group_left, at));
            }
            Event::GroupGone { service, run } => {
                self.one(service, out, |service, cx| service.on_group_gone(cx, run));
            }
            Event::Stopped { service, run } => {
                let mirror = self.plan.signals.suspend_with_child;
                self.one(service, out, |service, cx| {
                    if service.on_stopped(cx, run) && mirror && cx.plan.essential {
                        cx.out.push(Action::Suspend);
                    }
                });
            }
            Event::ProbeAnswered { probe, run: _, call, outcome, took } => {
                // The call's number is unique over all lives, so it alone tells a late answer.
                self.one(probe.service, out, |service, cx| {
                    service.on_probe_answered(cx, probe.index, call, outcome, took);
                });
            }
            Event::DescendantsGone => {
                if matches!(self.stage, Stage::Draining { .. }) {
                    self.linger();
                }
            }
            Event::SignalArrived { signal } => self.on_signal(signal, out),
            Event::Thawed { gap } => self.on_thawed(gap, out),
            Event::Due => self.on_due(out),
        }
    }

    /// Lends one service what it needs; a number beyond the plan is the shell's mistake and is logged.
    fn one(&mut self, id: ServiceId, out: &mut Vec<Action>, act: impl FnOnce(&mut Service, &mut Context<'_>)) {
        let at = usize::from(id.0);
        let (Some(service), Some(plan)) = (self.services.get_mut(at), self.plan.services.get(at)) else {
            let entry = Entry::Bug { state: "no such service", event: "any" };
            out.push(Action::Log(Record { service: Some(id), run: None, entry }));
            return;
        };
        let mut cx = Context {
            now: self.now,
            id,
            plan,
            parting_signal: self.plan.ending.parting_signal,
            rng: &mut self.rng,
            last_call: &mut self.last_call,
            out,
        };
        act(service, &mut cx);
    }

    fn each(&mut self, out: &mut Vec<Action>, mut act: impl FnMut(&mut Service, &mut Context<'_>)) {
        for id in (0..=u16::MAX).map(ServiceId).take(self.services.len()) {
            self.one(id, out, &mut act);
        }
    }

    fn log(&self, out: &mut Vec<Action>, entry: Entry) {
        out.push(Action::Log(Record { service: None, run: None, entry }));
    }

    fn on_signal(&mut self, arrived: Signal, out: &mut Vec<Action>) {
        let rewrite = self.plan.signals.rewrite.iter().find(|(from, _)| *from == arrived).map(|(_, to)| *to);
        let signal = rewrite.unwrap_or(arrived);
        if signal == Signal(0) {
            return;
        }
        if self.plan.signals.suspend.contains(arrived) {
            let signal = rewrite.unwrap_or(Signal::STOP);
            self.pass_on(signal, out);
            out.push(Action::Suspend);
        } else if self.plan.signals.stop.contains(arrived) {
            self.on_stop_signal(arrived, signal, out);
        } else if self.plan.signals.forward.contains(arrived) {
            self.pass_on(signal, out);
        } else {
            self.log(out, Entry::SignalIgnored { signal: arrived });
        }
    }

    /// Passes a signal on to whoever is left to hear it.
    fn pass_on(&mut self, signal: Signal, out: &mut Vec<Action>) {
        match self.stage {
            Stage::Running | Stage::Delaying { .. } | Stage::Stopping => {
                self.each(out, |service, cx| service.forward(cx, signal));
            }
            Stage::Draining { .. } => out.push(Action::SignalAll { signal }),
            Stage::Lingering { .. } | Stage::Done => {}
        }
    }

    fn on_stop_signal(&mut self, arrived: Signal, signal: Signal, out: &mut Vec<Action>) {
        self.stop_signals = self.stop_signals.saturating_add(1);
        if self.stop_signals == 1 {
            self.stop_signal = signal;
        }
        let first = self.stop_signals == 1;
        let entry =
            if first { Entry::ShutdownBegan { signal: arrived } } else { Entry::ShutdownForced { signal: arrived } };
        self.log(out, entry);
        match (&self.stage, first) {
            (Stage::Running, true) if self.plan.signals.delay > Span::ZERO => {
                self.stage = Stage::Delaying { at: self.now.after(self.plan.signals.delay) };
            }
            (Stage::Running, true) => self.shut_down(out),
            // The first stop signal while an essential service's end has already begun the stop: it is under way.
            (Stage::Delaying { .. } | Stage::Stopping, true) => {}
            (Stage::Running | Stage::Delaying { .. } | Stage::Stopping, false) => {
                self.stage = Stage::Stopping;
                self.each(out, |service, cx| service.kill(cx));
            }
            (Stage::Draining { .. }, true) => self.ask_descendants_to_stop(out),
            (Stage::Draining { killed, .. }, false) => {
                if !killed {
                    self.kill_descendants(out);
                }
            }
            (Stage::Lingering { .. }, _) => self.stage = Stage::Lingering { until: self.now },
            (Stage::Done, _) => {}
        }
    }

    fn on_thawed(&mut self, gap: Span, out: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Delaying { at } => *at = at.after(gap),
            Stage::Draining { deadline, .. } => *deadline = deadline.map(|at| at.after(gap)),
            Stage::Lingering { until } => *until = until.after(gap),
            Stage::Running | Stage::Stopping | Stage::Done => {}
        }
        for service in &mut self.services {
            service.shift(gap);
        }
        self.log(out, Entry::Thawed { gap });
    }

    fn on_due(&mut self, out: &mut Vec<Action>) {
        match self.stage {
            Stage::Delaying { at } if at <= self.now => self.shut_down(out),
            Stage::Draining { deadline: Some(at), killed: false } if at <= self.now => self.kill_descendants(out),
            // Stuck in the kernel; they die with the PID namespace.
            Stage::Draining { deadline: Some(at), killed: true } if at <= self.now => self.linger(),
            Stage::Running
            | Stage::Delaying { .. }
            | Stage::Stopping
            | Stage::Draining { .. }
            | Stage::Lingering { .. }
            | Stage::Done => {}
        }
        self.each(out, |service, cx| service.on_due(cx));
    }

    fn shut_down(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::Stopping;
        let signal = self.stop_signal;
        self.each(out, |service, cx| service.shut_down(cx, signal));
    }

    /// Moves the container towards its end as far as it can go now. Returns the exit code when it is there.
    fn conclude(&mut self, out: &mut Vec<Action>) -> Option<u8> {
        if matches!(self.stage, Stage::Running | Stage::Delaying { .. }) {
            let end = self
                .services
                .iter()
                .zip(&self.plan.services)
                .find(|(service, plan)| service.ends_container() || (plan.essential && service.is_ended()));
            if let Some((service, _)) = end {
                self.code = Some(service.code());
                self.shut_down(out);
            } else if !self.services.is_empty() && self.services.iter().all(Service::is_ended) {
                // A plan without services (catatonit's pause) waits for a signal instead.
                self.shut_down(out);
            }
        }
        if self.stage == Stage::Stopping && self.services.iter().all(Service::is_ended) {
            if self.plan.ending.wait_for_descendants {
                self.stage = Stage::Draining { deadline: None, killed: false };
                out.push(Action::AwaitDescendants);
                match self.stop_signals {
                    0 => {}
                    1 => self.ask_descendants_to_stop(out),
                    2.. => self.kill_descendants(out),
                }
            } else {
                self.linger();
            }
        }
        match self.stage {
            Stage::Lingering { until } if until <= self.now => Some(self.final_code()),
            Stage::Running
            | Stage::Delaying { .. }
            | Stage::Stopping
            | Stage::Draining { .. }
            | Stage::Lingering { .. }
            | Stage::Done => None,
        }
    }

    fn ask_descendants_to_stop(&mut self, out: &mut Vec<Action>) {
        let signal = self.stop_signal;
        out.push(Action::SignalAll { signal });
        let grace = self.plan.services.iter().filter_map(|plan| plan.stop.grace).max();
        self.stage = Stage::Draining { deadline: grace.map(|grace| self.now.after(grace)), killed: false };
    }

    fn kill_descendants(&mut self, out: &mut Vec<Action>) {
        out.push(Action::SignalAll { signal: Signal::KILL });
        self.stage = Stage::Draining { deadline: Some(self.now.after(KILL_BOUND)), killed: true };
    }

    /// Keeps the status readable for a while, unless somebody waits for the end.
    fn linger(&mut self) {
        let linger = if self.stop_signals == 0 { self.plan.ending.linger } else { Span::ZERO };
        self.stage = Stage::Lingering { until: self.now.after(linger) };
    }

    /// The code of the service whose end ended the container; else of the first essential one; else, after a stop by signal, 0; else
    /// of the first service that failed.
    fn final_code(&self) -> u8 {
        let mut pairs = self.services.iter().zip(&self.plan.services);
        let essential = pairs.clone().find(|(_, plan)| plan.essential).map(|(service, _)| service.code());
        let code = self.code.or(essential).unwrap_or_else(|| {
            if self.stop_signals > 0 {
                return 0;
            }
            pairs.find(|(service, _)| service.has_failed()).map_or(0, |(service, _)| service.code())
        });
        if self.plan.ending.codes_to_zero.contains(&code) { 0 } else { code }
    }
}
