//! Opening files that other people name.
//!
//! A path is either ours or the operator's, then it may lead anywhere ([`regular_file`], [`anchor`]), or it comes from a plugin, then it leads
//! nowhere out of its directory ([`beneath`]), whatever links lie there and whoever changes them meanwhile. A hard link is the file itself and
//! opened like one.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Files that are created may be read and written by all that the umask leaves, as everywhere.
const CREATED: Mode = Mode::from_raw_mode(0o666);

/// How often a path is looked up again when something in it was renamed meanwhile. Each is one system call; a tree that changes faster is
/// an error.
const LOOKUPS: usize = 64;

/// What [`beneath`] opens, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beneath {
    /// A regular file, to read.
    Read,
    /// A regular file, to write: created if missing, else emptied.
    Write,
    /// A regular file, to write at its end: created if missing.
    Append,
    /// A directory, to list.
    List,
    /// Anything, as a place only (`O_PATH`).
    Place,
}

impl Beneath {
    fn flags(self) -> OFlags {
        let how = match self {
            // Of the others, openat2(2) takes none beside it.
            Beneath::Place => return OFlags::PATH | OFlags::CLOEXEC,
            Beneath::Read => OFlags::RDONLY,
            Beneath::Write => OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
            Beneath::Append => OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
            Beneath::List => OFlags::RDONLY | OFlags::DIRECTORY,
        };
        how | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
    }

    /// openat2(2) wants no mode where nothing can be created.
    fn mode(self) -> Mode {
        if self.flags().contains(OFlags::CREATE) { CREATED } else { Mode::empty() }
    }
}

/// Opens a regular file for reading. Never waits: a FIFO or device of that name is an error, not a wait for a writer.
///
/// **Errors:** of open(2), and `InvalidInput` for anything but a regular file.
///
/// **Source:** open(2).
pub fn regular_file(path: &Path) -> io::Result<OwnedFd> {
    only(rustix::fs::open(path, Beneath::Read.flags(), Mode::empty())?, Beneath::Read)
}

/// Opens the relative `path` below `directory`, as `how` says. Neither `..` nor an absolute path nor a link leads out of it, and links of
/// `/proc` to open files lead nowhere at all. Never waits.
///
/// Where openat2(2) is missing (Linux before 5.6, old filters of system calls), paths with `..` or with any symbolic link are refused.
///
/// **Errors:** of open(2); `PermissionDenied` without a code of the system for a path that leads out, and `InvalidInput` for a FIFO, socket or
/// device to read or write, and for a directory in place of a file.
///
/// **Source:** openat2(2).
pub fn beneath(directory: BorrowedFd<'_>, path: &Path, how: Beneath) -> io::Result<OwnedFd> {
    let opened = match look_up(directory, path, how) {
        // A file that may not be written (chattr(1)) says so once more.
        Err(Errno::NOSYS | Errno::PERM) => walk(directory, path, how)?,
        Err(Errno::XDEV) => return Err(refused("the path leads out of its directory")),
        Err(Errno::LOOP) => return Err(refused("the path has a symbolic link in it that cannot be followed")),
        opened => opened?,
    };
    only(opened, how)
}

fn look_up(directory: BorrowedFd<'_>, path: &Path, how: Beneath) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..LOOKUPS {
        opened = rustix::fs::openat2(directory, path, how.flags(), how.mode(), within);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened
}

/// What [`look_up`] does, one part of the path after the other, following nothing.
fn walk(directory: BorrowedFd<'_>, path: &Path, how: Beneath) -> io::Result<OwnedFd> {
    let mut parts = path.components().peekable();
    let mut reached: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            Component::ParentDir => {
                return Err(refused("the path has \"..\" in it, which this kernel cannot keep in its directory"));
            }
            Component::RootDir | Component::Prefix(_) => return Err(refused("the path leads out of its directory")),
        };
        let here = reached.as_ref().map_or(directory, OwnedFd::as_fd);
        if parts.peek().is_none() {
            return step(here, name, how.flags(), how.mode());
        }
        reached = Some(step(here, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    }
    Err(Errno::NOENT.into())
}

fn step(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, flags | OFlags::NOFOLLOW, mode).map_err(|error| {
        let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink) {
            symbolic_link()
        } else {
            error.into()
        }
    })
}

