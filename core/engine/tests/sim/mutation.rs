//! Proof that the simulator can fail: for each rule an engine that was tampered with, and the rule must be the one that notices.
//!
//! Every mutation sits around the true engine: it changes the plan the engine decides by, the facts it hears, or the orders, status and
//! deadline it gives. The world and the books keep to the truth.

use std::cell::Cell;
use std::collections::BTreeSet;

use hilum_engine::{
    Action, BackoffPlan, Entry, Event, Incarnation, Outcome, Phase, Plan, ProbeKind, Record, RestartPolicy, Scope,
    ServiceId, Signal, SignalSet, Span, Status, Supervisor, Tick,
};

use crate::invariants::names;
use crate::scenario::Maker;
use crate::try_seed;
use crate::world::Machine;

/// Seeds within which a rule must notice.
const SEEDS: u64 = 3_000;

/// One way to be wrong, and the rule that must say so.
#[derive(Clone, Copy)]
struct Mutation {
    rule: &'static str,
    plan: fn(&mut Plan),
    /// What the engine hears instead of a fact.
    facts: fn(Event, &mut Memory) -> Vec<Event>,
    orders: fn(&mut Vec<Action>, &Event, &mut Memory),
    status: fn(&mut Status),
    deadline: fn(Option<Tick>, &Memory) -> Option<Tick>,
}

/// What a mutation remembers.
#[derive(Default)]
struct Memory {
    now: Tick,
    stop_signals: u32,
    lingering: bool,
}

/// Changes nothing.
const NONE: Mutation = Mutation {
    rule: "",
    plan: |_| {},
    facts: |event, _| vec![event],
    orders: |_, _, _| {},
    status: |_| {},
    deadline: |at, _| at,
};

struct Tampered {
    engine: Supervisor,
    mutation: Mutation,
    memory: Memory,
}

impl Machine for Tampered {
    fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Action>) {
        self.memory.now = now;
        if let Event::SignalArrived { signal: Signal::TERM | Signal::INT } = event {
            self.memory.stop_signals += 1;
        }
        for heard in (self.mutation.facts)(event.clone(), &mut self.memory) {
            self.engine.handle(now, heard, out);
        }
        self.memory.lingering = self.engine.status().phase == Phase::Lingering;
        (self.mutation.orders)(out, &event, &mut self.memory);
    }

    fn next_deadline(&self) -> Option<Tick> {
        (self.mutation.deadline)(self.engine.next_deadline(), &self.memory)
    }

    fn status(&self) -> Status {
        let mut status = self.engine.status();
        (self.mutation.status)(&mut status);
        status
    }
}

/// Each order twice that `which` picks.
fn double(out: &mut Vec<Action>, which: fn(&Action) -> bool) {
    let at = out.iter().position(which);
    if let Some(at) = at {
        out.insert(at, out[at].clone());
    }
}

fn is_polite(action: &Action) -> bool {
    matches!(action, Action::Signal { signal, .. } if ![Signal::KILL, Signal::CONT].contains(signal))
}

fn is_signal(action: &Action, which: Signal) -> bool {
    matches!(action, Action::Signal { signal, .. } if *signal == which)
}

fn each_grace(plan: &mut Plan, change: fn(u64) -> u64) {
    for service in &mut plan.services {
        if let Some(grace) = &mut service.stop.grace {
            grace.0 = change(grace.0);
        }
    }
}

fn each_probe(plan: &mut Plan, change: fn(&mut hilum_engine::ProbePlan)) {
    plan.services.iter_mut().flat_map(|service| &mut service.probes).for_each(change);
}

fn each_service(plan: &mut Plan, change: fn(&mut hilum_engine::ServicePlan)) {
    plan.services.iter_mut().for_each(change);
}

fn log(service: ServiceId, run: Incarnation, entry: Entry) -> Action {
    Action::Log(Record { service: Some(service), run: Some(run), entry })
}

