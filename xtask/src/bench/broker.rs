//! A sandbox worker and what speaks with it in PID 1's place: gives orders to `broker` (`xtask/bench/broker.c`), which sends the frames that
//! are made here, and reads what it says. The frames are the protocol of `core/wire`, written by hand: xtask knows none of our crates.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::Bench;
use super::guest::Guest;
use super::probe::micros;
use crate::workspace;

/// Time a call may take. **Units:** milliseconds. Longer than a measurement that keeps calls waiting.
const TIMEOUT_MS: u64 = 60_000;

/// A worker that has been greeted. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    reports: BufReader<ChildStdout>,
    /// Just before its execve.
    pub(super) executed: u64,
    /// When its hello came.
    pub(super) greeted: u64,
    pub(super) pid: u32,
}

/// Calls one after another, or side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) count: usize,
    /// Most in flight.
    pub(super) depth: usize,
    /// Least time from one to the next. **Units:** nanoseconds.
    pub(super) gap: u64,
}

/// What came of calls. **Units:** microseconds.
#[derive(Debug)]
pub(super) struct Taken {
    /// From the first call to the last answer.
    pub(super) whole: f64,
    /// Each call, from frame to frame.
    pub(super) each: Vec<f64>,
}

impl Worker {
    /// hilum's.
    pub(super) fn start(bench: &Bench) -> Result<Worker, String> {
        Worker::of(bench, &bench.hilum)
    }

    /// One that answers each call at once, with a pass.
    pub(super) fn bare(bench: &Bench) -> Result<Worker, String> {
        Worker::of(bench, &bench.pong)
    }

    fn of(bench: &Bench, program: &Path) -> Result<Worker, String> {
        let mut command = Command::new(&bench.broker);
        if bench.first {
            command.arg("--first");
        }
        if let Some(cpu) = &bench.cpu {
            command.args(["--cpu", cpu]);
        }
        let mut process = command
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", workspace::shorten(&bench.broker)))?;
        let output = process.stdout.take().ok_or("bug: broker has no output")?;
        let mut worker = Worker { process, reports: BufReader::new(output), executed: 0, greeted: 0, pid: 0 };
        let started = worker.report("exec")?;
        let (at, pid) = started.split_once(' ').ok_or_else(|| format!("broker said \"exec {started}\""))?;
        worker.executed = number(at)?;
        worker.pid = pid.parse().map_err(|_| format!("broker said \"exec {started}\""))?;
        let (at, hello) = worker.next()?;
        worker.greeted = at;
        let version = hello.pointer("/hello/version").ok_or_else(|| format!("the worker began with {hello}"))?;
        worker.send(&json!({ "hello": { "version": version } }).to_string())?;
        Ok(worker)
    }

    /// Loads a guest as `index`, with its digest pinned or trusted for its owner's sake; the moments of the order and of its `Loaded`.
    /// The inner error is the worker's.
    pub(super) fn load(
        &mut self,
        index: u16,
        guest: &Guest,
        pinned: bool,
    ) -> Result<Result<(u64, u64), String>, String> {
        let (path, digest) = match &guest.file {
            Ok(file) => file,
            Err(why) => return Ok(Err(why.clone())),
        };
        let frame = guest.order(index, pinned.then_some(digest));
        self.order(&format!("load\t{}\t{frame}", path.display()))?;
        let ordered = number(&self.report("sent")?)?;
        let (loaded, answer) = self.next()?;
        if answer.pointer("/loaded/plugin").and_then(Value::as_u64) == Some(index.into()) {
            return Ok(Ok((ordered, loaded)));
        }
        let why = answer.pointer("/load-failed/failure/message").and_then(Value::as_str);
        why.map(|why| Err(why.to_owned())).ok_or_else(|| format!("{} was answered with {answer}", guest.name))
    }

    /// Has the worker give up what only loading needs; when it said so.
    pub(super) fn seal(&mut self) -> Result<u64, String> {
        self.send(&json!("seal").to_string())?;
        let (at, answer) = self.next()?;
        answer.get("sealed").map(|_| at).ok_or_else(|| format!("to be sealed was answered with {answer}"))
    }

