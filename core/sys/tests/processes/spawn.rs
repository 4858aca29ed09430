//! Starting processes and reaping them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hilum_sys::child::{Child, Environment, Group, Identity, Kind, Program, Resource, SpawnError, Spec, Step, spawn};
use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::{self, Change, Peek};
use hilum_sys::{executable, inherit, procfs, signal};

use crate::{Case, Outcome, finish, folder, is_root, next_change, output_of, own, start, words};

pub(crate) const CASES: &[Case] = &[
    ("spawn::a_child_starts_clean", a_child_starts_clean),
    ("spawn::every_exit_code_and_signal_is_seen", every_exit_code_and_signal_is_seen),
    ("spawn::a_thousand_spawns_leave_nothing", a_thousand_spawns_leave_nothing),
    ("spawn::failures_say_what_and_leave_nothing", failures_say_what_and_leave_nothing),
    ("spawn::the_search_is_that_of_execvp", the_search_is_that_of_execvp),
    ("spawn::works_without_descriptors", works_without_descriptors),
    ("spawn::the_process_limit_is_an_error", the_process_limit_is_an_error),
    ("spawn::descriptors_arrive_in_any_order", descriptors_arrive_in_any_order),
    ("spawn::the_rest_is_closed", the_rest_is_closed),
    ("spawn::groups_and_sessions", groups_and_sessions),
    ("spawn::the_descriptor_limit_is_given_back", the_descriptor_limit_is_given_back),
    ("spawn::a_child_dies_with_its_parent", a_child_dies_with_its_parent),
    ("spawn::an_end_is_not_taken_for_a_stop", an_end_is_not_taken_for_a_stop),
];

fn line<'t>(status: &'t str, key: &str) -> Option<&'t str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

fn a_child_starts_clean() -> Outcome {
    let argv = words(&["cat", "/proc/self/status"]);
    let before = signal::block()?;
    signal::ignore(1)?;
    signal::ignore(64)?;
    let (plain, ended) = output_of(&argv, |_| {})?;
    assert_eq!(ended, Change::Exited(0), "{plain}");
    for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(line(&plain, key), Some("0000000000000000"), "{key}");
    }
    assert_eq!(line(&plain, "NoNewPrivs"), Some("0"));
    assert_eq!(line(&plain, "PPid"), Some(process::pid().to_string().as_str()));
    let limits = [(Resource::Core, 0, 0), (Resource::FileSize, 4096, u64::MAX)];
    let (special, ended) = output_of(&argv, |spec| {
        spec.umask = Some(0o027);
        spec.no_new_privileges = true;
        spec.oom_score_adjust = Some(700);
        spec.limits = &limits;
        if is_root() {
            spec.user = Some(Identity { uid: 1234, gid: 2345, groups: vec![7, 8] });
        }
    })?;
    assert_eq!(ended, Change::Exited(0), "{special}");
    assert_eq!((line(&special, "Umask"), line(&special, "NoNewPrivs")), (Some("0027"), Some("1")));
    if is_root() {
        assert_eq!(line(&special, "Uid"), Some("1234\t1234\t1234\t1234"));
        assert_eq!(line(&special, "Gid"), Some("2345\t2345\t2345\t2345"));
        assert_eq!(line(&special, "Groups"), Some("7 8"));
    }
    let argv = words(&["sh", "-c", "cat /proc/self/oom_score_adj; ulimit -c; pwd; echo $A-$B"]);
    let (shown, _) = output_of(&argv, |spec| {
        spec.oom_score_adjust = Some(700);
        spec.limits = &limits;
        spec.directory = Some(Path::new("/usr"));
        spec.env.set("A", "a b");
        spec.env.remove("B");
    })?;
    assert_eq!(shown, "700\n0\n/usr\na b-\n");
    assert_eq!(fs::read_to_string("/proc/self/oom_score_adj")?, "0\n", "the child's score must not be ours");
    assert!(process::signal(Target::Pid(process::pid()), 15).is_ok());
    let pending = signal::SignalFd::open()?.read()?;
    assert!(pending.is_some_and(|arrived| arrived.signal == 15), "the mask of before the spawn holds again");
    before.set()?;
    Ok(())
}

