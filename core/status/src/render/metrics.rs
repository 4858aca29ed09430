//! `/metrics`: the Prometheus text format 0.0.4, or OpenMetrics 1.0 for those who ask for it.
//!
//! The two differ in three things only: where a counter's `_total` is said, the end mark, and what is escaped in help texts (ours need
//! no escaping). A series appears once: what the same labels are reported for twice is left out the second time, for one duplicate makes a
//! reader refuse the whole page.

use std::collections::{BTreeMap, BTreeSet};

use hilum_wire::{Mode, PluginState, ProbeReport};

use super::kapo;
use super::status::plugin_state;
use crate::snapshot::{Service, View};
use crate::time::seconds;
use crate::traffic::Traffic;

/// How the text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Prometheus 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

const STATES: [&str; 8] = ["down", "starting", "up", "stopping", "killed", "sweeping", "backing-off", "ended"];
const PHASES: [&str; 4] = ["running", "stopping", "lingering", "done"];
const PLUGIN_STATES: [PluginState; 4] =
    [PluginState::Loading, PluginState::Ready, PluginState::Refused, PluginState::Quarantined];

/// Metrics of everything.
pub(crate) fn everything(view: View<'_>, traffic: &Traffic, format: Format) -> String {
    let mut page = Page::new(format);
    let overview = view.overview;
    page.gauge("hilum_build_info", "Version and mode of the hilum that runs as PID 1; always 1.");
    page.sample(&[("version", &overview.version), ("mode", kapo::mode(overview.mode))], 1);
    page.gauge("hilum_up", "Whether PID 1 has reported to the status worker.");
    page.sample(&[], 1);
    page.gauge("hilum_alive", "Whether no service has failed for good and no stop is under way.");
    page.sample(&[], u8::from(overview.alive));
    page.gauge("hilum_ready", "Whether every service takes work and no stop is under way.");
    page.sample(&[], u8::from(overview.ready));
    page.gauge("hilum_started", "Whether every service has started once.");
    page.sample(&[], u8::from(overview.started));
    page.gauge("hilum_phase", "Where the container is in its life: 1 for the present phase, 0 for the others.");
    for phase in PHASES {
        page.sample(&[("phase", phase)], u8::from(overview.phase == phase));
    }
    page.gauge("hilum_start_time_seconds", "When PID 1 began, in seconds since 1970.");
    page.sample(&[], seconds(overview.since));
    page.counter("hilum_log_lines_dropped", "Log lines dropped because standard error stalled.");
    page.sample(&[], overview.log_dropped);
    page.counter("hilum_orphans_reaped", "Processes reaped that were no service of the plan.");
    page.sample(&[], overview.orphans_reaped);

    write_services(&mut page, &Labelled::all(view));

    page.gauge("hilum_plugin_state", "State of the plugin: 1 for the present one, 0 for the others.");
    for plugin in &overview.plugins {
        for state in PLUGIN_STATES {
            let labels = [("plugin", plugin.name.as_str()), ("state", plugin_state(state))];
            page.sample(&labels, u8::from(plugin.state == state));
        }
    }
    page.counter("hilum_plugin_calls", "Calls the plugin answered.");
    for plugin in &overview.plugins {
        page.sample(&[("plugin", &plugin.name)], plugin.calls);
    }
    page.counter("hilum_plugin_broken_calls", "Calls that ended in a trap, a missed deadline or a lost worker.");
    for plugin in &overview.plugins {
        page.sample(&[("plugin", &plugin.name)], plugin.broken);
    }
    page.counter("hilum_plugin_denied", "Times the plugin asked for what the plan does not grant.");
    for plugin in &overview.plugins {
        page.sample(&[("plugin", &plugin.name)], plugin.denied);
    }
    page.counter(
        "hilum_plugin_cpu_seconds",
        "Processor time of the plugin's calls, the host's work for them included.",
    );
    for plugin in &overview.plugins {
        page.sample(&[("plugin", &plugin.name)], seconds(plugin.cpu_us.saturating_mul(1_000)));
    }
    write_series(&mut page, view);

    let roles: BTreeSet<&str> = overview.workers.iter().map(|worker| worker.role.as_str()).collect();
    let of_role = |role| overview.workers.iter().filter(move |worker| worker.role == role);
    page.gauge("hilum_workers", "Worker processes that run, by role.");
    for role in &roles {
        page.sample(&[("role", role)], of_role(*role).filter(|worker| worker.pid.is_some()).count());
    }
    page.counter("hilum_workers_replaced", "Worker processes that were lost and replaced, by role.");
    for role in &roles {
        page.sample(&[("role", role)], of_role(*role).map(|worker| worker.replaced).sum::<u64>());
    }

    page.counter(
        "hilum_http_responses",
        "Answers given on the status sockets since this worker began, by status code.",
    );
    for (status, answers) in &traffic.answers {
        page.sample(&[("code", &status.to_string())], answers);
    }
    page.gauge("hilum_http_connections_open", "Connections to the status sockets.");
    page.sample(&[], traffic.open);
    page.gauge("hilum_http_connections_limit", "Connections to the status sockets there is room for.");
    page.sample(&[], traffic.limit);
    page.gauge("hilum_http_requests_held", "Requests that wait for something to become true.");
    page.sample(&[], traffic.held);
    page.counter("hilum_http_connections_accepted", "Connections accepted since this worker began.");
    page.sample(&[], traffic.accepted);
    page.counter("hilum_http_connections_dropped", "Idle connections dropped to make room since this worker began.");
    page.sample(&[], traffic.dropped);
    page.counter("hilum_http_accept_errors", "Failures to accept a connection since this worker began.");
    page.sample(&[], traffic.accept_errors);
    page.finish()
}

