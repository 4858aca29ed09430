//! Terminals: ours, handed over, given up, and stalled.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use hilum_sys::child::{Environment, Group, Program, Spec, spawn};
use hilum_sys::output::Output;
use hilum_sys::poll::{self, Slot};
use hilum_sys::reap::Change;
use hilum_sys::signal::{self, SignalFd};
use hilum_sys::{process, terminal};

use crate::{Case, Outcome, finish, own, words};

pub(crate) const CASES: &[Case] = &[
    ("terminal::is_handed_over_and_given_up", is_handed_over_and_given_up),
    ("terminal::a_stalled_one_blocks_nobody", a_stalled_one_blocks_nobody),
];

/// Both ends of a new terminal.
fn open() -> io::Result<(File, OwnedFd)> {
    let leader = File::options().read(true).write(true).open("/dev/ptmx")?;
    let unlocked = 0;
    // SAFETY: TIOCSPTLCK reads one `int` (ioctl_tty(2)).
    let done = unsafe { libc::ioctl(leader.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    assert_eq!(done, 0);
    // SAFETY: TIOCGPTPEER takes flags and returns a new descriptor (ioctl_tty(2)).
    let peer =
        unsafe { libc::ioctl(leader.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(peer >= 0);
    // SAFETY: the line above checked that this is a descriptor, and it is new.
    Ok((leader, unsafe { std::os::fd::FromRawFd::from_raw_fd(peer) }))
}

fn is_handed_over_and_given_up() -> Outcome {
    let (_leader, terminal) = open()?;
    let argv = own(&["role", "terminal"])?;
    let program = argv.first().ok_or("no program")?;
    let descriptors = [(terminal.as_fd(), 0)];
    // The child's standard input is ours until the descriptors are passed, so ours must be the terminal.
    rustix::stdio::dup2_stdin(&terminal)?;
    let spec = Spec {
        descriptors: &descriptors,
        group: Group::Session { terminal: true },
        ..Spec::new(Program::Search(program), &argv, Environment::inherit())
    };
    assert_eq!(finish(&spawn(&spec)?)?, Change::Exited(0));
    Ok(())
}

/// Leads a session that controls the terminal on standard input.
pub(crate) fn inside() -> Outcome {
    signal::block()?;
    let signals = SignalFd::open()?;
    assert!(terminal::is_controlling() && terminal::leads_session());
    let argv = words(&["sh", "-c", "test \"$(cut -d' ' -f8 /proc/self/stat)\" = $$"]);
    for (group, in_foreground) in [(Group::Own { foreground: true }, true), (Group::Own { foreground: false }, false)] {
        let child = spawn(&Spec { group, ..Spec::new(Program::Search("sh".as_ref()), &argv, Environment::inherit()) })?;
        assert_eq!(finish(&child)?, Change::Exited(i32::from(!in_foreground)), "{group:?}");
        // From the background, where this would stop a less careful process.
        terminal::take_foreground()?;
        assert_eq!(rustix::termios::tcgetpgrp(rustix::stdio::stdin())?, rustix::process::getpgrp());
    }
    assert!(terminal::set_foreground(0).is_err() && terminal::set_foreground(i32::MAX).is_err());
    while signals.read()?.is_some() {}
    process::signal(process::Target::Pid(process::pid()), 10)?;
    terminal::give_up()?;
    let left: Vec<u8> = std::iter::from_fn(|| signals.read().ok().flatten()).map(|arrived| arrived.signal).collect();
    assert_eq!(left, [10], "HUP and CONT are swallowed, others are not");
    assert!(!terminal::is_controlling() && terminal::give_up().is_err());
    // Now a child's session can have it.
    let argv = words(&["sh", "-c", "exec 3</dev/tty"]);
    let group = Group::Session { terminal: true };
    let child = spawn(&Spec { group, ..Spec::new(Program::Search("sh".as_ref()), &argv, Environment::inherit()) })?;
    assert_eq!(finish(&child)?, Change::Exited(0));
    Ok(())
}

fn a_stalled_one_blocks_nobody() -> Outcome {
    let (mut leader, terminal) = open()?;
    let mut output = Output::new(terminal.as_fd());
    let mut total = 0;
    let full = loop {
        match output.write(&[b'x'; 1000]) {
            Ok(count) if total < 10_000_000 => total += count,
            other => break other,
        }
    };
    assert_eq!(full.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    assert!(total > 0);
    assert!(!rustix::fs::fcntl_getfl(&terminal)?.contains(rustix::fs::OFlags::NONBLOCK));
    let mut buffer = vec![0; total];
    leader.read_exact(&mut buffer)?;
    poll::wait(&mut [Slot::new(output.as_fd(), false, true)], None)?;
    assert_eq!(output.write(b"again")?, 5);
    Ok(())
}
