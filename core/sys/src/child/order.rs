//! What a child does between clone(2) and execve(2), prepared by the parent down to the last pointer.
//!
//! [`Order::perform`] and all it calls run in the child, in the parent's memory and under the rules in `child.rs`.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{Gid, Resource as Limited, Rlimit, Uid};
use rustix::stdio::stdin;

use super::{Group, Program, Resource, SpawnError, Spec, Step, c_string, candidates};
use crate::process;
use crate::signal::{self, Mask};

/// What failed in the child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) error: Errno,
    /// Which descriptor, limit or path it was about, counted in the order of the spec or of the candidates.
    pub(super) index: usize,
}

impl Failure {
    fn at(step: Step, index: usize) -> impl Fn(Errno) -> Failure {
        move |error| Failure { step, error, index }
    }
}

/// A null-terminated array of C strings, as execve(2) takes it.
struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Strings {
        let pointers = owned.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Strings { pointers, _owned: owned }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

enum Executable {
    Candidates(Vec<CString>),
    Descriptor(AtomicI32),
}

/// A descriptor on its way to its number in the child. `from` changes when it must make way for another's number.
struct Move {
    from: AtomicI32,
    to: RawFd,
}

/// One spawn, ready to be carried out.
pub(super) struct Order {
    executable: Executable,
    argv: Strings,
    env: Strings,
    directory: Option<CString>,
    moves: Vec<Move>,
    /// Ranges of descriptors to close, by the kernel in one go each, or one by one where it cannot.
    close_ranges: Vec<(u32, u32)>,
    close_each: Vec<RawFd>,
    group: Group,
    parent: i32,
    parent_death_signal: u8,
    umask: Option<u32>,
    user: Option<(Uid, Gid, Vec<Gid>)>,
    no_new_privileges: bool,
    limits: Vec<(Limited, Rlimit)>,
    oom_score_adjust: Option<String>,
    changed_signals: u64,
    failed_step: AtomicU8,
    failed_error: AtomicI32,
    failed_index: AtomicUsize,
}

impl Order {
    pub(super) fn prepare(spec: &Spec<'_>) -> Result<Order, SpawnError> {
        Order::try_prepare(spec).map_err(|error| SpawnError::at(Step::Prepare, spec, error))
    }

    fn try_prepare(spec: &Spec<'_>) -> io::Result<Order> {
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
        if spec.argv.is_empty() {
            return Err(invalid("no argument at all, not even the program's own name".into()));
        }
        let executable = match spec.program {
            Program::Search(program) => Executable::Candidates(candidates(program, spec.env.get("PATH"))?),
            Program::Descriptor(descriptor) => Executable::Descriptor(AtomicI32::new(descriptor.as_raw_fd())),
        };
        let argv: io::Result<_> = spec.argv.iter().map(|word| c_string(word.as_bytes().to_vec())).collect();
        let variable = |(name, value): &(OsString, OsString)| {
            // An inherited name may begin with the sign that ends others.
            if name.is_empty() || name.as_bytes().iter().skip(1).any(|byte| *byte == b'=') {
                return Err(invalid(format!("{name:?} is no name for a variable")));
            }
            c_string([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let env: io::Result<_> = spec.env.variables.iter().map(variable).collect();
        let mut targets: Vec<RawFd> = spec.descriptors.iter().map(|(_, to)| *to).collect();
        targets.sort_unstable();
        let twice = targets.windows(2).find(|pair| matches!(pair, [a, b] if a == b)).and_then(|pair| pair.first());
        if let Some(fd) = targets.first().filter(|fd| **fd < 0).or(twice) {
            return Err(invalid(format!("descriptor number {fd} of the child is negative or given twice")));
        }
        let (close_ranges, close_each) = if spec.close_rest { closing(&targets) } else { (Vec::new(), Vec::new()) };
        if spec.user.as_ref().is_some_and(|user| !user.is_valid()) {
            return Err(invalid(format!("{} is no user or group id", u32::MAX)));
        }
        let directory = spec.directory.map(|path| c_string(path.as_os_str().as_bytes().to_vec())).transpose()?;
        let limited = spec.limits.iter().any(|(resource, ..)| *resource == Resource::Descriptors);
        let restored = process::children_descriptor_limit().filter(|_| !limited);
        let restored = restored.map(|(current, maximum)| (Limited::Nofile, Rlimit { current, maximum }));
        let limits = spec.limits.iter().map(|(resource, soft, hard)| {
            (limited_by(*resource), Rlimit { current: bounded(*soft), maximum: bounded(*hard) })
        });
        Ok(Order {
            executable,
            argv: Strings::new(argv?),
            env: Strings::new(env?),
            directory,
            moves: spec
                .descriptors
                .iter()
                .map(|(from, to)| Move { from: AtomicI32::new(from.as_raw_fd()), to: *to })
                .collect(),
            close_ranges,
            close_each,
            group: spec.group,
            parent: process::pid(),
            parent_death_signal: spec.parent_death_signal,
            umask: spec.umask,
            user: spec.user.as_ref().map(|user| {
                let groups = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
                (Uid::from_raw(user.uid), Gid::from_raw(user.gid), groups)
            }),
            no_new_privileges: spec.no_new_privileges,
            // The spec's own come first, so that an index into them says which one failed.
            limits: limits.chain(restored).collect(),
            oom_score_adjust: spec.oom_score_adjust.map(|score| score.to_string()),
            changed_signals: signal::changed(),
            failed_step: AtomicU8::new(0),
            failed_error: AtomicI32::new(0),
            failed_index: AtomicUsize::new(0),
        })
    }

    /// What failed, once the child is done with this order.
    pub(super) fn failure(&self) -> Option<Failure> {
        let error = self.failed_error.load(Ordering::Acquire);
        let step = Step::from_index(self.failed_step.load(Ordering::Relaxed));
        let index = self.failed_index.load(Ordering::Relaxed);
        (error != 0).then(|| Failure { step, error: Errno::from_raw_os_error(error), index })
    }

    /// The path tried at `index`.
    pub(super) fn candidate(&self, index: usize) -> Option<&CStr> {
        match &self.executable {
            Executable::Candidates(paths) => paths.get(index).map(CString::as_c_str),
            Executable::Descriptor(_) => None,
        }
    }

    /// Everything between clone(2) and execve(2), and that too. Returns only if something failed. The order matters: what needs privileges
    /// comes before the identity is given up; the parent-death signal after it, since that clears it (PR_SET_PDEATHSIG(2const)); the signal
    /// mask last.
    fn perform(&self) -> Failure {
        let failure = self.separate().and_then(|()| self.pass_descriptors()).and_then(|()| self.confine());
        match failure {
            Err(failure) => failure,
            Ok(()) => self.execute(),
        }
    }

    fn separate(&self) -> Result<(), Failure> {
        for number in 1..=signal::MAX {
            if self.changed_signals & (1 << (number - 1)) != 0 {
                // Fails for 9 and 19 only, which have no other disposition.
                let _reset = signal::dispose(number.into(), libc::SIG_DFL);
            }
        }
        match self.group {
            Group::Shared => {}
            Group::Own { foreground } => {
                rustix::process::setpgid(None, None).map_err(Failure::at(Step::Group, 0))?;
                if foreground {
                    match rustix::termios::tcsetpgrp(stdin(), rustix::process::getpid()) {
                        // Not a terminal, not ours, closed, or hung up: nothing to hand over.
                        Ok(()) | Err(Errno::NOTTY | Errno::BADF | Errno::NXIO | Errno::IO) => {}
                        Err(error) => return Err(Failure::at(Step::Terminal, 0)(error)),
                    }
                }
            }
            Group::Session { terminal } => {
                rustix::process::setsid().map_err(Failure::at(Step::Group, 0))?;
                if terminal {
                    // SAFETY: TIOCSCTTY takes an integer and touches no memory of ours. One that fails leaves the session without a terminal.
                    unsafe { libc::ioctl(stdin().as_raw_fd(), libc::TIOCSCTTY, 0) };
                }
            }
        }
        match &self.directory {
            Some(directory) => rustix::process::chdir(directory.as_c_str()).map_err(Failure::at(Step::Directory, 0)),
            None => Ok(()),
        }
    }

    fn pass_descriptors(&self) -> Result<(), Failure> {
        let highest = self.moves.iter().map(|step| step.to).max().unwrap_or(-1);
        // Whatever sits on a number that another one wants moves out of the way first.
        let sources = self.moves.iter().map(|step| &step.from).enumerate();
        let executable = match &self.executable {
            Executable::Descriptor(descriptor) => Some((self.moves.len(), descriptor)),
            Executable::Candidates(_) => None,
        };
        for (index, source) in sources.chain(executable) {
            let from = source.load(Ordering::Relaxed);
            if from <= highest {
                // SAFETY: F_DUPFD_CLOEXEC takes two integers and touches no memory of ours.
                let moved = unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, highest + 1) };
                source.store(checked(moved).map_err(Failure::at(Step::Descriptors, index))?, Ordering::Relaxed);
            }
        }
        for (index, step) in self.moves.iter().enumerate() {
            // SAFETY: dup2(2) takes two integers; the numbers below `highest` that it replaces are the child's own copies.
            let placed = unsafe { libc::dup2(step.from.load(Ordering::Relaxed), step.to) };
            checked(placed).map_err(Failure::at(Step::Descriptors, index))?;
        }
        for (first, last) in &self.close_ranges {
            close_on_exec(*first, *last).map_err(Failure::at(Step::Descriptors, self.moves.len()))?;
        }
        for fd in &self.close_each {
            // SAFETY: F_SETFD takes two integers; a number that is not open gives EBADF, which is as good.
            unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Ok(())
    }

    fn confine(&self) -> Result<(), Failure> {
        if let Some(score) = &self.oom_score_adjust {
            // Tried only, as `Spec` says.
            let _adjusted = adjust_oom_score(score.as_bytes());
        }
        for (index, (resource, limit)) in self.limits.iter().enumerate() {
            rustix::process::setrlimit(*resource, *limit).map_err(Failure::at(Step::Limits, index))?;
        }
        if let Some((uid, gid, groups)) = &self.user {
            rustix::thread::set_thread_groups(groups).map_err(Failure::at(Step::Identity, 0))?;
            rustix::thread::set_thread_res_gid(*gid, *gid, *gid).map_err(Failure::at(Step::Identity, 1))?;
            rustix::thread::set_thread_res_uid(*uid, *uid, *uid).map_err(Failure::at(Step::Identity, 2))?;
        }
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(Failure::at(Step::NoNewPrivileges, 0))?;
        }
        if let Some(mask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        }
        if self.parent_death_signal != 0 {
            let number = libc::c_ulong::from(self.parent_death_signal);
            // SAFETY: PR_SET_PDEATHSIG takes an integer and touches no memory of ours.
            let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number) };
            checked(set).map_err(Failure::at(Step::DeathSignal, 0))?;
            // Zero: the parent is outside of our pid namespace, so not even its death would show here.
            if ![self.parent, 0].contains(&process::parent()) {
                // The parent died before the line above: the signal will not come by itself. Blocked now, it acts before the execve.
                let _sent = process::kill(process::pid(), self.parent_death_signal.into());
            }
        }
        Ok(())
    }

    fn execute(&self) -> Failure {
        if let Err(error) = Mask::EMPTY.set() {
            return Failure::at(Step::Execute, 0)(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
        }
        let (argv, env) = (self.argv.as_ptr(), self.env.as_ptr());
        let paths = match &self.executable {
            Executable::Candidates(paths) => paths,
            Executable::Descriptor(descriptor) => {
                let (fd, path) = (descriptor.load(Ordering::Relaxed), c"".as_ptr());
                // SAFETY: execveat(2): `path`, `argv` and `env` are null-terminated (`Strings::new`) and live in the `Order`.
                unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv, env, libc::AT_EMPTY_PATH) };
                return Failure::at(Step::Execute, 0)(errno());
            }
        };
        let mut kept = None;
        let mut last = Failure::at(Step::Execute, 0)(Errno::NOENT);
        for (index, path) in paths.iter().enumerate() {
            // SAFETY: execve(2): a C string and two null-terminated arrays of them (`Strings::new`), all alive in the `Order`.
            unsafe { libc::execve(path.as_ptr(), argv, env) };
            let failure = Failure::at(Step::Execute, index)(errno());
            match failure.error {
                // As execvp(3): one that may not be executed is remembered, and a later one that may be wins.
                Errno::ACCESS => kept = kept.or(Some(failure)),
                Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT | Errno::NAMETOOLONG => {
                    last = failure;
                }
                _ => return failure,
            }
        }
        kept.unwrap_or(last)
    }
}

