//! What both protocols need of a connection: exactly so many bytes, within limits, and a story when they do not come. It knows neither
//! protocol.

use hilum_plugin::tls::Tls;
use hilum_plugin::{Connection, Host, NetworkError, Outcome};

/// Bytes of one packet or message. A server decides about the length it announces, so it is not taken at its word; a probe's rows are
/// short. Doubled, the plugin needs 512 KiB more memory.
pub(crate) const MAX_PACKET: usize = 256 * 1024;

/// Bytes of all that a server sends in one call.
const MAX_TOTAL: usize = 1024 * 1024;

/// Bytes asked of the host at a time.
const READ: u32 = 16 * 1024;

/// Bytes of what a server sent that are shown to people.
const SHOWN: usize = 64;

/// Characters of a server's own explanation that are shown to people. They name users, hosts and tables, so they need more.
const SAID: usize = 240;

/// The beginning of bytes, for people: as text if they are text.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    if let Ok(text) = str::from_utf8(bytes) {
        let start = text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default();
        format!("\"{}{more}\"", start.escape_debug())
    } else {
        let start = bytes.get(..SHOWN).unwrap_or(bytes);
        format!("\"{}{more}\"", start.escape_ascii())
    }
}

/// A text of the server's, for people: one line, not too long.
pub(crate) fn said(bytes: &[u8]) -> String {
    // A character has at most four bytes, so nothing beyond can be among those shown.
    let start = bytes.get(..SAID * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let mut characters = text.chars();
    let mut line: String =
        characters.by_ref().take(SAID).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    if characters.next().is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// How far a conversation is. It decides what a silence means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Greeting,
    Login,
    Query,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Greeting => "the greeting",
            Phase::Login => "the answer to the login",
            Phase::Query => "the answer to the query",
        }
    }
}

/// A connection that gives as many bytes as are asked for.
pub(crate) struct Line {
    connection: Box<dyn Connection>,
    server: String,
    protocol: &'static str,
    pub(crate) phase: Phase,
    buffer: Vec<u8>,
    /// Where in the buffer those bytes begin that nobody took yet.
    at: usize,
    total: usize,
}

impl Line {
    pub(crate) fn new(connection: Box<dyn Connection>, server: String, protocol: &'static str) -> Line {
        Line { connection, server, protocol, phase: Phase::Greeting, buffer: Vec::new(), at: 0, total: 0 }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The same with TLS as `tls` says, which the server has just been asked for.
    ///
    /// What came before TLS could be anybody's: nothing of it may be left to be read as if the server had said it.
    pub(crate) fn protect(self, tls: &Tls, name: &str, host: &impl Host) -> Result<Line, Outcome> {
        if !self.waiting().is_empty() {
            return Err(self.garbage("it went on without TLS", self.waiting()));
        }
        let connection = tls.protect(self.connection, host, name, &self.server, &[])?;
        Ok(Line { connection, ..self })
    }

    /// The outcome of a server that has no TLS where the settings want it.
    pub(crate) fn without_tls(&self, way_out: &str) -> Outcome {
        Outcome::Fail(format!("{} does not offer TLS; {way_out}, or leave tls out", self.server))
    }

    /// Sends. A server may answer and close before it has read all: its answer then still counts, so a closed connection is left to the
    /// next read.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        match self.connection.write(bytes) {
            Ok(()) | Err(NetworkError::Closed) => Ok(()),
            Err(error) => Err(error.outcome(&format!("send to {}", self.server))),
        }
    }

    /// Says good-bye; it does not matter whether it arrives.
    pub(crate) fn farewell(&mut self, bytes: &[u8]) {
        drop(self.connection.write(bytes));
    }

    /// The next `count` bytes, which stay where they are.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], Outcome> {
        while self.waiting().len() < count {
            self.fill()?;
        }
        Ok(self.waiting().get(..count).unwrap_or_default())
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, Outcome> {
        let bytes = self.peek(count)?.to_vec();
        self.at = self.at.saturating_add(count);
        Ok(bytes)
    }

    /// What came and was not taken yet.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn fill(&mut self) -> Result<(), Outcome> {
        if self.at > 0 {
            self.buffer.drain(..self.at.min(self.buffer.len()));
            self.at = 0;
        }
        let rest = MAX_TOTAL.saturating_sub(self.total);
        if rest == 0 {
            return Err(self.too_large());
        }
        let limit = u32::try_from(rest).unwrap_or(READ).min(READ);
        let chunk = self.connection.read(limit).map_err(|error| {
            let story = error.outcome(&format!("read {} of {}", self.phase.name(), self.server));
            match story {
                Outcome::Fail(story) => Outcome::Fail(format!("{story}{}", self.progress())),
                other => other,
            }
        })?;
        if chunk.is_empty() {
            let (server, awaited) = (&self.server, self.phase.name());
            return Err(Outcome::Fail(if self.waiting().is_empty() {
                format!("{server} closed the connection instead of sending {awaited}")
            } else {
                format!("{server} closed the connection within {awaited}{}", self.progress())
            }));
        }
        self.total = self.total.saturating_add(chunk.len());
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }

    fn progress(&self) -> String {
        if self.waiting().is_empty() { String::new() } else { format!(", after {}", shown(self.waiting())) }
    }

    /// The outcome of a packet or a whole conversation above its cap.
    pub(crate) fn too_large(&self) -> Outcome {
        if self.phase == Phase::Query {
            Outcome::Unknown(format!(
                "{}: the result is larger than this probe reads ({} KiB in a row, {} KiB in all); ask for less, such as with LIMIT 1",
                self.server,
                MAX_PACKET / 1024,
                MAX_TOTAL / 1024
            ))
        } else {
            self.garbage("it sent too much before the login was done", self.waiting())
        }
    }

    /// The outcome of bytes that do not belong here.
    pub(crate) fn garbage(&self, story: &str, bytes: &[u8]) -> Outcome {
        Outcome::Fail(format!("{} does not speak {}: {story}: {}", self.server, self.protocol, shown(bytes)))
    }
}

/// Reads parts of a packet from its beginning; `None` once it is too short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (start, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(start)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (start, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*start)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Up to a NUL, which is taken too.
    pub(crate) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.byte()?;
        Some(text)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
