//! One frame of each kind, with something in every place.

use hilum_wire::{
    Answer, Ask, Ending, ExitReport, FileGrant, FromSandbox, FromStatus, Grants, LoadFailure, Mode, Occurrence, Octets,
    Overview, PluginInfo, PluginReport, PluginState, ProbeReport, Problem, RunReport, Series, ServiceReport, Subject,
    ToSandbox, ToStatus, VERSION, WorkerReport, encode,
};
use serde::Serialize;

/// Names and frames. No two names are the same.
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    add(&mut all, "to-status", &to_status());
    add(&mut all, "from-status", &from_status());
    add(&mut all, "to-sandbox", &to_sandbox());
    add(&mut all, "from-sandbox", &from_sandbox());
    all
}

fn add<T: Serialize>(all: &mut Vec<(String, Vec<u8>)>, direction: &str, messages: &[T]) {
    for (number, message) in messages.iter().enumerate() {
        all.push((format!("{direction}-{number:02}"), encode(message).expect("a sample is too long")));
    }
}

/// From PID 1 to `status`.
pub fn to_status() -> Vec<ToStatus> {
    vec![
        ToStatus::Hello { version: VERSION },
        ToStatus::Overview(Box::new(overview())),
        ToStatus::Service { index: 1, report: Box::new(service()) },
        ToStatus::Measured { index: 2, series: vec![series()] },
        ToStatus::Pong { nonce: u64::MAX },
    ]
}

/// From `status` to PID 1.
pub fn from_status() -> Vec<FromStatus> {
    vec![
        FromStatus::Hello { version: VERSION, refused: vec!["landlock: no".to_owned()] },
        FromStatus::Ping { nonce: 1 },
    ]
}

/// From PID 1 to a sandbox.
pub fn to_sandbox() -> Vec<ToSandbox> {
    let mut messages = vec![
        ToSandbox::Hello { version: VERSION },
        ToSandbox::Restore { plugin: 1, key: "k".to_owned(), value: Octets(vec![0, 0xff]) },
        ToSandbox::Load {
            plugin: 1,
            name: "p".to_owned(),
            sha256: Some("0123456789abcdef".repeat(4)),
            part: Some((4096, 1)),
            memory: 4 << 20,
            reuse_instances: true,
            grants: grants(),
        },
        ToSandbox::Seal,
        ToSandbox::Started { id: 1 },
        ToSandbox::Cancel { id: 1 },
    ];
    let endings =
        [Ending::Exited(3), Ending::Signaled(9), Ending::TimedOut, Ending::Refused("no such file".to_owned())];
    messages.extend(endings.map(|ending| ToSandbox::Ran { id: 1, ending }));
    let settings = || r#"{"url":"http://a/\u0000"}"#.to_owned();
    let event = Occurrence {
        name: "service.ready".to_owned(),
        id: "1".to_owned(),
        at: 1,
        service: Some("web".to_owned()),
        body: "{}".to_owned(),
    };
    let asks = [
        Ask::Check { settings: settings(), attempt: 1 },
        Ask::Notify { settings: settings(), attempt: 2, event },
        Ask::CheckSettings { settings: settings() },
    ];
    messages.extend(asks.map(|ask| {
        let service = Some(Subject { name: "web".to_owned(), run: 1, pid: Some(7), starts: vec![0, 5] });
        ToSandbox::Call { id: 1, plugin: 1, ask, timeout_ms: 1000, service }
    }));
    messages
}

/// From a sandbox to PID 1.
pub fn from_sandbox() -> Vec<FromSandbox> {
    let text = |text: &str| text.to_owned();
    let mut messages = vec![
        FromSandbox::Hello { version: VERSION, refused: vec![text("seccomp: no")] },
        FromSandbox::Loaded {
            plugin: 1,
            info: PluginInfo { name: text("n"), version: text("1"), kinds: vec![text("probe")] },
        },
        FromSandbox::LoadFailed {
            plugin: 1,
            failure: LoadFailure { kind: text("digest"), message: text("another file") },
        },
        FromSandbox::Used { plugin: 1, us: 1000 },
        FromSandbox::Sealed { refused: vec![text("landlock: no")] },
        FromSandbox::Keep { plugin: 1, key: text("k"), value: Some(Octets(vec![1])) },
        FromSandbox::Measured { plugin: 1, series: series() },
        FromSandbox::Run { id: 1, plugin: 1, command: text("reload") },
        FromSandbox::StopRun { id: 1 },
        FromSandbox::Log { plugin: 1, level: text("info"), message: text("h\u{e9}") },
    ];
    let answers = [
        Answer::Pass,
        Answer::Fail(text("no")),
        Answer::Unknown(text("what?")),
        Answer::Done(text("taken")),
        Answer::Retry { why: text("busy"), after_ms: Some(5) },
        Answer::Failed(text("never")),
        Answer::Judged(vec![Problem { path: text("/url"), message: text("missing") }]),
        Answer::Broken { kind: text("trap"), message: text("unreachable") },
    ];
    messages.extend(answers.map(|answer| FromSandbox::Answered { id: 1, answer, denied: 1, took_us: 5, used_us: 4 }));
    messages
}

fn grants() -> Grants {
    Grants {
        connect: vec!["127.0.0.1:80".to_owned(), "unix:/s".to_owned()],
        resolve: vec!["*.a".to_owned()],
        files: vec![FileGrant { path: "/a/b".to_owned(), rest: "b".to_owned(), write: true }],
        env: vec![("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)],
        exec: vec!["reload".to_owned()],
        processes: true,
    }
}

fn series() -> Series {
    Series {
        name: "a".to_owned(),
        labels: vec![("l".to_owned(), "v".to_owned())],
        counter: true,
        value: 1.071_566_039_146_582_6e-75,
    }
}

fn overview() -> Overview {
    Overview {
        mode: Mode::Up,
        version: "0.1.0".to_owned(),
        cmdline: vec!["hilum".to_owned(), "up".to_owned()],
        phase: "running".to_owned(),
        ready: true,
        started: true,
        alive: true,
        sidebind_port: 80,
        since: 1,
        services: 1,
        complete: true,
        plugins: vec![PluginReport {
            name: "p".to_owned(),
            state: PluginState::Quarantined,
            message: "three in a row".to_owned(),
            kinds: vec!["probe".to_owned()],
            ..PluginReport::default()
        }],
        workers: vec![WorkerReport { role: "status".to_owned(), pid: Some(2), ..WorkerReport::default() }],
        log_dropped: 1,
        orphans_reaped: 1,
    }
}

fn service() -> ServiceReport {
    let exit = || ExitReport { code: 143, signal: Some("TERM".to_owned()), cause: Some("ttl".to_owned()) };
    ServiceReport {
        name: "web".to_owned(),
        command: "/app".to_owned(),
        arguments: Some(vec!["-v".to_owned()]),
        state: "up".to_owned(),
        running: true,
        pid: Some(7),
        last_exit: Some(exit()),
        probes: vec![ProbeReport { name: "p".to_owned(), passing: Some(true), ..ProbeReport::default() }],
        history: vec![RunReport { run: 1, started_at: 1, ended_at: 2, exit: exit() }],
        ..ServiceReport::default()
    }
}
