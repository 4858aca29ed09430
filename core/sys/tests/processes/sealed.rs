//! What a sealed worker can still do, and what ends it.

use std::error::Error;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hilum_sys::confine::{self, Refused, Seal};
use hilum_sys::open::{self, Beneath};
use hilum_sys::poll::{self, Slot};
use hilum_sys::process::{self, Target};
use hilum_sys::reap::Change;
use hilum_sys::timer::Timer;
use rustix::event::{EventfdFlags, epoll, eventfd};

use crate::{Case, Outcome, folder, output_of, own, words};

pub(crate) const CASES: &[Case] = &[
    ("sealed::files_are_those_that_were_granted", files_are_those_that_were_granted),
    ("sealed::a_grant_that_cannot_be_given_takes_no_other_away", a_grant_that_cannot_be_given_takes_no_other_away),
    ("sealed::connections_go_to_granted_ports", connections_go_to_granted_ports),
    ("sealed::connections_go_anywhere_if_ports_are_not_limited", connections_go_anywhere_if_ports_are_not_limited),
    ("sealed::threads_start_and_all_are_filtered", threads_start_and_all_are_filtered),
    ("sealed::names_are_looked_up", names_are_looked_up),
    ("sealed::memory_is_had_and_never_becomes_executable", memory_is_had_and_never_becomes_executable),
    ("sealed::the_event_loop_goes_on", the_event_loop_goes_on),
    ("sealed::others_are_out_of_reach", others_are_out_of_reach),
    ("sealed::an_attackers_call_is_the_last", an_attackers_call_is_the_last),
    ("sealed::an_abort_is_an_abort", an_abort_is_an_abort),
];

/// What the role says once it is sealed, so that an end before is not taken for one after.
const SEALED: &str = "sealed\n";

/// Runs a role and returns how it ended after it was sealed.
fn play(words: &[&str]) -> Result<Change, Box<dyn Error>> {
    let argv = own(&[&["role", "sealed"], words].concat())?;
    let (said, ended) = output_of(&argv, |_| {})?;
    assert_eq!(said, SEALED, "{words:?}: {ended:?}");
    Ok(ended)
}

/// Runs a role that checks by itself.
fn check(words: &[&str]) -> Outcome {
    assert_eq!(play(words)?, Change::Exited(0), "{words:?}");
    Ok(())
}

pub(crate) fn sealed(words: &[&str]) -> Outcome {
    match words {
        ["files", folder] => files(Path::new(folder)),
        ["odd", folder] => odd(Path::new(folder)),
        ["ports", granted, other, name] => ports(granted.parse()?, other.parse()?, name),
        ["anywhere", port] => anywhere(port.parse()?),
        ["threads"] => threads(),
        ["names"] => names(),
        ["memory"] => memory(),
        ["loop"] => event_loop(),
        ["others"] => others(),
        ["die", how] => die(how),
        _ => Err(format!("no role {words:?}").into()),
    }
}

/// Confines and seals this process. What this kernel's Landlock is too old for is returned; nothing else may be refused.
fn seal(readable: &[&Path], writable: &[&Path], ports: Option<&[u16]>) -> Result<Vec<Refused>, Box<dyn Error>> {
    let refused = confine::worker(None, process::parent());
    assert!(refused.is_empty(), "{refused:?}");
    let anchored = |paths: &[&Path]| -> io::Result<Vec<OwnedFd>> {
        paths.iter().map(|path| open::anchor(path).map(|(found, _)| found)).collect()
    };
    let (readable, writable) = (anchored(readable)?, anchored(writable)?);
    let readable: Vec<_> = readable.iter().map(OwnedFd::as_fd).collect();
    let writable: Vec<_> = writable.iter().map(OwnedFd::as_fd).collect();
    let refused = confine::seal(&Seal { readable: &readable, writable: &writable, connect_ports: ports });
    assert!(refused.iter().all(|refused| refused.what.starts_with("landlock")), "{refused:?}");
    say_sealed()?;
    Ok(refused)
}

fn say_sealed() -> io::Result<()> {
    io::stdout().write_all(SEALED.as_bytes())?;
    io::stdout().flush()
}

