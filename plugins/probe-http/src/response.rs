//! An HTTP/1 response, read as it comes, with limits on everything the server decides.

use std::fmt;

use hilum_plugin::shown;

/// Bytes of all heads together. Servers commonly accept 8 KiB in requests and send less.
const MAX_HEAD: usize = 64 * 1024;

/// Interim (1xx) responses before the final one.
const MAX_INTERIM: usize = 8;

/// Bytes of a chunk-size line or of all trailers.
const MAX_LINE: usize = 8 * 1024;

/// Not an HTTP response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn malformed<T>(story: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(story.into()))
}

/// What a response says before its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Whether the last transfer coding is `chunked`, if there is one.
    chunked: Option<bool>,
    length: Option<u64>,
}

/// Collects a head.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
    taken: usize,
    interim: usize,
    /// Where to look for the end next.
    searched: usize,
}

impl HeadReader {
    /// Takes bytes. Once the final head is there, returns it and what came after it.
    ///
    /// **Errors:** this is not HTTP, or too much of it.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Option<(Head, Vec<u8>)>, Malformed> {
        self.bytes.extend_from_slice(chunk);
        loop {
            let seen = b"HTTP/1.".len().min(self.bytes.len());
            if self.bytes.get(..seen) != b"HTTP/1.".get(..seen) {
                return malformed(format!("it sent {}", shown(&self.bytes)));
            }
            let Some(end) = self.find_end() else {
                if self.taken.saturating_add(self.bytes.len()) > MAX_HEAD {
                    return malformed(format!("its head is longer than {MAX_HEAD} bytes"));
                }
                return Ok(None);
            };
            let rest = self.bytes.split_off(end);
            self.taken = self.taken.saturating_add(end);
            if self.taken > MAX_HEAD {
                return malformed(format!("its head is longer than {MAX_HEAD} bytes"));
            }
            let head = parse_head(&self.bytes)?;
            if head.status >= 200 {
                return Ok(Some((head, rest)));
            }
            if head.status == 101 {
                return malformed("it switched to another protocol unasked");
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return malformed(format!("it sent more than {MAX_INTERIM} interim responses"));
            }
            self.bytes = rest;
            self.searched = 0;
        }
    }

    /// What there is of a head, for the message that it never ended.
    pub(crate) fn progress(&self) -> String {
        if self.bytes.is_empty() { String::new() } else { format!(", only {}", shown(&self.bytes)) }
    }

    /// Where the empty line ends. A bare LF ends a line too, as RFC 9112, section 2.2 allows.
    fn find_end(&mut self) -> Option<usize> {
        let from = self.searched;
        let newlines = self.bytes.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n');
        for (at, _) in newlines {
            match self.bytes.get(at.saturating_add(1)..) {
                Some([b'\n', ..]) => return Some(at + 2),
                Some([b'\r', b'\n', ..]) => return Some(at + 3),
                _ => {}
            }
        }
        // The end may straddle what comes next.
        self.searched = self.bytes.len().saturating_sub(3);
        None
    }
}

/// **Source:** RFC 9112, sections 4 to 6.
fn parse_head(bytes: &[u8]) -> Result<Head, Malformed> {
    // Latin-1 is what unknown header bytes are; only ASCII ones are looked at.
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.lines();
    let status_line = lines.next().unwrap_or_default();
    let wrong = || Malformed(format!("its status line is {}", shown(status_line.as_bytes())));
    let (version, rest) = status_line.split_once(' ').ok_or_else(wrong)?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(wrong());
    }
    let status = code.parse().ok().filter(|status| (100..=999).contains(status)).ok_or_else(wrong)?;
    let mut head = Head { status, reason: reason.trim().to_owned(), chunked: None, length: None };
    for line in lines.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            if line.starts_with([' ', '\t']) {
                // A folded line continues one; none that matters here may be folded.
                continue;
            }
            return malformed(format!("a header line is {}", shown(line.as_bytes())));
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            // A list of equal numbers is one number.
            for item in value.split(',').map(str::trim) {
                let length = item.bytes().all(|byte| byte.is_ascii_digit()).then(|| item.parse::<u64>().ok()).flatten();
                match (length, head.length) {
                    (Some(length), None) => head.length = Some(length),
                    (Some(length), Some(known)) if length == known => {}
                    _ => return malformed(format!("its Content-Length is {}", shown(value.as_bytes()))),
                }
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked =
                Some(value.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked")));
        }
    }
    Ok(head)
}

