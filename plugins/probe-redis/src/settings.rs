//! Where to ask, as whom, what, and what to expect, from the plan's `with` table.

use hilum_plugin::tls::Tls;
use hilum_plugin::{Place, Setting, Settings, SettingsError};
use std::fmt;

use crate::shown;

/// Where a Redis server listens when nobody says otherwise.
const PORT: u16 = 6379;

/// Bytes of a command with its framing. The host takes 1 MiB at a time; a health question has one line.
const MAX_COMMAND: usize = 64 * 1024;

/// Bytes of a user name and of a password.
const MAX_CREDENTIAL: usize = 4096;

/// Commands that the probe cannot let anyone use.
const REFUSED: &[(&str, &str)] = &[
    ("AUTH", "is sent by the probe; set username and password"),
    ("HELLO", "would change the protocol; set username and password to log in"),
    ("SUBSCRIBE", GOES_ON),
    ("PSUBSCRIBE", GOES_ON),
    ("SSUBSCRIBE", GOES_ON),
    ("MONITOR", GOES_ON),
    ("SYNC", GOES_ON),
    ("PSYNC", GOES_ON),
];

const GOES_ON: &str = "has no single answer; write one that has, such as [\"PING\"]";

/// Commands whose arguments may be secrets; messages name the command only.
const DISCREET: &[&str] = &["ACL", "CONFIG", "MIGRATE"];

/// One question and its expectation.
pub struct Target {
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
    username: Option<String>,
    password: Option<String>,
    pub(crate) database: Option<i64>,
    /// At least one word.
    pub(crate) command: Vec<String>,
    pub(crate) wanted: Wanted,
}

/// What the answer must be like.
pub(crate) enum Wanted {
    /// No error.
    Anything,
    /// This text.
    Exactly(String),
    /// This text and anything around it. Not empty.
    Within(String),
}

impl fmt::Debug for Target {
    /// Not what it says: there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let place = Place::read(settings, Some(PORT))?;
        let tls = settings.optional("tls").map(Tls::read).transpose()?;
        let username = settings.optional("username").map(|name| read_credential(&name)).transpose()?;
        let password = settings.optional("password").map(|word| read_credential(&word)).transpose()?;
        let database =
            settings.optional("database").map(|number| number.integer(0, i64::from(i32::MAX))).transpose()?;
        let command = match settings.optional("command") {
            None => vec!["PING".to_owned()],
            Some(words) => read_command(words)?,
        };
        let expect = settings.optional("expect");
        let contains = settings.optional("contains");
        if username.is_some() && password.is_none() {
            return Err(SettingsError::new("username", "has no password beside it; write password = \"…\" too"));
        }
        let wanted = match (expect, contains) {
            (Some(_), Some(contains)) => {
                return Err(contains.error("there is expect too; keep the one that is meant"));
            }
            (Some(text), None) => Wanted::Exactly(text.string()?.to_owned()),
            (None, Some(text)) => match text.string()? {
                "" => {
                    return Err(text.error("an empty text is in every answer; write one that is not, or leave it out"));
                }
                part => Wanted::Within(part.to_owned()),
            },
            (None, None) => match command.as_slice() {
                [word] if word.eq_ignore_ascii_case("PING") => Wanted::Exactly("PONG".to_owned()),
                _ => Wanted::Anything,
            },
        };
        Ok(Target { place, tls, username, password, database, command, wanted })
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(crate) fn has_username(&self) -> bool {
        self.username.is_some()
    }

    /// The command that logs in.
    pub(crate) fn login(&self) -> Option<Vec<&str>> {
        let password = self.password.as_deref()?;
        Some(match self.username.as_deref() {
            None => vec!["AUTH", password],
            Some(username) => vec!["AUTH", username, password],
        })
    }

    /// The command, for messages.
    pub(crate) fn question(&self) -> String {
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        match words.split_first() {
            Some((name, _)) if DISCREET.iter().any(|discreet| name.eq_ignore_ascii_case(discreet)) => {
                shown::command(&[name], self.password())
            }
            _ => shown::command(&words, self.password()),
        }
    }
}

/// A user name or a password. No message shows what was found: a password may stand where a name should.
fn read_credential(setting: &Setting) -> Result<String, SettingsError> {
    match setting.secret()? {
        "" => Err(setting.error("is empty; leave it out if the server asks for none")),
        text if text.len() > MAX_CREDENTIAL => {
            Err(setting.error(format_args!("has {} bytes; at most {MAX_CREDENTIAL} are sent", text.len())))
        }
        text => Ok(text.to_owned()),
    }
}

fn read_command(setting: Setting) -> Result<Vec<String>, SettingsError> {
    const EXAMPLE: &str = "write a word each, such as [\"GET\", \"health\"]";
    /// Framing of one word, the longest length included.
    const FRAME: usize = 16;
    let items = setting.items();
    let Some(first) = items.first() else {
        return Err(SettingsError::new("command", format_args!("an empty list asks nothing; {EXAMPLE}")));
    };
    let name = first.string()?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(first.error(format_args!("{name:?} is not the name of a command; {EXAMPLE}")));
    }
    if let Some((_, story)) = REFUSED.iter().find(|(refused, _)| name.eq_ignore_ascii_case(refused)) {
        return Err(first.error(format_args!("{name} {story}")));
    }
    let words: Vec<String> = items.iter().map(|word| word.string().map(str::to_owned)).collect::<Result<_, _>>()?;
    let size = words.iter().fold(FRAME, |size, word| size.saturating_add(word.len()).saturating_add(FRAME));
    if size > MAX_COMMAND {
        return Err(SettingsError::new("command", format_args!("has {size} bytes; at most {MAX_COMMAND} are sent")));
    }
    Ok(words)
}