/// The child's whole life in our image.
pub(super) extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `clone` passes its own `Order` and stays in clone(2) until we have executed another program or ended (CLONE_VFORK).
    let order = unsafe { &*argument.cast::<Order>() };
    let failure = order.perform();
    order.failed_step.store(failure.step.index(), Ordering::Relaxed);
    order.failed_index.store(failure.index, Ordering::Relaxed);
    order.failed_error.store(failure.error.raw_os_error(), Ordering::Release);
    // Seen only where an emulator makes a real fork of the clone and the stores above stay in the copy.
    if failure.step == Step::Execute && failure.error == Errno::NOENT { 127 } else { 126 }
}

fn errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn checked(value: c_int) -> Result<c_int, Errno> {
    if value < 0 { Err(errno()) } else { Ok(value) }
}

fn adjust_oom_score(score: &[u8]) -> Result<usize, Errno> {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, rustix::fs::Mode::empty())?;
    rustix::io::write(file, score)
}

/// Makes a range of descriptors close-on-exec.
///
/// **Source:** close_range(2), Linux 5.11.
fn close_on_exec(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: close_range(2) takes three integers; with this flag it closes nothing before the execve.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    if done < 0 { Err(errno()) } else { Ok(()) }
}

/// What is left from 3 up besides `kept`, which is sorted: as ranges, or one by one where the kernel takes no ranges.
fn closing(kept: &[RawFd]) -> (Vec<(u32, u32)>, Vec<RawFd>) {
    if close_on_exec(u32::MAX, u32::MAX).is_err() {
        let known = fs::read_dir(Path::new("/proc/self/fd")).map(|entries| {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect::<Vec<RawFd>>()
        });
        let bound = RawFd::try_from(process::descriptor_limit().min(UNLISTED)).unwrap_or(3);
        let open = known.unwrap_or_else(|_| (3..bound).collect());
        return (Vec::new(), open.into_iter().filter(|fd| *fd > 2 && kept.binary_search(fd).is_err()).collect());
    }
    let mut ranges = Vec::new();
    let mut next = 3;
    for fd in kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2) {
        if next < fd {
            ranges.push((next, fd - 1));
        }
        next = fd + 1;
    }
    ranges.push((next, u32::MAX));
    (ranges, Vec::new())
}

