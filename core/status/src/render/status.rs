//! `/status`: everything, typed and versioned. Keys are snake_case, durations name their unit (`_ms`, `_us`, `_s`, `_ns`), moments are
//! RFC 3339 in UTC or `null`: nanosecond counts would not survive a JavaScript reader.
//!
//! **The law:** within a version members are added, never renamed, retyped or dropped.

use hilum_wire::{ExitReport, PluginState, ProbeReport, RunReport};

use super::json::Json;
use super::kapo;
use crate::snapshot::{Answer, Service, View};
use crate::time::rfc3339;
use crate::traffic::Traffic;

/// The version of the document.
const VERSION: u8 = 1;

/// Everything.
pub(crate) fn document(view: View<'_>, traffic: &Traffic, now: u64) -> String {
    let overview = view.overview;
    let mut json = Json::default();
    json.object(|json| {
        json.key("version").number(VERSION);
        json.key("hilum").string(&overview.version);
        json.key("mode").string(kapo::mode(overview.mode));
        json.key("now").string(&rfc3339(now));
        json.key("since").string(&rfc3339(overview.since));
        json.key("uptime_ms").number(millis(overview.since, now));
        json.key("phase").string(&overview.phase);
        json.key("ready").boolean(overview.ready);
        json.key("started").boolean(overview.started);
        json.key("alive").boolean(overview.alive);
        json.key("services").array(view.services(), |json, one| write_service(json, one, now));
        json.key("plugins").array(&overview.plugins, |json, plugin| {
            json.object(|json| {
                json.key("name").string(&plugin.name);
                json.key("state").string(plugin_state(plugin.state));
                json.key("message").string(&plugin.message);
                json.key("calls").number(plugin.calls);
                json.key("broken").number(plugin.broken);
                json.key("denied").number(plugin.denied);
                json.key("cpu_us").number(plugin.cpu_us);
                json.key("kinds").array(&plugin.kinds, |json, kind| json.string(kind));
            });
        });
        json.key("workers").array(&overview.workers, |json, worker| {
            json.object(|json| {
                json.key("role").string(&worker.role);
                json.key("pid").optional(worker.pid, Json::number);
                json.key("replaced").number(worker.replaced);
                json.key("refused").array(&worker.refused, |json, what| json.string(what));
            });
        });
        json.key("log_lines_dropped").number(overview.log_dropped);
        json.key("orphans_reaped").number(overview.orphans_reaped);
        json.key("sidebind_port").number(overview.sidebind_port);
        json.key("http").object(|json| {
            json.key("connections_open").number(count(traffic.open));
            json.key("connections_limit").number(count(traffic.limit));
            json.key("requests_held").number(count(traffic.held));
            json.key("connections_accepted").number(traffic.accepted);
            json.key("connections_dropped").number(traffic.dropped);
            json.key("accept_errors").number(traffic.accept_errors);
            json.key("answers").object(|json| {
                for (status, answers) in &traffic.answers {
                    json.key(&status.to_string()).number(*answers);
                }
            });
        });
    });
    json.space("\n");
    json.finish()
}

/// One service, as in `services` of the whole.
pub(crate) fn service(service: &Service, now: u64) -> String {
    let mut json = Json::default();
    write_service(&mut json, service, now);
    json.space("\n");
    json.finish()
}

/// The word for a plugin's state.
pub(crate) fn plugin_state(state: PluginState) -> &'static str {
    match state {
        PluginState::Loading => "loading",
        PluginState::Ready => "ready",
        PluginState::Refused => "refused",
        PluginState::Quarantined => "quarantined",
    }
}

fn write_service(json: &mut Json, service: &Service, now: u64) {
    let report = &service.report;
    json.object(|json| {
        json.key("name").string(&report.name);
        json.key("state").string(&report.state);
        json.key("running").boolean(report.running);
        json.key("ready").boolean(report.ready);
        json.key("pid").optional(report.pid, Json::number);
        json.key("run").number(report.run);
        json.key("command").string(&report.command);
        json.key("arguments").optional(report.arguments.as_ref(), |json, words| {
            json.array(words, |json, word| json.string(word));
        });
        json.key("started_at").optional(report.started_at, write_time);
        json.key("ended_at").optional(report.ended_at, write_time);
        let running_since = report.started_at.filter(|_| report.running);
        json.key("uptime_ms").optional(running_since, |json, since| json.number(millis(since, now)));
        json.key("last_exit").optional(report.last_exit.as_ref(), write_exit);
        json.key("restarts").number(report.restarts);
        json.key("restart_at").optional(report.restart_at, write_time);
        json.key("spawn_failure").optional(report.spawn_failure.as_deref(), Json::string);
        json.key("ttl_s").number(report.ttl_s);
        json.key("wait_ns").number(report.wait_ns);
        json.key("probes").array(report.probes.iter().zip(&service.answers), |json, (probe, answers)| {
            write_probe(json, probe, answers);
        });
        json.key("history").array(&report.history, write_run);
    });
}

