//! `hilum:host/metrics`: numbers for the metrics page. The worker adds up, PID 1 is told the whole value of a series each time it changes.

use hilum_wire::Series;

use crate::bindings::host::metrics::{Error, Host};
use crate::host::State;
use crate::text::clean;

/// Series of one plugin.
pub(crate) const MAX_SERIES: usize = 64;

/// Labels of one series.
const MAX_LABELS: usize = 4;

/// Longest name, and longest value of a label. **Units:** bytes.
const MAX_NAME: usize = 64;

/// Whether Prometheus takes it for the name of a label, or of a metric without a namespace.
///
/// **Source:** the Prometheus data model.
fn is_legal(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= MAX_NAME
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The labels, sorted, if they can be.
fn labels(given: Vec<(String, String)>) -> Result<Vec<(String, String)>, Error> {
    let mut labels = given;
    if labels.len() > MAX_LABELS {
        return Err(Error::Limit(format!("a series has at most {MAX_LABELS} labels, this one {}", labels.len())));
    }
    labels.sort();
    for (name, value) in &mut labels {
        if !is_legal(name) || name.starts_with("__") || name == "plugin" {
            return Err(Error::Invalid(format!("{:?} cannot be the name of a label", clean(name, MAX_NAME))));
        }
        *value = clean(value, MAX_NAME);
    }
    if labels.windows(2).any(|pair| matches!(pair, [(left, _), (right, _)] if left == right)) {
        return Err(Error::Invalid("a label is there twice".to_owned()));
    }
    Ok(labels)
}

impl State {
    fn measure(&mut self, name: &str, given: Vec<(String, String)>, counter: bool, value: f64) -> Result<(), Error> {
        if !is_legal(name) {
            return Err(Error::Invalid(format!("{:?} cannot be the name of a metric", clean(name, MAX_NAME))));
        }
        if !value.is_finite() || counter && value < 0.0 {
            return Err(Error::Invalid(format!("{value} cannot be the value of {name}")));
        }
        let labels = labels(given)?;
        let mut things = self.kept.things();
        if things.series.iter().any(|series| series.name == name && series.counter != counter) {
            let kind = if counter { "gauge" } else { "counter" };
            return Err(Error::Limit(format!("{name} is a {kind} already")));
        }
        let place = things.series.iter().position(|series| series.name == name && series.labels == labels);
        let room = things.series.len() < MAX_SERIES;
        let series = match place.and_then(|place| things.series.get_mut(place)) {
            Some(series) => {
                series.value = if counter { series.value + value } else { value };
                series.clone()
            }
            None if room => {
                let series = Series { name: name.to_owned(), labels, counter, value };
                things.series.push(series.clone());
                series
            }
            None => return Err(Error::Limit(format!("there are {MAX_SERIES} series of this plugin already"))),
        };
        drop(things);
        self.kept.uplink.show(series);
        Ok(())
    }
}

impl Host for State {
    async fn count(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
        increment: f64,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(match self.heard().await {
            Ok(()) => self.measure(&name, labels, true, increment),
            Err(why) => Err(Error::Limit(why)),
        })
    }

    async fn gauge(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
        value: f64,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(match self.heard().await {
            Ok(()) => self.measure(&name, labels, false, value),
            Err(why) => Err(Error::Limit(why)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{is_legal, labels};

    #[test]
    fn names_and_labels_are_those_prometheus_takes() {
        assert!(
            is_legal("queue_length")
                && is_legal("_x1")
                && !is_legal("1x")
                && !is_legal("")
                && !is_legal("a:b")
                && !is_legal("é")
        );
        let pair = |name: &str| (name.to_owned(), "v\n".to_owned());
        assert!(
            labels(vec![pair("b"), pair("a")])
                .is_ok_and(|sorted| sorted.first().is_some_and(|first| first.0 == "a" && !first.1.contains('\n')))
        );
        for wrong in [vec![pair("__a")], vec![pair("plugin")], vec![pair("a"), pair("a")], vec![pair("a-b")]] {
            assert!(labels(wrong).is_err());
        }
    }
}
