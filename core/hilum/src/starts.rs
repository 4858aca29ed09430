//! When each service was started last, for plugins that judge how often it is.

use std::collections::VecDeque;

use hilum_engine::{ServiceId, Tick};

/// Starts that are remembered of a service, as `wit/host/service.wit` promises.
const REMEMBERED: usize = 32;

/// The starts of all services.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    services: Vec<VecDeque<Tick>>,
}

impl Starts {
    /// Notes a start.
    pub(crate) fn note(&mut self, service: ServiceId, at: Tick) {
        let index = usize::from(service.0);
        if self.services.len() <= index {
            self.services.resize_with(index.saturating_add(1), VecDeque::new);
        }
        if let Some(starts) = self.services.get_mut(index) {
            starts.truncate(REMEMBERED - 1);
            starts.push_front(at);
        }
    }

    /// How long ago each start was, the last one first. **Units:** milliseconds.
    pub(crate) fn ages(&self, service: ServiceId, now: Tick) -> Vec<u64> {
        let starts = self.services.get(usize::from(service.0)).into_iter().flatten();
        starts.map(|at| now.since(*at).0 / 1_000_000).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{REMEMBERED, Starts};
    use hilum_engine::{ServiceId, Tick};

    #[test]
    fn the_last_starts_are_remembered_the_newest_first() {
        let mut starts = Starts::default();
        for second in 0..40 {
            starts.note(ServiceId(1), Tick(second * 1_000_000_000));
        }
        let ages = starts.ages(ServiceId(1), Tick(40_000_000_000));
        assert_eq!((ages.len(), ages.first(), ages.last()), (REMEMBERED, Some(&1_000), Some(&32_000)));
        assert!(starts.ages(ServiceId(0), Tick(0)).is_empty() && starts.ages(ServiceId(9), Tick(0)).is_empty());
    }
}
