//! Starting a program under test as process 1 of new namespaces, or as an ordinary process, and talking with it.
//!
//! `unshare` makes the namespaces and waits; its end ends everything in them. Nothing here sleeps: each wait is for a line, a process's end, or
//! the deadline.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hilum_sys::process::{self, Target};

use super::failure::{Context as _, Failure, fail};
use super::{DEADLINE, peek, program};

/// How the program under test is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// As process 1 of new pid and mount namespaces.
    First,
    /// As an ordinary process.
    Ordinary,
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Boot {
    place: Place,
    root: Option<String>,
    before: Vec<String>,
    words: Vec<String>,
    variables: Vec<(String, String)>,
    cleared: bool,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    stdin: Option<Stdio>,
}

impl Boot {
    /// hilum as process 1, with these words.
    pub(crate) fn hilum(words: &[&str]) -> Boot {
        Boot::program(&program::hilum(), words)
    }

    /// Any program as process 1.
    pub(crate) fn program(program: &str, words: &[&str]) -> Boot {
        let mut all = vec![program.to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        Boot {
            place: Place::First,
            root: None,
            before: Vec::new(),
            words: all,
            variables: Vec::new(),
            cleared: false,
            stdout: None,
            stderr: None,
            stdin: None,
        }
    }

    /// Not as process 1.
    pub(crate) fn ordinary(mut self) -> Boot {
        self.place = Place::Ordinary;
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Boot {
        self.place = place;
        self
    }

    /// With this folder as the root: what is not in it is not there, `/proc` included.
    pub(crate) fn root(mut self, folder: &str) -> Boot {
        self.root = Some(folder.to_owned());
        self
    }

    /// Through another program that executes the rest of its command line (setpriv, prlimit …), inside of the namespaces.
    pub(crate) fn through(mut self, words: &[&str]) -> Boot {
        self.before.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Boot {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the variables of the test run.
    pub(crate) fn clear_variables(mut self) -> Boot {
        self.cleared = true;
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Boot {
        self.stdin = Some(stdin.into());
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Boot {
        self.stdout = Some(stdout.into());
        self
    }

    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Boot {
        self.stderr = Some(stderr.into());
        self
    }

    fn command(&mut self) -> Result<Command, Failure> {
        let mut words = Vec::new();
        if self.place == Place::First {
            words.push(program::tool("unshare", "util-linux")?);
            if !program::is_root() {
                words.extend(["--user", "--map-root-user"].map(str::to_owned));
            }
            words.extend(["--pid", "--mount", "--fork", "--kill-child"].map(str::to_owned));
            match &self.root {
                Some(root) => words.push(format!("--root={root}")),
                None => words.push("--mount-proc".to_owned()),
            }
            words.push("--".to_owned());
        }
        words.append(&mut self.before);
        words.append(&mut self.words);
        let (first, rest) = words.split_first().context("nothing to start")?;
        let mut command = Command::new(first);
        if self.cleared {
            command.env_clear();
        }
        // What the tests are run with must not change what hilum does.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let hilum_s_own = ["HILUM_", "TINI_", "KAPO_", "DUMB_INIT_"].iter().any(|prefix| name.starts_with(prefix));
            if hilum_s_own || ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"].contains(&name.as_str()) {
                command.env_remove(&name);
            }
        }
        command.args(rest).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(self.stdin.take().unwrap_or_else(Stdio::null));
        command.stdout(self.stdout.take().unwrap_or_else(Stdio::piped));
        command.stderr(self.stderr.take().unwrap_or_else(Stdio::piped));
        Ok(command)
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Result<Init, Failure> {
        let mut command = self.command()?;
        Init::of(command.spawn().context(format!("cannot start {command:?}"))?, self.place, format!("{command:?}"))
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Result<Finished, Failure> {
        self.start()?.finish()
    }
}

/// What is left of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finished {
    /// The exit code; 128+n for one that signal n ended.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program under test that runs.
pub(crate) struct Init {
    child: Child,
    pidfd: OwnedFd,
    place: Place,
    pid: Option<i32>,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: Arc<Mutex<Vec<u8>>>,
    error_lines: Receiver<String>,
    shown: String,
    reported: Cell<bool>,
    patience: Duration,
}

impl Init {
    pub(crate) fn of(mut child: Child, place: Place, shown: String) -> Result<Init, Failure> {
        let pid = i32::try_from(child.id())?;
        let pidfd = process::pidfd_open(pid).context("cannot open a pidfd")?;
        let (send, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stdout);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                    if send.send(text).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
        let errors = Arc::new(Mutex::new(Vec::new()));
        let (send, error_lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            let kept = Arc::clone(&errors);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stderr);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    if let Ok(mut kept) = kept.lock() {
                        kept.extend_from_slice(&line);
                    }
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                    // Whoever looks only at the whole does not take the lines.
                    let _taken = send.send(text);
                    line.clear();
                }
            });
        }
        Ok(Init {
            child,
            pidfd,
            place,
            pid: None,
            lines,
            seen: Vec::new(),
            errors,
            error_lines,
            shown,
            reported: Cell::new(false),
            patience: DEADLINE,
        })
    }

    /// The pid of the program under test as seen from here.
    ///
    /// **Order:** after the first line of its child was seen, so that it exists.
    pub(crate) fn pid(&mut self) -> Result<i32, Failure> {
        if let Some(pid) = self.pid {
            return Ok(pid);
        }
        let outer = i32::try_from(self.child.id())?;
        let pid = match self.place {
            Place::Ordinary => outer,
            Place::First => match peek::children(outer).as_slice() {
                [pid] => *pid,
                other => return fail(format!("unshare has children {other:?}{}", self.report())),
            },
        };
        self.pid = Some(pid);
        Ok(pid)
    }

    /// The pid of what was started here: `unshare`, or the program under test itself.
    pub(crate) fn outer(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.child.id())?)
    }

