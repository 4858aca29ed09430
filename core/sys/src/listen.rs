//! Listening sockets, and systemd's two protocols around them: sd_listen_fds(3) and sd_notify(3).
//!
//! All sockets are close-on-exec and non-blocking. Nothing is accepted or read here.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fmt, io};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::inherit;

/// Connections that may wait on a unix socket. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// The first passed descriptor, and with [`inherit::LAST`] the most there can be.
const FIRST: RawFd = 3;
const MOST: u32 = inherit::LAST.unsigned_abs() - FIRST.unsigned_abs() + 1;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Listens on a TCP address. An IPv6 address takes IPv6 connections only, so that `0.0.0.0` and `::` can be listened on side by side. Port 0 lets
/// the kernel choose: see [`local_address`].
///
/// **Errors:** `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (a low port), `Unsupported` (no such address family here).
///
/// **Source:** tcp(7), ipv6(7).
pub fn tcp(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// Listens on a unix socket, for its owner and group only. A socket file that nobody listens on any more is replaced.
///
/// **Errors:** `AddrInUse` when somebody listens there, or when the path is something else than a socket.
///
/// **Source:** unix(7).
pub fn unix(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    // The mode of a socket before bind(2) is the most its file gets: at no moment is it open to others.
    let mode = Mode::from_raw_mode(0o660);
    rustix::fs::fchmod(&socket, mode)?;
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if is_stale(path, &address)? => {
            rustix::fs::unlink(path)?;
            rustix::net::bind(&socket, &address)?;
        }
        bound => bound?,
    }
    rustix::fs::chmod(path, mode)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Whether `path` is a socket whose owner is gone: it is there, and connections are refused.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
    if FileType::from_raw_mode(rustix::fs::lstat(path)?.st_mode) != FileType::Socket {
        return Ok(false);
    }
    let caller = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    Ok(rustix::net::connect(&caller, address) == Err(Errno::CONNREFUSED))
}

/// The address a socket is bound to: `127.0.0.1:8111`, `[::1]:8111`, `unix:/run/hilum.sock`, `unix:@name`.
///
/// **Source:** getsockname(2).
pub fn local_address(socket: BorrowedFd<'_>) -> io::Result<String> {
    let address = rustix::net::getsockname(socket)?;
    if let Ok(internet) = SocketAddr::try_from(address.clone()) {
        return Ok(internet.to_string());
    }
    let unix = SocketAddrUnix::try_from(address)?;
    Ok(match (unix.path_bytes(), unix.abstract_name()) {
        (Some(path), _) => format!("unix:{}", Path::new(OsStr::from_bytes(path)).display()),
        (None, Some(name)) => format!("unix:@{}", String::from_utf8_lossy(name)),
        (None, None) => "unix:".to_owned(),
    })
}

