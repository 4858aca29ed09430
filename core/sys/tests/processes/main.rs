//! Real processes: each case runs in a process of its own, without threads, as a subreaper. The same file, executed again, plays the
//! roles that the cases need on the other side.

mod crash;
mod sealed;
mod signals;
mod spawn;
mod terminal;
mod worker;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hilum_sys::child::{Child, Environment, Program, SpawnError, Spec, spawn};
use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::{self, Change, Peek};

type Outcome = Result<(), Box<dyn Error>>;
type Case = (&'static str, fn() -> Outcome);

/// How long a case may take before it is killed and counted as failed. Far above what any needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        ["last-resort", ..] => hilum_sys::crash::last_resort::main(arguments.get(1..).unwrap_or_default()),
        ["case", name] => case(name),
        ["role", name, rest @ ..] => role(name, rest),
        ["--list", ..] => list(),
        filters => all(filters),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [spawn::CASES, signals::CASES, terminal::CASES, crash::CASES, worker::CASES, sealed::CASES].into_iter().flatten()
}

fn list() -> Outcome {
    cases().for_each(|(name, _)| println!("{name}: test"));
    Ok(())
}

fn all(words: &[&str]) -> Outcome {
    let wanted = |name: &str| {
        let mut filters = words.iter().filter(|word| !word.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter))
    };
    let mut failed = Vec::new();
    for (name, _) in cases().filter(|(name, _)| wanted(name)) {
        let argv = own(&["case", name])?;
        // Whoever runs the tests may have left us descriptors.
        let child = start(&argv, |spec| spec.close_rest = true)?;
        let ended = finish(&child)?;
        println!(
            "test {name} ... {}",
            if ended == Change::Exited(0) { "ok".into() } else { format!("FAILED {ended:?}") }
        );
        if ended != Change::Exited(0) {
            failed.push(*name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn case(name: &str) -> Outcome {
    process::set_subreaper()?;
    let (_, run) = cases().find(|(known, _)| *known == name).ok_or("no such case")?;
    run()?;
    assert_eq!(reap::peek()?, Peek::NoChildren, "a child was left behind");
    Ok(())
}

fn role(name: &str, rest: &[&str]) -> Outcome {
    match name {
        "say" => spawn::say(rest),
        "family" => spawn::family(),
        "forge" => signals::forge(rest),
        "suspend" => signals::suspend(),
        "terminal" => terminal::inside(),
        "crasher" => crash::crasher(rest),
        "service" => crash::service(rest),
        "confined" => worker::confined(),
        "sealed" => sealed::sealed(rest),
        "activated" => worker::activated(),
        _ => Err(format!("no role {name}").into()),
    }
}

/// Argument list of this file executed again.
fn own(words: &[&str]) -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?.into_os_string();
    Ok([own].into_iter().chain(words.iter().map(OsString::from)).collect())
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Starts a command; `adjust` changes what is to be different from the default.
fn start<'a>(argv: &'a [OsString], adjust: impl FnOnce(&mut Spec<'a>)) -> Result<Child, SpawnError> {
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let mut spec = Spec::new(Program::Search(program), argv, Environment::inherit());
    adjust(&mut spec);
    spawn(&spec)
}

/// Waits for the end of a child and takes it. Stops on the way are taken too.
fn finish(child: &Child) -> io::Result<Change> {
    let deadline = Instant::now() + PATIENCE;
    let opened = child.pidfd.as_ref().map_or_else(|| process::pidfd_open(child.pid), |fd| fd.try_clone())?;
    // A signal handler that runs ends a wait early.
    while poll::wait(&mut [Slot::new(opened.as_fd(), true, false)], Some(deadline - Instant::now()))? == 0 {
        if Instant::now() >= deadline {
            process::signal(Target::Pid(child.pid), 9)?;
        }
    }
    loop {
        match reap::peek()? {
            Peek::Child(peeked) => {
                reap::reap(peeked)?;
                if peeked.pid == child.pid && matches!(peeked.change, Change::Exited(_) | Change::Signaled(_)) {
                    return Ok(peeked.change);
                }
            }
            other => return Err(io::Error::other(format!("{} is not there: {other:?}", child.pid))),
        }
    }
}

/// The next change of any child. No descriptor tells of stops, so this looks until there is one.
fn next_change() -> io::Result<reap::Peeked> {
    loop {
        match reap::peek()? {
            Peek::Child(peeked) => return Ok(peeked),
            Peek::NoneReady => std::thread::yield_now(),
            Peek::NoChildren => return Err(io::Error::other("no child")),
        }
    }
}

/// What a command writes to standard output, and how it ends.
fn output_of<'a>(argv: &'a [OsString], adjust: impl FnOnce(&mut Spec<'a>)) -> Result<(String, Change), Box<dyn Error>> {
    let (mut reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let mut spec = Spec::new(Program::Search(program), argv, Environment::inherit());
    adjust(&mut spec);
    let mut descriptors: Vec<(_, RawFd)> = spec.descriptors.to_vec();
    descriptors.push((writer.as_fd(), 1));
    let child = spawn(&Spec { descriptors: &descriptors, ..spec })?;
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    Ok((text, finish(&child)?))
}

/// A folder that is this case's own.
fn folder(name: &str) -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("hilum-sys-{}-{name}", process::pid()));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
