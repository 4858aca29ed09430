//! Panics with a long message.

use hilum_plugin::Host;

use super::Tried;
use crate::given::Given;

#[expect(clippy::panic, reason = "what is attempted")]
pub(super) fn attempt(given: &Given, _: &impl Host) -> Tried {
    panic!("{}", "\u{202e}".repeat(given.size("repeat")?));
}
