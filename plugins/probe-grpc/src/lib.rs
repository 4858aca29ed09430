//! Probe: a gRPC server says by its health service that it is serving.
//!
//! What each setting means is said in the README. The modules: [`settings`] says whom to ask, [`http2`] carries the call, with header fields by
//! [`hpack`] and [`huffman`], [`health`] knows the question and judges the answer, this one does the talking. It makes one call on one connection;
//! it is no client for anything else.
#![forbid(unsafe_code)]

mod health;
mod hpack;
mod http2;
mod huffman;
mod settings;

use hilum_plugin::{
    Description, Grant, Host, NetworkError, Outcome, Plugin, Probe, Request, Settings, SettingsError, tls,
};

use crate::http2::{Call, MAX_FRAME};
pub use crate::settings::Target;

/// Bytes asked of the host at a time.
const READ: u32 = 16 * 1024;

/// The plugin.
#[derive(Debug)]
pub struct ProbeGrpc;

impl Plugin for ProbeGrpc {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-grpc",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant { kind: "connect", value: None, reason: "host and port of the settings" },
                Grant { kind: "files", value: None, reason: "files that `tls` names, if it names any" },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Probe for ProbeGrpc {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        ask(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeGrpc);

/// One call. An early end is an `Err`.
fn ask(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let place = &target.place;
    let mut connection = tls::connect(place, target.tls.as_ref(), host, &["h2"])?;
    let block = fields(target, host);
    if block.len() > MAX_FRAME {
        return Err(Outcome::Unknown(format!(
            "the header fields have {} bytes; shorten host or metadata",
            block.len()
        )));
    }
    let request = http2::request(&block, &health::question(&target.service));
    match connection.write(&request) {
        // A server may say why it closes before it has read all; that still counts.
        Ok(()) | Err(NetworkError::Closed) => {}
        Err(error) => return Err(error.outcome(&format!("ask {place}"))),
    }
    let fail = |story: &str| Outcome::Fail(target.masked(format!("asked {place} about {}: it {story}", about(target))));
    let mut call = Call::new();
    loop {
        let bytes = connection.read(READ).map_err(|error| match error {
            NetworkError::TimedOut => fail(&format!("did not answer in time{}", call.progress())),
            NetworkError::Closed => {
                fail(&format!("broke the connection off{}{}", call.progress(), hint(target, &call)))
            }
            other => other.outcome(&format!("read the answer of {place}")),
        })?;
        if bytes.is_empty() {
            let story = format!("closed the connection without an answer{}{}", call.progress(), hint(target, &call));
            return Err(fail(&story));
        }
        let mut out = Vec::new();
        if let Some(answer) = call.feed(&bytes, &mut out).map_err(|story| fail(&story))? {
            return health::judge(&answer, &target.service).map(|()| Outcome::Pass).map_err(|story| fail(&story));
        }
        if !out.is_empty()
            && let Err(error) = connection.write(&out)
            && error != NetworkError::Closed
        {
            return Err(error.outcome(&format!("answer {place} in its protocol")));
        }
    }
}

/// What a server may have wanted that closes without a word.
fn hint(target: &Target, call: &Call) -> &'static str {
    match &target.tls {
        _ if !call.is_untouched() => "",
        None => "; if it speaks TLS, write tls = {}",
        Some(tls) if tls.shows_certificate() => "",
        Some(_) => "; if it wants a certificate of ours, set tls.certificate and tls.key",
    }
}

/// What is asked about, for messages.
fn about(target: &Target) -> String {
    if target.service.is_empty() { "its health".to_owned() } else { format!("{:?}", target.service) }
}

/// The header fields of the call.
fn fields(target: &Target, host: &impl Host) -> Vec<u8> {
    let mut block = Vec::new();
    let authority = target.authority();
    // At most eight digits. **Source:** "gRPC over HTTP2", TimeoutValue.
    let timeout = format!("{}m", host.remaining_ms().clamp(1, 99_999_999));
    for (name, value) in [
        (":method", "POST"),
        (":scheme", if target.tls.is_some() { "https" } else { "http" }),
        (":path", health::PATH),
        (":authority", &authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", concat!("hilum-probe-grpc/", env!("CARGO_PKG_VERSION"))),
        ("grpc-timeout", &timeout),
    ] {
        hpack::encode(&mut block, name, value, false);
    }
    for (name, value) in &target.metadata {
        hpack::encode(&mut block, name, value, true);
    }
    block
}
