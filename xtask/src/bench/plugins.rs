//! The plugin host alone: how fast a worker is there, what loading and calling cost on the wall, of the processor and in memory, beside the
//! processes that a check by command spawns.
//!
//! Times are taken where PID 1 would take them, by `broker`. What PID 1 itself spends is not in them: that is in the part `probe`, which calls
//! a plugin through all of hilum.

use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Series, Taken, Worker};
use super::contestant::UP;
use super::guest::{self, Form, Guest, Plugin};
use super::http::Server;
use super::idle::{Memory, float, memory_of, processor_time};
use super::probe::{micros, spawn};
use super::rig::{PATIENCE, Rig};
use super::sample::Samples;
use super::table::{Goal, Measure, Role, Row, Unit};
use super::{Bench, WARM_UP};
use crate::process;
use crate::workspace;

/// Calls of one guest in a row, before the next has its turn: the first is cold, the others are not.
const ROW: usize = 20;

/// Calls in flight at once, and what the measures of it are called.
const DEPTHS: [(usize, &str, &str); 3] = [
    (1, "calls, one at a time", "processor time of a call, one at a time"),
    (8, "calls, 8 at once", "processor time of a call, 8 at once"),
    (64, "calls, 64 at once", "processor time of a call, 64 at once"),
];

/// Calls of one sample of the above. A sample of the fastest takes tens of milliseconds, and 64 at once are at their full number for most of
/// it.
const CROWD: usize = 500;

/// Probes a second that come whether the last one was answered or not, and seconds of them.
const RATE: u32 = 1_000;
const SECONDS: usize = 5;

/// Plugins a worker has loaded, and what the measures of its memory are called.
const LOADED: [u16; 6] = [0, 1, 2, 4, 8, 16];
const PSS: [&str; LOADED.len()] =
    ["PSS, no plugin", "PSS, 1 plugin", "PSS, 2 plugins", "PSS, 4 plugins", "PSS, 8 plugins", "PSS, 16 plugins"];
const DIRTY: [&str; LOADED.len()] = [
    "private dirty, no plugin",
    "private dirty, 1 plugin",
    "private dirty, 2 plugins",
    "private dirty, 4 plugins",
    "private dirty, 8 plugins",
    "private dirty, 16 plugins",
];

/// Plugins whose memory is taken, each from a file of its own, and what they are called when all are from one, as when a plan has a plugin under
/// several names with grants of their own.
const ONE_FILE: [(&str, &str); 2] =
    [("echo, native", "echo, all of one file"), ("probe-http, native", "probe-http, all of one file")];

/// The goal for a worker's PSS: so much, and so much for each plugin. **Units:** kB.
const ROOM: (f64, f64) = (1536.0, 64.0);

/// Calls that wait for a server that says nothing.
const PARKED: u16 = 64;

/// Fewest and most samples of memory: it hardly varies.
const FOOTPRINTS: (usize, usize) = (3, 10);

/// What a check by command is at its least, with a shell, and with curl.
const SPAWNED: [(&str, Role); 3] =
    [("spawned no-op", Role::Floor), ("spawned sh -c true", Role::Peer), ("spawned curl", Role::Peer)];

pub(super) fn measure(bench: &Bench) -> Result<Vec<Measure>, String> {
    let mut guests = guest::prepare()?;
    refuse_unloadable(bench, &mut guests)?;
    let servers = Servers { http: Server::start()?, tcp: Server::closing()? };
    let spawned = spawned(bench, &servers)?;
    let mut measures = vec![cold_starts(bench, &guests, &spawned)?, loads(bench, &guests, &spawned)?];
    measures.extend(latencies(bench, &guests, &servers, &spawned)?);
    measures.extend(rates(bench, &guests, &servers, &spawned)?);
    measures.extend(open_loop(bench, &guests, &servers)?);
    measures.extend(memory(bench, &guests)?);
    measures.extend(warm(bench, &guests, &servers)?);
    measures.extend(parked(bench, &guests)?);
    Ok(measures)
}

