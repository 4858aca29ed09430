//! Request heads: from bytes as they trickle in to a checked [`Head`], after RFC 9112.
//!
//! Pure. [`Scanner`] finds the end of a head and never looks at a byte twice, so a head sent one byte at a time costs no more than one
//! sent at once; it also refuses bytes that no head may contain as soon as they come, so that a TLS client is told at once. [`Head::parse`]
//! reads a complete head. Bodies are not read at all: nothing here has a use for one.
//!
//! Line ends: a lone LF is taken for CRLF (RFC 9112, 2.2, allows it), a lone CR is refused (it must not be passed on).

use std::str::FromStr;

use tiny_http::{HTTPVersion, Method};

/// Longest head. **Units:** bytes. Browsers with a jar of cookies stay below 4 KiB. Doubling it doubles what a thousand slow heads can
/// hold in memory, 8 MiB as it is.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// Why a head is not answered as it wishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// 400, and what is wrong.
    Malformed(&'static str),
    /// 431.
    TooLarge,
    /// 505.
    Version,
}

/// Finds the end of a head in a buffer that grows.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    seen: usize,
    started: bool,
    in_line: bool,
    after_cr: bool,
}

impl Scanner {
    /// Whether a first byte of the head has come; empty lines before it do not count.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// The length of the head that `buffer` begins with, once it is complete. `buffer` is what it was at the last call and more.
    pub(crate) fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        for &byte in buffer.get(self.seen..).unwrap_or_default() {
            if self.seen == MAX_HEAD {
                return Err(Refusal::TooLarge);
            }
            self.seen += 1;
            if self.after_cr && byte != b'\n' {
                return Err(Refusal::Malformed("carriage return without line feed in the request head"));
            }
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if self.started && !self.in_line => return Ok(Some(self.seen)),
                b'\n' => self.in_line = false,
                b'\r' => {}
                b'\t' => self.in_line = true,
                0..0x20 | 0x7f => return Err(Refusal::Malformed("control character in the request head")),
                _ => {
                    self.in_line = true;
                    self.started = true;
                }
            }
        }
        Ok(None)
    }
}

/// What of a request's head matters here.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Head {
    /// The method.
    pub(crate) method: Method,
    /// The request target as sent: visible ASCII, not empty.
    pub(crate) target: String,
    /// The version the answer is written in: 1.0 or 1.1.
    pub(crate) version: HTTPVersion,
    /// Whether the client keeps the connection open for another request.
    pub(crate) persistent: bool,
    /// Whether a body follows. It is not read, so the connection cannot be used again.
    pub(crate) has_body: bool,
    /// The `Accept` lines, joined.
    pub(crate) accept: String,
}

impl Head {
    /// Reads one complete head, empty lines before it included.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed("request head is not UTF-8"))?;
        let mut lines = text
            .trim_start_matches(['\r', '\n'])
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .take_while(|line| !line.is_empty());
        let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
        let mut fields = Fields::default();
        for line in lines {
            fields.add(line)?;
        }
        let modern = version == (1, 1);
        if modern && fields.hosts == 0 {
            return Err(Refusal::Malformed("HTTP/1.1 request without a Host field"));
        }
        if fields.hosts > 1 {
            return Err(Refusal::Malformed("more than one Host field"));
        }
        Ok(Head {
            method,
            target,
            version,
            persistent: !fields.close && (modern || fields.keep_alive),
            has_body: fields.encoded || fields.length.is_some_and(|length| length > 0),
            accept: fields.accept,
        })
    }

    /// Whether the client asks for this media type by name and does not refuse it in the same breath.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        self.accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
            named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0." | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }
}

