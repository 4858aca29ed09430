//! What gRPC and its health service put into HTTP/2: the message that asks, and the verdict on what came back.
//!
//! **Source:** "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md), grpc.health.v1, and the encoding of Protocol Buffers.

use hilum_plugin::shown;

use crate::hpack::Field;
use crate::http2::Answer;

/// What is called.
pub(crate) const PATH: &str = "/grpc.health.v1.Health/Check";

/// Characters of a server's own explanation that are shown.
const SAID: usize = 200;

/// Names of gRPC's codes.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The message that asks about `service`, with its frame. It is shorter than 16 KiB.
pub(crate) fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of bytes.
        message.push(0x0a);
        let length = service.len();
        if length > 127 {
            message.push(u8::try_from(length % 128).unwrap_or_default() | 128);
            message.push(u8::try_from(length / 128).unwrap_or_default());
        } else {
            message.push(u8::try_from(length).unwrap_or_default());
        }
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(message);
    out
}

/// Whether `answer` says that it is serving.
///
/// **Errors:** it does not, and what it says: a text that fits after "it".
pub(crate) fn judge(answer: &Answer, service: &str) -> Result<(), String> {
    let find = |fields: &'_ [Field], name: &str| {
        fields.iter().find(|field| field.name == name.as_bytes()).map(|field| field.value.clone())
    };
    let last = |name: &str| find(&answer.trailers, name).or_else(|| find(&answer.head, name));
    let Some(code) = last("grpc-status") else {
        let status = find(&answer.head, ":status").unwrap_or_default();
        let kind = find(&answer.head, "content-type").unwrap_or_default();
        if status != b"200" || !kind.starts_with(b"application/grpc") {
            let (status, kind) = (shown(&status), shown(&kind));
            return Err(format!("answered with HTTP status {status} and content of type {kind}, which is not gRPC"));
        }
        return Err("ended the call without saying what came of it (grpc-status)".to_owned());
    };
    let number = std::str::from_utf8(&code).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number: Option<usize> = number.and_then(|text| text.parse().ok());
    let Some(number) = number else { return Err(format!("answered with grpc-status {}, which is none", shown(&code))) };
    if number != 0 {
        let name = CODES.get(number).map_or_else(|| format!("code {number}"), |name| (*name).to_owned());
        let message = last("grpc-message").filter(|message| !message.is_empty());
        let message = message.map(|message| format!(": {}", said(&message))).unwrap_or_default();
        return Err(format!("answered {name}{message}{}", way_out(number, service)));
    }
    let status = status(&answer.content)?;
    match status {
        1 => Ok(()),
        0 => Err("says UNKNOWN".to_owned()),
        2 => Err("says NOT_SERVING".to_owned()),
        3 => Err("says SERVICE_UNKNOWN".to_owned()),
        other => Err(format!("says status {other}, which is none of the health service's")),
    }
}

fn way_out(code: usize, service: &str) -> String {
    match code {
        5 if service.is_empty() => "; it does not know its own health, write service".to_owned(),
        5 => format!("; it does not know the service {service:?}"),
        7 | 16 => "; check metadata, and the certificate in tls".to_owned(),
        12 => "; it has no health service (grpc.health.v1.Health)".to_owned(),
        _ => String::new(),
    }
}

/// A text of the server's, for people.
fn said(message: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = message;
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let start: String = text.chars().take(SAID).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", start.escape_debug())
}

/// The status in the content: one message, not compressed, as none was offered.
fn status(content: &[u8]) -> Result<u64, String> {
    let wrong = |what: &str| format!("answered {what}: {}", shown(content));
    let Some((&[flag, a, b, c, d], message)) = content.split_first_chunk::<5>() else {
        return Err(if content.is_empty() {
            "answered OK, but nothing else".to_owned()
        } else {
            wrong("half a message")
        });
    };
    if flag != 0 {
        return Err(wrong("with a message that is compressed, which was not offered"));
    }
    if usize::try_from(u32::from_be_bytes([a, b, c, d])) != Ok(message.len()) {
        return Err(wrong("with anything but one message"));
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let key = number(&mut rest).ok_or_else(|| wrong("with a broken message"))?;
        // What the health service may say one day is passed over.
        let skipped = match key & 7 {
            0 => {
                let value = number(&mut rest).ok_or_else(|| wrong("with a broken message"))?;
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => number(&mut rest)
                .and_then(|length| usize::try_from(length).ok())
                .ok_or_else(|| wrong("with a broken message"))?,
            5 => 4,
            _ => return Err(wrong("with a broken message")),
        };
        rest = rest.get(skipped..).ok_or_else(|| wrong("with a broken message"))?;
    }
    Ok(status)
}

/// A number of up to ten bytes of seven bits each.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}
