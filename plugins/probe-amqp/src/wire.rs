//! AMQP 0-9-1 as bytes: as much of it as a login and a look at a queue need. Nothing is sent or received here, and nothing a server sends
//! is held beyond one frame. Tables are stepped over, never read.
//!
//! **Source:** AMQP 0-9-1 specification, sections 2.2 and 4.2; `amqp0-9-1.xml` for the numbers.

use std::fmt;

/// What a client says first.
pub(crate) const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The longest payload of a frame that is accepted, and proposed to the server. **Units:** bytes. RabbitMQ's own default; the longest one
/// needed here is `connection.start`, with about half a KiB.
pub(crate) const MAX_PAYLOAD: u32 = 128 * 1024;

/// Most bytes one connection may send. **Units:** bytes. A login takes about 1 KiB; the rest is room for heartbeats.
const MAX_TOTAL: usize = 1024 * 1024;

/// The channel of the connection itself.
pub(crate) const CONNECTION: u16 = 0;

/// The one channel that is opened.
pub(crate) const CHANNEL: u16 = 1;

/// Bytes around a payload: kind, channel and size before it, the end mark after it.
pub(crate) const OVERHEAD: u32 = 8;

const KIND_METHOD: u8 = 1;
const KIND_CONTENT_HEADER: u8 = 2;
const KIND_CONTENT_BODY: u8 = 3;
const KIND_HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// Bytes before the payload.
const PREFIX: usize = 7;

/// Bytes of what came that people are shown.
const SHOWN: usize = 64;

/// The number of a method: its class and its number there.
pub(crate) type MethodId = (u16, u16);

pub(crate) const START: MethodId = (10, 10);
pub(crate) const START_OK: MethodId = (10, 11);
pub(crate) const SECURE: MethodId = (10, 20);
pub(crate) const TUNE: MethodId = (10, 30);
pub(crate) const TUNE_OK: MethodId = (10, 31);
pub(crate) const OPEN: MethodId = (10, 40);
pub(crate) const OPEN_OK: MethodId = (10, 41);
pub(crate) const CLOSE: MethodId = (10, 50);
pub(crate) const CLOSE_OK: MethodId = (10, 51);
pub(crate) const CHANNEL_OPEN: MethodId = (20, 10);
pub(crate) const CHANNEL_OPEN_OK: MethodId = (20, 11);
pub(crate) const CHANNEL_CLOSE: MethodId = (20, 40);
pub(crate) const CHANNEL_CLOSE_OK: MethodId = (20, 41);
pub(crate) const QUEUE_DECLARE: MethodId = (50, 10);
pub(crate) const QUEUE_DECLARE_OK: MethodId = (50, 11);

/// The specification's name of a method a server may send.
pub(crate) fn name(id: MethodId) -> String {
    match id {
        START => "connection.start".to_owned(),
        SECURE => "connection.secure".to_owned(),
        TUNE => "connection.tune".to_owned(),
        OPEN_OK => "connection.open-ok".to_owned(),
        CLOSE => "connection.close".to_owned(),
        CLOSE_OK => "connection.close-ok".to_owned(),
        CHANNEL_OPEN_OK => "channel.open-ok".to_owned(),
        CHANNEL_CLOSE => "channel.close".to_owned(),
        QUEUE_DECLARE_OK => "queue.declare-ok".to_owned(),
        (class, method) => format!("method {class}.{method}"),
    }
}

/// What a server says, as far as anyone here wants to know.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// It begins, with the version it speaks and the names of the ways to log in, separated by spaces.
    Start { version: (u8, u8), mechanisms: Vec<u8> },
    /// The login was right; it proposes limits, 0 for none.
    Tune { max_channel: u16, max_frame: u32 },
    /// It ends the connection.
    Close(Reason),
    /// It ends the channel.
    ChannelClose(Reason),
    /// The queue is there.
    QueueDeclareOk { queue: Vec<u8>, messages: u32, consumers: u32 },
    /// A method whose arguments do not matter, or one nobody here knows.
    Plain(MethodId),
}

impl Method {
    pub(crate) fn id(&self) -> MethodId {
        match self {
            Method::Start { .. } => START,
            Method::Tune { .. } => TUNE,
            Method::Close(_) => CLOSE,
            Method::ChannelClose(_) => CHANNEL_CLOSE,
            Method::QueueDeclareOk { .. } => QUEUE_DECLARE_OK,
            Method::Plain(id) => *id,
        }
    }
}

/// Why a server ends something.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Reason {
    pub(crate) code: u16,
    pub(crate) text: Vec<u8>,
}