/// How many descriptor numbers are gone through where neither close_range(2) nor `/proc` helps. A limit can be a thousand million; numbers
/// are given out from the lowest, so what we were started with is below this.
const UNLISTED: u64 = 65_536;

const fn bounded(limit: u64) -> Option<u64> {
    if limit == u64::MAX { None } else { Some(limit) }
}

const fn limited_by(resource: Resource) -> Limited {
    match resource {
        Resource::AddressSpace => Limited::As,
        Resource::Core => Limited::Core,
        Resource::Cpu => Limited::Cpu,
        Resource::Data => Limited::Data,
        Resource::Descriptors => Limited::Nofile,
        Resource::FileSize => Limited::Fsize,
        Resource::Locks => Limited::Locks,
        Resource::LockedMemory => Limited::Memlock,
        Resource::MessageQueue => Limited::Msgqueue,
        Resource::Nice => Limited::Nice,
        Resource::Processes => Limited::Nproc,
        Resource::RealtimePriority => Limited::Rtprio,
        Resource::RealtimeTime => Limited::Rttime,
        Resource::ResidentSet => Limited::Rss,
        Resource::PendingSignals => Limited::Sigpending,
        Resource::Stack => Limited::Stack,
    }
}

#[cfg(test)]
mod tests {
    use super::closing;

    #[test]
    fn the_rest_is_what_lies_between() {
        assert_eq!(closing(&[]).0, [(3, u32::MAX)]);
        assert_eq!(closing(&[0, 1, 3, 4, 9]).0, [(5, 8), (10, u32::MAX)]);
    }
}
