//! Probe: whether a DNS server has the records that a name should have.
//!
//! What each setting means is said in the README. The modules: [`settings`] says what to ask, [`wire`] is the protocol, this one asks. It does not
//! validate signatures and follows no referrals: it asks one server, which should know or find out.
#![forbid(unsafe_code)]

mod settings;
mod wire;

use std::borrow::Cow;

use hilum_plugin::{
    Description, Grant, Host, NetworkError, Outcome, Place, Plugin, Probe, Request, Settings, SettingsError, shown,
};

use crate::settings::PORT;
pub use crate::settings::Target;
use crate::wire::{MAX_DATAGRAM, Malformed, Reply};

/// Datagrams that are passed over because they are no answer to the question. A few are late answers; more is somebody guessing.
const MAX_STRAYS: usize = 16;

/// Records that are shown to people.
const SHOWN: usize = 8;

/// Bytes of one record that are shown to people.
const SHOWN_BYTES: usize = 80;

/// Codes by which a server refuses. **Source:** RFC 1035, RFC 2136.
const CODES: &[(u16, &str, &str)] = &[
    (1, "FORMERR", "it does not understand the question"),
    (2, "SERVFAIL", "it could not find out"),
    (3, "NXDOMAIN", "there is no such name"),
    (4, "NOTIMP", "it does not answer such questions"),
    (5, "REFUSED", "it does not answer us, or not about this name"),
    (9, "NOTAUTH", "it does not answer for this name"),
];

/// The plugin.
#[derive(Debug)]
pub struct ProbeDns;

impl Plugin for ProbeDns {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-dns",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant {
                    kind: "connect",
                    value: None,
                    reason: "udp:HOST:PORT of the server, and HOST:PORT for answers that do not fit in a datagram",
                },
                Grant {
                    kind: "resolve",
                    value: None,
                    reason: "`name`, if `server` is not set: any entry lets the probe see which servers the machine asks",
                },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Probe for ProbeDns {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        find(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeDns);

/// One question. An early end is an `Err`.
fn find(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let asking = Asking { target, host, place: server(target, host)? };
    let reply = if target.by_tcp { asking.by_tcp(true)? } else { asking.by_udp()? };
    Ok(match reply {
        Reply::Records(records) => asking.judge(&records),
        Reply::Refusal(code) => asking.refusal(code),
        // Neither comes out of the asking.
        Reply::Stray | Reply::Truncated => Outcome::Fail(asking.story("it did not answer the question")),
    })
}

/// Whom to ask.
fn server<'a>(target: &'a Target, host: &impl Host) -> Result<Cow<'a, Place>, Outcome> {
    if let Some(place) = &target.server {
        return Ok(Cow::Borrowed(place));
    }
    let servers = host.dns_servers().map_err(|error| {
        Outcome::Unknown(format!("cannot see which DNS servers the machine asks: {error}; or set server"))
    })?;
    let first = servers.into_iter().next().ok_or_else(|| {
        Outcome::Unknown("this machine asks no DNS server; write server = \"10.0.0.2:53\"".to_owned())
    })?;
    Ok(Cow::Owned(Place { host: first, port: PORT }))
}

struct Asking<'a> {
    target: &'a Target,
    host: &'a dyn Host,
    place: Cow<'a, Place>,
}

