//! Recurses deeper than any stack.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, _: &impl Host) -> Tried {
    Ok(stopped(&deeper(u64::from(given.number("depth")?)).to_string()))
}

/// What it returns depends on what is deeper, so that no compiler makes a loop of it.
fn deeper(left: u64) -> u64 {
    if left == 0 { 1 } else { std::hint::black_box(deeper(std::hint::black_box(left - 1))).wrapping_mul(3) }
}
