//! A worker with two plugins in it: one that echoes, and one that makes attempts. The test is its PID 1: it runs the commands the plugins ask for
//! and takes what they write.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hilum_sandbox::load::digest;
use hilum_sys::channel::Channel;
use hilum_sys::{open, pipe, process};
use hilum_wire::{Answer, Ask, Ending, FileGrant, FromSandbox, Grants, ToSandbox, encode};
use serde_json::{Value, json};

use crate::guest::{ECHO, Guest};
use crate::toolchain::attacks;
use crate::worker::{Worker, program, scratch};

/// The plugin that means well.
const VICTIM: u16 = 0;
/// The one that does not.
pub(crate) const ATTACKER: u16 = 1;

/// One that means well too, with the grants of the attacker.
pub(crate) const VISITOR: u16 = 2;

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
    /// Whether the attempts are loaded once more, as a plugin that means well: [`VISITOR`].
    pub(crate) visitor: bool,
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
        // This libc keeps large blocks for later; the one hilum is shipped with gives them back, as this one does when told.
        let mut words = vec!["/usr/bin/env", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=131072"];
        let resolver = self.resolver.as_ref().map(|path| path.to_str().unwrap());
        if let Some(path) = resolver {
            // Not root: root in a namespace of one's own will do.
            words.extend(["/usr/bin/unshare", if is_root() { "-m" } else { "-rm" }]);
            words.extend(["/bin/sh", "-c", r#"/bin/mount --bind "$0" /etc/resolv.conf && exec "$@""#, path]);
        }
        let mut command = Command::new(words.remove(0));
        command.args(words).arg(program());
        if is_root() {
            command.arg("--confine");
        }
        let worker = Worker::start_by(command);
        let ours = worker.channel.as_ref().unwrap().as_fd().try_clone_to_owned().unwrap();
        let mut stage = Stage {
            worker,
            runs: Runs::new(Channel::from_descriptor(ours)),
            told: Told::default(),
            answers: HashMap::new(),
            next: 0,
        };
        stage.worker.load(Guest::checking(ECHO));
        let bytes = self.attacker.as_deref().unwrap_or_else(|| attacks());
        let file = scratch(bytes);
        let descriptors: Vec<_> = std::iter::once(file.as_fd()).chain(self.files.iter().map(AsFd::as_fd)).collect();
        for plugin in std::iter::once(ATTACKER).chain(self.visitor.then_some(VISITOR)) {
            let loaded = stage.worker.order(plugin, Some(digest(bytes)), ROOM, self.grants.clone(), &descriptors);
            loaded.unwrap_or_else(|failure| panic!("{failure:?}"));
        }
        stage.worker.send(&ToSandbox::Seal);
        let FromSandbox::Sealed { refused } = stage.worker.receive() else { panic!("not sealed") };
        assert!(refused.iter().all(|what| what.starts_with("landlock")), "{refused:?}");
        let with = if self.attacker.is_some() { json!("/") } else { json!({"path": "/"}) };
        for attempt in ["spin", "list-directory", "list"] {
            let id = stage.ask(attempt, &with, 50);
            stage.answer(id);
        }
        stage.meet_victim("before anything");
        stage
    }
}

/// The two plugins in their worker.
pub(crate) struct Stage {
    pub(crate) worker: Worker,
    pub(crate) runs: Runs,
    pub(crate) told: Told,
    answers: HashMap<u64, (Answer, u32)>,
    next: u64,
}

/// For a call that comes to its own end, on however busy a machine. **Units:** milliseconds.
pub(crate) const AMPLE: u64 = 60_000;

/// For a call that waits until its time is up, and long enough to say so then. **Units:** milliseconds.
pub(crate) const BRIEF: u64 = 2000;

/// What the worker told its PID 1 beside answers.
#[derive(Default)]
pub(crate) struct Told {
    /// Plugin, level, line.
    pub(crate) lines: Vec<(u16, String, String)>,
    /// Values to keep.
    pub(crate) kept: usize,
    /// Values of series.
    pub(crate) measured: usize,
}

/// What an attempt met.
pub(crate) struct Met {
    name: String,
    pub(crate) answer: Answer,
    pub(crate) denied: u32,
    pub(crate) told: Told,
}

impl Stage {
    /// Calls the attacker; returns the number of the call.
    pub(crate) fn ask(&mut self, attempt: &str, with: &Value, timeout_ms: u64) -> u64 {
        self.next += 1;
        self.worker.call(self.next, ATTACKER, &json!({"attempt": attempt, "with": with}).to_string(), timeout_ms);
        self.next
    }

    /// The answer of a call, and how often it was denied something.
    pub(crate) fn answer(&mut self, id: u64) -> (Answer, u32) {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            self.hear();
        }
    }

    /// Takes the next message, and does what PID 1 does about it.
    fn hear(&mut self) {
        match self.worker.next().unwrap_or_else(|| panic!("the worker has gone")) {
            FromSandbox::Log { plugin, level, message } => self.told.lines.push((plugin, level, message)),
            FromSandbox::Answered { id, answer, denied, .. } => {
                self.answers.insert(id, (answer, denied));
            }
            FromSandbox::Keep { plugin: ATTACKER, .. } => self.told.kept += 1,
            FromSandbox::Measured { plugin: ATTACKER, .. } => self.told.measured += 1,
            FromSandbox::Used { .. } => {}
            FromSandbox::Run { id, plugin: ATTACKER, command } => self.runs.start(id, &command, &self.worker),
            FromSandbox::StopRun { id } => self.runs.stop(id),
            other => panic!("{other:?}"),
        }
    }

    /// The victim answers.
    pub(crate) fn meet_victim(&mut self, when: &str) {
        let when = &format!("{when:?}");
        self.next += 1;
        self.worker.call(self.next, VICTIM, when, AMPLE);
        assert_eq!(self.answer(self.next).0, Answer::Fail(when.to_owned()), "{when}: the victim");
    }

    /// Makes an attempt: it must not succeed, and leave nothing behind. `name` is what the test calls it.
    pub(crate) fn attempt(&mut self, name: &str, attempt: &str, with: &Value, timeout_ms: u64) -> Met {
        self.attempt_times(name, attempt, with, timeout_ms, 1).pop().unwrap()
    }

    /// Makes an attempt in several calls at once. What was told is with the last.
    pub(crate) fn attempt_times(
        &mut self,
        name: &str,
        attempt: &str,
        with: &Value,
        timeout_ms: u64,
        times: usize,
    ) -> Vec<Met> {
        self.told = Told::default();
        let before = self.holds();
        let ids: Vec<u64> = (0..times).map(|_| self.ask(attempt, with, timeout_ms)).collect();
        self.meet_victim(&format!("beside {name}"));
        let answers: Vec<_> = ids.into_iter().map(|id| self.answer(id)).collect();
        self.meet_victim(&format!("after {name}"));
        self.settle(name, before);
        let mut met: Vec<Met> = answers
            .into_iter()
            .map(|(answer, denied)| {
                assert_ne!(answer, Answer::Pass, "{name}: it got what it wanted");
                assert!(!matches!(&answer, Answer::Unknown(why) if why.contains("bug")), "{name}: {answer:?}");
                Met { name: name.to_owned(), answer, denied, told: Told::default() }
            })
            .collect();
        met.last_mut().unwrap().told = std::mem::take(&mut self.told);
        met
    }

    /// The victim is answered while an attempt that takes all the time it gets goes on.
    pub(crate) fn assert_goes_on_beside(&mut self, attempt: &str, with: &Value) {
        let ids: Vec<u64> = (0..4).map(|_| self.ask(attempt, with, 3000)).collect();
        for _ in 0..3 {
            self.meet_victim(&format!("while it goes on: {attempt}"));
        }
        assert!(ids.iter().all(|id| !self.answers.contains_key(id)), "{attempt}: the victim had to wait for it");
        for id in ids {
            self.answer(id);
        }
    }

    /// Has the attacker judge settings that name an attempt.
    pub(crate) fn judge(&mut self, attempt: &str, timeout_ms: u64) -> Answer {
        self.next += 1;
        let ask = Ask::CheckSettings { settings: json!({"attempt": attempt}).to_string() };
        self.worker.send(&ToSandbox::Call { id: self.next, plugin: ATTACKER, ask, timeout_ms, service: None });
        self.answer(self.next).0
    }

    /// Resident memory in KiB, and descriptors.
    pub(crate) fn holds(&self) -> (u64, usize) {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.worker.pid())).unwrap().count();
        (self.worker.resident(), descriptors)
    }

    /// Waits until the worker holds what it held, or little more.
    fn settle(&mut self, name: &str, (memory, descriptors): (u64, usize)) {
        let until = Instant::now() + SETTLING;
        loop {
            let (now, open) = self.holds();
            if now <= memory + SLACK && open <= descriptors {
                return;
            }
            assert!(
                Instant::now() < until,
                "{name}: the worker holds {now} KiB and {open} descriptors, before it were {memory} KiB and {descriptors}"
            );
            // Gives it something to do, so that it goes on to what comes after its answers.
            self.meet_victim(name);
        }
    }
}

