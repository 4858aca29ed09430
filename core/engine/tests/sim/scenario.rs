//! One life of a container from a seed: the plan, the hardship, the loop that plays the shell, and the end that it must reach.

use std::collections::VecDeque;

use hilum_engine::{
    Action, BackoffPlan, EndingPlan, Event, LimitAction, Plan, ProbeKind, ProbePlan, RestartLimit, RestartPlan,
    RestartPolicy, Scope, ServicePlan, Signal, SignalPlan, SignalSet, Span, StopPlan, Tick, TtlPlan,
};

use crate::invariants::{Breach, Ledger, Step};
use crate::transcript::{Names, exit, signal, span};
use crate::world::{Chance, Climate, MILLI, Machine, SECOND, World};

/// Steps after which the world stops waiting for its time and sends the stop signals.
const STEPS_BEFORE_STOP: u32 = 300;
/// Steps no scenario needs. Reaching them means that the engine does not come to an end.
const STEPS_AT_MOST: u32 = 50_000;
/// How many of the last steps a failure shows.
const STEPS_SHOWN: usize = 40;

/// Makes the thing to be tried from a plan and a seed.
pub(crate) type Maker<'a> = dyn Fn(Plan, u64) -> Box<dyn Machine> + 'a;

/// A scenario that broke an invariant.
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) step: u32,
    pub(crate) breach: Breach,
    /// The plan and the last steps.
    pub(crate) trace: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { seed, step, breach, trace } = self;
        writeln!(f, "{trace}seed {seed}, step {step}: {}: {}", breach.invariant, breach.story)?;
        write!(f, "replay: cargo xtask sim --seed {seed}")
    }
}

/// What a scenario that kept all invariants leaves behind.
pub(crate) struct Outcome {
    /// Every order of every step.
    pub(crate) actions: Vec<Action>,
    /// The whole transcript, if asked for.
    pub(crate) trace: String,
}

/// Plays the scenario of `seed`. `loud` keeps the whole transcript.
pub(crate) fn play(seed: u64, make: &Maker<'_>, loud: bool) -> Result<Outcome, Box<Failure>> {
    let mut chance = Chance::new(seed);
    let mut plan = plan(&mut chance);
    if seed % 100 == 99 {
        // A pause: nothing to supervise, and still an orderly end.
        plan.services.clear();
    }
    let climate = climate(&mut chance);
    let mut world = World::new(chance, climate, Tick(1_000 * SECOND));
    let stop = hardship(&mut world, &plan);
    let mut machine = make(plan.clone(), seed);
    let mut ledger = Ledger::new(&plan, machine.status());
    let mut shown: VecDeque<(Tick, Event, Vec<Action>)> = VecDeque::new();
    let mut kept = Vec::new();
    let mut out = Vec::new();
    let mut event = Event::Started;
    // Whether the world has sent its stop signals.
    let mut stopping = false;
    for number in 0..STEPS_AT_MOST {
        out.clear();
        let given = event.clone();
        machine.handle(world.now, event, &mut out);
        let step = Step {
            now: world.now,
            event: &given,
            actions: &out,
            after: machine.status(),
            deadline: machine.next_deadline(),
            unnoticed: world.unnoticed,
        };
        let verdict = ledger.check(step);
        for action in &out {
            world.perform(action);
        }
        kept.extend_from_slice(&out);
        if !loud && shown.len() == STEPS_SHOWN {
            shown.pop_front();
        }
        shown.push_back((world.now, given, out.clone()));
        if let Err(breach) = verdict {
            let trace = transcript(&plan, &shown);
            return Err(Box::new(Failure { seed, step: number, breach, trace }));
        }
        if matches!(out.last(), Some(Action::Exit { .. })) {
            // Nothing the world still has to say may wake the dead.
            for event in [Event::Due, Event::SignalArrived { signal: Signal::TERM }, Event::DescendantsGone] {
                out.clear();
                machine.handle(world.now, event, &mut out);
                if let Some(action) = out.first() {
                    let story = format!("{action:?} after the exit");
                    let breach = Breach { invariant: "exit_comes_once_and_last", story };
                    let trace = transcript(&plan, &shown);
                    return Err(Box::new(Failure { seed, step: number, breach, trace }));
                }
            }
            let trace = if loud { transcript(&plan, &shown) } else { String::new() };
            return Ok(Outcome { actions: kept, trace });
        }
        if !stopping && (world.now >= stop.at || number >= STEPS_BEFORE_STOP) {
            stopping = true;
            stop.begin(&mut world);
        }
        event = next_event(&mut world, machine.next_deadline());
    }
    let story = format!("no exit after {STEPS_AT_MOST} steps");
    let breach = Breach { invariant: "every_scenario_ends", story };
    Err(Box::new(Failure { seed, step: STEPS_AT_MOST, breach, trace: transcript(&plan, &shown) }))
}

