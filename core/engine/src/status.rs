//! A snapshot of everything, as plain data, for the status socket.

use alloc::string::String;
use alloc::vec::Vec;

use crate::event::{Exit, SpawnFailure};
use crate::id::{Incarnation, Pid};
use crate::log::StopReason;
use crate::plan::ProbeKind;
use crate::tick::{Span, Tick, Wall};

/// The whole supervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Where the container is in its life.
    pub phase: Phase,
    /// Every service can take work: all are up, started and pass their readiness probes, and no stop is under way.
    pub ready: bool,
    /// Every service has started once: spawned, and past its startup probe.
    pub started: bool,
    /// No service has failed for good, and the container has not come to its end.
    pub alive: bool,
    /// In the order of the plan.
    pub services: Vec<ServiceStatus>,
}

/// Where the container is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Services run.
    Running,
    /// Services are being stopped.
    Stopping,
    /// No service is left; descendants or status readers are waited for.
    Lingering,
    /// `Exit` was ordered.
    Done,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceStatus {
    /// Its state's name.
    pub state: StateName,
    /// The current or last life.
    pub run: Incarnation,
    /// The process, while there is one.
    pub pid: Option<Pid>,
    /// Whether it takes work.
    pub ready: bool,
    /// When the current or last run began.
    pub started_at: Option<Wall>,
    /// When the last run that ended did.
    pub ended_at: Option<Wall>,
    /// How the last run that ended did.
    pub last_exit: Option<Exit>,
    /// Why the last run that was stopped by the supervisor was.
    pub stop_reason: Option<StopReason>,
    /// Why the last spawn failed, if the last one did.
    pub spawn_failure: Option<SpawnFailure>,
    /// Runs begun after the first.
    pub restarts: u64,
    /// When the next run begins, while one is waited for.
    pub restart_at: Option<Tick>,
    /// The time to live drawn for the current run.
    pub ttl: Option<Span>,
    /// In the order of the plan.
    pub probes: Vec<ProbeStatus>,
}

/// The names of the states, for status and logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateName {
    /// Not started yet.
    Down,
    /// Spawn ordered.
    Starting,
    /// Runs.
    Up,
    /// Asked to stop.
    Stopping,
    /// KILL sent.
    Killed,
    /// Its leader exited; the rest of its group is being stopped.
    Sweeping,
    /// Waits for its next run.
    BackingOff,
    /// Ended for good.
    Ended,
}

impl StateName {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StateName::Down => "down",
            StateName::Starting => "starting",
            StateName::Up => "up",
            StateName::Stopping => "stopping",
            StateName::Killed => "killed",
            StateName::Sweeping => "sweeping",
            StateName::BackingOff => "backing-off",
            StateName::Ended => "ended",
        }
    }
}

/// One probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeStatus {
    /// What it decides.
    pub kind: ProbeKind,
    /// `None` until it first crosses a threshold in this life.
    pub passing: Option<bool>,
    /// Passes in a row.
    pub passes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Unknowns in a row.
    pub unknowns: u32,
    /// The last outcome's word: `pass`, `fail` or `unknown`; empty before the first.
    pub last: &'static str,
    /// What it last said.
    pub message: String,
    /// How long the last call took.
    pub took: Span,
    /// Calls answered, over all lives.
    pub answered: u64,
}