/// Who answers.
#[derive(Debug)]
struct Servers {
    http: Server,
    tcp: Server,
}

impl Servers {
    /// Settings that a plugin is called with, and what is in the frame of a good answer.
    fn question(&self, plugin: Plugin) -> (String, String) {
        match plugin {
            Plugin::Echo | Plugin::Http => plugin.question(self.http.address),
            Plugin::Tcp => plugin.question(self.tcp.address),
        }
    }
}

/// Takes the file of every guest that this hilum does not load, with its reason: `hilum-tiny` has no interpreter.
fn refuse_unloadable(bench: &Bench, guests: &mut [Guest]) -> Result<(), String> {
    let mut worker = Worker::start(bench)?;
    for (index, guest) in (0..).zip(guests) {
        if let Err(why) = worker.load(index, guest, true)? {
            process::say(&format!("bench: {}: {why}", guest.name));
            // What the table has room for.
            guest.file = Err(why.split(": ").take(2).collect::<Vec<_>>().join(": "));
        }
    }
    Ok(())
}

/// A row of a guest: `samples`, or why it has none.
fn row(guest: &Guest, samples: &Samples) -> Row {
    match &guest.file {
        Ok(_) => Row::named(guest.name, Role::Hilum, samples.clone()),
        Err(why) => Row::absent(guest.name, Role::Hilum, why),
    }
}

fn find<'a>(guests: &'a [Guest], name: &str) -> Result<&'a Guest, String> {
    guests.iter().find(|guest| guest.name == name).ok_or_else(|| format!("bug: no guest {name}"))
}

/// What is beside a worker in a container, so that what all share of one file counts as shared: a PID 1 and its status worker.
fn company(bench: &Bench) -> Result<Rig, String> {
    let mut rig = Rig::start(bench, &UP.prepare(bench, "hold")?)?;
    rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
    Ok(rig)
}

/// Has the kernel forget what it holds of a program that nobody runs just now, so that it is read from the disk as on a machine that did not build it:
/// what was written lies in the page cache in larger pieces, of which more than is used is counted as a process's memory.
fn read_anew(program: &Path) -> Result<(), String> {
    process::ask(Command::new("sync").arg(program))?;
    let mut input = OsString::from("if=");
    input.push(program);
    process::ask(Command::new("dd").arg(input).args(["iflag=nocache", "count=0", "status=none"])).map(drop)
}

/// A worker with all guests, each at its place in the list.
fn worker_with(bench: &Bench, guests: &[Guest]) -> Result<Worker, String> {
    let mut worker = Worker::start(bench)?;
    for (index, guest) in (0..).zip(guests).filter(|(_, guest)| guest.file.is_ok()) {
        worker.load(index, guest, true)?.map_err(|why| format!("{}: {why}", guest.name))?;
    }
    worker.seal()?;
    Ok(worker)
}

/// What each of [`SPAWNED`] took, on the wall and of the processor.
type Spawned = [(Samples, Samples); SPAWNED.len()];

fn spawned(bench: &Bench, servers: &Servers) -> Result<Spawned, String> {
    process::say(&format!("bench: spawned checks, {} rounds of {}", bench.rounds, SPAWNED.len()));
    let program =
        |name: &str| workspace::find_on_path(name).ok_or_else(|| format!("cannot find {name} though it is installed"));
    let url = format!("http://{}/", servers.http.address);
    let words = |program: OsString, words: &[&str]| -> Vec<OsString> {
        [program].into_iter().chain(words.iter().map(OsString::from)).collect()
    };
    let commands = [
        words(bench.child.clone().into(), &[]),
        words(program("sh")?.into(), &["-c", "true"]),
        words(program("curl")?.into(), &["-fsS", "-o", "/dev/null", &url]),
    ];
    let mut taken = Spawned::default();
    for round in 0..WARM_UP + bench.rounds {
        for (command, (wall, cpu)) in commands.iter().zip(&mut taken) {
            let sample = spawn(bench, command)?;
            if round >= WARM_UP {
                wall.push(sample.0);
                cpu.push(sample.1);
            }
        }
    }
    Ok(taken)
}

