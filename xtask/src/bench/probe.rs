//! A health check three ways, against the same server: a call of the WASM plugin in its sandbox, a curl spawned for it as a shell
//! script's check would, and the spawning of nothing at all, which is what no spawned check can be faster than.

use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Server, get};
use super::idle::processor_time;
use super::rig::{PATIENCE, Report, Rig, Start, folder, put};
use super::sample::Samples;
use super::table::{Goal, Measure, Role, Row, Unit};
use super::{Bench, quoted};
use crate::process;
use crate::workspace;

/// How often a check is made, whichever way. Both have the goal: hilum should not be good at only one.
struct Pace {
    name: &'static str,
    processor: &'static str,
    /// Rest from one check to the next.
    rest: Duration,
}

const PACES: [Pace; 2] = [
    Pace {
        name: "HTTP probe, in a row",
        processor: "HTTP probe, in a row, processor time",
        rest: Duration::from_millis(1),
    },
    // The machine has gone to sleep and its caches are others' in between, as between the checks of a service.
    Pace {
        name: "HTTP probe, now and then",
        processor: "HTTP probe, now and then, processor time",
        rest: Duration::from_millis(20),
    },
];

/// From one look at the status to the next. It keeps the last 32 answers.
const LOOK: Duration = Duration::from_millis(320);

const WASM: &str = "WASM plugin";
const CURL: &str = "spawned curl";
const NOTHING: &str = "spawned no-op";

/// What the check took, on the wall and of the processor.
#[derive(Debug, Default)]
struct Taken {
    wall: Samples,
    cpu: Samples,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Measure>, String> {
    process::say(&format!("bench: an HTTP probe, {} rounds of {}", bench.rounds, PACES.len()));
    let server = Server::start()?;
    let mut measures = Vec::new();
    for pace in &PACES {
        measures.extend(at(bench, pace, &server)?);
    }
    Ok(measures)
}

/// All the ways at one pace.
fn at(bench: &Bench, pace: &Pace, server: &Server) -> Result<[Measure; 2], String> {
    let url = format!("http://{}/", server.address);
    let curl = workspace::find_on_path("curl").ok_or("cannot find curl though it is installed")?;
    let words = ["-fsS", "-o", "/dev/null", url.as_str()];
    let curl: Vec<OsString> = [OsString::from(curl)].into_iter().chain(words.map(OsString::from)).collect();
    let nothing = vec![OsString::from(&bench.child)];
    let (mut with_curl, mut with_nothing) = (Taken::default(), Taken::default());
    for _ in 0..bench.rounds {
        for (command, taken) in [(&curl, &mut with_curl), (&nothing, &mut with_nothing)] {
            thread::sleep(pace.rest);
            let (wall, cpu) = spawn(bench, command)?;
            taken.wall.push(wall);
            taken.cpu.push(cpu);
        }
    }
    let wasm = match &bench.plugin {
        Some(plugin) => call(bench, pace, plugin, server)?,
        None => Err(String::from("no probe-http.cwasm; run cargo xtask plugins")),
    };
    let goal = Goal::TimesRow { who: WASM, times: 0.05, other: CURL };
    let table = |name, goal, pick: fn(&Taken) -> Samples| {
        let wasm = match &wasm {
            Ok(taken) => Row::named(WASM, Role::Hilum, pick(taken)),
            Err(why) => Row::absent(WASM, Role::Hilum, why),
        };
        let nothing = Row::named(NOTHING, Role::Floor, pick(&with_nothing));
        let curl = Row::named(CURL, Role::Peer, pick(&with_curl));
        Measure::new(name, Unit::Microseconds, vec![nothing, wasm, curl], goal)
    };
    Ok([
        table(pace.name, goal, |taken| taken.wall.clone()),
        table(pace.processor, Goal::None, |taken| taken.cpu.clone()),
    ])
}

/// Runs a command from its execve to its reaping.
pub(super) fn spawn(bench: &Bench, command: &[OsString]) -> Result<(f64, f64), String> {
    let start = Start { folder: folder(bench, "spawned")?, command: command.to_vec(), child: "true", host: true };
    let mut rig = Rig::start(bench, &start)?;
    match rig.next(PATIENCE)? {
        Some(Report::Ended { at, code: 0, cpu }) => Ok((micros(at.saturating_sub(rig.executed)), micros(cpu))),
        other => Err(rig.complain(&format!("wanted an end with 0, found {other:?}"))),
    }
}

/// Lets hilum probe the server and reads from its status how long each call took its worker, from the order to the answer. The way from PID 1
/// and back, tens of microseconds, is in the processor time only.
fn call(
    bench: &Bench,
    pace: &Pace,
    plugin: &std::path::Path,
    server: &Server,
) -> Result<Result<Taken, String>, String> {
    let folder = folder(bench, "probe")?;
    let socket = folder.join("status");
    let text = |text: String| quoted(&text);
    let plan = format!(
        "[status]\nlisten = [{}]\n[service.child]\ncommand = [{}]\n[service.child.probe.http]\nplugin = \"probe-http\"\nkind = \"readiness\"\n\
         period = \"{}ms\"\ntimeout = \"2s\"\nwith = {{ url = {} }}\n[plugin.probe-http]\npath = {}\nallow = {{ connect = [{}] }}\n",
        text(format!("unix:{}", socket.display())),
        text(bench.child.display().to_string()),
        pace.rest.as_millis(),
        text(format!("http://{}/", server.address)),
        text(plugin.display().to_string()),
        text(server.address.to_string()),
    );
    put(&folder.join("hilum.toml"), &plan, 0o644)?;
    let command = vec![bench.hilum.clone().into(), "up".into(), "-c".into(), folder.join("hilum.toml").into()];
    let mut rig = Rig::start(bench, &Start { folder, command, child: "hold", host: false })?;
    rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the service did not start"))?;

    let mut taken = Taken::default();
    let mut seen = first_answer(&rig, &socket)?;
    let mut spent = processor_time(rig.pid)?;
    let end = Instant::now() + PATIENCE + LOOK * u32::try_from(bench.rounds).unwrap_or(u32::MAX);
    while taken.wall.len() < bench.rounds {
        if Instant::now() > end {
            return Err(rig.complain(&format!("{} of {} probes in time", taken.wall.len(), bench.rounds)));
        }
        thread::sleep(LOOK);
        let spent_now = processor_time(rig.pid)?;
        let probe = probe(&get(&socket, "/status")?).ok_or("the status shows no probe")?;
        let new = usize::try_from(probe.answered.saturating_sub(seen)).unwrap_or(0);
        if new > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a few calls")]
            taken.cpu.push(micros(spent_now.saturating_sub(spent)) / new as f64);
        }
        for (outcome, duration) in probe.history.iter().rev().take(new) {
            if outcome != "pass" {
                return Ok(Err(format!("a probe said {outcome}: {}", probe.message)));
            }
            taken.wall.push(*duration);
        }
        (seen, spent) = (probe.answered, spent_now);
    }
    Ok(Ok(taken))
}