/// Why what came is not an AMQP 0-9-1 server's answer. Fits after "it".
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum WireError {
    /// It repeats what it was told.
    Echo,
    /// It answered the header with another one.
    Version([u8; 4]),
    /// It answered as a TLS server does.
    Tls,
    /// It began with something else.
    Protocol(Vec<u8>),
    /// A frame of a kind that does not exist.
    Kind(u8),
    /// A frame of a message, which nobody asked for.
    Content,
    /// A frame longer than may be.
    Long(u32),
    /// A frame without its end mark.
    End(u8),
    /// A method on a channel it does not belong to.
    Channel(MethodId, u16),
    /// A method with fewer bytes than it must have.
    Short(Option<MethodId>),
    /// More bytes than one connection may send.
    Total,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Echo => f.write_str("sends back what it is sent"),
            WireError::Version(version) => {
                write!(f, "speaks AMQP {}, not 0-9-1; probe a port where it speaks 0-9-1", version_name(*version))
            }
            WireError::Tls => f.write_str("speaks TLS; write tls = {}, or probe the plain port, which is mostly 5672"),
            WireError::Protocol(bytes) => {
                write!(f, "does not speak AMQP, it sent {}; check host and port", shown(bytes, SHOWN))
            }
            WireError::Kind(kind) => write!(f, "sent a frame of kind {kind}, which AMQP 0-9-1 does not have"),
            WireError::Content => f.write_str("sent a part of a message, which nobody asked for"),
            WireError::Long(size) => write!(f, "sent a frame of {size} bytes; at most {MAX_PAYLOAD} are accepted"),
            WireError::End(byte) => write!(f, "ended a frame with 0x{byte:02x} instead of 0x{END:02x}"),
            WireError::Channel(id, channel) => write!(f, "sent {} on channel {channel}, where it cannot be", name(*id)),
            WireError::Short(Some(id)) => write!(f, "sent a {} that ends too early", name(*id)),
            WireError::Short(None) => f.write_str("sent a method that ends too early"),
            WireError::Total => write!(f, "sent more than {MAX_TOTAL} bytes and no answer"),
        }
    }
}

impl std::error::Error for WireError {}

/// What people call the version that these four bytes of a header mean.
fn version_name(version: [u8; 4]) -> String {
    match version {
        [_, 0, minor, revision] => format!("0-{minor}-{revision}"),
        // The first drafts counted otherwise.
        [1, 1, 8, 0] => "0-8".to_owned(),
        [1, 1, 0, minor @ (9 | 10)] => format!("0-{minor}"),
        [_, major, minor, revision] => format!("{major}.{minor}.{revision}"),
    }
}

/// The beginning of bytes, for people.
pub(crate) fn shown(bytes: &[u8], limit: usize) -> String {
    let start = bytes.get(..limit).unwrap_or(bytes);
    let more = if bytes.len() > limit { "…" } else { "" };
    // Servers quote names with single quotes, which need no escape between double ones.
    format!("\"{}{more}\"", start.escape_ascii().to_string().replace("\\'", "'"))
}

/// Cuts a stream of bytes into methods, however it comes.
#[derive(Default)]
pub(crate) struct MethodReader {
    bytes: Vec<u8>,
    /// How much of `bytes` is done with.
    at: usize,
    total: usize,
    /// Whether a whole frame has come: before that, anything may come.
    is_amqp: bool,
}

impl MethodReader {
    /// Takes what came.
    ///
    /// **Errors:** it is more than may come.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        self.total = self.total.saturating_add(chunk.len());
        if self.total > MAX_TOTAL {
            return Err(WireError::Total);
        }
        self.bytes.drain(..self.at.min(self.bytes.len()));
        self.at = 0;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Bytes that came and are not yet a whole frame.
    pub(crate) fn begun(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next method, if all of it is there.
    ///
    /// **Errors:** what came is not one. Reading on makes no sense then.
    pub(crate) fn next(&mut self) -> Result<Option<Method>, WireError> {
        loop {
            let bytes = self.bytes.get(self.at..).unwrap_or_default();
            if !self.is_amqp {
                recognise(bytes)?;
            }
            let mut fields = Fields(bytes);
            let Some((kind, channel, size)) = fields.prefix() else { return Ok(None) };
            match kind {
                KIND_METHOD | KIND_HEARTBEAT => {}
                KIND_CONTENT_HEADER | KIND_CONTENT_BODY => return Err(WireError::Content),
                other => return Err(WireError::Kind(other)),
            }
            if size > MAX_PAYLOAD {
                return Err(WireError::Long(size));
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let (Some(payload), Some(end)) = (fields.take(size), fields.u8()) else { return Ok(None) };
            if end != END {
                return Err(WireError::End(end));
            }
            let method = if kind == KIND_METHOD { Some(read_method(channel, payload)?) } else { None };
            self.is_amqp = true;
            self.at = self.at.saturating_add(PREFIX).saturating_add(size).saturating_add(1);
            if method.is_some() {
                return Ok(method);
            }
        }
    }
}

/// Looks at the first bytes of a connection for another protocol than ours.
fn recognise(bytes: &[u8]) -> Result<(), WireError> {
    match bytes {
        [] | [KIND_METHOD | KIND_HEARTBEAT, ..] => Ok(()),
        // The beginning of another header, perhaps.
        _ if bytes.len() < HEADER.len() && b"AMQP".starts_with(bytes.get(..4).unwrap_or(bytes)) => Ok(()),
        _ if bytes.starts_with(HEADER) => Err(WireError::Echo),
        [b'A', b'M', b'Q', b'P', id, major, minor, revision, ..] => {
            Err(WireError::Version([*id, *major, *minor, *revision]))
        }
        // An alert, of which the second byte is the major version of all that TLS has been.
        [0x15, 3, ..] => Err(WireError::Tls),
        [0x15] => Ok(()),
        _ => Err(WireError::Protocol(bytes.to_vec())),
    }
}

fn read_method(channel: u16, payload: &[u8]) -> Result<Method, WireError> {
    let mut fields = Fields(payload);
    let id = fields.id().ok_or(WireError::Short(None))?;
    let home = if id.0 == START.0 { CONNECTION } else { CHANNEL };
    if channel != home {
        return Err(WireError::Channel(id, channel));
    }
    fields.arguments(id).ok_or(WireError::Short(Some(id)))
}

/// Takes fields off the front of bytes; `None` when there are too few.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let size = self.u8()?;
        self.take(usize::from(size))
    }

