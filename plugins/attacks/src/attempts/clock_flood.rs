//! Asks what time it is.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let mut last = 0;
    for _ in 0..given.number("times")? {
        last = host.monotonic_now().wrapping_add(host.wall_now()).max(last);
    }
    Ok(stopped(&format!("{} asked", if last > 0 { "all" } else { "none" })))
}
