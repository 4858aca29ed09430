//! Attempts nothing: what others are compared with.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(_: &Given, _: &impl Host) -> Tried {
    Ok(stopped("nothing was attempted"))
}
