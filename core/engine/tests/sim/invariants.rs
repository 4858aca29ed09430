//! What must hold, whatever the world does: one named function for each rule, run over every step.
//!
//! The [`Ledger`] keeps books of its own from facts and orders alone, with arithmetic of its own: it never looks into the engine, and the
//! engine's status is one of the things it judges. Two tables: [`ORDERS`] is asked about each order, with the books as they stood just before
//! it; [`STATES`] about each step, with the books as they stand after it.

use hilum_engine::{
    Action, Entry, Event, Exit, Incarnation, LimitAction, Outcome, Phase, Plan, ProbeKind, ProbePlan, RestartPolicy,
    Scope, ServicePlan, Signal, Span, StateName, Status, StopReason, Tick,
};

use crate::world::{MILLI, SECOND};

/// What the design promises as the time a killed process has to be gone.
const KILL_BOUND: u64 = 5 * SECOND;
/// What the design promises as the time an answer may be late before it counts as lost.
const ANSWER_SLACK: u64 = SECOND;
/// What the design promises as the shortest wait after a failed spawn.
const SPAWN_RETRY_FLOOR: u64 = 100 * MILLI;
/// The longest this world takes to answer a spawn order.
const SPAWN_ANSWER: u64 = 30 * MILLI;
/// Graces above this are as good as none.
const FINITE: u64 = 1_000_000 * SECOND;
/// Timers that may fire one after the other at the same moment: a life of no time, a grace of no time, and a margin.
const DUES_IN_A_ROW: u32 = 4;

/// A rule that did not hold.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) invariant: &'static str,
    pub(crate) story: String,
}

/// One call of the engine.
pub(crate) struct Step<'a> {
    pub(crate) now: Tick,
    pub(crate) event: &'a Event,
    pub(crate) actions: &'a [Action],
    /// The status after it.
    pub(crate) after: Status,
    /// The deadline after it.
    pub(crate) deadline: Option<Tick>,
    /// Frozen time the shell has not noticed, all in all.
    pub(crate) unnoticed: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leader {
    None,
    Ordered,
    Alive,
    Reaped,
    Failed,
    GivenUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Exit(Exit),
    Ttl,
    Unhealthy,
    SpawnFailed,
}

#[derive(Clone, Copy)]
struct Asked {
    at: u64,
    why: StopReason,
    signal: Signal,
    sent: bool,
}

/// What came after an end: from when to when the next run may begin, both moments on the clock that freezes with the container.
#[derive(Clone, Copy)]
struct Wait {
    earliest: u64,
    latest: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Restart,
    End,
    Limit,
}

/// One service's books. All times are moments on the clock that freezes with the container.
struct Life {
    run: u64,
    leader: Leader,
    pid: i32,
    since: u64,
    asked: Option<Asked>,
    killed_at: Option<u64>,
    kill_logged: bool,
    suspended: bool,
    continued: bool,
    exited_at: u64,
    group_left: bool,
    sweeping: bool,
    sweep_killed_at: Option<u64>,
    /// The last run's end and length, while nothing has been decided about it.
    pending: Option<(End, u64)>,
    /// What the rules make of the end that was decided in this step.
    decided: Option<(End, Verdict)>,
    wait: Option<Wait>,
    streak: i32,
    restarts: Vec<u64>,
    code: u8,
    failed: bool,
    ends_container: bool,
    started: bool,
    probes: Vec<ProbeLife>,
}

#[derive(Default)]
struct ProbeLife {
    call: Option<u64>,
    called_at: Option<u64>,
    /// Its first call comes no earlier; `None`: it waits for the startup probes or has done its work.
    from: Option<u64>,
    passing: Option<bool>,
    passes: u32,
    failures: u32,
    unknowns: u32,
}

/// What a signal to PID 1 means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Nothing,
    Dropped,
    Stop,
    Forward(Signal),
    Suspend(Signal),
}

/// The books.
pub(crate) struct Ledger<'a> {
    plan: &'a Plan,
    before: Status,
    deadline: Option<Tick>,
    /// This step's moment on the clock that freezes with the container.
    now: u64,
    frozen: u64,
    /// Time by which timers were late and answers held up, all in all: the world's fault.
    slack: u64,
    unnoticed: u64,
    lives: Vec<Life>,
    stop_signals: u32,
    first_stop: u64,
    second_stop: u64,
    /// Since when the services are being stopped for good.
    told: Option<u64>,
    /// Whether that was before this step's orders.
    told_first: bool,
    ender: Option<usize>,
    all_gone: Option<u64>,
    descendants_gone: bool,
    killed_all_at: Option<u64>,
    exited: bool,
    dues: u32,
    last_call: u64,
    /// This step's event is about something that is over.
    stale: bool,
    meaning: Option<Meaning>,
    /// Services whose leader could take a signal when this step began.
    listeners: Vec<usize>,
}

type Check = Result<(), String>;
type OrderRule = fn(&Ledger<'_>, &Step<'_>, &Action) -> Check;
type StateRule = fn(&Ledger<'_>, &Step<'_>) -> Check;

/// Makes a table entry of a rule: its own name is the name a failure shows.
macro_rules! rules {
    ($($rule:ident),+ $(,)?) => { &[$((stringify!($rule), $rule)),+] };
}

/// Rules about a single order.
const ORDERS: &[(&str, OrderRule)] = rules![
    one_leader_at_a_time,
    signals_reach_the_living,
    grace_is_given,
    giving_up_is_the_last_resort,
    restarts_wait,
    nothing_starts_once_stopping,
    one_call_in_flight,
    calls_keep_their_pace,
    cancels_name_the_call_in_flight,
    unknown_is_no_failure,
    stops_have_their_reason,
    stale_is_what_is_over,
    no_bug_is_logged,
    exit_comes_once_and_last,
];

/// Rules about a step.
const STATES: &[(&str, StateRule)] = rules![
    restart_limit_is_kept,
    every_end_is_judged_by_policy,
    backoff_is_in_its_bounds,
    calls_are_answered_or_cancelled,
    answers_are_counted,
    failing_probes_stop_the_service,
    time_to_live_is_kept,
    what_is_over_is_told,
    signals_mean_what_the_plan_says,
    stop_reaches_everyone,
    stops_are_sent,
    stopped_processes_are_continued,
    second_signal_kills_at_once,
    stop_ends_in_time,
    sweep_ends_in_time,
    leftovers_are_swept_or_parted_with,
    container_ends_in_time,
    unready_from_the_first_stop_signal,
    status_tells_the_truth,
    changes_are_published,
    due_makes_progress,
    early_timers_are_harmless,
    exit_leaves_nothing_behind,
    exit_code_is_the_right_one,
];