fn request_line(line: &str) -> Result<(Method, String, HTTPVersion), Refusal> {
    const SHAPE: Refusal = Refusal::Malformed("request line is not METHOD TARGET HTTP/1.1");
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SHAPE);
    };
    if !is_token(method) || target.is_empty() {
        return Err(SHAPE);
    }
    let version = match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.0") => HTTPVersion(1, 0),
        // A higher minor version is read as the highest we know: RFC 9110, 2.5.
        Some([b'1', b'.', b'1'..=b'9']) => HTTPVersion(1, 1),
        Some([b'0'..=b'9', b'.', b'0'..=b'9'] | [b'2' | b'3']) => return Err(Refusal::Version),
        _ => return Err(SHAPE),
    };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Malformed("request target is not plain ASCII; percent-encode it"));
    }
    let method = Method::from_str(method).map_err(|()| SHAPE)?;
    Ok((method, target.to_owned(), version))
}

/// The few fields that matter, gathered line by line.
#[derive(Default)]
struct Fields {
    hosts: u32,
    close: bool,
    keep_alive: bool,
    encoded: bool,
    length: Option<u64>,
    accept: String,
}

impl Fields {
    fn add(&mut self, line: &str) -> Result<(), Refusal> {
        if line.starts_with([' ', '\t']) {
            return Err(Refusal::Malformed("folded field line"));
        }
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed("field line without a colon"))?;
        if !is_token(name) {
            return Err(Refusal::Malformed("invalid character in a field name"));
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
            let strange = |byte: u8| !byte.is_ascii_graphic() || b"/?#@,\\\"<>".contains(&byte);
            if value.bytes().any(strange) {
                return Err(Refusal::Malformed("invalid Host field"));
            }
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(',').map(|option| option.trim_matches([' ', '\t'])) {
                self.close |= option.eq_ignore_ascii_case("close");
                self.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.encoded = true;
        } else if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let length = value.parse().ok().filter(|_| digits);
            if length.is_none() || self.length.is_some_and(|earlier| Some(earlier) != length) {
                return Err(Refusal::Malformed("invalid Content-Length field"));
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case("accept") {
            if !self.accept.is_empty() {
                self.accept.push(',');
            }
            self.accept.push_str(value);
        }
        Ok(())
    }
}

/// RFC 9110, 5.6.2.
fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here has failed")]

    use super::{Head, MAX_HEAD, Refusal, Scanner};
    use tiny_http::{HTTPVersion, Method};

    fn read(text: &str) -> Result<Head, Refusal> {
        let end = Scanner::default().scan(text.as_bytes())?.ok_or(Refusal::Malformed("incomplete"))?;
        Head::parse(&text.as_bytes()[..end])
    }

    fn is_malformed(text: &str) -> bool {
        matches!(read(text), Err(Refusal::Malformed(why)) if why != "incomplete")
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = read("GET /a?b HTTP/1.1\r\nHost: x:1\r\nAccept: text/html;q=0.9\r\nACCEPT: */*\r\n\r\n").unwrap();
        assert_eq!((head.method.clone(), head.target.as_str()), (Method::Get, "/a?b"));
        assert_eq!(head.version, HTTPVersion(1, 1));
        assert!(head.persistent && !head.has_body);
        assert!(head.accepts("TEXT/html") && !head.accepts("text/plain"));
        assert!(!read("GET / HTTP/1.0\nAccept: text/html;q=0\n\n").unwrap().accepts("text/html"));
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        for text in
            ["\r\n\r\nGET / HTTP/1.0\r\nA: b\r\n\r\n", "\nGET / HTTP/1.0\nA: b\n\n", "GET / HTTP/1.0\r\nA: b\n\r\n"]
        {
            let long = format!("{text}GET /next");
            for cut in 0..=long.len() {
                let mut scanner = Scanner::default();
                let first = scanner.scan(&long.as_bytes()[..cut]).unwrap();
                let end = first.or_else(|| scanner.scan(long.as_bytes()).unwrap());
                assert_eq!(end, Some(text.len()), "{text:?} cut at {cut}");
            }
            assert_eq!(Head::parse(text.as_bytes()).unwrap().target, "/");
        }
    }

