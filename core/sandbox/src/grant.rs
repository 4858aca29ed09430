//! What the plan's `allow.connect` lets a plugin connect to.

use std::net::IpAddr;

/// One `host:port` of a grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    host: Host,
    /// `None` is any.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Any,
    Address(IpAddr),
    Name(String),
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if text == "*" {
            return Some(Host::Any);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Host::Address(address.to_canonical()));
        }
        is_name(text).then(|| Host::Name(text.to_ascii_lowercase()))
    }
}

/// Whether `text` has the form of a host name.
///
/// **Source:** RFC 1123, section 2.1; underscores are accepted as resolvers do.
pub(crate) fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

impl Endpoint {
    /// Reads `host:port`; an IPv6 host stands in brackets, `*` is any host or any port.
    ///
    /// **Errors:** what is wrong with it and how to write it.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, String> {
        let wrong =
            || format!("{text:?} is not host:port; write \"127.0.0.1:8080\", \"[::1]:8080\", \"db:5432\" or \"*:443\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(inner)) if inner.contains(':') => inner,
            Some(_) => return Err(wrong()),
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let host = Host::parse(host).ok_or_else(wrong)?;
        let port = match port {
            "*" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
        Ok(Endpoint { host, port })
    }

    /// How a grant for `host` at `port` is written.
    pub(crate) fn spell(host: &str, port: u16) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether it covers `host` (an address without brackets, or a name) at `port`.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|granted| granted == port)
            && match (&self.host, Host::parse(host)) {
                (Host::Any, Some(_)) => true,
                (granted, Some(asked)) => asked != Host::Any && *granted == asked,
                (_, None) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    fn covers(grant: &str, host: &str, port: u16) -> bool {
        Endpoint::parse(grant).is_ok_and(|endpoint| endpoint.covers(host, port))
    }

    #[test]
    fn grants_cover_what_they_say_and_nothing_else() {
        assert!(covers("127.0.0.1:80", "127.0.0.1", 80));
        assert!(covers("127.0.0.1:80", "::ffff:127.0.0.1", 80));
        assert!(covers("[::1]:*", "::1", 1));
        assert!(covers("[::1]:80", "0:0:0:0:0:0:0:1", 80));
        assert!(covers("*:80", "anything.example", 80));
        assert!(covers("DB:5432", "db", 5432));
        assert!(covers("*:*", "10.0.0.1", 65535));
        assert!(!covers("127.0.0.1:80", "127.0.0.1", 81));
        assert!(!covers("127.0.0.1:80", "127.0.0.2", 80));
        assert!(!covers("localhost:80", "127.0.0.1", 80));
        assert!(!covers("127.0.0.1:80", "localhost", 80));
        assert!(!covers("127.0.0.1:80", "127.1", 80));
        assert!(!covers("db:1", "*", 1));
        assert!(!covers("*:1", "*", 2));
        assert!(!covers("*:80", "a b", 80));
        assert!(!covers("*:80", "", 80));
    }

    #[test]
    fn malformed_grants_are_refused() {
        for text in [
            "", "db", ":80", "db:", "db:0", "db:65536", "db:-1", "::1:80", "[::1]", "[db]:80", "[::1:80", "a b:1",
            "a..b:1", "db:+1",
        ] {
            assert!(Endpoint::parse(text).is_err_and(|e| e.contains("127.0.0.1:8080")), "{text:?} was taken");
        }
    }
}