/// Every rule's name, and that of the two the loop itself watches over.
pub(crate) fn names() -> Vec<&'static str> {
    let own = ["every_scenario_ends", "same_seed_same_actions"];
    ORDERS.iter().map(|(name, _)| *name).chain(STATES.iter().map(|(name, _)| *name)).chain(own).collect()
}

fn ensure(holds: bool, story: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(story()) }
}

// Rules about a single order.

/// A spawn is ordered only when the run before was reaped, or never began, and its group is no longer being swept.
fn one_leader_at_a_time(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Spawn { service, run } = action else { return Ok(()) };
    let life = books.life(service.0);
    ensure(matches!(life.leader, Leader::None | Leader::Reaped | Leader::Failed) && !life.sweeping, || {
        format!(
            "{} spawned while its last leader is {:?}, sweeping {}",
            books.name(service.0),
            life.leader,
            life.sweeping
        )
    })?;
    ensure(run.0 == life.run + 1, || format!("run {} follows run {}", run.0, life.run))
}

/// A leader is signalled only while it is unreaped, a group only while it has members the shell has not said farewell to.
fn signals_reach_the_living(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Signal { service, run, signal, scope } = action else { return Ok(()) };
    let life = books.life(service.0);
    let current = run.0 == life.run;
    let reaches = match scope {
        Scope::Leader => life.leader == Leader::Alive,
        Scope::Group => life.leader == Leader::Alive || life.group_left,
    };
    ensure(current && reaches, || {
        format!("{signal:?} to {scope:?} of {} run {}: leader {:?}", books.name(service.0), run.0, life.leader)
    })
}

/// KILL comes only after the whole grace period or the second stop signal.
fn grace_is_given(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Signal { service, signal: Signal::KILL, .. } = action else { return Ok(()) };
    let life = books.life(service.0);
    let asked = if life.sweeping {
        Some(life.asked.map_or(life.exited_at, |asked| asked.at))
    } else {
        life.asked.map(|a| a.at)
    };
    let grace = books.service(service.0).stop.grace;
    let over = matches!((asked, grace), (Some(at), Some(grace)) if books.now >= at.saturating_add(grace.0));
    let repeated = life.sweeping && life.killed_at.is_some();
    ensure(over || repeated || books.stop_signals >= 2, || {
        format!("{} killed at {} though asked at {asked:?} with grace {grace:?}", books.name(service.0), books.now)
    })
}

/// A process is given up on only after KILL and its bound, and a leader only when the container ends.
fn giving_up_is_the_last_resort(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Log(record) = action else { return Ok(()) };
    let (Entry::GivenUpOn, Some(service)) = (&record.entry, record.service) else { return Ok(()) };
    let life = books.life(service.0);
    let killed = if life.sweeping { life.sweep_killed_at } else { life.killed_at };
    let waited = killed.is_some_and(|at| books.now >= at + KILL_BOUND);
    ensure(waited && (life.sweeping || books.told.is_some()), || {
        format!("{} given up on at {}: killed {killed:?}, stop {:?}", books.name(service.0), books.now, books.told)
    })
}

/// A further run begins no earlier than its backoff allows, jitter taken off in full.
fn restarts_wait(books: &Ledger<'_>, step: &Step<'_>, action: &Action) -> Check {
    let Action::Spawn { service, .. } = action else { return Ok(()) };
    let life = books.life(service.0);
    let wait = match (life.pending, life.wait) {
        (Some((end, lasted)), _) => books.wait(service.0, end, lasted),
        (None, Some(wait)) => wait,
        (None, None) => return Ok(()),
    };
    let shown = books.before.services[usize::from(service.0)].restart_at;
    ensure(books.now >= wait.earliest && shown.is_none_or(|at| thawed(step, at) <= step.now), || {
        format!(
            "{} restarted at {}, {} too early",
            books.name(service.0),
            books.now,
            wait.earliest - books.now.min(wait.earliest)
        )
    })
}

/// No run begins once the services are being stopped for good.
fn nothing_starts_once_stopping(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Spawn { service, .. } = action else { return Ok(()) };
    ensure(books.told.is_none(), || format!("{} spawned after the stop began", books.name(service.0)))
}

/// A probe has at most one call in flight, with a number never used before, and only for a service that is up.
fn one_call_in_flight(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::RunProbe { probe, run, call, .. } = action else { return Ok(()) };
    let life = books.life(probe.service.0);
    let name = || books.name(probe.service.0);
    ensure(life.is_up() && run.0 == life.run, || {
        format!("{} probed while {:?}, asked to stop or killed", name(), life.leader)
    })?;
    ensure(call.0 > books.last_call, || format!("call {} after call {}", call.0, books.last_call))?;
    let open = life.probes[usize::from(probe.index)].call;
    ensure(open.is_none(), || format!("{} probe {}: call {} beside {open:?}", name(), probe.index, call.0))
}

/// A probe's calls are a period apart, the first one its initial delay after the spawn, or after the startup probes; a startup probe that
/// passed is not called again.
fn calls_keep_their_pace(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::RunProbe { probe, .. } = action else { return Ok(()) };
    let life = &books.life(probe.service.0).probes[usize::from(probe.index)];
    let period = books.service(probe.service.0).probes[usize::from(probe.index)].period.0;
    let earliest = match (life.from, life.called_at) {
        (None, _) => None,
        (Some(from), None) => Some(from),
        (Some(_), Some(last)) => Some(last + period),
    };
    ensure(earliest.is_some_and(|at| books.now >= at), || {
        format!("{} probe {} called at {}, earliest {earliest:?}", books.name(probe.service.0), probe.index, books.now)
    })
}

/// Only a call that is in flight is cancelled.
fn cancels_name_the_call_in_flight(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::CancelProbe { probe, call } = action else { return Ok(()) };
    let open = books.life(probe.service.0).probes[usize::from(probe.index)].call;
    ensure(open == Some(call.0), || format!("call {} cancelled, in flight {open:?}", call.0))
}

