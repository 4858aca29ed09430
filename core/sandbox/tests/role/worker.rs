//! A worker process and the PID 1 that these tests are to it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hilum_sandbox::load::digest;
use hilum_sys::channel::Channel;
use hilum_wire::{
    Answer, Ask, FromSandbox, Grants, LoadFailure, MAX_FRAME, PluginInfo, ToSandbox, VERSION, decode, encode,
};

use crate::guest::Guest;

/// Longest wait for anything before a test fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// Memory that plugins get unless a test says otherwise.
pub(crate) const MEMORY: u64 = 1024 * 1024;

pub(crate) struct Worker {
    pub(crate) channel: Option<Channel>,
    /// The same socket, for reads that wait.
    reader: UnixStream,
    child: Child,
    /// Log lines that came while something else was waited for.
    pub(crate) lines: Vec<(String, String)>,
    /// Processor time that was told while calls went on.
    pub(crate) used: Vec<Duration>,
    /// Whether what is loaded has its instances reused.
    reuse_instances: bool,
}

pub(crate) fn program() -> PathBuf {
    // Cargo builds examples beside the tests: target/PROFILE/deps/this and target/PROFILE/examples/worker.
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(Path::parent).unwrap().join("examples/worker");
    assert!(
        path.is_file(),
        "{} is missing; run cargo test -p hilum-sandbox, which builds it, without --test",
        path.display()
    );
    path
}

impl Worker {
    /// A worker that has exchanged hellos.
    pub(crate) fn start() -> Worker {
        Worker::start_by(Command::new(program()))
    }

    /// A worker whose root is `root`.
    pub(crate) fn start_in(root: &Path) -> Worker {
        let mut command = Command::new(program());
        command.arg(root);
        Worker::start_by(command)
    }

    /// A worker of another user.
    pub(crate) fn start_as(uid: u32) -> Worker {
        let mut command = Command::new(program());
        command.uid(uid).gid(uid);
        Worker::start_by(command)
    }

    pub(crate) fn start_by(command: Command) -> Worker {
        let mut worker = Worker::spawn(command);
        assert_eq!(worker.receive(), FromSandbox::Hello { version: VERSION, refused: Vec::new() });
        worker.send(&ToSandbox::Hello { version: VERSION });
        worker
    }

    /// A worker to which nothing has been said yet.
    pub(crate) fn start_silent() -> Worker {
        Worker::spawn(Command::new(program()))
    }

    fn spawn(mut command: Command) -> Worker {
        let (ours, theirs) = Channel::pair().unwrap();
        let child = command.env_clear().stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn().unwrap();
        drop(command);
        let reader = UnixStream::from(ours.as_fd().try_clone_to_owned().unwrap());
        reader.set_nonblocking(false).unwrap();
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        Worker { channel: Some(ours), reader, child, lines: Vec::new(), used: Vec::new(), reuse_instances: false }
    }

    pub(crate) fn send(&self, message: &ToSandbox) {
        self.send_raw(&encode(message).unwrap(), None);
    }

    pub(crate) fn send_raw(&self, frame: &[u8], file: Option<&File>) {
        let descriptors: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        self.send_with(frame, &descriptors);
    }