/// What plugins measured. Two plugins may use one name; where one counts and the other does not, the first is shown.
fn write_series(page: &mut Page, view: View<'_>) {
    let mut families: BTreeMap<&str, (bool, Vec<_>)> = BTreeMap::new();
    for (plugin, series) in view.series() {
        let (counter, samples) = families.entry(&series.name).or_insert((series.counter, Vec::new()));
        if *counter == series.counter {
            samples.push((plugin, series));
        }
    }
    for (name, (counter, samples)) in families {
        let name = format!("hilum_plugin_metric_{name}");
        if counter {
            page.counter(&name, "Counted by plugins.");
        } else {
            page.gauge(&name, "Measured by plugins.");
        }
        for (plugin, series) in samples {
            let own = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels: Vec<_> = std::iter::once(("plugin", plugin)).chain(own).collect();
            page.sample(&labels, series.value);
        }
    }
}

/// Metrics of one service.
pub(crate) fn one(view: View<'_>, service: &Service, format: Format) -> String {
    let mut page = Page::new(format);
    write_services(&mut page, &[Labelled::new(view, service)]);
    page.finish()
}

/// A service and how its series are told from others.
struct Labelled<'a> {
    service: &'a Service,
    pid: Option<String>,
}

impl<'a> Labelled<'a> {
    /// In `watch` several processes may share a name; there the pid is a label too.
    fn new(view: View<'a>, service: &'a Service) -> Labelled<'a> {
        let pid = service.report.pid.filter(|_| view.overview.mode == Mode::Watch);
        Labelled { service, pid: pid.map(|pid| pid.to_string()) }
    }

    fn all(view: View<'a>) -> Vec<Labelled<'a>> {
        view.services().map(|service| Labelled::new(view, service)).collect()
    }

    fn labels<'b>(&'b self, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let own = [("service", self.service.report.name.as_str())];
        let pid = self.pid.as_deref().map(|pid| ("pid", pid));
        own.into_iter().chain(pid).chain(more.iter().copied()).collect()
    }
}

