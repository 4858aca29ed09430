//! Orders, in the imperative. The shell carries them out in the order given, except that log lines may come after the rest, and decides
//! nothing.

use crate::id::{CallId, Incarnation, ProbeId, ServiceId, Signal};
use crate::log::Record;
use crate::plan::Scope;
use crate::tick::Span;

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Start the service's command. Answered by `Spawned` or `SpawnFailed` with the same run.
    Spawn {
        /// Whose command.
        service: ServiceId,
        /// The number of the life this begins.
        run: Incarnation,
    },
    /// Send a signal to a run. One that has been reaped is not signalled; a group is as long as it has members.
    Signal {
        /// Whose.
        service: ServiceId,
        /// Which life.
        run: Incarnation,
        /// The signal.
        signal: Signal,
        /// To the leader or to its whole group.
        scope: Scope,
    },
    /// Send a signal to every descendant the shell can reach.
    SignalAll {
        /// The signal.
        signal: Signal,
    },
    /// Tell with `DescendantsGone` when no descendant is left.
    AwaitDescendants,
    /// Make a probe call. Answered by `ProbeAnswered` with the same call, unless cancelled.
    RunProbe {
        /// Which probe.
        probe: ProbeId,
        /// The life it asks about.
        run: Incarnation,
        /// The number of the call.
        call: CallId,
        /// How long it may take.
        timeout: Span,
        /// Calls of this probe in this life so far, this one included.
        attempt: u32,
    },
    /// A call's answer is no longer wanted.
    CancelProbe {
        /// Which probe.
        probe: ProbeId,
        /// Which call.
        call: CallId,
    },
    /// Stop the supervisor itself until SIGCONT (job control).
    Suspend,
    /// The status changed.
    Publish,
    /// Write a log line.
    Log(Record),
    /// End with this code. The last order ever given.
    Exit {
        /// The exit code.
        code: u8,
    },
}