/// Whether Landlock limits what `what` stands for. If not, `refused` says so: that is the check then.
fn limits(refused: &[Refused], what: &str) -> bool {
    !refused.iter().any(|refused| refused.what == "landlock" || refused.what == what)
}

fn number<T>(done: io::Result<T>) -> Option<i32> {
    done.err().and_then(|error| error.raw_os_error())
}

fn outcome(value: i32) -> io::Result<i32> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes three integers and touches no memory of ours.
    let made = outcome(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: socket(2) just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// A folder with what the roles look for. Everybody may do anything in it: what then fails is not for want of rights to the files.
fn tree(name: &str) -> io::Result<std::path::PathBuf> {
    let top = folder(name)?;
    for directory in ["", "read", "read/sub", "write", "write/sub"] {
        let directory = top.join(directory);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
    }
    for file in ["beside", "lone", "read/file", "read/sub/file", "write/file"] {
        fs::write(top.join(file), "text")?;
        fs::set_permissions(top.join(file), Permissions::from_mode(0o666))?;
    }
    Ok(top)
}

fn files_are_those_that_were_granted() -> Outcome {
    let top = tree("files")?;
    check(&["files", top.to_str().ok_or("no name")?])?;
    assert_eq!(fs::read_to_string(top.join("read/file"))?, "text");
    assert_eq!(fs::read_to_string(top.join("write/sub/moved"))?, "new");
    Ok(fs::remove_dir_all(top)?)
}

fn files(top: &Path) -> Outcome {
    let (read, write) = (top.join("read"), top.join("write"));
    let place = open::anchor(&read)?.0;
    let refused = seal(&[&read, &top.join("lone")], &[&write], None)?;
    let limited = limits(&refused, "");
    let denied = |done: io::Result<()>| assert_eq!(number(done), limited.then_some(libc::EACCES));

    assert_eq!(fs::read_to_string(read.join("file"))?, "text");
    assert_eq!(fs::read_to_string(read.join("sub/file"))?, "text");
    assert_eq!(fs::read_to_string(top.join("lone"))?, "text");
    assert_eq!(fs::read_dir(&read)?.count(), 2);
    let mut text = String::new();
    File::from(open::beneath(place.as_fd(), Path::new("sub/file"), Beneath::Read)?).read_to_string(&mut text)?;
    assert_eq!(text, "text");

    denied(File::open("/etc/passwd").map(drop));
    denied(File::open(top.join("beside")).map(drop));
    denied(fs::read_dir(top).map(drop));
    denied(File::open(read.join("../beside")).map(drop));
    denied(File::open("/proc/self/status").map(drop));

    denied(OpenOptions::new().append(true).open(read.join("file")).map(drop));
    denied(OpenOptions::new().write(true).open(top.join("lone")).map(drop));
    denied(File::create(read.join("new")).map(drop));
    denied(fs::create_dir(read.join("directory")));
    denied(fs::remove_file(read.join("sub/file")));
    if limits(&refused, "landlock truncation") {
        denied(File::create(read.join("file")).map(drop));
        // SAFETY: open(2) reads the path, a C string that outlives the call.
        let emptied = unsafe { libc::open(c_path(&read.join("file"))?.as_ptr(), libc::O_RDONLY | libc::O_TRUNC) };
        denied(outcome(emptied).map(drop));
    }

    assert_eq!(fs::read_to_string(write.join("file"))?, "text");
    fs::write(write.join("file"), "changed")?;
    fs::write(write.join("new"), "new")?;
    fs::create_dir(write.join("directory"))?;
    fs::remove_dir(write.join("directory"))?;
    fs::remove_file(write.join("file"))?;
    // Before Linux 5.19 Landlock lets nothing be renamed from one directory to another.
    if fs::rename(write.join("new"), write.join("sub/moved")).is_err() {
        assert!(!limits(&refused, "landlock truncation"));
        fs::write(write.join("sub/moved"), "new")?;
    }
    assert_eq!(number(symlink("/etc", write.join("link"))), Some(libc::EPERM));
    assert_eq!(number(fs::hard_link(write.join("sub/moved"), write.join("link"))), Some(libc::EPERM));
    let mode = Permissions::from_mode(0o4755);
    assert_eq!(number(fs::set_permissions(write.join("sub/moved"), mode)), Some(libc::EPERM));
    assert_eq!(number(UnixListener::bind(write.join("socket"))), limited.then_some(libc::EACCES).or(Some(libc::EPERM)));
    Ok(())
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

fn a_grant_that_cannot_be_given_takes_no_other_away() -> Outcome {
    let top = tree("odd")?;
    check(&["odd", top.to_str().ok_or("no name")?])?;
    Ok(fs::remove_dir_all(top)?)
}

fn odd(top: &Path) -> Outcome {
    assert!(confine::worker(None, process::parent()).is_empty());
    let (pipe, _writer) = io::pipe()?;
    let read = open::anchor(&top.join("read"))?.0;
    let refused = confine::seal(&Seal { readable: &[pipe.as_fd(), read.as_fd()], ..Seal::default() });
    say_sealed()?;
    let limited = limits(&refused, "");
    assert_eq!(refused.iter().any(|refused| refused.what == "readable files"), limited, "{refused:?}");
    assert_eq!(fs::read_to_string(top.join("read/file"))?, "text");
    assert_eq!(number(File::open(top.join("beside"))), limited.then_some(libc::EACCES));
    Ok(())
}

fn connections_go_to_granted_ports() -> Outcome {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (granted, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    let name = format!("hilum-sealed-{}", process::pid());
    let _abstract = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name)?)?;
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port().to_string());
    check(&["ports", &port(&granted)?, &port(&other)?, &name])?;
    assert_eq!(granted.accept().map(|(_, peer)| peer.ip())?, Ipv4Addr::LOCALHOST);
    Ok(())
}

