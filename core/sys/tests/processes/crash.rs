//! The crash drills: whatever happens to the supervisor, its service is stopped politely and the exit code is 70.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hilum_sys::child::{Child, Environment, Program, Spec, spawn};
use hilum_sys::output::Output;
use hilum_sys::poll::{self, Slot};
use hilum_sys::reap::Change;
use hilum_sys::signal::{self, SignalFd};
use hilum_sys::{crash, executable, inherit};

use crate::{Case, Outcome, finish, folder, own};

pub(crate) const CASES: &[Case] = &[
    ("crash::panic", || crashes("panic", Place::Ordinary)),
    ("crash::fault", || crashes("fault", Place::Ordinary)),
    ("crash::abort", || crashes("abort", Place::Ordinary)),
    ("crash::overflow", || crashes("overflow", Place::Ordinary)),
    ("crash::memory", || crashes("memory", Place::Ordinary)),
    ("crash::panic_of_pid_1", || crashes("panic", Place::First)),
    ("crash::fault_of_pid_1", || crashes("fault", Place::First)),
    ("crash::abort_of_pid_1", || crashes("abort", Place::First)),
    ("crash::overflow_of_pid_1", || crashes("overflow", Place::First)),
    ("crash::memory_of_pid_1", || crashes("memory", Place::First)),
    ("crash::panic_of_pid_1_in_an_empty_root", || crashes("panic", Place::FirstInEmptyRoot)),
    ("crash::fault_of_pid_1_in_an_empty_root", || crashes("fault", Place::FirstInEmptyRoot)),
    ("crash::abort_of_pid_1_in_an_empty_root", || crashes("abort", Place::FirstInEmptyRoot)),
    ("crash::overflow_of_pid_1_in_an_empty_root", || crashes("overflow", Place::FirstInEmptyRoot)),
    ("crash::the_grace_period_ends", the_grace_period_ends),
    ("crash::a_second_stop_request_kills", || second_stop_request(Place::Ordinary)),
    ("crash::a_second_stop_request_kills_from_pid_1", || second_stop_request(Place::First)),
    ("crash::a_stalled_stderr_does_not_matter", a_stalled_stderr_does_not_matter),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Ordinary,
    First,
    FirstInEmptyRoot,
}

/// Starts a supervisor that will crash by `drill` and whose service writes to `flushed` when it gets TERM.
fn supervisor(
    drill: &str,
    place: Place,
    grace_ms: u64,
    folder: &Path,
    stderr: OwnedFd,
) -> Result<Child, Box<dyn Error>> {
    let flushed = folder.join("flushed");
    let root = if place == Place::FirstInEmptyRoot { folder.join("root") } else { Path::new("/").to_owned() };
    fs::create_dir_all(&root)?;
    let texts = [flushed.display().to_string(), root.display().to_string(), grace_ms.to_string()];
    let [flushed, root, grace] = &texts;
    let argv = own(&["role", "crasher", drill, flushed, root, grace])?;
    let program = argv.first().ok_or("no program")?;
    let descriptors = [(stderr.as_fd(), 2)];
    if place != Place::Ordinary {
        separate()?;
    }
    Ok(spawn(&Spec {
        descriptors: &descriptors,
        ..Spec::new(Program::Search(program), &argv, Environment::inherit())
    })?)
}

