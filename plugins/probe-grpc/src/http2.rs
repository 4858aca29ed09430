//! The client's half of HTTP/2, as far as one call with a short answer needs it. It opens no socket: bytes come in, bytes go out, and what the
//! server decides about is bounded. It never opens a window: a health answer is far shorter than the one that both sides start with.
//!
//! **Source:** RFC 9113.

use hilum_plugin::shown;

use crate::hpack::{Decoder, Field, MAX_LIST, MAX_TABLE};

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest frame either side may send unless the other says otherwise, which we do not.
pub(crate) const MAX_FRAME: usize = 16_384;

/// Bytes before a frame's payload.
const FRAME_HEADER: usize = 9;

/// Bytes of all that the server sends.
const MAX_TOTAL: usize = 256 * 1024;

/// Frames of all that the server sends. An orderly answer has about ten; each may have to be acknowledged.
const MAX_FRAMES: u32 = 1024;

/// Bytes of one block of header fields as it is sent.
const MAX_BLOCK: usize = 2 * MAX_LIST;

/// Bytes of the answer's content.
const MAX_CONTENT: usize = 4 * 1024;

/// Blocks of header fields that are not the answer's own (1xx).
const MAX_INTERIM: u32 = 8;

/// The stream of the call.
const STREAM: u32 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Why a stream or a connection was given up. **Source:** section 7.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

fn word(code: u32) -> String {
    let known = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    known.map_or_else(|| format!("code {code}"), |word| (*word).to_owned())
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(length.into_iter().skip(1));
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// All that a client sends for one call: `block` is its header fields, `content` what is asked. Neither is longer than a frame.
pub(crate) fn request(block: &[u8], content: &[u8]) -> Vec<u8> {
    let mut settings = Vec::new();
    // No pushes; as much of header fields as is read.
    let list = u32::try_from(MAX_LIST).unwrap_or(u32::MAX);
    for (key, value) in [(2_u16, 0_u32), (6, list)] {
        settings.extend(key.to_be_bytes());
        settings.extend(value.to_be_bytes());
    }
    let mut out = PREFACE.to_vec();
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, HEADERS, END_HEADERS, STREAM, block);
    frame(&mut out, DATA, END_STREAM, STREAM, content);
    out
}

/// What the server answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The fields before the content.
    pub(crate) head: Vec<Field>,
    pub(crate) content: Vec<u8>,
    /// The fields after the content; none if there is nothing after the head.
    pub(crate) trailers: Vec<Field>,
}

/// A block of header fields that is not whole yet.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    ends_stream: bool,
}

/// A call that is being answered.
#[derive(Debug)]
pub(crate) struct Call {
    bytes: Vec<u8>,
    total: usize,
    frames: u32,
    decoder: Decoder,
    /// Whether the server has begun as it must.
    has_begun: bool,
    block: Option<Block>,
    has_head: bool,
    interim: u32,
    padding: usize,
    answer: Answer,
    farewell: Option<String>,
}

