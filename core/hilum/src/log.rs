//! hilum's own log: one line per fact on standard error, never at the price of a blocked PID 1.
//!
//! A line is written at once if standard error takes it. If not, because a log driver stalled or a terminal is held, it waits in a bounded
//! ring; when the ring is full further lines are dropped, counted, and the number is said once there is room again.
//! There is no writer thread: the loop asks [`Log::wants_write`] and calls [`Log::flush`] when standard error takes more.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;

use hilum_config::{Launch, Verbosity, Voice};
use hilum_engine::{Entry, Exit, Next, ProbeKind, Record, ServiceId, ServicePlan, Span, StopReason};
use hilum_sys::output::Output;

/// Capacity of the ring. **Units:** bytes. Holds several hundred lines: a burst at the start or end of many services. Doubled, PID 1 grows by
/// as much when standard error stalls, and not otherwise.
const RING: usize = 64 * 1024;

/// How important a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// Something does not work.
    Error,
    /// Something may stop working.
    Warn,
    /// Something happened.
    Info,
    /// Why it happened.
    Debug,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    fn needs(self) -> Verbosity {
        match self {
            Level::Error => Verbosity::Error,
            Level::Warn => Verbosity::Warn,
            Level::Info => Verbosity::Info,
            Level::Debug => Verbosity::Debug,
        }
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    voice: Voice,
    verbosity: Verbosity,
    pid: i32,
    output: Output<'static>,
    ring: VecDeque<u8>,
    /// Lines dropped since the start.
    dropped: u64,
    /// Of these, how many have not been told of.
    untold: u64,
    /// Standard error is gone for good (`EPIPE`, `EBADF`).
    dead: bool,
}

impl Log {
    /// A log on standard error.
    #[must_use]
    pub(crate) fn new(voice: Voice, verbosity: Verbosity) -> Log {
        Log {
            voice,
            verbosity,
            pid: hilum_sys::process::pid(),
            output: Output::stderr(),
            ring: VecDeque::new(),
            dropped: 0,
            untold: 0,
            dead: false,
        }
    }

    /// Lines dropped since the start.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether lines wait for standard error.
    #[must_use]
    pub(crate) fn wants_write(&self) -> bool {
        !self.ring.is_empty() && !self.dead
    }