fn write_services(page: &mut Page, services: &[Labelled<'_>]) {
    page.gauge("hilum_service_up", "Whether the service's process runs.");
    for each in services {
        page.sample(&each.labels(&[]), u8::from(each.service.report.running));
    }
    page.gauge("hilum_service_ready", "Whether the service takes work.");
    for each in services {
        page.sample(&each.labels(&[]), u8::from(each.service.report.ready));
    }
    page.gauge("hilum_service_state", "State of the service: 1 for the present one, 0 for the others.");
    for each in services {
        for state in STATES {
            page.sample(&each.labels(&[("state", state)]), u8::from(each.service.report.state == state));
        }
    }
    page.counter("hilum_service_restarts", "Runs of the service begun after the first.");
    for each in services {
        page.sample(&each.labels(&[]), each.service.report.restarts);
    }
    page.gauge("hilum_service_last_exit_code", "Exit code of the last run that ended; 128 + n for signal n.");
    for each in services {
        if let Some(exit) = &each.service.report.last_exit {
            page.sample(&each.labels(&[]), exit.code);
        }
    }
    page.gauge("hilum_service_start_time_seconds", "When the current or last run began, in seconds since 1970.");
    for each in services {
        if let Some(started) = each.service.report.started_at {
            page.sample(&each.labels(&[]), seconds(started));
        }
    }
    let probes = |page: &mut Page, value: &dyn Fn(&ProbeReport) -> Option<String>| {
        for each in services {
            for probe in &each.service.report.probes {
                if let Some(value) = value(probe) {
                    page.sample(&each.labels(&[("probe", &probe.name), ("kind", &probe.kind)]), value);
                }
            }
        }
    };
    page.gauge("hilum_probe_passing", "Whether the probe passes; absent until it crossed a threshold in this run.");
    probes(page, &|probe| probe.passing.map(|passing| u8::from(passing).to_string()));
    page.counter("hilum_probe_answered", "Calls of the probe that were answered.");
    probes(page, &|probe| Some(probe.answered.to_string()));
    page.gauge("hilum_probe_duration_seconds", "How long the last answered call of the probe took.");
    probes(page, &|probe| (probe.answered > 0).then(|| seconds(probe.took_us.saturating_mul(1_000))));
}

/// The text in the making. Samples belong to the family begun last.
struct Page {
    format: Format,
    out: String,
    series: String,
    suffix: &'static str,
    written: BTreeSet<String>,
}

impl Page {
    fn new(format: Format) -> Page {
        Page { format, out: String::new(), series: String::new(), suffix: "", written: BTreeSet::new() }
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.begin(name, "", "", "gauge", help);
    }

    fn counter(&mut self, name: &str, help: &str) {
        let family = if self.format == Format::OpenMetrics { "" } else { "_total" };
        self.begin(name, family, "_total", "counter", help);
    }

    fn begin(&mut self, name: &str, family: &str, suffix: &'static str, kind: &str, help: &str) {
        self.out.push_str(&format!("# HELP {name}{family} {help}\n# TYPE {name}{family} {kind}\n"));
        self.series = name.to_owned();
        self.suffix = suffix;
        self.written.clear();
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let mut braced = String::new();
        for (name, value) in labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let mark = if braced.is_empty() { '{' } else { ',' };
            braced.push_str(&format!("{mark}{name}=\"{value}\""));
        }
        if !braced.is_empty() {
            braced.push('}');
        }
        let line = format!("{}{}{braced} {value}\n", self.series, self.suffix);
        if self.written.insert(braced) {
            self.out.push_str(&line);
        }
    }

    fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

    use std::io::{ErrorKind, Write};
    use std::process::{Command, Stdio};

    use super::{Format, everything, one};
    use crate::render::sample::snapshot;
    use crate::snapshot::Snapshot;
    use crate::traffic::Traffic;
    use hilum_wire::{Mode, Overview, ServiceReport};

    fn sample_page(format: Format) -> String {
        let mut traffic = Traffic::default();
        traffic.count(200);
        everything(snapshot().view().unwrap(), &traffic, format)
    }

    #[test]
    fn values_are_where_they_are_expected() {
        let text = sample_page(Format::Prometheus);
        for line in [
            "hilum_ready 0",
            "hilum_start_time_seconds 1700000000",
            "hilum_service_up{service=\"web\"} 1",
            "hilum_service_state{service=\"web\",state=\"up\"} 1",
            "hilum_service_restarts_total{service=\"web\"} 4",
            "hilum_service_last_exit_code{service=\"web\"} 137",
            "hilum_service_start_time_seconds{service=\"web\"} 1700000001.25",
            "hilum_service_up{service=\"d\\\"b\\\\\\n\"} 0",
            "hilum_probe_passing{service=\"web\",probe=\"http\",kind=\"readiness\"} 0",
            "hilum_probe_duration_seconds{service=\"web\",probe=\"http\",kind=\"readiness\"} 0.00125",
            "hilum_plugin_state{plugin=\"probe-http\",state=\"quarantined\"} 1",
            "hilum_plugin_denied_total{plugin=\"probe-http\"} 2",
            "hilum_plugin_cpu_seconds_total{plugin=\"probe-http\"} 0.0045",
            "# TYPE hilum_plugin_metric_asked_total counter",
            "hilum_plugin_metric_asked_total{plugin=\"probe-http\",of=\"a\\\"b\"} 7",
            "hilum_plugin_metric_depth{plugin=\"probe-http\"} 0.5",
            "hilum_workers{role=\"sandbox\"} 1",
            "hilum_workers_replaced_total{role=\"sandbox\"} 3",
            "hilum_http_responses_total{code=\"200\"} 1",
            "# TYPE hilum_service_restarts_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("hilum_probe_passing{service=\"web\",probe=\"tcp\""), "unknown is not 0");
    }

    #[test]
    fn openmetrics_differs_where_it_must() {
        let text = sample_page(Format::OpenMetrics);
        assert!(text.contains("# TYPE hilum_service_restarts counter\n"));
        assert!(text.contains("\nhilum_service_restarts_total{service=\"web\"} 4\n"));
        assert!(text.ends_with("# EOF\n"));
        let both = [Format::Prometheus, Format::OpenMetrics].map(sample_page);
        let [a, b] =
            both.map(|text| text.lines().filter(|line| !line.starts_with('#')).map(String::from).collect::<Vec<_>>());
        assert_eq!(a, b);
    }

    #[test]
    fn no_series_appears_twice() {
        let mut snapshot = Snapshot::default();
        snapshot.set_overview(Box::new(Overview { mode: Mode::Watch, services: 4, ..Overview::default() }));
        for (index, pid) in [(0, Some(7)), (1, Some(8)), (2, Some(8)), (3, None)] {
            let report = ServiceReport { name: "nginx".into(), pid, running: true, ..ServiceReport::default() };
            snapshot.set_service(index, report, 0);
        }
        let text = everything(snapshot.view().unwrap(), &Traffic::default(), Format::Prometheus);
        let ups: Vec<_> = text.lines().filter(|line| line.starts_with("hilum_service_up")).collect();
        assert_eq!(
            ups,
            [
                "hilum_service_up{service=\"nginx\",pid=\"7\"} 1",
                "hilum_service_up{service=\"nginx\",pid=\"8\"} 1",
                "hilum_service_up{service=\"nginx\"} 1",
            ]
        );
    }

    #[test]
    fn one_service_has_only_its_own() {
        let snapshot = snapshot();
        let view = snapshot.view().unwrap();
        let text = one(view, view.service("web").unwrap(), Format::OpenMetrics);
        assert!(text.contains("{service=\"web\"") && !text.contains("d\\\"b") && !text.contains("hilum_http"));
    }

    /// Prometheus' own judge finds nothing, where it is installed.
    #[test]
    fn promtool_agrees() {
        let spawned = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            spawned => spawned.unwrap(),
        };
        child.stdin.take().unwrap().write_all(sample_page(Format::Prometheus).as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
