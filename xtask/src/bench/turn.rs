//! Everything that is measured by doing it again and again: each contestant in turn, as many rounds as asked for.

use std::thread;
use std::time::{Duration, Instant};

use super::contestant::{Contestant, ENDING, FORWARDING, REAPING, RESTARTING, STARTING};
use super::rig::{PATIENCE, Report, Rig};
use super::sample::Samples;
use super::table::{Goal, Measure, Row, Unit};
use super::{Bench, WARM_UP};
use crate::process;

/// How long a run lasts before it crashes: s6 and runit start one that lasted less than a second only a second later.
const RUN: Duration = Duration::from_millis(1050);

/// Most rounds of what takes a second each.
const SLOW_ROUNDS: usize = 60;

/// Of so many rounds a slow contestant takes part in one.
const SLOW_SHARE: usize = 10;

/// How long orphans may stay. An init that reaps one at a time and naps between two needs longer than this for ever.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

/// From the init's execve to the child's first instruction; and the whole of `-- true` with the processor time it took.
pub(super) fn starts(bench: &Bench) -> Vec<Measure> {
    let first = take_turns("start to first instruction", STARTING, bench.rounds, |contestant| {
        let mut rig = Rig::start(bench, &contestant.prepare(bench, "start")?)?;
        let at = rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
        Ok(vec![micros(rig.executed, at)])
    });
    let whole = take_turns("whole -- true", ENDING, bench.rounds, |contestant| {
        let mut rig = Rig::start(bench, &contestant.prepare(bench, "true")?)?;
        match rig.next(PATIENCE)? {
            Some(Report::Ended { at, code: 0, cpu }) => Ok(vec![micros(rig.executed, at), micros(0, cpu)]),
            other => Err(rig.complain(&format!("wanted an end with 0, found {other:?}"))),
        }
    });
    let who = "hilum init";
    let mut measures = measures(STARTING, first, &[("start to first instruction", Goal::BelowInits { who })]);
    let goals = [("whole -- true", Goal::None), ("processor time of -- true", Goal::None)];
    measures.extend(self::measures(ENDING, whole, &goals));
    measures
}

/// From the signal's sending to its arrival in the child.
pub(super) fn stops(bench: &Bench) -> Result<Measure, String> {
    let samples = take_turns("TERM forward latency", FORWARDING, bench.rounds, |contestant| {
        let mut rig = Rig::start(bench, &contestant.prepare(bench, "term")?)?;
        rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
        settle(&rig)?;
        rig.order(b't')?;
        // Both sides may report first: the child's word comes by its own way.
        let (mut sent, mut came) = (None, None);
        while sent.is_none() || came.is_none() {
            match rig.next(PATIENCE)? {
                Some(Report::Sent { at }) => sent = Some(at),
                Some(Report::Child { kind: 't', at }) => came = Some(at),
                Some(Report::Child { .. }) => {}
                other => return Err(rig.complain(&format!("TERM did not reach the child: {other:?}"))),
            }
        }
        Ok(vec![micros(sent.unwrap_or_default(), came.unwrap_or_default())])
    });
    let goals = [("TERM forward latency", Goal::TimesBest { who: "hilum init", times: 1.1 })];
    measures(FORWARDING, samples, &goals).pop().ok_or_else(|| String::from("bug: no measure"))
}

/// From the child's end to its next first instruction. All supervisors run at once, so that the second each run must last is
/// waited for once a round.
pub(super) fn restarts(bench: &Bench) -> Result<Measure, String> {
    let rounds = bench.rounds.min(SLOW_ROUNDS);
    process::say(&format!("bench: crash to restart, {rounds} rounds of {} ms", RUN.as_millis()));
    let mut rigs = Vec::new();
    for contestant in RESTARTING {
        let mut rig = Rig::start(bench, &contestant.prepare(bench, "crash")?)?;
        rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
        rigs.push((rig, Instant::now(), Samples::default()));
    }
    for round in 0..rounds + 1 {
        for (contestant, (rig, since, samples)) in RESTARTING.iter().zip(&mut rigs) {
            thread::sleep(RUN.saturating_sub(since.elapsed()));
            rig.order(b'c')?;
            let late = |rig: &Rig| rig.complain(&format!("{}: the child did not start again", contestant.name));
            let ended = rig.child('e', PATIENCE)?.ok_or_else(|| late(rig))?;
            let again = rig.child('s', PATIENCE)?.ok_or_else(|| late(rig))?;
            *since = Instant::now();
            // The first one warms up.
            if round > 0 {
                samples.push(micros(ended, again));
            }
        }
    }
    let rows = RESTARTING
        .iter()
        .zip(rigs)
        .map(|(contestant, (_, _, samples))| Row::of(contestant, samples).noted(contestant.pace()))
        .collect();
    let goal = Goal::TimesFloor { who: "hilum supervise", times: 1.5 };
    Ok(Measure::new("crash to restart, no backoff", Unit::Microseconds, rows, goal))
}