fn write_probe<'a>(json: &mut Json, probe: &ProbeReport, answers: impl IntoIterator<Item = &'a Answer>) {
    json.object(|json| {
        json.key("name").string(&probe.name);
        json.key("kind").string(&probe.kind);
        json.key("plugin").string(&probe.plugin);
        json.key("passing").optional(probe.passing, Json::boolean);
        let last = Some(probe.last.as_str()).filter(|last| !last.is_empty());
        json.key("last").optional(last, Json::string);
        json.key("message").string(&probe.message);
        json.key("passes").number(probe.passes);
        json.key("failures").number(probe.failures);
        json.key("unknowns").number(probe.unknowns);
        json.key("duration_us").number(probe.took_us);
        json.key("answered").number(probe.answered);
        json.key("history").array(answers, |json, answer| {
            json.object(|json| {
                json.key("at").string(&rfc3339(answer.at));
                json.key("outcome").string(answer.outcome.as_str());
                json.key("duration_us").number(answer.took_us);
            });
        });
    });
}

fn write_run(json: &mut Json, run: &RunReport) {
    json.object(|json| {
        json.key("run").number(run.run);
        json.key("started_at").string(&rfc3339(run.started_at));
        json.key("ended_at").string(&rfc3339(run.ended_at));
        json.key("duration_ms").number(millis(run.started_at, run.ended_at));
        json.key("exit");
        write_exit(json, &run.exit);
    });
}

fn write_exit(json: &mut Json, exit: &ExitReport) {
    json.object(|json| {
        json.key("code").number(exit.code);
        json.key("signal").optional(exit.signal.as_deref(), Json::string);
        json.key("cause").optional(exit.cause.as_deref(), Json::string);
    });
}

fn write_time(json: &mut Json, nanos: u64) {
    json.string(&rfc3339(nanos));
}

/// From one moment to another; 0 where the clock was set back between them.
fn millis(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / 1_000_000
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here has failed")]

    use super::{document, service};
    use crate::render::sample::snapshot;
    use crate::traffic::Traffic;

    #[test]
    fn everything_is_there_with_its_type() {
        let snapshot = snapshot();
        let mut traffic = Traffic { open: 2, limit: 1024, ..Traffic::default() };
        traffic.count(200);
        traffic.count(404);
        traffic.count(200);
        let text = document(snapshot.view().unwrap(), &traffic, 1_700_000_003_500_000_000);
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["version"], 1);
        assert_eq!(status["uptime_ms"], 3_500);
        assert_eq!(status["ready"], false);
        assert_eq!(status["http"]["answers"]["200"], 2);
        let web = &status["services"][0];
        assert_eq!(web["pid"], 7);
        assert_eq!(web["started_at"], "2023-11-14T22:13:21.25Z");
        assert_eq!(web["last_exit"]["signal"], "SIGKILL");
        assert_eq!(web["probes"][0]["passing"], false);
        assert_eq!(web["probes"][0]["history"][0]["outcome"], "fail");
        assert_eq!(web["probes"][1]["last"], serde_json::Value::Null);
        assert_eq!(web["history"][0]["duration_ms"], 1_000);
        assert_eq!(status["services"][1]["pid"], serde_json::Value::Null);
        assert_eq!(status["plugins"][0]["state"], "quarantined");
        assert_eq!(status["workers"][1]["replaced"], 2);
        assert_eq!(status["workers"][1]["refused"], serde_json::json!(["user: not permitted"]));
        let view = snapshot.view().unwrap();
        let one = service(view.service("web").unwrap(), 1_700_000_003_500_000_000);
        assert_eq!(&serde_json::from_str::<serde_json::Value>(&one).unwrap(), web);
    }
}
