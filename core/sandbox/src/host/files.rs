//! `hilum:host/files`: files of granted trees, each operation in a thread of its own, because a file system may not answer.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hilum_sys::open::{Beneath, beneath};
use hilum_sys::tree;

use crate::bindings::host::files::{Error, Host, Kind, Metadata, Mode};
use crate::grant::{Grants, is_plain};
use crate::host::{State, aside};
use crate::text::clean;

/// Bytes one `read` returns at most. A larger buffer would be mapped and unmapped for each, and whoever else in the process needs memory meanwhile
/// waits: with a million bytes a plugin that reads a file over and over multiplies the others' latency by ten.
const MAX_READ: usize = 65_536;

/// Names one `list` returns at most.
const MAX_NAMES: usize = 4096;

/// The error of an operation on `path`.
fn failure(error: &io::Error, path: &str) -> Error {
    let text = format!("{path}: {error}");
    match error.kind() {
        // Said by us, not by the system: a link leads out of the tree.
        ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Error::Denied(text),
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound(text),
        ErrorKind::AlreadyExists => Error::Exists(text),
        ErrorKind::PermissionDenied => Error::Forbidden(text),
        ErrorKind::InvalidInput | ErrorKind::IsADirectory | ErrorKind::NotSeekable => Error::WrongKind(text),
        _ => Error::Other(text),
    }
}

/// A granted path, taken apart once and used in another thread.
struct Reach {
    grants: Arc<Grants>,
    path: PathBuf,
    write: bool,
}

impl Reach {
    /// Opens it.
    fn open(&self, how: Beneath) -> io::Result<OwnedFd> {
        let (tree, rest) = self.grants.tree(&self.path, self.write).ok_or(ErrorKind::PermissionDenied)?;
        let here = Path::new(".");
        if tree.rest.as_os_str().is_empty() {
            return beneath(tree.anchor.as_fd(), if rest.as_os_str().is_empty() { here } else { rest }, how);
        }
        if rest.as_os_str().is_empty() {
            return beneath(tree.anchor.as_fd(), &tree.rest, how);
        }
        // In two steps: what is granted may be reached over links, but they must not lead out of it any more.
        let granted = beneath(tree.anchor.as_fd(), &tree.rest, Beneath::Place)?;
        beneath(granted.as_fd(), rest, how)
    }

    /// Opens the directory it is in, and says what it is called there.
    fn parent(&self) -> io::Result<(OwnedFd, &OsStr)> {
        let (tree, rest) = self.grants.tree(&self.path, self.write).ok_or(ErrorKind::PermissionDenied)?;
        let (outer, inner) = (&tree.rest, rest);
        let split =
            |path: &'_ Path| path.parent().map(Path::to_path_buf).filter(|parent| !parent.as_os_str().is_empty());
        let name = self.path.file_name().ok_or(ErrorKind::IsADirectory)?;
        if inner.as_os_str().is_empty() {
            // The grant is for the file itself; a tree that is there is no file.
            if outer.as_os_str().is_empty() {
                return Err(ErrorKind::IsADirectory.into());
            }
            let parent = split(outer).unwrap_or_else(|| PathBuf::from("."));
            return Ok((beneath(tree.anchor.as_fd(), &parent, Beneath::Place)?, name));
        }
        let granted = if outer.as_os_str().is_empty() {
            tree.anchor.try_clone()?
        } else {
            beneath(tree.anchor.as_fd(), outer, Beneath::Place)?
        };
        Ok(match split(inner) {
            Some(parent) => (beneath(granted.as_fd(), &parent, Beneath::Place)?, name),
            None => (granted, name),
        })
    }
}

impl State {
    /// Does something with a granted path.
    async fn with<T: Send + 'static>(
        &mut self,
        path: String,
        write: bool,
        act: impl FnOnce(&Reach) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let shown = clean(&path, 512);
        let way = PathBuf::from(path);
        let permitted = if !is_plain(&way) {
            Err(Error::Invalid(format!("{shown:?} is not an absolute path without \".\" and \"..\"")))
        } else if self.grants.tree(&way, write).is_none() {
            let (doing, suffix) = if write { ("writing", "rw") } else { ("reading", "ro") };
            let why = format!(
                "{doing} {shown} is not granted; to allow it, add \"{shown}:{suffix}\" to allow.files of this plugin"
            );
            self.deny(&why);
            Err(Error::Denied(why))
        } else {
            Ok(())
        };
        let reach = Reach { grants: Arc::clone(&self.grants), path: way, write };
        let waiting = Arc::clone(&self.kept.waiting);
        let done = self.pace.wait(async {
            permitted?;
            match aside(&waiting, &self.pace, move || act(&reach)).await {
                Ok(done) => done.map_err(|error| failure(&error, &shown)),
                Err(_) => Err(Error::TimedOut),
            }
        });
        done.await.unwrap_or(Err(Error::TimedOut))
    }
}

impl Host for State {
    async fn status(&mut self, path: String) -> wasmtime::Result<Result<Metadata, Error>> {
        let known = self.with(path, false, |reach| tree::metadata(reach.open(Beneath::Place)?.as_fd())).await;
        Ok(known.map(|known| Metadata {
            kind: match known.kind {
                tree::Kind::File => Kind::File,
                tree::Kind::Directory => Kind::Directory,
                tree::Kind::Special => Kind::Special,
            },
            size: known.size,
            modified: u64::try_from(known.modified.as_nanos()).unwrap_or(u64::MAX),
            mode: known.mode,
        }))
    }

    async fn read(&mut self, path: String, offset: u64, limit: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let limit = usize::try_from(limit).unwrap_or(MAX_READ).min(MAX_READ);
        let read = move |reach: &Reach| {
            let file = std::fs::File::from(reach.open(Beneath::Read)?);
            let mut bytes = vec![0; limit];
            let mut filled = 0;
            while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
                let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
                match file.read_at(room, at) {
                    Ok(0) => break,
                    Ok(count) => filled = filled.saturating_add(count),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            bytes.shrink_to_fit();
            Ok(bytes)
        };
        Ok(self.with(path, false, read).await)
    }

    async fn list(&mut self, path: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let names = self.with(path, false, |reach| tree::names(reach.open(Beneath::List)?, MAX_NAMES)).await;
        Ok(names.map(|names| {
            let mut names: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            names.sort();
            names
        }))
    }

    async fn write(&mut self, path: String, bytes: Vec<u8>, mode: Mode) -> wasmtime::Result<Result<(), Error>> {
        let write = move |reach: &Reach| {
            if mode == Mode::Append {
                let mut file = std::fs::File::from(reach.open(Beneath::Append)?);
                return io::Write::write_all(&mut file, &bytes);
            }
            let (directory, name) = reach.parent()?;
            match mode {
                Mode::Replace => tree::replace(directory.as_fd(), name, &bytes),
                Mode::Create | Mode::Append => tree::create(directory.as_fd(), name, &bytes),
            }
        };
        Ok(self.with(path, true, write).await)
    }

    async fn remove(&mut self, path: String) -> wasmtime::Result<Result<(), Error>> {
        let remove = |reach: &Reach| {
            let (directory, name) = reach.parent()?;
            tree::remove(directory.as_fd(), name)
        };
        Ok(self.with(path, true, remove).await)
    }
}
