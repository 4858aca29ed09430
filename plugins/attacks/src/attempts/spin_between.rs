//! Spins between calls of the host, which all return at once.

use hilum_plugin::Host;

use super::Tried;
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let rounds = given.number("rounds")?;
    loop {
        for round in 0..rounds {
            std::hint::black_box(round);
        }
        host.monotonic_now();
    }
}
