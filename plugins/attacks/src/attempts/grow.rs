//! Takes memory, in steps of as many bytes as told, until it gets no more.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, _: &impl Host) -> Tried {
    let step = given.size("step")?;
    let mut all = Vec::new();
    while all.len() < usize::MAX / step.max(1) {
        all.push(std::hint::black_box(vec![1_u8; step]));
    }
    Ok(stopped(&format!("{} steps", all.len())))
}
