//! Opening files that other people name.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

/// Opens a regular file for reading. Never waits: a FIFO or device of that name is an error, not a wait for a writer.
///
/// **Errors:** of open(2), and `InvalidInput` for anything but a regular file.
///
/// **Source:** open(2).
pub fn regular_file(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        FileType::Directory => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a directory, not a file")),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::regular_file;
    use std::io;
    use std::path::Path;

    #[test]
    fn only_files_are_opened() -> io::Result<()> {
        regular_file(&std::env::current_exe()?)?;
        for path in ["/", "/dev/null"] {
            assert_eq!(regular_file(Path::new(path)).map_err(|e| e.kind()).err(), Some(io::ErrorKind::InvalidInput));
        }
        let missing = regular_file(Path::new("/nonexistent")).map_err(|error| error.kind()).err();
        assert_eq!(missing, Some(io::ErrorKind::NotFound));
        Ok(())
    }
}