    /// Whether there is room for a relayed line; without, its source should wait.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.dead || self.ring.len() < RING / 2
    }

    /// Writes what waits, as far as standard error takes it.
    pub(crate) fn flush(&mut self) {
        while !self.ring.is_empty() && !self.dead {
            let (first, _) = self.ring.as_slices();
            match self.output.write(first) {
                Ok(0) => return,
                Ok(written) => {
                    self.ring.drain(..written.min(self.ring.len()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.dead = true;
                    self.ring = VecDeque::new();
                }
            }
        }
        if self.untold > 0 && self.ring.is_empty() {
            let lines = std::mem::take(&mut self.untold);
            self.say(Level::Warn, &format!("event=log-dropped lines={lines}"));
        }
    }

    /// Writes one line of logfmt pairs, without the level.
    pub(crate) fn say(&mut self, level: Level, pairs: &str) {
        if self.verbosity < level.needs() {
            return;
        }
        let line = match self.voice {
            Voice::Hilum => format!("level={} {pairs}\n", level.word()),
            Voice::Tini => {
                let word = match level {
                    Level::Error => "FATAL",
                    Level::Warn => "WARN ",
                    Level::Info => "INFO ",
                    Level::Debug => "DEBUG",
                };
                format!("[{word} tini ({})] {pairs}\n", self.pid)
            }
            Voice::DumbInit => format!("[dumb-init] {pairs}\n"),
            Voice::Catatonit => format!("{} (catatonit:{}): {pairs}\n", level.word().to_uppercase(), self.pid),
            Voice::Kapo => format!("time=\"{}\" level={} msg={}\n", timestamp(), level.word(), quoted(pairs)),
        };
        self.write_line(line.as_bytes());
    }

    /// Writes an engine record, naming the service it is about.
    pub(crate) fn record(&mut self, launch: &Launch, record: &Record) {
        let level = match (self.voice, level_of(&record.entry)) {
            // A command that fails is no warning to the tools that only pass its code on.
            (Voice::Tini | Voice::DumbInit | Voice::Catatonit, Level::Warn) => Level::Info,
            (_, level) => level,
        };
        // A tool we stand in for says this in its own words, where the spawn failed.
        let told = self.voice != Voice::Hilum && matches!(record.entry, Entry::SpawnFailed { .. });
        if self.verbosity < level.needs() || told {
            return;
        }
        let mut pairs = String::new();
        if let Some(name) = record.service.and_then(|id| name_of(launch, id)) {
            pair(&mut pairs, "service", name);
        }
        if let Some(run) = record.run {
            pair(&mut pairs, "run", &run.0.to_string());
        }
        describe(&mut pairs, launch, record);
        self.say(level, &pairs);
    }

    /// Writes an error that ends hilum before or instead of the first spawn.
    pub(crate) fn fail(&mut self, message: &str) {
        let line = match self.voice {
            Voice::Hilum => format!("hilum: {message}\n"),
            Voice::Tini => format!("[FATAL tini ({})] {message}\n", self.pid),
            Voice::DumbInit => format!("[dumb-init] {message}\n"),
            Voice::Catatonit => format!("ERROR (catatonit:{}): {message}\n", self.pid),
            Voice::Kapo => format!("time=\"{}\" level=fatal msg={}\n", timestamp(), quoted(message)),
        };
        self.write_line(line.as_bytes());
    }

    fn write_line(&mut self, line: &[u8]) {
        if self.dead {
            return;
        }
        if self.ring.len().saturating_add(line.len()) > RING {
            self.dropped = self.dropped.saturating_add(1);
            self.untold = self.untold.saturating_add(1);
            return;
        }
        self.ring.extend(line);
        self.flush();
    }
}

fn name_of(launch: &Launch, id: ServiceId) -> Option<&str> {
    launch.plan.services.get(usize::from(id.0)).map(|plan| plan.name.as_str())
}

fn level_of(entry: &Entry) -> Level {
    match entry {
        Entry::Started | Entry::Stopping { .. } | Entry::Ready(_) | Entry::ShutdownBegan { .. } => Level::Info,
        // An end that was asked for, or that ends the container with its code, is no surprise to anybody.
        Entry::Exited { exit: Exit::Code(0), .. } | Entry::Exited { next: Next::Nothing | Next::EndContainer, .. } => {
            Level::Info
        }
        Entry::Exited { .. } => Level::Warn,
        Entry::SpawnFailed { .. } | Entry::GivenUpOn | Entry::LimitReached | Entry::Bug { .. } => Level::Error,
        Entry::Killed | Entry::ShutdownForced { .. } | Entry::Thawed { .. } => Level::Warn,
        Entry::Probe { passing: true, .. } => Level::Info,
        Entry::Probe { passing: false, .. } => Level::Warn,
        Entry::Swept { .. } | Entry::SignalIgnored { .. } | Entry::Stale { .. } => Level::Debug,
    }
}

fn describe(out: &mut String, launch: &Launch, record: &Record) {
    match &record.entry {
        Entry::Started => pair(out, "event", "started"),
        Entry::Exited { exit, after, next } => {
            pair(out, "event", "exited");
            match exit {
                Exit::Code(code) => pair(out, "code", &code.to_string()),
                Exit::Signaled(signal) => pair(out, "signal", &hilum_config::signal_name(*signal)),
            }
            pair(out, "after", &seconds(*after));
            describe_next(out, *next);
        }
        Entry::Swept { next } => {
            pair(out, "event", "swept");
            describe_next(out, *next);
        }
        Entry::SpawnFailed { reason, next } => {
            pair(out, "event", "spawn-failed");
            pair(out, "error", &reason.message);
            describe_next(out, *next);
        }
        Entry::Stopping { reason, signal } => {
            pair(out, "event", "stopping");
            let plan = record.service.and_then(|id| launch.plan.services.get(usize::from(id.0)));
            let reason = reason_words(plan, *reason);
            pair(out, "reason", &reason);
            pair(out, "signal", &hilum_config::signal_name(*signal));
        }
        Entry::Killed => pair(out, "event", "killed"),
        Entry::GivenUpOn => {
            pair(out, "event", "given-up-on");
            pair(out, "error", "the process did not end after SIGKILL");
        }
        Entry::Ready(true) => pair(out, "event", "ready"),
        Entry::Ready(false) => pair(out, "event", "unready"),
        Entry::Probe { index, kind, passing, message } => {
            pair(out, "event", if *passing { "probe-passing" } else { "probe-failing" });
            let plan = record.service.and_then(|id| launch.plan.services.get(usize::from(id.0)));
            let probe = plan.and_then(|plan| plan.probes.get(usize::from(*index)));
            pair(out, "probe", probe.map_or("?", |probe| probe.name.as_str()));
            pair(out, "kind", kind_word(*kind));
            if !message.is_empty() {
                pair(out, "message", message);
            }
        }
        Entry::LimitReached => pair(out, "event", "restart-limit-reached"),
        Entry::ShutdownBegan { signal } => {
            pair(out, "event", "shutdown");
            pair(out, "signal", &hilum_config::signal_name(*signal));
        }
        Entry::ShutdownForced { signal } => {
            pair(out, "event", "shutdown-forced");
            pair(out, "signal", &hilum_config::signal_name(*signal));
        }
        Entry::SignalIgnored { signal } => {
            pair(out, "event", "signal-ignored");
            pair(out, "signal", &hilum_config::signal_name(*signal));
        }
        Entry::Thawed { gap } => {
            pair(out, "event", "thawed");
            pair(out, "gap", &seconds(*gap));
        }
        Entry::Stale { what } => {
            pair(out, "event", "stale");
            pair(out, "what", what);
        }
        Entry::Bug { state, event } => {
            pair(out, "event", "bug");
            pair(out, "state", state);
            pair(out, "fact", event);
        }
    }
}

fn describe_next(out: &mut String, next: Next) {
    match next {
        Next::Nothing => pair(out, "next", "nothing"),
        Next::EndContainer => pair(out, "next", "end"),
        Next::Restart { wait } => {
            pair(out, "next", "restart");
            pair(out, "in", &seconds(wait));
        }
        Next::Sweep => pair(out, "next", "sweep"),
    }
}

/// The time as logrus writes it: whole seconds.
fn timestamp() -> String {
    let wall = hilum_sys::clock::wall();
    hilum_status::rfc3339(wall - wall % 1_000_000_000)
}

/// Why a service was stopped, in words; `plan` is that service's.
pub(crate) fn reason_words(plan: Option<&ServicePlan>, reason: StopReason) -> String {
    match reason {
        StopReason::Shutdown => "shutdown".to_owned(),
        StopReason::Ttl => "ttl".to_owned(),
        StopReason::Leftover => "leftover".to_owned(),
        StopReason::Probe(index) => {
            let probe = plan.and_then(|plan| plan.probes.get(usize::from(index)));
            format!("probe {}", probe.map_or("?", |probe| probe.name.as_str()))
        }
    }
}

/// The word for a kind of probe.
#[must_use]
pub(crate) fn kind_word(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}

/// Appends one logfmt pair, quoted where it must be.
pub(crate) fn pair(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str(key);
    out.push('=');
    let plain = |c: char| !c.is_control() && !matches!(c, ' ' | '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        out.push_str(value);
    } else {
        out.push_str(&quoted(value));
    }
}

/// `value` in double quotes on one line: no control character can forge a second line or move a terminal.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len().saturating_add(2));
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `1.234s` for people: milliseconds below a minute, whole seconds above.
fn seconds(span: Span) -> String {
    let millis = span.0 / 1_000_000;
    let (whole, rest) = (millis / 1000, millis % 1000);
    match (whole, rest) {
        (0, rest) => format!("{rest}ms"),
        (60.., _) | (_, 0) => format!("{whole}s"),
        (whole, rest) => format!("{whole}.{rest:03}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{pair, seconds};
    use hilum_engine::Span;

    #[test]
    fn values_cannot_forge_lines() {
        let mut out = String::new();
        pair(&mut out, "a", "plain");
        pair(&mut out, "b", "two words");
        pair(&mut out, "c", "x\nlevel=error \"\u{1b}[2J");
        pair(&mut out, "d", "");
        assert_eq!(out, r#"a=plain b="two words" c="x\nlevel=error \"\u{1b}[2J" d="""#);
    }

    #[test]
    fn spans_are_short() {
        let text = |millis| seconds(Span::from_millis(millis));
        assert_eq!([text(0), text(999), text(1000), text(1050), text(61_500)], ["0ms", "999ms", "1s", "1.050s", "61s"]);
    }
}
