//! Whom to ask about what, from the plan's `with` table.

use std::fmt;

use hilum_plugin::tls::Tls;
use hilum_plugin::{Place, Setting, Settings, SettingsError};

/// Bytes of a service's name. They are far shorter; and so the question fits into a frame.
const MAX_SERVICE: usize = 1024;

/// Bytes of all metadata. Servers commonly take 8 KiB.
const MAX_METADATA: usize = 8 * 1024;

/// Fields that are the probe's or the protocol's.
const OWN: &[&str] =
    &["te", "content-type", "user-agent", "host", "connection", "transfer-encoding", "upgrade", "keep-alive"];

/// One question.
pub struct Target {
    pub(crate) place: Place,
    pub(crate) service: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) tls: Option<Tls>,
}

impl fmt::Debug for Target {
    /// Not what it says: metadata may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("place", &self.place).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let place = Place::read(settings, None)?;
        let service = match settings.optional("service") {
            None => String::new(),
            Some(service) => {
                let text = service.string()?;
                if text.len() > MAX_SERVICE {
                    let story = format_args!("has {} bytes; at most {MAX_SERVICE} are sent", text.len());
                    return Err(service.error(story));
                }
                text.to_owned()
            }
        };
        let metadata = settings.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
        let tls = settings.optional("tls").map(Tls::read).transpose()?;
        Ok(Target { place, service, metadata, tls })
    }

    /// The server's name, as a request says it.
    pub(crate) fn authority(&self) -> String {
        match self.tls.as_ref().and_then(Tls::server_name) {
            Some(name) => Place { host: name.to_owned(), port: self.place.port }.to_string(),
            None => self.place.to_string(),
        }
    }

    /// `text` without the values of metadata.
    pub(crate) fn masked(&self, text: String) -> String {
        let values = self.metadata.iter().map(|(_, value)| value.as_str());
        // A word such as "1" is no secret, and would tear holes everywhere.
        let mut values: Vec<&str> =
            values.flat_map(|value| [value, value.rsplit(' ').next().unwrap_or_default()]).collect();
        values.retain(|value| value.len() >= 4);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text, |text, value| text.replace(value, "***"))
    }
}

fn read_metadata(setting: Setting) -> Result<Vec<(String, String)>, SettingsError> {
    let mut metadata = Vec::new();
    let mut size = 0_usize;
    for (name, value) in setting.entries()? {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(value.error("not a name of metadata; write one in lower case such as \"authorization\""));
        }
        if name.ends_with("-bin") {
            return Err(value.error("binary metadata cannot be sent; leave it out"));
        }
        if name.starts_with("grpc-") || OWN.contains(&name.as_str()) {
            return Err(value.error("this name is not yours to set; leave it out"));
        }
        let text = value.secret()?;
        if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) || text.trim_matches(' ') != text {
            return Err(value.error("must be printable ASCII, without spaces at its ends"));
        }
        size = size.saturating_add(name.len()).saturating_add(text.len());
        if size > MAX_METADATA {
            return Err(value.error(format_args!("is one too many: all metadata may have {MAX_METADATA} bytes")));
        }
        metadata.push((name, text.to_owned()));
    }
    Ok(metadata)
}