fn every_exit_code_and_signal_is_seen() -> Outcome {
    for code in 0..=255 {
        let script = format!("exit {code}");
        let argv = words(&["sh", "-c", &script]);
        assert_eq!(finish(&start(&argv, |_| {})?)?, Change::Exited(code));
    }
    let argv = words(&["cat"]);
    for number in (1..=signal::MAX).filter(|number| ![17, 18, 19, 20, 21, 22, 23, 28].contains(number)) {
        let (reader, _writer) = io::pipe()?;
        let child = start_with(&argv, &[(reader.as_fd(), 0)])?;
        child.signal(number)?;
        assert_eq!(finish(&child)?, Change::Signaled(number));
        assert!(child.signal(15).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)));
    }
    Ok(())
}

fn start_with(argv: &[std::ffi::OsString], descriptors: &[(BorrowedFd<'_>, RawFd)]) -> Result<Child, SpawnError> {
    let program = argv.first().map(std::ffi::OsString::as_os_str).unwrap_or_default();
    spawn(&Spec { descriptors, ..Spec::new(Program::Search(program), argv, Environment::inherit()) })
}

fn open_descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

fn a_thousand_spawns_leave_nothing() -> Outcome {
    let argv = words(&["/bin/true"]);
    let missing = words(&["/bin/missing"]);
    let before = open_descriptors()?;
    for _ in 0..500 {
        let child = start(&argv, |_| {})?;
        assert_eq!(finish(&child)?, Change::Exited(0));
        assert!(start(&missing, |_| {}).is_err());
    }
    assert_eq!(reap::peek()?, Peek::NoChildren);
    assert_eq!(open_descriptors()?, before);
    let maps = fs::read_to_string("/proc/self/maps")?.lines().count();
    for _ in 0..500 {
        finish(&start(&argv, |_| {})?)?;
    }
    assert_eq!(fs::read_to_string("/proc/self/maps")?.lines().count(), maps);
    Ok(())
}

fn failures_say_what_and_leave_nothing() -> Outcome {
    let folder = folder("failures")?;
    let file = |name: &str, content: &str, mode: u32| -> io::Result<String> {
        let path = folder.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path.display().to_string())
    };
    let data = file("data", "no program", 0o755)?;
    let plain = file("plain", "#!/bin/sh\n", 0o644)?;
    let orphan = file("orphan", "#!/missing/interpreter\n", 0o755)?;
    let under = format!("{plain}/below");
    let directory = folder.display().to_string();
    let expected: [(&str, Kind, Step, &str); 9] = [
        (
            "/missing/app",
            Kind::NotFound,
            Step::Execute,
            "cannot execute /missing/app: No such file or directory (os error 2)",
        ),
        (
            "missing-app",
            Kind::NotFound,
            Step::Execute,
            "cannot execute missing-app: No such file or directory (os error 2)",
        ),
        ("", Kind::NotFound, Step::Execute, "cannot execute \"\": No such file"),
        (&under, Kind::NotFound, Step::Execute, "Not a directory"),
        (&data, Kind::NotExecutable, Step::Execute, "without a #! line"),
        (&plain, Kind::NotExecutable, Step::Execute, "needs execute permission"),
        (&directory, Kind::NotExecutable, Step::Execute, "Permission denied"),
        (&orphan, Kind::NotFound, Step::Execute, "not the interpreter it names"),
        ("a\0b", Kind::NotExecutable, Step::Prepare, "cannot prepare a\0b: \"a\\0b\" has a zero byte in it"),
    ];
    for (program, kind, step, message) in expected {
        let argv = words(&[program]);
        // A folder in our own PATH that may not be searched would be another error.
        let started = start(&argv, |spec| spec.env.set("PATH", "/usr/bin:/bin"));
        let error = started.err().ok_or(format!("{program} was executed"))?;
        assert_eq!((error.kind(), error.step), (kind, step), "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(reap::peek()?, Peek::NoChildren);
    }
    let argv = words(&["/bin/true"]);
    let refused = |message: &str, adjust: &mut dyn FnMut(&mut Spec<'_>)| -> Outcome {
        let mut spec = Spec::new(Program::Search("/bin/true".as_ref()), &argv, Environment::inherit());
        adjust(&mut spec);
        let error = spawn(&spec).err().ok_or(format!("started in spite of: {message}"))?;
        assert!(error.to_string().contains(message) && error.kind() == Kind::NotExecutable, "{error}");
        assert_eq!(reap::peek()?, Peek::NoChildren);
        Ok(())
    };
    refused("cannot enter directory /missing: No such", &mut |spec| spec.directory = Some(Path::new("/missing")))?;
    refused("no argument at all", &mut |spec| spec.argv = &[])?;
    refused("is no name for a variable", &mut |spec| spec.env.set("A=B", "c"))?;
    refused("is no name for a variable", &mut |spec| spec.env.set("", "c"))?;
    refused("set limit Core to 2:1 for /bin/true: Invalid", &mut |spec| spec.limits = &[(Resource::Core, 2, 1)])?;
    refused("is no user or group id", &mut |spec| {
        spec.user = Some(Identity { uid: u32::MAX, gid: 0, groups: Vec::new() });
    })?;
    refused("number 5 of the child is negative or given twice", &mut |spec| {
        spec.descriptors = const { &[(rustix::stdio::stdin(), 5), (rustix::stdio::stdin(), 5)] };
    })?;
    refused("number -1 of the child", &mut |spec| spec.descriptors = const { &[(rustix::stdio::stdin(), -1)] })?;
    let huge = words(&["/bin/true", &"x".repeat(200_000)]);
    let error = start(&huge, |_| {}).err().ok_or("a huge argument was taken")?;
    assert!(error.to_string().contains("too long"), "{error}");
    Ok(fs::remove_dir_all(folder)?)
}

fn the_search_is_that_of_execvp() -> Outcome {
    let folder = folder("search")?;
    for (name, mode, script) in
        [("denied", 0o644, ""), ("first", 0o755, "#!/bin/sh\necho first"), ("odd", 0o755, "odd")]
    {
        fs::create_dir(folder.join(name))?;
        let path = folder.join(name).join("tool");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let path =
        |names: &[&str]| names.iter().map(|name| format!("{}/{name}", folder.display())).collect::<Vec<_>>().join(":");
    let argv = words(&["tool"]);
    let (found, _) = output_of(&argv, |spec| spec.env.set("PATH", path(&["none", "denied", "first", "odd"])))?;
    assert_eq!(found, "first\n");
    let error = start(&argv, |spec| spec.env.set("PATH", path(&["denied", "none"]))).err().ok_or("executed")?;
    assert_eq!((error.kind(), error.object), (Kind::NotExecutable, format!("{}/denied/tool", folder.display())));
    let error = start(&argv, |spec| spec.env.set("PATH", path(&["odd", "first"]))).err().ok_or("a shell was asked")?;
    assert_eq!(error.error.raw_os_error(), Some(libc::ENOEXEC));
    let error = start(&argv, |spec| spec.env.set("PATH", "")).err().ok_or("executed")?;
    assert_eq!(error.kind(), Kind::NotFound);
    let (found, _) = output_of(&argv, |spec| {
        spec.env.set("PATH", "/missing:");
        spec.directory = Some(folder.join("first").leak());
    })?;
    assert_eq!(found, "first\n", "an empty element is the child's directory");
    let argv = words(&["true"]);
    assert_eq!(finish(&start(&argv, |spec| spec.env.remove("PATH"))?)?, Change::Exited(0));
    Ok(fs::remove_dir_all(folder)?)
}

fn works_without_descriptors() -> Outcome {
    let argv = words(&["/bin/true"]);
    finish(&start(&argv, |_| {})?)?;
    let null = File::open("/dev/null")?;
    let mut taken: Vec<File> = Vec::new();
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(32), maximum: Some(32) },
    )?;
    while let Ok(another) = null.try_clone() {
        taken.push(another);
    }
    let child = start(&argv, |_| {})?;
    assert!(child.pidfd.is_none());
    taken.clear();
    assert_eq!(finish(&child)?, Change::Exited(0));
    Ok(())
}

fn the_process_limit_is_an_error() -> Outcome {
    if is_root() {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody)?;
    }
    rustix::process::setrlimit(
        rustix::process::Resource::Nproc,
        rustix::process::Rlimit { current: Some(1), maximum: Some(1) },
    )?;
    let argv = words(&["/bin/true"]);
    let error = start(&argv, |_| {}).err().ok_or("the limit did not hold")?;
    assert_eq!((error.kind(), error.step), (Kind::Resources, Step::Create));
    assert!(error.to_string().contains("pids.max"), "{error}");
    Ok(())
}