/// Rows of the spawned, as many as are wanted of them, from the least.
fn spawned_rows(spawned: &Spawned, count: usize, pick: impl Fn(&(Samples, Samples)) -> Samples) -> Vec<Row> {
    let rows = SPAWNED.iter().zip(spawned).take(count);
    rows.map(|((name, role), taken)| Row::named(name, *role, pick(taken))).collect()
}

/// From a worker's execve to its hello, to its first plugin, to its being sealed.
fn cold_starts(bench: &Bench, guests: &[Guest], spawned: &Spawned) -> Result<Measure, String> {
    process::say(&format!("bench: cold starts of a worker, {} rounds", bench.rounds));
    let guest = find(guests, "probe-http, native")?;
    let (mut hello, mut first, mut sealed) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..WARM_UP + bench.rounds {
        let mut worker = Worker::start(bench)?;
        let loaded = worker.load(0, guest, true)?.ok();
        let at = worker.seal()?;
        if round >= WARM_UP {
            let since = |at: u64| micros(at.saturating_sub(worker.executed));
            hello.push(since(worker.greeted));
            if let Some((_, loaded)) = loaded {
                first.push(since(loaded));
                sealed.push(since(at));
            }
        }
    }
    let mut rows = spawned_rows(spawned, 2, |(wall, _)| wall.clone());
    rows.push(Row::named("worker to its hello", Role::Hilum, hello));
    let told = |name, samples| match &guest.file {
        Ok(_) => Row::named(name, Role::Hilum, samples),
        Err(why) => Row::absent(name, Role::Hilum, why),
    };
    rows.push(told("worker to probe-http loaded", first));
    rows.push(told("worker to sealed", sealed));
    Ok(Measure::new("cold start of a worker", Unit::Microseconds, rows, Goal::None))
}

/// From the order to load to `Loaded`, as the first plugin of a worker.
fn loads(bench: &Bench, guests: &[Guest], spawned: &Spawned) -> Result<Measure, String> {
    const TRUSTED: &str = "probe-http, native, not pinned";
    process::say(&format!("bench: loads, {} rounds", bench.rounds));
    let guests: Vec<&Guest> =
        guests.iter().filter(|guest| guest.plugin != Plugin::Tcp && guest.form != Form::Reused).collect();
    let mut taken = vec![Samples::default(); guests.len()];
    // Without a digest there is nothing to hash, but the file has to be root's.
    let mut trusted = Ok(Samples::default());
    for round in 0..WARM_UP + bench.rounds {
        for (guest, samples) in guests.iter().zip(&mut taken) {
            let loaded = Worker::start(bench)?.load(0, guest, true)?;
            if let Ok((ordered, loaded)) = loaded
                && round >= WARM_UP
            {
                samples.push(micros(loaded.saturating_sub(ordered)));
            }
            if guest.name == "probe-http, native"
                && let Ok(samples) = &mut trusted
            {
                match Worker::start(bench)?.load(0, guest, false)? {
                    Ok((ordered, loaded)) if round >= WARM_UP => {
                        samples.push(micros(loaded.saturating_sub(ordered)));
                    }
                    Ok(_) => {}
                    Err(why) => trusted = Err(why),
                }
            }
        }
    }
    let mut rows = spawned_rows(spawned, 2, |(wall, _)| wall.clone());
    rows.extend(guests.iter().zip(&taken).map(|(guest, samples)| row(guest, samples)));
    rows.push(match trusted {
        Ok(samples) => Row::named(TRUSTED, Role::Hilum, samples).noted("trusted as root's file"),
        Err(why) => Row::absent(TRUSTED, Role::Hilum, &why),
    });
    let goal = Goal::RowAtMost { who: "probe-http, native", most: 1_000.0 };
    Ok(Measure::new("load of a plugin", Unit::Microseconds, rows, goal))
}