/// Why no sockets were passed, or not as they should be.
#[derive(Debug)]
pub enum ActivationError {
    /// A variable is missing: this process was not started by socket activation.
    Missing(&'static str),
    /// A variable is not a number in its range.
    Malformed {
        /// Which.
        variable: &'static str,
        /// What it holds.
        found: OsString,
    },
    /// The sockets are meant for another process.
    OtherProcess {
        /// `LISTEN_PID`.
        meant: i32,
        /// Ours.
        own: i32,
    },
    /// No socket at all, or more than can be.
    Count(u32),
    /// A passed descriptor cannot be used.
    Descriptor {
        /// Its number.
        fd: RawFd,
        /// Why.
        error: io::Error,
    },
    /// A passed descriptor is open and not a listening stream socket.
    NotListening {
        /// Its number.
        fd: RawFd,
    },
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot take sockets from systemd: ")?;
        match self {
            ActivationError::Missing(variable) => {
                write!(f, "{variable} is not set; start this from a socket unit or with systemd-socket-activate")
            }
            ActivationError::Malformed { variable, found } => {
                write!(f, "{variable} is {found:?}, which is not a number it may be")
            }
            ActivationError::OtherProcess { meant, own } => write!(
                f,
                "LISTEN_PID is {meant}, but this is process {own}; a wrapper in between must exec, not fork, and keep the pid namespace"
            ),
            ActivationError::Count(count) => write!(f, "LISTEN_FDS is {count}; it may be 1 to {MOST}"),
            ActivationError::Descriptor { fd, error } => write!(f, "descriptor {fd}: {error}"),
            ActivationError::NotListening { fd } => {
                write!(f, "descriptor {fd} is not a listening stream socket; use ListenStream= and Accept=no")
            }
        }
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ActivationError::Descriptor { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// How many sockets `LISTEN_PID` and `LISTEN_FDS` promise to process `own`; they are numbered from 3.
pub fn parse_activation(pid: Option<&OsStr>, count: Option<&OsStr>, own: i32) -> Result<u32, ActivationError> {
    fn number(variable: &'static str, value: Option<&OsStr>) -> Result<u32, ActivationError> {
        let value = value.ok_or(ActivationError::Missing(variable))?;
        let digits = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let parsed = digits.and_then(|text| text.parse().ok()).filter(|number| *number <= i32::MAX.unsigned_abs());
        parsed.ok_or_else(|| ActivationError::Malformed { variable, found: value.to_owned() })
    }
    let meant = number("LISTEN_PID", pid)?.cast_signed();
    let count = number("LISTEN_FDS", count)?;
    if meant != own {
        return Err(ActivationError::OtherProcess { meant, own });
    }
    if (1..=MOST).contains(&count) { Ok(count) } else { Err(ActivationError::Count(count)) }
}

/// The sockets systemd passed to process `pid`, in their order. Each is checked, set close-on-exec and non-blocking. The variables are to be
/// taken out of the children's environment by whoever starts them.
///
/// **Order:** once, before anything else is opened.
///
/// **Source:** sd_listen_fds(3).
pub fn activated(env: &dyn Fn(&str) -> Option<OsString>, pid: i32) -> Result<Vec<OwnedFd>, ActivationError> {
    let (meant, count) = (env("LISTEN_PID"), env("LISTEN_FDS"));
    let count = parse_activation(meant.as_deref(), count.as_deref(), pid)?;
    (FIRST..).zip(0..count).map(|(fd, _)| passed(fd)).collect()
}

fn passed(fd: RawFd) -> Result<OwnedFd, ActivationError> {
    let socket = inherit::take(fd).map_err(|error| ActivationError::Descriptor { fd, error })?;
    let listens =
        sockopt::socket_type(&socket) == Ok(SocketType::STREAM) && sockopt::socket_acceptconn(&socket) == Ok(true);
    if !listens {
        return Err(ActivationError::NotListening { fd });
    }
    let flags = rustix::fs::fcntl_getfl(&socket).map(|flags| flags | OFlags::NONBLOCK);
    flags
        .and_then(|flags| rustix::fs::fcntl_setfl(&socket, flags))
        .map_err(|error| ActivationError::Descriptor { fd, error: error.into() })?;
    Ok(socket)
}

/// Where `NOTIFY_SOCKET` points: an absolute path, or `@` and an abstract name.
///
/// **Errors:** `InvalidInput` for anything else.
pub fn parse_notify_socket(socket: &OsStr) -> io::Result<SocketAddrAny> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name)?,
        [b'/', ..] => SocketAddrUnix::new(socket)?,
        _ => {
            let message =
                format!("NOTIFY_SOCKET is {socket:?}; it must be an absolute path, or @ and an abstract name");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    Ok(address.into())
}

/// Sends one message to a service manager, such as `READY=1`.
///
/// **Errors:** `WouldBlock` when it does not read; `NotFound` or `ConnectionRefused` when it is not there.
///
/// **Source:** sd_notify(3).
pub fn notify(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = parse_notify_socket(socket)?;
    let sender = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, FLAGS, None)?;
    rustix::net::sendto(sender.as_fd(), message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{local_address, notify, parse_activation, parse_notify_socket, tcp, unix};
    use std::ffi::{OsStr, OsString};
    use std::io;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::PathBuf;

    fn temporary(name: &str) -> io::Result<PathBuf> {
        let folder = std::env::temp_dir().join(format!("hilum-listen-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    #[test]
    fn tcp_listens_where_asked_and_says_where() -> io::Result<()> {
        let socket = tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16)?;
        let address: SocketAddr = local_address(socket.as_fd())?.parse().map_err(io::Error::other)?;
        assert!(address.port() != 0 && TcpStream::connect(address).is_ok());
        assert!(rustix::fs::fcntl_getfl(&socket)?.contains(rustix::fs::OFlags::NONBLOCK));
        assert!(rustix::io::fcntl_getfd(&socket)?.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(tcp(address, 16).map_err(|error| error.kind()).err(), Some(io::ErrorKind::AddrInUse));
        Ok(())
    }

    #[test]
    fn both_wildcards_fit_on_one_port() -> io::Result<()> {
        let Ok(six) = tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), 16) else {
            assert!(!std::path::Path::new("/proc/sys/net/ipv6").exists());
            return Ok(());
        };
        let address: SocketAddr = local_address(six.as_fd())?.parse().map_err(io::Error::other)?;
        let four = tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), 16)?;
        assert_eq!(local_address(four.as_fd())?, format!("0.0.0.0:{}", address.port()));
        Ok(())
    }

    #[test]
    fn a_dead_socket_is_replaced_and_nothing_else() -> io::Result<()> {
        let folder = temporary("unix")?;
        let path = folder.join("socket");
        drop(UnixListener::bind(&path)?);
        let socket = unix(&path)?;
        assert_eq!(local_address(socket.as_fd())?, format!("unix:{}", path.display()));
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o660);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(unix(&path).map_err(|error| error.kind()).err(), Some(io::ErrorKind::AddrInUse));
        let file = folder.join("file");
        std::fs::write(&file, "precious")?;
        assert_eq!(unix(&file).map_err(|error| error.kind()).err(), Some(io::ErrorKind::AddrInUse));
        assert_eq!(std::fs::read_to_string(&file)?, "precious");
        let long = folder.join("x".repeat(200));
        assert_eq!(unix(&long).map_err(|error| error.raw_os_error()).err(), Some(Some(libc::ENAMETOOLONG)));
        std::fs::remove_dir_all(folder)
    }

