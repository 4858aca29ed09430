//! What PID 1 last reported, put together from its messages. Pure.
//!
//! A document is made only of a complete snapshot: the overview and every service it counts. A worker that has just been started has none
//! yet and says so, rather than to show a container without services.

use std::collections::VecDeque;

use hilum_wire::{Overview, ProbeReport, Series, ServiceReport};

/// Probe answers remembered, per probe. Enough for a strip on the page and for one look back: five minutes at a period of ten seconds.
/// An entry is 24 bytes.
const ANSWERS: usize = 32;

/// What PID 1 last reported.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    overview: Option<Box<Overview>>,
    services: Vec<Option<Box<Service>>>,
    /// What plugins measured, in the order of the overview's plugins.
    series: Vec<Vec<Series>>,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// The last report.
    pub(crate) report: ServiceReport,
    /// The last answers of each probe, in the order of the report's probes, oldest first.
    pub(crate) answers: Vec<VecDeque<Answer>>,
}

/// One probe answer seen go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// When it was reported. **Units:** nanoseconds since 1970.
    pub(crate) at: u64,
    /// What the probe found.
    pub(crate) outcome: Outcome,
    /// How long it took. **Units:** microseconds.
    pub(crate) took_us: u64,
}

/// What a probe found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The service is well.
    Pass,
    /// It is not.
    Fail,
    /// The probe could not tell.
    Unknown,
}

impl Outcome {
    /// The word for programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Unknown => "unknown",
        }
    }

    fn of(word: &str) -> Option<Outcome> {
        match word {
            "pass" => Some(Outcome::Pass),
            "fail" => Some(Outcome::Fail),
            "unknown" => Some(Outcome::Unknown),
            _ => None,
        }
    }
}

/// A complete snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// Everything that is not about one service.
    pub(crate) overview: &'a Overview,
    services: &'a [Option<Box<Service>>],
    series: &'a [Vec<Series>],
}

impl<'a> View<'a> {
    /// The services, in the order of the plan.
    pub(crate) fn services(self) -> impl Iterator<Item = &'a Service> + Clone {
        self.services.iter().flatten().map(AsRef::as_ref)
    }

    /// What plugins measured, with their names.
    pub(crate) fn series(self) -> impl Iterator<Item = (&'a str, &'a Series)> {
        let plugins = self.overview.plugins.iter().zip(self.series);
        plugins.flat_map(|(plugin, series)| series.iter().map(|series| (plugin.name.as_str(), series)))
    }

    /// The service of this name; the first where `watch` found several processes.
    pub(crate) fn service(self, name: &str) -> Option<&'a Service> {
        self.services().find(|service| service.report.name == name)
    }
}

impl Snapshot {
    /// The whole, if there is one: every service the overview counts was reported, and there is a service or certainly none.
    pub(crate) fn view(&self) -> Option<View<'_>> {
        let overview = self.overview.as_deref()?;
        let services = self.services.get(..usize::from(overview.services))?;
        let known = services.iter().all(Option::is_some) && (overview.complete || !services.is_empty());
        known.then_some(View { overview, services, series: &self.series })
    }

    /// Takes a new overview. Services beyond its count are gone.
    pub(crate) fn set_overview(&mut self, overview: Box<Overview>) {
        self.services.truncate(usize::from(overview.services));
        self.overview = Some(overview);
    }

    /// Takes what a plugin measured.
    pub(crate) fn set_series(&mut self, index: u16, series: Vec<Series>) {
        let index = usize::from(index);
        if self.series.len() <= index {
            self.series.resize_with(index + 1, Vec::new);
        }
        if let Some(place) = self.series.get_mut(index) {
            *place = series;
        }
    }

    /// Takes a new report of one service. `now` dates the probe answers in it.
    pub(crate) fn set_service(&mut self, index: u16, report: ServiceReport, now: u64) {
        let index = usize::from(index);
        if self.services.len() <= index {
            self.services.resize_with(index + 1, || None);
        }
        if let Some(place) = self.services.get_mut(index) {
            let known = place.take().filter(|known| known.report.name == report.name);
            let answers = report.probes.iter().map(|probe| continued(known.as_deref(), probe, now)).collect();
            *place = Some(Box::new(Service { report, answers }));
        }
    }
}

/// The remembered answers of a probe and its newest one, if it is new.
fn continued(known: Option<&Service>, probe: &ProbeReport, now: u64) -> VecDeque<Answer> {
    let earlier = known.and_then(|known| {
        let mut pairs = known.report.probes.iter().zip(&known.answers);
        pairs.find(|(earlier, _)| earlier.name == probe.name)
    });
    let (mut answers, counted) = match earlier {
        Some((earlier, answers)) => (answers.clone(), earlier.answered),
        None => (VecDeque::new(), 0),
    };
    if probe.answered != counted
        && let Some(outcome) = Outcome::of(&probe.last)
    {
        if answers.len() == ANSWERS {
            answers.pop_front();
        }
        answers.push_back(Answer { at: now, outcome, took_us: probe.took_us });
    }
    answers
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

    use super::{ANSWERS, Outcome, Snapshot};
    use hilum_wire::{Overview, ProbeReport, ServiceReport};

    fn overview(services: u16) -> Box<Overview> {
        Box::new(Overview { services, ..Overview::default() })
    }

    fn named(name: &str) -> ServiceReport {
        ServiceReport { name: name.into(), ..ServiceReport::default() }
    }

    #[test]
    fn only_the_whole_is_shown() {
        let mut snapshot = Snapshot::default();
        assert!(snapshot.view().is_none());
        snapshot.set_service(1, named("b"), 0);
        snapshot.set_overview(overview(2));
        assert!(snapshot.view().is_none(), "service 0 is missing");
        snapshot.set_service(0, named("a"), 0);
        let names: Vec<_> = snapshot.view().unwrap().services().map(|service| service.report.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
        snapshot.set_overview(overview(1));
        assert!(snapshot.view().unwrap().service("b").is_none());
        snapshot.set_overview(overview(2));
        assert!(snapshot.view().is_none(), "b has to be reported again");
    }

    #[test]
    fn no_service_is_shown_only_if_certain() {
        let mut snapshot = Snapshot::default();
        snapshot.set_overview(overview(0));
        assert!(snapshot.view().is_none());
        snapshot.set_overview(Box::new(Overview { complete: true, ..Overview::default() }));
        assert!(snapshot.view().is_some());
    }

    #[test]
    fn probe_answers_are_remembered_once_each_and_not_for_ever() {
        let mut snapshot = Snapshot::default();
        snapshot.set_overview(overview(1));
        let mut report = named("a");
        for answered in 0..100 {
            let last = if answered % 2 == 0 { "pass" } else { "fail" }.into();
            report.probes = vec![ProbeReport { name: "http".into(), answered, last, ..ProbeReport::default() }];
            snapshot.set_service(0, report.clone(), answered);
            snapshot.set_service(0, report.clone(), 1_000);
        }
        let view = snapshot.view().unwrap();
        let answers = view.service("a").unwrap().answers.first().unwrap();
        assert_eq!(answers.len(), ANSWERS);
        let newest = answers.back().unwrap();
        assert_eq!((newest.at, newest.outcome), (99, Outcome::Fail));
        snapshot.set_service(0, named("other"), 0);
        assert!(snapshot.view().unwrap().service("other").unwrap().answers.is_empty());
    }
}
