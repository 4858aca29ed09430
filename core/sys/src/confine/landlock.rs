//! Which files, ports and neighbours a sealed worker reaches: Landlock, by its three system calls.
//!
//! What stays open: UDP, for name look-ups; and as far as the modes of files allow it, reading names and metadata and changing times.
//! Before Linux 7.1 a socket in the file system can be connected to wherever it lies, if its mode allows it.
//!
//! **Source:** landlock(7), linux/landlock.h.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_long;
use rustix::fs::FileType;

use super::{Refused, Seal};
use crate::signal::outcome;

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
/// Renaming from one directory to another.
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
/// Connecting to a socket by its path.
const RESOLVE_UNIX: u64 = 1 << 16;

/// What a grant to read gives. Executing is never in it.
const READABLE: u64 = READ_FILE | READ_DIR;
/// What a grant to write gives. Links, devices, FIFOs and sockets are made by nobody.
const WRITABLE: u64 =
    READABLE | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE | RESOLVE_UNIX;
/// What can be given for a file that is no directory; anything else is an error.
const OF_FILES: u64 = READ_FILE | WRITE_FILE | TRUNCATE | RESOLVE_UNIX;

const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;

/// Abstract Unix sockets, and signals, of processes outside.
const SCOPES: u64 = 1 << 0 | 1 << 1;

const RULE_PATH_BENEATH: i32 = 1;
const RULE_NET_PORT: i32 = 2;
const CREATE_RULESET_VERSION: u32 = 1 << 0;
const RESTRICT_SELF_TSYNC: u32 = 1 << 3;

/// Versions from which on Landlock limits ports, has scopes, and restricts all threads.
const WITH_PORTS: c_long = 4;
const WITH_SCOPES: c_long = 6;
const WITH_THREADS: c_long = 8;

/// `struct landlock_ruleset_attr`. Older kernels take a longer one as long as what they do not know is zero.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: RawFd,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPortAttr {
    allowed_access: u64,
    port: u64,
}

/// Restricts this thread and those it starts from now on to what `seal` grants; from Linux 7.0 on all threads. A grant that cannot be given is
/// left out and returned, as is what this kernel is too old for.
pub(super) fn restrict(seal: &Seal<'_>) -> Vec<Refused> {
    let version = match version() {
        Ok(version) => version,
        Err(error) => return vec![Refused { what: "landlock", error }],
    };
    let mut refused = too_old(version, seal.connect_ports.is_some());
    if let Err(error) = apply(version, seal, &mut refused) {
        refused.push(Refused { what: "landlock", error });
    }
    refused
}

/// The version of Landlock this kernel has.
///
/// **Errors:** there is none.
fn version() -> io::Result<c_long> {
    let (attributes, size, flags) = (ptr::null::<RulesetAttr>(), 0_usize, CREATE_RULESET_VERSION);
    // SAFETY: landlock_create_ruleset(2): with LANDLOCK_CREATE_RULESET_VERSION the attributes are null and no memory is touched.
    let version = outcome(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, flags) });
    match version {
        Ok(version) => Ok(version),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel is older than Linux 5.13 or built without it"))
        }
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "it is switched off; add it to the kernel's lsm= parameter"))
        }
        Err(error) => Err(error),
    }
}

/// What later versions limit and this one does not, as far as today's stable kernels have it.
fn too_old(version: c_long, ports: bool) -> Vec<Refused> {
    let gaps = [
        (3, true, "landlock truncation", "Linux before 6.2 cannot keep files that may be read from being emptied"),
        (WITH_PORTS, ports, "landlock ports", "Linux before 6.7 cannot limit the ports to connect to"),
        (WITH_SCOPES, true, "landlock scopes", "Linux before 6.12 cannot limit abstract sockets and signals"),
    ];
    let open = gaps.into_iter().filter(|(since, wanted, ..)| version < *since && *wanted);
    open.map(|(_, _, what, why)| Refused { what, error: io::Error::new(io::ErrorKind::Unsupported, why) }).collect()
}

/// All rights to files that this version knows: what is not handled is allowed.
fn handled_files(version: c_long) -> u64 {
    let count = match version {
        ..=1 => 13,
        2 => 14,
        3..=4 => 15,
        5..=8 => 16,
        9.. => 17,
    };
    (1 << count) - 1
}