    #[test]
    fn activation_variables_are_checked() {
        fn parsed(pid: Option<&str>, count: Option<&str>) -> Result<u32, String> {
            parse_activation(pid.map(OsStr::new), count.map(OsStr::new), 7).map_err(|error| error.to_string())
        }
        assert_eq!(parsed(Some("7"), Some("1")), Ok(1));
        assert_eq!(parsed(Some("7"), Some("61")), Ok(61));
        let wrong = [
            (None, Some("1"), "LISTEN_PID is not set"),
            (Some("7"), None, "LISTEN_FDS is not set"),
            (Some("8"), Some("1"), "LISTEN_PID is 8, but this is process 7"),
            (Some("7"), Some("0"), "LISTEN_FDS is 0; it may be 1 to 61"),
            (Some("7"), Some("62"), "LISTEN_FDS is 62;"),
            (Some("7"), Some("-1"), "LISTEN_FDS is \"-1\""),
            (Some("7"), Some("+1"), "LISTEN_FDS is \"+1\""),
            (Some("7"), Some(""), "LISTEN_FDS is \"\""),
            (Some("7"), Some("99999999999999999999"), "LISTEN_FDS is \"9"),
            (Some("4294967303"), Some("1"), "LISTEN_PID is \"4"),
        ];
        for (pid, count, expected) in wrong {
            let error = parsed(pid, count).err().unwrap_or_default();
            assert!(error.contains(expected), "{pid:?} {count:?}: {error}");
        }
        assert!(parse_activation(Some(OsStr::from_bytes(b"\xff")), Some(OsStr::new("1")), 7).is_err());
    }

    #[test]
    fn notify_reaches_paths_and_abstract_names() -> io::Result<()> {
        let folder = temporary("notify")?;
        let path = folder.join("notify");
        let name = format!("hilum-notify-{}", std::process::id());
        let abstract_address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
        let receivers = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)?),
            (OsString::from(format!("@{name}")), UnixDatagram::bind_addr(&abstract_address)?),
        ];
        for (address, receiver) in receivers {
            notify(&address, b"READY=1")?;
            let mut buffer = [0; 64];
            let len = receiver.recv(&mut buffer)?;
            assert_eq!(buffer.get(..len), Some(&b"READY=1"[..]));
            receiver.set_nonblocking(true)?;
            let full = std::iter::repeat_with(|| notify(&address, b"x")).take(100_000).find_map(Result::err);
            assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        }
        for wrong in ["", "@", "relative", "vsock:2:1", "\0abc"] {
            assert_eq!(
                parse_notify_socket(OsStr::new(wrong)).map_err(|error| error.kind()).err(),
                Some(io::ErrorKind::InvalidInput)
            );
        }
        assert!(parse_notify_socket(OsStr::new(&"/x".repeat(100))).is_err());
        std::fs::remove_dir_all(folder)
    }
}