/// Writes each argument `FD=TEXT` where it says, and all open descriptors to standard output.
pub(crate) fn say(arguments: &[&str]) -> Outcome {
    let mut listed: Vec<RawFd> =
        fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The directory being read is among them, and closed by now.
    listed.retain(|fd| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
    listed.sort_unstable();
    for argument in arguments {
        let (fd, text) = argument.split_once('=').ok_or("no =")?;
        File::from(inherit::take(fd.parse()?)?).write_all(text.as_bytes())?;
    }
    if arguments.is_empty() {
        println!("{listed:?}");
    }
    Ok(())
}

fn descriptors_arrive_in_any_order() -> Outcome {
    let program = executable::open()?;
    let pipes: Vec<(io::PipeReader, OwnedFd)> = (0..4)
        .map(|_| io::pipe().map(|(reader, writer)| (reader, OwnedFd::from(writer))))
        .collect::<io::Result<_>>()?;
    let ours: Vec<RawFd> = pipes.iter().map(|(_, writer)| writer.as_raw_fd()).collect();
    // Every writer takes the number of the next one of ours, the last that of the first; one of them that of the program.
    let mut targets: Vec<RawFd> = ours.iter().cycle().skip(1).take(3).copied().collect();
    targets.push(program.as_raw_fd());
    let descriptors: Vec<_> = pipes.iter().zip(&targets).map(|((_, writer), to)| (writer.as_fd(), *to)).collect();
    let mut argv = own(&["role", "say"])?;
    argv.extend(targets.iter().map(|to| format!("{to}=for {to}").into()));
    let spec = Spec {
        descriptors: &descriptors,
        ..Spec::new(Program::Descriptor(program.as_fd()), &argv, Environment::inherit())
    };
    let child = spawn(&spec)?;
    drop(descriptors);
    assert_eq!(finish(&child)?, Change::Exited(0));
    for ((mut reader, writer), to) in pipes.into_iter().zip(targets) {
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        assert_eq!(text, format!("for {to}"));
    }
    Ok(())
}

fn the_rest_is_closed() -> Outcome {
    let null = File::open("/dev/null")?;
    let leaked = rustix::io::fcntl_dupfd_cloexec(&null, 20)?;
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty())?;
    let argv = own(&["role", "say"])?;
    let (open, _) = output_of(&argv, |_| {})?;
    assert_eq!(open, "[0, 1, 2, 20]\n");
    let listed = [(null.as_fd(), 7), (null.as_fd(), 21)];
    let (open, _) = output_of(&argv, |spec| {
        spec.close_rest = true;
        spec.descriptors = &listed;
    })?;
    assert_eq!(open, "[0, 1, 2, 7, 21]\n");
    Ok(())
}

