//! Those whom attempts are made upon, on this machine: a DNS server that says what an attacker would, servers of HTTP and TLS, and places nobody may
//! get to.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// A place on every address of this machine, over TCP and UDP, that nobody may reach.
pub(crate) struct Forbidden {
    pub(crate) port: u16,
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Forbidden {
    pub(crate) fn new() -> Forbidden {
        loop {
            let tcp = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            let port = tcp.local_addr().unwrap().port();
            // Taken by somebody else: another one then.
            let Ok(udp) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) else { continue };
            tcp.set_nonblocking(true).unwrap();
            udp.set_nonblocking(true).unwrap();
            return Forbidden { port, tcp, udp };
        }
    }

    pub(crate) fn assert_unvisited(&self, name: &str) {
        let visited = self.tcp.accept().map(|(_, from)| from).err().map(|error| error.kind());
        assert_eq!(visited, Some(ErrorKind::WouldBlock), "{name}: somebody connected");
        let visited = self.udp.recv_from(&mut [0; 16]).err().map(|error| error.kind());
        assert_eq!(visited, Some(ErrorKind::WouldBlock), "{name}: a datagram came");
    }
}

/// A server that answers each request by its path, on a thread for each. It lives as long as the tests do.
pub(crate) struct Web {
    pub(crate) port: u16,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) fn start(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, requests) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answer, seen) = (stream.unwrap(), Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        if !stream.read(&mut byte).is_ok_and(|count| count == 1) {
                            return;
                        }
                        head.extend(byte);
                    }
                    seen.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8_lossy(&head).into_owned();
                    answer(head.split(' ').nth(1).unwrap_or_default(), &mut stream);
                });
            }
        });
        Web { port, requests }
    }

    pub(crate) fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Sends an answer with this status, fields and content. Whoever asked may have gone.
pub(crate) fn send(stream: &mut TcpStream, status: &str, fields: &str, content: &str) {
    let length = content.len();
    let answer = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{content}");
    let _gone = stream.write_all(answer.as_bytes());
}

/// A resolv.conf that names a DNS server of the tests. It knows names that lead where an attacker would have them lead.
///
/// Needs root: DNS has one port, and it is below 1024.
pub(crate) fn resolver() -> &'static Path {
    static STARTED: OnceLock<PathBuf> = OnceLock::new();
    STARTED.get_or_init(|| {
        // An address of this machine that no other run of the tests uses.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = IpAddr::from([127, 53, high, low.max(1)]);
        let socket = UdpSocket::bind(SocketAddr::new(address, 53))
            .unwrap_or_else(|error| panic!("cannot serve DNS at {address}:53, which only root may: {error}"));
        thread::spawn(move || {
            let asked = AtomicUsize::new(0);
            let mut buffer = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = answer(buffer.get(..len).unwrap(), &asked) {
                    let _gone = socket.send_to(&answer, from);
                }
            }
        });
        let path = std::env::temp_dir().join(format!("hilum-attack-resolv-{}", std::process::id()));
        fs::write(&path, format!("nameserver {address}\noptions timeout:1 attempts:1\n")).unwrap();
        path
    })
}

/// Where a name leads; `asked` counts how often the one was asked for that changes its mind.
fn addresses(name: &str, asked: &AtomicUsize) -> Vec<IpAddr> {
    let texts: &[&str] = match name {
        "near.test" => &["127.0.0.1"],
        "six.test" => &["::1"],
        "mapped.test" => &["::ffff:127.0.0.1"],
        "compatible.test" => &["::127.0.0.1"],
        "translated.test" => &["64:ff9b::7f00:1"],
        "zero.test" => &["0.0.0.0"],
        "link.test" => &["169.254.169.254"],
        "far.test" => &["203.0.113.1"],
        "both.test" => &["203.0.113.1", "127.0.0.1", "::1"],
        "flip.test" if asked.fetch_add(1, Ordering::SeqCst) == 0 => &["203.0.113.1"],
        "flip.test" => &["127.0.0.1"],
        _ => &[],
    };
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The answer to a question for an address.
///
/// **Source:** RFC 1035, section 4.1.
fn answer(question: &[u8], asked: &AtomicUsize) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + len)?).to_ascii_lowercase());
        at += len;
    }
    let kind = *question.get(at + 1)?;
    let found: Vec<Vec<u8>> = addresses(&labels.join("."), asked)
        .into_iter()
        .filter_map(|address| match (kind, address) {
            (1, IpAddr::V4(address)) => Some(address.octets().to_vec()),
            (28, IpAddr::V6(address)) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut answer = question.get(..2)?.to_vec();
    // An answer, recursion available, no error; one question, as many answers, nothing else.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(question.get(12..at + 4)?);
    for address in found {
        // The name of the question, the kind, of the Internet, not to be kept.
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, u8::try_from(address.len()).ok()?]);
        answer.extend(address);
    }
    Some(answer)
}

/// A place that accepts connections and does with each what it is told, on a thread for each.
pub(crate) fn serve(act: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let act = Arc::new(act);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, act) = (stream.unwrap(), Arc::clone(&act));
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            thread::spawn(move || act(stream));
        }
    });
    port
}
