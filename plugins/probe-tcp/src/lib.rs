//! Probe: whether someone accepts a TCP connection and, if asked, whether the first bytes are the right ones.
//!
//! What each setting means is said in the README; what is a failure and what is unknown is [`TcpError::outcome`]'s rule.
#![forbid(unsafe_code)]

use hilum_plugin::{
    Connection, Description, Grant, Host, Outcome, Place, Probe, Request, Settings, SettingsError, TcpError, shown,
};

/// Bytes that are searched for `expect`. A greeting has a line or two.
const MAX_ANSWER: usize = 64 * 1024;

/// The plugin.
#[derive(Debug)]
pub struct ProbeTcp;

impl Probe for ProbeTcp {
    fn describe() -> Description {
        Description {
            name: "probe-tcp",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "connect", value: None, reason: "host and port of the settings" }],
        }
    }

    fn check(request: &Request, host: &dyn Host) -> Outcome {
        let target = match Target::read(&request.settings) {
            Ok(target) => target,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        let place = &target.place;
        let mut connection = match place.connect(host) {
            Ok(connection) => connection,
            Err(error) => return error.outcome(&format!("connect to {place}")),
        };
        if let Some(text) = &target.send
            && let Err(error) = connection.write(text.as_bytes())
        {
            return error.outcome(&format!("send to {place}"));
        }
        match &target.expect {
            None => Outcome::Pass,
            Some(text) => expect(connection.as_mut(), text.as_bytes(), place),
        }
    }
}

hilum_plugin::export!(ProbeTcp);

/// Where to connect and what to say there.
struct Target {
    place: Place,
    send: Option<String>,
    expect: Option<String>,
}

impl Target {
    fn read(json: &str) -> Result<Target, SettingsError> {
        let mut settings = Settings::parse(json)?;
        let place = Place::read(&mut settings, None)?;
        let send = settings.optional("send").map(|text| text.string().map(str::to_owned)).transpose()?;
        let expect = settings.optional("expect").map(|text| text.string().map(str::to_owned)).transpose()?;
        settings.finish()?;
        Ok(Target { place, send, expect })
    }
}

/// Reads until `wanted` is among the bytes.
fn expect(connection: &mut dyn Connection, wanted: &[u8], place: &Place) -> Outcome {
    let mut answer = Vec::new();
    loop {
        // Not searched twice: what came before can only hold the beginning of a match.
        let from = answer.len().saturating_sub(wanted.len());
        let rest = MAX_ANSWER.saturating_sub(answer.len());
        let chunk = match connection.read(u32::try_from(rest).unwrap_or(u32::MAX)) {
            Ok(chunk) => chunk,
            Err(TcpError::TimedOut) => {
                return Outcome::Fail(format!("{place} did not send {} in time, {}", shown(wanted), came(&answer)));
            }
            Err(error) => return error.outcome(&format!("read from {place}")),
        };
        let ended = chunk.is_empty();
        answer.extend_from_slice(&chunk);
        if wanted.is_empty()
            || answer.get(from..).is_some_and(|new| new.windows(wanted.len()).any(|part| part == wanted))
        {
            return Outcome::Pass;
        }
        if ended {
            return Outcome::Fail(format!("{place} did not send {}, {}", shown(wanted), came(&answer)));
        }
    }
}

fn came(answer: &[u8]) -> String {
    if answer.is_empty() { "it sent nothing".to_owned() } else { format!("it sent {}", shown(answer)) }
}