fn ports(granted: u16, other: u16, name: &str) -> Outcome {
    let refused = seal(&[], &[], Some(&[granted]))?;
    let limited = limits(&refused, "landlock ports").then_some(libc::EACCES);
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect(at(granted))?;
    TcpStream::connect_timeout(&at(granted), Duration::from_secs(30))?;
    assert_eq!(number(TcpStream::connect(at(other))), limited);
    // Ways around: connecting by sending, and what is TCP by another name.
    let stream = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    assert_eq!(number(send_connecting(&stream, other)), Some(libc::EPERM));
    assert_eq!(number(socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)), Some(libc::EPERM));
    for (family, kind) in [
        (libc::AF_NETLINK, libc::SOCK_DGRAM),
        (libc::AF_PACKET, libc::SOCK_DGRAM),
        (libc::AF_ALG, libc::SOCK_DGRAM),
        (libc::AF_INET, libc::SOCK_RAW),
    ] {
        assert_eq!(number(socket(family, kind, 0)), Some(libc::EPERM), "{family} {kind}");
    }
    // Nothing is offered to others.
    assert_eq!(number(TcpListener::bind(at(0))), limited.or(Some(libc::EPERM)));
    assert_eq!(number(rustix::net::listen(&stream, 1).map_err(io::Error::from)), Some(libc::EPERM));
    let datagrams = UdpSocket::bind(at(0))?;
    datagrams.send_to(b"question", datagrams.local_addr()?)?;
    assert_eq!(datagrams.recv_from(&mut [0; 16])?.0, 8);
    let reached = UnixStream::connect_addr(&UnixAddress::from_abstract_name(name)?);
    assert_eq!(number(reached), limits(&refused, "landlock scopes").then_some(libc::EPERM));
    Ok(())
}