    /// A long string, or a table as it is.
    fn long(&mut self) -> Option<&'a [u8]> {
        let size = self.u32()?;
        self.take(usize::try_from(size).ok()?)
    }

    fn prefix(&mut self) -> Option<(u8, u16, u32)> {
        Some((self.u8()?, self.u16()?, self.u32()?))
    }

    fn id(&mut self) -> Option<MethodId> {
        Some((self.u16()?, self.u16()?))
    }

    fn reason(&mut self) -> Option<Reason> {
        Some(Reason { code: self.u16()?, text: self.short()?.to_vec() })
    }

    /// What a server adds after the arguments that are wanted is its own matter.
    fn arguments(&mut self, id: MethodId) -> Option<Method> {
        Some(match id {
            START => {
                let version = (self.u8()?, self.u8()?);
                let _properties = self.long()?;
                Method::Start { version, mechanisms: self.long()?.to_vec() }
            }
            TUNE => Method::Tune { max_channel: self.u16()?, max_frame: self.u32()? },
            CLOSE => Method::Close(self.reason()?),
            CHANNEL_CLOSE => Method::ChannelClose(self.reason()?),
            QUEUE_DECLARE_OK => {
                Method::QueueDeclareOk { queue: self.short()?.to_vec(), messages: self.u32()?, consumers: self.u32()? }
            }
            other => Method::Plain(other),
        })
    }
}

/// A method on its way to the server, field by field. The caller keeps it within [`MAX_PAYLOAD`].
pub(crate) struct Message {
    channel: u16,
    payload: Vec<u8>,
}

impl Message {
    pub(crate) fn new(channel: u16, id: MethodId) -> Message {
        Message { channel, payload: Vec::new() }.u16(id.0).u16(id.1)
    }

    fn bytes(mut self, bytes: &[u8]) -> Message {
        self.payload.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(self, value: u8) -> Message {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u16(self, value: u16) -> Message {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Message {
        self.bytes(&value.to_be_bytes())
    }

    /// At most 255 bytes; what is more is left out.
    pub(crate) fn short(self, text: &str) -> Message {
        let size = u8::try_from(text.len()).unwrap_or(u8::MAX);
        let text = text.as_bytes();
        self.u8(size).bytes(text.get(..usize::from(size)).unwrap_or(text))
    }

    pub(crate) fn long(self, bytes: &[u8]) -> Message {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).bytes(bytes)
    }

    pub(crate) fn table(self, table: &Table) -> Message {
        self.long(&table.0)
    }

    /// The whole frame.
    pub(crate) fn frame(self) -> Vec<u8> {
        let size = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        [&[KIND_METHOD][..], &self.channel.to_be_bytes(), &size.to_be_bytes(), &self.payload, &[END]].concat()
    }
}

/// A field table, as far as the client's properties need one. Names are at most 255 bytes.
#[derive(Default)]
pub(crate) struct Table(Vec<u8>);

impl Table {
    fn field(mut self, name: &str, kind: u8, value: &[u8]) -> Table {
        self.0.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(kind);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Table {
        let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.field(name, b'S', &[&size.to_be_bytes(), value.as_bytes()].concat())
    }

    pub(crate) fn yes(self, name: &str) -> Table {
        self.field(name, b't', &[1])
    }

    pub(crate) fn table(self, name: &str, value: &Table) -> Table {
        let size = u32::try_from(value.0.len()).unwrap_or(u32::MAX);
        self.field(name, b'F', &[&size.to_be_bytes(), value.0.as_slice()].concat())
    }
}