/// A probe that could only say `unknown` makes nothing fail before its unknown threshold.
fn unknown_is_no_failure(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Log(record) = action else { return Ok(()) };
    let Some(service) = record.service else { return Ok(()) };
    let index = match record.entry {
        Entry::Probe { index, passing: false, .. } => index,
        Entry::Stopping { reason: StopReason::Probe(index), .. } => index,
        _ => return Ok(()),
    };
    let plan = &books.service(service.0).probes[usize::from(index)];
    let life = &books.life(service.0).probes[usize::from(index)];
    let failed = life.failures >= plan.failure_threshold;
    let lost = plan.unknown_threshold.is_some_and(|limit| life.unknowns >= limit);
    ensure(failed || lost, || {
        format!(
            "{} probe {index} fails with {} failures and {} unknowns in a row",
            books.name(service.0),
            life.failures,
            life.unknowns
        )
    })
}

/// A run is asked to stop only while it is up, and for the reason given.
fn stops_have_their_reason(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Log(record) = action else { return Ok(()) };
    let (Entry::Stopping { reason, .. }, Some(service)) = (&record.entry, record.service) else { return Ok(()) };
    let (life, plan) = (books.life(service.0), books.service(service.0));
    ensure(life.is_up(), || {
        format!("{} asked to stop while {:?} or asked before", books.name(service.0), life.leader)
    })?;
    let holds = match reason {
        // The end of an essential service is in the books only after the step.
        StopReason::Shutdown => true,
        StopReason::Ttl => plan.ttl.is_some_and(|ttl| books.now >= life.since.saturating_add(ttl.min.0)),
        StopReason::Probe(index) => {
            let at = usize::from(*index);
            plan.probes[at].kind != ProbeKind::Readiness && life.probes[at].passing == Some(false)
        }
        StopReason::Leftover => false,
    };
    ensure(holds, || format!("{} asked to stop because of {reason:?}, which is not so", books.name(service.0)))
}

/// An answer is dropped as stale only if it is about something that is over.
fn stale_is_what_is_over(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Log(record) = action else { return Ok(()) };
    let Entry::Stale { what } = record.entry else { return Ok(()) };
    ensure(books.stale, || format!("a current {what} was dropped as stale"))
}

/// The world is honest, so nothing impossible happens.
fn no_bug_is_logged(_: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    let Action::Log(record) = action else { return Ok(()) };
    ensure(!matches!(record.entry, Entry::Bug { .. }), || format!("{:?} of {:?}", record.entry, record.service))
}

/// `Exit` is the last order ever.
fn exit_comes_once_and_last(books: &Ledger<'_>, _: &Step<'_>, action: &Action) -> Check {
    ensure(!books.exited, || format!("{action:?} after the exit"))
}

// Rules about a step.

/// A service runs again if, and only if, its policy wants it to, its limit allows it and the container does not stop.
fn every_end_is_judged_by_policy(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    for (at, life) in books.lives.iter().enumerate() {
        let state = step.after.services[at].state;
        let was = books.before.services[at].state;
        let ended = state == StateName::Ended && was != StateName::Ended;
        let holds = match life.decided {
            Some(_) if books.told_first => state == StateName::Ended,
            Some((_, Verdict::Restart)) => !ended || books.told.is_some(),
            Some((_, Verdict::End | Verdict::Limit)) => ended,
            None => !ended || books.told.is_some(),
        };
        ensure(holds, || format!("{} is {state:?} after {was:?}: {:?}", books.plan.services[at].name, life.decided))?;
        ensure(was != StateName::Ended || state == StateName::Ended, || "an ended service came back".to_owned())?;
    }
    Ok(())
}

/// In no window are there more restarts than the limit allows; a restart after the time to live is not counted.
fn restart_limit_is_kept(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        let Some(limit) = plan.restart.limit else { continue };
        let recent = life.restarts.iter().filter(|&&at| at.saturating_add(limit.within.0) > books.now).count();
        ensure(recent as u64 <= u64::from(limit.count), || {
            format!("{} restarted {recent} times in its window, allowed are {}", plan.name, limit.count)
        })?;
    }
    Ok(())
}

/// The wait that status shows lies between the backoff with all its jitter taken off and the whole of it.
fn backoff_is_in_its_bounds(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    for (at, life) in books.lives.iter().enumerate() {
        let (Some(until), Some(wait), Some(_)) = (step.after.services[at].restart_at, life.wait, life.decided) else {
            continue;
        };
        let until = until.0.saturating_sub(books.frozen);
        ensure((wait.earliest..=wait.latest).contains(&until), || {
            let name = &books.plan.services[at].name;
            format!("{name} waits until {until}, not {} to {}", wait.earliest, wait.latest)
        })?;
    }
    Ok(())
}

/// No call stays open for a service that is not up, nor past its timeout and the slack.
fn calls_are_answered_or_cancelled(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        for (probe, plan_of) in life.probes.iter().zip(&plan.probes) {
            let Some(call) = probe.call else { continue };
            ensure(life.is_up(), || format!("{}: call {call} is open though the service is not up", plan.name))?;
            let until = probe.called_at.unwrap_or(0) + plan_of.timeout.0 + ANSWER_SLACK + books.slack;
            ensure(books.now <= until, || format!("{}: call {call} is open past {until}", plan.name))?;
        }
    }
    Ok(())
}

/// The engine's verdict and rows are what the thresholds make of the answers.
fn answers_are_counted(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    for ((life, plan), status) in books.lives.iter().zip(&books.plan.services).zip(&step.after.services) {
        if !life.is_up() {
            continue;
        }
        for (index, (mine, its)) in life.probes.iter().zip(&status.probes).enumerate() {
            let mine = (mine.passing, mine.passes, mine.failures, mine.unknowns);
            let its = (its.passing, its.passes, its.failures, its.unknowns);
            ensure(mine == its, || format!("{} probe {index}: expected {mine:?}, found {its:?}", plan.name))?;
        }
    }
    Ok(())
}

/// A startup or liveness probe that fails stops its service in that same step.
fn failing_probes_stop_the_service(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services).filter(|(life, _)| life.is_up()) {
        for (probe, plan_of) in life.probes.iter().zip(&plan.probes) {
            let deadly = plan_of.kind != ProbeKind::Readiness && probe.passing == Some(false);
            ensure(!deadly, || format!("{} stays up though {} fails", plan.name, plan_of.name))?;
        }
    }
    Ok(())
}

