//! Pipes for children's standard streams.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

/// A new pipe, close-on-exec: the end to read from and the end to write to.
///
/// **Source:** pipe2(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// Makes reads and writes of one end return `WouldBlock` instead of waiting. The other end is an open file of its own and stays as it is.
///
/// **Source:** fcntl(2), `F_SETFL`.
pub fn set_nonblocking(end: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(end)?;
    Ok(rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?)
}

/// Reads what is there.
///
/// **Source:** read(2).
pub fn read(end: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(end, buffer)?)
}

#[cfg(test)]
mod tests {
    use super::{pair, read, set_nonblocking};
    use std::io::{self, Write};
    use std::os::fd::AsFd;

    #[test]
    fn only_our_end_is_non_blocking() -> io::Result<()> {
        let (ours, theirs) = pair()?;
        set_nonblocking(ours.as_fd())?;
        let mut buffer = [0; 8];
        assert_eq!(read(ours.as_fd(), &mut buffer).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        assert!(!rustix::fs::fcntl_getfl(&theirs)?.contains(rustix::fs::OFlags::NONBLOCK));
        let mut writer = std::fs::File::from(theirs);
        writer.write_all(b"abc")?;
        assert_eq!(read(ours.as_fd(), &mut buffer)?, 3);
        drop(writer);
        assert_eq!(read(ours.as_fd(), &mut buffer)?, 0);
        Ok(())
    }
}
