//! Asks for chance for as long as there is time.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(_: &Given, host: &impl Host) -> Tried {
    let mut bytes: usize = 0;
    while host.remaining_ms() > 0 {
        bytes = bytes.saturating_add(host.random(u32::MAX).len());
    }
    Ok(stopped(&format!("{bytes} bytes")))
}