/// From the frame of a call to the frame of its answer.
fn latencies(bench: &Bench, guests: &[Guest], servers: &Servers, spawned: &Spawned) -> Result<Vec<Measure>, String> {
    process::say(&format!("bench: calls one by one, {} rounds of {ROW}", bench.rounds));
    let mut worker = worker_with(bench, guests)?;
    let mut taken = vec![Samples::default(); guests.len()];
    // What of a call is the way to the worker and back: one of a plugin that is not there.
    let mut way = Samples::default();
    let mut bare = Worker::bare(bench)?;
    let mut least = Samples::default();
    for round in 0..WARM_UP + bench.rounds {
        let calls = bare.calls(0, "{}", "pass", Series { count: ROW, depth: 1, gap: 0 })?;
        if round >= WARM_UP {
            calls.each.into_iter().for_each(|call| least.push(call));
        }
        let calls = worker.calls(u16::MAX, "{}", "is not loaded", Series { count: ROW, depth: 1, gap: 0 })?;
        if round >= WARM_UP {
            calls.each.into_iter().for_each(|call| way.push(call));
        }
        for ((index, guest), samples) in (0..).zip(guests).zip(&mut taken).filter(|((_, guest), _)| guest.file.is_ok())
        {
            let (settings, want) = servers.question(guest.plugin);
            let calls = worker.calls(index, &settings, &want, Series { count: ROW, depth: 1, gap: 0 })?;
            if round >= WARM_UP {
                calls.each.into_iter().for_each(|call| samples.push(call));
            }
        }
    }
    let worst = |samples: &Samples| samples.p99().map_or_else(Samples::default, Samples::exactly);
    let mut rows = spawned_rows(spawned, SPAWNED.len(), |(wall, _)| wall.clone());
    rows.push(Row::named("to a process and back", Role::Floor, least.clone()).noted("one that only answers"));
    rows.push(Row::named("to the worker and back", Role::Hilum, way.clone()).noted("a plugin that is not there"));
    rows.extend(guests.iter().zip(&taken).map(|(guest, samples)| row(guest, samples)));
    let mut last = spawned_rows(spawned, SPAWNED.len(), |(wall, _)| worst(wall));
    last.push(Row::named("to a process and back", Role::Floor, worst(&least)));
    last.push(Row::named("to the worker and back", Role::Hilum, worst(&way)));
    last.extend(guests.iter().zip(&taken).map(|(guest, samples)| row(guest, &worst(samples))));
    let goal = Goal::RowAtMost { who: "echo, reused", most: 50.0 };
    Ok(vec![
        Measure::new("call", Unit::Microseconds, rows, goal),
        Measure::new("call, 99th percentile", Unit::Microseconds, last, Goal::None),
    ])
}