    pub(crate) fn send_with(&self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let channel = self.channel.as_ref().unwrap();
        while let Err(error) = channel.send(frame, descriptors) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            std::thread::yield_now();
        }
    }

    /// The next message; `None` if the worker has gone.
    pub(crate) fn next(&mut self) -> Option<FromSandbox> {
        let mut buffer = vec![0; MAX_FRAME];
        let count = loop {
            match self.reader.read(&mut buffer) {
                // A read with a time-out is not begun again by the kernel, as when the machine was stopped meanwhile.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap_or_else(|error| panic!("nothing from the worker: {error}")),
            }
        };
        if count == 0 { None } else { Some(decode(buffer.get(..count).unwrap()).unwrap()) }
    }

    /// The next message, should one come within `wait`.
    pub(crate) fn next_within(&mut self, wait: Duration) -> Option<FromSandbox> {
        let mut buffer = vec![0; MAX_FRAME];
        self.reader.set_read_timeout(Some(wait)).unwrap();
        let read = self.reader.read(&mut buffer);
        self.reader.set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(0) => panic!("the worker has gone"),
            Ok(count) => Some(decode(buffer.get(..count).unwrap()).unwrap()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("nothing from the worker: {error}"),
        }
    }

    /// The next message that is neither a log line nor about processor time.
    pub(crate) fn receive(&mut self) -> FromSandbox {
        loop {
            match self.next() {
                Some(FromSandbox::Log { level, message, .. }) => self.lines.push((level, message)),
                Some(FromSandbox::Used { us, .. }) => self.used.push(Duration::from_micros(us)),
                Some(message) => return message,
                None => panic!("the worker has gone"),
            }
        }
    }

    /// Whether nothing comes for `wait`.
    pub(crate) fn is_silent_for(&mut self, wait: Duration) -> bool {
        self.next_within(wait).is_none()
    }

    /// Has `bytes` loaded as plugin `plugin`, pinned.
    pub(crate) fn load_bytes(
        &mut self,
        plugin: u16,
        bytes: &[u8],
        connect: &[&str],
    ) -> Result<PluginInfo, LoadFailure> {
        let file = scratch(bytes);
        self.load_file(plugin, Some(&file), Some(digest(bytes)), MEMORY, connect)
    }

    pub(crate) fn load_file(
        &mut self,
        plugin: u16,
        file: Option<&File>,
        sha256: Option<String>,
        memory: u64,
        connect: &[&str],
    ) -> Result<PluginInfo, LoadFailure> {
        let grants = Grants { connect: connect.iter().map(ToString::to_string).collect(), ..Grants::default() };
        let descriptors: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        self.order(plugin, sha256, memory, grants, &descriptors)
    }

    /// Has a plugin loaded with `grants`; `descriptors` are its file's and those of the granted files.
    pub(crate) fn order(
        &mut self,
        plugin: u16,
        sha256: Option<String>,
        memory: u64,
        grants: Grants,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<PluginInfo, LoadFailure> {
        let (name, part, reuse_instances) = ("trial".to_owned(), None, self.reuse_instances);
        let load = ToSandbox::Load { plugin, name, sha256, part, memory, reuse_instances, grants };
        self.send_with(&encode(&load).unwrap(), descriptors);
        match self.receive() {
            FromSandbox::Loaded { plugin: loaded, info } if loaded == plugin => Ok(info),
            FromSandbox::LoadFailed { plugin: refused, failure } if refused == plugin => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Has `guest` loaded as plugin 0, so that its instances are reused.
    pub(crate) fn load_reused(&mut self, guest: Guest, connect: &[&str]) {
        self.reuse_instances = true;
        self.load_granted(guest, connect);
    }

    /// Has `guest` loaded as plugin 0.
    pub(crate) fn load(&mut self, guest: Guest) {
        self.load_granted(guest, &[]);
    }

    pub(crate) fn load_granted(&mut self, guest: Guest, connect: &[&str]) {
        self.load_bytes(0, &guest.compiled(), connect).unwrap_or_else(|failure| panic!("{failure:?}"));
    }

    pub(crate) fn call(&self, id: u64, plugin: u16, settings: &str, timeout_ms: u64) {
        let ask = Ask::Check { settings: settings.to_owned(), attempt: 1 };
        self.send(&ToSandbox::Call { id, plugin, ask, timeout_ms, service: None });
    }

    /// Has `settings` judged by a plugin.
    pub(crate) fn judge(&mut self, plugin: u16, settings: &str) -> Answer {
        let ask = Ask::CheckSettings { settings: settings.to_owned() };
        self.send(&ToSandbox::Call { id: 1, plugin, ask, timeout_ms: 1000, service: None });
        match self.receive() {
            FromSandbox::Answered { id: 1, answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Calls plugin 0 and waits for the answer; with how long it took by the worker's clock.
    pub(crate) fn ask(&mut self, settings: &str, timeout_ms: u64) -> (Answer, Duration) {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.call(id, 0, settings, timeout_ms);
        match self.receive() {
            FromSandbox::Answered { id: answered, answer, took_us, .. } if answered == id => {
                (answer, Duration::from_micros(took_us))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Ends the channel and waits for the worker's end.
    pub(crate) fn hang_up(&mut self) -> ExitStatus {
        self.channel = None;
        let (replacement, _) = UnixStream::pair().unwrap();
        self.reader = replacement;
        self.child.wait().unwrap()
    }

    /// Waits for the worker to end by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        while self.next().is_some() {}
        self.child.wait().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory. **Units:** KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Times the worker's threads went to sleep, all together.
    pub(crate) fn naps(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.map(|task| field(&task.unwrap().path().join("status"), "voluntary_ctxt_switches:")).sum()
    }

    fn status(&self, name: &str) -> u64 {
        field(Path::new(&format!("/proc/{}/status", self.pid())), name)
    }
}

fn field(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file with these bytes that has no name any more.
pub(crate) fn scratch(bytes: &[u8]) -> File {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("hilum-sandbox-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    file.write_all(bytes).unwrap();
    fs::remove_file(&path).unwrap();
    file
}
