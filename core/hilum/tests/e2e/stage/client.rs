//! HTTP as a client sees it on the wire, with nothing in between that would hide a mistake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::DEADLINE;
use super::failure::{Context as _, Failure, fail};

/// Where to ask: `127.0.0.1:8111` or `unix:/path`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    address: String,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.body).context(format!("the body is no JSON: {}", self.body))
    }
}

/// Both ways of a connection.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Client {
    pub(crate) fn new(address: &str) -> Client {
        let address = address.replace("0.0.0.0", "127.0.0.1");
        Client { address }
    }

    pub(crate) fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).context(format!("cannot connect to {path}"))?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            return Ok(Box::new(stream));
        }
        let stream = TcpStream::connect(&self.address).context(format!("cannot connect to {}", self.address))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Box::new(stream))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask("GET", path)
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<Answer, Failure> {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: hilum\r\nConnection: close\r\n\r\n");
        self.send(request.as_bytes()).context(format!("{method} {path}"))
    }

    /// Sends these bytes and reads one answer to the end of the stream.
    pub(crate) fn send(&self, request: &[u8]) -> Result<Answer, Failure> {
        let mut stream = self.connect()?;
        // A server that refuses early may close before it has read all.
        let _sent = stream.write_all(request);
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes)
            && bytes.is_empty()
        {
            return fail(format!("no answer: {error}"));
        }
        parse(&bytes)
    }

    /// Asks until the answer has this status; for changes that no one announces.
    pub(crate) fn wait_for(&self, path: &str, status: u16) -> Result<Answer, Failure> {
        let mut last = None;
        super::boot::eventually(&format!("{path} does not answer {status}"), || {
            let answer = self.get(path)?;
            let done = answer.status == status;
            last = Some(answer);
            Ok(done)
        })
        .context(format!("last answer {last:?}"))?;
        last.context("no answer")
    }

    /// Asks `/` (kapo's JSON) until the first object's `Status`, and all of it, is as wanted.
    pub(crate) fn wait_until(
        &self,
        path: &str,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let mut last = Value::Null;
        super::boot::eventually(what, || {
            last = self.get(path)?.json()?;
            Ok(wanted(&last))
        })
        .context(format!("last answer {last}"))?;
        Ok(last)
    }
}

/// Takes an answer apart; a chunked body is put together.
pub(crate) fn parse(bytes: &[u8]) -> Result<Answer, Failure> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").context(format!("the answer has no head: {text:?}"))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status =
        first.split(' ').nth(1).and_then(|code| code.parse().ok()).context(format!("no status in {first:?}"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value.contains("chunked"));
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok(Answer { status, headers, body })
}

fn unchunk(body: &str) -> String {
    let mut rest = body;
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = tail.get(..size).filter(|_| size > 0) else { break };
        whole.push_str(chunk);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    whole
}