impl Met {
    /// It failed, with this in what it says.
    #[track_caller]
    pub(crate) fn failed(self, said: &str) -> Met {
        assert!(
            matches!(&self.answer, Answer::Fail(why) if why.contains(said)),
            "{}: no {said:?} in {:?}",
            self.name,
            self.answer
        );
        self
    }

    /// It failed so, or its deadline came first: of many that give up in the same last moment not each may get to say it.
    #[track_caller]
    pub(crate) fn failed_or_late(self, said: &str) -> Met {
        if matches!(&self.answer, Answer::Broken { kind, .. } if kind == "deadline") { self } else { self.failed(said) }
    }

    /// It was denied it, and the operator reads which grant is missing.
    #[track_caller]
    pub(crate) fn denied(self, grant: &str) -> Met {
        assert!(self.denied > 0, "{}: no denial was counted: {:?}", self.name, self.answer);
        let said = |(plugin, level, line): &(u16, String, String)| {
            *plugin == ATTACKER && level == "warn" && line.starts_with("denied: ") && line.contains(grant)
        };
        assert!(self.told.lines.iter().any(said), "{}: no denial with {grant:?} in {:?}", self.name, self.told.lines);
        self.failed("Denied(")
    }

    /// It was stopped, for this kind of reason.
    #[track_caller]
    pub(crate) fn broken(self, expected: &str) -> Met {
        assert!(
            matches!(&self.answer, Answer::Broken { kind, .. } if kind == expected),
            "{}: not {expected}: {:?}",
            self.name,
            self.answer
        );
        self
    }
}

