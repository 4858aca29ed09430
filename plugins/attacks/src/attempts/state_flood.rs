//! Keeps more than it may: many keys, then large values, then keys that are none.

use hilum_plugin::{Host, Outcome};

use super::{Tried, stopped};
use crate::given::Given;

/// All that a plugin may keep, as `wit/host/state.wit` says.
const QUOTA: usize = 32 * 1024;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let mut kept = 0;
    for number in 0..given.number("times")? {
        for value in [vec![b'v'; 1024], vec![b'v'; 16 * 1024]] {
            let key = format!("key {number} {}", value.len());
            if host.keep(&key, Some(&value)).is_ok() {
                kept += key.len() + value.len();
            }
        }
    }
    let long = "k".repeat(129);
    let wrong = [("", &b"x"[..]), (&long, b"x"), ("large", &[0; 16 * 1024 + 1])];
    let taken = wrong.iter().filter(|(key, value)| host.keep(key, Some(value)).is_ok()).count();
    if kept > QUOTA || taken > 0 {
        return Ok(Outcome::Pass);
    }
    Ok(stopped(&format!("{kept} bytes were kept")))
}
