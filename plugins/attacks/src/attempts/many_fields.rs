//! Asks by HTTP with more fields than anybody reads.

use hilum_plugin::{Host, HttpRequest, Outcome};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let request = HttpRequest {
        method: "GET".to_owned(),
        url: given.text("url")?.to_owned(),
        headers: vec![(String::new(), String::new()); given.size("count")?],
        ..HttpRequest::default()
    };
    Ok(match host.fetch(&request) {
        Ok(_) => Outcome::Pass,
        Err(error) => met(error),
    })
}