/// Sends with a flag that would connect first (TCP Fast Open).
fn send_connecting(stream: &OwnedFd, port: u16) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET.try_into().map_err(io::Error::other)?,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>().try_into().map_err(io::Error::other)?;
    let (place, data) = ((&raw const address).cast(), b"x".as_ptr().cast());
    // SAFETY: sendto(2) reads one byte of the data and `length` of the address, both of which outlive the call.
    let sent = unsafe { libc::sendto(stream.as_raw_fd(), data, 1, libc::MSG_FASTOPEN, place, length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn anywhere(port: u16) -> Outcome {
    seal(&[], &[], None)?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    Ok(())
}

fn connections_go_anywhere_if_ports_are_not_limited() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    check(&["anywhere", &listener.local_addr()?.port().to_string()])
}

fn threads_start_and_all_are_filtered() -> Outcome {
    check(&["threads"])
}

fn threads() -> Outcome {
    let (sealed, wait) = mpsc::channel::<()>();
    let before = thread::spawn(move || {
        let _sealed = wait.recv();
        (number(socket(libc::AF_NETLINK, libc::SOCK_DGRAM, 0)), number(socket(libc::AF_INET, libc::SOCK_DGRAM, 0)))
    });
    let refused = seal(&[], &[], None)?;
    sealed.send(())?;
    assert_eq!(before.join().map_err(|_| "a thread from before the seal ended")?, (Some(libc::EPERM), None));
    for index in 0..3 {
        let after = thread::Builder::new().name(format!("after {index}")).spawn(move || {
            (number(socket(libc::AF_NETLINK, libc::SOCK_DGRAM, 0)), number(File::open("/etc/passwd")))
        })?;
        let expected = (Some(libc::EPERM), limits(&refused, "").then_some(libc::EACCES));
        assert_eq!(after.join().map_err(|_| "a thread from after the seal ended")?, expected);
    }
    Ok(())
}

fn names_are_looked_up() -> Outcome {
    check(&["names"])
}

fn names() -> Outcome {
    let files = ["hosts", "resolv.conf", "nsswitch.conf", "host.conf", "gai.conf"];
    let files: Vec<_> =
        files.map(|name| Path::new("/etc").join(name)).into_iter().filter(|file| file.exists()).collect();
    let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    assert!(files.contains(&Path::new("/etc/hosts")), "{files:?}");
    seal(&files, &[], Some(&[]))?;
    let found: Vec<SocketAddr> = ("localhost", 80).to_socket_addrs()?.collect();
    assert!(found.iter().any(|address| address.ip().is_loopback()), "{found:?}");
    Ok(())
}

fn memory_is_had_and_never_becomes_executable() -> Outcome {
    check(&["memory"])
}

fn memory() -> Outcome {
    seal(&[], &[], None)?;
    let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    let page = map(read | write)?;
    // musl takes this error for a bug of old kernels.
    let denied = if cfg!(target_env = "musl") { libc::ENOMEM } else { libc::EPERM };
    assert_eq!(number(map(read | execute)), Some(denied));
    assert_eq!(number(map(read | write | execute)), Some(denied));
    assert_eq!(number(protect(page, read | execute)), Some(libc::EPERM));
    protect(page, read)?;
    protect(page, libc::PROT_NONE)?;
    // SAFETY: memfd_create(2) reads its name, a C string that outlives the call.
    let made = outcome(unsafe { libc::memfd_create(c"memory".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) })?;
    // SAFETY: memfd_create(2) just made this descriptor for us.
    let mut file = unsafe { File::from_raw_fd(made) };
    file.write_all(&[7; 65_536])?;
    rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::GROW)?;
    let mut back = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut back)?;
    assert_eq!(back, [7; 65_536]);
    for limit in [libc::RLIMIT_MEMLOCK, libc::RLIMIT_MSGQUEUE, libc::RLIMIT_NICE, libc::RLIMIT_RTPRIO] {
        let mut found = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: getrlimit(2) writes one `rlimit`, which is there.
        outcome(unsafe { libc::getrlimit(limit, &raw mut found) })?;
        assert_eq!((found.rlim_cur, found.rlim_max), (0, 0), "{limit}");
        // SAFETY: setrlimit(2) reads one `rlimit`, which outlives the call.
        assert_eq!(number(outcome(unsafe { libc::setrlimit(limit, &raw const found) })), Some(libc::EPERM));
    }
    Ok(())
}

fn map(protection: i32) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: mmap(2) without MAP_FIXED takes memory nobody has.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(mapped) }
}