/// Makes our next child the first process of a new pid namespace; in a user namespace too where we are not root.
fn separate() -> io::Result<()> {
    let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self")?);
    let users = if uid == 0 { 0 } else { libc::CLONE_NEWUSER };
    // SAFETY: unshare(2) takes an integer; without threads there is nobody else it could concern.
    if unsafe { libc::unshare(libc::CLONE_NEWPID | users) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if uid == 0 { Ok(()) } else { fs::write("/proc/self/uid_map", format!("0 {uid} 1")) }
}

/// Spawns a service, waits until it is up, and crashes.
pub(crate) fn crasher(arguments: &[&str]) -> Outcome {
    let &[drill, flushed, root, grace] = arguments else { return Err("wrong arguments".into()) };
    signal::block()?;
    crash::arm(executable::open()?, grace.parse()?)?;
    let (mut reader, writer) = io::pipe()?;
    let argv = own(&["role", "service", flushed, drill])?;
    let program = argv.first().ok_or("no program")?;
    let descriptors = [(writer.as_fd(), 3)];
    let child = spawn(&Spec {
        descriptors: &descriptors,
        ..Spec::new(Program::Search(program), &argv, Environment::inherit())
    })?;
    drop(writer);
    assert!(crash::register_group(child.pid));
    reader.read_exact(&mut [0])?;
    if root != "/" {
        std::os::unix::fs::chroot(root)?;
    }
    match drill {
        #[expect(clippy::panic, reason = "the panic is the drill")]
        "panic" => panic!("on purpose\nin two lines"),
        "fault" => crash::drill_fault(),
        "overflow" => crash::drill_overflow(),
        "memory" => {
            let limit = rustix::process::Rlimit { current: Some(256 << 20), maximum: Some(256 << 20) };
            rustix::process::setrlimit(rustix::process::Resource::As, limit)?;
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        _ => crash::drill_abort(),
    }
}

/// Says that it is up, waits for TERM, writes to the file and ends; or ignores TERM if told to be stubborn.
pub(crate) fn service(arguments: &[&str]) -> Outcome {
    let &[flushed, drill] = arguments else { return Err("wrong arguments".into()) };
    signal::block()?;
    let signals = SignalFd::open()?;
    io::PipeWriter::from(inherit::take(3)?).write_all(b"u")?;
    loop {
        poll::wait(&mut [Slot::new(signals.as_fd(), true, false)], None)?;
        let arrived = signals.read()?;
        if arrived.is_some_and(|arrived| arrived.signal == 15) {
            fs::write(flushed, "flushed")?;
            if drill != "stubborn" {
                return Ok(());
            }
        }
    }
}

fn crashes(drill: &str, place: Place) -> Outcome {
    let folder = folder("drill")?;
    let (mut reader, writer) = io::pipe()?;
    let child = supervisor(drill, place, 20_000, &folder, writer.into())?;
    let ended = finish(&child)?;
    let mut said = String::new();
    reader.read_to_string(&mut said)?;
    assert_eq!(ended, Change::Exited(70), "{said}");
    assert_eq!(fs::read_to_string(folder.join("flushed"))?, "flushed", "{said}");
    let cause = match drill {
        "panic" => "(panic)",
        "fault" | "overflow" => "(SIGSEGV at 0x",
        _ => "(SIGABRT)",
    };
    assert!(said.contains(cause), "{said}");
    assert_eq!(said.contains(": on purpose in two lines\nhilum: process "), drill == "panic", "{said}");
    assert_eq!(said.contains("hilum: process 1 crashed"), place != Place::Ordinary, "{said}");
    Ok(fs::remove_dir_all(folder)?)
}

fn the_grace_period_ends() -> Outcome {
    let folder = folder("grace")?;
    let (mut reader, writer) = io::pipe()?;
    let child = supervisor("stubborn", Place::Ordinary, 50, &folder, writer.into())?;
    assert_eq!(finish(&child)?, Change::Exited(70));
    // The service held its other end.
    reader.read_to_end(&mut Vec::new())?;
    assert_eq!(fs::read_to_string(folder.join("flushed"))?, "flushed");
    Ok(fs::remove_dir_all(folder)?)
}

fn second_stop_request(place: Place) -> Outcome {
    let folder = folder("second")?;
    let (mut reader, writer) = io::pipe()?;
    let child = supervisor("stubborn", place, 3_600_000, &folder, writer.into())?;
    let mut said = Vec::new();
    let mut chunk = [0; 512];
    while !said.ends_with(b"KILL in 3600000 ms\n") {
        let len = reader.read(&mut chunk)?;
        assert!(len > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(chunk.get(..len).unwrap_or_default());
    }
    // Only what comes after its own TERM counts as the second request.
    while !folder.join("flushed").exists() {
        std::thread::yield_now();
    }
    child.signal(2)?;
    assert_eq!(finish(&child)?, Change::Exited(70));
    reader.read_to_end(&mut said)?;
    Ok(fs::remove_dir_all(folder)?)
}

fn a_stalled_stderr_does_not_matter() -> Outcome {
    for drill in ["panic", "fault"] {
        let folder = folder(&format!("stalled-{drill}"))?;
        let (_reader, writer) = io::pipe()?;
        let mut output = Output::new(writer.as_fd());
        while output.write(&[0; 4096]).is_ok() {}
        let child = supervisor(drill, Place::Ordinary, 20_000, &folder, writer.try_clone()?.into())?;
        assert_eq!(finish(&child)?, Change::Exited(70));
        assert_eq!(fs::read_to_string(folder.join("flushed"))?, "flushed");
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}
