//! Processes: who we are, signals to others, and what PID 1 sets once for itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

use crate::signal::outcome;

/// Whom a signal is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'fd> {
    /// The process behind a pidfd.
    Pidfd(BorrowedFd<'fd>),
    /// A process; one of ours that is not reaped yet, or the number may be another's by now.
    Pid(i32),
    /// A process group.
    Group(i32),
    /// Every process of the pid namespace except ourselves; only for its first process.
    All,
}

/// Sends a signal; signal 0 only asks whether that would be possible.
///
/// **Errors:** `ESRCH` when there is no such process; `InvalidInput` for a pid or group that kill(2) would take for something else
/// (0, 1 as a group, negative), and for [`Target::All`] from any other process than the first.
///
/// **Source:** kill(2), pidfd_send_signal(2).
pub fn signal(target: Target<'_>, signal: u8) -> io::Result<()> {
    let pid = match target {
        Target::Pidfd(pidfd) => return signal_pidfd(pidfd, signal),
        Target::Pid(pid) if pid > 0 => pid,
        Target::Group(group) if group > 1 => -group,
        Target::All if pid() == 1 => -1,
        Target::Pid(_) | Target::Group(_) | Target::All => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{target:?} is not to be signalled")));
        }
    };
    kill(pid, signal.into())
}

/// kill(2) with its own meaning of `pid`. Async-signal-safe.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    outcome(unsafe { libc::kill(pid, signal) }.into()).map(|_| ())
}

fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: u8) -> io::Result<()> {
    let (fd, number, info) = (pidfd.as_raw_fd(), libc::c_int::from(signal), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: pidfd_send_signal(2) allows a null info, and `fd` is open as long as `pidfd` is borrowed.
    outcome(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, info, 0) }).map(|_| ())
}

/// Longest turn that a thread can ask for.
///
/// **Source:** kernel/sched/syscalls.c, `__setparam_fair`.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// Lets the calling thread, and no other, run behind those of a lower `nice`, 19 being the last, and give way at once to any that wakes up: it is
/// scheduled for batch work, in long turns, and who has shorter ones goes first (before Linux 6.12 only its share is less). Threads it starts
/// later are as it is. A thread cannot take that back.
///
/// **Errors:** `EPERM` if it is behind that already; otherwise none that a confined worker meets.
///
/// **Source:** sched_setattr(2), sched(7).
pub fn step_back(nice: i32) -> io::Result<()> {
    /// What Linux knew when it came with the call, which is all there is to set.
    const SIZE: u32 = 48;
    // SAFETY: integers, of which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = SIZE;
    attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
    attributes.sched_nice = nice;
    attributes.sched_runtime = u64::try_from(LONGEST_TURN.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the pointer is to a value that lives through the call, and its first field tells its size.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0) }).map(|_| ())
}

/// Whether a process group has members, zombies included. One that may not be signalled exists.
///
/// **Source:** kill(2).
#[must_use]
pub fn group_exists(group: i32) -> bool {
    match signal(Target::Group(group), 0) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(libc::EPERM),
    }
}

/// Our process id.
#[must_use]
pub fn pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Our parent's process id, 0 if it is outside of our pid namespace.
#[must_use]
pub fn parent() -> i32 {
    Pid::as_raw(rustix::process::getppid())
}

/// Makes orphans among our descendants our children, as they would be PID 1's.
///
/// **Source:** PR_SET_CHILD_SUBREAPER(2const).
pub fn set_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Whether orphans among our descendants become our children by [`set_subreaper`].
#[must_use]
pub fn is_subreaper() -> bool {
    rustix::process::child_subreaper().is_ok_and(|set| set.is_some())
}

/// Sets the signal we get when our parent dies; 0 for none. If that has already happened, the parent is another one by now: check
/// [`parent`] afterwards.
///
/// **Source:** PR_SET_PDEATHSIG(2const).
pub fn set_parent_death_signal(signal: u8) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes an integer and touches no memory of ours.
    outcome(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(signal)) }.into()).map(|_| ())
}

/// A descriptor for a process that is not reaped yet. Close-on-exec; readable once the process ended.
///
/// **Errors:** `Unsupported` on Linux before 5.3.
///
/// **Source:** pidfd_open(2).
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(positive(pid)?, PidfdFlags::empty())?)
}

/// A process or group number that is one.
pub(crate) fn positive(pid: i32) -> io::Result<Pid> {
    if pid > 0 {
        Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput.into())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The descriptor limit before [`raise_descriptor_limit`]; children get it back.
static DESCRIPTORS_BEFORE: OnceLock<(Option<u64>, Option<u64>)> = OnceLock::new();

/// Raises our soft limit of open descriptors to the hard one and returns it. Children are started with the limit from before:
/// programs that use select(2) break above 1,024.
///
/// **Source:** getrlimit(2).
pub fn raise_descriptor_limit() -> u64 {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum && rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
        DESCRIPTORS_BEFORE.get_or_init(|| (before.current, before.maximum));
    }
    descriptor_limit()
}

/// Our soft limit of open descriptors; `u64::MAX` for none.
///
/// **Source:** getrlimit(2).
#[must_use]
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The descriptor limit a child is to have, if ours has been raised.
pub(crate) fn children_descriptor_limit() -> Option<(Option<u64>, Option<u64>)> {
    DESCRIPTORS_BEFORE.get().copied()
}

#[cfg(test)]
mod tests {
    use super::{Target, group_exists, kill, parent, pid, pidfd_open, signal, step_back};
    use std::io::{self, Read};
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn targets_that_kill_would_misread_are_refused() {
        for target in
            [Target::Pid(0), Target::Pid(-1), Target::Group(0), Target::Group(1), Target::Group(-5), Target::All]
        {
            assert_eq!(signal(target, 0).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput), "{target:?}");
        }
        assert!(signal(Target::Pid(pid()), 0).is_ok());
        assert!(!group_exists(1) && !group_exists(-1) && !group_exists(i32::MAX));
        assert!(kill(i32::MAX, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)));
        assert!(parent() > 0);
    }

    #[test]
    fn a_thread_that_steps_back_is_for_batch_work_alone() -> io::Result<()> {
        let stepped = std::thread::spawn(|| {
            step_back(3)?;
            std::fs::read_to_string("/proc/thread-self/stat")
        });
        let stat = stepped.join().map_err(|_| io::Error::other("it panicked"))??;
        // Counted behind the name, which may hold spaces: the fields 19, nice, and 41, policy, of proc_pid_stat(5).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        assert_eq!((fields.get(16), fields.get(38)), (Some(&"3"), Some(&"3")), "{stat}");
        Ok(())
    }

    #[test]
    fn a_pidfd_signals_its_process_and_no_later_one() -> io::Result<()> {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pidfd = pidfd_open(i32::try_from(child.id()).map_err(io::Error::other)?)?;
        signal(Target::Pidfd(pidfd.as_fd()), 15)?;
        let mut rest = Vec::new();
        child.stdout.take().ok_or(io::ErrorKind::NotFound)?.read_to_end(&mut rest)?;
        assert_eq!(child.wait()?.signal(), Some(15));
        assert!(signal(Target::Pidfd(pidfd.as_fd()), 15).is_err_and(|e| e.raw_os_error() == Some(libc::ESRCH)));
        assert!(pidfd_open(0).is_err() && pidfd_open(-1).is_err());
        Ok(())
    }
}
