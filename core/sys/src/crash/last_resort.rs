//! What PID 1 becomes when it crashes: TERM to everyone, reap, one grace period, KILL, reap, exit 70.
//!
//! No plan, no runtime, no allocation, nothing but system calls, since the very same code also runs inside the crash handler when our own
//! executable cannot be executed again. The wait is on signals (rt_sigtimedwait(2)), so no descriptor is needed.

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::time::Duration;

use rustix::stdio::stderr;

use super::text::Text;
use crate::process::kill;
use crate::reap::{Peek, reap_any};
use crate::{clock, output, process, signal};

/// Time between TERM and KILL when the arguments name none. **Units:** milliseconds. What container runtimes give by default.
pub const DEFAULT_GRACE_MS: u64 = 10_000;

/// The exit code that says: PID 1 crashed, the services were stopped in order.
const EXIT_CODE: i32 = 70;

/// How long killed processes may take to vanish. **Units:** nanoseconds. One in an uninterruptible wait may take for ever; the kernel
/// then finishes it with the namespace.
const KILLED_WITHIN: u64 = 5_000_000_000;

/// How often those are looked for that are not our children, and killed ones are killed again. **Units:** nanoseconds.
const LOOK_EVERY: u64 = 100_000_000;

/// The signals waited for. A second stop request, or the first after the crash, kills at once.
const AWAITED: [i32; 4] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Does what the arguments after `last-resort` say: `[GRACE_MS [GROUPS [REASON]]]`. Groups are numbers separated by commas. What cannot
/// be understood counts as not given.
pub fn main(arguments: &[OsString]) -> ! {
    let (grace_ms, groups, reason) = parse(arguments);
    announce(grace_ms, reason.as_bytes());
    run(grace_ms, &groups)
}

/// Stops everything in order and exits 70: all processes of the namespace if we are its first, else `groups`, each the number of a process group
/// or of a process without one.
pub fn run(grace_ms: u64, groups: &[i32]) -> ! {
    stop_all(grace_ms, || groups.iter().copied().filter(|group| *group > 1))
}

/// The arguments, understood as far as possible.
#[must_use]
pub fn parse(arguments: &[OsString]) -> (u64, Vec<i32>, String) {
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    let grace_ms = words.next().and_then(|word| word.parse().ok()).unwrap_or(DEFAULT_GRACE_MS);
    let groups = words.next().map(|word| word.split(',').filter_map(|group| group.parse().ok()).collect());
    let groups: Vec<i32> = groups.unwrap_or_default();
    (grace_ms, groups.into_iter().filter(|group| *group > 1).collect(), words.next().unwrap_or_default().into_owned())
}

/// Says on standard error what happens now.
pub(super) fn announce(grace_ms: u64, reason: &[u8]) {
    let mut line = Text::<256>::new();
    let reason = std::str::from_utf8(reason).unwrap_or("");
    let reason = if reason.is_empty() { "unknown cause" } else { reason };
    let pid = process::pid();
    // `Text` cuts what does not fit and never fails.
    let _fits =
        write!(line, "hilum: process {pid} crashed ({reason}): stopping everything, TERM now, KILL in {grace_ms} ms");
    line.end_line();
    output::write_last(stderr(), line.as_bytes());
}

/// [`run`] over whatever yields the groups. Async-signal-safe.
pub(super) fn stop_all<G: Iterator<Item = i32>>(grace_ms: u64, groups: impl Fn() -> G) -> ! {
    // Without it a signal would end us before the services are stopped; there is nothing else to try.
    let _blocked = signal::block();
    // A stop request from before the crash is what happens now anyway; it is not the second one.
    while matches!(signal::take(&AWAITED, Duration::ZERO), Ok(Some(_))) {}
    send_all(libc::SIGTERM, &groups);
    // A stopped process acts on TERM only once it runs.
    send_all(libc::SIGCONT, &groups);
    let mut deadline = clock::monotonic().saturating_add(grace_ms.saturating_mul(1_000_000));
    let mut killed = false;
    while someone_left(&groups) {
        let now = clock::monotonic();
        if now >= deadline {
            if killed {
                break;
            }
            killed = true;
            deadline = now.saturating_add(KILLED_WITHIN);
        }
        if killed {
            send_all(libc::SIGKILL, &groups);
        }
        // The first process is told of every end by SIGCHLD, for all are its children then.
        let patience = if killed || process::pid() != 1 { LOOK_EVERY } else { u64::MAX };
        let wait = Duration::from_nanos(deadline.saturating_sub(now).min(patience));
        match signal::take(&AWAITED, wait) {
            Ok(Some(number)) if !killed && i32::from(number) != libc::SIGCHLD => deadline = now,
            Ok(_) | Err(_) => {}
        }
    }
    leave()
}

/// Exits 70 without running anything of the C library's or ours.
pub(super) fn leave() -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(EXIT_CODE) }
}

fn send_all<G: Iterator<Item = i32>>(number: i32, groups: &impl Fn() -> G) {
    // Whoever is gone by now, or may not be signalled, cannot be helped.
    if process::pid() == 1 {
        let _sent = kill(-1, number);
        return;
    }
    for group in groups() {
        if kill(-group, number).is_err() {
            let _sent = kill(group, number);
        }
    }
}

/// Reaps what has ended, and says whether anyone is still there.
fn someone_left<G: Iterator<Item = i32>>(groups: &impl Fn() -> G) -> bool {
    loop {
        match reap_any() {
            Ok(Peek::Child(_)) => {}
            Ok(Peek::NoChildren) => return false,
            Ok(Peek::NoneReady) | Err(_) => break,
        }
    }
    process::pid() == 1 || groups().any(|group| exists(-group) || exists(group))
}

fn exists(target: i32) -> bool {
    match kill(target, 0) {
        Ok(()) => true,
        Err(error) => is_permission(&error),
    }
}

fn is_permission(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_GRACE_MS, parse};
    use std::ffi::OsString;

    #[test]
    fn arguments_are_understood_as_far_as_possible() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(parse(&words(&["250", "12,-1,1,0,x,13,", "SIGSEGV"])), (250, vec![12, 13], "SIGSEGV".to_owned()));
        assert_eq!(parse(&words(&["-5", ""])), (DEFAULT_GRACE_MS, Vec::new(), String::new()));
        assert_eq!(parse(&[]), (DEFAULT_GRACE_MS, Vec::new(), String::new()));
    }
}
