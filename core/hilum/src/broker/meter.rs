//! How much of a processor a plugin's long calls use: a bucket that leaks.
//!
//! A call that needs no more than a tick of its worker delays nobody for longer, however often it is made. What long calls do beside the others
//! can be felt there: they move much memory, wake threads, fill caches. As long as that is less than a hundredth of the time, it is no part of what
//! 99 of 100 calls of the others take.

use hilum_engine::{Span, Tick};

/// Processor time from which a call is long: a tick of the worker. **Units:** nanoseconds.
pub(super) const LONG: Span = Span::from_millis(1);

/// What the bucket holds. **Units:** nanoseconds.
const HOLDS: Span = Span::from_millis(50);

/// The part of the time that leaks out of it: one in so many.
const LEAK: u64 = 100;

/// The bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    level: Span,
    /// When it was looked at last.
    at: Tick,
}

impl Meter {
    /// Adds what long calls have used. Whether that is too much for a shared worker.
    pub(super) fn add(&mut self, used: Span, now: Tick) -> bool {
        let leaked = now.since(self.at).0 / LEAK;
        self.level = Span(self.level.0.saturating_sub(leaked).saturating_add(used.0));
        self.at = now;
        self.level > HOLDS
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, Span, Tick};

    #[test]
    fn a_hundredth_of_the_time_is_never_too_much_and_more_is_in_the_end() {
        let runs_over = |used: Span, every: Span| {
            let mut meter = Meter::default();
            (1..=10_000).find(|turn| meter.add(used, Tick(every.0 * turn)))
        };
        assert_eq!(runs_over(Span::from_millis(50), Span::from_secs(5)), None);
        assert_eq!(runs_over(Span::from_millis(1), Span::from_millis(100)), None);
        assert_eq!(runs_over(Span::from_millis(2), Span::from_millis(100)), Some(50));
        assert_eq!(runs_over(Span::from_millis(51), Span::from_secs(10)), Some(1));
        assert_eq!(runs_over(Span(u64::MAX), Span(1)), Some(1));
    }
}
