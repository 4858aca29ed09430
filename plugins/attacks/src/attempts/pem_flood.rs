//! Brings more authorities than anybody has, as often as told.

use hilum_plugin::{Host, Outcome, TlsOptions, Trust};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let pem = given.text("authority")?;
    let trust = Trust::Authorities(pem.repeat(given.size("size")? / pem.len().max(1)));
    let options = TlsOptions { server_name: "localhost".to_owned(), trust, ..TlsOptions::default() };
    let mut told = Vec::new();
    for _ in 0..given.number("times")? {
        let connection = match host.connect(given.text("host")?, given.port("port")?) {
            Ok(connection) => connection,
            Err(error) => return Ok(met(error)),
        };
        match host.start_tls(connection, &options) {
            Ok(_) => return Ok(Outcome::Pass),
            Err(error) => told.push(error),
        }
    }
    told.dedup();
    Ok(met(told))
}
