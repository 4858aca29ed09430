//! The one reaper: look at what happened to a child, let the caller find out whose it is, then take it.
//!
//! Looking first (`WNOWAIT`) means that a pid is known to be ours for as long as anyone might still signal it.

use std::io;

use libc::{c_int, id_t, idtype_t};

/// What became of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Signaled(u8),
    /// This signal stopped it.
    Stopped(u8),
    /// It runs again.
    Continued,
}

/// A change that nobody has taken yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peeked {
    /// The child.
    pub pid: i32,
    /// What became of it.
    pub change: Change,
}

/// What [`peek`] saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// Something happened to a child.
    Child(Peeked),
    /// There are children, and nothing new about them.
    NoneReady,
    /// There is no child at all, adopted ones included.
    NoChildren,
}

/// Looks for a child that ended or was stopped, and leaves it as it is: the same one is seen again until [`reap`] took it.
///
/// **Source:** waitid(2).
pub fn peek() -> io::Result<Peek> {
    wait(libc::P_ALL, 0, libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT)
}

/// Takes exactly the change that [`peek`] saw. One that has been overtaken (a stopped child that was continued or killed since) is left to
/// the next look; an end is never taken in place of a stop.
///
/// **Errors:** `ECHILD` when it ended and has been reaped already.
///
/// **Source:** waitid(2).
pub fn reap(peeked: Peeked) -> io::Result<()> {
    let kind = match peeked.change {
        Change::Exited(_) | Change::Signaled(_) => libc::WEXITED,
        Change::Stopped(_) => libc::WSTOPPED,
        Change::Continued => libc::WCONTINUED,
    };
    match wait(libc::P_PID, peeked.pid, kind | libc::WNOHANG)? {
        // A child that has ended is none to someone who asks for stops only.
        Peek::NoChildren if kind == libc::WEXITED => Err(io::Error::from_raw_os_error(libc::ECHILD)),
        Peek::Child(_) | Peek::NoneReady | Peek::NoChildren => Ok(()),
    }
}

/// Waits for the end of `pid`, which is known to be near, and takes it.
///
/// **Errors:** `ECHILD` when it is no child, or reaped already.
///
/// **Source:** waitid(2).
pub fn reap_now(pid: i32) -> io::Result<Peek> {
    wait(libc::P_PID, pid, libc::WEXITED)
}

/// Takes one child that ended, if there is one.
pub(crate) fn reap_any() -> io::Result<Peek> {
    wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG)
}

fn wait(kind: idtype_t, pid: i32, options: c_int) -> io::Result<Peek> {
    let id = id_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: all zeroes is a valid `siginfo_t`, a plain C structure of integers and pointers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: waitid(2) writes one `siginfo_t`, which `info` is.
        if unsafe { libc::waitid(kind, id, &raw mut info, options) } == 0 {
            return Ok(understand(&info));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EINTR) => {}
            error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Peek::NoChildren),
            error => return Err(error),
        }
    }
}

fn understand(info: &libc::siginfo_t) -> Peek {
    // SAFETY: waitid(2) fills in the pid of a child, or leaves the zeroes of `wait` when there is nothing to tell.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as for the pid; the status is in the same part of the structure.
    let status = unsafe { info.si_status() };
    let signal = u8::try_from(status).unwrap_or(0);
    let change = match info.si_code {
        _ if pid == 0 => return Peek::NoneReady,
        libc::CLD_EXITED => Change::Exited(status),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => Change::Stopped(signal),
        libc::CLD_CONTINUED => Change::Continued,
        _ => Change::Signaled(signal),
    };
    Peek::Child(Peeked { pid, change })
}
