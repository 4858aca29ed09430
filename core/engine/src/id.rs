//! Newtypes for everything that is counted or named by number, so that none can stand in for another.

use core::fmt;

/// Which service: the index of its [`ServicePlan`](crate::ServicePlan) in the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceId(pub u16);

/// Which probe: its service and the index of its [`ProbePlan`](crate::ProbePlan) there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProbeId {
    /// The probed service.
    pub service: ServiceId,
    /// Index in that service's `probes`.
    pub index: u16,
}

/// One life of a service. Rises by one with each spawn order and is never used again: an answer that carries an old
/// number is about an earlier life and is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

/// One probe call. Unique over the life of the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CallId(pub u64);

/// A process id as the shell reported it. The engine only stores and shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(pub i32);

/// A signal number as signal(7) counts them on the running architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(pub u8);

impl Signal {
    /// SIGHUP.
    pub const HUP: Signal = Signal(1);
    /// SIGINT.
    pub const INT: Signal = Signal(2);
    /// SIGQUIT.
    pub const QUIT: Signal = Signal(3);
    /// SIGKILL.
    pub const KILL: Signal = Signal(9);
    /// SIGUSR2 on every architecture hilum is built for.
    pub const USR2: Signal = Signal(12);
    /// SIGTERM.
    pub const TERM: Signal = Signal(15);
    /// SIGCHLD on every architecture hilum is built for.
    pub const CHLD: Signal = Signal(17);
    /// SIGCONT on every architecture hilum is built for.
    pub const CONT: Signal = Signal(18);
    /// SIGSTOP on every architecture hilum is built for.
    pub const STOP: Signal = Signal(19);

    /// The exit code a shell reports for a process this signal ended: 128 + n.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self.0.saturating_add(128)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.0)
    }
}

/// A set of signal numbers 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);

    /// The set of the given signals.
    #[must_use]
    pub const fn of(signals: &[Signal]) -> SignalSet {
        let mut bits = 0;
        let mut rest = signals;
        while let [first, tail @ ..] = rest {
            bits |= Self::bit(*first);
            rest = tail;
        }
        SignalSet(bits)
    }

    /// Whether `signal` is in the set.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    const fn bit(signal: Signal) -> u64 {
        if signal.0 == 0 || signal.0 > 64 { 0 } else { 1 << (signal.0 - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Signal, SignalSet};

    #[test]
    fn sets_hold_one_to_sixty_four() {
        let set = SignalSet::of(&[Signal(1), Signal(64)]);
        assert!(set.contains(Signal(1)) && set.contains(Signal(64)));
        assert!(!set.contains(Signal(2)) && !set.contains(Signal(0)) && !set.contains(Signal(65)));
    }
}
