//! A snapshot with one of everything, for the tests of the renderers.

use hilum_wire::{
    ExitReport, Mode, Overview, PluginReport, PluginState, ProbeReport, RunReport, Series, ServiceReport, WorkerReport,
};

use crate::snapshot::Snapshot;

const SECOND: u64 = 1_000_000_000;
const SINCE: u64 = 1_700_000_000 * SECOND;

pub(super) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set_overview(Box::new(Overview {
        mode: Mode::Up,
        version: "0.1.0".into(),
        cmdline: vec!["hilum".into(), "up".into()],
        phase: "running".into(),
        alive: true,
        since: SINCE,
        services: 2,
        complete: true,
        plugins: vec![PluginReport {
            name: "probe-http".into(),
            state: PluginState::Quarantined,
            message: "trapped three times in a row".into(),
            calls: 9,
            broken: 3,
            denied: 2,
            cpu_us: 4_500,
            kinds: vec!["probe".into()],
        }],
        workers: vec![
            WorkerReport { role: "status".into(), pid: Some(2), replaced: 0, refused: Vec::new() },
            WorkerReport {
                role: "sandbox".into(),
                pid: Some(3),
                replaced: 2,
                refused: vec!["user: not permitted".into()],
            },
            WorkerReport { role: "sandbox".into(), pid: None, replaced: 1, refused: Vec::new() },
        ],
        ..Overview::default()
    }));
    let counted =
        Series { name: "asked".into(), labels: vec![("of".into(), "a\"b".into())], counter: true, value: 7.0 };
    let other_kind = Series { counter: false, ..counted.clone() };
    let measured = Series { name: "depth".into(), value: 0.5, ..Series::default() };
    snapshot.set_series(0, vec![counted, other_kind, measured]);
    let killed = ExitReport { code: 137, signal: Some("SIGKILL".into()), cause: Some("probe live".into()) };
    snapshot.set_service(
        0,
        ServiceReport {
            name: "web".into(),
            command: "/app/web".into(),
            arguments: Some(vec!["--port".into(), "8080".into()]),
            state: "up".into(),
            running: true,
            run: 5,
            pid: Some(7),
            started_at: Some(SINCE + SECOND * 5 / 4),
            ended_at: Some(SINCE + SECOND),
            last_exit: Some(killed.clone()),
            restarts: 4,
            probes: vec![
                ProbeReport {
                    name: "http".into(),
                    kind: "readiness".into(),
                    plugin: "probe-http".into(),
                    passing: Some(false),
                    last: "fail".into(),
                    message: "connection refused".into(),
                    failures: 3,
                    took_us: 1_250,
                    answered: 3,
                    ..ProbeReport::default()
                },
                ProbeReport { name: "tcp".into(), kind: "liveness".into(), ..ProbeReport::default() },
            ],
            history: vec![RunReport { run: 4, started_at: SINCE, ended_at: SINCE + SECOND, exit: killed }],
            ..ServiceReport::default()
        },
        SINCE + 2 * SECOND,
    );
    let hostile = ServiceReport { name: "d\"b\\\n".into(), state: "down".into(), ..ServiceReport::default() };
    snapshot.set_service(1, hostile, 0);
    snapshot
}
