//! Yes or no to `/liveness`, `/readiness` and `/startup`, and why not. Pure.
//!
//! About the whole container the answer is PID 1's own, word for word; the reports only supply the reasons. About one service it is read
//! from that service's report.

use hilum_wire::{ExitReport, Overview, ProbeReport, ServiceReport};

use crate::routes::{Check, Scope};
use crate::snapshot::View;

/// Why the answer is not yes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Objection {
    /// There is no such service.
    Unknown,
    /// The answer is no; one reason a line.
    No(String),
}

/// Answers a question about a complete snapshot.
pub(crate) fn judge(view: View<'_>, check: Check, scope: &Scope) -> Result<(), Objection> {
    match scope {
        Scope::All => {
            let overview = view.overview;
            let (yes, word) = match check {
                Check::Liveness => (overview.alive, "alive"),
                Check::Readiness => (overview.ready, "ready"),
                Check::Startup => (overview.started, "started"),
            };
            if yes {
                return Ok(());
            }
            let mut reasons = stopping(overview).unwrap_or_default();
            for service in view.services() {
                reasons.push_str(&objection(&service.report, check).unwrap_or_default());
            }
            Err(Objection::No(if reasons.is_empty() { format!("not {word}\n") } else { reasons }))
        }
        Scope::Service(name) => {
            let service = view.service(name).ok_or(Objection::Unknown)?;
            let held_back = if check == Check::Startup { None } else { stopping(view.overview) };
            match held_back.or_else(|| objection(&service.report, check)) {
                Some(reason) => Err(Objection::No(reason)),
                None => Ok(()),
            }
        }
    }
}

/// The line about a container that is ending.
fn stopping(overview: &Overview) -> Option<String> {
    (overview.phase != "running" && !overview.phase.is_empty())
        .then(|| format!("container: {}\n", plain(&overview.phase)))
}

/// The line about a service that says no.
fn objection(service: &ServiceReport, check: Check) -> Option<String> {
    let reason = match check {
        Check::Liveness => failing(service, "liveness").or_else(|| ended_badly(service)),
        Check::Readiness if service.ready => None,
        Check::Readiness => Some(
            not_running(service)
                .or_else(|| waiting(service, "startup"))
                .or_else(|| waiting(service, "readiness"))
                .unwrap_or_else(|| "not ready".into()),
        ),
        Check::Startup if service.started_at.is_none() => not_running(service).or_else(|| Some("not started".into())),
        Check::Startup => waiting(service, "startup"),
    }?;
    Some(format!("service {}: {}\n", plain(&service.name), plain(&reason)))
}

/// A probe of this kind that fails.
fn failing(service: &ServiceReport, kind: &str) -> Option<String> {
    service.probes.iter().find(|probe| probe.kind == kind && probe.passing == Some(false)).map(said)
}

/// A probe of this kind that does not pass, or not yet.
fn waiting(service: &ServiceReport, kind: &str) -> Option<String> {
    service.probes.iter().find(|probe| probe.kind == kind && probe.passing != Some(true)).map(said)
}

fn said(probe: &ProbeReport) -> String {
    let verb = if probe.passing == Some(false) { "fails" } else { "has not passed yet" };
    let colon = if probe.message.is_empty() { "" } else { ": " };
    format!("{} probe {} {verb}{colon}{}", probe.kind, probe.name, probe.message)
}

fn ended_badly(service: &ServiceReport) -> Option<String> {
    let badly = service.spawn_failure.is_some() || service.last_exit.as_ref().is_some_and(|exit| exit.code != 0);
    if service.state == "ended" && badly { not_running(service) } else { None }
}

fn not_running(service: &ServiceReport) -> Option<String> {
    if service.running {
        return None;
    }
    Some(match (&service.spawn_failure, &service.last_exit) {
        (Some(failure), _) => format!("{}: {failure}", service.state),
        (None, Some(exit)) => format!("{}, {}", service.state, ending(exit)),
        (None, None) => service.state.clone(),
    })
}

fn ending(exit: &ExitReport) -> String {
    let mut text = match &exit.signal {
        Some(signal) => format!("ended by {signal}"),
        None => format!("exited with code {}", exit.code),
    };
    if let Some(cause) = &exit.cause {
        text.push_str(" after a stop because of ");
        text.push_str(cause);
    }
    text
}

