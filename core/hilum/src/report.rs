//! From the engine's status to what the status sockets show.

use std::collections::VecDeque;
use std::ffi::OsStr;

use hilum_config::{Launch, ServiceLaunch, StatusMode};
use hilum_engine::{Exit, Incarnation, Phase, ServiceStatus, Status, StopReason, Tick, Wall};
use hilum_wire::{ExitReport, Mode, Overview, ProbeReport, RunReport, ServiceReport};

use crate::log::{kind_word, reason_words};

/// Runs that are remembered for each service.
const HISTORY: usize = 16;

/// Longest probe message shown. **Units:** bytes. Keeps a report of many probes within one frame.
const MESSAGE: usize = 512;

/// The last runs of each service, which the engine has no use for.
#[derive(Debug)]
pub(crate) struct History {
    services: Vec<VecDeque<RunReport>>,
}

impl History {
    /// A history without runs.
    #[must_use]
    pub(crate) fn new(launch: &Launch) -> History {
        History { services: launch.services.iter().map(|_| VecDeque::new()).collect() }
    }

    /// Notes the end of a run; `status` is the service's right after it.
    pub(crate) fn note(&mut self, launch: &Launch, index: usize, run: Incarnation, exit: Exit, status: &ServiceStatus) {
        let Some(runs) = self.services.get_mut(index) else { return };
        while runs.len() >= HISTORY {
            runs.pop_front();
        }
        let nanos = |at: Option<Wall>| at.map_or(0, |at| at.0);
        runs.push_back(RunReport {
            run: run.0,
            started_at: nanos(status.started_at),
            ended_at: nanos(status.ended_at),
            exit: exit_report(launch, index, exit, status.stop_reason),
        });
    }
}

/// The frame that is not about one service, as far as the engine knows it.
#[must_use]
pub(crate) fn overview(launch: &Launch, status: &Status, cmdline: &[String], since: u64) -> Overview {
    Overview {
        mode: launch.status.as_ref().map_or(Mode::Up, |status| mode(status.mode)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cmdline: cmdline.to_vec(),
        phase: match status.phase {
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Lingering => "lingering",
            Phase::Done => "done",
        }
        .to_owned(),
        ready: status.ready,
        started: status.started,
        alive: status.alive,
        since,
        services: u16::try_from(launch.services.len()).unwrap_or(u16::MAX),
        complete: true,
        ..Overview::default()
    }
}

/// The word for a mode on the wire.
#[must_use]
pub(crate) fn mode(mode: StatusMode) -> Mode {
    match mode {
        StatusMode::Run => Mode::Run,
        StatusMode::Supervise => Mode::Supervise,
        StatusMode::Watch => Mode::Watch,
        StatusMode::Up => Mode::Up,
    }
}

/// A clock reading pair, to show a monotonic moment on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Monotonic.
    pub(crate) tick: Tick,
    /// Wall clock, nanoseconds since 1970.
    pub(crate) wall: u64,
}

/// One service's frame.
#[must_use]
pub(crate) fn service(
    launch: &Launch,
    index: usize,
    status: &ServiceStatus,
    history: &History,
    now: Now,
) -> ServiceReport {
    let (Some(plan), Some(service)) = (launch.plan.services.get(index), launch.services.get(index)) else {
        return ServiceReport::default();
    };
    let (command, arguments) = words(service);
    let wall_of = |tick: Tick| now.wall.saturating_add(tick.since(now.tick).0);
    let probes = plan.probes.iter().zip(&status.probes).zip(&service.probes);
    ServiceReport {
        name: plan.name.clone(),
        command,
        arguments: Some(arguments),
        state: status.state.as_str().to_owned(),
        running: status.pid.is_some(),
        run: status.run.0,
        pid: status.pid.map(|pid| pid.0),
        ready: status.ready,
        started_at: status.started_at.map(|at| at.0),
        ended_at: status.ended_at.map(|at| at.0),
        last_exit: status.last_exit.map(|exit| exit_report(launch, index, exit, status.stop_reason)),
        restarts: status.restarts,
        restart_at: status.restart_at.map(wall_of),
        spawn_failure: status.spawn_failure.as_ref().map(|failure| failure.message.clone()),
        ttl_s: status.ttl.unwrap_or(service.ttl).as_secs(),
        wait_ns: service.wait.0,
        probes: probes
            .map(|((plan, status), probe)| ProbeReport {
                name: plan.name.clone(),
                kind: kind_word(plan.kind).to_owned(),
                plugin: launch.plugins.get(usize::from(probe.plugin)).map_or_else(String::new, |p| p.name.clone()),
                passing: status.passing,
                last: status.last.to_owned(),
                message: cut(&status.message, MESSAGE),
                passes: status.passes,
                failures: status.failures,
                unknowns: status.unknowns,
                took_us: status.took.0 / 1000,
                answered: status.answered,
            })
            .collect(),
        history: history.services.get(index).map_or_else(Vec::new, |runs| runs.iter().cloned().collect()),
    }
}

fn words(service: &ServiceLaunch) -> (String, Vec<String>) {
    let text = |word: &OsStr| word.to_string_lossy().into_owned();
    let mut words = service.command.iter();
    let command = words.next().map_or_else(String::new, |word| text(word));
    (command, words.map(|word| cut(&text(word), 4096)).collect())
}

fn exit_report(launch: &Launch, index: usize, exit: Exit, cause: Option<StopReason>) -> ExitReport {
    ExitReport {
        code: exit.code(),
        signal: match exit {
            Exit::Code(_) => None,
            Exit::Signaled(signal) => Some(hilum_config::signal_name(signal)),
        },
        cause: cause.map(|cause| reason_words(launch.plan.services.get(index), cause)),
    }
}

/// `text`, cut at a character boundary to at most `most` bytes.
#[must_use]
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}
