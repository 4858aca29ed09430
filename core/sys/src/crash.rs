//! What happens when PID 1 itself crashes: it becomes `last-resort`, the same file executed anew, which stops the services politely.
//!
//! When the first process of a container ends, the kernel kills all others without a word. But it may execute another program, and keeps its
//! children then. So a panic hook, and handlers for the signals a fault raises, do one thing: execveat(2) of our own executable
//! as `hilum last-resort GRACE_MS GROUPS REASON`. They run on a stack of their own (ours may have overflowed), allocate nothing (memory may
//! be used up) and need no `/proc`. If even that fails, the handler itself does what `last-resort` would.
//!
//! A second fault inside the handler cannot loop: all signals are blocked there, and the kernel ends a process whose fault signal is
//! blocked.
//!
//! The same signals may come from another process (`docker kill -s ABRT`). That is no crash: the handler passes them on to the `SignalFd`,
//! as a queued signal to ourselves, and returns.

pub mod last_resort;
mod text;

use std::ffi::{c_char, c_int, c_void};
use std::fmt::Write;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::panic::PanicHookInfo;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use rustix::stdio::stderr;

use crate::signal::{self, outcome};
use crate::{child, output, process};
use text::Text;

/// Our own executable, once armed; never closed.
static EXECUTABLE: AtomicI32 = AtomicI32::new(-1);

/// Time between TERM and KILL. **Units:** milliseconds.
static GRACE_MS: AtomicU64 = AtomicU64::new(last_resort::DEFAULT_GRACE_MS);

/// The process that is armed: a copy of it made by fork(2) is not.
static ARMED: AtomicI32 = AtomicI32::new(0);

/// Most process groups that are remembered. Only a supervisor that is not the first process of its pid namespace needs them at all. A slot
/// is four bytes; with more services than this, those beyond would not be stopped after a crash, and [`register_group`] says so.
pub const MAX_GROUPS: usize = 1024;

/// The process groups to stop, 0 where free.
static GROUPS: [AtomicI32; MAX_GROUPS] = [const { AtomicI32::new(0) }; MAX_GROUPS];

/// **Units:** bytes. Room for the kernel's signal frame (up to 11 KiB with the widest vector registers), the argument list
/// ([`MAX_GROUPS`] numbers) and last-resort. Memory that is not touched is not used.
const STACK_SIZE: usize = 128 * 1024;
const GUARD_SIZE: usize = 64 * 1024;

/// **Units:** bytes. Enough for [`MAX_GROUPS`] pids of seven digits and a comma each.
const ARGUMENT_SIZE: usize = MAX_GROUPS * 8 + 16;

/// Makes a crash from now on end in `last-resort`. Again with other arguments: those count.
///
/// **Order:** after [`signal::block`]; on the only thread.
///
/// **Errors:** of sigaltstack(2) and sigaction(2); the crash path is then not complete.
pub fn arm(executable: OwnedFd, grace_ms: u64) -> io::Result<()> {
    EXECUTABLE.store(executable.into_raw_fd(), Ordering::Relaxed);
    GRACE_MS.store(grace_ms, Ordering::Relaxed);
    if ARMED.swap(process::pid(), Ordering::Relaxed) == process::pid() {
        return Ok(());
    }
    std::panic::set_hook(Box::new(on_panic));
    let lower_end = child::map_stack(GUARD_SIZE, STACK_SIZE)?.as_ptr();
    let stack = libc::stack_t { ss_sp: lower_end.wrapping_byte_add(GUARD_SIZE), ss_flags: 0, ss_size: STACK_SIZE };
    // SAFETY: sigaltstack(2): the upper `STACK_SIZE` bytes of a fresh mapping that is never unmapped.
    outcome(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) }.into())?;
    for number in signal::FAULTS {
        // SAFETY: all zeroes is a valid `sigaction`, a plain C structure: default handler, no flags, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: sigfillset(3) writes one `sigset_t`, which `sa_mask` is.
        unsafe { libc::sigfillset(&raw mut action.sa_mask) };
        // SAFETY: sigaction(2) reads `action`; the handler has the signature SA_SIGINFO asks for and calls async-signal-safe functions only.
        outcome(unsafe { libc::sigaction(number, &raw const action, ptr::null_mut()) }.into())?;
        signal::note_changed(number);
    }
    Ok(())
}

/// Remembers a process group that `last-resort` is to stop if we are not the first process of our pid namespace. A process without
/// a group of its own is registered by its pid.
///
/// Returns whether there was room.
pub fn register_group(group: i32) -> bool {
    group > 1 && GROUPS.iter().any(|slot| slot.compare_exchange(0, group, Ordering::Relaxed, Ordering::Relaxed).is_ok())
}

