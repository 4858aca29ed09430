//! A worker with two plugins in it: one that echoes, and one that makes attempts. The test is its PID 1: it runs the commands the plugins ask for
//! and takes what they write.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hilum_sandbox::load::digest;
use hilum_sys::channel::Channel;
use hilum_sys::{open, pipe, process};
use hilum_wire::{Answer, Ask, Ending, FileGrant, FromSandbox, Grants, ToSandbox, encode};
use serde_json::{Value, json};

use crate::guest::{ECHO, Guest};
use crate::toolchain::attacks;
use crate::worker::{MEMORY, Worker, program, scratch};

/// The plugin that means well.
const VICTIM: u16 = 0;
/// The one that does not.
pub(crate) const ATTACKER: u16 = 1;

/// Memory of the attacker, enough to make giants of what it passes. **Units:** bytes.
const ROOM: u64 = 256 * 1024 * 1024;

/// How much more memory the worker may hold after an attempt than before. **Units:** KiB.
const SLACK: u64 = 8 * 1024;

/// How long memory and descriptors may take to come back.
const SETTLING: Duration = Duration::from_secs(10);

/// What is made ready before the worker starts.
#[derive(Default)]
pub(crate) struct Setting {
    grants: Grants,
    files: Vec<OwnedFd>,
    /// What `/etc/resolv.conf` is to the worker.
    resolver: Option<PathBuf>,
    attacker: Option<Vec<u8>>,
}

impl Setting {
    pub(crate) fn connect(mut self, places: &[&str]) -> Setting {
        self.grants.connect.extend(places.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn resolve(mut self, names: &[&str]) -> Setting {
        self.grants.resolve.extend(names.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn exec(mut self, commands: &[&str]) -> Setting {
        self.grants.exec.extend(commands.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Setting {
        self.grants.env.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    pub(crate) fn files(mut self, path: &Path, write: bool) -> Setting {
        let (anchor, rest) = open::anchor(path).unwrap();
        let (path, rest) = (path.to_str().unwrap().to_owned(), rest.to_str().unwrap().to_owned());
        self.grants.files.push(FileGrant { path, rest, write });
        self.files.push(anchor);
        self
    }

    /// Has the worker ask the server in `resolver`, a resolv.conf.
    pub(crate) fn resolver(mut self, resolver: &Path) -> Setting {
        self.resolver = Some(resolver.to_owned());
        self
    }

    /// Has another attacker than `plugins/attacks`.
    pub(crate) fn attacker(mut self, compiled: &[u8]) -> Setting {
        self.attacker = Some(compiled.to_owned());
        self
    }

    /// Starts the worker, has both plugins loaded, seals it, and warms it up: threads that are started once are started now.
    pub(crate) fn start(self) -> Stage {
        let mut command = Command::new(program());
        if let Some(resolver) = &self.resolver {
            command = Command::new("unshare");
            // Not root: root in a namespace of one's own will do.
            command.args(if is_root() { &["-m"][..] } else { &["-rm"] });
            command.args(["/bin/sh", "-c", r#"/bin/mount --bind "$0" /etc/resolv.conf && exec "$@""#]).arg(resolver).arg(program());
        }
        if is_root() {
            command.arg("--confine");
        }
        let worker = Worker::start_by(command);
        let channel = Channel::from_descriptor(worker.channel.as_ref().unwrap().as_fd().try_clone_to_owned().unwrap());
        let mut stage = Stage {
            worker,
            runs: Runs { channel: Arc::new(channel), ..Runs::default_with_nothing() },
            told: Told::default(),
            next: 0,
        };
        stage.worker.load(Guest::checking(ECHO));
        let bytes = self.attacker.as_deref().unwrap_or_else(attacks);
        let file = scratch(bytes);
        let descriptors: Vec<_> = std::iter::once(file.as_fd()).chain(self.files.iter().map(AsFd::as_fd)).collect();
        let loaded = stage.worker.order(ATTACKER, Some(digest(bytes)), ROOM, self.grants, &descriptors);
        loaded.unwrap_or_else(|failure| panic!("{failure:?}"));
        stage.worker.send(&ToSandbox::Seal);
        let FromSandbox::Sealed { refused } = stage.worker.receive() else { panic!("not sealed") };
        assert!(refused.iter().all(|what| what.starts_with("landlock")), "{refused:?}");
        for attempt in ["spin", "list-directory", "nothing"] {
            stage.ask(attempt, &json!({"path": "/"}), 50);
        }
        stage.meet_victim("before anything");
        stage.told = Told::default();
        stage
    }
}