/// No run outlives the longest time to live.
fn time_to_live_is_kept(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services).filter(|(life, _)| life.is_up()) {
        let Some(ttl) = plan.ttl else { continue };
        let until = life.since.saturating_add(ttl.max.0).saturating_add(books.slack);
        ensure(books.now <= until, || format!("{} is up at {}, past {until}", plan.name, books.now))?;
    }
    Ok(())
}

/// An answer about something that is over is said to be stale, and so is used for nothing.
fn what_is_over_is_told(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let told =
        step.actions.iter().any(|action| matches!(action, Action::Log(r) if matches!(r.entry, Entry::Stale { .. })));
    ensure(told == books.stale, || format!("stale entry {told}, but the event is stale: {}", books.stale))
}

/// A signal to PID 1 is dropped, ignored, passed on once to each leader, or passed on and followed by a stop of the supervisor.
fn signals_mean_what_the_plan_says(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let Some(meaning) = books.meaning else { return Ok(()) };
    let sent = |to: usize, which: Signal| {
        let scope = books.plan.services[to].stop.scope;
        let is_it = |action: &&Action| {
            matches!(action, Action::Signal { service, signal, scope: reach, .. }
                if usize::from(service.0) == to && *signal == which && *reach == scope)
        };
        step.actions.iter().filter(is_it).count()
    };
    let ignored = step
        .actions
        .iter()
        .any(|action| matches!(action, Action::Log(r) if matches!(r.entry, Entry::SignalIgnored { .. })));
    ensure(ignored == (meaning == Meaning::Nothing), || format!("{meaning:?}, but ignored: {ignored}"))?;
    let suspends = step.actions.contains(&Action::Suspend);
    ensure(suspends == matches!(meaning, Meaning::Suspend(_)), || format!("{meaning:?}, but suspends: {suspends}"))?;
    match meaning {
        Meaning::Nothing | Meaning::Stop => Ok(()),
        Meaning::Dropped => ensure(step.actions.is_empty(), || "a dropped signal had an effect".to_owned()),
        Meaning::Forward(signal) | Meaning::Suspend(signal) => {
            for &to in &books.listeners {
                let count = sent(to, signal);
                let name = &books.plan.services[to].name;
                ensure(count == 1, || format!("{signal:?} passed on to {name} {count} times"))?;
            }
            Ok(())
        }
    }
}

/// Once the services are being stopped for good, every leader has been asked, and nothing waits to start.
fn stop_reaches_everyone(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let Some(_) = books.told else {
        let late = books.stop_signals > 0 && books.now > books.first_stop + books.plan.signals.delay.0 + books.slack;
        return ensure(!late, || "the stop signal's delay is over and nothing happened".to_owned());
    };
    for (at, life) in books.lives.iter().enumerate() {
        let state = step.after.services[at].state;
        let forgotten = life.is_up() || matches!(state, StateName::Down | StateName::BackingOff);
        ensure(!forgotten, || format!("{} is {state:?} and was not asked to stop", books.plan.services[at].name))?;
    }
    Ok(())
}

/// A stop that is logged is also sent.
fn stops_are_sent(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        let Some(asked) = life.asked.filter(|_| life.leader == Leader::Alive) else { continue };
        ensure(asked.sent, || {
            format!("{} was logged as asked to stop with {:?} and was not", plan.name, asked.signal)
        })?;
        let wanted = plan.stop.signal;
        ensure(wanted.is_none_or(|signal| signal == asked.signal), || {
            format!("{} was sent {:?}", plan.name, asked.signal)
        })?;
    }
    Ok(())
}

/// A leader that job control has stopped and that is asked to stop is continued, or it would never hear of it.
fn stopped_processes_are_continued(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        let deaf = life.leader == Leader::Alive
            && life.suspended
            && life.asked.is_some()
            && life.killed_at.is_none()
            && !life.continued;
        ensure(!deaf, || format!("{} was asked to stop while stopped by job control, and not continued", plan.name))?;
    }
    Ok(())
}

/// From the second stop signal on, all that lives has been sent KILL in that very step, leaders and swept groups alike.
fn second_signal_kills_at_once(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    if books.stop_signals < 2 {
        return Ok(());
    }
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        let spared = (life.leader == Leader::Alive && life.killed_at.is_none())
            || (life.sweeping && life.sweep_killed_at.is_none());
        ensure(!spared, || format!("{} was not killed by the second stop signal", plan.name))?;
    }
    Ok(())
}

/// A leader asked to stop is killed when its grace is over and, when the container ends, given up on after the kill bound.
fn stop_ends_in_time(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services).filter(|(life, _)| life.leader == Leader::Alive) {
        if let (Some(asked), Some(grace), None) = (life.asked, plan.stop.grace, life.killed_at) {
            let until = asked.at.saturating_add(grace.0).saturating_add(books.slack);
            ensure(books.now <= until, || format!("{} was to be killed at {until}", plan.name))?;
        }
        if let (Some(killed), Some(told)) = (life.killed_at, books.told) {
            let until = killed.max(told) + KILL_BOUND + books.slack;
            ensure(books.now <= until, || format!("{} was to be given up on at {until}", plan.name))?;
        }
    }
    Ok(())
}

/// A sweep ends with what is left of the grace period, or a whole one after an exit nobody asked for, and the kill bound.
fn sweep_ends_in_time(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    for (life, plan) in books.lives.iter().zip(&books.plan.services).filter(|(life, _)| life.sweeping) {
        let from = life.asked.map_or(life.exited_at, |asked| asked.at);
        let until = match (life.sweep_killed_at, plan.stop.grace) {
            (Some(killed), _) => killed + KILL_BOUND,
            (None, Some(grace)) => from.saturating_add(grace.0),
            (None, None) => continue,
        };
        ensure(books.now <= until.saturating_add(books.slack), || format!("{} is swept past {until}", plan.name))?;
    }
    Ok(())
}

