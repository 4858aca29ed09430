//! `hilum watch`: the status of processes hilum did not start.
//!
//! By pid, the kernel says when the process ends (a pidfd becomes readable), so nothing is polled and a reused number is not taken for it. By name there is
//! nothing to be told by, so the process list is read once a period.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hilum_config::Launch;
use hilum_engine::{Exit, Plan, Signal, Span, Tick};
use hilum_sys::poll::{self, Slot};
use hilum_sys::procfs::{self, Process};
use hilum_sys::reap::{self, Change, Peek};
use hilum_sys::signal::{SignalFd, block};
use hilum_sys::{clock, executable, process};
use hilum_wire::{Mode, Overview, ServiceReport};

use crate::broker::{self, Broker};
use crate::cli::Watch;
use crate::listener::Listeners;
use crate::log::{Level, Log, pair};
use crate::run_table::RunTable;
use crate::starts::Starts;
use crate::supervise::low_byte;

/// Most matching processes shown.
const MOST: usize = 1000;

/// State letter of a process that has ended and was not waited for.
const ZOMBIE: u8 = b'Z';

/// What is watched.
#[derive(Debug)]
enum Subject {
    /// Every process of a name.
    Name(String),
    /// One process, held by a descriptor that cannot come to mean another.
    Held { pid: i32, pidfd: OwnedFd, started_at: u64 },
    /// One process that is not there.
    Gone { ended_at: Option<u64> },
}

/// Watches until a signal ends it, and returns the exit code: 0, since nothing was being waited for.
///
/// **Errors:** what stands in the way, in words for people.
pub(crate) fn run(watch: Watch, cmdline: Vec<String>) -> Result<u8, String> {
    block().map_err(|error| format!("cannot block signals: {error}"))?;
    // Before any descriptor of our own: sockets that were passed are known by their numbers.
    let environment = |name: &str| std::env::var_os(name);
    let listeners = Listeners::open(&watch.status, &environment).map_err(|error| error.to_string())?;
    let signals = SignalFd::open().map_err(|error| format!("cannot open a signal descriptor: {error}"))?;
    let mut log = Log::new(watch.process.voice, watch.process.verbosity);
    let executable = executable::open().map_err(|error| format!("cannot open hilum's own executable: {error}"))?;
    if watch.process.parent_death_signal != 0 {
        process::set_parent_death_signal(watch.process.parent_death_signal)
            .map_err(|error| format!("cannot set the parent death signal: {error}"))?;
    }
    let name = watch.name.to_string_lossy().into_owned();
    let mut subject = match watch.pid {
        None => Subject::Name(name.clone()),
        Some(pid) => hold(pid).unwrap_or(Subject::Gone { ended_at: None }),
    };
    procfs::list().map_err(|error| format!("cannot read the process list: {error}; watch needs /proc"))?;
    for address in &listeners.addresses {
        let mut pairs = String::new();
        pair(&mut pairs, "event", "listening");
        pair(&mut pairs, "address", address);
        log.say(Level::Info, &pairs);
    }
    let launch = Launch {
        plan: Plan::default(),
        services: Vec::new(),
        plugins: Vec::new(),
        commands: Vec::new(),
        status: Some(watch.status.clone()),
        process: watch.process.clone(),
    };
    let mut broker = Broker::new(&launch, executable);
    let now = || Tick(clock::monotonic());
    // A watch has no plugins, and so no answers.
    let mut nothing = VecDeque::new();
    let mut cx = broker::Context {
        launch: &launch,
        listeners: Some(&listeners),
        now: now(),
        runs: &RunTable::default(),
        starts: &Starts::default(),
        hidden: &[],
        log: &mut log,
        events: &mut nothing,
    };
    broker.start_all(&mut cx);
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = hilum_sys::listen::notify(&socket, b"READY=1");
    }
    let since = clock::wall();
    let mut look_at = now();
    let mut services = Vec::new();
    loop {
        if look_at <= now() {
            services = look(&mut subject, &name, watch.period, &broker);
            broker.publish();
            look_at = now().after(watch.period);
        }
        if broker.wants_reports() {
            let (plugins, workers) = broker.reports(&launch);
            let overview = Overview {
                mode: Mode::Watch,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                cmdline: cmdline.clone(),
                phase: "running".to_owned(),
                ready: services.iter().any(|service| service.running),
                started: true,
                alive: true,
                sidebind_port: listeners.sidebind_port,
                since,
                services: u16::try_from(services.len()).unwrap_or(u16::MAX),
                complete: true,
                plugins,
                workers,
                log_dropped: cx.log.dropped(),
                orphans_reaped: 0,
            };
            broker.tell(overview, services.iter().cloned());
        }
        // A held process announces its own end; one that is gone may not come back.
        let polled = matches!(subject, Subject::Name(_));
        let deadline = [polled.then_some(look_at), broker.next_deadline()].into_iter().flatten().min();
        let mut slots = vec![Slot::new(signals.as_fd(), true, false)];
        let mut workers = Vec::new();
        for (index, channel, wants_write) in broker.interests() {
            workers.push(index);
            slots.push(Slot::new(channel, true, wants_write));
        }
        if let Subject::Held { pidfd, .. } = &subject {
            slots.push(Slot::new(pidfd.as_fd(), true, false));
        }
        let _ = poll::wait(&mut slots, deadline.map(|at| Duration::from_nanos(at.since(now()).0)));
        cx.now = now();
        let fired: Vec<bool> = slots.iter().map(|slot| slot.readable() || slot.writable()).collect();
        if let (Subject::Held { .. }, Some(true)) = (&subject, fired.get(workers.len().saturating_add(1))) {
            look_at = now();
        }
        while let Ok(Some(arrived)) = signals.read() {
            let signal = Signal(arrived.signal);
            if matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT | Signal::HUP) {
                broker.stop_all();
                return Ok(signal.exit_code());
            }
        }
        while let Ok(Peek::Child(peeked)) = reap::peek() {
            let (pid, change) = (peeked.pid, peeked.change);
            if reap::reap(peeked).is_err() {
                break;
            }
            match change {
                Change::Exited(code) => broker.on_exited(pid, Exit::Code(low_byte(code)), &mut cx),
                Change::Signaled(signal) => broker.on_exited(pid, Exit::Signaled(Signal(signal)), &mut cx),
                Change::Stopped(_) | Change::Continued => {}
            }
        }
        for (index, _) in workers.into_iter().zip(fired.into_iter().skip(1)).filter(|(_, fired)| *fired) {
            broker.on_ready(index, &mut cx);
        }
        broker.on_due(&mut cx);
        cx.log.flush();
    }
}

