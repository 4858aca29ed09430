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
use hilum_sys::{crash, executable, inherit, process};

use crate::{Case, Outcome, finish, folder, is_root, own};

pub(crate) const CASES: &[Case] = &[
    ("crash::drills_as_an_ordinary_process", || drills(Place::Ordinary)),
    ("crash::drills_as_pid_1", || drills(Place::First)),
    ("crash::drills_as_pid_1_in_an_empty_root", || drills(Place::FirstInEmptyRoot)),
    ("crash::the_grace_period_ends", the_grace_period_ends),
    ("crash::a_second_stop_request_kills", a_second_stop_request_kills),
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
        // SAFETY: unshare(2) with CLONE_NEWPID takes an integer; it is the next child that becomes the first of a namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    }
    Ok(spawn(&Spec {
        descriptors: &descriptors,
        ..Spec::new(Program::Search(program), &argv, Environment::inherit())
    })?)
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
    std::os::unix::fs::chroot(root)?;
    match drill {
        "panic" => {
            // Also in the dev profile, where it would unwind.
            let nothing: Option<u8> = std::hint::black_box(None);
            #[expect(clippy::unwrap_used, reason = "the panic is the drill")]
            std::process::exit(nothing.unwrap().into());
        }
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

fn drills(place: Place) -> Outcome {
    if place != Place::Ordinary && !is_root() {
        println!("needs root for a pid namespace: not run");
        return Err("run as root".into());
    }
    for drill in ["panic", "fault", "abort", "overflow", "memory"] {
        let folder = folder(drill)?;
        let (mut reader, writer) = io::pipe()?;
        // A namespace of its own for each supervisor, so each in a process of its own.
        let argv = own(&["role", "exit", "0"])?;
        drop(argv);
        let child = supervisor(drill, place, 20_000, &folder, writer.into())?;
        let ended = finish(&child)?;
        let mut said = String::new();
        reader.read_to_string(&mut said)?;
        assert_eq!(ended, Change::Exited(70), "{drill} {place:?}: {said}");
        assert_eq!(fs::read_to_string(folder.join("flushed"))?, "flushed", "{drill} {place:?}: {said}");
        let cause = match drill {
            "panic" => "(panic)",
            "fault" | "overflow" => "(SIGSEGV at 0x",
            _ => "(SIGABRT)",
        };
        assert!(said.contains(cause), "{drill}: {said}");
        assert_eq!(said.contains("hilum: bug: panic at "), drill == "panic", "{said}");
        let first = said.contains("hilum: process 1 crashed");
        assert_eq!(first, place != Place::Ordinary, "{said}");
        fs::remove_dir_all(folder)?;
    }
    Ok(())
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

fn a_second_stop_request_kills() -> Outcome {
    for place in [Place::Ordinary, Place::First] {
        let folder = folder(&format!("second-{place:?}"))?;
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
        fs::remove_dir_all(folder)?;
    }
    Ok(())
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
    assert!(process::pid() > 1);
    Ok(())
}
