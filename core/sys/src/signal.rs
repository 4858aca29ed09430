//! Signals: the mask, reading them from a descriptor, names and numbers, dispositions.
//!
//! All signals that can wait are blocked for good and read from a [`SignalFd`]. Those a fault raises are not: a fault whose signal is
//! blocked ends the process at once (sigprocmask(2)), and the `crash` module wants to act first. When another process sends one of
//! those, its handler passes it on to the [`SignalFd`], so nothing is lost.
//!
//! Masks go to the kernel directly, as its 64-bit sets: the C library keeps signals 32 to 34 to itself, PID 1 must forward them too.
//! This module does not send signals to others; that is `process`.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use libc::c_long;

/// Highest signal number on every architecture hilum is built for.
pub const MAX: u8 = 64;

/// Size of the kernel's signal set, as its system calls want it.
const SET_SIZE: usize = size_of::<u64>();

/// The real-time signal that carries a fault signal which came from outside to the [`SignalFd`]. Shared with nobody: a real
/// one of this number is told apart by its sender and code.
pub(crate) const CARRIER: u8 = MAX;

/// Numbers programs use for the ends of the real-time range: glibc keeps 32 and 33 for itself, and `docker kill -s RTMIN+3` or systemd
/// count from here, whatever the C library hilum is linked with.
const RTMIN: u8 = 34;

const fn bit(signal: u8) -> u64 {
    if signal == 0 || signal > MAX { 0 } else { 1 << (signal - 1) }
}

const fn set(signals: &[i32]) -> u64 {
    let mut bits = 0;
    let mut rest = signals;
    while let [first, tail @ ..] = rest {
        bits |= 1 << (*first - 1);
        rest = tail;
    }
    bits
}

/// Signals a fault of our own raises.
pub(crate) const FAULTS: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// What [`block`] blocks and a [`SignalFd`] reads.
const ROUTED: u64 = !(set(&FAULTS) | set(&[libc::SIGKILL, libc::SIGSTOP]));

/// A signal mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mask(u64);

impl Mask {
    pub(crate) const ALL: Mask = Mask(u64::MAX);
    pub(crate) const EMPTY: Mask = Mask(0);

    /// Makes this the mask of the process.
    ///
    /// **Source:** rt_sigprocmask(2).
    pub fn set(self) -> io::Result<()> {
        self.swap().map(|_| ())
    }

    /// Makes this the mask of the process and returns the one before.
    pub(crate) fn swap(self) -> io::Result<Mask> {
        let mut old = 0_u64;
        let (new, size) = (&raw const self.0, SET_SIZE);
        // SAFETY: rt_sigprocmask(2) reads and writes `SET_SIZE` bytes; both pointers are to a `u64` that outlives the call.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, &raw mut old, size) };
        outcome(done).map(|_| Mask(old))
    }
}

/// The value of a system call, or the error it left in `errno`.
pub(crate) fn outcome(value: c_long) -> io::Result<c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Blocks every signal except those a fault raises, KILL and STOP, and returns the previous mask.
///
/// **Source:** rt_sigprocmask(2).
pub fn block() -> io::Result<Mask> {
    Mask(ROUTED).swap()
}