/// One for each rule, in the order of the rules.
const MUTATIONS: &[Mutation] = &[
    Mutation {
        rule: "one_leader_at_a_time",
        orders: |out, _, _| double(out, |action| matches!(action, Action::Spawn { .. })),
        ..NONE
    },
    Mutation {
        rule: "signals_reach_the_living",
        orders: |out, event, _| {
            if let Event::Exited { service, run, .. } = event {
                let late = Action::Signal { service: *service, run: *run, signal: Signal::TERM, scope: Scope::Leader };
                out.insert(0, late);
            }
        },
        ..NONE
    },
    Mutation { rule: "grace_is_given", plan: |plan| each_grace(plan, |grace| grace / 2), ..NONE },
    Mutation {
        rule: "giving_up_is_the_last_resort",
        orders: |out, _, _| {
            let killed = out.iter().position(|action| is_signal(action, Signal::KILL));
            if let Some(at) = killed
                && let Action::Signal { service, run, .. } = out[at]
            {
                out.insert(at + 1, log(service, run, Entry::GivenUpOn));
            }
        },
        ..NONE
    },
    Mutation {
        rule: "restarts_wait",
        plan: |plan| each_service(plan, |service| service.restart.backoff = BackoffPlan::NONE),
        ..NONE
    },
    Mutation {
        rule: "nothing_starts_once_stopping",
        orders: |out, event, memory| {
            if let Event::Exited { service, run, .. } = event
                && memory.stop_signals > 0
            {
                out.insert(0, Action::Spawn { service: *service, run: Incarnation(run.0 + 1) });
            }
        },
        ..NONE
    },
    Mutation {
        rule: "one_call_in_flight",
        orders: |out, _, _| double(out, |action| matches!(action, Action::RunProbe { .. })),
        ..NONE
    },
    Mutation { rule: "calls_keep_their_pace", plan: |plan| each_probe(plan, |probe| probe.period.0 /= 2), ..NONE },
    Mutation {
        rule: "cancels_name_the_call_in_flight",
        orders: |out, _, _| double(out, |action| matches!(action, Action::CancelProbe { .. })),
        ..NONE
    },
    Mutation {
        rule: "unknown_is_no_failure",
        plan: |plan| each_probe(plan, |probe| probe.unknown_threshold = Some(1)),
        ..NONE
    },
    Mutation {
        rule: "stops_have_their_reason",
        plan: |plan| {
            each_service(plan, |service| {
                if let Some(ttl) = &mut service.ttl {
                    (ttl.min.0, ttl.max.0) = (ttl.min.0 / 2, ttl.max.0 / 2);
                }
            });
        },
        ..NONE
    },
    Mutation {
        rule: "stale_is_what_is_over",
        facts: |mut event, _| {
            if let Event::ProbeAnswered { call, .. } = &mut event {
                call.0 += 1_000_000;
            }
            vec![event]
        },
        ..NONE
    },
    Mutation {
        rule: "no_bug_is_logged",
        facts: |event, _| match event {
            Event::Spawned { .. } => vec![event.clone(), event],
            event => vec![event],
        },
        ..NONE
    },
    Mutation {
        rule: "exit_comes_once_and_last",
        orders: |out, _, _| double(out, |action| matches!(action, Action::Exit { .. })),
        ..NONE
    },
    Mutation {
        rule: "restart_limit_is_kept",
        plan: |plan| each_service(plan, |service| service.restart.limit = None),
        ..NONE
    },
    Mutation {
        rule: "every_end_is_judged_by_policy",
        plan: |plan| {
            each_service(plan, |service| {
                if service.restart.policy == RestartPolicy::OnFailure {
                    service.restart.policy = RestartPolicy::Never;
                }
            });
        },
        ..NONE
    },
    Mutation {
        rule: "backoff_is_in_its_bounds",
        plan: |plan| {
            each_service(plan, |service| {
                let backoff = &mut service.restart.backoff;
                (backoff.initial.0, backoff.cap.0) = (backoff.initial.0 * 4, backoff.cap.0 * 4);
            });
        },
        ..NONE
    },
    Mutation {
        rule: "calls_are_answered_or_cancelled",
        orders: |out, _, _| out.retain(|action| !matches!(action, Action::CancelProbe { .. })),
        ..NONE
    },
    Mutation {
        rule: "answers_are_counted",
        facts: |mut event, _| {
            if let Event::ProbeAnswered { outcome, .. } = &mut event
                && *outcome == Outcome::Pass
            {
                *outcome = Outcome::Unknown(String::new());
            }
            vec![event]
        },
        ..NONE
    },
    Mutation {
        rule: "failing_probes_stop_the_service",
        plan: |plan| {
            each_probe(plan, |probe| {
                if probe.kind == ProbeKind::Liveness {
                    probe.kind = ProbeKind::Readiness;
                }
            });
        },
        ..NONE
    },
    Mutation { rule: "time_to_live_is_kept", plan: |plan| each_service(plan, |service| service.ttl = None), ..NONE },
    Mutation {
        rule: "what_is_over_is_told",
        orders: |out, _, _| {
            out.retain(|action| !matches!(action, Action::Log(record) if matches!(record.entry, Entry::Stale { .. })));
        },
        ..NONE
    },
    Mutation { rule: "signals_mean_what_the_plan_says", plan: |plan| plan.signals.forward = SignalSet::EMPTY, ..NONE },
    Mutation {
        rule: "stop_reaches_everyone",
        facts: |event, memory| {
            let hidden = matches!(event, Event::Due | Event::SignalArrived { .. }) && memory.stop_signals == 1;
            if hidden { Vec::new() } else { vec![event] }
        },
        ..NONE
    },
    Mutation { rule: "stops_are_sent", orders: |out, _, _| out.retain(|action| !is_polite(action)), ..NONE },
    Mutation {
        rule: "stopped_processes_are_continued",
        orders: |out, _, _| out.retain(|action| !is_signal(action, Signal::CONT)),
        ..NONE
    },
    Mutation {
        rule: "second_signal_kills_at_once",
        orders: |out, _, _| out.retain(|action| !is_signal(action, Signal::KILL)),
        ..NONE
    },
    Mutation {
        rule: "stop_ends_in_time",
        plan: |plan| each_grace(plan, |grace| (grace + 1).saturating_mul(2)),
        ..NONE
    },
    Mutation {
        rule: "sweep_ends_in_time",
        plan: |plan| each_grace(plan, |grace| (grace + 1).saturating_mul(2)),
        ..NONE
    },
    Mutation { rule: "leftovers_are_swept_or_parted_with", plan: |plan| plan.ending.parting_signal = None, ..NONE },
    Mutation {
        rule: "container_ends_in_time",
        facts: |event, _| if event == Event::DescendantsGone { Vec::new() } else { vec![event] },
        deadline: |at, memory| if memory.lingering { None } else { at },
        ..NONE
    },
    Mutation {
        rule: "unready_from_the_first_stop_signal",
        status: |status| status.ready |= status.phase == Phase::Stopping,
        ..NONE
    },
    Mutation {
        rule: "status_tells_the_truth",
        status: |status| status.services.iter_mut().for_each(|service| service.pid = None),
        ..NONE
    },
    Mutation {
        rule: "changes_are_published",
        orders: |out, _, _| out.retain(|action| *action != Action::Publish),
        ..NONE
    },
    Mutation { rule: "due_makes_progress", deadline: |_, _| Some(Tick(0)), ..NONE },
    Mutation {
        rule: "early_timers_are_harmless",
        orders: |out, event, _| {
            if *event == Event::Due && out.is_empty() {
                out.push(Action::Publish);
            }
        },
        ..NONE
    },
    Mutation { rule: "exit_leaves_nothing_behind", plan: |plan| plan.ending.wait_for_descendants = false, ..NONE },
    Mutation {
        rule: "exit_code_is_the_right_one",
        orders: |out, _, _| {
            if let Some(Action::Exit { code }) = out.last_mut() {
                *code = code.wrapping_add(1);
            }
        },
        ..NONE
    },
    Mutation {
        rule: "every_scenario_ends",
        // A timer that always has one more nanosecond to go.
        deadline: |_, memory| Some(memory.now.after(Span(1))),
        ..NONE
    },
];