/// Forgets a process group, before its number can become another's.
pub fn unregister_group(group: i32) {
    if group != 0 {
        let _found =
            GROUPS.iter().any(|slot| slot.compare_exchange(group, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok());
    }
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let mut line = Text::<512>::new();
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map_or("", |place| place.file());
    let row = info.location().map_or(0, |place| place.line());
    // `Text` cuts what does not fit and never fails.
    let _fits = write!(line, "hilum: bug: panic at {place}:{row}: {message}");
    line.end_line();
    output::write_last(stderr(), line.as_bytes());
    become_last_resort(format_args!("panic"));
}

extern "C" fn on_fault(number: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: sigaction(2): with SA_SIGINFO the kernel passes a valid `siginfo_t`, which lives on this handler's stack.
    let info = unsafe { &*info };
    // SAFETY: the pid is read only to compare it, and only for a signal that a process sent (`si_code` <= 0), for which
    // sigaction(2) promises it; otherwise these bytes are part of the fault address.
    let sender = unsafe { info.si_pid() };
    // A code of ours cannot be forged: rt_sigqueueinfo(2) refuses these two, and positive ones, to other processes.
    let by_us = sender == process::pid() && matches!(info.si_code, libc::SI_USER | SI_TKILL);
    if info.si_code <= 0 && !by_us {
        pass_on(number, sender);
        return;
    }
    if process::pid() != ARMED.load(Ordering::Relaxed) {
        last_resort::leave();
    }
    let name = fault_name(number);
    if info.si_code > 0 {
        // SAFETY: sigaction(2) promises an address for signals the kernel raised for a fault; for others it is only printed.
        let address = unsafe { info.si_addr() };
        become_last_resort(format_args!("{name} at {address:p}"));
    }
    become_last_resort(format_args!("{name}"));
}

/// The name of a signal that a fault raises; a crash allocates nothing.
fn fault_name(number: c_int) -> &'static str {
    match number {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGABRT => "SIGABRT",
        libc::SIGTRAP => "SIGTRAP",
        _ => "SIGSYS",
    }
}

/// The code of a signal sent by tgkill(2), as abort(3) does (asm-generic/siginfo.h).
const SI_TKILL: c_int = -6;

/// Where the kernel's `siginfo_t` has the sender of a queued signal, counted in 32-bit words; its uid and value follow. Before it are number,
/// error and code, and padding where pointers have 64 bits.
const SENDER_WORD: usize = if cfg!(target_pointer_width = "64") { 4 } else { 3 };

/// Queues a fault signal that came from outside as one the `SignalFd` reads. If the queue is full (RLIMIT_SIGPENDING), it is noted instead and
/// the `SignalFd` told without a value, for which there is always room.
fn pass_on(number: c_int, sender: i32) {
    let mut info = [0_i32; 32];
    let own = process::pid();
    let carrier = c_int::from(signal::CARRIER);
    let fields =
        [(0, carrier), (2, libc::SI_QUEUE), (SENDER_WORD, own), (SENDER_WORD + 2, signal::pack(number, sender))];
    for (word, value) in fields {
        if let Some(place) = info.get_mut(word) {
            *place = value;
        }
    }
    // SAFETY: `__errno_location` takes nothing and returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: errno(3): the address, from the line above, is valid as long as the thread lives.
    let before = unsafe { errno.read() };
    // SAFETY: rt_sigqueueinfo(2) reads one `siginfo_t`, 128 bytes, which `info` has.
    let queued = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, own, carrier, info.as_ptr()) };
    if queued != 0 {
        signal::note_unqueued(number);
        // To ourselves, with a valid number: cannot fail.
        let _told = process::kill(own, carrier);
    }
    // SAFETY: as for the read; no reference to errno exists.
    unsafe { errno.write(before) };
}

/// Executes ourselves as `last-resort`, or does its work here. Async-signal-safe, allocates nothing.
fn become_last_resort(reason: std::fmt::Arguments<'_>) -> ! {
    let grace_ms = GRACE_MS.load(Ordering::Relaxed);
    let mut grace = Text::<32>::new();
    let mut groups = Text::<ARGUMENT_SIZE>::new();
    let mut why = Text::<64>::new();
    // `Text` cuts what does not fit and never fails.
    let _fits = write!(grace, "{grace_ms}");
    for group in live_groups() {
        let _fits = write!(groups, "{group},");
    }
    let _fits = why.write_fmt(reason);
    let argv: [*const c_char; 6] = [
        c"hilum".as_ptr(),
        c"last-resort".as_ptr(),
        grace.as_c_str().as_ptr(),
        groups.as_c_str().as_ptr(),
        why.as_c_str().as_ptr(),
        ptr::null(),
    ];
    let env = [ptr::null::<c_char>()];
    let (fd, path) = (EXECUTABLE.load(Ordering::Relaxed), c"".as_ptr());
    // SAFETY: execveat(2): `path` is a C string, `argv` and `env` are null-terminated arrays of C strings on this stack.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH) };
    last_resort::announce(grace_ms, why.as_bytes());
    last_resort::stop_all(grace_ms, live_groups)
}

fn live_groups() -> impl Iterator<Item = i32> {
    GROUPS.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|group| *group > 1)
}

/// Crashes by a write to memory that cannot be written.
pub fn drill_fault() -> ! {
    if let Ok(lower_end) = child::map_stack(GUARD_SIZE, STACK_SIZE) {
        // SAFETY: none is wanted: the guard is mapped without any access, and the signal this raises is the drill.
        unsafe { ptr::write_volatile(lower_end.as_ptr().cast::<u8>(), 1) };
    }
    drill_abort()
}

/// Crashes by abort(3).
pub fn drill_abort() -> ! {
    std::process::abort()
}

/// Crashes by using up the stack.
pub fn drill_overflow() -> ! {
    // Where the stack is unlimited, memory would be used up instead, and the machine's at that.
    let limit = rustix::process::Rlimit {
        current: Some(8 << 20),
        ..rustix::process::getrlimit(rustix::process::Resource::Stack)
    };
    let _limited = rustix::process::setrlimit(rustix::process::Resource::Stack, limit);
    descend(0);
    drill_abort()
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    descend(depth + 1) + frame.iter().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::{live_groups, register_group, unregister_group};

    #[test]
    fn groups_are_kept_until_unregistered_and_nonsense_never() {
        assert!(!register_group(0) && !register_group(1) && !register_group(-7));
        assert!(register_group(77) && register_group(78));
        unregister_group(77);
        unregister_group(0);
        assert_eq!(live_groups().collect::<Vec<_>>(), [78]);
        assert!((1..super::MAX_GROUPS).all(|_| register_group(79)));
        assert!(!register_group(80));
    }
}