    #[test]
    fn empty_lines_alone_are_no_start() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(b"\r\n\r\n\n"), Ok(None));
        assert!(!scanner.started());
        assert_eq!(scanner.scan(b"\r\n\r\n\nG"), Ok(None));
        assert!(scanner.started());
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        assert!(!read("GET / HTTP/1.0\r\n\r\n").unwrap().persistent);
        assert!(read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().persistent);
        assert!(!read("GET / HTTP/1.1\r\nHost:\r\nConnection: x, close\r\n\r\n").unwrap().persistent);
        assert!(read("GET / HTTP/1.9\r\nHost: a\r\n\r\n").unwrap().persistent);
    }

    #[test]
    fn bodies_are_noticed() {
        let with = |field: &str| read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"));
        assert!(with("Content-Length: 5").unwrap().has_body);
        assert!(!with("Content-Length: 0").unwrap().has_body);
        assert!(with("Transfer-Encoding: chunked").unwrap().has_body);
        for bad in ["+5", "-1", "5x", "", "5, 5", "99999999999999999999"] {
            assert!(with(&format!("Content-Length: {bad}")).is_err(), "{bad}");
        }
        assert!(with("Content-Length: 5\r\nContent-Length: 6").is_err());
        assert!(with("Content-Length: 5\r\nContent-Length: 5").is_ok());
    }

    #[test]
    fn other_versions_are_named_as_such() {
        for line in ["PRI * HTTP/2.0", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3"] {
            assert_eq!(read(&format!("{line}\r\n\r\n")).unwrap_err(), Refusal::Version, "{line}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        for text in [
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\u{7f}\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(is_malformed(text), "{text:?}");
        }
        assert!(matches!(Head::parse(b"GET / HTTP/1.0\r\nA: \xff\xfe\r\n\r\n"), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_head_may_be_8_kib_and_no_more() {
        let frame = "GET / HTTP/1.0\r\nA: \r\n\r\n".len();
        let fits = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD - frame));
        assert_eq!(Scanner::default().scan(fits.as_bytes()), Ok(Some(MAX_HEAD)));
        let over = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD - frame + 1));
        assert_eq!(Scanner::default().scan(over.as_bytes()), Err(Refusal::TooLarge));
    }

    /// Whatever comes, cut wherever: no panic, the same verdict as in one piece, and nothing accepted that is not a head.
    #[test]
    fn random_bytes_never_confuse() {
        let pieces: [&[u8]; 16] = [
            b"GET ",
            b"HEAD",
            b" / ",
            b"/a%2",
            b"HTTP/1.1",
            b"HTTP/2",
            b"\r\n",
            b"\n",
            b"\r",
            b"Host: a",
            b"Content-Length: ",
            b"9",
            b":",
            b" ",
            b"\xff",
            b"\0",
        ];
        let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below).unwrap()
        };
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let mut bytes = Vec::new();
            if random(4) == 0 {
                bytes.extend_from_slice(b"GET / HTTP/1.0\r\n");
            }
            for _ in 0..random(12) {
                match random(3) {
                    0 => bytes.push(u8::try_from(random(256)).unwrap()),
                    _ => bytes.extend_from_slice(pieces[random(16)]),
                }
            }
            bytes.extend_from_slice(b"\r\n\r\n");
            let whole = Scanner::default().scan(&bytes);
            let mut scanner = Scanner::default();
            let cut = random(bytes.len() as u64 + 1);
            let halves = match scanner.scan(&bytes[..cut]) {
                Ok(None) => scanner.scan(&bytes),
                early => early,
            };
            assert_eq!(whole, halves, "{bytes:?} cut at {cut}");
            match whole.map(|end| end.map(|end| Head::parse(&bytes[..end]))) {
                Ok(Some(Ok(head))) => {
                    accepted += 1;
                    assert!(!head.target.is_empty() && head.target.bytes().all(|byte| byte.is_ascii_graphic()));
                }
                _ => refused += 1,
            }
        }
        assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
    }
}
