//! Signals that arrive, and those of faults that come from outside.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::{self, Change};
use hilum_sys::signal::{self, Arrived, SignalFd};
use hilum_sys::{clock, crash, executable};

use crate::{Case, Outcome, finish, next_change, own, start, words};

pub(crate) const CASES: &[Case] = &[
    ("signals::all_that_can_wait_are_read", all_that_can_wait_are_read),
    ("signals::fault_signals_from_outside_are_read_too", fault_signals_from_outside_are_read_too),
    ("signals::fault_signals_need_no_room_in_the_queue", fault_signals_need_no_room_in_the_queue),
    ("signals::a_forged_sender_is_no_crash", a_forged_sender_is_no_crash),
    ("signals::suspends_itself", suspends_itself),
];

/// SEGV, BUS, ILL, FPE, ABRT, TRAP, SYS.
const FAULTS: [u8; 7] = [11, 7, 4, 8, 6, 5, 31];

/// What a loop with other descriptors does.
fn read(signals: &SignalFd) -> io::Result<Option<Arrived>> {
    poll::wait(&mut [Slot::new(signals.as_fd(), true, false)], None)?;
    signals.read()
}

/// What one without does.
fn wait(signals: &SignalFd) -> io::Result<Option<Arrived>> {
    signals.wait(None)
}

fn all_that_can_wait_are_read() -> Outcome {
    let before = signal::block()?;
    let signals = SignalFd::open()?;
    assert_eq!(signals.read()?, None);
    let own = process::pid();
    for number in (1..=signal::MAX).filter(|number| !FAULTS.contains(number) && ![9, 19].contains(number)) {
        for way in [read, wait] {
            process::signal(Target::Pid(own), number)?;
            assert_eq!(way(&signals)?, Some(Arrived { signal: number, pid: own }));
            assert_eq!(signals.read()?, None);
        }
    }
    for way in [read, wait] {
        let argv = words(&["true"]);
        let child = start(&argv, |_| {})?;
        assert_eq!(way(&signals)?, Some(Arrived { signal: 17, pid: 0 }));
        finish(&child)?;
    }
    let start = clock::monotonic();
    assert_eq!(signals.wait(Some(Duration::from_millis(3)))?, None);
    assert!(clock::monotonic() - start >= 3_000_000, "too early");
    assert_eq!(signal::block()?, signal::block()?);
    before.set()?;
    Ok(())
}

fn fault_signals_from_outside_are_read_too() -> Outcome {
    signal::block()?;
    let signals = SignalFd::open()?;
    crash::arm(executable::open()?, 1000)?;
    crash::arm(executable::open()?, 1000)?;
    // A handler that ran ends a wait early, with what it passed on still to be taken.
    let next = |way: usize| if way == 0 { signals.read() } else { signals.wait(Some(Duration::ZERO)) };
    for round in 0..4 {
        for number in FAULTS {
            let script = format!("kill -{number} {}", process::pid());
            let argv = words(&["sh", "-c", &script]);
            let sender = start(&argv, |_| {})?;
            assert_eq!(finish(&sender)?, Change::Exited(0));
            let arrived = loop {
                match next(round % 2)?.ok_or(format!("{number} was lost in round {round}"))? {
                    Arrived { signal: 17, .. } => {}
                    arrived => break arrived,
                }
            };
            assert_eq!(arrived, Arrived { signal: number, pid: sender.pid });
            while signals.read()?.is_some() {}
        }
    }
    let script = format!("kill -64 {}", process::pid());
    let argv = words(&["sh", "-c", &script]);
    finish(&start(&argv, |_| {})?)?;
    let last = std::iter::from_fn(|| signals.read().ok().flatten()).find(|arrived| arrived.signal != 17);
    assert_eq!(last.map(|arrived| arrived.signal), Some(64), "the carrier's own number is still a signal");
    Ok(())
}

fn fault_signals_need_no_room_in_the_queue() -> Outcome {
    signal::block()?;
    let signals = SignalFd::open()?;
    crash::arm(executable::open()?, 1000)?;
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Sigpending, none)?;
    let script = FAULTS.map(|number| format!("kill -{number} {}", process::pid())).join(";");
    let argv = words(&["sh", "-c", &script]);
    assert_eq!(finish(&start(&argv, |_| {})?)?, Change::Exited(0));
    let mut arrived: Vec<u8> =
        std::iter::from_fn(|| signals.read().ok().flatten()).map(|arrived| arrived.signal).collect();
    arrived.retain(|signal| *signal != 17);
    arrived.sort_unstable();
    let mut expected = FAULTS;
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    Ok(())
}

/// Another process of our user may claim to be us; if that were believed, it could crash a supervisor it cannot kill.
pub(crate) fn forge(arguments: &[&str]) -> Outcome {
    let target: i32 = arguments.first().ok_or("no target")?.parse()?;
    let mut info = [0_i32; 32];
    info[2] = libc::SI_QUEUE;
    info[if cfg!(target_pointer_width = "64") { 4 } else { 3 }] = target;
    // SAFETY: rt_sigqueueinfo(2) reads one `siginfo_t`, 128 bytes, which `info` has.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, target, libc::SIGSEGV, info.as_ptr()) };
    assert_eq!(done, 0);
    Ok(())
}

fn a_forged_sender_is_no_crash() -> Outcome {
    signal::block()?;
    let signals = SignalFd::open()?;
    crash::arm(executable::open()?, 1000)?;
    let argv = own(&["role", "forge", &process::pid().to_string()])?;
    assert_eq!(finish(&start(&argv, |_| {})?)?, Change::Exited(0));
    let arrived = std::iter::from_fn(|| signals.read().ok().flatten()).find(|arrived| arrived.signal != 17);
    assert_eq!(arrived.map(|arrived| arrived.signal), Some(11));
    Ok(())
}

pub(crate) fn suspend() -> Outcome {
    signal::block()?;
    signal::suspend_self()?;
    Ok(())
}

fn suspends_itself() -> Outcome {
    let argv = own(&["role", "suspend"])?;
    let child = start(&argv, |_| {})?;
    let stopped = next_change()?;
    assert_eq!((stopped.pid, stopped.change), (child.pid, Change::Stopped(19)));
    reap::reap(stopped)?;
    child.signal(18)?;
    assert_eq!(finish(&child)?, Change::Exited(0));
    assert!(signal::ignore(9).is_err() && signal::default(0).is_err() && signal::default(65).is_err());
    Ok(())
}
