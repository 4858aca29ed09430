//! `hilumc call`: one call, or many in a row, under the very limits and grants that hilum would use.

use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hilum_sandbox::call;
use hilum_sandbox::compile;
use hilum_sandbox::engine::Target;
use hilum_sandbox::host::Host;
use hilum_sandbox::load::{Order, Plugin};
use hilum_sandbox::run;
use hilum_sandbox::uplink::{Ran, Running, Uplink};
use hilum_sys::process::{Target as Whom, signal};
use hilum_wire::{Answer, Ask, Ending, FileGrant, Grants, Occurrence, Series, Subject};

use crate::component;
use crate::failure::Failure;

/// What a call is made with, as the command line says it.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) settings: String,
    pub(crate) connect: Vec<String>,
    pub(crate) resolve: Vec<String>,
    /// `PATH:ro` or `PATH:rw`.
    pub(crate) files: Vec<String>,
    pub(crate) env: Vec<String>,
    /// `NAME=COMMAND`
    pub(crate) exec: Vec<String>,
    pub(crate) processes: bool,
    pub(crate) service: Option<String>,
    /// `NAME` or `NAME=JSON`, for a callback.
    pub(crate) event: Option<String>,
    pub(crate) timeout_ms: u64,
    pub(crate) memory_kib: u64,
    pub(crate) repeat: u32,
    pub(crate) reuse_instances: bool,
}

/// Names of commands, and what is run by them.
type Commands = Vec<(String, Vec<String>)>;

impl Terms {
    /// The grants, and the commands behind those of `exec`.
    fn order(&self, name: String) -> Result<(Order, Commands), Failure> {
        let mut grants = Grants {
            connect: self.connect.clone(),
            resolve: self.resolve.clone(),
            processes: self.processes,
            ..Grants::default()
        };
        let mut files = Vec::new();
        for text in &self.files {
            let (path, write) = match text.rsplit_once(':') {
                Some((path, "ro")) => (path, false),
                Some((path, "rw")) => (path, true),
                _ => return Err(Failure::new(format!("--file {text:?}: write PATH:ro or PATH:rw"))),
            };
            let (root, rest) = hilum_sys::tree::root(Path::new(path))
                .map_err(|error| Failure::new(format!("--file {text:?}: cannot open it: {error}")))?;
            let rest = rest.to_string_lossy().into_owned();
            grants.files.push(FileGrant { path: path.to_owned(), rest, write });
            files.push(root);
        }
        grants.env = self.env.iter().map(|name| (name.clone(), std::env::var(name).ok())).collect();
        let mut commands = Vec::new();
        for text in &self.exec {
            let (name, line) =
                text.split_once('=').ok_or_else(|| Failure::new(format!("--exec {text:?}: write NAME=COMMAND")))?;
            grants.exec.push(name.to_owned());
            commands.push((name.to_owned(), line.split_whitespace().map(str::to_owned).collect()));
        }
        let memory = self.memory_kib.saturating_mul(1024);
        let reuse_instances = self.reuse_instances;
        Ok((Order { name, memory, reuse_instances, grants, files, ..Order::default() }, commands))
    }

    fn ask(&self, plugin: &Plugin) -> Ask {
        let settings = self.settings.clone();
        match &self.event {
            Some(event) => Ask::Notify { settings, attempt: 1, event: occurrence(event, self.service.as_deref()) },
            None if plugin.kinds().contains(&"probe") => Ask::Check { settings, attempt: 1 },
            None => Ask::Notify { settings, attempt: 1, event: occurrence("hilumc.call", self.service.as_deref()) },
        }
    }

    fn subject(&self) -> Option<Subject> {
        let pid = Some(std::process::id());
        self.service.as_ref().map(|name| Subject { name: name.clone(), run: 1, pid, starts: vec![0] })
    }
}

/// An event to try a callback with.
fn occurrence(text: &str, service: Option<&str>) -> Occurrence {
    let (name, body) = text.split_once('=').unwrap_or((text, "{}"));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let at = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    Occurrence {
        name: name.to_owned(),
        id: format!("hilumc-{}", std::process::id()),
        at,
        service: service.map(str::to_owned),
        body: body.to_owned(),
    }
}

