//! Names to addresses: addresses themselves, `localhost`, the hosts file if there is one, then DNS by the C library's resolver.
//!
//! Container runtimes and orchestrators write the names of a pod into the hosts file; what it says is the machine's own word. What DNS says
//! comes from the network, so whoever connects has to weigh it ([`Origin`]).

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Longest hosts or resolver file that is read. **Units:** bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Most addresses that are tried for one name.
const MAX_ADDRESSES: usize = 8;

/// Most servers that are read from the resolver's file, as the C library does.
const MAX_SERVERS: usize = 3;

/// Whose word the addresses are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// The caller's or the machine's own.
    Local,
    /// The network's.
    Dns,
}

/// Why a name has no address.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum ResolveError {
    /// Nobody knows it, or nobody could be asked: why, for people.
    Unknown(String),
    /// Too many of its kind are waiting.
    Busy,
}

/// The addresses of `host`, at least one, in the order in which to try them. `waiting` counts what may wait in a thread at once.
///
/// **Errors:** [`ResolveError`].
pub(crate) async fn resolve(host: &str, waiting: &Arc<Semaphore>) -> Result<(Vec<IpAddr>, Origin), ResolveError> {
    if let Some(found) = locally(host) {
        return Ok((found, Origin::Local));
    }
    // The C library would take these for addresses in old notations.
    if is_number(host) {
        return Err(ResolveError::Unknown(format!("{host} is not an address; write all four numbers in decimal")));
    }
    let permit = Arc::clone(waiting).try_acquire_owned().map_err(|_| ResolveError::Busy)?;
    let name = host.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0));
        drop(permit);
        found.map(|found| found.map(|address| address.ip()).collect::<Vec<IpAddr>>())
    });
    let unknown = |why: String| ResolveError::Unknown(format!("{host}: {why}"));
    let mut addresses = match looked.await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unknown(error.to_string())),
        Err(_) => return Err(unknown("the lookup was given up".to_owned())),
    };
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok((addresses, Origin::Dns)) }
}

/// Whether the last label is a number, in decimal, octal or hexadecimal: no name in DNS ends so.
///
/// **Source:** inet_aton(3).
fn is_number(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    last.starts_with(|first: char| first.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit())
            || last.get(..2).is_some_and(|two| two.eq_ignore_ascii_case("0x")))
}

/// What can be said without the network.
fn locally(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let found = lookup(&read("/etc/hosts"), host);
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        return Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    }
    (!found.is_empty()).then_some(found)
}

/// The servers the machine asks.
///
/// **Source:** resolv.conf(5).
pub(crate) fn servers() -> Vec<IpAddr> {
    let file = read("/etc/resolv.conf");
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())??.parse().ok()
    };
    file.lines().filter_map(server).take(MAX_SERVERS).collect()
}

/// A file, empty if there is none that can be read: most scratch images have neither, and nothing depends on them.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path)
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
        && file.take(MAX_FILE).read_to_end(&mut bytes).is_err()
    {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// **Source:** hosts(5).
fn lookup(hosts: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        if let Some(Ok(address)) = words.next().map(str::parse)
            && words.any(|word| word.eq_ignore_ascii_case(name))
            && !found.contains(&address)
            && found.len() < MAX_ADDRESSES
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{is_number, locally, lookup};
    use std::net::IpAddr;

    #[test]
    fn addresses_are_themselves_and_old_notations_are_not() {
        assert_eq!(locally("10.0.0.7"), Some(vec!["10.0.0.7".parse::<IpAddr>().unwrap_or(IpAddr::from([0; 4]))]));
        assert!(locally("LOCALHOST").is_some_and(|found| !found.is_empty()));
        assert_eq!(locally("no-such-name.invalid"), None);
        for old in ["127.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.0x1", "1.2.3.4.", "a.0X1"] {
            assert!(is_number(old) || locally(old).is_some(), "{old}");
        }
        for name in ["db1", "1db", "a.b", "4chan.example", "x0.1a"] {
            assert!(!is_number(name), "{name}");
        }
    }

    #[test]
    fn hosts_lines_are_read_as_hosts_5_says() {
        let hosts = "# comment\n127.0.0.1 localhost db # db2\n::1\tlocalhost ip6-localhost\nnonsense db\n10.0.0.9 DB\n10.0.0.9 db\n";
        let texts = |name| lookup(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts("db"), ["127.0.0.1", "10.0.0.9"]);
        assert_eq!(texts("localhost"), ["127.0.0.1", "::1"]);
        assert!(texts("db2").is_empty());
        assert!(texts("127.0.0.1").is_empty());
    }
}