/// Opens `path`, or else the deepest directory on the way to it that exists, as a place only (`O_PATH`), and returns what of the path is
/// still missing below: empty if it exists. Links are followed; one that leads to nothing counts as missing.
///
/// **Errors:** of open(2), and `InvalidInput` for a path that is not absolute.
///
/// **Source:** open(2).
pub fn anchor(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    if !path.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute"));
    }
    for ancestor in path.ancestors() {
        let Ok(missing) = path.strip_prefix(ancestor) else { continue };
        let directory = if missing.as_os_str().is_empty() { OFlags::empty() } else { OFlags::DIRECTORY };
        match rustix::fs::open(ancestor, OFlags::PATH | OFlags::CLOEXEC | directory, Mode::empty()) {
            Ok(found) => return Ok((found, missing.to_owned())),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::NOENT.into())
}

/// `file`, if it is what `how` opens.
fn only(file: OwnedFd, how: Beneath) -> io::Result<OwnedFd> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    match (FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode), how) {
        (FileType::Symlink, _) => Err(symbolic_link()),
        (FileType::RegularFile, Beneath::Read | Beneath::Write | Beneath::Append)
        | (FileType::Directory, Beneath::List)
        | (_, Beneath::Place) => Ok(file),
        (FileType::Directory, _) => invalid("it is a directory, not a file"),
        _ => invalid("it is not a regular file"),
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn symbolic_link() -> io::Error {
    refused("the path has a symbolic link in it, which this kernel cannot keep in its directory")
}

#[cfg(test)]
mod tests {
    use super::{Beneath, anchor, beneath, look_up, only, regular_file, walk};
    use rustix::fs::{CWD, FileType, Mode, RenameFlags};
    use rustix::io::Errno;
    use std::fs::{self, File};
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    type Open = fn(BorrowedFd<'_>, &Path, Beneath) -> io::Result<OwnedFd>;

    /// The way of today's kernels, and the one for those without openat2.
    const WAYS: [(&str, Open); 2] =
        [("lookup", beneath), ("walk", |directory, path, how| only(walk(directory, path, how)?, how))];

    /// Opens of the race between an open and a rename. Each of the two entries is exchanged all the while.
    const RACED_OPENS: usize = 10_000;

    /// A folder of a test's own, with a secret in it that is outside of the directory `in`.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> io::Result<Tree> {
            let tree = Tree(std::env::temp_dir().join(format!("hilum-open-{}-{name}", std::process::id())));
            fs::create_dir_all(tree.inside().join("sub"))?;
            fs::create_dir(tree.0.join("out"))?;
            fs::write(tree.0.join("out/file"), "outside")?;
            fs::write(tree.inside().join("file"), "inside")?;
            fs::write(tree.inside().join("sub/file"), "inside")?;
            Ok(tree)
        }

        fn inside(&self) -> PathBuf {
            self.0.join("in")
        }

        fn directory(&self) -> io::Result<OwnedFd> {
            Ok(anchor(&self.inside())?.0)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _removed = fs::remove_dir_all(&self.0);
        }
    }

    fn text(opened: OwnedFd) -> io::Result<String> {
        let mut text = String::new();
        File::from(opened).read_to_string(&mut text)?;
        Ok(text)
    }

    fn kind(opened: io::Result<OwnedFd>) -> Option<io::ErrorKind> {
        opened.err().map(|error| error.kind())
    }

    #[test]
    fn only_files_are_opened() -> io::Result<()> {
        regular_file(&std::env::current_exe()?)?;
        for path in ["/", "/dev/null"] {
            assert_eq!(kind(regular_file(Path::new(path))), Some(io::ErrorKind::InvalidInput));
        }
        assert_eq!(kind(regular_file(Path::new("/nonexistent"))), Some(io::ErrorKind::NotFound));
        Ok(())
    }

    #[test]
    fn files_below_are_read_written_and_listed() -> io::Result<()> {
        let tree = Tree::new("below")?;
        let directory = tree.directory()?;
        for (name, open) in WAYS {
            let at = |path: &str, how| open(directory.as_fd(), Path::new(path), how);
            for path in ["file", "./file", "sub/file", "sub//./file"] {
                assert_eq!(text(at(path, Beneath::Read)?)?, "inside", "{name} {path}");
            }
            File::from(at("sub/new", Beneath::Append)?).write_all(b"on")?;
            File::from(at("sub/new", Beneath::Append)?).write_all(b"e")?;
            assert_eq!(text(at("sub/new", Beneath::Read)?)?, "one", "{name}");
            File::from(at("sub/new", Beneath::Write)?).write_all(b"x")?;
            assert_eq!(text(at("sub/new", Beneath::Read)?)?, "x", "{name}");
            fs::remove_file(tree.inside().join("sub/new"))?;
            let place = at("sub", Beneath::Place)?;
            assert_eq!(text(open(place.as_fd(), Path::new("file"), Beneath::Read)?)?, "inside", "{name}");
            at("file", Beneath::Place)?;
            for path in [".", "sub"] {
                rustix::fs::Dir::new(at(path, Beneath::List)?)?;
                assert_eq!(kind(at(path, Beneath::Read)), Some(io::ErrorKind::InvalidInput), "{name} {path}");
                assert!(at(path, Beneath::Write).is_err(), "{name} {path}");
            }
            assert_eq!(kind(at("file", Beneath::List)), Some(io::ErrorKind::NotADirectory), "{name}");
            for path in ["", "no", "no/file"] {
                assert_eq!(kind(at(path, Beneath::Read)), Some(io::ErrorKind::NotFound), "{name} {path}");
            }
        }
        Ok(())
    }

    #[test]
    fn nothing_leads_out() -> io::Result<()> {
        let tree = Tree::new("out")?;
        let (directory, inside, outside) = (tree.directory()?, tree.inside(), tree.0.join("out"));
        symlink(outside.join("file"), inside.join("absolute"))?;
        symlink("../out/file", inside.join("relative"))?;
        symlink("../out", inside.join("folder"))?;
        symlink("../../out/file", inside.join("sub/deep"))?;
        symlink("/", inside.join("root"))?;
        symlink("endless", inside.join("endless"))?;
        let secret = outside.join("file");
        let out = [
            "..",
            "../out/file",
            "sub/../../out/file",
            "absolute",
            "relative",
            "folder/file",
            "sub/deep",
            "root/etc/passwd",
            "endless",
            "/etc/passwd",
            secret.to_str().unwrap_or("/"),
        ];
        for (name, open) in WAYS {
            for path in out {
                for how in [Beneath::Read, Beneath::Write, Beneath::Append, Beneath::List, Beneath::Place] {
                    let found = kind(open(directory.as_fd(), Path::new(path), how));
                    assert_eq!(found, Some(io::ErrorKind::PermissionDenied), "{name} {path} {how:?}");
                }
            }
            // A link that leads to nothing creates nothing.
            symlink("../out/new", inside.join("dangling"))?;
            assert!(open(directory.as_fd(), Path::new("dangling"), Beneath::Write).is_err(), "{name}");
            assert!(!outside.join("new").exists(), "{name}");
            fs::remove_file(inside.join("dangling"))?;
        }
        assert_eq!(fs::read_to_string(&secret)?, "outside");
        Ok(())
    }

    #[test]
    fn links_that_stay_are_followed_where_the_kernel_can_tell() -> io::Result<()> {
        let tree = Tree::new("stay")?;
        let directory = tree.directory()?;
        symlink("sub/file", tree.inside().join("link"))?;
        symlink("../file", tree.inside().join("sub/up"))?;
        for path in ["link", "sub/up", "sub/../file"] {
            let path = Path::new(path);
            let refusal =
                |open: Open| open(directory.as_fd(), path, Beneath::Read).err().map(|error| error.to_string());
            let walked = refusal(walk);
            assert!(walked.as_ref().is_some_and(|error| error.contains("this kernel cannot keep")), "{walked:?}");
            match look_up(directory.as_fd(), path, Beneath::Read) {
                Err(Errno::NOSYS | Errno::PERM) => assert_eq!(refusal(beneath), walked),
                found => assert_eq!(text(found?)?, "inside", "{path:?}"),
            }
        }
        Ok(())
    }

    #[test]
    fn links_to_open_files_are_not_followed() -> io::Result<()> {
        let (own, _) = anchor(Path::new("/proc/self"))?;
        let file = regular_file(&std::env::current_exe()?)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        for (name, open) in WAYS {
            for path in ["exe", "root/etc/passwd", "cwd/Cargo.toml", &format!("fd/{number}")] {
                let found = kind(open(own.as_fd(), Path::new(path), Beneath::Read));
                assert_eq!(found, Some(io::ErrorKind::PermissionDenied), "{name} {path}");
            }
        }
        Ok(())
    }

    #[test]
    fn special_files_are_refused_without_a_wait() -> io::Result<()> {
        let tree = Tree::new("special")?;
        rustix::fs::mknodat(CWD, tree.inside().join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let _socket = UnixListener::bind(tree.inside().join("socket"))?;
        let (devices, _) = anchor(Path::new("/dev"))?;
        let directory = tree.directory()?;
        for (name, open) in WAYS {
            for (place, path) in [(&directory, "fifo"), (&directory, "socket"), (&devices, "null"), (&devices, "tty")] {
                for how in [Beneath::Read, Beneath::Write, Beneath::Append, Beneath::List] {
                    assert!(open(place.as_fd(), Path::new(path), how).is_err(), "{name} {path} {how:?}");
                }
                assert!(open(place.as_fd(), Path::new(path), Beneath::Place).is_ok(), "{name} {path}");
            }
            for (place, path) in [(&directory, "fifo"), (&devices, "null")] {
                let found = kind(open(place.as_fd(), Path::new(path), Beneath::Read));
                assert_eq!(found, Some(io::ErrorKind::InvalidInput), "{name} {path}");
            }
        }
        Ok(())
    }

    #[test]
    fn links_swapped_in_while_opening_lead_nowhere() -> io::Result<()> {
        let tree = Tree::new("race")?;
        let (directory, inside) = (tree.directory()?, tree.inside());
        symlink("../out", inside.join("folder"))?;
        symlink("../out/file", inside.join("link"))?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let swapping = scope.spawn(|| -> io::Result<()> {
                while !done.load(Ordering::Relaxed) {
                    for (one, other) in [("sub", "folder"), ("file", "link")] {
                        let (one, other) = (inside.join(one), inside.join(other));
                        rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?;
                    }
                }
                Ok(())
            });
            let raced = race(directory.as_fd());
            done.store(true, Ordering::Relaxed);
            swapping.join().map_err(|_| io::ErrorKind::Other)??;
            raced
        })
    }

    /// Opens both entries until each way has both got the file inside and been refused, and long enough in any case.
    fn race(directory: BorrowedFd<'_>) -> io::Result<()> {
        for (name, open) in WAYS {
            for path in ["sub/file", "file"] {
                let (mut opened, mut refused) = (0_usize, 0_usize);
                while opened + refused < RACED_OPENS || opened == 0 || refused == 0 {
                    match open(directory, Path::new(path), Beneath::Read) {
                        Ok(file) => {
                            assert_eq!(text(file)?, "inside", "{name} {path}");
                            opened += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn an_anchor_is_the_deepest_directory_there_is() -> io::Result<()> {
        let tree = Tree::new("anchor")?;
        let inside = tree.inside();
        symlink("nowhere", inside.join("dangling"))?;
        for (path, missing) in [
            ("", ""),
            ("sub", ""),
            ("sub/", ""),
            ("file", ""),
            ("sub/a", "a"),
            ("a/b/c", "a/b/c"),
            ("a/../b", "a/../b"),
            ("dangling", "dangling"),
        ] {
            let (found, rest) = anchor(&inside.join(path))?;
            assert_eq!(rest, Path::new(missing), "{path}");
            let reached = fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found)))?;
            let depth = inside.join(path.strip_suffix(missing).unwrap_or(path));
            let expected = fs::metadata(depth)?;
            assert_eq!(std::os::unix::fs::MetadataExt::ino(&reached), std::os::unix::fs::MetadataExt::ino(&expected));
        }
        assert_eq!(anchor(&inside.join("file/x")).err().map(|e| e.kind()), Some(io::ErrorKind::NotADirectory));
        assert_eq!(anchor(Path::new("etc")).err().map(|e| e.kind()), Some(io::ErrorKind::InvalidInput));
        Ok(())
    }
}