/// The rule that first fails on a seed, if one does.
fn first_breach(seed: u64, make: &Maker<'_>) -> Option<&'static str> {
    try_seed(seed, make, false).err().map(|failure| failure.breach.invariant)
}

#[test]
fn every_rule_notices_its_mutation() {
    let mut blind = Vec::new();
    for mutation in MUTATIONS {
        let make = |mut plan: Plan, seed: u64| -> Box<dyn Machine> {
            (mutation.plan)(&mut plan);
            Box::new(Tampered { engine: Supervisor::new(plan, seed), mutation: *mutation, memory: Memory::default() })
        };
        if !(0..SEEDS).any(|seed| first_breach(seed, &make) == Some(mutation.rule)) {
            blind.push(mutation.rule);
        }
    }
    assert!(blind.is_empty(), "no seed below {SEEDS} makes these fail for a tampered engine: {blind:?}");
}

#[test]
fn a_run_that_differs_from_the_one_before_is_noticed() {
    let made = Cell::new(0);
    let make = |plan: Plan, _: u64| -> Box<dyn Machine> {
        made.set(made.get() + 1);
        Box::new(Supervisor::new(plan, made.get()))
    };
    assert!((0..SEEDS).any(|seed| first_breach(seed, &make) == Some("same_seed_same_actions")));
}

#[test]
fn every_rule_has_a_mutation() {
    let tried: BTreeSet<_> = MUTATIONS.iter().map(|mutation| mutation.rule).chain(["same_seed_same_actions"]).collect();
    let missing: Vec<_> = names().into_iter().filter(|name| !tried.contains(name)).collect();
    assert!(missing.is_empty(), "rules without a mutation: {missing:?}");
}

#[test]
fn the_true_engine_passes_where_its_mutations_fail() {
    let make = |plan: Plan, seed: u64| -> Box<dyn Machine> {
        Box::new(Tampered { engine: Supervisor::new(plan, seed), mutation: NONE, memory: Memory::default() })
    };
    assert!((0..100).all(|seed| first_breach(seed, &make).is_none()));
}
