//! Orders as one line of text each, for transcripts that people read and compare. Shared by the simulator and the golden tests.

use std::fmt::Write as _;

use hilum_engine::{Action, Entry, Exit, Incarnation, Next, Plan, Scope, ServiceId, Signal, Span, StopReason};

/// The words for the numbers of one plan.
pub(crate) struct Names<'a>(pub(crate) &'a Plan);

impl Names<'_> {
    pub(crate) fn service(&self, id: ServiceId) -> String {
        match self.0.services.get(usize::from(id.0)) {
            Some(service) => service.name.clone(),
            None => format!("#{}", id.0),
        }
    }

    pub(crate) fn probe(&self, id: ServiceId, index: u16) -> String {
        let probe = self.0.services.get(usize::from(id.0)).and_then(|service| service.probes.get(usize::from(index)));
        match probe {
            Some(probe) => format!("{}/{}", self.service(id), probe.name),
            None => format!("{}/#{index}", self.service(id)),
        }
    }

    /// One order. `None` for `Publish`, which follows almost every step.
    pub(crate) fn action(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::Spawn { service, run } => format!("spawn {} run={}", self.service(*service), run.0),
            Action::Signal { service, run, signal: sent, scope } => {
                let scope = match scope {
                    Scope::Leader => "leader",
                    Scope::Group => "group",
                };
                format!("signal {} run={} {} {scope}", self.service(*service), run.0, signal(*sent))
            }
            Action::SignalAll { signal: sent } => format!("signal-all {}", signal(*sent)),
            Action::AwaitDescendants => "await-descendants".to_owned(),
            Action::RunProbe { probe, run, call, timeout, attempt } => format!(
                "probe {} run={} call={} timeout={} attempt={attempt}",
                self.probe(probe.service, probe.index),
                run.0,
                call.0,
                span(*timeout)
            ),
            Action::CancelProbe { probe, call } => {
                format!("cancel {} call={}", self.probe(probe.service, probe.index), call.0)
            }
            Action::Suspend => "suspend".to_owned(),
            Action::Publish => return None,
            Action::Log(record) => format!("log {}", self.entry(record.service, record.run, &record.entry)),
            Action::Exit { code } => format!("exit {code}"),
        })
    }

    fn entry(&self, service: Option<ServiceId>, run: Option<Incarnation>, entry: &Entry) -> String {
        let mut line = String::new();
        if let Some(id) = service {
            line.push_str(&self.service(id));
        }
        if let Some(run) = run {
            let _ = write!(line, " run={}", run.0);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&match entry {
            Entry::Started => "started".to_owned(),
            Entry::Exited { exit: how, after, next: then } => {
                format!("exited {} after={} next={}", exit(*how), span(*after), next(*then))
            }
            Entry::Swept { next: then } => format!("swept next={}", next(*then)),
            Entry::SpawnFailed { reason, next: then } => {
                format!("spawn-failed code={} {:?} next={}", reason.code, reason.message, next(*then))
            }
            Entry::Stopping { reason, signal: sent } => {
                let reason = match reason {
                    StopReason::Shutdown => "shutdown".to_owned(),
                    StopReason::Ttl => "ttl".to_owned(),
                    StopReason::Leftover => "leftover".to_owned(),
                    StopReason::Probe(index) => service.map_or_else(String::new, |id| self.probe(id, *index)),
                };
                format!("stopping reason={reason} with={}", signal(*sent))
            }
            Entry::Killed => "killed".to_owned(),
            Entry::GivenUpOn => "given-up-on".to_owned(),
            Entry::Ready(ready) => (if *ready { "ready" } else { "unready" }).to_owned(),
            Entry::Probe { index, kind, passing, message } => {
                let verdict = if *passing { "passing" } else { "failing" };
                let name = service.map_or_else(String::new, |id| self.probe(id, *index));
                format!("{name} {kind:?} {verdict} {message:?}")
            }
            Entry::LimitReached => "limit-reached".to_owned(),
            Entry::ShutdownBegan { signal: sent } => format!("shutdown-began {}", signal(*sent)),
            Entry::ShutdownForced { signal: sent } => format!("shutdown-forced {}", signal(*sent)),
            Entry::SignalIgnored { signal: sent } => format!("signal-ignored {}", signal(*sent)),
            Entry::Thawed { gap } => format!("thawed gap={}", span(*gap)),
            Entry::Stale { what } => format!("stale {what}"),
            Entry::Bug { state, event } => format!("BUG {event} in {state}"),
        });
        line
    }
}

/// A span in the largest unit that shows it whole.
pub(crate) fn span(span: Span) -> String {
    match span.0 {
        0 => "0s".to_owned(),
        n if n.is_multiple_of(1_000_000_000) => format!("{}s", n / 1_000_000_000),
        n if n.is_multiple_of(1_000_000) => format!("{}ms", n / 1_000_000),
        n => format!("{n}ns"),
    }
}

/// Names and numbers of the signals that transcripts use.
pub(crate) const SIGNALS: [(&str, u8); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
];

/// A signal's name, or its number where it has none here.
pub(crate) fn signal(signal: Signal) -> String {
    match SIGNALS.iter().find(|(_, number)| *number == signal.0) {
        Some((name, _)) => (*name).to_owned(),
        None => signal.0.to_string(),
    }
}

/// How a process ended.
pub(crate) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code={code}"),
        Exit::Signaled(by) => format!("signal={}", signal(by)),
    }
}

fn next(next: Next) -> String {
    match next {
        Next::Nothing => "nothing".to_owned(),
        Next::EndContainer => "end-container".to_owned(),
        Next::Restart { wait } => format!("restart:{}", span(wait)),
        Next::Sweep => "sweep".to_owned(),
    }
}
