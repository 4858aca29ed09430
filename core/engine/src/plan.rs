//! What the supervisor is to do, validated: no string is left to parse and every number is in range. `hilum-config` makes
//! it, from a TOML file or from a command line.

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{Signal, SignalSet};
use crate::tick::Span;

/// Everything the supervisor decides by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The services, in the order of the plan; a [`ServiceId`](crate::ServiceId) is an index here. At most 65,535.
    pub services: Vec<ServicePlan>,
    /// What signals to PID 1 mean.
    pub signals: SignalPlan,
    /// How the container ends.
    pub ending: EndingPlan,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePlan {
    /// Its name in the plan, unique.
    pub name: String,
    /// Whether its end for good ends the container with its exit code.
    pub essential: bool,
    /// Whether and how soon it runs again after an exit.
    pub restart: RestartPlan,
    /// How it is stopped.
    pub stop: StopPlan,
    /// Longest life of one run, counted from its spawn; then it is stopped and, by policy, started again.
    pub ttl: Option<TtlPlan>,
    /// Its probes; a [`ProbeId`](crate::ProbeId) is an index here. At most 65,535.
    pub probes: Vec<ProbePlan>,
}

impl ServicePlan {
    /// A service that runs once, is essential, and is stopped with TERM and no kill: what `hilum init` runs.
    #[must_use]
    pub fn once(name: &str) -> ServicePlan {
        ServicePlan {
            name: String::from(name),
            essential: true,
            restart: RestartPlan::never(),
            stop: StopPlan::default(),
            ttl: None,
            probes: Vec::new(),
        }
    }
}

/// When a service that exited runs again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartPolicy {
    /// Not at all.
    Never,
    /// After a non-zero exit, a signal, a failed spawn, or a stop the supervisor ordered because of a probe.
    OnFailure,
    /// After every exit.
    Always,
}

/// Restart policy and pace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestartPlan {
    /// Whether an exit leads to another run.
    pub policy: RestartPolicy,
    /// How long to wait before it.
    pub backoff: BackoffPlan,
    /// When to stop trying.
    pub limit: Option<RestartLimit>,
}

impl RestartPlan {
    /// Never restarts.
    #[must_use]
    pub const fn never() -> RestartPlan {
        RestartPlan { policy: RestartPolicy::Never, backoff: BackoffPlan::NONE, limit: None }
    }
}

/// The wait before a restart: `initial`, then multiplied for each further one, up to `cap`, each shortened by up to `jitter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackoffPlan {
    /// Wait before the first restart.
    pub initial: Span,
    /// Multiplier for each further restart. **Units:** thousandths (2000 doubles). At least 1000.
    pub factor: u32,
    /// Longest wait.
    pub cap: Span,
    /// Largest part of a wait that chance may take off, so that many containers do not restart in step. **Units:** thousandths,
    /// 0 to 1000.
    pub jitter: u32,
    /// A run that lasted this long resets the wait to `initial`.
    pub reset_after: Span,
}

impl BackoffPlan {
    /// No wait.
    pub const NONE: BackoffPlan =
        BackoffPlan { initial: Span::ZERO, factor: 1000, cap: Span::ZERO, jitter: 0, reset_after: Span::ZERO };
}

/// Restarts allowed in a sliding window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartLimit {
    /// This many restarts within the window are allowed; the next one is not made.
    pub count: u32,
    /// The window.
    pub within: Span,
    /// What happens instead.
    pub then: LimitAction,
}

/// What a service over its restart limit does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitAction {
    /// The service ends for good with its last exit; the container goes on unless it is essential.
    GiveUp,
    /// The container ends with the service's last exit code.
    EndContainer,
}

/// Whom a signal to a service reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The process hilum spawned.
    Leader,
    /// Its whole process group.
    Group,
}

/// How a service is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopPlan {
    /// The polite signal. `None`: the one PID 1 received, or TERM where the supervisor itself wants the stop.
    pub signal: Option<Signal>,
    /// Time from the polite signal to KILL. `None`: never killed; whoever runs the container has a time-out of its own.
    pub grace: Option<Span>,
    /// Whom stop and forwarded signals reach.
    pub scope: Scope,
    /// Whether the rest of the process group is stopped too once its leader has exited: the polite signal (if it has not had
    /// it), what is left of the grace period, KILL. Off: it is left alone.
    pub sweep: bool,
}

impl Default for StopPlan {
    fn default() -> StopPlan {
        StopPlan { signal: None, grace: None, scope: Scope::Group, sweep: false }
    }
}

/// Chaos: how long a run may last. Each run draws its own from the range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TtlPlan {
    /// Shortest life.
    pub min: Span,
    /// Longest life; equal to `min` for a fixed one.
    pub max: Span,
}

/// What a probe decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProbeKind {
    /// The other probes wait for it. Failing restarts the service.
    Startup,
    /// Failing takes the service out of rotation.
    Readiness,
    /// Failing restarts the service.
    Liveness,
}

/// One probe, scheduled as Kubernetes means the words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbePlan {
    /// Its name, unique in the service.
    pub name: String,
    /// What it decides.
    pub kind: ProbeKind,
    /// From one call to the next. Never zero.
    pub period: Span,
    /// How long one call may take. The worker keeps it; a call it has not answered a second later counts as unknown.
    pub timeout: Span,
    /// From the spawn (or the startup probe's success) to the first call.
    pub initial_delay: Span,
    /// This many failures in a row make it failing. At least 1.
    pub failure_threshold: u32,
    /// This many passes in a row make it passing. At least 1.
    pub success_threshold: u32,
    /// This many unknowns in a row count as failing; `None`: never, they change nothing.
    pub unknown_threshold: Option<u32>,
}

/// What signals to PID 1 mean. The signal that arrived is looked up in `suspend`, `stop` and `forward`, in this order; what the
/// services get is its rewrite. One in no set is logged and has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignalPlan {
    /// Signals that stop the container in order; the second one kills at once.
    pub stop: SignalSet,
    /// Signals passed on to every running service.
    pub forward: SignalSet,
    /// What a signal is passed on as. One rewritten to signal 0 is dropped, even if it would stop the container.
    pub rewrite: Vec<(Signal, Signal)>,
    /// Time between a stop signal and its passing on, in which readiness already says no.
    pub delay: Span,
    /// Signals that, once passed on as STOP, also stop the supervisor itself (job control without a session of its own).
    pub suspend: SignalSet,
    /// Whether the supervisor stops itself when the leader of an essential service was stopped by job control, so that the shell it was
    /// started from gets its terminal back.
    pub suspend_with_child: bool,
}

impl Default for SignalPlan {
    fn default() -> SignalPlan {
        SignalPlan {
            stop: SignalSet::of(&[Signal::TERM, Signal::INT, Signal::QUIT]),
            forward: SignalSet::EMPTY,
            rewrite: Vec::new(),
            delay: Span::ZERO,
            suspend: SignalSet::EMPTY,
            suspend_with_child: false,
        }
    }
}

/// How the container ends once no service is left to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndingPlan {
    /// Whether to wait for every descendant, not only for the services.
    pub wait_for_descendants: bool,
    /// Exit codes that become 0.
    pub codes_to_zero: Vec<u8>,
    /// Time between the last service's end and the exit, for whoever still wants to read the status.
    pub linger: Span,
    /// Signal sent to the leader's process group once the leader has exited, without waiting (dumb-init).
    pub parting_signal: Option<Signal>,
}