/// Calls a second when the next one follows as soon as there is room, and the worker's processor time for one.
fn rates(bench: &Bench, guests: &[Guest], servers: &Servers, spawned: &Spawned) -> Result<Vec<Measure>, String> {
    let rounds = bench.rounds.div_ceil(20);
    process::say(&format!("bench: calls in a closed loop, {rounds} rounds of {CROWD} at {} depths", DEPTHS.len()));
    let mut worker = worker_with(bench, guests)?;
    let mut taken = vec![vec![(Samples::default(), Samples::default()); guests.len()]; DEPTHS.len()];
    for round in 0..=rounds {
        for (&(depth, ..), taken) in DEPTHS.iter().zip(&mut taken) {
            for ((index, guest), (rate, cpu)) in (0..).zip(guests).zip(taken) {
                if guest.file.is_err() || guest.plugin == Plugin::Tcp {
                    continue;
                }
                let (settings, want) = servers.question(guest.plugin);
                let before = processor_time(worker.pid)?;
                let series = Series { count: CROWD, depth, gap: 0 };
                let Taken { whole, .. } = worker.calls(index, &settings, &want, series)?;
                let spent = processor_time(worker.pid)?.saturating_sub(before);
                // The first one warms up.
                if round > 0 {
                    rate.push(per_second(whole / count(CROWD)));
                    cpu.push(micros(spent) / count(CROWD));
                }
            }
        }
    }
    let mut measures = Vec::new();
    for ((depth, rate, cpu), taken) in DEPTHS.into_iter().zip(taken) {
        // One after another: what several at once take is the machine's, not the check's.
        let one = if depth == 1 { SPAWNED.len() } else { 0 };
        let mut rates = spawned_rows(spawned, one, |(wall, _)| inverse(wall));
        let mut times = spawned_rows(spawned, SPAWNED.len(), |(_, cpu)| cpu.clone());
        for (guest, (rate, cpu)) in guests.iter().zip(&taken).filter(|(guest, _)| guest.plugin != Plugin::Tcp) {
            rates.push(row(guest, rate));
            times.push(row(guest, cpu));
        }
        measures.push(Measure::new(rate, Unit::PerSecond, rates, Goal::None));
        measures.push(Measure::new(cpu, Unit::Microseconds, times, Goal::None));
    }
    Ok(measures)
}

/// Probes that come at their rate whether the last one was answered or not, beside the same connections made by this program: what is above
/// those is the price of the plugin host.
fn open_loop(bench: &Bench, guests: &[Guest], servers: &Servers) -> Result<Vec<Measure>, String> {
    const ABOVE: [(Form, &str); 2] = [
        (Form::Native, "probe-tcp, native, above plain connects"),
        (Form::Reused, "probe-tcp, reused, above plain connects"),
    ];
    process::say(&format!("bench: {RATE} TCP probes a second, {SECONDS} s each"));
    let guests: Vec<&Guest> = guests.iter().filter(|guest| guest.plugin == Plugin::Tcp).collect();
    let (settings, want) = servers.question(Plugin::Tcp);
    let gap = u64::from(1_000_000_000 / RATE);
    let series = Series { count: usize::try_from(RATE).unwrap_or(1), depth: 256, gap };
    let mut workers = Vec::new();
    for guest in &guests {
        let mut worker = Worker::start(bench)?;
        let loaded = worker.load(0, guest, true)?.is_ok();
        worker.seal()?;
        workers.push(loaded.then_some(worker));
    }
    let (mut plain, mut above) = (Samples::default(), <[Samples; ABOVE.len()]>::default());
    let mut taken = vec![(Samples::default(), Samples::default()); guests.len()];
    for _ in 0..SECONDS {
        let bare = connect_plainly(servers, gap)?;
        plain.push(bare);
        for ((guest, worker), (share, latency)) in guests.iter().zip(&mut workers).zip(&mut taken) {
            let Some(worker) = worker else { continue };
            let before = processor_time(worker.pid)?;
            let calls = worker.calls(0, &settings, &want, series)?;
            let used = percent(processor_time(worker.pid)?.saturating_sub(before), calls.whole);
            share.push(used);
            calls.each.into_iter().for_each(|call| latency.push(call));
            let place = ABOVE.iter().zip(&mut above).find(|((form, _), _)| *form == guest.form);
            if let Some((_, above)) = place {
                above.push(used - bare);
            }
        }
    }
    let mut shares =
        vec![Row::named("plain connects", Role::Floor, plain).noted("by this program, its wake-ups included")];
    shares.extend(guests.iter().zip(&taken).map(|(guest, (share, _))| row(guest, share)));
    let above = ABOVE.into_iter().zip(above).filter(|(_, above)| above.len() > 0);
    shares.extend(above.map(|((_, name), above)| Row::named(name, Role::Hilum, above)));
    let latencies = guests.iter().zip(&taken).map(|(guest, (_, latency))| row(guest, latency)).collect();
    let [_, (_, who)] = ABOVE;
    let goal = Goal::RowAtMost { who, most: 5.0 };
    Ok(vec![
        Measure::new("share of a core, 1,000 TCP probes a second", Unit::Percent, shares, goal),
        Measure::new("call, 1,000 TCP probes a second", Unit::Microseconds, latencies, Goal::None),
    ])
}