/// What a leader leaves of its group is swept where the plan says so, else sent the parting signal where there is one.
fn leftovers_are_swept_or_parted_with(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let Event::Exited { service, group_left: true, .. } = step.event else { return Ok(()) };
    if books.stale {
        return Ok(());
    }
    let plan = books.service(service.0);
    let told = |wanted: Option<Signal>| {
        step.actions.iter().any(|action| {
            matches!(action, Action::Signal { service: to, signal, scope: Scope::Group, .. }
                if to == service && wanted.is_none_or(|wanted| wanted == *signal))
        })
    };
    let life = books.life(service.0);
    if plan.stop.sweep {
        let asked = life.asked.is_some() && plan.stop.scope == Scope::Group && life.killed_at.is_none();
        ensure(life.sweeping, || format!("{}'s group was left behind", plan.name))?;
        return ensure(asked || told(None), || format!("{}'s group was not asked to stop", plan.name));
    }
    match books.plan.ending.parting_signal {
        Some(signal) if plan.essential => {
            ensure(told(Some(signal)), || format!("{} parted without {signal:?}", plan.name))
        }
        _ => Ok(()),
    }
}

/// After the first stop signal the container ends within its graces and bounds, if there are any; after the second within the bounds.
fn container_ends_in_time(books: &Ledger<'_>, _: &Step<'_>) -> Check {
    let Some(told) = books.told.filter(|_| books.stop_signals > 0 && !books.exited) else { return Ok(()) };
    let grace = books.plan.services.iter().map(|plan| plan.stop.grace.map_or(u64::MAX, |grace| grace.0)).max();
    let grace = grace.unwrap_or(0);
    let bounds = 3 * KILL_BOUND + SPAWN_ANSWER + books.slack;
    if grace < FINITE {
        let until = told.max(books.first_stop) + 2 * grace + bounds;
        ensure(books.now <= until, || format!("the container was to end at {until}"))?;
    }
    let killed = books.stop_signals >= 2 && books.now > books.second_stop + bounds;
    ensure(!killed, || format!("the container was killed at {} and is still there", books.second_stop))
}

/// From the first stop signal on the container is not ready.
fn unready_from_the_first_stop_signal(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    ensure(books.stop_signals == 0 || !step.after.ready, || "ready although it is being stopped".to_owned())
}

/// Status is what the facts and orders amount to.
fn status_tells_the_truth(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let after = &step.after;
    for ((life, plan), status) in books.lives.iter().zip(&books.plan.services).zip(&after.services) {
        let alive = life.leader == Leader::Alive;
        let right = match life.leader {
            Leader::None => matches!(status.state, StateName::Down | StateName::Ended),
            Leader::Ordered => status.state == StateName::Starting,
            Leader::Alive if life.kill_logged => status.state == StateName::Killed,
            Leader::Alive if life.asked.is_some() => status.state == StateName::Stopping,
            Leader::Alive => status.state == StateName::Up,
            Leader::Reaped if life.sweeping => status.state == StateName::Sweeping,
            Leader::Reaped | Leader::Failed | Leader::GivenUp => {
                matches!(status.state, StateName::BackingOff | StateName::Ended)
            }
        };
        ensure(right, || format!("{} is shown {:?}, its leader is {:?}", plan.name, status.state, life.leader))?;
        let pid = status.pid.map(|pid| pid.0);
        ensure(pid == alive.then_some(life.pid), || format!("{} is shown as process {pid:?}", plan.name))?;
        ensure(status.run == Incarnation(life.run), || format!("{} is shown in run {:?}", plan.name, status.run))?;
        ensure(status.restarts == life.run.saturating_sub(1), || {
            format!("{} shows {} restarts", plan.name, status.restarts)
        })?;
        let waits = status.restart_at.is_some();
        ensure(waits == (status.state == StateName::BackingOff), || format!("{} shows a restart time", plan.name))?;
        let ready = life.is_ready(plan);
        ensure(status.ready == ready, || format!("{} is ready {ready}, shown {}", plan.name, status.ready))?;
    }
    let all_ended = after.services.iter().all(|status| status.state == StateName::Ended);
    let phase = match after.phase {
        Phase::Running => books.stop_signals == 0 && books.told.is_none(),
        // The delay before a stop is part of it, also where there is nothing to stop.
        Phase::Stopping => match books.told {
            Some(_) => !all_ended,
            None => books.stop_signals > 0,
        },
        Phase::Lingering => all_ended && !books.exited,
        Phase::Done => books.exited,
    };
    ensure(phase, || format!("phase is shown {:?}, stop {:?}", after.phase, books.told))?;
    let running = after.phase == Phase::Running;
    let failed = books.lives.iter().any(|life| life.failed);
    let ready =
        running
            && books.lives.iter().zip(&books.plan.services).zip(&after.services).all(|((life, plan), status)| {
                life.is_ready(plan) || (status.state == StateName::Ended && !life.failed)
            });
    ensure(after.ready == ready, || format!("ready is {ready}, shown {}", after.ready))?;
    let alive = (running || after.phase == Phase::Stopping) && !failed;
    ensure(after.alive == alive, || format!("alive is {alive}, shown {}", after.alive))?;
    let started = books.lives.iter().all(|life| life.started);
    ensure(after.started == started, || format!("started is {started}, shown {}", after.started))
}

/// Whoever shows the status is told of every change.
fn changes_are_published(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let told = step.actions.contains(&Action::Publish);
    ensure(told || books.before == step.after, || "the status changed without a publish order".to_owned())
}

/// A timer that fires on time leaves nothing due for ever: the loop goes back to sleep.
fn due_makes_progress(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    ensure(books.dues <= DUES_IN_A_ROW, || format!("{:?} is due again and again at {:?}", step.deadline, step.now))
}

/// A timer that fires when nothing is due has no effect.
fn early_timers_are_harmless(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let early = matches!(step.event, Event::Due) && books.deadline.is_none_or(|at| at > step.now);
    ensure(!early || step.actions.is_empty(), || format!("due before {:?} did {:?}", books.deadline, step.actions))
}

