//! What workers and activated processes start with.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use hilum_sys::child::{Environment, Program, Spec, spawn};
use hilum_sys::listen::{self, ActivationError};
use hilum_sys::reap::Change;
use hilum_sys::{confine, inherit, process};

use crate::{Case, Outcome, finish, is_root, own};

pub(crate) const CASES: &[Case] =
    &[("worker::is_confined", is_confined), ("worker::sockets_are_activated", sockets_are_activated)];

fn is_confined() -> Outcome {
    let argv = own(&["role", "confined"])?;
    let child = crate::start(&argv, |_| {})?;
    assert_eq!(finish(&child)?, Change::Exited(0));
    Ok(())
}

pub(crate) fn confined() -> Outcome {
    let root = is_root();
    for round in 0..2 {
        let refused = confine::worker(None, process::parent());
        assert!(refused.is_empty(), "round {round}: {refused:?}");
        let status = fs::read_to_string("/proc/self/status")?;
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        for key in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(key), Some("0000000000000000"), "{key}");
        }
        assert_eq!(line("NoNewPrivs:"), Some("1"));
        if root {
            assert_eq!(line("CapBnd:"), Some("0000000000000000"));
            assert_eq!(line("Uid:"), Some("65534\t65534\t65534\t65534"));
            assert_eq!(line("Gid:"), Some("65534\t65534\t65534\t65534"));
            assert_eq!(line("Groups:"), Some(""));
        }
    }
    let own = fs::metadata("/proc/self/environ")?;
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&own), 0, "not dumpable");
    Ok(())
}

fn sockets_are_activated() -> Outcome {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = listen::tcp(address, 16)?;
    let datagram = OwnedFd::from(UdpSocket::bind(address)?);
    let (pipe, _writer) = io::pipe()?;
    let pipe = OwnedFd::from(pipe);
    let cases: [(&[&OwnedFd], &str, &str); 6] = [
        (&[&listener, &listener], "2", "2 sockets"),
        (&[&listener], "2", "descriptor 4: Bad file descriptor"),
        (&[&listener, &datagram], "2", "descriptor 4 is not a listening stream socket"),
        (&[&pipe], "1", "descriptor 3 is not a listening stream socket"),
        (&[], "0", "LISTEN_FDS is 0"),
        (&[&listener], "61", "descriptor 4: Bad file descriptor"),
    ];
    let argv = own(&["role", "activated"])?;
    for (sockets, count, expected) in cases {
        let (mut reader, writer) = io::pipe()?;
        let mut descriptors: Vec<_> = sockets.iter().zip(3..).map(|(socket, fd)| (socket.as_fd(), fd)).collect();
        descriptors.push((writer.as_fd(), 1));
        let mut env = Environment::inherit();
        env.set("LISTEN_FDS", count);
        let program = argv.first().ok_or("no program")?;
        let spec =
            Spec { descriptors: &descriptors, close_rest: true, ..Spec::new(Program::Search(program), &argv, env) };
        let child = spawn(&spec)?;
        drop(descriptors);
        drop(writer);
        let mut said = String::new();
        io::Read::read_to_string(&mut reader, &mut said)?;
        assert_eq!(finish(&child)?, Change::Exited(0));
        assert!(said.contains(expected), "{said}");
    }
    Ok(())
}

pub(crate) fn activated() -> Outcome {
    let env = |name: &str| match name {
        "LISTEN_PID" => Some(OsString::from(process::pid().to_string())),
        other => std::env::var_os(other),
    };
    match listen::activated(&env, process::pid()) {
        Ok(sockets) => {
            for socket in &sockets {
                assert!(listen::local_address(socket.as_fd())?.starts_with("127.0.0.1:"));
                assert!(rustix::io::fcntl_getfd(socket)?.contains(rustix::io::FdFlags::CLOEXEC));
            }
            assert!(inherit::take(3).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists));
            assert!(matches!(listen::activated(&env, process::pid()), Err(ActivationError::Descriptor { fd: 3, .. })));
            println!("{} sockets", sockets.len());
        }
        Err(error) => println!("{error}"),
    }
    Ok(())
}