fn hold(pid: i32) -> Option<Subject> {
    let pidfd = process::pidfd_open(pid).ok()?;
    // Read after the descriptor is held: it is this process's, not that of one before it. A zombie has ended already.
    let process = procfs::one(pid).ok()?;
    (process.state != ZOMBIE).then_some(Subject::Held { pid, pidfd, started_at: process.started_at })
}

/// What there is to show now.
fn look(subject: &mut Subject, name: &str, period: Span, broker: &Broker) -> Vec<ServiceReport> {
    let report = |process: Option<(i32, u64)>, ended_at| ServiceReport {
        name: name.to_owned(),
        command: name.to_owned(),
        arguments: None,
        state: if process.is_some() { "up" } else { "down" }.to_owned(),
        running: process.is_some(),
        ready: process.is_some(),
        pid: process.map(|(pid, _)| pid),
        started_at: process.map(|(_, started_at)| started_at),
        ended_at,
        wait_ns: period.0,
        ..ServiceReport::default()
    };
    match subject {
        Subject::Held { pid, pidfd, started_at } => {
            let mut slot = [Slot::new(pidfd.as_fd(), true, false)];
            let ended = poll::wait(&mut slot, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0);
            if ended {
                let ended_at = Some(clock::wall());
                *subject = Subject::Gone { ended_at };
                vec![report(None, ended_at)]
            } else {
                vec![report(Some((*pid, *started_at)), None)]
            }
        }
        Subject::Gone { ended_at } => vec![report(None, *ended_at)],
        Subject::Name(name) => {
            let own = process::pid();
            let matches = |process: &Process| {
                let ours = process.pid == own || broker.is_own(process.pid);
                !ours && process.state != ZOMBIE && is_called(process, name)
            };
            let list = procfs::list().unwrap_or_default();
            let found = list.iter().filter(|process| matches(process)).take(MOST);
            let found: Vec<ServiceReport> =
                found.map(|process| report(Some((process.pid, process.started_at)), None)).collect();
            if found.is_empty() { vec![report(None, None)] } else { found }
        }
    }
}

/// Whether a process goes by a name: that of its executable, of its first argument (a script's, say), or the kernel's for it, which is cut to
/// 15 bytes. Folders do not count, on either side.
fn is_called(process: &Process, name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).as_bytes();
    let named = |own: &Option<Vec<u8>>| own.as_deref() == Some(name);
    named(&process.executable) || named(&process.command) || process.comm == name
}

#[cfg(test)]
mod tests {
    use super::is_called;
    use hilum_sys::procfs::Process;

    #[test]
    fn names_are_whole_and_without_folders() {
        let process = Process {
            pid: 7,
            comm: b"a-rather-long-n".to_vec(),
            executable: Some(b"a-rather-long-name".to_vec()),
            command: Some(b"script.py".to_vec()),
            state: b'S',
            started_at: 0,
        };
        for name in ["a-rather-long-name", "/usr/bin/a-rather-long-name", "script.py", "a-rather-long-n"] {
            assert!(is_called(&process, name), "{name}");
        }
        for name in ["a-rather-long", "script", "", "/"] {
            assert!(!is_called(&process, name), "{name}");
        }
    }
}
