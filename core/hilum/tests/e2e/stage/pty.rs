//! A terminal of the test's own: what is written to it was typed, what is read from it is on the screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::DEADLINE;
use super::boot::readable_within;
use super::failure::{Context as _, Failure, fail};

/// Ctrl-C, Ctrl-Z, Ctrl-backslash as a keyboard sends them.
pub(crate) const CTRL_C: &[u8] = b"\x03";
pub(crate) const CTRL_Z: &[u8] = b"\x1a";
pub(crate) const CTRL_BACKSLASH: &[u8] = b"\x1c";

/// The master end of a pseudo-terminal.
pub(crate) struct Pty {
    master: OwnedFd,
    name: String,
    screen: String,
    read_to: usize,
}

impl Pty {
    pub(crate) fn new() -> Result<Pty, Failure> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
        Ok(Pty { master, name, screen: String::new(), read_to: 0 })
    }

    /// The other end, not made anybody's controlling terminal.
    pub(crate) fn open(&self) -> Result<File, Failure> {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let end = rustix::fs::open(Path::new(&self.name), flags, rustix::fs::Mode::empty())?;
        Ok(File::from(end))
    }

    /// Types.
    pub(crate) fn type_in(&mut self, keys: &[u8]) -> Result<(), Failure> {
        let mut file = File::from(self.master.try_clone()?);
        file.write_all(keys).context("cannot type")
    }

    /// Waits until the screen shows this, after what was waited for before; returns the rest of its line.
    pub(crate) fn shows(&mut self, wanted: &str) -> Result<String, Failure> {
        let until = Instant::now() + DEADLINE;
        loop {
            let fresh = self.screen.get(self.read_to..).unwrap_or_default();
            if let Some(at) = fresh.find(wanted)
                && let Some(end) = fresh.get(at..).and_then(|tail| tail.find('\n'))
            {
                let rest = fresh.get(at + wanted.len()..at + end).unwrap_or_default().trim().to_owned();
                self.read_to += at + end;
                return Ok(rest);
            }
            if !self.read(until.saturating_duration_since(Instant::now()))? {
                return fail(format!("the terminal does not show {wanted:?}; it shows {:?}", self.screen));
            }
        }
    }

    /// Everything shown so far.
    pub(crate) fn screen(&self) -> &str {
        &self.screen
    }

    fn read(&mut self, limit: Duration) -> Result<bool, Failure> {
        if !readable_within(&self.master, limit)? {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        match File::from(self.master.try_clone()?).read(&mut buffer) {
            // Nobody has the other end open any more (EIO).
            Ok(0) | Err(_) => Ok(false),
            Ok(read) => {
                self.screen.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
                Ok(true)
            }
        }
    }

    /// The foreground group, as seen from here.
    pub(crate) fn foreground(&self) -> Result<i32, Failure> {
        Ok(tcgetpgrp(&self.master)?.as_raw_pid())
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        Ok(())
    }
}