/// Takes a pending signal of `wanted`, waiting at most `timeout` for one. The signals must be blocked.
///
/// **Source:** rt_sigtimedwait(2).
pub(crate) fn take(wanted: &[i32], timeout: Duration) -> io::Result<Option<u8>> {
    let mask = set(wanted);
    let seconds = c_long::try_from(timeout.as_secs()).unwrap_or(c_long::MAX);
    let nanos = c_long::from(timeout.subsec_nanos().cast_signed());
    let limit: [c_long; 2] = [seconds, nanos];
    let (wanted, info, limit) = (&raw const mask, std::ptr::null_mut::<libc::siginfo_t>(), limit.as_ptr());
    // SAFETY: rt_sigtimedwait(2) reads `SET_SIZE` bytes of mask and one old-style timespec, two longs, both alive here; a
    // null info pointer is allowed.
    let signal = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, wanted, info, limit, SET_SIZE) };
    match outcome(signal) {
        Ok(signal) => Ok(u8::try_from(signal).ok()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Signals as something to poll and read, in place of handlers.
#[derive(Debug)]
pub struct SignalFd {
    descriptor: OwnedFd,
}

/// A signal that reached this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Its number.
    pub signal: u8,
    /// The sender's process, 0 if unknown or outside of our pid namespace.
    pub pid: i32,
    /// Whether the kernel itself sent it (a terminal, a timer, a child's end) and not a process.
    pub from_kernel: bool,
}

impl SignalFd {
    /// A descriptor that reads all signals [`block`] blocks. Close-on-exec, non-blocking.
    ///
    /// **Order:** after [`block`]; what is not blocked is delivered, not read.
    ///
    /// **Source:** signalfd(2).
    pub fn open() -> io::Result<SignalFd> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let mask = ROUTED;
        // SAFETY: signalfd4(2) reads `SET_SIZE` bytes of mask, a `u64` that outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, SET_SIZE, flags) };
        let fd = RawFd::try_from(outcome(fd)?).map_err(io::Error::other)?;
        // SAFETY: signalfd4(2) returned a new descriptor (`outcome` let no error pass) that nobody else knows of.
        Ok(SignalFd { descriptor: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal, or `None` when none is pending.
    ///
    /// **Source:** signalfd(2).
    pub fn read(&self) -> io::Result<Option<Arrived>> {
        let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
        loop {
            return match rustix::io::read(&self.descriptor, &mut record) {
                Ok(len) if len == record.len() => Ok(Some(arrived(&record))),
                Ok(len) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("signal record of {len} bytes"))),
                Err(rustix::io::Errno::AGAIN) => Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// The field of a `signalfd_siginfo` at `offset`.
fn field(record: &[u8], offset: usize) -> i32 {
    record.get(offset..).and_then(|tail| tail.first_chunk()).map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

fn arrived(record: &[u8]) -> Arrived {
    let signal = field(record, std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo));
    let code = field(record, std::mem::offset_of!(libc::signalfd_siginfo, ssi_code));
    let pid = field(record, std::mem::offset_of!(libc::signalfd_siginfo, ssi_pid));
    let value = field(record, std::mem::offset_of!(libc::signalfd_siginfo, ssi_int));
    let signal = u8::try_from(signal).unwrap_or(0);
    if signal == CARRIER {
        let from_ourselves = code == libc::SI_QUEUE && pid == crate::process::pid();
        let carried = unpack(value).filter(|_| from_ourselves).or_else(|| Some((take_unqueued()?, 0)));
        if let Some((signal, pid)) = carried {
            return Arrived { signal, pid, from_kernel: false };
        }
    }
    Arrived { signal, pid, from_kernel: code > 0 }
}

/// A fault signal from outside and its sender in the 32 bits that a queued signal carries. A pid has at most 22 bits
/// (`PID_MAX_LIMIT`, proc_sys_kernel(5)).
pub(crate) const fn pack(signal: i32, sender: i32) -> i32 {
    (sender << 8) | (signal & 0x7f)
}

fn unpack(value: i32) -> Option<(u8, i32)> {
    let signal = value & 0xff;
    if FAULTS.contains(&signal) { Some((u8::try_from(signal).ok()?, value >> 8)) } else { None }
}

/// Fault signals from outside for which there was no room in the queue.
static UNQUEUED: AtomicU64 = AtomicU64::new(0);

/// Remembers a fault signal until the [`SignalFd`] is told by a [`CARRIER`] without a value. Async-signal-safe.
pub(crate) fn note_unqueued(signal: i32) {
    UNQUEUED.fetch_or(u8::try_from(signal).map_or(0, bit), Ordering::Relaxed);
}

/// The lowest one noted. The same carrier may have been sent for several, so it is sent again for the rest.
fn take_unqueued() -> Option<u8> {
    let noted = UNQUEUED.load(Ordering::Relaxed);
    let signal = u8::try_from(noted.trailing_zeros() + 1).ok().filter(|signal| *signal <= MAX)?;
    if UNQUEUED.fetch_and(!bit(signal), Ordering::Relaxed) != bit(signal) {
        // To ourselves, with a valid number: cannot fail.
        let _told = crate::process::kill(crate::process::pid(), CARRIER.into());
    }
    Some(signal)
}

/// Names of signals 1 to 31, as on every architecture hilum is built for.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// Other names people use.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`, `SIG32` for the two the C library keeps; `None` outside of 1 to 64.
#[must_use]
pub fn name(signal: u8) -> Option<Cow<'static, str>> {
    match signal {
        0 => None,
        1..=31 => NAMES.get(usize::from(signal) - 1).copied().map(Cow::Borrowed),
        32..=33 => Some(Cow::Owned(format!("SIG{signal}"))),
        RTMIN => Some(Cow::Borrowed("SIGRTMIN")),
        35..=63 => Some(Cow::Owned(format!("SIGRTMIN+{}", signal - RTMIN))),
        MAX => Some(Cow::Borrowed("SIGRTMAX")),
        _ => None,
    }
}

/// The number of a signal by name or number, in any case, with or without `SIG`: `TERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`.
/// `None` for anything that is not a signal from 1 to 64.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let in_range = |number: u8, from: u8| (from..=MAX).contains(&number).then_some(number);
    if let Some(offset) = short.strip_prefix("RTMIN") {
        return in_range(RTMIN.checked_add(distance(offset, '+')?)?, RTMIN);
    }
    if let Some(offset) = short.strip_prefix("RTMAX") {
        return in_range(MAX.checked_sub(distance(offset, '-')?)?, RTMIN);
    }
    if let Some(number) = digits(short) {
        return in_range(number, 1);
    }
    let known = NAMES.iter().position(|known| known.strip_prefix("SIG") == Some(short));
    let known = known.and_then(|index| u8::try_from(index + 1).ok());
    known.or_else(|| ALIASES.iter().find(|(alias, _)| *alias == short).map(|(_, number)| *number))
}

/// The number after the sign, 0 for nothing at all.
fn distance(offset: &str, sign: char) -> Option<u8> {
    if offset.is_empty() { Some(0) } else { digits(offset.strip_prefix(sign)?) }
}

/// Digits only: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Stops this process until SIGCONT, as job control asks for. Without effect on the first process of a pid namespace.
///
/// **Source:** kill(2), signal(7).
pub fn suspend_self() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?)
}

/// The kernel's `struct sigaction`, whatever the architecture: its first word is the handler, and all zero means default, no flags,
/// empty mask. At most handler, flags, restorer and an eight-byte mask.
type Action = [usize; 5];

/// Signals whose disposition is not the default, so that a child resets no more than it must.
static CHANGED: AtomicU64 = AtomicU64::new(0);
static CHANGED_KNOWN: AtomicBool = AtomicBool::new(false);

/// Signals whose disposition may differ from the default. Asks the kernel once; this module and `crash` note what they change.
pub(crate) fn changed() -> u64 {
    if !CHANGED_KNOWN.swap(true, Ordering::Relaxed) {
        for signal in 1..=MAX {
            let mut action: Action = [0; 5];
            let new = std::ptr::null::<Action>();
            let number = libc::c_int::from(signal);
            // SAFETY: rt_sigaction(2) with a null new action writes one kernel sigaction, which fits in an `Action`.
            let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, number, new, action.as_mut_ptr(), SET_SIZE) };
            if done == 0 && action.first() != Some(&libc::SIG_DFL) {
                note_changed(number);
            }
        }
    }
    CHANGED.load(Ordering::Relaxed)
}

