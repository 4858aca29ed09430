//! Where to log in and what to ask there, from the plan's `with` table.

use hilum_plugin::tls::Tls;
use hilum_plugin::{Place, Setting, Settings, SettingsError};
use std::fmt;

/// The port IANA has given to AMQP, and the one for AMQP with TLS from the first byte.
const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

/// What a short string of the protocol can hold. **Units:** bytes.
const MAX_SHORT: usize = 255;

/// The longest password. **Units:** bytes. With the longest user name the login then still fits into the 8 KiB that brokers take before
/// the size of frames is agreed on. Tokens that serve as passwords are one or two KiB long.
const MAX_PASSWORD: usize = 7 * 1024;

/// One login and its expectations.
pub struct Target {
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
    pub(crate) username: String,
    /// Never shown.
    pub(crate) password: String,
    pub(crate) virtual_host: String,
    pub(crate) queue: Option<Queue>,
}

/// A queue to look at.
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) max_messages: Option<u32>,
    pub(crate) min_consumers: Option<u32>,
}

impl fmt::Debug for Target {
    /// Not what it says: there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let tls = settings.optional("tls").map(Tls::read).transpose()?;
        let place = Place::read(settings, Some(if tls.is_some() { TLS_PORT } else { PORT }))?;
        let username = match settings.optional("username") {
            None => "guest".to_owned(),
            Some(name) => without_nul(&name, read_short(&name)?)?,
        };
        let password = match settings.optional("password") {
            None => "guest".to_owned(),
            Some(password) => read_password(&password)?,
        };
        let virtual_host = match settings.optional("virtual-host") {
            None => "/".to_owned(),
            Some(name) => read_short(&name)?,
        };
        let name = settings.optional("queue").map(|name| read_short(&name)).transpose()?;
        let max_messages = read_bound(settings.optional("max-messages"), name.is_some())?;
        let min_consumers = read_bound(settings.optional("min-consumers"), name.is_some())?;
        let queue = name.map(|name| Queue { name, max_messages, min_consumers });
        Ok(Target { place, tls, username, password, virtual_host, queue })
    }
}

/// A text that fits into a short string of the protocol and is not empty.
fn read_short(setting: &Setting) -> Result<String, SettingsError> {
    let text = setting.string()?;
    if text.is_empty() {
        return Err(setting.error("must not be empty; leave it out for the default"));
    }
    if text.len() > MAX_SHORT {
        return Err(setting.error(format_args!("has {} bytes; AMQP allows {MAX_SHORT}", text.len())));
    }
    Ok(text.to_owned())
}

/// **Source:** RFC 4616, section 2: a zero byte ends a field of the login.
fn without_nul(setting: &Setting, text: String) -> Result<String, SettingsError> {
    if text.contains('\0') { Err(setting.error("cannot hold a zero byte")) } else { Ok(text) }
}

fn read_password(setting: &Setting) -> Result<String, SettingsError> {
    let text = setting.secret()?;
    if text.len() > MAX_PASSWORD {
        return Err(setting.error(format_args!("has {} bytes; this probe sends at most {MAX_PASSWORD}", text.len())));
    }
    without_nul(setting, text.to_owned())
}

/// A bound on what a queue has; without a queue it would be asked of nothing.
fn read_bound(setting: Option<Setting>, has_queue: bool) -> Result<Option<u32>, SettingsError> {
    let Some(setting) = setting else { return Ok(None) };
    let bound = setting.integer(0, i64::from(u32::MAX))?;
    if !has_queue {
        return Err(setting.error("is about a queue and none is named; write queue = \"orders\" too"));
    }
    Ok(Some(u32::try_from(bound).unwrap_or(u32::MAX)))
}