    /// Sends the program under test a signal, from outside of its namespace.
    pub(crate) fn signal(&mut self, number: u8) -> Result<(), Failure> {
        let pid = self.pid()?;
        match process::signal(Target::Pid(pid), number) {
            Ok(()) => Ok(()),
            Err(error) => fail(format!("cannot send signal {number}: {error}{}", self.report())),
        }
    }

    /// Waits this long for lines from now on: for what takes long even when all is well.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        match self.lines.recv_timeout(self.patience) {
            Ok(line) => {
                self.seen.push(line.clone());
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) => fail(format!("no line came in {:?}{}", self.patience, self.report())),
            Err(RecvTimeoutError::Disconnected) => fail(format!("its output ended{}", self.report())),
        }
    }

    /// The next line that begins so; what follows the beginning.
    pub(crate) fn line_from(&mut self, beginning: &str) -> Result<String, Failure> {
        loop {
            let line = self.line().context(format!("waiting for \"{beginning}\""))?;
            if let Some(rest) = line.strip_prefix(beginning) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// Checks that the next line is this one.
    pub(crate) fn expect_line(&mut self, wanted: &str) -> Result<(), Failure> {
        let line = self.line().context(format!("waiting for \"{wanted}\""))?;
        if line == wanted {
            return Ok(());
        }
        fail(format!("the line is \"{line}\", not \"{wanted}\"{}", self.report()))
    }

    /// The next line of standard error that holds this.
    pub(crate) fn error_line_with(&mut self, wanted: &str) -> Result<String, Failure> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.error_lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return Ok(line),
                Ok(_) => {}
                Err(_) => return fail(format!("no line with \"{wanted}\" came on standard error{}", self.report())),
            }
        }
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.errors.lock().map(|errors| String::from_utf8_lossy(&errors).into_owned()).unwrap_or_default()
    }

    /// Its standard input, if a pipe.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The pids of its children, as seen from here.
    pub(crate) fn children(&mut self) -> Result<Vec<i32>, Failure> {
        Ok(peek::children(self.pid()?))
    }

    /// Whether it has ended by now.
    pub(crate) fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, and returns its exit code: 128+n if signal n ended it.
    pub(crate) fn wait(&mut self) -> Result<i32, Failure> {
        self.wait_at_most(DEADLINE)
    }

    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> Result<i32, Failure> {
        if !readable_within(&self.pidfd, limit)? {
            return fail(format!("it did not end in {limit:?}{}", self.report()));
        }
        Ok(code_of(self.child.wait()?))
    }

    /// Waits for its end and takes what it wrote.
    pub(crate) fn finish(mut self) -> Result<Finished, Failure> {
        let code = self.wait()?;
        let mut stdout = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => stdout.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return fail(format!("its output stays open{}", self.report())),
            }
        }
        loop {
            match self.error_lines.recv_timeout(DEADLINE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return fail(format!("its errors stay open{}", self.report())),
            }
        }
        Ok(Finished { code, stdout: stdout.join("\n"), stderr: self.stderr() })
    }

    /// Everything there is to know, for a failing test.
    pub(crate) fn report(&self) -> String {
        if self.reported.replace(true) {
            return String::new();
        }
        let pid = i32::try_from(self.child.id()).unwrap_or(0);
        let seen: Vec<String> = self.seen.iter().rev().take(30).rev().cloned().collect();
        format!(
            "\n--- started as\n{}\n--- last lines of standard output\n{}\n--- standard error\n{}\n--- processes\n{}---",
            self.shown,
            seen.join("\n"),
            self.stderr(),
            peek::tree(pid)
        )
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // libtest shows this only for a test that failed.
        println!("{}", self.report());
        if let (Place::Ordinary, Ok(pid)) = (self.place, i32::try_from(self.child.id())) {
            // The services of a supervisor that is not process 1 outlive it.
            for stat in peek::descendants(pid).into_iter().filter(|stat| stat.pid != pid) {
                let _gone = process::signal(Target::Pid(stat.pid), 9);
            }
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Waits until a descriptor can be read, or a process behind a pidfd has ended.
pub(crate) fn readable_within(descriptor: &OwnedFd, limit: Duration) -> Result<bool, Failure> {
    use hilum_sys::poll::{Slot, wait};
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut slots = [Slot::new(descriptor.as_fd(), true, false)];
        if wait(&mut slots, Some(left))? > 0 {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// Waits until a process, seen from here, has ended. One that is gone already has.
pub(crate) fn ended(pid: i32, limit: Duration) -> Result<bool, Failure> {
    match process::pidfd_open(pid) {
        Ok(pidfd) => readable_within(&pidfd, limit),
        Err(_) => Ok(true),
    }
}

/// Looks again and again, as often as the scheduler lets us, until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let until = Instant::now() + DEADLINE;
    while !holds()? {
        if Instant::now() > until {
            return fail(format!("{what}: not within {DEADLINE:?}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Lets time pass: for load that is spread over time, and for counting what happens in it. Never to wait for something.
pub(crate) fn pass(time: Duration) -> Result<(), Failure> {
    hilum_sys::poll::wait(&mut [], Some(time))?;
    Ok(())
}
