//! Writes lines, many or long or of control characters.

use hilum_plugin::{Host, Level};

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let line = given.text("text")?.repeat(given.size("repeat")?);
    for _ in 0..given.number("times")? {
        host.log(Level::Error, &line);
    }
    Ok(stopped("all were written"))
}
