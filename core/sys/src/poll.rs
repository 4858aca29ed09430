//! Waiting for descriptors and deadlines, in one place: the loop of PID 1 sleeps here, or in `SignalFd::wait` where it has no descriptor to wait
//! for.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// A descriptor and what is awaited of it; after [`wait`], what came.
#[derive(Debug, Clone)]
#[repr(transparent)]
pub struct Slot<'fd> {
    entry: PollFd<'fd>,
}

impl<'fd> Slot<'fd> {
    /// Awaits that `fd` can be read, or written, or only that its other end goes away.
    #[must_use]
    pub fn new(fd: BorrowedFd<'fd>, readable: bool, writable: bool) -> Slot<'fd> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, readable);
        events.set(PollFlags::OUT, writable);
        Slot { entry: PollFd::from_borrowed_fd(fd, events) }
    }

    /// Whether a read would not block; also at the end of the stream and on an error, so that the read tells which.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.came(PollFlags::IN | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// Whether a write would not block; also when it would fail.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.came(PollFlags::OUT | PollFlags::ERR | PollFlags::NVAL)
    }

    /// Whether the other end is gone, or the descriptor is in an error state. There may still be something to read.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.came(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    fn came(&self, events: PollFlags) -> bool {
        self.entry.revents().intersects(events)
    }
}

/// Waits until one of `slots` has something or `timeout` is over, and returns how many have. Without a time-out it waits for ever.
/// Never early, to the nanosecond; a signal handler that ran makes it return 0.
///
/// **Source:** ppoll(2).
pub fn wait(slots: &mut [Slot<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs().min(i32::MAX.unsigned_abs().into()).try_into().unwrap_or(0),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let entries = std::ptr::from_mut(slots) as *mut [PollFd<'_>];
    // SAFETY: `Slot` is `repr(transparent)` over `PollFd`, so a slice of one has the layout of a slice of the other; the exclusive
    // borrow of `slots` lasts as long as this one.
    let entries = unsafe { &mut *entries };
    match rustix::event::poll(entries, limit.as_ref()) {
        Ok(count) => Ok(count),
        Err(rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, wait};
    use crate::clock;
    use std::io::{self, Write};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn says_what_is_ready_and_what_is_gone() -> io::Result<()> {
        let (reader, mut writer) = io::pipe()?;
        let mut slots = [Slot::new(reader.as_fd(), true, false), Slot::new(writer.as_fd(), false, true)];
        assert_eq!(wait(&mut slots, None)?, 1);
        assert!(matches!(&slots, [read, write] if !read.readable() && write.writable() && !write.closed()));
        writer.write_all(b"x")?;
        let mut slots = [Slot::new(reader.as_fd(), true, false)];
        assert_eq!(wait(&mut slots, Some(Duration::MAX))?, 1);
        assert!(matches!(&slots, [read] if read.readable() && !read.closed()));
        drop(writer);
        let mut slots = [Slot::new(reader.as_fd(), false, false)];
        assert_eq!(wait(&mut slots, Some(Duration::ZERO))?, 1);
        assert!(matches!(&slots, [read] if read.closed()));
        Ok(())
    }

    #[test]
    fn is_never_early() -> io::Result<()> {
        for nanos in [1, 999, 1_000_001, 2_999_999] {
            let start = clock::monotonic();
            assert_eq!(wait(&mut [], Some(Duration::from_nanos(nanos)))?, 0);
            assert!(clock::monotonic() - start >= nanos);
        }
        Ok(())
    }
}
