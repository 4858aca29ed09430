//! What is done with files below a directory that is open: in the last step names are looked up in that one directory and never followed.
//! How to get to the directory is [`open::beneath`](crate::open::beneath).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, renameat, unlinkat};

use crate::{open, random};

/// Files that are created may be read and written by all that the umask leaves, as everywhere.
const CREATED: Mode = Mode::from_raw_mode(0o666);

/// What something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Special,
}

/// What is known of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// **Units:** bytes.
    pub size: u64,
    /// When its content was changed last. **Units:** since 1970.
    pub modified: Duration,
    /// Permission bits.
    pub mode: u32,
}

/// Opens the directory that stands for `path` as a place (`O_PATH`): `path` itself if it is one; else, as files are replaced and made later,
/// the deepest directory on the way to it that exists. Returns also what of the path is below; empty if nothing.
///
/// **Errors:** of open(2), and `InvalidInput` for a path that is not absolute.
pub fn root(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (found, rest) = open::anchor(path)?;
    if !rest.as_os_str().is_empty() || metadata(found.as_fd())?.kind == Kind::Directory {
        return Ok((found, rest));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (directory, rest) = open::anchor(parent)?;
    Ok((directory, rest.join(name)))
}

/// What is known of the thing behind a descriptor, of `O_PATH` too.
///
/// **Source:** fstat(2).
pub fn metadata(descriptor: BorrowedFd<'_>) -> io::Result<Metadata> {
    let stat: Stat = fstat(descriptor)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Special,
    };
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Ok(Metadata {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into())),
        mode: stat.st_mode & 0o7777,
    })
}

/// The names in an open directory but `.` and `..`, at most `limit`, in the order of the file system.
///
/// **Source:** getdents64(2).
pub fn names(directory: OwnedFd, limit: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            if names.len() == limit {
                break;
            }
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Makes a file of this name with these bytes.
///
/// **Errors:** `AlreadyExists`, and those of open(2) and write(2); the file is then gone again.
pub fn create(directory: BorrowedFd<'_>, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, CREATED)?);
    file.write_all(bytes).inspect_err(|_| {
        // Best effort: the error that counts is the first.
        let _ = unlinkat(directory, name, AtFlags::empty());
    })
}

/// Makes the file of this name have exactly these bytes: written aside, put on the disk and renamed, so that readers see the old or the new.
///
/// **Errors:** those of open(2), write(2), fsync(2) and rename(2); what was there is then unchanged.
pub fn replace(directory: BorrowedFd<'_>, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let mut chance = [0; 8];
    random::fill(&mut chance)?;
    let aside = format!(".hilum-{:016x}", u64::from_ne_bytes(chance));
    create(directory, OsStr::new(&aside), bytes)?;
    let sync = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        File::from(openat(directory, aside.as_str(), flags, Mode::empty())?).sync_all()?;
        Ok(renameat(directory, aside.as_str(), directory, name)?)
    };
    sync().inspect_err(|_| {
        // Best effort, as above.
        let _ = unlinkat(directory, aside.as_str(), AtFlags::empty());
    })
}

/// Removes the file of this name; not a directory.
///
/// **Source:** unlink(2).
pub fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    Ok(unlinkat(directory, name, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::{Kind, create, metadata, names, remove, replace};
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    #[test]
    fn files_are_made_replaced_listed_and_removed() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("hilum-tree-{}", std::process::id()));
        fs::create_dir(&path)?;
        let directory = OwnedFd::from(File::open(&path)?);
        let name = OsStr::new("a");
        create(directory.as_fd(), name, b"one")?;
        let again = create(directory.as_fd(), name, b"two").map_err(|error| error.kind());
        assert_eq!(again.err(), Some(io::ErrorKind::AlreadyExists));
        replace(directory.as_fd(), name, b"three")?;
        assert_eq!(fs::read(path.join("a"))?, b"three");
        // A link is replaced and not followed.
        std::os::unix::fs::symlink("/etc/hostname", path.join("link"))?;
        replace(directory.as_fd(), OsStr::new("link"), b"own")?;
        assert!(fs::symlink_metadata(path.join("link"))?.is_file());
        for (way, rest) in [("", ""), ("a", "a"), ("b/c", "b/c")] {
            assert_eq!(super::root(&path.join(way))?.1, std::path::Path::new(rest));
        }
        let known = metadata(OwnedFd::from(File::open(path.join("a"))?).as_fd())?;
        assert_eq!((known.kind, known.size), (Kind::File, 5));
        let mut listed = names(directory.try_clone()?, 10)?;
        listed.sort();
        assert_eq!(listed, [b"a".to_vec(), b"link".to_vec()]);
        assert_eq!(names(File::open(&path)?.into(), 1)?.len(), 1);
        for name in ["a", "link"] {
            remove(directory.as_fd(), OsStr::new(name))?;
        }
        assert_eq!(remove(directory.as_fd(), name).map_err(|error| error.kind()).err(), Some(io::ErrorKind::NotFound));
        fs::remove_dir(&path)
    }
}
