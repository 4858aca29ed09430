//! Asks for settings by pointers that lead nowhere, are none, or are very long, and for all of them over and over.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let mut odd: Vec<String> = [
        "x",
        "/attempt/",
        "//",
        "/~",
        "/~2",
        "/with/text/0",
        "/with/list/-1",
        "/with/list/99999999999999999999",
        "/../attempt",
    ]
    .map(str::to_owned)
    .to_vec();
    odd.push("/".repeat(given.size("size")?));
    odd.push(format!("/{}", "~1".repeat(given.size("size")?)));
    let found: Vec<&String> = odd.iter().filter(|pointer| setting(pointer).is_some()).collect();
    let mut whole: usize = 0;
    while host.remaining_ms() > 0 {
        whole = whole.saturating_add(setting("").map_or(0, |text| text.len()));
    }
    Ok(stopped(&format!("{} of {} found, all of it {} bytes", found.len(), odd.len(), whole.min(1))))
}

/// What the host says is at `pointer`. The SDK reads settings by itself; so this goes past it.
#[cfg(target_arch = "wasm32")]
fn setting(pointer: &str) -> Option<String> {
    hilum_plugin::wasm::imports::settings::get(pointer)
}

/// Outside of the sandbox there is no host to ask.
#[cfg(not(target_arch = "wasm32"))]
fn setting(_: &str) -> Option<String> {
    None
}