/// Calls the component in `file` by `terms`. The report, and the code to end with.
pub(crate) fn call(file: &Path, terms: &Terms) -> Result<(String, u8), Failure> {
    let compiled = component::compile(file, &component::read(file)?, Target::native())?;
    let host = Host::new().map_err(|error| Failure::of(&error))?;
    let (order, commands) = terms.order(file.display().to_string())?;
    let terminal = Arc::new(Terminal { commands, used: Mutex::default() });
    let uplink = Arc::clone(&terminal) as Arc<dyn Uplink>;
    let plugin = compile::plugin(&host, order, &compiled, uplink).map_err(|error| Failure::new(error.to_string()))?;
    let mut times = Vec::new();
    let mut reused = 0;
    let call::Ended { answer, denied, .. } = run(async {
        loop {
            let began = Instant::now();
            let ended = call::ask(&plugin, terms.ask(&plugin), terms.timeout_ms, terms.subject()).await;
            times.push(began.elapsed());
            terminal.used(ended.used);
            reused += usize::from(ended.reused);
            if times.len() >= usize::try_from(terms.repeat).unwrap_or(usize::MAX).max(1) {
                break ended;
            }
        }
    })
    .map_err(|error| Failure::new(error.to_string()))?;
    let (word, why, code) = match answer {
        Answer::Pass => ("pass", String::new(), 0),
        Answer::Done(text) => ("done", text, 0),
        Answer::Fail(why) => ("fail", why, 1),
        Answer::Retry { why, after_ms: None } => ("retry", why, 1),
        Answer::Retry { why, after_ms: Some(ms) } => ("retry", format!("{why}; in {ms} ms at the earliest"), 1),
        Answer::Failed(why) => ("failed", why, 1),
        Answer::Unknown(why) => ("unknown", why, 2),
        Answer::Broken { kind, message } => ("broken", format!("{kind}: {message}"), 3),
        Answer::Judged(problems) => ("judged", format!("{} problems", problems.len()), 0),
    };
    let why = if why.is_empty() { why } else { format!(": {why}") };
    let calls = u32::try_from(times.len()).unwrap_or(u32::MAX).max(1);
    let used = lock(&terminal.used).as_secs_f64() * 1000.0 / f64::from(calls);
    let mut report = format!("{word}{why} ({}; {used:.3} ms of a processor a call)\n", spread(times));
    if terms.reuse_instances {
        let _ = writeln!(report, "{reused} of the calls were served by an instance that had served one before");
    }
    if denied > 0 {
        let _ = writeln!(report, "denied {denied} times; the lines above say what to grant");
    }
    Ok((report, code))
}

/// One time, or how many spread.
fn spread(mut times: Vec<Duration>) -> String {
    let ms = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64) * 1000.0;
    if times.len() == 1 {
        return format!("{:.3} ms", ms(times.first()));
    }
    let first = ms(times.first());
    times.sort_unstable();
    let at = |part: usize| ms(times.get((times.len() * part / 100).min(times.len() - 1)));
    format!(
        "{} calls: first {first:.3} ms, least {:.3}, half {:.3}, 99 of 100 {:.3}",
        times.len(),
        at(0),
        at(50),
        at(99)
    )
}

/// What PID 1 is to a plugin, for one call by hand.
pub(crate) struct Terminal {
    commands: Commands,
    /// Processor time of all calls.
    used: Mutex<Duration>,
}

impl Terminal {
    /// One that runs nothing.
    pub(crate) fn without_commands() -> Arc<dyn Uplink> {
        Arc::new(Terminal { commands: Vec::new(), used: Mutex::default() })
    }
}

impl Uplink for Terminal {
    fn log(&self, level: &'static str, line: String) {
        eprintln!("{level}: {line}");
    }

    fn used(&self, time: Duration) {
        *lock(&self.used) += time;
    }

    fn keep(&self, _: &str, _: Option<&[u8]>) {}

    fn show(&self, series: Series) {
        let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        eprintln!("metric: {}{{{}}} {}", series.name, labels.join(","), series.value);
    }

    fn run(&self, command: &str) -> Running {
        let words = self.commands.iter().find(|(name, _)| name == command).map(|(_, words)| words.clone());
        Box::pin(Errand::start(&words.unwrap_or_default()))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that runs in a thread of its own, so that the call's time goes on. Dropped, it is killed.
struct Errand {
    shared: Arc<Mutex<Shared>>,
    pid: Option<u32>,
}

#[derive(Default)]
struct Shared {
    ran: Option<Ran>,
    waker: Option<Waker>,
}

impl Errand {
    fn start(words: &[String]) -> Errand {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let refused =
            |why: String| Ran { ending: Ending::Refused(why), stdout: Vec::new(), stderr: Vec::new(), cut: false };
        let Some((program, arguments)) = words.split_first() else {
            lock(&shared).ran = Some(refused("no such command; name it with --exec NAME=COMMAND".to_owned()));
            return Errand { shared, pid: None };
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                lock(&shared).ran = Some(refused(format!("cannot execute {program}: {error}")));
                return Errand { shared, pid: None };
            }
        };
        let pid = child.id();
        let telling = Arc::clone(&shared);
        std::thread::spawn(move || {
            let ran = match child.wait_with_output() {
                Ok(output) => {
                    Ran { ending: ending(output.status), stdout: output.stdout, stderr: output.stderr, cut: false }
                }
                Err(error) => refused(format!("cannot wait for it: {error}")),
            };
            let mut shared = lock(&telling);
            shared.ran = Some(ran);
            if let Some(waker) = shared.waker.take() {
                waker.wake();
            }
        });
        Errand { shared, pid: Some(pid) }
    }
}

impl Future for Errand {
    type Output = Ran;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ran> {
        let mut shared = lock(&self.shared);
        match shared.ran.take() {
            Some(ran) => {
                drop(shared);
                self.pid = None;
                Poll::Ready(ran)
            }
            None => {
                shared.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended just now; then there is nothing to kill.
            let _ = signal(Whom::Pid(pid), KILL);
        }
    }
}

/// SIGKILL. **Source:** signal(7).
const KILL: u8 = 9;

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => Ending::Signaled(u8::try_from(signal.unwrap_or(0)).unwrap_or(u8::MAX)),
    }
}
