//! What the engine has to say, as data: the shell renders it as logfmt with a fixed order of keys, a test compares it.

use alloc::string::String;

use crate::event::{Exit, SpawnFailure};
use crate::id::{Incarnation, ServiceId, Signal};
use crate::plan::ProbeKind;
use crate::tick::Span;

/// One log line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which service it is about.
    pub service: Option<ServiceId>,
    /// Which life of it.
    pub run: Option<Incarnation>,
    /// What happened.
    pub entry: Entry,
}

/// What a log line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A run began.
    Started,
    /// A run ended.
    Exited {
        /// How.
        exit: Exit,
        /// How long it lasted.
        after: Span,
        /// What comes next.
        next: Next,
    },
    /// What a run left of its process group is gone, or given up on.
    Swept {
        /// What comes next.
        next: Next,
    },
    /// A spawn failed.
    SpawnFailed {
        /// Why.
        reason: SpawnFailure,
        /// What comes next.
        next: Next,
    },
    /// A stop was ordered.
    Stopping {
        /// Why.
        reason: StopReason,
        /// The polite signal.
        signal: Signal,
    },
    /// The grace period ended; KILL was sent.
    Killed,
    /// A killed process did not end in time and is given up on.
    GivenUpOn,
    /// All readiness probes pass, or one stopped passing.
    Ready(bool),
    /// A probe crossed a threshold.
    Probe {
        /// The probe's index in its service.
        index: u16,
        /// What it decides.
        kind: ProbeKind,
        /// Whether it passes now.
        passing: bool,
        /// What it last said.
        message: String,
    },
    /// The restart limit was reached.
    LimitReached,
    /// A stop signal arrived: the container stops in order.
    ShutdownBegan {
        /// The signal.
        signal: Signal,
    },
    /// A second stop signal arrived: everything is killed.
    ShutdownForced {
        /// The signal.
        signal: Signal,
    },
    /// A signal arrived that the plan gives no meaning.
    SignalIgnored {
        /// The signal.
        signal: Signal,
    },
    /// The container was frozen for about this long.
    Thawed {
        /// How long.
        gap: Span,
    },
    /// An answer about an earlier life came and was dropped.
    Stale {
        /// What it was.
        what: &'static str,
    },
    /// An event that cannot happen in this state happened; nothing was done about it.
    Bug {
        /// The state.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
}

/// What follows an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing: the service has ended for good.
    Nothing,
    /// The container ends.
    EndContainer,
    /// Another run after a wait.
    Restart {
        /// The wait.
        wait: Span,
    },
    /// The rest of its process group is stopped first.
    Sweep,
}

/// Why a run is being stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The container ends.
    Shutdown,
    /// Its time to live is over.
    Ttl,
    /// This probe, a startup or liveness probe, fails.
    Probe(u16),
    /// Its leader has exited and left this group behind.
    Leftover,
}
