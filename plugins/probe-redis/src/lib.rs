//! Probe: a Redis server answers a command.
//!
//! What each setting means is said in the README. The modules: [`settings`] says what to ask, [`resp`] is the protocol, [`shown`] makes
//! bytes fit for people, this one asks and judges.
#![forbid(unsafe_code)]

mod resp;
mod settings;
mod shown;

use hilum_plugin::{
    Description, Grant, Host, NetworkError, Outcome, Plugin, Probe, Request, Settings, SettingsError, tls,
};

use crate::resp::{Answer, Wire, WireError};
pub use crate::settings::Target;
use crate::settings::Wanted;

/// The plugin.
#[derive(Debug)]
pub struct ProbeRedis;

impl Plugin for ProbeRedis {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-redis",
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

impl Probe for ProbeRedis {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        ask(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeRedis);

/// One connection: log in, choose the database, ask. An early end is an `Err`.
fn ask(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let place = target.place.to_string();
    let connection = tls::connect(&target.place, target.tls.as_ref(), host, &[])?;
    let mut session = Session { wire: Wire::new(connection), target, place };
    if let Some(words) = target.login() {
        // The arguments are nobody's business.
        session.confirm("AUTH", &words)?;
    }
    if let Some(database) = target.database {
        let number = database.to_string();
        session.confirm(&format!("SELECT {number}"), &["SELECT", &number])?;
    }
    let question = target.question();
    let words: Vec<&str> = target.command.iter().map(String::as_str).collect();
    let answer = session.answer(&question, &words)?;
    Ok(session.judge(&question, &answer))
}

/// A connection and the words to speak of it.
struct Session<'a> {
    wire: Wire,
    target: &'a Target,
    place: String,
}

impl Session<'_> {
    /// Asks for something that is answered with `OK`.
    fn confirm(&mut self, question: &str, words: &[&str]) -> Result<(), Outcome> {
        match self.answer(question, words)? {
            Answer::Text(text) if text == b"OK" => Ok(()),
            other => {
                let found = self.described(&other);
                Err(Outcome::Fail(format!("{} answered {question} with {found}, not with \"OK\"", self.place)))
            }
        }
    }

    /// Asks; an error is an early end, whatever was asked.
    fn answer(&mut self, question: &str, words: &[&str]) -> Result<Answer, Outcome> {
        match self.wire.ask(words) {
            Ok(Answer::Error(text)) => Err(Outcome::Fail(format!(
                "{} answered {question} with the error {}{}",
                self.place,
                shown::error(&text, self.target.password()),
                hint(&text, self.target)
            ))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.broken(question, &error)),
        }
    }

    /// What to say of a question that got no answer.
    fn broken(&self, question: &str, error: &WireError) -> Outcome {
        let place = &self.place;
        let came = match self.wire.came() {
            [] => "nothing".to_owned(),
            bytes => self.shown(bytes),
        };
        match error {
            WireError::Send(error) => error.outcome(&format!("send {question} to {place}")),
            WireError::Receive(error) => {
                let outcome = error.outcome(&format!("get an answer to {question} from {place}, which sent {came}"));
                match (error, outcome) {
                    (NetworkError::Closed, Outcome::Fail(story)) => {
                        Outcome::Fail(format!("{story}{}", self.hint_silent()))
                    }
                    (_, outcome) => outcome,
                }
            }
            WireError::Ended => Outcome::Fail(format!(
                "{place} closed the connection before its answer to {question} was complete; it sent {came}{}",
                self.hint_silent()
            )),
            WireError::Foreign if self.wire.came().starts_with(TLS_ALERT) => Outcome::Fail(format!(
                "{place} does not speak the Redis protocol: it sent {came}, which is TLS{HINT_TLS}"
            )),
            WireError::Foreign => Outcome::Fail(format!(
                "{place} does not speak the Redis protocol: it sent {came} when asked {question}"
            )),
            WireError::Malformed(story) => Outcome::Fail(format!(
                "{place} does not speak the Redis protocol: it sent {came} when asked {question}, {story}"
            )),
            WireError::TooMuch(story) => Outcome::Fail(format!(
                "{place} answered {question} with more than is read: {story}; ask for less; it sent {came}"
            )),
            WireError::Unasked => {
                Outcome::Fail(format!("{place} sent more than one answer to {question}: it sent {came}"))
            }
        }
    }

    /// The way out where the connection ended without a word, as on the TLS port of Redis.
    fn hint_silent(&self) -> &'static str {
        if self.wire.came().is_empty() && self.target.tls.is_none() { HINT_TLS } else { "" }
    }

    fn judge(&self, question: &str, answer: &Answer) -> Outcome {
        let place = &self.place;
        let found = || self.described(answer);
        match (&self.target.wanted, answer) {
            (Wanted::Anything, _) => Outcome::Pass,
            (Wanted::Exactly(wanted), Answer::Text(text)) if text == wanted.as_bytes() => Outcome::Pass,
            (Wanted::Exactly(_), Answer::List { .. }) => Outcome::Fail(format!(
                "{place} answered {question} with {}, which expect cannot be; use contains",
                found()
            )),
            (Wanted::Exactly(wanted), _) => Outcome::Fail(format!(
                "{place} answered {question} with {}, not with {}",
                found(),
                self.shown(wanted.as_bytes())
            )),
            (Wanted::Within(wanted), Answer::Text(text) | Answer::List { text, .. })
                if text.windows(wanted.len()).any(|part| part == wanted.as_bytes()) =>
            {
                Outcome::Pass
            }
            (Wanted::Within(wanted), _) => Outcome::Fail(format!(
                "{place} answered {question} with {}, which does not contain {}",
                found(),
                self.shown(wanted.as_bytes())
            )),
        }
    }

    fn described(&self, answer: &Answer) -> String {
        match answer {
            Answer::Text(text) | Answer::Error(text) => self.shown(text),
            Answer::Nil => "nil (there is no such thing)".to_owned(),
            Answer::List { count: 0, .. } => "an empty list".to_owned(),
            Answer::List { text, .. } => format!("the list {}", self.shown(text)),
        }
    }

    fn shown(&self, bytes: &[u8]) -> String {
        shown::bytes(bytes, self.target.password())
    }
}

/// The way out where a server may want TLS.
const HINT_TLS: &str = "; if it speaks TLS, write tls = {}";

/// How a TLS server says that it did not understand: the record type alert and the major version.
///
/// **Source:** RFC 8446, section 5.1.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// The way out of an error, where it lies in the settings.
fn hint(error: &[u8], target: &Target) -> &'static str {
    let is = |start: &str| error.starts_with(start.as_bytes());
    let named = target.has_username();
    if is("NOAUTH") && target.password().is_none() {
        "; set password, and username unless it is the default user's"
    } else if is("WRONGPASS") || is("ERR invalid password") {
        if named {
            "; check username and password"
        } else {
            "; check password, or set username if it is not the default user's"
        }
    } else if is("ERR AUTH") || is("ERR Client sent AUTH") {
        "; leave password out, or set one at the server"
    } else if is("ERR wrong number of arguments for 'auth'") && named {
        "; leave username out, this server knows passwords only"
    } else if is("NOPERM") {
        "; allow it to this user at the server, with ACL SETUSER"
    } else {
        ""
    }
}