fn groups_and_sessions() -> Outcome {
    let argv = words(&["cat"]);
    let (reader, _writer) = io::pipe()?;
    let own = fs::read("/proc/self/stat")?;
    let own = procfs::parse_stat(&own).ok_or("not understood")?;
    for group in [Group::Shared, Group::Own { foreground: true }, Group::Session { terminal: true }] {
        let descriptors = [(reader.as_fd(), 0)];
        let spec = Spec {
            descriptors: &descriptors,
            group,
            ..Spec::new(Program::Search("cat".as_ref()), &argv, Environment::inherit())
        };
        let child = spawn(&spec)?;
        let content = fs::read(format!("/proc/{}/stat", child.pid))?;
        let stat = procfs::parse_stat(&content).ok_or("not understood")?;
        let expected = match group {
            Group::Shared => (own.group, own.session),
            Group::Own { .. } => (child.pid, own.session),
            Group::Session { .. } => (child.pid, child.pid),
        };
        assert_eq!((stat.group, stat.session), expected, "{group:?}");
        if group != Group::Shared {
            assert!(process::group_exists(child.pid));
            process::signal(Target::Group(child.pid), 15)?;
        } else {
            process::signal(Target::Pid(child.pid), 15)?;
        }
        assert_eq!(finish(&child)?, Change::Signaled(15));
        assert!(!process::group_exists(child.pid));
    }
    Ok(())
}