fn protect(page: *mut libc::c_void, protection: i32) -> io::Result<()> {
    // SAFETY: mprotect(2) on a page of `map`, which nothing refers to.
    outcome(unsafe { libc::mprotect(page, 4096, protection) }).map(|_| ())
}

fn the_event_loop_goes_on() -> Outcome {
    check(&["loop"])
}

fn event_loop() -> Outcome {
    seal(&[], &[], None)?;
    let timer = Timer::new()?;
    timer.every(Duration::from_millis(1))?;
    timer.wait()?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    epoll::add(&set, &event, epoll::EventData::new_u64(7), epoll::EventFlags::IN)?;
    rustix::io::write(&event, &1_u64.to_ne_bytes())?;
    let mut events = Vec::with_capacity(4);
    epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None)?;
    assert_eq!(events.iter().map(|event| event.data.u64()).collect::<Vec<_>>(), [7]);
    assert_eq!(poll::wait(&mut [Slot::new(event.as_fd(), true, false)], None)?, 1);
    let before = Instant::now();
    thread::sleep(Duration::from_millis(1));
    assert!(before.elapsed() >= Duration::from_millis(1));
    let _addresses_of_maps_are_random = std::collections::HashMap::from([(1, vec![0_u8; 1 << 20])]);
    assert!(thread::available_parallelism()?.get() > 0);
    Ok(())
}

fn others_are_out_of_reach() -> Outcome {
    check(&["others"])
}

fn others() -> Outcome {
    seal(&[], &[], None)?;
    for signal in [0, 15] {
        assert_eq!(number(process::signal(Target::Pid(process::parent()), signal)), Some(libc::EPERM));
        assert_eq!(number(process::signal(Target::Pid(process::pid()), signal)), Some(libc::EPERM));
    }
    assert_eq!(number(process::pidfd_open(process::parent())), Some(libc::EPERM));
    assert_eq!(number(process::set_parent_death_signal(0)), Some(libc::EPERM));
    Ok(())
}

fn an_attackers_call_is_the_last() -> Outcome {
    let sigsys = u8::try_from(libc::SIGSYS)?;
    for how in ["exec", "fork", "start", "ptrace", "unshare", "uring", "setuid", "mount", "clone"] {
        assert_eq!(play(&["die", how])?, Change::Signaled(sigsys), "{how}");
    }
    Ok(())
}

fn an_abort_is_an_abort() -> Outcome {
    assert_eq!(play(&["die", "abort"])?, Change::Signaled(u8::try_from(libc::SIGABRT)?));
    Ok(())
}

fn die(how: &str) -> Outcome {
    // Files and programs are not what stops it.
    seal(&[Path::new("/")], &[], None)?;
    let done = match how {
        "exec" => Err(Command::new("/proc/self/exe").exec()),
        "start" => crate::start(&words(&["/proc/self/exe"]), |_| {}).map(drop).map_err(io::Error::other),
        // SAFETY: fork(2) of a process with one thread; the child, were there one, would return from here like us.
        "fork" => outcome(unsafe { libc::fork() }).map(drop),
        // SAFETY: clone(2) without CLONE_VM and without a stack is fork(2), as above.
        "clone" => outcome_of(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) }),
        // SAFETY: ptrace(2) with PTRACE_TRACEME ignores its other arguments and touches no memory of ours.
        "ptrace" => outcome_of(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }),
        // SAFETY: unshare(2) takes an integer and touches no memory of ours.
        "unshare" => outcome(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop),
        // SAFETY: io_uring_setup(2) answers a null pointer with EFAULT.
        "uring" => outcome_of(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) }),
        // SAFETY: setuid(2) takes an integer; there is one thread.
        "setuid" => outcome(unsafe { libc::setuid(0) }).map(drop),
        // SAFETY: mount(2) answers null pointers with an error.
        "mount" => outcome_of(unsafe { libc::syscall(libc::SYS_mount, 0, 0, 0, 0, 0) }),
        "abort" => std::process::abort(),
        _ => return Err(format!("no way {how}").into()),
    };
    Err(format!("{how} returned {done:?}").into())
}

fn outcome_of(value: libc::c_long) -> io::Result<()> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
