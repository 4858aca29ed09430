//! The only notion of time the engine has. It never reads a clock: the shell passes a [`Tick`] with every fact.

/// A moment on the monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)).
///
/// **Units:** nanoseconds since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

/// A length of time.
///
/// **Units:** nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub u64);

/// A wall-clock moment the engine stores for status and never computes with, so a clock set back changes no decision.
///
/// **Units:** nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// The span of `seconds` whole seconds; saturates.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Span {
        Span(seconds.saturating_mul(1_000_000_000))
    }

    /// The span of `millis` milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded up, so that a timer armed with them is never early.
    #[must_use]
    pub const fn as_millis_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl Tick {
    /// This moment plus `span`; saturates, so a huge span means "never".
    #[must_use]
    pub const fn after(self, span: Span) -> Tick {
        Tick(self.0.saturating_add(span.0))
    }

    /// How long after `earlier` this moment is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Tick) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, Tick};

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Tick(u64::MAX).after(Span(1)), Tick(u64::MAX));
        assert_eq!(Tick(1).since(Tick(2)), Span::ZERO);
        assert_eq!(Span::from_secs(u64::MAX), Span(u64::MAX));
        assert_eq!(Span(1).as_millis_ceil(), 1);
    }
}