/// At the exit every leader was reaped or given up on, every service has ended, whoever was to be waited for is gone or was killed, and the
/// status was readable for as long as the plan says.
fn exit_leaves_nothing_behind(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    if !books.exited {
        return Ok(());
    }
    let last = matches!(step.actions.last(), Some(Action::Exit { .. }));
    ensure(last && step.deadline.is_none(), || format!("exit is not the last order, deadline {:?}", step.deadline))?;
    for (life, plan) in books.lives.iter().zip(&books.plan.services) {
        let gone = !matches!(life.leader, Leader::Ordered | Leader::Alive) && !life.sweeping;
        ensure(gone, || format!("{} is left behind: {:?}", plan.name, life.leader))?;
    }
    let killed = books.killed_all_at.is_some_and(|at| books.now >= at + KILL_BOUND);
    let waited = !books.plan.ending.wait_for_descendants || books.descendants_gone || killed;
    ensure(waited, || "descendants are left behind".to_owned())?;
    let from = books.all_gone.unwrap_or(0);
    let lingered = books.stop_signals > 0 || killed || books.now >= from + books.plan.ending.linger.0;
    ensure(lingered, || format!("exit at {} though all was gone only at {from}", books.now))
}

/// The exit code is that of the service that ended the container; else of the first essential one; else 0 after a stop signal; else of the
/// first one that failed; and 0 for the codes the plan makes 0.
fn exit_code_is_the_right_one(books: &Ledger<'_>, step: &Step<'_>) -> Check {
    let Some(Action::Exit { code }) = step.actions.last() else { return Ok(()) };
    let essential = books.plan.services.iter().position(|plan| plan.essential);
    let failed = books.lives.iter().position(|life| life.failed);
    let decider = match (books.ender, essential) {
        (Some(at), _) | (None, Some(at)) => Some(at),
        (None, None) if books.stop_signals > 0 => None,
        (None, None) => failed,
    };
    let raw = decider.map_or(0, |at| books.lives[at].code);
    let right = if books.plan.ending.codes_to_zero.contains(&raw) { 0 } else { raw };
    ensure(*code == right, || format!("exit {code}, expected {right} of {decider:?}"))
}

// The books.

/// `at` as the step's thaw, if it is one, has moved it.
fn thawed(step: &Step<'_>, at: Tick) -> Tick {
    if let Event::Thawed { gap } = step.event { at.after(*gap) } else { at }
}

impl Life {
    fn new(plan: &ServicePlan) -> Life {
        Life {
            run: 0,
            leader: Leader::None,
            pid: 0,
            since: 0,
            asked: None,
            killed_at: None,
            kill_logged: false,
            suspended: false,
            continued: false,
            exited_at: 0,
            group_left: false,
            sweeping: false,
            sweep_killed_at: None,
            pending: None,
            decided: None,
            wait: None,
            streak: 0,
            restarts: Vec::new(),
            code: 0,
            failed: false,
            ends_container: false,
            started: false,
            probes: plan.probes.iter().map(|_| ProbeLife::default()).collect(),
        }
    }

    /// Its leader runs and nobody has asked it to stop.
    fn is_up(&self) -> bool {
        self.leader == Leader::Alive && self.asked.is_none() && !self.kill_logged && self.killed_at.is_none()
    }

    fn is_ready(&self, plan: &ServicePlan) -> bool {
        let passes =
            |(life, plan): (&ProbeLife, &ProbePlan)| plan.kind == ProbeKind::Liveness || life.passing == Some(true);
        self.is_up() && self.probes.iter().zip(&plan.probes).all(passes)
    }

    /// Starts the clocks of the probes that may be called now.
    fn release_probes(&mut self, plan: &ServicePlan, now: u64) {
        let waiting = self
            .probes
            .iter()
            .zip(&plan.probes)
            .any(|(life, plan)| plan.kind == ProbeKind::Startup && life.passing != Some(true));
        self.started |= !waiting;
        for (life, plan) in self.probes.iter_mut().zip(&plan.probes) {
            match plan.kind {
                ProbeKind::Startup if life.passing == Some(true) => life.from = None,
                ProbeKind::Startup => life.from = life.from.or(Some(now + plan.initial_delay.0)),
                _ if waiting => {}
                _ => life.from = life.from.or(Some(now + plan.initial_delay.0)),
            }
        }
    }
}

