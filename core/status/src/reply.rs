//! Answers and how they are written. tiny_http writes the status line and the fields; the body is appended as it is.

use std::borrow::Cow;
use std::io;

use tiny_http::{HTTPVersion, Header, Response, StatusCode};

use crate::head::Refusal;
use crate::time;

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// What the body is.
    pub(crate) content_type: &'static str,
    /// Fields only this answer has.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// The body.
    pub(crate) body: Cow<'static, [u8]>,
}

impl Reply {
    /// 200 with a document.
    pub(crate) fn document(content_type: &'static str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, content_type, fields: &[], body: Cow::Owned(body.into()) }
    }

    /// A status code with a line of text.
    pub(crate) fn text(status: u16, line: impl Into<Cow<'static, str>>) -> Reply {
        let body = match line.into() {
            Cow::Borrowed(line) => Cow::Borrowed(line.as_bytes()),
            Cow::Owned(line) => Cow::Owned(line.into_bytes()),
        };
        Reply { status, content_type: TEXT, fields: &[], body }
    }

    /// 405.
    pub(crate) fn wrong_method() -> Reply {
        Reply { fields: &[("Allow", "GET, HEAD")], ..Reply::text(405, "read-only: use GET or HEAD\n") }
    }

    /// The answer to a head that is not one.
    pub(crate) fn refusal(refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Malformed(why) => Reply::text(400, format!("{why}\n")),
            Refusal::TooLarge => Reply::text(431, "request head over 8 KiB\n"),
            Refusal::Version => Reply::text(505, "only HTTP/1.0 and HTTP/1.1 are spoken here\n"),
        }
    }

    /// The answer as it goes over the wire. `persistent`: the connection stays open after it.
    pub(crate) fn encode(&self, version: &HTTPVersion, persistent: bool, without_body: bool, now: u64) -> Vec<u8> {
        let date = time::http_date(now);
        let common = [
            ("Date", date.as_str()),
            ("Server", "hilum"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Type", self.content_type),
        ];
        let fields = common.iter().chain(self.fields);
        let headers = fields.filter_map(|(name, value)| Header::from_bytes(*name, *value).ok()).collect();
        let mut bytes = Vec::with_capacity(512 + if without_body { 0 } else { self.body.len() });
        // With a known length below the threshold and no TE field of the request, the length is sent and nothing is chunked. Writing
        // to memory does not fail.
        let written = Response::new(StatusCode(self.status), headers, io::empty(), Some(self.body.len()), None)
            .with_chunked_threshold(usize::MAX)
            .raw_print(&mut bytes, version.clone(), &[], true, None);
        debug_assert!(written.is_ok(), "writing to memory failed");
        // tiny_http leaves the Connection field to its own connection loop, which is not used here.
        let connection: &[u8] = match (version, persistent) {
            (HTTPVersion(1, 0), true) => b"Connection: keep-alive\r\n\r\n",
            (_, true) => b"\r\n",
            (_, false) => b"Connection: close\r\n\r\n",
        };
        bytes.truncate(bytes.len().saturating_sub(2));
        bytes.extend_from_slice(connection);
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;
    use tiny_http::HTTPVersion;

    fn text(reply: &Reply, version: HTTPVersion, persistent: bool, without_body: bool) -> String {
        String::from_utf8_lossy(&reply.encode(&version, persistent, without_body, 0)).into_owned()
    }

    #[test]
    fn answers_are_written_whole() {
        let reply = Reply::text(503, "no\n");
        let expected = "HTTP/1.1 503 Service Unavailable\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: hilum\r\n\
            Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(text(&reply, HTTPVersion(1, 1), false, true), expected);
        assert_eq!(text(&reply, HTTPVersion(1, 1), false, false), format!("{expected}no\n"));
    }

    #[test]
    fn persistence_is_said_where_the_version_needs_it() {
        let reply = Reply::text(200, "ok\n");
        assert!(!text(&reply, HTTPVersion(1, 1), true, false).contains("Connection"));
        assert!(text(&reply, HTTPVersion(1, 0), true, false).contains("\r\nConnection: keep-alive\r\n\r\nok\n"));
        assert!(text(&reply, HTTPVersion(1, 0), false, false).starts_with("HTTP/1.0 200 OK\r\n"));
        assert!(text(&Reply::wrong_method(), HTTPVersion(1, 1), true, false).contains("\r\nAllow: GET, HEAD\r\n"));
    }

    #[test]
    fn long_bodies_are_not_chunked() {
        let reply = Reply::document("text/html", vec![b'x'; 100_000]);
        let text = text(&reply, HTTPVersion(1, 1), true, false);
        assert!(text.contains("\r\nContent-Length: 100000\r\n") && !text.contains("chunked"));
    }
}