/// Takes the framing off a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// Until the connection ends.
    ToEnd,
    /// This many bytes more.
    Sized(u64),
    /// In chunks.
    Chunked(Chunk),
    /// All of it has been seen.
    Complete,
}

/// Where in a chunked body the reader is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Chunk {
    /// In a size line.
    Size(Vec<u8>),
    /// In data, this many bytes before its end.
    Data(u64),
    /// In the line end after data; whether its CR was seen.
    DataEnd(bool),
    /// In the trailers: bytes of the current line, bytes of all of them.
    Trailer(usize, usize),
}

impl Body {
    /// How the body of a response to `method` is framed.
    ///
    /// **Source:** RFC 9112, section 6.3.
    pub(crate) fn of(head: &Head, method: &str) -> Body {
        match head {
            _ if method == "HEAD" || head.status == 204 || head.status == 304 => Body::Complete,
            Head { chunked: Some(true), .. } => Body::Chunked(Chunk::Size(Vec::new())),
            Head { chunked: Some(false), .. } => Body::ToEnd,
            Head { length: Some(0), .. } => Body::Complete,
            Head { length: Some(length), .. } => Body::Sized(*length),
            _ => Body::ToEnd,
        }
    }

    /// Whether nothing more belongs to it.
    pub(crate) fn is_complete(&self) -> bool {
        *self == Body::Complete
    }

    /// Whether the connection may end here.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, Body::ToEnd | Body::Complete)
    }

    /// Takes bytes and appends what is content to `out`.
    ///
    /// **Errors:** the framing is broken.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self {
                Body::Complete => return Ok(()),
                Body::ToEnd => {
                    out.extend_from_slice(bytes);
                    return Ok(());
                }
                Body::Sized(left) => {
                    bytes = copy(left, bytes, out);
                    if *left == 0 {
                        *self = Body::Complete;
                    }
                }
                Body::Chunked(Chunk::Data(left)) => {
                    bytes = copy(left, bytes, out);
                    if *left == 0 {
                        *self = Body::Chunked(Chunk::DataEnd(false));
                    }
                }
                Body::Chunked(chunk) => {
                    bytes = rest;
                    if chunk.step(first)? {
                        *self = Body::Complete;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Chunk {
    /// Takes one byte of framing. True if it was the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        match self {
            Chunk::Size(line) if byte == b'\n' => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let text =
                    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
                *self = match text.and_then(|text| u64::from_str_radix(text, 16).ok()) {
                    None => return malformed(format!("a chunk's size is {}", shown(line))),
                    Some(0) => Chunk::Trailer(0, 0),
                    Some(size) => Chunk::Data(size),
                };
            }
            Chunk::Size(line) if line.len() >= MAX_LINE => return malformed("a chunk's size line does not end"),
            Chunk::Size(line) => line.push(byte),
            Chunk::DataEnd(_) if byte == b'\n' => *self = Chunk::Size(Vec::new()),
            Chunk::DataEnd(false) if byte == b'\r' => *self = Chunk::DataEnd(true),
            Chunk::DataEnd(_) => return malformed("a chunk is longer than its size"),
            // `feed` copies data itself.
            Chunk::Data(_) => {}
            Chunk::Trailer(0, _) if byte == b'\n' => return Ok(true),
            Chunk::Trailer(0, _) if byte == b'\r' => {}
            Chunk::Trailer(_, all) if *all >= MAX_LINE => return malformed("its trailers do not end"),
            Chunk::Trailer(line, all) => {
                *all += 1;
                *line = if byte == b'\n' { 0 } else { *line + 1 };
            }
        }
        Ok(false)
    }
}

/// Moves up to `left` bytes to `out` and returns the others.
fn copy<'a>(left: &mut u64, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (content, rest) = bytes.split_at(count);
    out.extend_from_slice(content);
    *left -= u64::try_from(count).unwrap_or(*left);
    rest
}
