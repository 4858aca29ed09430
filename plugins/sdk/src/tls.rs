//! The settings table `tls`, the same for every plugin that speaks TLS: whom to trust, and who we are.
//!
//! TLS itself is the host's. Certificates and keys stand in the table as PEM text or are read from files, so that a renewed file counts from
//! the next call on.

use std::fmt;

use crate::host::{Connection, FileError, Host, Identity, NetworkError, TlsOptions, Trust};
use crate::place::Place;
use crate::plugin::Outcome;
use crate::settings::{Setting, SettingsError};

/// Longest file that is read. **Units:** bytes. A system's whole bundle has about 220 KiB. The host takes 1 MiB of arguments in one call, and up
/// to three files go into one.
const MAX_FILE: usize = 320 * 1024;

/// How PEM text begins.
const PEM: &str = "-----BEGIN";

/// How a connection is protected. The default trusts whom the machine trusts and shows no certificate.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tls {
    ca: Option<Pem>,
    server_name: Option<String>,
    insecure: bool,
    identity: Option<(Pem, Pem)>,
}

impl fmt::Debug for Tls {
    /// Not what it says: there may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// PEM text, or where it is.
#[derive(Clone, PartialEq, Eq)]
enum Pem {
    Text(String),
    File(String),
}

impl Pem {
    fn read(setting: &Setting) -> Result<Pem, SettingsError> {
        // What was found is not shown: it may be a key, misspelt.
        let text = setting.secret()?;
        let start = text.trim_start();
        if start.starts_with(PEM) {
            Ok(Pem::Text(start.to_owned()))
        } else if start.starts_with('/') {
            Ok(Pem::File(text.to_owned()))
        } else {
            Err(setting
                .error(format_args!("neither PEM text ({PEM} …) nor an absolute path such as \"/etc/tls/ca.pem\"")))
        }
    }

    fn text(&self, key: &str, host: &impl Host) -> Result<String, PemError> {
        let path = match self {
            Pem::Text(text) => return Ok(text.clone()),
            Pem::File(path) => path,
        };
        let limit = u32::try_from(MAX_FILE).unwrap_or(u32::MAX).saturating_add(1);
        let bytes = host.read_file(path, 0, limit).map_err(|error| {
            let story = format!("cannot read tls.{key} from {path}: {error}");
            match error {
                FileError::Denied(_) | FileError::Invalid(_) => PemError::Refused(story),
                _ => PemError::Unusable(story),
            }
        })?;
        if bytes.len() > MAX_FILE {
            let story = format!("tls.{key}: {path} has more than {} KiB; name a shorter file", MAX_FILE / 1024);
            return Err(PemError::Unusable(story));
        }
        let text = String::from_utf8(bytes).ok().filter(|text| text.contains(PEM));
        text.ok_or_else(|| PemError::Unusable(format!("tls.{key}: {path} is not PEM text; it has no line {PEM} …")))
    }
}

/// Why a file of the table cannot be used. Texts are for people and name the key and the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PemError {
    /// The plan does not allow it, or the path cannot be one; another try does not help.
    Refused(String),
    /// It is not there, cannot be read, or is not what it should be; somebody may be about to replace it.
    Unusable(String),
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (PemError::Refused(story) | PemError::Unusable(story)) = self;
        f.write_str(story)
    }
}

impl std::error::Error for PemError {}

/// Connects to `place`, with TLS if the settings have a table for it, and offers `protocols` (ALPN) then.
///
/// **Errors:** what a probe makes of it, as for [`NetworkError::outcome`] and [`Tls::protect`].
pub fn connect(
    place: &Place,
    tls: Option<&Tls>,
    host: &impl Host,
    protocols: &[&str],
) -> Result<Box<dyn Connection>, Outcome> {
    let connection = place.connect(host).map_err(|error| error.outcome(&format!("connect to {place}")))?;
    match tls {
        Some(tls) => tls.protect(connection, host, &place.host, &place.to_string(), protocols),
        None => Ok(connection),
    }
}

impl Tls {
    /// Reads the table: `ca`, `server-name`, `insecure`, `certificate` and `key`.
    ///
    /// **Errors:** the first mistake.
    pub fn read(setting: Setting) -> Result<Tls, SettingsError> {
        let (mut tls, name) = Tls::parts(setting)?;
        if let Some(name) = name {
            let text = name.string()?;
            if text.is_empty() || text.contains(|c: char| c == '[' || c == ']' || c.is_whitespace() || c.is_control()) {
                return Err(name.error(format_args!("{text:?} is not a name or an address; write \"db.example\"")));
            }
            tls.server_name = Some(text.to_owned());
        }
        Ok(tls)
    }

