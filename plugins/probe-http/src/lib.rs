//! Probe: an HTTP/1.1 request and what the answer must look like.
//!
//! What each setting means is said in the README. The modules: [`settings`] says what to ask, [`response`] reads the answer as it comes,
//! this one asks.
#![forbid(unsafe_code)]

mod response;
mod settings;

use hilum_plugin::{
    Connection, Description, Grant, Host, NetworkError, Outcome, Plugin, Probe, Request, Settings, SettingsError,
};

use crate::response::{Body, Head, HeadReader};
pub use crate::settings::Target;

/// Bytes of a body that are searched for `expect-body`.
const MAX_BODY: usize = 256 * 1024;

/// Bytes asked of the host at a time.
const READ: u32 = 16 * 1024;

/// The plugin.
#[derive(Debug)]
pub struct ProbeHttp;

impl Plugin for ProbeHttp {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-http",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant { kind: "connect", value: None, reason: "host and port of `url`" },
                Grant { kind: "files", value: None, reason: "files that `tls` names, if it names any" },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Probe for ProbeHttp {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        ask(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeHttp);

/// One request. An early end is an `Err`.
fn ask(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let place = target.place();
    let mut connection =
        host.connect(&target.host, target.port).map_err(|e| e.outcome(&format!("connect to {place}")))?;
    if let Some(tls) = &target.tls {
        connection = tls.protect(connection, host, &target.host, &place, &["http/1.1"])?;
    }
    match connection.write(target.request().as_bytes()) {
        // A server may answer and close before it has read all of the request; the answer then still counts.
        Ok(()) | Err(NetworkError::Closed) => {}
        Err(error) => return Err(error.outcome(&format!("send the request to {place}"))),
    }
    let (head, rest) = read_head(connection.as_mut(), &place)?;
    if !target.statuses.iter().any(|range| range.contains(&head.status)) {
        let reason = if head.reason.is_empty() { String::new() } else { format!(" {}", head.reason) };
        return Err(Outcome::Fail(format!(
            "{place} answered {}{reason}, expected {}",
            head.status,
            target.expected_statuses()
        )));
    }
    match &target.body {
        None => Ok(Outcome::Pass),
        Some(wanted) => search(connection.as_mut(), &head, rest, target, wanted),
    }
}

/// Reads the final head and returns it with what came after it.
fn read_head(connection: &mut dyn Connection, place: &str) -> Result<(Head, Vec<u8>), Outcome> {
    let mut reader = HeadReader::default();
    loop {
        let chunk = connection.read(READ).map_err(|error| match error {
            NetworkError::TimedOut => Outcome::Fail(format!("{place} did not answer in time{}", reader.progress())),
            other => other.outcome(&format!("read the answer of {place}")),
        })?;
        if chunk.is_empty() {
            return Err(Outcome::Fail(format!("{place} closed the connection without an answer{}", reader.progress())));
        }
        match reader.feed(&chunk) {
            Ok(None) => {}
            Ok(Some(found)) => return Ok(found),
            Err(error) => return Err(Outcome::Fail(format!("{place} does not speak HTTP: {error}"))),
        }
    }
}

/// Reads the body until `wanted` is in it.
fn search(
    connection: &mut dyn Connection,
    head: &Head,
    rest: Vec<u8>,
    target: &Target,
    wanted: &str,
) -> Result<Outcome, Outcome> {
    let fail = |story: String| Outcome::Fail(format!("{}: {story}", target.place()));
    let missing = |body: &[u8]| {
        fail(format!("the body does not contain {wanted:?}; it begins with {}", hilum_plugin::shown(body)))
    };
    let mut body = Vec::new();
    let mut decoder = Body::of(head, &target.method);
    let mut chunk = rest;
    loop {
        let from = body.len().saturating_sub(wanted.len());
        decoder.feed(&chunk, &mut body).map_err(|error| fail(error.to_string()))?;
        let fresh = body.get(from..).unwrap_or_default();
        if wanted.is_empty() || fresh.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            return Ok(Outcome::Pass);
        }
        if decoder.is_complete() {
            return Err(missing(&body));
        }
        if body.len() > MAX_BODY {
            return Err(fail(format!("{wanted:?} is not in the first {MAX_BODY} bytes of the body")));
        }
        chunk = connection.read(READ).map_err(|error| match error {
            NetworkError::TimedOut => {
                fail(format!("{wanted:?} did not come in time; {} bytes of the body did", body.len()))
            }
            other => other.outcome(&format!("read the body of {}", target.place())),
        })?;
        if chunk.is_empty() {
            return Err(if decoder.may_end() {
                missing(&body)
            } else {
                fail(format!("the connection was closed within the body, after {} bytes", body.len()))
            });
        }
    }
}