/// A second of connections `gap` nanoseconds apart; the processor time they took this thread, in percent.
fn connect_plainly(servers: &Servers, gap: u64) -> Result<f64, String> {
    let used = || -> Result<u64, String> {
        let path = "/proc/thread-self/schedstat";
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        text.split(' ').next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("{path} is \"{text}\""))
    };
    let (begun, before) = (Instant::now(), used()?);
    for number in 0..u64::from(RATE) {
        let due = Duration::from_nanos(gap.saturating_mul(number));
        thread::sleep(due.saturating_sub(begun.elapsed()));
        TcpStream::connect(servers.tcp.address)
            .map_err(|error| format!("cannot connect to a server of ours: {error}"))?;
    }
    let spent = used()?.saturating_sub(before);
    Ok(percent(spent, begun.elapsed().as_secs_f64() * 1e6))
}

/// How often memory is taken.
fn footprints(bench: &Bench) -> usize {
    let (fewest, most) = FOOTPRINTS;
    bench.rounds.div_ceil(40).clamp(fewest, most)
}

/// What a sealed worker holds, by plugins loaded; and what one more adds.
fn memory(bench: &Bench, guests: &[Guest]) -> Result<Vec<Measure>, String> {
    let rounds = footprints(bench);
    process::say(&format!("bench: memory of a worker, {rounds} rounds of {}", LOADED.len()));
    let most = LOADED.into_iter().max().unwrap_or_default();
    let mut sets = Vec::new();
    for (name, alike) in ONE_FILE {
        let guest = find(guests, name)?;
        sets.push((guest.clone(), guest.copies(most)?));
        sets.push((Guest { name: alike, ..guest.clone() }, vec![guest.clone(); usize::from(most)]));
    }
    let guests: Vec<&Guest> = sets.iter().map(|(guest, _)| guest).collect();
    read_anew(&bench.hilum)?;
    let _company = company(bench)?;
    let mut taken = vec![vec![Footprints::default(); guests.len()]; LOADED.len()];
    for _ in 0..rounds {
        for (count, taken) in LOADED.into_iter().zip(&mut taken) {
            for ((guest, copies), footprints) in sets.iter().zip(taken).filter(|((guest, _), _)| guest.file.is_ok()) {
                let mut worker = Worker::start(bench)?;
                for (index, copy) in (0..count).zip(copies) {
                    worker.load(index, copy, true)?.map_err(|why| format!("{}: {why}", guest.name))?;
                }
                worker.seal()?;
                footprints.push(memory_of(worker.pid)?);
            }
        }
    }
    let mut measures = held(
        &guests,
        &taken,
        PSS,
        |taken| &taken.pss,
        |count| {
            let (empty, each) = ROOM;
            Goal::AtMost { most: empty + each * f64::from(count), except: "" }
        },
    );
    measures.push(more(&guests, &taken, "PSS, each further plugin", |taken| &taken.pss));
    measures.extend(held(&guests, &taken, DIRTY, |taken| &taken.dirty, |_| Goal::None));
    measures.push(more(&guests, &taken, "private dirty, each further plugin", |taken| &taken.dirty));
    Ok(measures)
}

