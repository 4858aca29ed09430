//! Lines a child writes, passed on by PID 1 as log records (`--output log`, kapo's `--stdlog`) or thrown away.
//!
//! Only where asked for: by default a child writes to PID 1's own streams and no byte passes through here. A stream is read while the log
//! has room, so a stalled log makes the child wait, not PID 1, and no line is lost. It ends at end of file, never before: what is in the pipe when
//! the child is gone is still read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hilum_config::Voice;
use hilum_engine::{Incarnation, ServiceId};

use crate::log::{Level, Log, pair};

/// Longest line passed on whole; a longer one is passed on in pieces of this size. **Units:** bytes.
const LINE: usize = 16 * 1024;

/// One stream of one run.
#[derive(Debug)]
pub(crate) struct Relay {
    service: ServiceId,
    run: Incarnation,
    stream: &'static str,
    pipe: OwnedFd,
    /// Whether lines are logged or dropped.
    logged: bool,
    partial: Vec<u8>,
}

impl Relay {
    /// A relay that reads from `pipe`, which must be non-blocking.
    #[must_use]
    pub(crate) fn new(
        service: ServiceId,
        run: Incarnation,
        stream: &'static str,
        pipe: OwnedFd,
        logged: bool,
    ) -> Relay {
        Relay { service, run, stream, pipe, logged, partial: Vec::new() }
    }

    /// The pipe, to wait for.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads what is there, as far as the log has room. Returns false at the end of the stream.
    pub(crate) fn read(&mut self, name: &str, voice: Voice, log: &mut Log) -> bool {
        let mut buffer = [0; 4096];
        while log.has_room() {
            match hilum_sys::pipe::read(self.pipe.as_fd(), &mut buffer) {
                Ok(0) => {
                    if !self.partial.is_empty() {
                        let rest = std::mem::take(&mut self.partial);
                        self.line(&rest, name, voice, log);
                    }
                    return false;
                }
                Ok(read) => self.take(buffer.get(..read).unwrap_or_default(), name, voice, log),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8], name: &str, voice: Voice, log: &mut Log) {
        if !self.logged {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
            rest = tail.get(1..).unwrap_or_default();
            self.partial.extend_from_slice(piece);
            if end.is_some() || self.partial.len() >= LINE {
                let line = std::mem::take(&mut self.partial);
                self.line(&line, name, voice, log);
            }
        }
    }

    fn line(&self, line: &[u8], name: &str, voice: Voice, log: &mut Log) {
        let text = String::from_utf8_lossy(line);
        if voice == Voice::Kapo {
            return log.say(Level::Info, &text);
        }
        let mut pairs = String::new();
        pair(&mut pairs, "service", name);
        pair(&mut pairs, "run", &self.run.0.to_string());
        pair(&mut pairs, "stream", self.stream);
        pair(&mut pairs, "message", &text);
        log.say(Level::Info, &pairs);
    }

    /// Whose stream this is.
    #[must_use]
    pub(crate) fn service(&self) -> ServiceId {
        self.service
    }
}
