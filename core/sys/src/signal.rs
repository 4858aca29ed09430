//! Signals: the mask, waiting for them and reading them from a descriptor, dispositions. Their names are the configuration's.
//!
//! All signals that can wait are blocked for good and read from a [`SignalFd`]. Those a fault raises are not: a fault whose signal is
//! blocked ends the process at once (sigprocmask(2)), and the `crash` module wants to act first. When another process sends one of
//! those, its handler passes it on to the [`SignalFd`], so nothing is lost.
//!
//! Masks go to the kernel directly, as its 64-bit sets: the C library keeps signals 32 to 34 to itself, PID 1 must forward them too.
//! This module does not send signals to others; that is `process`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use libc::{c_long, siginfo_t};

/// Highest signal number on every architecture hilum is built for.
pub const MAX: u8 = 64;

/// Size of the kernel's signal set, as its system calls want it.
const SET_SIZE: usize = size_of::<u64>();

/// The real-time signal that carries a fault signal which came from outside to the [`SignalFd`]. Shared with nobody: a real
/// one of this number is told apart by its sender and code.
pub(crate) const CARRIER: u8 = MAX;

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
    Ok(timed_wait(set(wanted), Some(timeout))?.and_then(|info| u8::try_from(info.si_signo).ok()))
}

/// Takes a pending signal of `mask`; `None` when the time is over or a handler ran. Without a time-out it waits for ever.
fn timed_wait(mask: u64, timeout: Option<Duration>) -> io::Result<Option<siginfo_t>> {
    let limit: Option<[c_long; 2]> = timeout.map(|timeout| {
        [c_long::try_from(timeout.as_secs()).unwrap_or(c_long::MAX), timeout.subsec_nanos().cast_signed().into()]
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), |limit| limit.as_ptr());
    let mut info = MaybeUninit::<siginfo_t>::zeroed();
    let (wanted, filled) = (&raw const mask, info.as_mut_ptr());
    // SAFETY: rt_sigtimedwait(2) reads `SET_SIZE` bytes of mask and, unless null, one old-style timespec, two longs, and writes one
    // siginfo; all are alive here.
    let signal = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, wanted, filled, limit, SET_SIZE) };
    match outcome(signal) {
        // SAFETY: a siginfo is numbers and pointers, for which all zeroes are valid, and the kernel has written over some.
        Ok(_) => Ok(Some(unsafe { info.assume_init() })),
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
    /// The process that sent it; 0 if it is outside of our pid namespace, or if the kernel sent it (a terminal, a timer, a child's end).
    pub pid: i32,
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

    /// Waits for the next signal, at most `timeout`; without one for ever. For when there is nothing else to wait for: it is one system
    /// call where polling and reading are two. `None` when the time is over, or earlier when a signal handler ran.
    ///
    /// **Source:** rt_sigtimedwait(2).
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Arrived>> {
        let Some(info) = timed_wait(ROUTED, timeout)? else { return Ok(None) };
        // With these codes the kernel fills in both; with others their place may hold something else.
        let sent = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        // SAFETY: a union of plain numbers and pointers, all zero where the kernel has not written.
        let pid = if sent { unsafe { info.si_pid() } } else { 0 };
        // SAFETY: as above.
        let value = unsafe { info.si_value() }.sival_ptr.addr();
        // Of the union `sigval` the integer: its first four bytes.
        let value = value.to_ne_bytes().first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        Ok(Some(Arrived::new(info.si_signo, info.si_code, pid, value)))
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
    // A positive code is the kernel's, and the pid then that of the child it tells of.
    Arrived::new(signal, code, if code > 0 { 0 } else { pid }, value)
}

impl Arrived {
    /// **Source:** the fields of sigaction(2)'s `siginfo_t`.
    fn new(signal: i32, code: i32, pid: i32, value: i32) -> Arrived {
        let signal = u8::try_from(signal).unwrap_or(0);
        if signal == CARRIER {
            let from_ourselves = code == libc::SI_QUEUE && pid == crate::process::pid();
            let carried = unpack(value).filter(|_| from_ourselves).or_else(|| Some((take_unqueued()?, 0)));
            if let Some((signal, pid)) = carried {
                return Arrived { signal, pid };
            }
        }
        Arrived { signal, pid }
    }
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
    use super::{FAULTS, pack, unpack};

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
