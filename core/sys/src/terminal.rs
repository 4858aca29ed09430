//! The terminal on standard input: whether it is ours, and handing it over.
//!
//! Changing the foreground group from the background raises SIGTTOU, whose default is to stop (termios(3)): every change here is made
//! with all signals blocked, which the kernel takes as leave to go ahead.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios;

use crate::process;
use crate::signal::{self, Mask};

/// Whether standard input is a terminal, controls our session, and has us in its foreground: whether it is ours to hand over.
#[must_use]
pub fn is_controlling() -> bool {
    match termios::tcgetpgrp(stdin()) {
        // Started in the background, it is somebody else's to hand over.
        Ok(group) => group == rustix::process::getpgrp(),
        // The foreground group is outside of our pid namespace and has no number here.
        Err(Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}

/// Whether we lead our session.
#[must_use]
pub fn leads_session() -> bool {
    rustix::process::getsid(None).is_ok_and(|session| session == rustix::process::getpid())
}

/// Gives up the controlling terminal, so that a child's new session can take it. If we lead the session, the kernel sends SIGHUP and
/// SIGCONT to the foreground group, which we may be in; these two are swallowed.
///
/// **Source:** TIOCNOTTY(2const).
pub fn give_up() -> io::Result<()> {
    let before = Mask::ALL.swap()?;
    let terminal = std::os::fd::AsRawFd::as_raw_fd(&stdin());
    // SAFETY: TIOCNOTTY takes no argument and touches no memory of ours.
    let done = signal::outcome(unsafe { libc::ioctl(terminal, libc::TIOCNOTTY) }.into());
    let sent = [libc::SIGHUP, libc::SIGCONT];
    while done.is_ok() && matches!(signal::take(&sent, Duration::ZERO), Ok(Some(_))) {}
    before.set()?;
    done.map(|_| ())
}

/// Makes our own process group the terminal's foreground group.
///
/// **Source:** tcsetpgrp(3).
pub fn take_foreground() -> io::Result<()> {
    set_foreground(rustix::process::getpgrp().as_raw_pid())
}

/// Makes a process group of our session the terminal's foreground group.
///
/// **Source:** tcsetpgrp(3).
pub fn set_foreground(group: i32) -> io::Result<()> {
    let group = process::positive(group)?;
    let before = Mask::ALL.swap()?;
    let done = termios::tcsetpgrp(stdin(), group);
    before.set()?;
    Ok(done?)
}
