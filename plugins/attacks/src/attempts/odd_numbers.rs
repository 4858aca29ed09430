//! Measures what is no number, counts backwards, and calls things what they cannot be called.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(_: &Given, host: &impl Host) -> Tried {
    let mut taken = Vec::new();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        taken.extend(host.gauge("odd", &[], value).ok().map(|()| format!("gauge {value}")));
        taken.extend(host.count("odd_counter", &[], value).ok().map(|()| format!("count {value}")));
    }
    taken.extend(host.count("odd_counter", &[], -1.0).ok().map(|()| "count -1".to_owned()));
    for name in ["", "1x", "a-b", "a b", "a\nb", "a{b=\"c\"}", "\u{e9}", "a:b"] {
        taken.extend(host.gauge(name, &[], 1.0).ok().map(|()| format!("metric {name:?}")));
        taken.extend(host.gauge("odd", &[(name, "x")], 1.0).ok().map(|()| format!("label {name:?}")));
    }
    for name in ["plugin", "__name__"] {
        taken.extend(host.gauge("odd", &[(name, "x")], 1.0).ok().map(|()| format!("label {name:?}")));
    }
    Ok(if taken.is_empty() { met("all were refused") } else { Outcome::Unknown(format!("taken: {taken:?}")) })
}