/// Plays the shell: sleeps until the world has news or the timer fires, whichever is first. Waiting is free.
fn next_event(world: &mut World, deadline: Option<Tick>) -> Event {
    loop {
        match (world.next(), deadline) {
            (Some(next), deadline) if deadline.is_none_or(|at| next < at || (next == at && next.0 % 2 == 0)) => {
                if let Some(event) = world.advance() {
                    return event;
                }
            }
            (_, Some(at)) => {
                // A busy machine: now and then a timer that was slept for is late, but not later than what happens next.
                let short = at.since(world.now).0 < MILLI;
                let late = if !short && world.chance().one_in(4) { world.chance().below(20 * MILLI) } else { 0 };
                let late = at.after(Span(late));
                let next = world.next().unwrap_or(late);
                world.now = world.now.max(at.max(late.min(next)));
                return Event::Due;
            }
            // Nothing will ever happen again: the step limit tells.
            (_, None) => return Event::Due,
        }
    }
}

/// The end every scenario comes to.
struct Stop {
    at: Tick,
    first: Signal,
    second: Signal,
    /// From the first to the second: long enough for every bound of a polite stop, or at any moment.
    patience: Span,
}

impl Stop {
    fn begin(&self, world: &mut World) {
        world.send(Span::ZERO, self.first);
        world.send(self.patience, self.second);
        // The third is for a scenario that had none but the second one's luck.
        world.send(Span(self.patience.0 + 100 * SECOND), self.second);
    }
}

/// Puts signals, freezes and idle timers on the world's agenda, and says how it ends.
fn hardship(world: &mut World, plan: &Plan) -> Stop {
    let horizon = world.chance().pick(&[SECOND, 10 * SECOND, 60 * SECOND, 600 * SECOND]);
    let storms = world.chance().pick(&[0, 0, 3, 12]);
    for _ in 0..storms {
        let wait = Span(world.chance().below(horizon));
        let signal = world.chance().pick(&[1, 10, 12, 14, 18, 20, 21, 28, 40, 64]);
        world.send(wait, Signal(signal));
    }
    if world.chance().one_in(3) {
        for _ in 0..world.chance().between(1, 3) {
            let wait = Span(world.chance().below(horizon));
            let whole = Span(world.chance().pick(&[20, 1_000, 10_000, 60_000, 1_000_000]) * MILLI);
            let noticed = if world.chance().one_in(2) { whole } else { Span(world.chance().below(whole.0 + 1)) };
            world.freeze(wait, whole, noticed);
        }
    }
    for _ in 0..world.chance().below(4) {
        let wait = Span(world.chance().below(horizon));
        world.fire_early(wait);
        world.fire_early(wait);
    }
    let stops = [Signal::TERM, Signal::INT];
    let grace = plan.services.iter().filter_map(|service| service.stop.grace).max().unwrap_or(Span::ZERO);
    let polite = Span(plan.signals.delay.0 + 2 * grace.0.min(100 * SECOND) + 30 * SECOND);
    let patience = if world.chance().one_in(2) { polite } else { world.chance().span(polite.0) };
    Stop {
        at: world.now.after(Span(world.chance().below(horizon))),
        first: world.chance().pick(&stops),
        second: world.chance().pick(&stops),
        patience,
    }
}

fn climate(chance: &mut Chance) -> Climate {
    let calm = chance.one_in(3);
    let rare = |often: u64| if calm { 1_000 } else { often };
    Climate {
        stubborn: rare(4),
        stuck: rare(8),
        spawn_failure: if chance.one_in(10) { 1 } else { rare(8) },
        job_control: rare(6),
        early_death: rare(3),
        lost_answer: rare(6),
        late_answer: rare(6),
        double_answer: rare(8),
        answer_after_cancel: if calm { 1_000 } else { 2 },
        members: chance.pick(&[1, 3, 5]),
        life: chance.pick(&[SECOND, 20 * SECOND, 300 * SECOND]),
    }
}

/// A span as plans hold them: whole units, now and then none at all.
fn duration(chance: &mut Chance, most: u64) -> Span {
    if chance.one_in(8) {
        return Span::ZERO;
    }
    let fine = chance.span(most).0;
    Span(if fine > 10 * SECOND { fine - fine % SECOND } else { fine - fine % MILLI })
}

fn plan(chance: &mut Chance) -> Plan {
    let count = chance.pick(&[1, 1, 2, 3, 6]);
    let services = ["a", "b", "c", "d", "e", "f"].into_iter().take(count).map(|name| service(chance, name)).collect();
    let mut rewrite = Vec::new();
    for from in [Signal::HUP, Signal(10), Signal::TERM] {
        if chance.one_in(6) {
            // The stop signals may be renamed but not dropped, or no scenario would end.
            let to = if from == Signal::TERM { chance.pick(&[2, 3, 10]) } else { chance.pick(&[0, 12, 15]) };
            rewrite.push((from, Signal(to)));
        }
    }
    let mut forward = Vec::new();
    for number in [1, 10, 12, 18, 28, 40] {
        if chance.one_in(2) {
            forward.push(Signal(number));
        }
    }
    let suspend = if chance.one_in(3) { vec![Signal(20), Signal(21)] } else { Vec::new() };
    Plan {
        services,
        signals: SignalPlan {
            stop: SignalSet::of(&[Signal::TERM, Signal::INT]),
            forward: SignalSet::of(&forward),
            rewrite,
            delay: if chance.one_in(3) { duration(chance, 5 * SECOND) } else { Span::ZERO },
            suspend: SignalSet::of(&suspend),
            suspend_with_child: chance.one_in(3),
        },
        ending: EndingPlan {
            wait_for_descendants: chance.one_in(3),
            codes_to_zero: if chance.one_in(4) { vec![143, 42] } else { Vec::new() },
            linger: if chance.one_in(3) { duration(chance, 20 * SECOND) } else { Span::ZERO },
            parting_signal: chance.one_in(4).then_some(Signal::TERM),
        },
    }
}