    /// Asks a plugin and waits for no answer.
    pub(super) fn ask(&mut self, id: u64, index: u16, settings: &str) -> Result<(), String> {
        self.send(&call(&id.into(), index, settings))
    }

    /// Asks a plugin again and again. Every answer has to hold `want`.
    pub(super) fn calls(&mut self, index: u16, settings: &str, want: &str, series: Series) -> Result<Taken, String> {
        let (before, after) = around_number(index, settings)?;
        let Series { count, depth, gap } = series;
        self.order(&format!("calls\t{count}\t{depth}\t{gap}\t{want}\t{before}\t{after}"))?;
        let taken = self.report("calls")?;
        let mut times = taken.split(' ').map(|time| number(time).map(micros));
        let whole = times.next().ok_or("broker said nothing of its calls")??;
        let each = times.collect::<Result<Vec<f64>, String>>()?;
        if each.len() != count {
            return Err(format!("broker made {} calls instead of {count}", each.len()));
        }
        Ok(Taken { whole, each })
    }

    fn send(&mut self, frame: &str) -> Result<(), String> {
        self.order(&format!("send\t{frame}"))?;
        self.report("sent").map(drop)
    }

    /// The next frame that is no log line, and when it came.
    fn next(&mut self) -> Result<(u64, Value), String> {
        self.order("next")?;
        let report = self.report("frame")?;
        let (at, frame) = report.split_once(' ').ok_or_else(|| format!("broker said \"frame {report}\""))?;
        let frame = serde_json::from_str(frame).map_err(|error| format!("the worker's frame {frame}: {error}"))?;
        Ok((number(at)?, frame))
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        let input = self.process.stdin.as_mut().ok_or("bug: broker takes no orders")?;
        let sent = input.write_all(format!("{order}\n").as_bytes());
        // One that is gone has said why.
        sent.or_else(|error| self.report("").and(Err(format!("cannot give broker an order: {error}"))))
    }

    /// What broker says next, which begins with `word`.
    fn report(&mut self, word: &str) -> Result<String, String> {
        let mut line = String::new();
        self.reports.read_line(&mut line).map_err(|error| format!("cannot read what broker says: {error}"))?;
        let line = line.trim_end_matches('\n');
        match line.split_once(' ') {
            Some((first, rest)) if first == word => Ok(rest.to_owned()),
            Some(("failed", why)) => Err(why.to_owned()),
            _ => Err(format!("broker said \"{line}\" where it says {word}")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is the end of broker and of the worker.
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

/// The frame of a call with the number `id`.
fn call(id: &Value, index: u16, settings: &str) -> String {
    json!({ "call": {
        "id": id,
        "plugin": index,
        "ask": { "check": { "settings": settings, "attempt": 1 } },
        "timeout_ms": TIMEOUT_MS,
        "service": null,
    } })
    .to_string()
}

/// The frame of a call up to its number and from there on.
fn around_number(index: u16, settings: &str) -> Result<(String, String), String> {
    // In the number's place a text that no settings have: in them it would have its backslash escaped again.
    let frame = call(&json!("\u{1}"), index, settings);
    let (before, after) = frame.split_once("\"\\u0001\"").ok_or("bug: a call without a number")?;
    Ok((before.to_owned(), after.to_owned()))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("broker said \"{text}\" where it says a number"))
}

#[cfg(test)]
mod tests {
    use super::{around_number, call};

    #[test]
    fn a_call_is_whole_around_any_number() -> Result<(), String> {
        for settings in ["{}", "{\"text\":\"\u{1}\"}", "\"\u{1}\""] {
            let (before, after) = around_number(3, settings)?;
            assert_eq!(format!("{before}77{after}"), call(&77.into(), 3, settings));
        }
        Ok(())
    }

    #[test]
    fn a_call_stays_on_its_line_and_between_its_tabs() {
        let frame = call(&1.into(), 0, "{\"text\":\"a\tb\nc\"}");
        assert!(!frame.contains(['\t', '\n']), "{frame}");
    }
}