impl ProbeLife {
    fn count(&mut self, plan: &ProbePlan, outcome: &Outcome) {
        self.call = None;
        match outcome {
            Outcome::Pass => {
                (self.passes, self.failures, self.unknowns) = (self.passes + 1, 0, 0);
                if self.passes >= plan.success_threshold {
                    self.passing = Some(true);
                }
            }
            Outcome::Fail(_) => {
                (self.passes, self.failures, self.unknowns) = (0, self.failures + 1, 0);
                if self.failures >= plan.failure_threshold {
                    self.passing = Some(false);
                }
            }
            Outcome::Unknown(_) => {
                self.unknowns += 1;
                if plan.unknown_threshold.is_some_and(|limit| self.unknowns >= limit) {
                    // Counts as failing, so a row of passes ends here.
                    self.passes = 0;
                    self.passing = Some(false);
                }
            }
        }
    }
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(plan: &'a Plan, before: Status) -> Ledger<'a> {
        Ledger {
            plan,
            before,
            deadline: None,
            now: 0,
            frozen: 0,
            slack: 0,
            unnoticed: 0,
            lives: plan.services.iter().map(Life::new).collect(),
            stop_signals: 0,
            first_stop: 0,
            second_stop: 0,
            told: None,
            told_first: false,
            ender: None,
            all_gone: None,
            descendants_gone: false,
            killed_all_at: None,
            exited: false,
            dues: 0,
            last_call: 0,
            stale: false,
            meaning: None,
            listeners: Vec::new(),
        }
    }

    /// Writes one step into the books and holds every rule against it.
    pub(crate) fn check(&mut self, step: Step<'_>) -> Result<(), Breach> {
        self.write_fact(&step);
        for action in step.actions {
            for (invariant, rule) in ORDERS {
                rule(self, &step, action).map_err(|story| Breach { invariant, story })?;
            }
            self.write_order(action);
        }
        self.write_decisions(&step);
        for (invariant, rule) in STATES {
            rule(self, &step).map_err(|story| Breach { invariant, story })?;
        }
        self.before = step.after;
        self.deadline = step.deadline;
        Ok(())
    }

    fn life(&self, service: u16) -> &Life {
        &self.lives[usize::from(service)]
    }

    fn service(&self, service: u16) -> &ServicePlan {
        &self.plan.services[usize::from(service)]
    }

    fn name(&self, service: u16) -> &str {
        &self.service(service).name
    }

    fn write_fact(&mut self, step: &Step<'_>) {
        if let Event::Thawed { gap } = step.event {
            self.frozen += gap.0;
        }
        self.slack += step.unnoticed.0 - self.unnoticed;
        self.unnoticed = step.unnoticed.0;
        if let Some(deadline) = self.deadline {
            self.slack += step.now.since(thawed(step, deadline)).0;
        }
        let now = step.now.0.saturating_sub(self.frozen);
        self.now = now;
        self.stale = false;
        self.meaning = None;
        for life in &mut self.lives {
            life.decided = None;
        }
        let up = |(_, life): &(usize, &Life)| life.leader == Leader::Alive && !life.kill_logged;
        self.listeners = self.lives.iter().enumerate().filter(up).map(|(at, _)| at).collect();
        match step.event {
            Event::Spawned { service, pid, .. } => {
                let plan = &self.plan.services[usize::from(service.0)];
                let life = &mut self.lives[usize::from(service.0)];
                (life.leader, life.pid, life.since) = (Leader::Alive, pid.0, now);
                life.probes = plan.probes.iter().map(|_| ProbeLife::default()).collect();
                if self.told.is_none() {
                    life.release_probes(plan, now);
                }
            }
            Event::SpawnFailed { service, reason, .. } => {
                let life = &mut self.lives[usize::from(service.0)];
                life.leader = Leader::Failed;
                life.code = reason.code;
                life.pending = Some((End::SpawnFailed, 0));
            }
            Event::Exited { service, run, exit, group_left, .. } => {
                let life = &mut self.lives[usize::from(service.0)];
                if run.0 != life.run || life.leader != Leader::Alive {
                    self.stale = true;
                } else {
                    life.leader = Leader::Reaped;
                    life.code = exit.code();
                    life.exited_at = now;
                    life.group_left = *group_left;
                    life.sweeping = *group_left && self.plan.services[usize::from(service.0)].stop.sweep;
                    let end = match life.asked.map(|asked| asked.why) {
                        Some(StopReason::Ttl) => End::Ttl,
                        Some(StopReason::Probe(_)) => End::Unhealthy,
                        Some(StopReason::Shutdown | StopReason::Leftover) | None => End::Exit(*exit),
                    };
                    life.pending = Some((end, now - life.since));
                }
            }
            Event::GroupGone { service, run } => {
                let life = &mut self.lives[usize::from(service.0)];
                if run.0 == life.run {
                    life.group_left = false;
                    life.sweeping = false;
                }
            }
            Event::Stopped { service, run } => {
                let life = &mut self.lives[usize::from(service.0)];
                life.suspended |= run.0 == life.run && life.leader == Leader::Alive;
            }
            Event::DescendantsGone => self.descendants_gone = true,
            Event::ProbeAnswered { probe, call, outcome, .. } => {
                let plan = &self.plan.services[usize::from(probe.service.0)];
                let life = &mut self.lives[usize::from(probe.service.0)];
                if life.probes[usize::from(probe.index)].call == Some(call.0) {
                    life.probes[usize::from(probe.index)].count(&plan.probes[usize::from(probe.index)], outcome);
                    life.release_probes(plan, now);
                } else {
                    self.stale = true;
                }
            }
            Event::SignalArrived { signal } => self.write_signal(*signal),
            Event::Started | Event::Thawed { .. } | Event::Due => {}
        }
        let delay = self.plan.signals.delay.0;
        let passed_on = match self.stop_signals {
            0 => false,
            1 => delay == 0 || (matches!(step.event, Event::Due) && now >= self.first_stop + delay),
            _ => true,
        };
        if passed_on && self.told.is_none() {
            self.told = Some(now);
        }
        self.told_first = self.told.is_some();
    }

    fn write_signal(&mut self, arrived: Signal) {
        let signals = &self.plan.signals;
        let rewrite = signals.rewrite.iter().find(|(from, _)| *from == arrived).map(|(_, to)| *to);
        let meaning = match rewrite {
            Some(Signal(0)) => Meaning::Dropped,
            _ if signals.suspend.contains(arrived) => Meaning::Suspend(rewrite.unwrap_or(Signal::STOP)),
            _ if signals.stop.contains(arrived) => Meaning::Stop,
            _ if signals.forward.contains(arrived) => Meaning::Forward(rewrite.unwrap_or(arrived)),
            _ => Meaning::Nothing,
        };
        self.meaning = Some(meaning);
        if meaning == Meaning::Stop {
            self.stop_signals += 1;
            match self.stop_signals {
                1 => self.first_stop = self.now,
                2 => self.second_stop = self.now,
                _ => {}
            }
        }
    }

    fn write_order(&mut self, action: &Action) {
        let now = self.now;
        match action {
            Action::Spawn { service, run } => {
                self.write_restart(usize::from(service.0));
                let life = &mut self.lives[usize::from(service.0)];
                (life.run, life.leader) = (run.0, Leader::Ordered);
                (life.asked, life.killed_at, life.sweep_killed_at, life.wait) = (None, None, None, None);
                (life.kill_logged, life.suspended, life.continued) = (false, false, false);
                (life.group_left, life.sweeping) = (false, false);
            }
            Action::Signal { service, signal, scope, .. } => {
                let life = &mut self.lives[usize::from(service.0)];
                if let Some(asked) = &mut life.asked {
                    asked.sent |= *signal == asked.signal;
                    life.continued |= *signal == Signal::CONT;
                }
                if *signal == Signal::CONT {
                    life.suspended = false;
                }
                if *signal == Signal::KILL && life.leader == Leader::Alive {
                    life.killed_at = life.killed_at.or(Some(now));
                }
                if *signal == Signal::KILL && life.sweeping && *scope == Scope::Group {
                    life.sweep_killed_at = life.sweep_killed_at.or(Some(now));
                }
            }
            Action::SignalAll { signal } => {
                if *signal == Signal::KILL {
                    self.killed_all_at = self.killed_all_at.or(Some(now));
                }
            }
            Action::RunProbe { probe, call, .. } => {
                self.last_call = call.0;
                let life = &mut self.lives[usize::from(probe.service.0)].probes[usize::from(probe.index)];
                (life.call, life.called_at) = (Some(call.0), Some(now));
            }
            Action::CancelProbe { probe, .. } => {
                let plan = &self.plan.services[usize::from(probe.service.0)].probes[usize::from(probe.index)];
                let up = self.lives[usize::from(probe.service.0)].is_up();
                let life = &mut self.lives[usize::from(probe.service.0)].probes[usize::from(probe.index)];
                let lost = life.called_at.is_some_and(|at| now >= at + plan.timeout.0 + ANSWER_SLACK);
                life.call = None;
                if up && lost {
                    life.count(plan, &Outcome::Unknown(String::new()));
                }
            }
            Action::Log(record) => {
                let Some(service) = record.service else { return };
                let life = &mut self.lives[usize::from(service.0)];
                match record.entry {
                    Entry::Stopping { reason, signal } => {
                        life.asked = Some(Asked { at: now, why: reason, signal, sent: false });
                    }
                    Entry::Killed if life.leader == Leader::Alive => life.kill_logged = true,
                    Entry::GivenUpOn if life.leader == Leader::Alive => {
                        life.leader = Leader::GivenUp;
                        life.code = Signal::KILL.exit_code();
                        life.pending = Some((End::Exit(Exit::Signaled(Signal::KILL)), now - life.since));
                    }
                    Entry::GivenUpOn => (life.sweeping, life.group_left) = (false, false),
                    _ => {}
                }
            }
            Action::Exit { .. } => self.exited = true,
            Action::AwaitDescendants | Action::Suspend | Action::Publish => {}
        }
    }

    /// Restarts in the limit's window that ends now.
    fn recent(&self, service: usize) -> usize {
        let within = self.plan.services[service].restart.limit.map_or(0, |limit| limit.within.0);
        self.lives[service].restarts.iter().filter(|&&at| at.saturating_add(within) > self.now).count()
    }

    fn judge(&self, service: usize, end: End) -> Verdict {
        let plan = &self.plan.services[service].restart;
        let wanted = match plan.policy {
            RestartPolicy::Never => false,
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => end != End::Exit(Exit::Code(0)),
        };
        match plan.limit {
            _ if !wanted => Verdict::End,
            Some(limit) if end != End::Ttl && self.recent(service) as u64 >= u64::from(limit.count) => Verdict::Limit,
            _ => Verdict::Restart,
        }
    }

    /// When the run after this end may begin.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "waits are below 2^53 ns"
    )]
    fn wait(&self, service: u16, end: End, lasted: u64) -> Wait {
        let plan = self.service(service).restart.backoff;
        if end == End::Ttl {
            return Wait { earliest: self.now, latest: self.now };
        }
        let fresh = end != End::SpawnFailed && lasted >= plan.reset_after.0;
        let streak = if fresh { 0 } else { self.life(service).streak };
        let growth = (f64::from(plan.factor) / 1000.0).powi(streak);
        let cap = plan.cap.max(plan.initial).0 as f64;
        let full = if plan.initial.0 == 0 { 0.0 } else { (plan.initial.0 as f64 * growth).min(cap) };
        let least = full * (1.0 - f64::from(plan.jitter) / 1000.0);
        // The engine rounds down to whole nanoseconds each time it multiplies: a thousandth, at the slowest growth from a millisecond.
        let blur = full / 1e3 + 1.0;
        let floor = if end == End::SpawnFailed { SPAWN_RETRY_FLOOR } else { 0 };
        let earliest = ((least - blur).max(0.0) as u64).max(floor);
        let latest = ((full + blur) as u64).max(floor);
        Wait { earliest: self.now + earliest, latest: self.now + latest }
    }

    /// Writes down that the pending end, if there is one, leads to another run.
    fn write_restart(&mut self, at: usize) {
        let Some((end, lasted)) = self.lives[at].pending.take() else { return };
        let wait = self.wait(u16::try_from(at).unwrap_or(0), end, lasted);
        let verdict = self.judge(at, end);
        let backoff = self.plan.services[at].restart.backoff;
        let within = self.plan.services[at].restart.limit.map_or(0, |limit| limit.within.0);
        let now = self.now;
        let life = &mut self.lives[at];
        life.restarts.retain(|at| at.saturating_add(within) > now);
        life.decided = Some((end, verdict));
        life.wait = Some(wait);
        if end == End::Ttl {
            life.streak = 0;
            return;
        }
        let fresh = end != End::SpawnFailed && lasted >= backoff.reset_after.0;
        life.streak = if fresh { 1 } else { life.streak + 1 };
        life.restarts.push(self.now);
    }

    /// Writes down what the step decided about runs that ended, and whether it began the container's end.
    fn write_decisions(&mut self, step: &Step<'_>) {
        for at in 0..self.lives.len() {
            if self.lives[at].sweeping {
                continue;
            }
            let Some((end, _)) = self.lives[at].pending else { continue };
            match step.after.services[at].state {
                StateName::BackingOff => self.write_restart(at),
                _ => {
                    let verdict = self.judge(at, end);
                    let life = &mut self.lives[at];
                    life.pending = None;
                    life.decided = Some((end, verdict));
                    if !self.told_first {
                        let success = matches!(end, End::Ttl | End::Exit(Exit::Code(0)));
                        life.failed = match verdict {
                            Verdict::Restart => false,
                            Verdict::End => !success,
                            Verdict::Limit => true,
                        };
                        let then = self.plan.services[at].restart.limit.map(|limit| limit.then);
                        life.ends_container = verdict == Verdict::Limit && then == Some(LimitAction::EndContainer);
                    }
                }
            }
        }
        let ended = |at: usize| step.after.services[at].state == StateName::Ended;
        if self.told.is_none() {
            // One that only waited for its next run ends with the container, not before it.
            let decides = |at: &usize| {
                let life = &self.lives[*at];
                let by_itself = life.decided.is_some_and(|(_, verdict)| verdict != Verdict::Restart);
                ended(*at) && by_itself && (self.plan.services[*at].essential || life.ends_container)
            };
            self.ender = (0..self.lives.len()).find(decides);
            let none_left = !self.lives.is_empty() && (0..self.lives.len()).all(ended);
            if self.ender.is_some() || none_left {
                self.told = Some(self.now);
            }
        }
        let gone = self.told.is_some()
            && (0..self.lives.len()).all(ended)
            && (!self.plan.ending.wait_for_descendants || self.descendants_gone);
        if gone {
            self.all_gone = self.all_gone.or(Some(self.now));
        }
        let due = matches!(step.event, Event::Due) && step.deadline.is_some_and(|at| at <= step.now);
        self.dues = if due { self.dues + 1 } else { 0 };
    }
}
