//! The engine in a dishonest world: any plan, any fact at any time, numbers of nothing that exists, a clock that goes back. It may say
//! `Bug` as often as it likes, but it never panics, never says more than its size allows, and ends at most once and for good.

use hilum_engine::{
    Action, BackoffPlan, CallId, EndingPlan, Event, Exit, Incarnation, LimitAction, Outcome, Pid, Plan, ProbeId,
    ProbeKind, ProbePlan, RestartLimit, RestartPlan, RestartPolicy, Scope, ServiceId, ServicePlan, Signal, SignalPlan,
    SignalSet, Span, SpawnFailure, StopPlan, Supervisor, Tick, TtlPlan, Wall,
};

use crate::tape::Tape;

/// The most orders one fact may cause: for each service a stop, a kill, an end and a start with their log lines, for each probe a lost call,
/// its verdict and a new call, and a few for the container.
fn most_orders(plan: &Plan) -> usize {
    let probes: usize = plan.services.iter().map(|service| service.probes.len()).sum();
    16 + 16 * plan.services.len() + 8 * probes
}

/// Plays the facts that `input` spells.
pub fn engine_events(input: &[u8]) {
    let mut tape = Tape::new(input);
    let plan = plan(&mut tape);
    let most = most_orders(&plan);
    let mut engine = Supervisor::new(plan.clone(), tape.number());
    let mut twin = engine.clone();
    let mut out = Vec::new();
    let mut now = Tick(tape.number());
    let mut done = false;
    while !tape.is_empty() {
        now = match tape.byte() % 4 {
            0 => now,
            1 => engine.next_deadline().unwrap_or(now),
            2 => Tick(now.0.saturating_sub(tape.number())),
            _ => Tick(now.0.saturating_add(tape.number())),
        };
        let event = event(&mut tape, &plan, &engine);
        out.clear();
        engine.handle(now, event.clone(), &mut out);
        assert!(out.len() <= most, "{} orders for one fact", out.len());
        assert!(!done || out.is_empty(), "{out:?} after the exit");
        let exits = out.iter().filter(|action| matches!(action, Action::Exit { .. })).count();
        assert!(exits <= 1, "{exits} exits at once");
        if exits == 1 {
            assert!(matches!(out.last(), Some(Action::Exit { .. })), "{out:?} goes on after the exit");
            assert_eq!(engine.next_deadline(), None);
            done = true;
        }
        for action in &out {
            if let Action::Spawn { service, .. } | Action::Signal { service, .. } = action {
                assert!(usize::from(service.0) < plan.services.len(), "{action:?} of no service");
            }
        }
        let status = engine.status();
        assert_eq!(status.services.len(), plan.services.len());
        let mut again = Vec::new();
        twin.handle(now, event, &mut again);
        assert_eq!(out, again, "the same facts, other orders");
    }
}

fn span(tape: &mut Tape<'_>) -> Span {
    Span(tape.number())
}

fn signal(tape: &mut Tape<'_>) -> Signal {
    let any = tape.byte();
    Signal(tape.pick(&[2, 15, 9, 1, 10, 18, 19, 20, 0, 64, any]))
}

fn count(tape: &mut Tape<'_>) -> u32 {
    let any = tape.byte();
    tape.pick(&[1, 1, 2, 3, 0, u32::MAX, u32::from(any)])
}

fn plan(tape: &mut Tape<'_>) -> Plan {
    let services = (0..tape.byte() % 4).map(|at| service(tape, at)).collect();
    let rewrite = (0..tape.byte() % 3).map(|_| (signal(tape), signal(tape))).collect();
    Plan {
        services,
        signals: SignalPlan {
            stop: SignalSet(tape.number() | 0x4000),
            forward: SignalSet(tape.number()),
            rewrite,
            delay: span(tape),
            suspend: SignalSet(tape.number() & 0x38_0000),
            suspend_with_child: tape.flag(),
        },
        ending: EndingPlan {
            wait_for_descendants: tape.flag(),
            codes_to_zero: vec![tape.byte()],
            linger: span(tape),
            parting_signal: tape.flag().then(|| signal(tape)),
        },
    }
}