fn service(chance: &mut Chance, name: &str) -> ServicePlan {
    let policy = chance.pick(&[RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always]);
    let backoff = if chance.one_in(4) {
        BackoffPlan::NONE
    } else {
        BackoffPlan {
            initial: duration(chance, 5 * SECOND),
            factor: chance.pick(&[1000, 1001, 1500, 2000, 10_000, u32::MAX]),
            cap: duration(chance, 60 * SECOND),
            jitter: chance.pick(&[0, 0, 250, 1000]),
            reset_after: duration(chance, 60 * SECOND),
        }
    };
    let limit = chance.one_in(2).then(|| RestartLimit {
        count: chance.pick(&[0, 1, 2, 5]),
        within: if chance.one_in(2) { Span(60 * SECOND) } else { duration(chance, 60 * SECOND) },
        then: chance.pick(&[LimitAction::GiveUp, LimitAction::EndContainer]),
    });
    let grace = match chance.below(8) {
        0 => None,
        1 => Some(Span(u64::MAX / 2)),
        _ => Some(duration(chance, 15 * SECOND)),
    };
    let ttl = chance.one_in(4).then(|| {
        let min = duration(chance, 30 * SECOND);
        TtlPlan { min, max: Span(min.0 + duration(chance, 30 * SECOND).0) }
    });
    let mut probes = Vec::new();
    for _ in 0..chance.pick(&[0, 0, 1, 2, 4]) {
        probes.push(ProbePlan {
            name: format!("p{}", probes.len()),
            kind: chance.pick(&[ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Readiness, ProbeKind::Liveness]),
            period: Span(chance.between(100, 10_000) * MILLI),
            timeout: Span(duration(chance, 15 * SECOND).0.max(MILLI)),
            initial_delay: duration(chance, 10 * SECOND),
            failure_threshold: chance.pick(&[1, 1, 2, 3]),
            success_threshold: chance.pick(&[1, 1, 2, 3]),
            unknown_threshold: chance.pick(&[None, Some(1), Some(2), Some(4)]),
        });
    }
    ServicePlan {
        name: name.to_owned(),
        essential: chance.one_in(3),
        restart: RestartPlan { policy, backoff, limit },
        stop: StopPlan {
            signal: chance.pick(&[None, None, Some(Signal::QUIT), Some(Signal::INT)]),
            grace,
            scope: chance.pick(&[Scope::Group, Scope::Leader]),
            sweep: chance.one_in(2),
        },
        ttl,
        probes,
    }
}

/// The plan and the steps, for people.
fn transcript(plan: &Plan, steps: &VecDeque<(Tick, Event, Vec<Action>)>) -> String {
    let names = Names(plan);
    let mut text = format!("plan: {:?}\nplan: {:?}\n", plan.signals, plan.ending);
    for service in &plan.services {
        text.push_str(&format!("plan: {service:?}\n"));
    }
    for (at, event, actions) in steps {
        let at = at.since(Tick(1_000 * SECOND)).0;
        text.push_str(&format!("{:>5}.{:09} {}\n", at / SECOND, at % SECOND, fact(&names, event)));
        for line in actions.iter().filter_map(|action| names.action(action)) {
            text.push_str(&format!("                  {line}\n"));
        }
    }
    text
}

fn fact(names: &Names<'_>, event: &Event) -> String {
    match event {
        Event::Started => "started".to_owned(),
        Event::Spawned { service, run, pid, .. } => {
            format!("spawned {} run={} pid={}", names.service(*service), run.0, pid.0)
        }
        Event::SpawnFailed { service, run, reason, .. } => {
            format!("spawn-failed {} run={} code={}", names.service(*service), run.0, reason.code)
        }
        Event::Exited { service, run, exit: how, group_left, .. } => {
            let left = if *group_left { " group-left" } else { "" };
            format!("exited {} run={} {}{left}", names.service(*service), run.0, exit(*how))
        }
        Event::GroupGone { service, run } => format!("group-gone {} run={}", names.service(*service), run.0),
        Event::Stopped { service, run } => format!("stopped {} run={}", names.service(*service), run.0),
        Event::DescendantsGone => "descendants-gone".to_owned(),
        Event::ProbeAnswered { probe, call, outcome, .. } => {
            format!("answered {} call={} {outcome:?}", names.probe(probe.service, probe.index), call.0)
        }
        Event::SignalArrived { signal: arrived } => format!("signal {}", signal(*arrived)),
        Event::Thawed { gap } => format!("thawed {}", span(*gap)),
        Event::Due => "due".to_owned(),
    }
}