/// From the moment that many ended children become the init's to the moment the last of them is reaped.
pub(super) fn orphans(bench: &Bench) -> Result<Measure, String> {
    let rounds = bench.rounds.div_ceil(40);
    process::say(&format!("bench: {} orphans drained, {rounds} rounds", bench.orphans));
    let mut samples = vec![Ok(Samples::default()); REAPING.len()];
    for _ in 0..rounds {
        for (contestant, samples) in REAPING.iter().zip(&mut samples) {
            let Ok(known) = samples else { continue };
            let mut rig = Rig::start(bench, &contestant.prepare(bench, "orphans")?)?;
            rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
            rig.order(b'c')?;
            let begun = rig.child('b', PATIENCE)?.ok_or_else(|| rig.complain("cannot make the orphans"))?;
            match rig.child('d', DRAIN_PATIENCE)? {
                Some(drained) => known.push(micros(begun, drained)),
                None => *samples = Err(format!("some are left after {} s", DRAIN_PATIENCE.as_secs())),
            }
        }
    }
    let rows = REAPING.iter().zip(samples).map(|(contestant, samples)| match samples {
        Ok(samples) => Row::of(contestant, samples),
        Err(why) => Row::none(contestant, &why),
    });
    Ok(Measure::new("10,000 orphans drained", Unit::Microseconds, rows.collect(), Goal::None))
}

/// Lets every contestant take its turn, round by round. A sample is one or several numbers; what fails once is left out with
/// its reason. The result has a list of samples for each contestant, one for each number.
fn take_turns(
    title: &str,
    contestants: &[Contestant],
    rounds: usize,
    mut sample: impl FnMut(&Contestant) -> Result<Vec<f64>, String>,
) -> Vec<Result<Vec<Samples>, String>> {
    process::say(&format!("bench: {title}, {rounds} rounds of {}", contestants.len()));
    let mut taken: Vec<Result<Vec<Samples>, String>> = vec![Ok(Vec::new()); contestants.len()];
    for round in 0..WARM_UP + rounds {
        for (contestant, taken) in contestants.iter().zip(&mut taken) {
            let Ok(known) = taken else { continue };
            if contestant.is_slow() && round % SLOW_SHARE != 0 {
                continue;
            }
            match sample(contestant) {
                Ok(values) if round >= WARM_UP => {
                    known.resize(values.len().max(known.len()), Samples::default());
                    known.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
                }
                Ok(_) => {}
                Err(message) => {
                    process::say(&format!("bench: {title}: {}: {message}", contestant.name));
                    *taken = Err(message.lines().next().unwrap_or_default().to_owned());
                }
            }
        }
    }
    taken
}

/// One measure for each number of a sample.
fn measures(
    contestants: &[Contestant],
    taken: Vec<Result<Vec<Samples>, String>>,
    goals: &[(&'static str, Goal)],
) -> Vec<Measure> {
    let rows = |at: usize| {
        contestants.iter().zip(&taken).map(move |(contestant, taken)| match taken {
            Ok(samples) => Row::of(contestant, samples.get(at).cloned().unwrap_or_default()),
            Err(why) => Row::none(contestant, why),
        })
    };
    let named = goals.iter().enumerate();
    named.map(|(at, (name, goal))| Measure::new(name, Unit::Microseconds, rows(at).collect(), *goal)).collect()
}

/// Waits until the init sleeps: one that still starts a worker or writes its log when the signal comes would be measured at that.
fn settle(rig: &Rig) -> Result<(), String> {
    let path = format!("/proc/{}/stat", rig.pid);
    let end = Instant::now() + PATIENCE;
    let mut asleep = 0;
    while asleep < 3 {
        let stat =
            std::fs::read_to_string(&path).map_err(|error| rig.complain(&format!("cannot read {path}: {error}")))?;
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        asleep = if state == Some('S') { asleep + 1 } else { 0 };
        if Instant::now() > end {
            return Err(rig.complain("it never sleeps"));
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// Nanoseconds between two moments, as microseconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns are three months")]
fn micros(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1000.0
}