/// A measure for each number of plugins.
fn held(
    guests: &[&Guest],
    taken: &[Vec<Footprints>],
    names: [&'static str; LOADED.len()],
    pick: fn(&Footprints) -> &Samples,
    goal: fn(u16) -> Goal,
) -> Vec<Measure> {
    let measure = |((count, name), taken): ((u16, &'static str), &Vec<Footprints>)| {
        let mut rows: Vec<Row> = guests.iter().zip(taken).map(|(guest, taken)| row(guest, pick(taken))).collect();
        if count == 0 {
            // With no plugin in it one worker is like the other.
            let first = taken.first().map(pick).cloned().unwrap_or_default();
            rows = vec![Row::named("worker", Role::Hilum, first).noted("shares its text with hilum up")];
        }
        Measure::new(name, Unit::Kilobytes, rows, goal(count))
    };
    LOADED.into_iter().zip(names).zip(taken).map(measure).collect()
}

/// What each plugin adds from the first to the most: the first also sets up what all share.
fn more(
    guests: &[&Guest],
    taken: &[Vec<Footprints>],
    name: &'static str,
    pick: fn(&Footprints) -> &Samples,
) -> Measure {
    let of = |count: u16| LOADED.iter().position(|&loaded| loaded == count).and_then(|at| taken.get(at));
    let most = LOADED.last().copied().unwrap_or_default();
    let (one, all) = (of(1).into_iter().flatten(), of(most).into_iter().flatten());
    let rows = guests
        .iter()
        .zip(one.zip(all))
        .map(|(guest, (one, all))| row(guest, &slope(pick(one), pick(all), most.saturating_sub(1))));
    Measure::new(name, Unit::Kilobytes, rows.collect(), Goal::None)
}

/// What a worker with one plugin holds after many calls, several at once: those of its instances that wait for more are in it.
fn warm(bench: &Bench, guests: &[Guest], servers: &Servers) -> Result<Vec<Measure>, String> {
    let rounds = footprints(bench);
    process::say(&format!("bench: memory after {CROWD} calls, {rounds} rounds"));
    let guests: Vec<&Guest> =
        guests.iter().filter(|guest| guest.form != Form::Interpreted && guest.plugin != Plugin::Tcp).collect();
    let _company = company(bench)?;
    let mut taken = vec![Footprints::default(); guests.len()];
    for _ in 0..rounds {
        for (guest, footprints) in guests.iter().zip(&mut taken).filter(|(guest, _)| guest.file.is_ok()) {
            let mut worker = Worker::start(bench)?;
            worker.load(0, guest, true)?.map_err(|why| format!("{}: {why}", guest.name))?;
            worker.seal()?;
            let (settings, want) = servers.question(guest.plugin);
            worker.calls(0, &settings, &want, Series { count: CROWD, depth: 8, gap: 0 })?;
            footprints.push(memory_of(worker.pid)?);
        }
    }
    let measure = |name, pick: fn(&Footprints) -> &Samples| {
        let rows = guests.iter().zip(&taken).map(|(guest, taken)| row(guest, pick(taken)));
        Measure::new(name, Unit::Kilobytes, rows.collect(), Goal::None)
    };
    Ok(vec![
        measure("PSS, 1 plugin after 500 calls", |taken| &taken.pss),
        measure("private dirty, 1 plugin after 500 calls", |taken| &taken.dirty),
    ])
}

/// What calls hold that wait in a read.
fn parked(bench: &Bench, guests: &[Guest]) -> Result<Vec<Measure>, String> {
    let rounds = footprints(bench);
    process::say(&format!("bench: {PARKED} calls in flight, {rounds} rounds"));
    let echo = find(guests, "echo, native")?;
    let guests: Vec<&Guest> =
        guests.iter().filter(|guest| guest.form == Form::Native && guest.plugin != Plugin::Echo).collect();
    let _company = company(bench)?;
    let mut taken = vec![(Footprints::default(), Footprints::default()); guests.len()];
    for _ in 0..rounds {
        for (guest, (none, all)) in guests.iter().zip(&mut taken).filter(|(guest, _)| guest.file.is_ok()) {
            let (told, asked) = mpsc::channel();
            let server = Server::holding(told)?;
            let mut worker = Worker::start(bench)?;
            worker.load(0, guest, true)?.map_err(|why| format!("{}: {why}", guest.name))?;
            worker.load(1, echo, true)?.map_err(|why| format!("{}: {why}", echo.name))?;
            worker.seal()?;
            // An echo has been once around the worker's loop: what came before it is done.
            let (text, echoed) = echo.plugin.question(server.address);
            let once = Series { count: ROW, depth: 1, gap: 0 };
            worker.calls(1, &text, &echoed, once)?;
            none.push(memory_of(worker.pid)?);
            let settings = guest.plugin.endless_question(server.address);
            for number in 0..PARKED {
                worker.ask(u64::from(number) + (1 << 32), 0, &settings)?;
            }
            for number in 0..PARKED {
                asked
                    .recv_timeout(PATIENCE)
                    .map_err(|_| format!("{}: {number} of {PARKED} calls asked in time", guest.name))?;
            }
            worker.calls(1, &text, &echoed, once)?;
            all.push(memory_of(worker.pid)?);
        }
    }
    let measure = |name, pick: fn(&Footprints) -> &Samples, each: bool| {
        let samples = |(none, all): &(Footprints, Footprints)| {
            if each { slope(pick(none), pick(all), PARKED) } else { pick(all).clone() }
        };
        let rows = guests.iter().zip(&taken).map(|(guest, taken)| row(guest, &samples(taken)));
        Measure::new(name, Unit::Kilobytes, rows.collect(), Goal::None)
    };
    Ok(vec![
        measure("PSS, 64 calls in a read", |taken| &taken.pss, false),
        measure("PSS, each call in a read", |taken| &taken.pss, true),
        measure("private dirty, 64 calls in a read", |taken| &taken.dirty, false),
        measure("private dirty, each call in a read", |taken| &taken.dirty, true),
    ])
}

/// A worker's memory, several times. **Units:** kB.
#[derive(Debug, Default, Clone)]
struct Footprints {
    pss: Samples,
    dirty: Samples,
}

impl Footprints {
    fn push(&mut self, memory: Memory) {
        self.pss.push(float(memory.pss));
        self.dirty.push(float(memory.dirty));
    }
}

/// What each of `more` things added, of the medians.
fn slope(from: &Samples, to: &Samples, more: u16) -> Samples {
    match (from.median(), to.median()) {
        (Some(from), Some(to)) => Samples::exactly((to - from) / f64::from(more)),
        _ => Samples::default(),
    }
}

/// Processor time as a part of a time. **Units:** nanoseconds of microseconds, in percent.
fn percent(spent: u64, whole: f64) -> f64 {
    micros(spent) / whole * 100.0
}

/// How many in a second take `micros` each.
fn per_second(micros: f64) -> f64 {
    1e6 / micros
}

/// Rates of what takes so long.
fn inverse(times: &Samples) -> Samples {
    let mut rates = Samples::default();
    times.iter().for_each(|time| rates.push(per_second(time)));
    rates
}

#[expect(clippy::cast_precision_loss, reason = "hundreds of calls")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{inverse, percent, slope};
    use crate::bench::sample::Samples;

    #[test]
    fn what_each_of_several_added() {
        let (from, to) = (Samples::exactly(1000.0), Samples::exactly(1480.0));
        assert_eq!(slope(&from, &to, 15), Samples::exactly(32.0));
        assert_eq!(slope(&Samples::default(), &to, 15).median(), None);
    }

    #[test]
    fn shares_and_rates_are_in_their_units() {
        // 50 ms of a second, told in nanoseconds and microseconds.
        assert_eq!(percent(50_000_000, 1e6), 5.0);
        let mut times = Samples::exactly(100.0);
        times.push(50.0);
        assert_eq!(inverse(&times).median(), Some(15_000.0));
    }
}
