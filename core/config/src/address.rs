//! Addresses in a plan: where to listen and where a plugin may connect to. Nothing is looked up: a name to listen on
//! would make the start depend on a name server.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::diagnose::{Mistake, quote};

/// Longest path of a unix socket. **Units:** bytes; `sun_path` less its NUL, unix(7).
const SOCKET_PATH: usize = 107;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at a path.
    Unix(PathBuf),
    /// The sockets systemd passes.
    Activation,
}

/// The address `text` names: `0.0.0.0:8111`, `[::]:8111`, `unix:/path`, `socket-activation`.
pub(crate) fn parse_listen(text: &str) -> Result<Address, Mistake> {
    let found = quote(text);
    if text == "socket-activation" {
        return Ok(Address::Activation);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return if !path.starts_with('/') || path.ends_with('/') {
            Err(Mistake::new(format!("{found} has no absolute path"), "write it as \"unix:/run/status.sock\""))
        } else if path.len() > SOCKET_PATH {
            Err(Mistake::new(
                format!("{found} has a path of {} bytes", path.len()),
                format!("keep it to {SOCKET_PATH}, which is all a unix socket can have"),
            ))
        } else {
            Ok(Address::Unix(PathBuf::from(path)))
        };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(Mistake::new(
                format!("{found} has port 0, which is another one with each start"),
                "write a port from 1 to 65535",
            ))
        } else {
            Ok(Address::Tcp(address))
        };
    }
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    let remedy = match text.rsplit_once(':') {
        Some(("localhost", _)) if parse_port(port).is_some() => format!("write \"127.0.0.1:{port}\""),
        Some(("" | "*", _)) | None if parse_port(port).is_some() => {
            format!("write \"0.0.0.0:{port}\" for every interface")
        }
        _ => String::from("write an IP address and a port, as \"0.0.0.0:8111\" or \"[::]:8111\", or \"unix:/path\""),
    };
    Err(Mistake::new(format!("{found} is not an address to listen on"), remedy))
}

/// The grant `text` names: `127.0.0.1:8080`, `[::1]:80`, `db:5432`, `*:443`, `db:*`, before each `udp:` if it is meant, or `unix:/path`. Hosts
/// and paths are compared as written.
pub(crate) fn parse_grant(text: &str) -> Result<String, Mistake> {
    let found = quote(text);
    if let Some(path) = text.strip_prefix("unix:") {
        return if is_plain(path) && path.len() <= SOCKET_PATH {
            Ok(String::from(text))
        } else {
            Err(Mistake::new(
                format!("{found} has no absolute path of at most {SOCKET_PATH} bytes without \".\" and \"..\""),
                "write it as \"unix:/run/app.sock\"",
            ))
        };
    }
    if let Some(place) = text.strip_prefix("udp:") {
        let place = parse_grant(place)
            .map_err(|mistake| Mistake { remedy: format!("after \"udp:\" {}", mistake.remedy), ..mistake });
        return place.map(|place| format!("udp:{place}"));
    }
    if text.contains('/') {
        return Err(Mistake::new(
            format!("{found} is not a host and a port"),
            "write only these, without scheme and path",
        ));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let remedy = if parse_port(text).is_some() {
            format!("write \"127.0.0.1:{text}\", or \"*:{text}\" for any host")
        } else {
            format!("write a host and a port, as {}", quote(&format!("{text}:8080")))
        };
        return Err(Mistake::new(format!("{found} has no port"), remedy));
    };
    if port != "*" && parse_port(port).is_none() {
        return Err(Mistake::new(format!("{found} has no port from 1 to 65535"), "write a port, or \"*\" for any"));
    }
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host == "*" || host.parse::<Ipv4Addr>().is_ok() || is_name(host),
    };
    if good {
        return Ok(String::from(text));
    }
    let remedy = if host.parse::<Ipv6Addr>().is_ok() {
        format!("write \"[{host}]:{port}\"")
    } else {
        String::from("write an address, a name, or \"*\" for any, before the port")
    };
    Err(Mistake::new(format!("{found} has no host"), remedy))
}

/// The name to look up: `db.example`, `*.example` or `*`.
pub(crate) fn parse_name(text: &str) -> Result<String, Mistake> {
    if text == "*" || is_name(text.strip_prefix("*.").unwrap_or(text)) {
        return Ok(String::from(text));
    }
    Err(Mistake::new(
        format!("{} is not a host name", quote(text)),
        "write \"db.example\", \"*.example\" for all below, or \"*\" for all",
    ))
}

