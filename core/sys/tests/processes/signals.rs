//! Signals that arrive, and those of faults that come from outside.

use std::os::fd::AsFd;

use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::{self, Change};
use hilum_sys::signal::{self, SignalFd};
use hilum_sys::{crash, executable};

use crate::{Case, Outcome, finish, next_change, own, start, words};

pub(crate) const CASES: &[Case] = &[
    ("signals::all_that_can_wait_are_read", all_that_can_wait_are_read),
    ("signals::fault_signals_from_outside_are_read_too", fault_signals_from_outside_are_read_too),
    ("signals::suspends_itself", suspends_itself),
];

/// SEGV, BUS, ILL, FPE, ABRT, TRAP, SYS.
const FAULTS: [u8; 7] = [11, 7, 4, 8, 6, 5, 31];

fn all_that_can_wait_are_read() -> Outcome {
    let before = signal::block()?;
    let signals = SignalFd::open()?;
    assert_eq!(signals.read()?, None);
    let own = process::pid();
    for number in (1..=signal::MAX).filter(|number| !FAULTS.contains(number) && ![9, 19].contains(number)) {
        process::signal(Target::Pid(own), number)?;
        poll::wait(&mut [Slot::new(signals.as_fd(), true, false)], None)?;
        let arrived = signals.read()?.ok_or("nothing came")?;
        assert_eq!((arrived.signal, arrived.pid, arrived.from_kernel), (number, own, false));
        assert_eq!(signals.read()?, None);
    }
    let argv = words(&["true"]);
    let child = start(&argv, |_| {})?;
    poll::wait(&mut [Slot::new(signals.as_fd(), true, false)], None)?;
    let arrived = signals.read()?.ok_or("nothing came")?;
    assert_eq!((arrived.signal, arrived.pid, arrived.from_kernel), (17, child.pid, true));
    finish(&child)?;
    assert_eq!(signal::block()?, signal::block()?);
    before.set()?;
    Ok(())
}

fn fault_signals_from_outside_are_read_too() -> Outcome {
    signal::block()?;
    let signals = SignalFd::open()?;
    crash::arm(executable::open()?, 1000)?;
    crash::arm(executable::open()?, 1000)?;
    for round in 0..3 {
        for number in FAULTS {
            let script = format!("kill -{number} {}", process::pid());
            let argv = words(&["sh", "-c", &script]);
            let sender = start(&argv, |_| {})?;
            assert_eq!(finish(&sender)?, Change::Exited(0));
            let mut others = Vec::new();
            let arrived = loop {
                match signals.read()?.ok_or(format!("{number} was lost in round {round}"))? {
                    arrived if arrived.signal == 17 => others.push(arrived),
                    arrived => break arrived,
                }
            };
            assert_eq!((arrived.signal, arrived.pid, arrived.from_kernel), (number, sender.pid, false));
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