fn the_descriptor_limit_is_given_back() -> Outcome {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(100), maximum: Some(200) },
    )?;
    assert_eq!((process::descriptor_limit(), process::raise_descriptor_limit()), (100, 200));
    assert_eq!((process::raise_descriptor_limit(), process::descriptor_limit()), (200, 200));
    let argv = words(&["sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    assert_eq!(output_of(&argv, |_| {})?.0, "100\n200\n");
    assert_eq!(output_of(&argv, |spec| spec.limits = &[(Resource::Descriptors, 50, 60)])?.0, "50\n60\n");
    Ok(())
}

/// Starts a child that dies with us, says its pid, and waits to be killed.
pub(crate) fn family() -> Outcome {
    let argv = words(&["cat"]);
    let (reader, _writer) = io::pipe()?;
    let descriptors = [(reader.as_fd(), 0)];
    let spec = Spec {
        descriptors: &descriptors,
        parent_death_signal: 12,
        ..Spec::new(Program::Search("cat".as_ref()), &argv, Environment::inherit())
    };
    println!("{}", spawn(&spec)?.pid);
    poll::wait(&mut [], None)?;
    Ok(())
}

fn a_child_dies_with_its_parent() -> Outcome {
    let (mut reader, writer) = io::pipe()?;
    let argv = own(&["role", "family"])?;
    let parent = start_with(&argv, &[(writer.as_fd(), 1)])?;
    drop(writer);
    let mut said = String::new();
    io::BufRead::read_line(&mut io::BufReader::with_capacity(64, &mut reader), &mut said)?;
    let child: i32 = said.trim().parse()?;
    parent.signal(9)?;
    // The child holds the other end of the pipe until it dies too.
    reader.read_to_end(&mut Vec::new())?;
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let peeked = next_change()?;
        reap::reap(peeked)?;
        ends.push((peeked.pid, peeked.change));
    }
    ends.sort_by_key(|(pid, _)| *pid == child);
    assert_eq!(ends, [(parent.pid, Change::Signaled(9)), (child, Change::Signaled(12))]);
    Ok(())
}

fn an_end_is_not_taken_for_a_stop() -> Outcome {
    let argv = words(&["cat"]);
    let (reader, _writer) = io::pipe()?;
    let child = start_with(&argv, &[(reader.as_fd(), 0)])?;
    child.signal(19)?;
    let stopped = next_change()?;
    assert_eq!((stopped.pid, stopped.change), (child.pid, Change::Stopped(19)));
    assert_eq!(reap::peek()?, Peek::Child(stopped), "looking takes nothing");
    child.signal(9)?;
    let pidfd = child.pidfd.as_ref().ok_or("no pidfd")?;
    poll::wait(&mut [Slot::new(pidfd.as_fd(), true, false)], None)?;
    reap::reap(stopped)?;
    let ended = next_change()?;
    assert_eq!((ended.pid, ended.change), (child.pid, Change::Signaled(9)));
    reap::reap(ended)?;
    reap::reap(stopped)?;
    assert!(reap::reap(ended).is_err_and(|error| error.raw_os_error() == Some(libc::ECHILD)));
    Ok(())
}
