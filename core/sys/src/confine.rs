//! What a worker gives up: rights and identity after it was executed and before it reads its first byte ([`worker`]), and after it
//! has loaded its plugins all that it no longer needs of the kernel ([`seal`]).
//!
//! Everything is tried; what the environment refuses is returned, so that status can show a worker that is less confined than it should be.
//! Containers differ: no capabilities at all, one mapped user only, no `/proc`. What is then already given up counts as done.

mod calls;
mod filter;
mod landlock;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::child::Identity;
use crate::process;

/// User and group of a worker that was started as root: `nobody` by the kernel's own convention (the overflow ids), so that it owns no file.
pub const NOBODY: u32 = 65_534;

/// The OOM score adjustment of a worker: when memory runs out, it goes before the services and long before PID 1.
const OOM_SCORE: &[u8] = b"900";

/// Highest capability number there can be: the sets have 64 bits.
const LAST_CAPABILITY: u32 = 63;

/// What a sealed worker may not have any more of, and what that is called: locked memory, message queues, better priorities. Not the size of
/// files: it counts for memory files too, in which wasmtime keeps the first contents of plugins' memories.
const SEALED_LIMITS: &[(Resource, &str)] = &[
    (Resource::Memlock, "locked memory"),
    (Resource::Msgqueue, "message queues"),
    (Resource::Nice, "nice value"),
    (Resource::Rtprio, "real-time priority"),
];

/// Something that could not be given up.
#[derive(Debug)]
pub struct Refused {
    /// What.
    pub what: &'static str,
    /// Why.
    pub error: io::Error,
}

/// Confines this process for good: no new privileges, no capability in any set, user and groups of `identity` (by default [`NOBODY`] when
/// started as root), no core dump, no inspection by others of its user, first in line when memory runs out, killed when its `parent` dies.
/// Returns what was refused.
///
/// **Order:** after exec, on the only thread, before any input is read. Descriptors are not touched: `child::Spec::close_rest` did that.
///
/// **Source:** capabilities(7), prctl(2), setresuid(2).
#[must_use]
pub fn worker(identity: Option<&Identity>, parent: i32) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut note = |what, done: Result<(), Errno>| {
        if let Err(error) = done {
            refused.push(Refused { what, error: error.into() });
        }
    };
    // Best effort by nature: without /proc it cannot be told from a container that fixed its scores.
    let _raised = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    note("no new privileges", rustix::thread::set_no_new_privs(true));
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    note("no core dumps", rustix::process::setrlimit(Resource::Core, no_core));
    // Without the right to change it, the set stays as it is; with no new privileges it cannot be drawn from.
    for number in 0..=LAST_CAPABILITY {
        if rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err() {
            break;
        }
    }
    note("ambient capabilities", tolerate(rustix::thread::clear_ambient_capability_set(), Errno::INVAL));
    let nobody = Identity { uid: NOBODY, gid: NOBODY, groups: Vec::new() };
    let root = rustix::process::geteuid().is_root();
    if identity.is_some_and(|identity| !identity.is_valid()) {
        note("user", Err(Errno::INVAL));
    } else if let Some(identity) = identity.or_else(|| root.then_some(&nobody)) {
        let groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        note("groups", rustix::thread::set_thread_groups(&groups));
        note("group", rustix::thread::set_thread_res_gid(gid, gid, gid));
        note("user", rustix::thread::set_thread_res_uid(uid, uid, uid));
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    note("capabilities", rustix::thread::set_capabilities(None, none));
    // After the change of user, which clears the first and sets the second.
    if let Err(error) = process::set_parent_death_signal(9) {
        note("parent-death signal", Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)));
    } else if process::parent() != parent {
        let _killed = process::kill(process::pid(), libc::SIGKILL);
    }
    note("no inspection", rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    refused
}

/// What a sealed worker keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seal<'a> {
    /// Directories and files, by any descriptor of them, to read and list.
    pub readable: &'a [BorrowedFd<'a>],
    /// The same, to read and write, and to connect to the sockets there.
    pub writable: &'a [BorrowedFd<'a>],
    /// TCP ports to connect to; any if `None`.
    pub connect_ports: Option<&'a [u16]>,
}

/// Takes from this process for good what a worker needs only to load its plugins: files, ports, processes of others, new executable
/// memory, new processes, and nearly all system calls. Returns what the environment does not let it give up. Descriptors that are open
/// stay what they are.
///
/// The filter of system calls holds for all threads. The limits of files and ports hold for the calling thread and those it starts
/// afterwards, before Linux 7.0: other threads must run fixed code only. UDP is not limited, for name look-ups.
///
/// **Order:** once, after [`worker`] and after the last plugin was loaded.
///
/// **Source:** seccomp(2), landlock(7), getrlimit(2).
#[must_use]
pub fn seal(seal: &Seal<'_>) -> Vec<Refused> {
    let mut refused = Vec::new();
    for (resource, what) in SEALED_LIMITS {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        if let Err(error) = rustix::process::setrlimit(*resource, none) {
            refused.push(Refused { what, error: error.into() });
        }
    }
    refused.extend(landlock::restrict(seal));
    // The last, for it allows none of the above.
    if let Err(error) = filter::install() {
        refused.push(Refused { what: "system call filter", error });
    }
    refused
}

/// The same, where `error` means that there is nothing to do.
fn tolerate(done: Result<(), Errno>, error: Errno) -> Result<(), Errno> {
    done.or_else(|found| if found == error { Ok(()) } else { Err(found) })
}