/// Whether the tests may be anybody and change what is where.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The commands of the plan, and those that run.
pub(crate) struct Runs {
    channel: Arc<Channel>,
    /// Process groups, by number of the run.
    groups: Arc<Mutex<HashMap<u64, i32>>>,
    running: Arc<AtomicUsize>,
    /// The most that ran at once.
    pub(crate) most: usize,
    /// All that were started.
    pub(crate) all: usize,
    /// Ends of output that somebody holds who does not end with the command.
    held: Vec<OwnedFd>,
}

impl Runs {
    fn new(channel: Channel) -> Runs {
        Runs {
            channel: Arc::new(channel),
            groups: Arc::default(),
            running: Arc::default(),
            most: 0,
            all: 0,
            held: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, id: u64, command: &str, worker: &Worker) {
        let script = match command {
            "brief" | "daemon" => "echo brief",
            "never" => "sleep 1000",
            "flood" => "yes & exec yes >&2",
            other => panic!("the plugin was not granted {other}"),
        };
        let (stdout, stdout_end) = pipe::pair().unwrap();
        let (stderr, stderr_end) = pipe::pair().unwrap();
        if command == "daemon" {
            self.held.extend([stdout_end.try_clone().unwrap(), stderr_end.try_clone().unwrap()]);
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(stdout_end).stderr(stderr_end);
        let mut child = shell.spawn().unwrap();
        // It holds the other ends of the pipes.
        drop(shell);
        let group = i32::try_from(child.id()).unwrap();
        lock(&self.groups).insert(id, group);
        self.all += 1;
        self.most = self.most.max(self.running.fetch_add(1, Ordering::SeqCst) + 1);
        worker.send_with(&encode(&ToSandbox::Started { id }).unwrap(), &[stdout.as_fd(), stderr.as_fd()]);
        let (channel, groups, running) =
            (Arc::clone(&self.channel), Arc::clone(&self.groups), Arc::clone(&self.running));
        thread::spawn(move || {
            let status = child.wait().unwrap();
            lock(&groups).remove(&id);
            // What it left of its group.
            let _gone = process::signal(process::Target::Group(group), 9);
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            let ending = code.map_or(Ending::Signaled(9), Ending::Exited);
            running.fetch_sub(1, Ordering::SeqCst);
            let frame = encode(&ToSandbox::Ran { id, ending }).unwrap();
            while let Err(error) = channel.send(&frame, &[]) {
                // The test may be over, and its worker gone.
                if error.kind() != ErrorKind::WouldBlock {
                    return;
                }
                thread::yield_now();
            }
        });
    }

    pub(crate) fn stop(&self, id: u64) {
        if let Some(group) = lock(&self.groups).get(&id) {
            // It may have ended meanwhile.
            let _gone = process::signal(process::Target::Group(*group), 9);
        }
    }

    /// Lets go of what was held.
    pub(crate) fn let_go(&mut self) {
        self.held.clear();
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        for group in lock(&self.groups).values() {
            let _gone = process::signal(process::Target::Group(*group), 9);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