impl Asking<'_> {
    /// A text about the answer.
    fn story(&self, what: &str) -> String {
        let question = &self.target.question;
        format!("asked {} for {} of {}: {what}", self.place, question.kind, question.name)
    }

    fn failure(&self, error: &Malformed) -> Outcome {
        Outcome::Fail(self.story(&format!("its answer is broken: {error}")))
    }

    /// A number that nobody can guess.
    fn id(&self) -> u16 {
        u16::from_be_bytes(self.host.random(2).try_into().unwrap_or_default())
    }

    fn by_udp(&self) -> Result<Reply, Outcome> {
        match self.by_datagram(true)? {
            // It may not know how to be told that datagrams may be long.
            Reply::Refusal(1 | 4) => self.by_datagram(false),
            reply => Ok(reply),
        }
    }

    fn by_datagram(&self, extended: bool) -> Result<Reply, Outcome> {
        let place = &self.place;
        let mut socket = self
            .host
            .connect_udp(&place.host, place.port)
            .map_err(|error| error.outcome(&format!("ask {place} by UDP")))?;
        let (id, question) = (self.id(), &self.target.question);
        socket.send(&question.message(id, extended)).map_err(|error| error.outcome(&format!("ask {place} by UDP")))?;
        for strays in 0..=MAX_STRAYS {
            let limit = u32::from(MAX_DATAGRAM).max(4096);
            let message = socket.receive(limit).map_err(|error| match error {
                NetworkError::TimedOut if strays > 0 => Outcome::Fail(
                    self.story(&format!("no answer in time, but {strays} datagrams that do not answer this question")),
                ),
                NetworkError::TimedOut => Outcome::Fail(self.story("no answer in time")),
                NetworkError::Refused => Outcome::Fail(self.story("nobody listens there")),
                other => other.outcome(&self.story("read the answer")),
            })?;
            match wire::read(&message, id, question) {
                Ok(Reply::Stray) => {}
                Ok(Reply::Truncated) => return self.by_tcp(extended),
                Ok(reply) => return Ok(reply),
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Err(Outcome::Fail(
            self.story(&format!("more than {MAX_STRAYS} datagrams came that do not answer this question")),
        ))
    }

    fn by_tcp(&self, extended: bool) -> Result<Reply, Outcome> {
        let place = &self.place;
        let mut connection = self.host.connect(&place.host, place.port).map_err(|error| match error {
            NetworkError::Denied(why) if !self.target.by_tcp => {
                Outcome::Unknown(self.story(&format!("the answer is too long for UDP, and {why}")))
            }
            other => other.outcome(&format!("ask {place} by TCP")),
        })?;
        let id = self.id();
        let message = self.target.question.message(id, extended);
        // A question is far shorter than 64 KiB.
        let mut framed = u16::try_from(message.len()).unwrap_or_default().to_be_bytes().to_vec();
        framed.extend_from_slice(&message);
        connection.write(&framed).map_err(|error| error.outcome(&format!("ask {place} by TCP")))?;
        let mut answer = Vec::new();
        loop {
            let length = answer.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
            if let Some(message) = length.and_then(|length| answer.get(2..)?.get(..length)) {
                return match wire::read(message, id, &self.target.question) {
                    Ok(Reply::Stray) => {
                        Err(Outcome::Fail(self.story(&format!("it answered something else: {}", shown(message)))))
                    }
                    Ok(Reply::Truncated) => Err(Outcome::Fail(self.story("its answer is cut, though TCP has room"))),
                    Ok(reply) => Ok(reply),
                    Err(error) => Err(self.failure(&error)),
                };
            }
            let rest = length.map_or(2, |length| length.saturating_add(2)).saturating_sub(answer.len());
            let chunk = connection.read(u32::try_from(rest).unwrap_or(u32::MAX)).map_err(|error| match error {
                NetworkError::TimedOut => {
                    Outcome::Fail(self.story(&format!("no answer in time, only {} bytes of it", answer.len())))
                }
                other => other.outcome(&format!("read the answer of {place}")),
            })?;
            if chunk.is_empty() {
                let story = format!("it closed the connection after {} bytes of an answer", answer.len());
                return Err(Outcome::Fail(self.story(&story)));
            }
            answer.extend_from_slice(&chunk);
        }
    }

    fn refusal(&self, code: u16) -> Outcome {
        let known = CODES.iter().find(|(number, _, _)| *number == code);
        let what = known.map_or_else(|| format!("code {code}"), |(_, word, why)| format!("{word}: {why}"));
        Outcome::Fail(self.story(&what))
    }

    fn judge(&self, records: &[String]) -> Outcome {
        let Target { expected, least, .. } = self.target;
        if records.is_empty() {
            return Outcome::Fail(self.story("no data: the name has no such record"));
        }
        let missing: Vec<&String> =
            expected.iter().filter(|wanted| !records.iter().any(|record| record == *wanted)).collect();
        if !missing.is_empty() {
            return Outcome::Fail(self.story(&format!("{} not there; it has {}", list(&missing), list(records))));
        }
        if records.len() < *least {
            let story = format!("{} of at least {least} records: {}", records.len(), list(records));
            return Outcome::Fail(self.story(&story));
        }
        Outcome::Pass
    }
}

/// The first of `records`, for people.
fn list(records: &[impl AsRef<str>]) -> String {
    let one = |record: &str| {
        let start = record.get(..record.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default();
        let more = if record.len() > SHOWN_BYTES { "…" } else { "" };
        format!("\"{}{more}\"", start.escape_debug())
    };
    let mut text: Vec<String> = records.iter().take(SHOWN).map(|record| one(record.as_ref())).collect();
    if records.len() > SHOWN {
        text.push(format!("and {} more", records.len() - SHOWN));
    }
    text.join(", ")
}
