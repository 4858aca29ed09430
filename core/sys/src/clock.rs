//! Clocks. 64-bit on every architecture, so neither ends in 2038.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The monotonic clock: never set, stands still while the machine sleeps.
///
/// **Units:** nanoseconds since boot.
///
/// **Source:** clock_gettime(2).
#[must_use]
pub fn monotonic() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// The wall clock. May jump either way.
///
/// **Units:** nanoseconds since 1970-01-01T00:00:00Z; 0 for anything before.
///
/// **Source:** clock_gettime(2).
#[must_use]
pub fn wall() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

/// Processor time of the calling thread. Stands still while the thread waits, or others have the processor.
///
/// **Units:** nanoseconds.
///
/// **Source:** clock_gettime(2), CLOCK_THREAD_CPUTIME_ID.
#[must_use]
pub fn thread() -> Duration {
    Duration::from_nanos(nanos(clock_gettime(ClockId::ThreadCPUTime)))
}

/// Clock ticks, the unit of process times in `/proc`. **Units:** ticks in, nanoseconds out.
pub(crate) fn from_ticks(ticks: u64) -> u64 {
    // SAFETY: sysconf(3) takes an integer and touches no memory of ours.
    let rate = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1);
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(rate);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Duration, Timespec, from_ticks, monotonic, nanos, thread, wall};

    #[test]
    fn clocks_agree_with_the_standard_library() {
        let before = monotonic();
        assert!(monotonic() >= before && before > 0);
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map(|elapsed| elapsed.as_nanos()).unwrap_or_default();
        assert!(u128::from(wall()).abs_diff(since) < 1_000_000_000);
    }

    #[test]
    fn a_thread_that_sleeps_uses_no_processor_time() {
        let before = thread();
        std::thread::sleep(Duration::from_millis(200));
        let slept = thread();
        assert!(slept - before < Duration::from_millis(100));
        while thread() == slept {}
    }

    #[test]
    fn ticks_become_nanoseconds_without_overflow() {
        assert_eq!(from_ticks(u64::MAX), u64::MAX);
        assert_eq!(from_ticks(100) % 1_000_000_000, 0);
    }

    #[test]
    fn times_outside_of_the_range_saturate() {
        assert_eq!(nanos(Timespec { tv_sec: -1, tv_nsec: 5 }), 5);
        assert_eq!(nanos(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }), u64::MAX);
    }
}
