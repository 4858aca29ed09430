//! Changes one large value over and over, each time to be told to PID 1.

use hilum_plugin::Host;

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &(impl Host + ?Sized)) -> Tried {
    for number in 0..given.number("times")? {
        let fill = if number % 2 == 0 { b'a' } else { b'b' };
        host.keep("churn", Some(&[fill; 16 * 1024])).unwrap_or_default();
    }
    Ok(stopped("all were taken"))
}