/// A frame without its payload.
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Header {
    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Call {
    pub(crate) fn new() -> Call {
        Call {
            bytes: Vec::new(),
            total: 0,
            frames: 0,
            decoder: Decoder::new(MAX_TABLE),
            has_begun: false,
            block: None,
            has_head: false,
            interim: 0,
            padding: 0,
            answer: Answer::default(),
            farewell: None,
        }
    }

    /// Takes bytes of the server's, and adds to `out` what must be sent in return. Returns the answer once it is whole.
    ///
    /// **Errors:** the call has failed, and why: a text that fits after "it".
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<Answer>, String> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > MAX_TOTAL {
            return Err(format!("sent more than {} KiB", MAX_TOTAL / 1024));
        }
        self.bytes.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.bytes);
        let mut rest = all.as_slice();
        loop {
            if !self.has_begun {
                begins(rest)?;
            }
            let Some((header, payload, after)) = split(rest)? else { break };
            rest = after;
            self.frames += 1;
            if self.frames > MAX_FRAMES {
                return Err(format!("sent more than {MAX_FRAMES} frames"));
            }
            self.has_begun = true;
            if self.take(header, payload, out)? {
                return Ok(Some(std::mem::take(&mut self.answer)));
            }
        }
        self.bytes = rest.to_vec();
        Ok(None)
    }

    /// Whether nothing came at all.
    pub(crate) fn is_untouched(&self) -> bool {
        self.total == 0
    }

    /// How far it came, for the message that it came no further.
    pub(crate) fn progress(&self) -> String {
        match &self.farewell {
            Some(farewell) => format!("; it had said {farewell}"),
            None if !self.has_begun && self.bytes.is_empty() => String::new(),
            None if !self.has_begun => format!(", only {}", shown(&self.bytes)),
            None if !self.has_head => "; it had begun to speak HTTP/2".to_owned(),
            None => "; it had begun to answer".to_owned(),
        }
    }

    /// Takes a frame. True if it was the last of the call.
    fn take(&mut self, header: Header, payload: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        let Header { kind, stream, .. } = header;
        if self.block.is_some() && kind != CONTINUATION {
            return Err(broken("other frames within header fields"));
        }
        match (kind, stream) {
            (SETTINGS, 0) => settings(header, payload, out).map(|()| false),
            (PING, 0) => {
                if payload.len() != 8 {
                    return Err(broken("a ping of the wrong length"));
                }
                if !header.has(ACK) {
                    frame(out, PING, ACK, 0, payload);
                }
                Ok(false)
            }
            (GOAWAY, 0) => self.farewell(payload).map(|()| false),
            (HEADERS, STREAM) => self.headers(header, payload),
            (CONTINUATION, STREAM) => self.more_headers(header, payload),
            (DATA, STREAM) => self.data(header, payload),
            (RST_STREAM, STREAM) => {
                let code = payload.first_chunk().map(|code| u32::from_be_bytes(*code));
                let code = code.filter(|_| payload.len() == 4).ok_or_else(|| broken("an end of the wrong length"))?;
                Err(format!("broke the call off: {}", word(code)))
            }
            (WINDOW_UPDATE, 0 | STREAM) => match payload.try_into().map(u32::from_be_bytes) {
                Ok(increment) if increment & 0x7fff_ffff != 0 => Ok(false),
                _ => Err(broken("a window that does not open")),
            },
            (PUSH_PROMISE, _) => Err(broken("a push that was not wanted")),
            (DATA | HEADERS | RST_STREAM | SETTINGS | PING | GOAWAY | WINDOW_UPDATE | CONTINUATION, _) => {
                Err(broken(&format!("a frame of kind {kind} on stream {stream}")))
            }
            // Priorities, and what nobody knows: to be passed over.
            _ => Ok(false),
        }
    }

    fn farewell(&mut self, payload: &[u8]) -> Result<(), String> {
        let wrong = || broken("a farewell of the wrong length");
        let (last, rest) = payload.split_first_chunk().ok_or_else(wrong)?;
        let (code, debug) = rest.split_first_chunk().ok_or_else(wrong)?;
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        let mut story = format!("GOAWAY: {}", word(u32::from_be_bytes(*code)));
        if !debug.is_empty() {
            story = format!("{story}, {}", shown(debug));
        }
        if last < STREAM {
            return Err(format!("does not take the call, and said {story}"));
        }
        self.farewell = Some(story);
        Ok(())
    }

    fn headers(&mut self, header: Header, payload: &[u8]) -> Result<bool, String> {
        let mut bytes = unpadded(header, payload)?;
        if header.has(PRIORITY) {
            bytes = bytes.get(5..).ok_or_else(|| broken("header fields of the wrong length"))?;
        }
        self.block = Some(Block { bytes: Vec::new(), ends_stream: header.has(END_STREAM) });
        self.more_headers(header, bytes)
    }

    fn more_headers(&mut self, header: Header, bytes: &[u8]) -> Result<bool, String> {
        let Some(block) = &mut self.block else { return Err(broken("header fields that go on without a beginning")) };
        block.bytes.extend_from_slice(bytes);
        if block.bytes.len() > MAX_BLOCK {
            return Err(broken(&format!("header fields of more than {} KiB", MAX_BLOCK / 1024)));
        }
        if !header.has(END_HEADERS) {
            return Ok(false);
        }
        let Some(block) = self.block.take() else { return Ok(false) };
        let fields = self.decoder.decode(&block.bytes);
        let fields = fields.map_err(|error| broken(&format!("header fields that cannot be read: {error}")))?;
        if self.has_head {
            if !block.ends_stream {
                return Err(broken("header fields in the midst of the content"));
            }
            self.answer.trailers = fields;
            return Ok(true);
        }
        let is_interim = fields.iter().any(|field| field.name == b":status" && field.value.starts_with(b"1"));
        if is_interim && !block.ends_stream {
            self.interim += 1;
            return if self.interim > MAX_INTERIM { Err(broken("too many interim answers")) } else { Ok(false) };
        }
        self.has_head = true;
        self.answer.head = fields;
        Ok(block.ends_stream)
    }

    fn data(&mut self, header: Header, payload: &[u8]) -> Result<bool, String> {
        if !self.has_head {
            return Err(broken("content before the header fields"));
        }
        let bytes = unpadded(header, payload)?;
        // What is padded counts for the window, which is never opened further.
        self.padding = self.padding.saturating_add(payload.len().saturating_sub(bytes.len()));
        self.answer.content.extend_from_slice(bytes);
        if self.answer.content.len() > MAX_CONTENT || self.padding > MAX_FRAME {
            return Err(format!("answered with more than {} KiB, which is no health answer", MAX_CONTENT / 1024));
        }
        Ok(header.has(END_STREAM))
    }
}

