//! Facts, in the past tense. The shell observed them; the engine never doubts them, but drops those of an earlier life.

use alloc::string::String;

use crate::id::{CallId, Incarnation, Pid, ProbeId, ServiceId, Signal};
use crate::tick::{Span, Wall};

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The shell is ready to carry out orders. Comes once, first.
    Started,
    /// The process of a spawn order runs (its `execve` succeeded).
    Spawned {
        /// Whose.
        service: ServiceId,
        /// The life the order named.
        run: Incarnation,
        /// The process.
        pid: Pid,
        /// When, for status only.
        at: Wall,
    },
    /// A spawn order could not be carried out; no process is left behind.
    SpawnFailed {
        /// Whose.
        service: ServiceId,
        /// The life the order named.
        run: Incarnation,
        /// What stood in the way.
        reason: SpawnFailure,
        /// When, for status only.
        at: Wall,
    },
    /// The process of a run ended and was reaped.
    Exited {
        /// Whose.
        service: ServiceId,
        /// The life that ended.
        run: Incarnation,
        /// How.
        exit: Exit,
        /// Whether other processes of its process group are still there.
        group_left: bool,
        /// When, for status only.
        at: Wall,
    },
    /// The last process of a run's process group is gone. Only after an `Exited` with `group_left`.
    GroupGone {
        /// Whose.
        service: ServiceId,
        /// The life it belonged to.
        run: Incarnation,
    },
    /// The process of a run was stopped by job control (SIGTSTP, SIGTTIN, SIGTTOU or SIGSTOP).
    Stopped {
        /// Whose.
        service: ServiceId,
        /// The life that was stopped.
        run: Incarnation,
    },
    /// No descendant is left at all.
    DescendantsGone,
    /// A probe call ended.
    ProbeAnswered {
        /// Which probe.
        probe: ProbeId,
        /// The life of the service it asked about.
        run: Incarnation,
        /// Which call.
        call: CallId,
        /// What it found.
        outcome: Outcome,
        /// How long it took, for status only.
        took: Span,
    },
    /// A signal reached PID 1.
    SignalArrived {
        /// Which.
        signal: Signal,
    },
    /// The loop woke far later than it asked to: the container was frozen. All deadlines move by the gap, so that a thaw does
    /// not look like every timer at once.
    Thawed {
        /// By how much: at least how much later it woke.
        gap: Span,
    },
    /// Time passed; deadlines may be due. Harmless when none is.
    Due,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It exited with a code.
    Code(u8),
    /// A signal ended it.
    Signaled(Signal),
}

impl Exit {
    /// The code a container ends with for this exit: the code, or 128 + n.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signaled(signal) => signal.exit_code(),
        }
    }
}

/// Why no process came of a spawn order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpawnFailure {
    /// The exit code it stands for, as a shell's: 127 for a command that does not exist, 126 for one that cannot be executed, or not now.
    pub code: u8,
    /// The whole story for people: step, object, error.
    pub message: String,
}

/// What one probe call found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The service is well.
    Pass,
    /// It is not, and this is why.
    Fail(String),
    /// The probe could not tell, and this is why. Never counts as a failure.
    Unknown(String),
}
