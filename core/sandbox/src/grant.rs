//! What the plan's `allow` lets a plugin do. Everything is compared as written; nothing is granted by being like something that is.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// All grants of a plugin.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Where it may connect to.
    pub(crate) connect: Vec<Endpoint>,
    /// Names it may look up.
    pub(crate) resolve: Vec<Pattern>,
    /// Files it may use.
    pub(crate) files: Vec<Tree>,
    /// Variables it may read.
    pub(crate) env: Vec<(String, Option<String>)>,
    /// Commands it may have run.
    pub(crate) exec: Vec<String>,
    /// Whether it may see processes.
    pub(crate) processes: bool,
}

impl Grants {
    /// What a plan's words mean. `descriptors` are those of the files, in their order.
    ///
    /// **Errors:** what is wrong and how to write it.
    pub(crate) fn new(plan: hilum_wire::Grants, descriptors: Vec<OwnedFd>) -> Result<Grants, String> {
        if descriptors.len() != plan.files.len() {
            return Err(format!("bug: {} files are granted and {} came", plan.files.len(), descriptors.len()));
        }
        let tree = |(grant, anchor): (hilum_wire::FileGrant, OwnedFd)| Tree {
            path: PathBuf::from(grant.path),
            anchor,
            rest: PathBuf::from(grant.rest),
            write: grant.write,
        };
        Ok(Grants {
            connect: plan.connect.iter().map(|text| Endpoint::parse(text)).collect::<Result<_, _>>()?,
            resolve: plan.resolve.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?,
            files: plan.files.into_iter().zip(descriptors).map(tree).collect(),
            env: plan.env,
            exec: plan.exec,
            processes: plan.processes,
        })
    }

    /// Whether `host` at `port` may be talked to by `transport`.
    pub(crate) fn may_connect(&self, transport: Transport, host: &str, port: u16) -> bool {
        self.connect.iter().any(|granted| granted.covers(transport, host, port))
    }

    /// Granted names that may be talked to at `port` by `transport`.
    #[cfg(feature = "full")]
    pub(crate) fn names(&self, transport: Transport, port: u16) -> impl Iterator<Item = &str> {
        self.connect.iter().filter_map(move |endpoint| match endpoint {
            Endpoint::Net { transport: by, host: Host::Name(name), port: at }
                if *by == transport && at.is_none_or(|at| at == port) =>
            {
                Some(name.as_str())
            }
            Endpoint::Net { .. } | Endpoint::Unix(_) => None,
        })
    }

    /// Whether an address that DNS gave for a granted name may be talked to. This machine and its link must be granted by address: whoever
    /// answers for a name would else choose which of our own ports it opens.
    pub(crate) fn may_reach(&self, transport: Transport, address: IpAddr, port: u16) -> bool {
        !is_near(address) || self.may_connect(transport, &address.to_string(), port)
    }

    /// Whether the socket at `path` may be talked to.
    pub(crate) fn may_connect_to_path(&self, path: &str) -> bool {
        self.connect.iter().any(|granted| matches!(granted, Endpoint::Unix(granted) if granted == path))
    }

    /// Whether `name` may be looked up: by its own grant, or because it may be talked to.
    pub(crate) fn may_resolve(&self, name: &str) -> bool {
        let talked = |endpoint: &Endpoint| match endpoint {
            Endpoint::Net { host: Host::Name(granted), .. } => *granted == name.to_ascii_lowercase(),
            Endpoint::Net { .. } | Endpoint::Unix(_) => false,
        };
        self.resolve.iter().any(|pattern| pattern.covers(name)) || self.connect.iter().any(talked)
    }

    /// The granted tree that `path` is in and the rest of the way, of the most specific grant; the path must be absolute and without
    /// `.` and `..`.
    pub(crate) fn tree<'a>(&self, path: &'a Path, write: bool) -> Option<(&Tree, &'a Path)> {
        let within = |tree: &&Tree| (tree.write || !write) && path.starts_with(&tree.path);
        let tree = self.files.iter().filter(within).max_by_key(|tree| tree.path.components().count())?;
        Some((tree, path.strip_prefix(&tree.path).ok()?))
    }
}

