//! Writing to a stream we share with our children without ever waiting for whoever reads it.
//!
//! A stalled log driver must not stall PID 1, and `O_NONBLOCK` cannot be set on a shared stream: it belongs to the open file, so the
//! children would get `EAGAIN` in their own writes. What the kernel offers differs by file and version; the best way is found at the first
//! write and kept.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::SendFlags;

/// Most that is written after poll(2) said there is room: on a pipe at least this much then fits (pipe(7)).
const PIPE_ROOM: usize = 4096;

/// The same for a terminal, which says it has room when its queue holds less than this.
const TERMINAL_ROOM: usize = 256;

/// A shared stream.
#[derive(Debug)]
pub struct Output<'fd> {
    stream: BorrowedFd<'fd>,
    way: Way,
}

/// How to write without waiting.
#[derive(Debug)]
enum Way {
    /// Not looked at yet.
    Unknown,
    /// Plainly: a file has no reader to wait for.
    File,
    /// send(2) with `MSG_DONTWAIT`.
    Socket,
    /// pwritev2(2) with `RWF_NOWAIT`.
    NoWait,
    /// A file description of our own for the same stream, with `O_NONBLOCK`.
    Private(OwnedFd),
    /// Ask poll(2), then write no more than surely fits. Another writer may come in between; there is nothing better.
    Polled,
}

impl Output<'static> {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Output<'static> {
        Output::new(rustix::stdio::stdout())
    }

    /// Standard error.
    #[must_use]
    pub fn stderr() -> Output<'static> {
        Output::new(rustix::stdio::stderr())
    }
}

impl<'fd> Output<'fd> {
    /// The stream behind `stream`, whose flags are left alone.
    #[must_use]
    pub fn new(stream: BorrowedFd<'fd>) -> Output<'fd> {
        Output { stream, way: Way::Unknown }
    }

    /// Writes what can be written now, and returns how much that was.
    ///
    /// **Errors:** `WouldBlock` when that is nothing; `BrokenPipe` when nobody reads any more.
    ///
    /// **Source:** pwritev2(2), send(2), pipe(7).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let written = match &self.way {
                Way::Unknown => {
                    self.way = Way::of(self.stream)?;
                    continue;
                }
                Way::File => rustix::io::write(self.stream, bytes),
                Way::Socket => send(self.stream, bytes),
                Way::NoWait => match no_wait(self.stream, bytes) {
                    Err(error) if refuses_no_wait(error) => {
                        self.way = reopen(self.stream).map_or(Way::Polled, Way::Private);
                        continue;
                    }
                    other => other,
                },
                Way::Private(own) => rustix::io::write(own, bytes),
                Way::Polled => polled(self.stream, bytes),
            };
            match written {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

impl AsFd for Output<'_> {
    /// What to poll for room.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Private(own) => own.as_fd(),
            Way::Unknown | Way::File | Way::Socket | Way::NoWait | Way::Polled => self.stream,
        }
    }
}

impl Way {
    fn of(stream: BorrowedFd<'_>) -> Result<Way, Errno> {
        Ok(match FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) {
            FileType::Socket => Way::Socket,
            FileType::Fifo | FileType::CharacterDevice => Way::NoWait,
            _ => Way::File,
        })
    }
}

/// Writes once, without waiting, keeping nothing and allocating nothing: for a process in its last moments.
pub(crate) fn write_last(stream: BorrowedFd<'_>, bytes: &[u8]) {
    // Nobody is left to tell of a failure.
    let _written = match Way::of(stream) {
        Ok(Way::Socket) => send(stream, bytes),
        Ok(Way::File) => rustix::io::write(stream, bytes),
        Ok(_) => match no_wait(stream, bytes) {
            Err(error) if refuses_no_wait(error) => polled(stream, bytes),
            other => other,
        },
        Err(error) => Err(error),
    };
}

fn send(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

fn no_wait(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    // The offset of all ones stands for the stream's own position, as with writev(2).
    rustix::io::pwritev2(stream, &[IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT)
}

/// Whether the kernel (or a seccomp profile) does not know the flag for this kind of file, rather than having no room.
const fn refuses_no_wait(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE | Errno::PERM)
}

fn reopen(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::APPEND;
    let own = rustix::fs::open(path, flags, Mode::empty())?;
    let (ours, theirs) = (rustix::fs::fstat(&own)?, rustix::fs::fstat(stream)?);
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
        Ok(own)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn polled(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let mut slots = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
    rustix::event::poll(&mut slots, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [slot] = &slots;
    if slot.revents().is_empty() {
        return Err(Errno::AGAIN);
    }
    let room = if rustix::termios::isatty(stream) { TERMINAL_ROOM } else { PIPE_ROOM };
    rustix::io::write(stream, bytes.get(..room).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::{Output, Way, reopen, write_last};
    use std::io::{self, Read, Seek};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    /// Writes until there is no room; a write that blocks would never let this end, as nobody reads.
    fn fill(output: &mut Output<'_>) -> io::Result<usize> {
        let mut total = 0;
        loop {
            match output.write(&[b'x'; 10_000]) {
                Ok(count) if count > 0 && total < 100_000_000 => total += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                other => return Err(io::Error::other(format!("after {total} bytes: {other:?}"))),
            }
        }
    }

    fn is_blocking(fd: impl AsFd) -> io::Result<bool> {
        Ok(!rustix::fs::fcntl_getfl(fd)?.contains(rustix::fs::OFlags::NONBLOCK))
    }

    #[test]
    fn a_full_pipe_blocks_in_no_way_and_keeps_its_flags() -> io::Result<()> {
        for way in 0..3 {
            let (mut reader, writer) = io::pipe()?;
            let mut output = Output::new(writer.as_fd());
            match way {
                0 => {}
                1 => output.way = Way::Private(reopen(writer.as_fd())?),
                _ => output.way = Way::Polled,
            }
            let total = fill(&mut output)?;
            assert!(total >= 4096, "way {way}: {total}");
            write_last(writer.as_fd(), b"no room");
            assert!(is_blocking(&writer)?);
            reader.read_exact(&mut vec![0; total])?;
            assert_eq!(output.write(b"again")?, 5);
            drop(reader);
            assert_eq!(output.write(b"gone").map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        }
        Ok(())
    }

    #[test]
    fn full_sockets_do_not_block() -> io::Result<()> {
        let (left, _right) = UnixStream::pair()?;
        let (packet, _other) = UnixDatagram::pair()?;
        for socket in [OwnedFd::from(left), OwnedFd::from(packet)] {
            assert!(fill(&mut Output::new(socket.as_fd()))? > 0);
            assert!(is_blocking(&socket)?);
        }
        Ok(())
    }

    #[test]
    fn files_and_devices_take_everything() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("hilum-output-{}", std::process::id()));
        let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        let mut output = Output::new(file.as_fd());
        assert_eq!((output.write(b"")?, output.write(b"one")?, output.write(b"two")?), (0, 3, 3));
        file.rewind()?;
        let mut written = String::new();
        file.read_to_string(&mut written)?;
        assert_eq!(written, "onetwo");
        let null = std::fs::File::options().write(true).open("/dev/null")?;
        assert_eq!(Output::new(null.as_fd()).write(&[0; 70_000])?, 70_000);
        Ok(())
    }
}
