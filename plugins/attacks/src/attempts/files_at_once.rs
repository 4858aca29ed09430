//! Reads one file over and over, for as long as there is time.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let path = given.text("path")?;
    let mut bytes: usize = 0;
    while host.remaining_ms() > 0 {
        bytes = bytes.saturating_add(host.read_file(path, 0, u32::MAX).unwrap_or_default().len());
    }
    Ok(stopped(&format!("{bytes} bytes")))
}
