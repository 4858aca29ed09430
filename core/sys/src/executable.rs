//! Our own executable as a descriptor: workers and `last-resort` are this file executed again, whatever became of its path.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open as open_path};

/// Opens our own executable for execution only (`O_PATH`), so that a file without read permission will do.
///
/// Without `/proc` it is found by the name it was started by (`AT_EXECFN`), which stays right as long as nobody renames the file: call
/// it first thing.
///
/// **Errors:** that of the second way, when both fail.
///
/// **Source:** proc_pid_exe(5), getauxval(3), open(2).
pub fn open() -> io::Result<OwnedFd> {
    open_as(OFlags::PATH)
}

/// Opens our own executable for reading, to copy it. **Errors, source:** as [`open`].
pub fn open_readable() -> io::Result<OwnedFd> {
    open_as(OFlags::RDONLY)
}

fn open_as(access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::CLOEXEC;
    open_path(c"/proc/self/exe", flags, Mode::empty()).or_else(|_| {
        let name = started_as().ok_or(io::ErrorKind::NotFound)?;
        Ok(open_path(name, flags, Mode::empty())?)
    })
}

/// The path given to execve(2).
fn started_as() -> Option<&'static CStr> {
    // SAFETY: getauxval(3) takes an integer and returns 0 for what is not there.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(usize::try_from(address).ok()?);
    if name.is_null() {
        return None;
    }
    // SAFETY: getauxval(3): the value of AT_EXECFN, not null by the line above, is the address of a string that the kernel put at the
    // top of our stack and that stays there.
    Some(unsafe { CStr::from_ptr(name) })
}

#[cfg(test)]
mod tests {
    use super::{open, started_as};
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn both_ways_lead_to_this_very_file() -> io::Result<()> {
        let own = std::fs::metadata(std::env::current_exe()?)?;
        let opened = open()?;
        let behind = std::fs::metadata(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
        assert_eq!((behind.dev(), behind.ino()), (own.dev(), own.ino()));
        let name = started_as().ok_or(io::ErrorKind::NotFound)?;
        let named = std::fs::metadata(std::ffi::OsStr::from_bytes(name.to_bytes()))?;
        assert_eq!((named.dev(), named.ino()), (own.dev(), own.ino()));
        Ok(())
    }
}
