//! `/`: kapo's array, key for key and in its order, with nothing added, for readers that know no other.

use hilum_wire::{Mode, ServiceReport};

use super::json::Json;
use crate::snapshot::View;
use crate::time::{GO_ZERO, rfc3339};

/// The array. No newline at its end, as kapo's has none.
pub(crate) fn array(view: View<'_>) -> String {
    let mut json = Json::default();
    json.array(view.services(), |json, service| {
        let report = &service.report;
        json.object(|json| {
            json.key("Arguments").optional(report.arguments.as_ref(), |json, words| {
                json.array(words, |json, word| json.string(word));
            });
            json.key("Command").string(&report.command);
            json.key("EndTime").string(&time(report.ended_at));
            json.key("ExitCode").number(exit_code(report));
            json.key("Mode").string(mode(view.overview.mode));
            json.key("SidebindPort").number(view.overview.sidebind_port);
            json.key("StartTime").string(&time(report.started_at));
            json.key("Status").string(status(report));
            json.key("TTL").number(report.ttl_s);
            json.key("Wait").number(report.wait_ns);
        });
    });
    json.finish()
}

/// The word for a mode, kapo's where it has one.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Run => "run",
        Mode::Supervise => "supervise",
        Mode::Watch => "watch",
        Mode::Up => "up",
    }
}

fn time(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| GO_ZERO.to_owned(), rfc3339)
}

/// 0 while it runs, -1 for a signal or a command that could not be started, else the code.
fn exit_code(report: &ServiceReport) -> i16 {
    match &report.last_exit {
        _ if report.running => 0,
        _ if report.spawn_failure.is_some() => -1,
        Some(exit) if exit.signal.is_some() => -1,
        Some(exit) => exit.code.into(),
        None => 0,
    }
}

/// `killed` says that the end was our doing: the time to live, a probe or a stop.
fn status(report: &ServiceReport) -> &'static str {
    if report.running {
        "running"
    } else if report.last_exit.as_ref().is_some_and(|exit| exit.cause.is_some()) {
        "killed"
    } else {
        "stopped"
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

    use super::array;
    use crate::snapshot::Snapshot;
    use hilum_wire::{ExitReport, Mode, Overview, ServiceReport};

    fn render(overview: Overview, reports: Vec<ServiceReport>) -> String {
        let mut snapshot = Snapshot::default();
        let services = u16::try_from(reports.len()).unwrap();
        snapshot.set_overview(Box::new(Overview { services, complete: true, ..overview }));
        for (index, report) in (0..).zip(reports) {
            snapshot.set_service(index, report, 0);
        }
        array(snapshot.view().unwrap())
    }

    #[test]
    fn a_running_service_is_kapos_object_byte_for_byte() {
        let report = ServiceReport {
            name: "main".into(),
            command: "sleep".into(),
            arguments: Some(vec!["5".into(), "a<b>&\"c\"".into()]),
            running: true,
            started_at: Some(1_000_000_000_120_000_000),
            last_exit: Some(ExitReport { code: 7, ..ExitReport::default() }),
            ttl_s: 30,
            wait_ns: 2_000_000_000,
            ..ServiceReport::default()
        };
        let overview = Overview { mode: Mode::Supervise, sidebind_port: 6667, ..Overview::default() };
        assert_eq!(
            render(overview, vec![report]),
            concat!(
                r#"[{"Arguments":["5","a\u003cb\u003e\u0026\"c\""],"Command":"sleep","EndTime":"0001-01-01T00:00:00Z","#,
                r#""ExitCode":0,"Mode":"supervise","SidebindPort":6667,"StartTime":"2001-09-09T01:46:40.12Z","#,
                r#""Status":"running","TTL":30,"Wait":2000000000}]"#
            )
        );
    }

    #[test]
    fn ends_are_told_apart() {
        let ended = |code, signal: Option<&str>, cause: Option<&str>| {
            let exit = ExitReport { code, signal: signal.map(Into::into), cause: cause.map(Into::into) };
            let report = ServiceReport { last_exit: Some(exit), ..ServiceReport::default() };
            let text = render(Overview::default(), vec![report]);
            let part = |key: &str| text.split(key).nth(1).unwrap().split(',').next().unwrap().to_owned();
            (part("\"ExitCode\":"), part("\"Status\":"))
        };
        assert_eq!(ended(3, None, None), ("3".into(), "\"stopped\"".into()));
        assert_eq!(ended(139, Some("SIGSEGV"), None), ("-1".into(), "\"stopped\"".into()));
        assert_eq!(ended(143, Some("SIGTERM"), Some("ttl")), ("-1".into(), "\"killed\"".into()), "kapo defect 10");
        assert_eq!(ended(0, None, Some("shutdown")), ("0".into(), "\"killed\"".into()));
    }

    #[test]
    fn watch_may_find_none_or_many() {
        let overview = || Overview { mode: Mode::Watch, ..Overview::default() };
        assert_eq!(render(overview(), vec![]), "[]");
        let text = render(overview(), vec![ServiceReport::default(), ServiceReport::default()]);
        assert_eq!(text.matches("{\"Arguments\":null,\"Command\":").count(), 2);
        assert_eq!(text.matches("\"Status\":\"stopped\"").count(), 2);
    }
}
