//! Whom to tell, and how, from the plan's `with` table.

use std::fmt;

use hilum_plugin::tls::Tls;
use hilum_plugin::{Setting, Settings, SettingsError};

/// Fields that are the plugin's or the host's to send.
const OWN: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "idempotency-key",
    "x-hilum-signature",
];

/// Who is told, and what goes with it.
pub struct Target {
    pub(crate) url: Url,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) secret: Option<String>,
    pub(crate) redirects: u32,
    pub(crate) tls: Tls,
}

impl fmt::Debug for Target {
    /// Not what it says: the URL, too, may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let place = settings.required("url", "url = \"https://hooks.example/hilum\"")?;
        let method = match settings.optional("method") {
            None => "POST".to_owned(),
            Some(method) => match method.string()? {
                word @ ("POST" | "PUT" | "PATCH") => word.to_owned(),
                other => {
                    let story = format_args!("{other:?} cannot carry an event; write \"POST\", \"PUT\" or \"PATCH\"");
                    return Err(method.error(story));
                }
            },
        };
        let headers = settings.optional("headers").map(read_headers).transpose()?.unwrap_or_default();
        let secret = settings.optional("secret").map(|secret| read_secret(&secret)).transpose()?;
        let redirects = settings.optional("redirects").map_or(Ok(0), |count| count.integer(0, 10))?;
        let tls = settings.optional("tls");
        // Nothing of it is shown: it may be the secret.
        let text = place.secret()?;
        let url = Url::parse(text).map_err(|why| {
            place.error(format_args!("cannot be used: {why}; write one such as \"https://hooks.example/hilum\""))
        })?;
        let tls = match tls {
            None => Tls::default(),
            Some(table) if url.secure => Tls::read(table)?,
            Some(table) => return Err(table.error("`url` is http, which has no TLS; write https there")),
        };
        Ok(Target { url, method, headers, secret, redirects: u32::try_from(redirects).unwrap_or(0), tls })
    }

    /// `text` without what must not be shown.
    pub(crate) fn masked(&self, text: &str) -> String {
        let values = self.headers.iter().map(|(_, value)| value.as_str()).chain(self.secret.as_deref());
        // A word such as "1" is no secret, and would tear holes everywhere.
        let mut values: Vec<&str> =
            values.flat_map(|value| [value, value.rsplit(' ').next().unwrap_or_default()]).collect();
        values.retain(|value| value.len() >= 4);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }
}

/// A URL, as far as its parts matter.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) whole: String,
    pub(crate) secure: bool,
    /// Host and port in lower case, as they were written.
    authority: String,
    /// Without the query.
    path: String,
}

impl Url {
    /// **Source:** RFC 3986, section 3; user information and anything outside ASCII is refused, a fragment is dropped.
    pub(crate) fn parse(text: &str) -> Result<Url, &'static str> {
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("a URL has neither spaces nor characters outside ASCII (write those percent-encoded)");
        }
        let whole = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = whole.split_once("://").ok_or("it is not an absolute URL")?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err("the scheme must be http or https");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("user and password do not belong into a URL; set an Authorization header");
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if authority.is_empty() || authority.starts_with(':') || !authority.bytes().all(is_host) {
            return Err("it has no host");
        }
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Ok(Url { whole: whole.to_owned(), secure, authority: authority.to_ascii_lowercase(), path })
    }

    /// Where `location` leads from here.
    ///
    /// **Source:** RFC 3986, section 5.2, less the merging of dot segments, which servers do themselves.
    pub(crate) fn follow(&self, location: &str) -> Result<Url, &'static str> {
        let Url { authority, path, .. } = self;
        let scheme = if self.secure { "https" } else { "http" };
        let whole = if location.contains("://") {
            location.to_owned()
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else if location.is_empty() || location.starts_with(['?', '#']) {
            format!("{scheme}://{authority}{path}{location}")
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        };
        Url::parse(&whole)
    }

    /// Whether both are of the same server.
    pub(crate) fn is_beside(&self, other: &Url) -> bool {
        self.place() == other.place()
    }

    /// Scheme, host and port: what may be shown of it.
    pub(crate) fn place(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

/// **Source:** RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn read_headers(setting: Setting) -> Result<Vec<(String, String)>, SettingsError> {
    let mut headers = Vec::new();
    for (name, value) in setting.entries()? {
        if !is_token(&name) {
            return Err(value.error("not a header name; write one such as \"X-Team\""));
        }
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(value.error("this header is not yours to set; leave it out"));
        }
        let text = value.secret()?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(value.error("a header value cannot hold control characters"));
        }
        headers.push((name, text.to_owned()));
    }
    Ok(headers)
}

fn read_secret(setting: &Setting) -> Result<String, SettingsError> {
    match setting.secret()? {
        "" => Err(setting.error("is empty; leave it out, and nothing is signed")),
        text => Ok(text.to_owned()),
    }
}
