//! What to ask and what to expect, from the plan's `with` table.

use std::fmt;
use std::ops::RangeInclusive;

use hilum_plugin::tls::Tls;
use hilum_plugin::{Setting, Settings, SettingsError};

/// One request and its expectations.
pub struct Target {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// There for `https`.
    pub(crate) tls: Option<Tls>,
    /// As the `Host` header wants it.
    authority: String,
    path: String,
    pub(crate) method: String,
    headers: Vec<(String, String)>,
    content: Option<String>,
    pub(crate) statuses: Vec<RangeInclusive<u16>>,
    /// Text that must be in the body.
    pub(crate) body: Option<String>,
}

impl fmt::Debug for Target {
    /// Not what it says: there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let url = settings.required("url", "url = \"http://127.0.0.1:8080/healthz\"")?;
        let method = match settings.optional("method") {
            None => "GET".to_owned(),
            Some(method) => read_method(&method)?,
        };
        let headers = settings.optional("headers").map(read_headers).transpose()?.unwrap_or_default();
        let content = settings.optional("body").map(|text| text.string().map(str::to_owned)).transpose()?;
        let statuses = match settings.optional("expect-status") {
            None => vec![200..=399],
            Some(list) => list.items().iter().map(read_range).collect::<Result<_, _>>()?,
        };
        if statuses.is_empty() {
            return Err(SettingsError::new("expect-status", "an empty list matches nothing; write [\"200-399\"]"));
        }
        let body = match settings.optional("expect-body") {
            None => None,
            Some(text) if method == "HEAD" => {
                return Err(text.error("an answer to HEAD has no body; use method = \"GET\""));
            }
            Some(text) => Some(text.string()?.to_owned()),
        };
        let Url { secure, host, port, authority, path } = read_url(&url)?;
        let tls = match settings.optional("tls") {
            None => secure.then(Tls::default),
            Some(table) if secure => Some(Tls::read(table)?),
            Some(table) => return Err(table.error("`url` is http, which has no TLS; write https there")),
        };
        Ok(Target { host, port, tls, authority, path, method, headers, content, statuses, body })
    }

    /// Where it goes, for messages.
    pub(crate) fn place(&self) -> String {
        let scheme = if self.tls.is_some() { "https://" } else { "" };
        format!("{} {scheme}{}{}", self.method, self.authority, self.path)
    }

    pub(crate) fn expected_statuses(&self) -> String {
        let words: Vec<String> = self
            .statuses
            .iter()
            .map(|range| match (range.start(), range.end()) {
                (start, end) if start == end => start.to_string(),
                (start, end) => format!("{start}-{end}"),
            })
            .collect();
        words.join(", ")
    }

    /// The request as it is sent.
    pub(crate) fn request(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let mut line = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        };
        let given = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !given("host") {
            line("Host", &self.authority);
        }
        if !given("user-agent") {
            line("User-Agent", concat!("hilum-probe-http/", env!("CARGO_PKG_VERSION")));
        }
        if !given("accept") {
            line("Accept", "*/*");
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        line("Connection", "close");
        if let Some(content) = &self.content {
            line("Content-Length", &content.len().to_string());
        }
        text.push_str("\r\n");
        text.push_str(self.content.as_deref().unwrap_or_default());
        text
    }
}

/// **Source:** RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn read_method(setting: &Setting) -> Result<String, SettingsError> {
    let method = setting.string()?;
    if !is_token(method)
        || method.eq_ignore_ascii_case("connect")
        || method.bytes().any(|byte| byte.is_ascii_lowercase())
    {
        return Err(setting.error(format_args!(
            "{method:?} cannot be used; write \"GET\", \"HEAD\", \"POST\" or another method in capitals"
        )));
    }
    Ok(method.to_owned())
}

fn read_headers(setting: Setting) -> Result<Vec<(String, String)>, SettingsError> {
    let mut headers = Vec::new();
    for (name, value) in setting.entries()? {
        if !is_token(&name) {
            return Err(value.error("not a header name; write one such as \"X-Probe\""));
        }
        if ["connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
        {
            return Err(value.error("this header is the probe's own to set; leave it out"));
        }
        let text = value.string()?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(value.error("a header value cannot hold control characters"));
        }
        headers.push((name, text.to_owned()));
    }
    Ok(headers)
}

/// `204`, `"204"` or `"200-299"`.
fn read_range(setting: &Setting) -> Result<RangeInclusive<u16>, SettingsError> {
    let wrong =
        |found: &str| setting.error(format_args!("{found:?} is no status; write 204, \"200-299\" or a list of such"));
    if setting.is_number() {
        let status = u16::try_from(setting.integer(100, 599)?).unwrap_or(u16::MAX);
        return Ok(status..=status);
    }
    let text = setting.string()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let status = text.trim().parse().ok().filter(|status| (100..=599).contains(status));
        status.ok_or_else(|| wrong(text))
    };
    let range = number(first)?..=number(last)?;
    if range.is_empty() { Err(wrong(text)) } else { Ok(range) }
}

/// The parts of a URL.
struct Url {
    /// Whether it is `https`.
    secure: bool,
    /// Without brackets.
    host: String,
    port: u16,
    authority: String,
    /// With the query.
    path: String,
}

/// **Source:** RFC 3986, section 3; user information and anything outside ASCII is refused, a fragment is dropped.
fn read_url(setting: &Setting) -> Result<Url, SettingsError> {
    const EXAMPLE: &str = "write one such as \"http://127.0.0.1:8080/healthz\"";
    let url = setting.string()?;
    let wrong = |story: &str| setting.error(format_args!("{url:?}: {story}; {EXAMPLE}"));
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(wrong("a URL has neither spaces nor characters outside ASCII (write those percent-encoded)"));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("not an absolute URL"))?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err(wrong("the scheme must be http or https"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(wrong("user and password do not belong into a URL; set an Authorization header"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("what is in brackets is not an IPv6 address"));
            }
            (
                host,
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(|| wrong("not a port"))?) },
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty()
        || (!authority.starts_with('[') && !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))
    {
        return Err(wrong("not a host"));
    }
    let port = match port {
        None | Some("") if secure => 443,
        None | Some("") => 80,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?
        }
        Some(_) => return Err(wrong("a port is a number from 1 to 65535")),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { secure, host: host.to_owned(), port, authority: authority.to_owned(), path })
}
