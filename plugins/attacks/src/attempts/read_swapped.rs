//! Reads a path over and over for as long as there is time, while somebody swaps what is there.

use hilum_plugin::{Host, Outcome, holds};

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let (path, secret) = (given.text("path")?, given.text("secret")?);
    let (mut read, mut refused) = (0_u32, 0_u32);
    while host.remaining_ms() > 0 {
        match host.read_file(path, 0, 64) {
            Ok(bytes) if holds(&bytes, secret.as_bytes()) => return Ok(Outcome::Pass),
            Ok(_) => read = read.saturating_add(1),
            Err(_) => refused = refused.saturating_add(1),
        }
    }
    Ok(stopped(&format!("{read} read, {refused} refused")))
}
