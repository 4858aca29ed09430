//! The sandbox worker on a thread of the test, with hellos exchanged: what hilum does with a plugin that was built.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hilum_sandbox::load::digest;
use hilum_sandbox::{ServeError, serve};
use hilum_sys::channel::Channel;
use hilum_sys::tree;
use hilum_wire::{
    Answer, Ask, FileGrant, FromSandbox, Grants, MAX_FRAME, PluginInfo, Problem, ToSandbox, VERSION, decode, encode,
};

/// A worker with one plugin.
pub(crate) struct Worker {
    channel: Channel,
    reader: UnixStream,
    thread: JoinHandle<Result<(), ServeError>>,
    info: PluginInfo,
}

impl Worker {
    /// Loads the precompiled plugin at `path`. `memory` is in bytes, `files` are paths that may be read.
    pub(crate) fn load(path: &Path, memory: u64, connect: &[&str], files: &[&Path]) -> Worker {
        let (channel, theirs) = Channel::pair().unwrap();
        let thread = thread::spawn(move || serve(theirs, Vec::new()));
        let reader = UnixStream::from(channel.as_fd().try_clone_to_owned().unwrap());
        reader.set_nonblocking(false).unwrap();
        reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let info = PluginInfo { name: String::new(), ..PluginInfo::default() };
        let mut worker = Worker { channel, reader, thread, info };
        assert_eq!(worker.receive(), FromSandbox::Hello { version: VERSION, refused: Vec::new() });
        worker.send(&ToSandbox::Hello { version: VERSION }, &[]);
        let mut descriptors = vec![OwnedFd::from(File::open(path).unwrap())];
        let mut grants = Grants { connect: connect.iter().map(ToString::to_string).collect(), ..Grants::default() };
        for file in files {
            let (root, rest) = tree::root(file).unwrap();
            let (path, rest) = (file.to_str().unwrap().to_owned(), rest.to_str().unwrap().to_owned());
            grants.files.push(FileGrant { path, rest, write: false });
            descriptors.push(root);
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let sha256 = Some(digest(&fs::read(path).unwrap()));
        let load = ToSandbox::Load { plugin: 0, name, sha256, part: None, memory, reuse_instances: false, grants };
        worker.send(&load, &descriptors);
        match worker.receive() {
            FromSandbox::Loaded { plugin: 0, info } => worker.info = info,
            other => panic!("{other:?}"),
        }
        worker
    }

    /// What the plugin said of itself.
    pub(crate) fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// One call.
    pub(crate) fn check(&mut self, settings: &str, timeout_ms: u64) -> Answer {
        self.ask(Ask::Check { settings: settings.to_owned(), attempt: 1 }, timeout_ms)
    }

    /// The mistakes in settings.
    pub(crate) fn judge(&mut self, settings: &str) -> Vec<Problem> {
        match self.ask(Ask::CheckSettings { settings: settings.to_owned() }, 5000) {
            Answer::Judged(problems) => problems,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the worker, which must have nothing to complain about.
    pub(crate) fn end(self) {
        drop((self.channel, self.reader));
        assert!(self.thread.join().unwrap().is_ok());
    }

    fn ask(&mut self, ask: Ask, timeout_ms: u64) -> Answer {
        self.send(&ToSandbox::Call { id: 1, plugin: 0, ask, timeout_ms, service: None }, &[]);
        match self.receive() {
            FromSandbox::Answered { id: 1, answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, message: &ToSandbox, descriptors: &[OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.channel.send(&encode(message).unwrap(), &descriptors).unwrap();
    }

    /// The next message that is neither a log line nor about processor time, of which even a description may use some.
    fn receive(&mut self) -> FromSandbox {
        let mut buffer = vec![0; MAX_FRAME];
        loop {
            let count = self.reader.read(&mut buffer).unwrap();
            match decode(buffer.get(..count).unwrap()).unwrap() {
                FromSandbox::Log { .. } | FromSandbox::Used { .. } => {}
                message => return message,
            }
        }
    }
}
