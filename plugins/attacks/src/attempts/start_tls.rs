//! Agrees on TLS with a peer it should not trust.

use hilum_plugin::{Host, Identity, Outcome, TlsOptions, Trust};

use super::{Tried, met};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let trust = match given.text("authorities") {
        Ok(pem) => Trust::Authorities(pem.to_owned()),
        Err(_) => Trust::System,
    };
    let identity = given.text("key").ok().map(|key| Identity {
        certificates: given.text("certificates").unwrap_or_default().to_owned(),
        key: key.to_owned(),
    });
    let options = TlsOptions { server_name: given.text("name")?.to_owned(), trust, identity, protocols: Vec::new() };
    let connection = match host.connect(given.text("host")?, given.port("port")?) {
        Ok(connection) => connection,
        Err(error) => return Ok(met(error)),
    };
    Ok(match host.start_tls(connection, &options) {
        Ok(mut connection) => match connection.write(b"secret") {
            Ok(()) => Outcome::Pass,
            Err(error) => met(error),
        },
        Err(error) => met(error),
    })
}
