//! A timer that a thread waits for, and that costs one call to set while nobody has to wake up for it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// A timer on the monotonic clock.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
}

impl Timer {
    /// A timer at rest.
    ///
    /// **Source:** timerfd_create(2).
    pub fn new() -> io::Result<Timer> {
        Ok(Timer { descriptor: rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)? })
    }

    /// From now on it fires every `period`; at a zero period it rests.
    ///
    /// **Idempotent:** no; the first period begins anew.
    ///
    /// **Source:** timerfd_settime(2).
    pub fn every(&self, period: Duration) -> io::Result<()> {
        let period =
            Timespec { tv_sec: period.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: period.subsec_nanos().into() };
        let setting = Itimerspec { it_interval: period, it_value: period };
        rustix::time::timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// Waits until it fires; at once if it has since the last wait and was not set again. Waits for ever while it rests.
    ///
    /// **Source:** timerfd_create(2).
    pub fn wait(&self) -> io::Result<()> {
        let mut count = [0; size_of::<u64>()];
        loop {
            match rustix::io::read(&self.descriptor, &mut count) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timer;
    use crate::clock;
    use std::io;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn fires_every_period_and_never_early() -> io::Result<()> {
        let timer = Timer::new()?;
        let start = clock::monotonic();
        timer.every(Duration::from_millis(2))?;
        for periods in 1..=3 {
            timer.wait()?;
            assert!(clock::monotonic() - start >= periods * 2_000_000);
        }
        Ok(())
    }

    #[test]
    fn wakes_who_waits_already() -> io::Result<()> {
        let timer = Arc::new(Timer::new()?);
        timer.every(Duration::from_secs(3600))?;
        timer.every(Duration::ZERO)?;
        let other = Arc::clone(&timer);
        let waiting = thread::spawn(move || other.wait());
        timer.every(Duration::from_nanos(1))?;
        assert!(waiting.join().is_ok_and(|done| done.is_ok()));
        Ok(())
    }
}
