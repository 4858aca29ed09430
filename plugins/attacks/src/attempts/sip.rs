//! Runs for less than a tick between waits that end at once, so that it never uses one up.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let slice = u64::from(given.number("slice-us")?).saturating_mul(1000);
    while host.remaining_ms() > 0 {
        let began = host.monotonic_now();
        while host.monotonic_now().wrapping_sub(began) < slice {
            std::hint::black_box(began);
        }
        host.sleep(0);
    }
    Ok(stopped("time was up"))
}