fn service(tape: &mut Tape<'_>, at: u8) -> ServicePlan {
    let ttl = tape.flag().then(|| TtlPlan { min: span(tape), max: span(tape) });
    let limit = tape.flag().then(|| RestartLimit {
        count: count(tape),
        within: span(tape),
        then: tape.pick(&[LimitAction::GiveUp, LimitAction::EndContainer]),
    });
    ServicePlan {
        name: format!("s{at}"),
        essential: tape.flag(),
        restart: RestartPlan {
            policy: tape.pick(&[RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]),
            backoff: BackoffPlan {
                initial: span(tape),
                factor: tape.pick(&[2000, 1000, 1001, u32::MAX, 0]),
                cap: span(tape),
                jitter: tape.pick(&[0, 250, 1000, u32::MAX]),
                reset_after: span(tape),
            },
            limit,
        },
        stop: StopPlan {
            signal: tape.flag().then(|| signal(tape)),
            grace: tape.flag().then(|| span(tape)),
            scope: tape.pick(&[Scope::Group, Scope::Leader]),
            sweep: tape.flag(),
        },
        ttl,
        probes: (0..tape.byte() % 4).map(|at| probe(tape, at)).collect(),
    }
}

fn probe(tape: &mut Tape<'_>, at: u8) -> ProbePlan {
    ProbePlan {
        name: format!("p{at}"),
        kind: tape.pick(&[ProbeKind::Readiness, ProbeKind::Liveness, ProbeKind::Startup]),
        period: span(tape),
        timeout: span(tape),
        initial_delay: span(tape),
        failure_threshold: count(tape),
        success_threshold: count(tape),
        unknown_threshold: tape.flag().then(|| count(tape)),
    }
}

fn event(tape: &mut Tape<'_>, plan: &Plan, engine: &Supervisor) -> Event {
    let kind = tape.byte() % 14;
    let service = ServiceId(u16::from(tape.byte()) % 5);
    // Mostly the current run, or nothing would ever happen.
    let status = engine.status();
    let current = status.services.get(usize::from(service.0)).map_or(0, |status| status.run.0);
    let run = Incarnation(if tape.byte().is_multiple_of(8) { tape.number() } else { current });
    let at = Wall(0);
    match kind {
        0 => Event::Started,
        1 | 2 => Event::Spawned { service, run, pid: Pid(i32::from(tape.byte())), at },
        3 => {
            let code = tape.pick(&[127, 126, 126]);
            Event::SpawnFailed { service, run, reason: SpawnFailure { code, message: String::new() }, at }
        }
        4 | 5 => {
            let code = tape.byte();
            let exit = if tape.flag() { Exit::Code(code) } else { Exit::Signaled(Signal(code)) };
            Event::Exited { service, run, exit, group_left: tape.flag(), at }
        }
        6 => Event::GroupGone { service, run },
        7 => Event::Stopped { service, run },
        8 => Event::DescendantsGone,
        9 | 10 => {
            let probes = plan.services.get(usize::from(service.0)).map_or(1, |service| service.probes.len() + 1);
            let index = u16::from(tape.byte()) % u16::try_from(probes).unwrap_or(1);
            let outcome = match tape.byte() % 3 {
                0 => Outcome::Pass,
                1 => Outcome::Fail(String::new()),
                _ => Outcome::Unknown(String::new()),
            };
            let call = CallId(tape.number());
            Event::ProbeAnswered { probe: ProbeId { service, index }, run, call, outcome, took: span(tape) }
        }
        11 => Event::SignalArrived { signal: signal(tape) },
        12 => Event::Thawed { gap: span(tape) },
        _ => Event::Due,
    }
}
