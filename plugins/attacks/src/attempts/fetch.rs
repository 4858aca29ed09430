//! Asks by HTTP, following redirects wherever they lead, with a field of the test's choice. What it wants is in the content.

use hilum_plugin::{Host, HttpRequest, Outcome, holds};

use super::{Tried, met, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let (name, value) = (given.text("field").unwrap_or("accept"), given.text("value").unwrap_or("*/*"));
    let request = HttpRequest {
        method: given.text("method").unwrap_or("GET").to_owned(),
        url: given.text("url")?.to_owned(),
        headers: vec![(name.to_owned(), value.to_owned())],
        redirects: u32::MAX,
        limit: u32::MAX,
        ..HttpRequest::default()
    };
    let wanted = given.text("wanted")?;
    Ok(match host.fetch(&request) {
        Ok(response) if holds(&response.body, wanted.as_bytes()) => Outcome::Pass,
        Ok(response) => stopped(&format!("{} from {}, {} bytes", response.status, response.url, response.body.len())),
        Err(error) => met(error),
    })
}