/// Text of others on a line of ours.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

    use super::{Objection, judge};
    use crate::routes::{Check, Scope};
    use crate::snapshot::Snapshot;
    use hilum_wire::{ExitReport, Overview, ProbeReport, ServiceReport};

    fn web() -> ServiceReport {
        ServiceReport {
            name: "web".into(),
            state: "up".into(),
            running: true,
            ready: true,
            started_at: Some(1),
            ..ServiceReport::default()
        }
    }

    fn probe(kind: &str, passing: Option<bool>, message: &str) -> ProbeReport {
        ProbeReport {
            name: "http".into(),
            kind: kind.into(),
            passing,
            message: message.into(),
            ..ProbeReport::default()
        }
    }

    fn ask(overview: Overview, report: ServiceReport, check: Check, scope: Scope) -> Result<(), Objection> {
        let mut snapshot = Snapshot::default();
        snapshot.set_overview(Box::new(Overview { services: 1, ..overview }));
        snapshot.set_service(0, report, 0);
        judge(snapshot.view().unwrap(), check, &scope)
    }

    fn no(line: &str) -> Result<(), Objection> {
        Err(Objection::No(format!("{line}\n")))
    }

    #[test]
    fn the_whole_is_what_pid_1_says() {
        let overview = || Overview { phase: "running".into(), ready: true, ..Overview::default() };
        let sick = ServiceReport { ready: false, ..web() };
        assert_eq!(ask(overview(), sick, Check::Readiness, Scope::All), Ok(()));
        assert_eq!(ask(overview(), web(), Check::Liveness, Scope::All), no("not alive"));
        let stopping = Overview { phase: "stopping".into(), ..Overview::default() };
        assert_eq!(ask(stopping, web(), Check::Readiness, Scope::All), no("container: stopping"));
    }

    #[test]
    fn reasons_name_service_probe_and_message() {
        let readiness = |report| ask(Overview::default(), report, Check::Readiness, Scope::All);
        let probes = vec![probe("liveness", None, ""), probe("readiness", Some(false), "refused\r\nX: y")];
        let report = ServiceReport { ready: false, probes, ..web() };
        assert_eq!(readiness(report), no("service web: readiness probe http fails: refused  X: y"));
        let probes = vec![probe("readiness", None, ""), probe("startup", None, "")];
        let report = ServiceReport { ready: false, probes, ..web() };
        assert_eq!(readiness(report), no("service web: startup probe http has not passed yet"));
        let exit = ExitReport { code: 137, signal: Some("SIGKILL".into()), cause: Some("probe http".into()) };
        let report =
            ServiceReport { ready: false, running: false, state: "backing-off".into(), last_exit: Some(exit), ..web() };
        assert_eq!(
            readiness(report),
            no("service web: backing-off, ended by SIGKILL after a stop because of probe http")
        );
        let report = ServiceReport {
            ready: false,
            running: false,
            state: "ended".into(),
            spawn_failure: Some("cannot execute /x: not found".into()),
            ..web()
        };
        assert_eq!(readiness(report), no("service web: ended: cannot execute /x: not found"));
    }

    #[test]
    fn one_service_is_judged_by_its_report() {
        let one = |report, check| ask(Overview::default(), report, check, Scope::Service("web".into()));
        for check in [Check::Liveness, Check::Readiness, Check::Startup] {
            assert_eq!(one(web(), check), Ok(()));
        }
        let report = ServiceReport { probes: vec![probe("liveness", Some(false), "")], ..web() };
        assert_eq!(one(report, Check::Liveness), no("service web: liveness probe http fails"));
        let report = ServiceReport {
            state: "ended".into(),
            running: false,
            ready: false,
            last_exit: Some(ExitReport { code: 3, ..ExitReport::default() }),
            ..web()
        };
        assert_eq!(one(report.clone(), Check::Liveness), no("service web: ended, exited with code 3"));
        assert_eq!(one(report, Check::Startup), Ok(()));
        let report = ServiceReport { state: "down".into(), running: false, started_at: None, ..web() };
        assert_eq!(one(report, Check::Startup), no("service web: down"));
        let absent = ask(Overview::default(), web(), Check::Liveness, Scope::Service("db".into()));
        assert_eq!(absent, Err(Objection::Unknown));
    }
}