/// Waits for the first pass and returns how many answers there were.
fn first_answer(rig: &Rig, socket: &std::path::Path) -> Result<u64, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        // The socket is there before the worker that answers on it, and that before the first probe.
        let found = get(socket, "/status").ok().and_then(|status| probe(&status));
        if let Some(probe) = found
            && probe.history.last().is_some_and(|(outcome, _)| outcome == "pass")
        {
            return Ok(probe.answered);
        }
        if Instant::now() > end {
            return Err(rig.complain("no probe passed"));
        }
        thread::sleep(LOOK);
    }
}

/// The only probe in a status.
#[derive(Debug, PartialEq)]
struct Probe {
    answered: u64,
    message: String,
    /// Outcome and microseconds, oldest first.
    history: Vec<(String, f64)>,
}

fn probe(status: &str) -> Option<Probe> {
    let status: Value = serde_json::from_str(status).ok()?;
    let probe = status.pointer("/services/0/probes/0")?;
    let history = probe.get("history")?.as_array()?.iter();
    let history = history
        .filter_map(|answer| Some((answer.get("outcome")?.as_str()?.to_owned(), answer.get("duration_us")?.as_f64()?)));
    Some(Probe {
        answered: probe.get("answered")?.as_u64()?,
        message: probe.get("message")?.as_str()?.to_owned(),
        history: history.collect(),
    })
}

/// Nanoseconds as microseconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns are three months")]
pub(super) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Probe, probe};

    #[test]
    fn reads_the_probe_from_a_status() {
        let status = r#"{"services":[{"probes":[{"answered":7,"message":"200","history":[{"outcome":"pass","duration_us":412}]}]}]}"#;
        let found = Probe { answered: 7, message: "200".into(), history: vec![("pass".into(), 412.0)] };
        assert_eq!(probe(status), Some(found));
        assert_eq!(probe(r#"{"services":[]}"#), None);
    }
}
