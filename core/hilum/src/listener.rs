//! The status sockets. PID 1 binds or inherits them, holds them for as long as it lives, and hands them to each `status` worker: a worker
//! that dies takes no socket with it, so no connection is refused.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hilum_config::{Listen, StatusLaunch};
use hilum_sys::listen::{self, ActivationError};

/// Connections the kernel queues for a worker that is busy or being replaced. **Units:** connections. The kernel cuts it to
/// `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;

/// The sockets, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: Vec<OwnedFd>,
    /// Port of the sidebind listener; 0 without one.
    pub(crate) sidebind_port: u16,
    /// Their addresses, for the log.
    pub(crate) addresses: Vec<String>,
}

/// Why the status sockets cannot be had.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// An address could not be bound.
    Bind {
        /// The address as written.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Socket activation was asked for and is not there.
    Activation(ActivationError),
    /// No port above the given one is free.
    Sidebind {
        /// Where the search began.
        from: SocketAddr,
        /// What the last port said.
        error: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Bind { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the address is in use; choose another port or interface")
            }
            ListenError::Bind { address, error } => write!(f, "cannot listen on {address}: {error}"),
            ListenError::Activation(error) => write!(f, "cannot use socket activation: {error}"),
            ListenError::Sidebind { from, error } => {
                write!(f, "cannot find a free port for sidebind above {from}: {error}")
            }
        }
    }
}

impl std::error::Error for ListenError {}

impl Listeners {
    /// Binds or takes over all sockets the plan names.
    ///
    /// **Errors:** the first that cannot be had; nothing is started without them.
    pub(crate) fn open(
        plan: &StatusLaunch,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Listeners, ListenError> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        if plan.socket_activation {
            let passed = listen::activated(environment, hilum_sys::process::pid()).map_err(ListenError::Activation)?;
            sockets.extend(passed);
        }
        for address in &plan.listen {
            let (name, bound) = match address {
                Listen::Tcp(address) => (address.to_string(), listen::tcp(*address, BACKLOG)),
                Listen::Unix(path) => (format!("unix:{}", path.display()), listen::unix(path)),
            };
            sockets.push(bound.map_err(|error| ListenError::Bind { address: name, error })?);
        }
        let mut sidebind_port = 0;
        if let Some(from) = plan.sidebind {
            let (socket, port) = bind_above(from)?;
            sidebind_port = port;
            sockets.push(socket);
        }
        for socket in &sockets {
            addresses.push(listen::local_address(socket.as_fd()).unwrap_or_else(|_| "?".to_owned()));
        }
        Ok(Listeners { sockets, sidebind_port, addresses })
    }

    /// The sockets, to hand to a worker.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }
}

/// Binds the first free port above that of `from`: the bind itself is the test, so nothing can come between.
fn bind_above(from: SocketAddr) -> Result<(OwnedFd, u16), ListenError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in from.port().saturating_add(1)..=u16::MAX {
        match listen::tcp(SocketAddr::new(from.ip(), port), BACKLOG) {
            Ok(socket) => return Ok((socket, port)),
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                last = error
            }
            Err(error) => return Err(ListenError::Sidebind { from, error }),
        }
    }
    Err(ListenError::Sidebind { from, error: last })
}