    fn parts(setting: Setting) -> Result<(Tls, Option<Setting>), SettingsError> {
        let mut table = setting.table()?;
        let ca = table.optional("ca");
        let name = table.optional("server-name");
        let insecure = table.optional("insecure").map(|flag| flag.boolean()).transpose()?.unwrap_or(false);
        let certificate = table.optional("certificate");
        let key = table.optional("key");
        table.finish()?;
        if let (true, Some(ca)) = (insecure, &ca) {
            return Err(ca.error("insecure trusts anybody; keep the one that is meant"));
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((Pem::read(&certificate)?, Pem::read(&key)?)),
            (Some(certificate), None) => return Err(certificate.error("has no key beside it; write key too")),
            (None, Some(key)) => return Err(key.error("has no certificate beside it; write certificate too")),
            (None, None) => None,
        };
        let ca = ca.map(|ca| Pem::read(&ca)).transpose()?;
        Ok((Tls { ca, server_name: None, insecure, identity }, name))
    }

    /// The name that the peer's certificate must be for, if it is not that of the place.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether a peer that asks who we are is shown a certificate.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        self.identity.is_some()
    }

    /// Who may answer.
    ///
    /// **Errors:** the file of `ca` cannot be used.
    pub fn trust(&self, host: &impl Host) -> Result<Trust, PemError> {
        match &self.ca {
            _ if self.insecure => Ok(Trust::Anybody),
            None => Ok(Trust::System),
            Some(ca) => ca.text("ca", host).map(Trust::Authorities),
        }
    }

    /// Who we are.
    ///
    /// **Errors:** the file of `certificate` or `key` cannot be used.
    pub fn identity(&self, host: &impl Host) -> Result<Option<Identity>, PemError> {
        let Some((certificates, key)) = &self.identity else { return Ok(None) };
        Ok(Some(Identity { certificates: certificates.text("certificate", host)?, key: key.text("key", host)? }))
    }

    /// Protects `connection`, which leads to `name`, and offers `protocols` (ALPN). `place` is its name in messages.
    ///
    /// **Errors:** what a probe makes of it: a peer that is not trusted is a failure; files that cannot be used and a host without TLS are
    /// unknown.
    pub fn protect(
        &self,
        connection: Box<dyn Connection>,
        host: &impl Host,
        name: &str,
        place: &str,
        protocols: &[&str],
    ) -> Result<Box<dyn Connection>, Outcome> {
        let unknown = |error: PemError| Outcome::Unknown(error.to_string());
        let options = TlsOptions {
            server_name: self.server_name.as_deref().unwrap_or(name).to_owned(),
            trust: self.trust(host).map_err(unknown)?,
            identity: self.identity(host).map_err(unknown)?,
            protocols: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
        };
        host.start_tls(connection, &options).map_err(|error| {
            let way_out = match &error {
                NetworkError::Untrusted(why) if why.contains("certificate") => {
                    "; if it is the right one, set tls.ca or tls.server-name"
                }
                // What speaks another protocol may wait for more of it, or end the connection.
                NetworkError::TimedOut | NetworkError::Closed => {
                    "; if it answers others, it may speak no TLS at this port"
                }
                _ => "",
            };
            match error.outcome(&format!("agree on TLS with {place}")) {
                Outcome::Fail(story) => Outcome::Fail(story + way_out),
                outcome => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_FILE, Tls};
    use crate::fake::FakeHost;
    use crate::host::{FileError, Host, Identity, NetworkError, TlsOptions, Trust};
    use crate::json::quoted;
    use crate::plugin::Outcome;
    use crate::settings::{Setting, Settings, SettingsError};

    const CA: &str = "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";

    fn read_by(json: &str, reader: fn(Setting) -> Result<Tls, SettingsError>) -> Result<Tls, String> {
        let mut settings = Settings::parse(&format!("{{\"tls\": {json}}}")).map_err(|error| error.to_string())?;
        let table = settings.required("tls", "tls = {}").map_err(|error| error.to_string())?;
        reader(table).map_err(|error| error.to_string())
    }

    fn read(json: &str) -> Result<Tls, String> {
        read_by(json, Tls::read)
    }

    fn protect(json: &str, host: &FakeHost) -> Result<(), Outcome> {
        let tls = read(json).map_err(Outcome::Unknown)?;
        let connection = host.connect("h", 1).map_err(|error| error.outcome("connect"))?;
        tls.protect(connection, host, "h", "h:1", &["h2"]).map(drop)
    }

    fn peer() -> FakeHost {
        FakeHost::new().with_peer("h", 1, Vec::new())
    }

    #[test]
    fn the_table_becomes_options() {
        let host = peer().with_file("/ca.pem", CA.as_bytes(), 0).with_file("/key.pem", KEY.as_bytes(), 0);
        let (ca, key) = (quoted(CA), quoted(KEY));
        let identity = Some(Identity { certificates: CA.to_owned(), key: KEY.to_owned() });
        for (json, server_name, trust, identity) in [
            ("{}".to_owned(), "h", Trust::System, None),
            (r#"{"insecure": false}"#.to_owned(), "h", Trust::System, None),
            (r#"{"insecure": true}"#.to_owned(), "h", Trust::Anybody, None),
            (format!(r#"{{"ca": {}}}"#, quoted(&format!("\n {CA}"))), "h", Trust::Authorities(CA.to_owned()), None),
            (r#"{"ca": "/ca.pem", "server-name": "db"}"#.to_owned(), "db", Trust::Authorities(CA.to_owned()), None),
            (format!(r#"{{"certificate": "/ca.pem", "key": {key}}}"#), "h", Trust::System, identity.clone()),
            (format!(r#"{{"certificate": {ca}, "key": "/key.pem"}}"#), "h", Trust::System, identity),
        ] {
            assert_eq!(protect(&json, &host), Ok(()), "{json}");
            let server_name = server_name.to_owned();
            let expected = TlsOptions { server_name, trust, identity, protocols: vec!["h2".to_owned()] };
            assert_eq!(host.agreements().last(), Some(&expected), "{json}");
        }
    }

    #[test]
    fn mistakes_in_the_table_are_found_and_no_key_is_shown() {
        let key = quoted(KEY);
        for (json, said) in [
            ("1", "tls: must be a table, not 1"),
            (r#"{"ca": 5}"#, "tls.ca: must be a string; put it in quotes"),
            (r#"{"ca": "ca.pem"}"#, "tls.ca: neither PEM text (-----BEGIN …) nor an absolute path"),
            (r#"{"ca": "/a", "insecure": true}"#, "tls.ca: insecure trusts anybody"),
            (r#"{"insecure": "yes"}"#, "tls.insecure: must be true or false"),
            (r#"{"certificate": "/a"}"#, "tls.certificate: has no key beside it"),
            (&format!(r#"{{"key": {key}}}"#), "tls.key: has no certificate beside it"),
            (r#"{"certificate": "/a", "key": "hunter2"}"#, "tls.key: neither PEM text"),
            (r#"{"server-name": "a b"}"#, "tls.server-name: \"a b\" is not a name or an address"),
            (r#"{"server-name": "[::1]"}"#, "is not a name or an address"),
            (r#"{"cert": "/a"}"#, "tls.cert: no such key; there are ca, server-name, insecure, certificate, key"),
        ] {
            let error = read(json).err().unwrap_or_default();
            assert!(error.contains(said) && !error.contains("hunter2"), "{json}: {error}");
        }
        let tls = read(&format!(r#"{{"certificate": {key}, "key": {key}}}"#));
        assert!(tls.is_ok() && !format!("{tls:?}").contains("hunter2"));
    }

    #[test]
    fn files_that_cannot_be_used_are_unknown() {
        let refused = FileError::Forbidden("/key.pem: permission denied".to_owned());
        let long = [CA.as_bytes(), &vec![b'\n'; MAX_FILE]].concat();
        let files = peer()
            .with_file("/long", &long, 0)
            .with_file("/der", b"\x30\x82", 0)
            .with_file("/ca.pem", CA.as_bytes(), 0)
            .with_file_error("/key.pem", refused);
        let host = files;
        for (json, said) in [
            (r#"{"ca": "/none"}"#, "cannot read tls.ca from /none: reading /none is not granted"),
            (r#"{"ca": "/long"}"#, "tls.ca: /long has more than 320 KiB"),
            (r#"{"ca": "/der"}"#, "tls.ca: /der is not PEM text"),
            (
                r#"{"certificate": "/ca.pem", "key": "/key.pem"}"#,
                "cannot read tls.key from /key.pem: /key.pem: permission",
            ),
        ] {
            let outcome = protect(json, &host);
            assert!(matches!(&outcome, Err(Outcome::Unknown(why)) if why.contains(said)), "{json}: {outcome:?}");
        }
    }

    #[test]
    fn a_peer_that_is_not_trusted_fails_and_a_host_without_tls_is_unknown() {
        let refusing = |error: NetworkError| protect("{}", &peer().with_tls_refusal(error));
        let story = "cannot agree on TLS with h:1: invalid peer certificate: UnknownIssuer; if it is the right one, set tls.ca or \
                     tls.server-name";
        let untrusted = NetworkError::Untrusted("invalid peer certificate: UnknownIssuer".to_owned());
        assert_eq!(refusing(untrusted), Err(Outcome::Fail(story.to_owned())));
        let plain = NetworkError::Untrusted("it does not speak TLS".to_owned());
        assert_eq!(
            refusing(plain),
            Err(Outcome::Fail("cannot agree on TLS with h:1: it does not speak TLS".to_owned()))
        );
        let story = "cannot agree on TLS with h:1: timed out; if it answers others, it may speak no TLS at this port";
        assert_eq!(refusing(NetworkError::TimedOut), Err(Outcome::Fail(story.to_owned())));
        let tiny = NetworkError::Unsupported("there is no TLS in this hilum".to_owned());
        assert!(matches!(refusing(tiny), Err(Outcome::Unknown(why)) if why.contains("no TLS")));
    }
}