/// Whether `path` is absolute and says plainly where it leads.
pub(crate) fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    path.as_os_str().len() <= 4095
        && !path.as_os_str().as_encoded_bytes().contains(&0)
        && parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        // Components hides these.
        && !path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/').any(|part| part == b"." || part == OsStr::new("..").as_encoded_bytes())
}

/// A file or directory a plugin may use, and all below it.
#[derive(Debug)]
pub(crate) struct Tree {
    /// As the plan writes it.
    pub(crate) path: PathBuf,
    /// The deepest directory on the way that was there at the start, or the thing itself.
    pub(crate) anchor: OwnedFd,
    /// The way from there.
    pub(crate) rest: PathBuf,
    /// Whether it may be written.
    pub(crate) write: bool,
}

/// Whether an address is of this machine or its link: loopback, link-local, unspecified, multicast, also as IPv4 in IPv6.
pub(crate) fn is_near(address: IpAddr) -> bool {
    fn is_near_v4(address: Ipv4Addr) -> bool {
        address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.octets().first() == Some(&0)
    }
    fn is_near_v6(address: Ipv6Addr) -> bool {
        let [.., high, low] = address.segments();
        let [a, b, c, d] = [high.to_be_bytes(), low.to_be_bytes()].concat().try_into().unwrap_or([0; 4]);
        let embedded = Ipv4Addr::new(a, b, c, d);
        // IPv4-compatible (deprecated) and NAT64 addresses reach an IPv4 address too.
        let carries_v4 = matches!(address.segments(), [0, 0, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
        address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_unicast_link_local()
            || carries_v4 && is_near_v4(embedded)
    }
    match address.to_canonical() {
        IpAddr::V4(address) => is_near_v4(address),
        IpAddr::V6(address) => is_near_v6(address),
    }
}

/// How to talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// What a grant begins with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Transport::Tcp => "",
            Transport::Udp => "udp:",
        }
    }
}

/// One entry of `allow.connect`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    /// `host:port` or `udp:host:port`.
    Net {
        transport: Transport,
        host: Host,
        /// `None` is any.
        port: Option<u16>,
    },
    /// `unix:/path`.
    Unix(String),
}

/// Whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
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
    /// Reads `host:port`, `udp:host:port` or `unix:/path`; an IPv6 host stands in brackets, `*` is any host or any port.
    ///
    /// **Errors:** what is wrong with it and how to write it.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, String> {
        let wrong = || {
            format!(
                "{text:?} is not a place; write \"127.0.0.1:8080\", \"[::1]:8080\", \"db:5432\", \"*:443\", \"udp:10.0.0.2:53\" or \
                 \"unix:/run/app.sock\""
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if is_plain(Path::new(path)) { Ok(Endpoint::Unix(path.to_owned())) } else { Err(wrong()) };
        }
        let (transport, place) = match text.strip_prefix("udp:") {
            Some(rest) => (Transport::Udp, rest),
            None => (Transport::Tcp, text),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
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
        Ok(Endpoint::Net { transport, host, port })
    }

    /// How a grant for `host` at `port` is written.
    pub(crate) fn spell(transport: Transport, host: &str, port: u16) -> String {
        let prefix = transport.prefix();
        if host.contains(':') { format!("{prefix}[{host}]:{port}") } else { format!("{prefix}{host}:{port}") }
    }

    /// Whether it covers `host` (an address without brackets, or a name) at `port`.
    pub(crate) fn covers(&self, by: Transport, to: &str, at: u16) -> bool {
        let Endpoint::Net { transport, host, port } = self else { return false };
        *transport == by
            && port.is_none_or(|granted| granted == at)
            && match (host, Host::parse(to)) {
                (Host::Any, Some(_)) => true,
                (granted, Some(asked)) => asked != Host::Any && *granted == asked,
                (_, None) => false,
            }
    }

    /// Whether it is for this port, among others or alone.
    pub(crate) fn covers_port(&self, at: u16) -> bool {
        matches!(self, Endpoint::Net { port, .. } if port.is_none_or(|port| port == at))
    }

    /// Ports a connection over TCP may go to: `Some(None)` is any, `None` that it is not about TCP.
    pub(crate) fn tcp_port(&self) -> Option<Option<u16>> {
        match self {
            Endpoint::Net { transport: Transport::Tcp, port, .. } => Some(*port),
            Endpoint::Net { transport: Transport::Udp, .. } | Endpoint::Unix(_) => None,
        }
    }
}