fn broken(what: &str) -> String {
    format!("broke the rules of HTTP/2: it sent {what}")
}

/// Refuses who speaks something else, as soon as it shows: the first frame must be one of settings.
fn begins(bytes: &[u8]) -> Result<(), String> {
    let hint = match bytes {
        [_, _, _, SETTINGS, ..] | [] | [_] | [_, _] | [_, _, _] => return Ok(()),
        [0x15 | 0x16, 3, ..] => "; it speaks TLS: write tls = {}",
        [b'H', b'T', b'T', b'P', ..] => "; it speaks HTTP/1: is it the right port?",
        _ => "; is it the right port, and TLS as it should be?",
    };
    Err(format!("does not speak HTTP/2: it sent {}{hint}", shown(bytes)))
}

/// A frame, its payload, and what comes after it.
type Split<'a> = (Header, &'a [u8], &'a [u8]);

/// The first frame of `bytes`; `None` if it is not whole yet.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, String> {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER>() else { return Ok(None) };
    let [a, b, c, kind, flags, stream @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(broken(&format!("a frame of {length} bytes")));
    }
    let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
    Ok(rest.split_at_checked(length).map(|(payload, after)| (Header { kind, flags, stream }, payload, after)))
}

/// Judges settings and acknowledges them. None changes what is sent: that is on its way already.
fn settings(header: Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    if header.has(ACK) {
        return if payload.is_empty() { Ok(()) } else { Err(broken("an acknowledgement that says more")) };
    }
    let settings = payload.chunks_exact(6);
    if !settings.remainder().is_empty() {
        return Err(broken("settings of the wrong length"));
    }
    frame(out, SETTINGS, ACK, 0, &[]);
    Ok(())
}

/// A payload without its padding.
fn unpadded(header: Header, payload: &[u8]) -> Result<&[u8], String> {
    if !header.has(PADDED) {
        return Ok(payload);
    }
    let unpadded =
        payload.split_first().and_then(|(length, rest)| rest.get(..rest.len().checked_sub((*length).into())?));
    unpadded.ok_or_else(|| broken("more padding than content"))
}
