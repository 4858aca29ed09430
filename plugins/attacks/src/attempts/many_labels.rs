//! Counts something with more labels than anybody reads.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let labels = vec![("a", "b"); given.size("count")?];
    Ok(match host.count("seen", &labels, 1.0) {
        Ok(()) => Outcome::Pass,
        Err(error) => met(error),
    })
}