/// Remembers that a signal no longer has its default disposition.
pub(crate) fn note_changed(signal: i32) {
    CHANGED.fetch_or(u8::try_from(signal).map_or(0, bit), Ordering::Relaxed);
}

/// Sets a disposition that is not a handler. Async-signal-safe, allocates nothing.
pub(crate) fn dispose(signal: i32, disposition: usize) -> io::Result<()> {
    let action: Action = [disposition, 0, 0, 0, 0];
    let old = std::ptr::null_mut::<Action>();
    // SAFETY: rt_sigaction(2) reads one kernel sigaction, which `Action` covers; `SIG_DFL` and `SIG_IGN`, the only values passed
    // to this function, run no code.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, SET_SIZE) };
    outcome(done).map(|_| ())
}

/// Ignores a signal from now on. A child started by `child::spawn` has its default disposition again.
///
/// **Errors:** `InvalidInput` for KILL, STOP and numbers that are no signal.
///
/// **Source:** sigaction(2).
pub fn ignore(signal: u8) -> io::Result<()> {
    dispose(signal.into(), libc::SIG_IGN)?;
    note_changed(signal.into());
    Ok(())
}

/// Gives a signal its default disposition back.
///
/// **Errors:** `InvalidInput` for KILL, STOP and numbers that are no signal.
///
/// **Source:** sigaction(2).
pub fn default(signal: u8) -> io::Result<()> {
    dispose(signal.into(), libc::SIG_DFL)
}

#[cfg(test)]
mod tests {
    use super::{FAULTS, MAX, name, number, pack, unpack};

    #[test]
    fn every_number_has_a_name_that_leads_back() {
        for signal in 1..=MAX {
            let name = name(signal).unwrap_or_default();
            assert_eq!(number(&name), Some(signal), "{name}");
            assert_eq!(number(&name.to_ascii_lowercase()), Some(signal), "{name}");
            assert_eq!(number(&signal.to_string()), Some(signal));
        }
        assert_eq!((name(0), name(65), name(255)), (None, None, None));
    }

    #[test]
    fn names_are_taken_as_people_write_them() {
        let cases =
            [("TERM", 15), ("SigTerm", 15), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("rtmin", 34), ("IOT", 6), ("09", 9)];
        for (text, expected) in cases {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        let wrong = [
            "",
            "SIG",
            "0",
            "65",
            "256",
            "+9",
            "-9",
            "TERMS",
            "SIGSIGTERM",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN++1",
            "RTMAX-",
            "9 ",
            "TERM\0",
            "１５",
        ];
        for text in wrong {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_carried_fault_signal_survives_the_trip_and_nothing_else_does() {
        for signal in FAULTS {
            assert_eq!(unpack(pack(signal, 4_194_303)), u8::try_from(signal).ok().map(|signal| (signal, 4_194_303)));
        }
        for value in [0, -1, i32::MIN, i32::MAX, 15, pack(9, 1), pack(64, 1)] {
            assert_eq!(unpack(value), None, "{value}");
        }
    }
}
