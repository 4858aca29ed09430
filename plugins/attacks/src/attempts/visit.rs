//! Connects, reads what it is told, and goes: what plugins that mean well do, for comparison.

use hilum_plugin::{Host, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let read = host.connect(given.text("host")?, given.port("port")?).and_then(|mut connection| connection.read(64));
    Ok(match read {
        Ok(bytes) if !bytes.is_empty() => Outcome::Pass,
        Ok(_) => met("nothing was said"),
        Err(error) => met(error),
    })
}
