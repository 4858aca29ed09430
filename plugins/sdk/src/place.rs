//! Where a service answers, as most probes are told it: by the settings `host` and `port`.

use std::fmt;

use crate::host::{Connection, Host, NetworkError};
use crate::settings::{Settings, SettingsError};

/// A host and a port. Shown as `host:port`, an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// IPv4 or IPv6 address without brackets, or a name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Place {
    /// Reads `host`, which must be there, and `port`, which must be there if it has no `usual` value.
    ///
    /// **Errors:** one is missing, or cannot be one.
    pub fn read(settings: &mut Settings, usual: Option<u16>) -> Result<Place, SettingsError> {
        let host = settings.required("host", "host = \"127.0.0.1\"")?;
        let port = match (settings.optional("port"), usual) {
            (Some(port), _) => u16::try_from(port.integer(1, 65_535)?).unwrap_or(u16::MAX),
            (None, Some(usual)) => usual,
            (None, None) => return Err(SettingsError::new("port", "missing; write port = 5432")),
        };
        let name = host.string()?;
        if name.is_empty() || name.contains(|c: char| c == '[' || c == ']' || c == '/' || c.is_whitespace()) {
            return Err(host.error(format_args!(
                "{name:?} is not an address or a name; write \"127.0.0.1\", \"::1\" or \"localhost\""
            )));
        }
        Ok(Place { host: name.to_owned(), port })
    }

    /// Connects to it.
    ///
    /// **Errors:** [`NetworkError`].
    pub fn connect(&self, host: &impl Host) -> Result<Box<dyn Connection>, NetworkError> {
        host.connect(&self.host, self.port)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::settings::Settings;

    #[test]
    fn is_read_and_shown() {
        let read = |json: &str, usual| {
            Settings::parse(json)
                .and_then(|mut settings| Place::read(&mut settings, usual))
                .map_or_else(|error| error.to_string(), |place| place.to_string())
        };
        for (json, usual, wanted) in [
            (r#"{"host": "::1", "port": 7}"#, None, "[::1]:7"),
            (r#"{"host": "db"}"#, Some(5432), "db:5432"),
            (r#"{"host": "db", "port": 1}"#, Some(5432), "db:1"),
        ] {
            assert_eq!(read(json, usual), wanted);
        }
        for (json, said) in [
            ("{}", "host: missing; write host ="),
            (r#"{"host": "db"}"#, "port: missing; write port ="),
            (r#"{"host": "db", "port": 0}"#, "port: must be a whole number from 1 to 65535, not 0"),
            (r#"{"host": "[::1]", "port": 1}"#, "host: \"[::1]\" is not an address or a name"),
            (r#"{"host": "a b", "port": 1}"#, "is not an address"),
        ] {
            assert!(read(json, None).contains(said), "{json}: {}", read(json, None));
        }
    }
}
