//! Changes one large value over and over, each time to be told to PID 1.

use hilum_plugin::Host;

use super::{Tried, met, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    for number in 0..given.number("times")? {
        let fill = if number % 2 == 0 { b'a' } else { b'b' };
        if let Err(why) = host.keep("churn", Some(&[fill; 16 * 1024])) {
            return Ok(met(why));
        }
    }
    Ok(stopped("all were taken"))
}