/// One entry of `allow.resolve`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// `*`
    Any,
    /// `*.` before this: everything below it.
    Below(String),
    /// This.
    Name(String),
}

impl Pattern {
    /// Reads a name, `*.name` or `*`.
    ///
    /// **Errors:** what is wrong with it and how to write it.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        let plain = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match plain.strip_prefix("*.") {
            _ if text == "*" => Ok(Pattern::Any),
            Some(rest) if is_name(rest) => Ok(Pattern::Below(rest.to_owned())),
            None if is_name(&plain) => Ok(Pattern::Name(plain)),
            _ => Err(format!("{text:?} is not a name; write \"db.example\", \"*.example\" or \"*\"")),
        }
    }

    fn covers(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match self {
            Pattern::Any => true,
            Pattern::Below(granted) => {
                name.strip_suffix(granted.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Pattern::Name(granted) => *granted == name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Pattern, Transport, is_near, is_plain};
    use std::net::IpAddr;
    use std::path::Path;

    fn covers(grant: &str, host: &str, port: u16) -> bool {
        Endpoint::parse(grant).is_ok_and(|endpoint| endpoint.covers(Transport::Tcp, host, port))
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
        assert!(!covers("udp:127.0.0.1:53", "127.0.0.1", 53));
        assert!(!covers("unix:/run/a.sock", "127.0.0.1", 53));
        assert!(Endpoint::parse("udp:[::1]:53").is_ok_and(|it| it.covers(Transport::Udp, "::1", 53)));
        assert!(Endpoint::parse("127.0.0.1:53").is_ok_and(|it| !it.covers(Transport::Udp, "127.0.0.1", 53)));
    }

    #[test]
    fn malformed_grants_are_refused() {
        for text in [
            "",
            "db",
            ":80",
            "db:",
            "db:0",
            "db:65536",
            "db:-1",
            "::1:80",
            "[::1]",
            "[db]:80",
            "[::1:80",
            "a b:1",
            "a..b:1",
            "db:+1",
            "unix:",
            "unix:run",
            "unix:/run/../x",
            "udp:",
            "udp:db",
            "tcp:db:1",
        ] {
            assert!(Endpoint::parse(text).is_err_and(|e| e.contains("127.0.0.1:8080")), "{text:?} was taken");
        }
    }

    #[test]
    fn patterns_cover_names_below_theirs_and_not_beside() {
        let covers = |pattern: &str, name: &str| Pattern::parse(pattern).is_ok_and(|pattern| pattern.covers(name));
        assert!(covers("*", "anything") && covers("db.example", "DB.example.") && covers("*.example", "a.b.example"));
        assert!(
            !covers("*.example", "example") && !covers("*.example", "badexample") && !covers("*.example", ".example")
        );
        assert!(!covers("db.example", "a.db.example"));
        for text in ["", "*.", "*.*", "a b", "a.*", "**"] {
            assert!(Pattern::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn addresses_of_this_machine_and_its_link_are_near() {
        let near = |text: &str| text.parse::<IpAddr>().is_ok_and(is_near);
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(near(text), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1", "64:ff9b::808:808"] {
            assert!(!near(text), "{text}");
        }
    }

    #[test]
    fn paths_must_say_plainly_where_they_lead() {
        for path in ["/", "/run/app", "/run//app", "/a/..b/.c"] {
            assert!(is_plain(Path::new(path)), "{path}");
        }
        for path in ["", "run", "/run/../etc", "/run/.", "/./run", "/run/..", "/a\0b"] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
