//! Names to addresses, without a resolver library: addresses, `localhost`, and the hosts file if there is one. Container runtimes and
//! orchestrators write the names of a pod there. DNS is not asked: an answer from the network would have to be weighed against the
//! grant first.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest hosts file that is read. **Units:** bytes.
const MAX_HOSTS: u64 = 64 * 1024;

/// Most addresses that are tried for one name.
const MAX_ADDRESSES: usize = 8;

/// The addresses of `host`, in the order in which to try them; empty if it is not known.
pub(crate) fn resolve(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let found = lookup(&read_hosts(), host);
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        return vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    }
    found
}

/// The hosts file, empty if there is none that can be read: most scratch images have none, and nothing depends on it.
fn read_hosts() -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open("/etc/hosts")
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
        && file.take(MAX_HOSTS).read_to_end(&mut bytes).is_err()
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
    use super::{lookup, resolve};
    use std::net::IpAddr;

    #[test]
    fn addresses_are_themselves() {
        assert_eq!(resolve("10.0.0.7"), ["10.0.0.7".parse::<IpAddr>().unwrap_or(IpAddr::from([0; 4]))]);
        assert!(resolve("127.1").is_empty());
        assert!(!resolve("LOCALHOST").is_empty());
        assert!(resolve("no-such-name.invalid").is_empty());
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