fn apply(version: c_long, seal: &Seal<'_>, refused: &mut Vec<Refused>) -> io::Result<()> {
    let attributes = RulesetAttr {
        handled_access_fs: handled_files(version),
        handled_access_net: match seal.connect_ports {
            _ if version < WITH_PORTS => 0,
            Some(_) => BIND_TCP | CONNECT_TCP,
            None => BIND_TCP,
        },
        scoped: if version < WITH_SCOPES { 0 } else { SCOPES },
    };
    let (place, size) = (&raw const attributes, size_of::<RulesetAttr>());
    // SAFETY: landlock_create_ruleset(2) reads `size` bytes of the attributes, which outlive the call.
    let ruleset = outcome(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, place, size, 0_u32) })?;
    let ruleset = RawFd::try_from(ruleset).map_err(io::Error::other)?;
    // SAFETY: landlock_create_ruleset(2) just made this descriptor for us.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    let mut note = |what, done: io::Result<()>| {
        if let Err(error) = done {
            refused.push(Refused { what, error });
        }
    };
    for (what, hierarchies, rights) in
        [("readable files", seal.readable, READABLE), ("writable files", seal.writable, WRITABLE)]
    {
        for hierarchy in hierarchies {
            note(what, allow_beneath(&ruleset, *hierarchy, rights & handled_files(version)));
        }
    }
    if version >= WITH_PORTS {
        for port in seal.connect_ports.unwrap_or_default() {
            let rule = NetPortAttr { allowed_access: CONNECT_TCP, port: (*port).into() };
            note("ports", add_rule(&ruleset, RULE_NET_PORT, &rule));
        }
    }
    let flags = if version < WITH_THREADS { 0 } else { RESTRICT_SELF_TSYNC };
    // SAFETY: landlock_restrict_self(2) takes a descriptor, open as long as `ruleset`, and flags, and touches no memory of ours.
    outcome(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) }).map(|_| ())
}

fn allow_beneath(ruleset: &OwnedFd, hierarchy: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
    let directory = FileType::from_raw_mode(rustix::fs::fstat(hierarchy)?.st_mode) == FileType::Directory;
    let allowed_access = if directory { rights } else { rights & OF_FILES };
    add_rule(ruleset, RULE_PATH_BENEATH, &PathBeneathAttr { allowed_access, parent_fd: hierarchy.as_raw_fd() })
}

/// Adds a rule; `kind` is the constant that belongs to `T`.
fn add_rule<T>(ruleset: &OwnedFd, kind: i32, rule: &T) -> io::Result<()> {
    let (fd, rule) = (ruleset.as_raw_fd(), ptr::from_ref(rule));
    // SAFETY: landlock_add_rule(2) reads the structure that belongs to `kind`; both callers pass that one, and it outlives the call.
    outcome(unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd, kind, rule, 0_u32) }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{NetPortAttr, OF_FILES, PathBeneathAttr, READABLE, RulesetAttr, WRITABLE, handled_files, too_old};

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!(size_of::<RulesetAttr>(), 24);
        assert_eq!(size_of::<PathBeneathAttr>(), 12);
        assert_eq!(size_of::<NetPortAttr>(), 16);
    }

    #[test]
    fn each_version_handles_all_rights_it_knows() {
        let handled = [(1, 0x1fff), (2, 0x3fff), (3, 0x7fff), (4, 0x7fff), (5, 0xffff), (8, 0xffff), (9, 0x1_ffff)];
        for (version, rights) in handled {
            assert_eq!(handled_files(version), rights, "{version}");
        }
        // A later one may know more, of which nothing is known here.
        assert_eq!(handled_files(99), handled_files(9));
    }

    #[test]
    fn no_grant_executes_or_makes_special_files() {
        let special = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 15;
        assert_eq!(WRITABLE & special, 0);
        assert_eq!(READABLE & !0b1100, 0);
        assert_eq!(READABLE & !WRITABLE, 0);
        assert_eq!(OF_FILES & !WRITABLE, 0);
    }

    #[test]
    fn an_old_version_says_what_it_leaves_open() {
        let open = |version, ports| too_old(version, ports).iter().map(|refused| refused.what).collect::<Vec<_>>();
        assert_eq!(open(1, true), ["landlock truncation", "landlock ports", "landlock scopes"]);
        assert_eq!(open(3, false), ["landlock scopes"]);
        assert_eq!(open(4, true), ["landlock scopes"]);
        assert!(open(6, true).is_empty());
    }
}