/// The file or directory `text` grants: an absolute path with `:ro` or `:rw` behind it.
pub(crate) fn parse_file(text: &str) -> Result<String, Mistake> {
    let found = quote(text);
    let Some((path, "ro" | "rw")) = text.rsplit_once(':') else {
        let remedy =
            format!("write {} to read, {} to write too", quote(&format!("{text}:ro")), quote(&format!("{text}:rw")));
        return Err(Mistake::new(format!("{found} does not say whether it may be written"), remedy));
    };
    if is_plain(path) {
        Ok(String::from(text))
    } else {
        Err(Mistake::new(
            format!("{found} has no absolute path without \".\" and \"..\""),
            "write it as \"/run/app:ro\"",
        ))
    }
}

/// Whether a path is absolute and says plainly where it leads.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 4095 && !path.split('/').any(|part| part == "." || part == "..")
}

/// A port from 1 to 65535 in plain digits.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

/// Whether `host` could be a host name: letters, digits, `-`, `_` and points, and not only digits and points, which
/// would be a broken IPv4 address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(label) && host.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]
    use super::{Address, parse_file, parse_grant, parse_listen, parse_name};
    use std::path::PathBuf;

    #[test]
    fn listen_addresses_are_read() {
        for text in ["0.0.0.0:8111", "[::]:8111", "127.0.0.1:1", "[fe80::1%2]:65535"] {
            assert_eq!(parse_listen(text), Ok(Address::Tcp(text.parse().unwrap())));
        }
        assert_eq!(parse_listen("unix:/run/s"), Ok(Address::Unix(PathBuf::from("/run/s"))));
        assert_eq!(parse_listen("socket-activation"), Ok(Address::Activation));
        assert!(parse_listen(&format!("unix:/{}", "x".repeat(106))).is_ok());
        assert!(parse_listen(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn bad_listen_addresses_show_the_fix() {
        let general = "write an IP address and a port, as \"0.0.0.0:8111\" or \"[::]:8111\", or \"unix:/path\"";
        for (text, remedy) in [
            ("localhost:80", "write \"127.0.0.1:80\""),
            (":80", "write \"0.0.0.0:80\" for every interface"),
            ("*:80", "write \"0.0.0.0:80\" for every interface"),
            ("80", "write \"0.0.0.0:80\" for every interface"),
            ("0.0.0.0", general),
            ("0.0.0.0:65536", general),
            ("::1:80:x", general),
            ("", general),
            ("0.0.0.0:0", "write a port from 1 to 65535"),
            ("unix:run/s", "write it as \"unix:/run/status.sock\""),
            ("unix:", "write it as \"unix:/run/status.sock\""),
        ] {
            assert_eq!(parse_listen(text).unwrap_err().remedy, remedy, "{text}");
        }
    }

    #[test]
    fn grants_are_checked_and_kept_as_written() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:80",
            "db:5432",
            "a-b.c_d.example.:1",
            "*:443",
            "db:*",
            "*:*",
            "udp:10.0.0.2:53",
            "udp:*:53",
            "unix:/run/app.sock",
        ] {
            assert_eq!(parse_grant(text).as_deref(), Ok(text));
        }
        for (text, remedy) in [
            ("8080", "write \"127.0.0.1:8080\", or \"*:8080\" for any host"),
            ("db", "write a host and a port, as \"db:8080\""),
            ("db:0", "write a port, or \"*\" for any"),
            ("db:080", "write a port, or \"*\" for any"),
            ("db:", "write a port, or \"*\" for any"),
            ("::1:80", "write \"[::1]:80\""),
            ("http://db:80", "write only these, without scheme and path"),
            ("1.2.3:80", "write an address, a name, or \"*\" for any, before the port"),
            (":80", "write an address, a name, or \"*\" for any, before the port"),
            ("[x]:80", "write an address, a name, or \"*\" for any, before the port"),
            ("a b:80", "write an address, a name, or \"*\" for any, before the port"),
            ("udp:53", "after \"udp:\" write \"127.0.0.1:53\", or \"*:53\" for any host"),
            ("unix:run", "write it as \"unix:/run/app.sock\""),
            ("unix:/run/../x", "write it as \"unix:/run/app.sock\""),
        ] {
            assert_eq!(parse_grant(text).unwrap_err().remedy, remedy, "{text}");
        }
    }

    #[test]
    fn names_and_files_are_checked_and_kept_as_written() {
        for text in ["*", "*.example", "db.example."] {
            assert_eq!(parse_name(text).as_deref(), Ok(text));
        }
        for text in ["", "*.*", "a b", "1.2.3.4", "*x"] {
            assert!(parse_name(text).is_err(), "{text}");
        }
        for text in ["/run/app:ro", "/a b:rw", "/:ro", "/a:b:ro"] {
            assert_eq!(parse_file(text).as_deref(), Ok(text));
        }
        assert_eq!(parse_file("/run").unwrap_err().remedy, "write \"/run:ro\" to read, \"/run:rw\" to write too");
        for text in ["run:ro", "/run/../etc:ro", ":rw", "/run:rx"] {
            assert!(parse_file(text).is_err(), "{text}");
        }
    }
}
