//! Descriptors we were started with, taken into ownership.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Highest number of an inherited descriptor. What passes descriptors (systemd, PID 1 to its workers) numbers them from 3 without gaps; a
/// count beyond this is a mistake or an attack.
pub const LAST: RawFd = 63;

/// Numbers already taken, one bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Takes an inherited descriptor, 3 to [`LAST`], each once, and sets it close-on-exec.
///
/// **Order:** first thing in the process: a number that was not inherited may belong to something opened since.
///
/// **Errors:** `EBADF` when it is not open, `InvalidInput` outside of the range, `AlreadyExists` for a second time.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    if !(3..=LAST).contains(&fd) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} is not 3 to {LAST}")));
    }
    // SAFETY: not -1, checked above; the borrow ends before ownership begins, and a number that is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl_getfd(borrowed)?;
    if TAKEN.fetch_or(1 << fd, Ordering::Relaxed) & (1 << fd) != 0 {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("descriptor {fd} has been taken before")));
    }
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: the number is open (`fcntl_getfd`), was passed to us to own (the caller's promise by the order above), and is taken
    // once only (`TAKEN`).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::{LAST, take};
    use std::io;

    #[test]
    fn numbers_that_cannot_be_inherited_are_refused() {
        for fd in [-1, 0, 2, LAST + 1, i32::MAX, i32::MIN] {
            assert_eq!(take(fd).map_err(|error| error.kind()).err(), Some(io::ErrorKind::InvalidInput), "{fd}");
        }
        assert_eq!(take(LAST).map_err(|error| error.raw_os_error()).err(), Some(Some(libc::EBADF)));
    }
}
