//! Makes as many series as told, and then moves one of them as often.

use hilum_plugin::{Host, Outcome};

use super::{Tried, stopped};
use crate::given::Given;

/// All that a plugin may have, as `wit/host/metrics.wit` says.
const MOST: u32 = 64;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let times = given.number("times")?;
    let mut taken: u32 = 0;
    for number in 0..times {
        let label = number.to_string();
        taken = taken.saturating_add(u32::from(host.gauge("flood", &[("number", &label)], 1.0).is_ok()));
    }
    for number in 0..times {
        host.gauge("flood", &[("number", "0")], f64::from(number)).unwrap_or_default();
    }
    Ok(if taken > MOST { Outcome::Pass } else { stopped(&format!("{taken} were taken")) })
}
