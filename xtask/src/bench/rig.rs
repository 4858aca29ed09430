//! One start of one contestant: gives orders to `rig` and reads what it says.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use crate::workspace;

/// How long anything but orphans may take. Far above all that is measured, supervisor's start included.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What rig or the child said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Just before the init's execve; its process in our pid namespace.
    Executed { at: u64, pid: u32 },
    /// A fact from the child, by its letter in `child.c`.
    Child { kind: char, at: u64 },
    /// Just before TERM was sent.
    Sent { at: u64 },
    /// The init has ended.
    Ended { at: u64, code: i32, cpu: u64 },
}

/// How a contestant is started.
#[derive(Debug)]
pub(super) struct Start {
    /// Its own folder, empty but for what its command needs.
    pub(super) folder: PathBuf,
    pub(super) command: Vec<OsString>,
    /// What the child does, as `child.c` lists it.
    pub(super) child: &'static str,
    /// In our own pid namespace, not as process 1.
    pub(super) host: bool,
}

/// A started contestant. Everything of it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Rig {
    process: Child,
    reports: Receiver<Result<Report, String>>,
    log: PathBuf,
    /// When the init was executed.
    pub(super) executed: u64,
    /// The init, in our pid namespace.
    pub(super) pid: u32,
}

impl Rig {
    pub(super) fn start(bench: &Bench, start: &Start) -> Result<Rig, String> {
        fs::create_dir_all(&start.folder)
            .map_err(|error| format!("cannot make {}: {error}", start.folder.display()))?;
        let mut command = Command::new(&bench.rig);
        if start.host {
            command.arg("--host");
        }
        if bench.first {
            command.arg("--first");
        }
        if let Some(cpu) = &bench.cpu {
            command.args(["--cpu", cpu]);
        }
        command
            .arg(&start.folder)
            .arg("--")
            .args(&start.command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("HOSTNAME", "bench")
            .env("BENCH_DIR", &start.folder)
            .env("BENCH_CHILD", start.child)
            .env("BENCH_COUNT", bench.orphans.to_string());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", workspace::shorten(&bench.rig)))?;
        let (sender, reports) = mpsc::channel();
        if let Some(output) = process.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    let report = line.map_err(|error| error.to_string()).and_then(|line| parse(&line));
                    if sender.send(report).is_err() {
                        return;
                    }
                }
            });
        }
        let mut rig = Rig { process, reports, log: start.folder.join("log"), executed: 0, pid: 0 };
        match rig.next(PATIENCE)? {
            Some(Report::Executed { at, pid }) => (rig.executed, rig.pid) = (at, pid),
            other => return Err(rig.complain(&format!("rig began with {other:?}"))),
        }
        Ok(rig)
    }

    /// Gives an order, by its letter in `rig.c`.
    pub(super) fn order(&mut self, letter: u8) -> Result<(), String> {
        let Some(input) = &mut self.process.stdin else { return Err(self.complain("rig takes no orders")) };
        let sent = input.write_all(&[letter]).and_then(|()| input.flush());
        sent.map_err(|error| self.complain(&format!("cannot give rig an order: {error}")))
    }

    /// The next report; `None` when there is none in time.
    ///
    /// **Errors:** rig is gone, or said what it never says.
    pub(super) fn next(&mut self, patience: Duration) -> Result<Option<Report>, String> {
        match self.reports.recv_timeout(patience) {
            Ok(report) => report.map(Some),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.complain("rig ended early")),
        }
    }

    /// When the child reported `wanted`, passing over other reports; `None` when it does not in time.
    ///
    /// **Errors:** the init ended before that.
    pub(super) fn child(&mut self, wanted: char, patience: Duration) -> Result<Option<u64>, String> {
        let end = Instant::now() + patience;
        loop {
            match self.next(end.saturating_duration_since(Instant::now()))? {
                Some(Report::Child { kind, at }) if kind == wanted => return Ok(Some(at)),
                Some(Report::Ended { code, .. }) => return Err(self.complain(&format!("it ended with {code}"))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Whether the init still runs, as far as has been told.
    pub(super) fn is_running(&mut self) -> bool {
        while let Ok(report) = self.reports.try_recv() {
            if matches!(report, Ok(Report::Ended { .. }) | Err(_)) {
                return false;
            }
        }
        true
    }

    /// A message, with the end of what the contestant wrote.
    pub(super) fn complain(&self, message: &str) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        let said: String = lines.iter().rev().map(|line| format!("\n  | {line}")).collect();
        format!("{message}; its output ends with:{}", if said.is_empty() { " (nothing)" } else { &said })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The end of its input is the order to kill; it fails only if rig is gone, and then so is everything else.
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

/// An empty folder for one start.
pub(super) fn folder(bench: &Bench, name: &str) -> Result<PathBuf, String> {
    let folder = bench.folder.join(name);
    workspace::clear(&folder)?;
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Writes a file into a start's folder.
pub(super) fn put(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    workspace::write(path, text.as_bytes(), mode)
}

fn parse(line: &str) -> Result<Report, String> {
    let mut words = line.split(' ');
    let strange = || format!("rig said \"{line}\"");
    let kind = words.next().unwrap_or_default();
    let mut numbers = words.map(str::parse::<u64>);
    let mut number = || numbers.next().and_then(Result::ok).ok_or_else(strange);
    let at = number()?;
    Ok(match kind {
        "exec" => Report::Executed { at, pid: u32::try_from(number()?).map_err(|_| strange())? },
        "sent" => Report::Sent { at },
        "ended" => Report::Ended { at, code: i32::try_from(number()?).map_err(|_| strange())?, cpu: number()? },
        letter => match letter.chars().next() {
            Some(kind) if letter.len() == 1 => Report::Child { kind, at },
            _ => return Err(strange()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{Report, parse};

    #[test]
    fn reads_what_rig_prints() {
        assert_eq!(parse("exec 12 34"), Ok(Report::Executed { at: 12, pid: 34 }));
        assert_eq!(parse("s 5"), Ok(Report::Child { kind: 's', at: 5 }));
        assert_eq!(parse("ended 9 130 1000"), Ok(Report::Ended { at: 9, code: 130, cpu: 1000 }));
        for line in ["", "exec", "exec 1", "strange 1", "s x", " 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
