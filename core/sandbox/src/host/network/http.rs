//! `hilum:host/http`: one request, its redirects, and the beginning of the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, USER_AGENT,
};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::io::TokioIo;

use super::{Dialer, Error, Stream, flatten, tls};
use crate::bindings::host::http::{Host, Request, Response};
use crate::bindings::host::tls::{Identity, Trust};
use crate::host::State;
use crate::text::clean;

/// Redirects that are followed at most, whatever the plugin asks for.
const MAX_REDIRECTS: u32 = 10;

/// Bytes of one answer: what may cross to the guest, less what its fields and list headers need there.
const MAX_BODY: usize = 900 * 1024;

/// Bytes of an answer's status line and fields. hyper refuses below 8 KiB.
const MAX_HEAD: usize = 64 * 1024;

/// Bytes of all that comes before an answer's content, such as answers that only announce it: hyper reads over any number of those, without a
/// turn for others. As much content may be read along with the last of it. **Units:** bytes.
const MAX_HEADS: usize = 3 * MAX_HEAD;

/// Where a URL leads.
struct Place {
    host: String,
    port: u16,
    tls: bool,
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

fn other(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::Other(text)
}

fn place(uri: &Uri) -> Result<Place, Error> {
    let shown = clean(&uri.to_string(), 256);
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(invalid(format!("{shown:?} is not an http or https URL"))),
    };
    let authority = uri.authority().ok_or_else(|| invalid(format!("{shown:?} has no host")))?;
    if authority.as_str().contains('@') {
        return Err(invalid("a URL must not carry a user or password; send an authorization field instead".to_owned()));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok(Place { host, port, tls })
}

/// Where `location` leads from `base`.
///
/// **Source:** RFC 9110, section 10.2.2; RFC 3986, section 5.2, less the merging of dot segments, which servers do themselves.
fn follow(base: &Uri, location: &str) -> Result<Uri, Error> {
    let wrong = || Error::Other(format!("it redirects to {:?}, which is not a URL", clean(location, 256)));
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") {
        return location.parse().map_err(|_| wrong());
    }
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", Authority::as_str);
    let path = base.path();
    let absolute = if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.is_empty() || location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.parse().map_err(|_| wrong())
}

/// What is sent, hop by hop.
struct Sending {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    /// It has been to another place than the first; what is secret stays behind.
    elsewhere: bool,
}

impl Sending {
    fn new(request: &mut Request) -> Result<Sending, Error> {
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid(format!("{:?} is not a method", clean(&request.method, 64))))?;
        if method == Method::CONNECT {
            return Err(invalid(
                "CONNECT is not a request for something; connect by hilum:host/tcp instead".to_owned(),
            ));
        }
        let uri: Uri =
            request.url.parse().map_err(|_| invalid(format!("{:?} is not a URL", clean(&request.url, 256))))?;
        let mut headers = HeaderMap::new();
        for (name, value) in std::mem::take(&mut request.headers) {
            let field = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("{:?} is not the name of a field", clean(&name, 64))))?;
            if [HOST, CONNECTION, CONTENT_LENGTH].contains(&field) || field == "transfer-encoding" || field == "upgrade"
            {
                return Err(invalid(format!("the field {field} is the host's to send; leave it out")));
            }
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| invalid(format!("the value of the field {field} has a control character")))?;
            headers.append(field, value);
        }
        Ok(Sending { method, uri, headers, body: std::mem::take(&mut request.body), elsewhere: false })
    }

    /// Changes over to where an answer redirects to; `None` if it does not.
    fn redirected(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<Option<()>, Error> {
        let keeps = match status.as_u16() {
            301..=303 => false,
            307 | 308 => true,
            _ => return Ok(None),
        };
        let Some(location) = headers.get(LOCATION) else { return Ok(None) };
        let next = follow(&self.uri, &String::from_utf8_lossy(location.as_bytes()))?;
        let (from, to) = (place(&self.uri)?, place(&next)?);
        if (from.host.to_ascii_lowercase(), from.port, from.tls) != (to.host.to_ascii_lowercase(), to.port, to.tls) {
            self.elsewhere = true;
            let mut kept = HeaderMap::new();
            for field in [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT] {
                kept.extend(self.headers.get_all(&field).iter().map(|value| (field.clone(), value.clone())));
            }
            self.headers = kept;
        }
        if !keeps && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body.clear();
        }
        self.uri = next;
        Ok(Some(()))
    }

    fn message(&self) -> Result<hyper::Request<Full<Bytes>>, Error> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut message = hyper::Request::builder()
            .method(self.method.clone())
            .uri(path)
            .header(HOST, self.uri.authority().map_or("", Authority::as_str))
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::from(self.body.clone())))
            .map_err(|error| other(&error))?;
        message.headers_mut().extend(self.headers.clone());
        Ok(message)
    }
}

/// The task in which a connection lives; it ends with this.
pub(crate) struct Turning(AbortHandle);

impl Drop for Turning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who may answer by TLS, and who we are.
pub(crate) struct Peer {
    pub(crate) trust: Trust,
    /// Whom the certificate is for, if not the URL's host.
    pub(crate) name: Option<String>,
    pub(crate) identity: Option<Identity>,
}

/// Sends `message` to where `target` leads and waits for the answer's head. Its content comes for as long as the second part is kept.
///
/// **Errors:** all of `error`.
pub(crate) async fn exchange<B>(
    dialer: &Dialer,
    target: &Uri,
    peer: Peer,
    message: hyper::Request<B>,
) -> Result<(hyper::Response<Incoming>, Turning), Error>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let place = place(target)?;
    let stream = Stream::Tcp(dialer.dial(&place.host, place.port).await?);
    let stream = if place.tls {
        let connector = tls::prepared(&dialer.waiting, &dialer.pace, peer.trust, peer.identity, Vec::new()).await?;
        tls::agree(&connector, peer.name.as_deref().unwrap_or(&place.host), stream).await?
    } else {
        stream
    };
    let left = Arc::new(AtomicUsize::new(MAX_HEADS));
    let metered = Metered { stream, left: Arc::clone(&left) };
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(metered));
    let (mut sender, connection) = handshake.await.map_err(|error| failure(&error))?;
    let pace = dialer.pace.clone();
    let turning = Turning(tokio::spawn(async move { pace.count_beside(connection).await }).abort_handle());
    let answer = sender.send_request(message).await.map_err(|error| failure(&error))?;
    left.store(usize::MAX, Ordering::Relaxed);
    Ok((answer, turning))
}

/// A stream from which no more is read than is left.
struct Metered {
    stream: Stream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len().saturating_sub(before);
        let left = self.left.load(Ordering::Relaxed);
        if count > left {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        // What is all that may ever be read stays all.
        if left < usize::MAX {
            self.left.store(left - count, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What of hyper's went wrong.
fn failure(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Error::Closed;
    }
    if error.is_parse_too_large() {
        return Error::Other(format!("the answer's fields have more than {} KiB", MAX_HEAD / 1024));
    }
    if error.is_parse() {
        return Error::Other(format!("it does not speak HTTP: {error}"));
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(broken) = inner.downcast_ref::<io::Error>() {
            if broken.kind() == io::ErrorKind::FileTooLarge {
                return Error::Other(format!(
                    "what comes before the answer's content has more than {} KiB",
                    MAX_HEADS / 1024
                ));
            }
            return tls::distrust(broken).map_or_else(|| io::Error::from(broken.kind()).into(), Error::Untrusted);
        }
        cause = inner.source();
    }
    other(error)
}

async fn fetch(dialer: &Dialer, mut request: Request) -> Result<Response, Error> {
    let mut sending = Sending::new(&mut request)?;
    let mut hops = request.redirects.min(MAX_REDIRECTS);
    let (answer, _turning) = loop {
        let message = sending.message()?;
        let peer = Peer {
            trust: request.trust.clone(),
            name: request.server_name.clone().filter(|_| !sending.elsewhere),
            identity: request.identity.clone().filter(|_| !sending.elsewhere),
        };
        let (answer, turning) = exchange(dialer, &sending.uri, peer, message).await?;
        if hops == 0 || sending.redirected(answer.status(), answer.headers())?.is_none() {
            break (answer, turning);
        }
        hops -= 1;
    };
    let limit = usize::try_from(request.limit).unwrap_or(MAX_BODY).min(MAX_BODY);
    let status = answer.status().as_u16();
    let field = |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    let headers = answer.headers().iter().map(field).collect();
    let mut incoming = answer.into_body();
    let mut body = Vec::new();
    let mut cut = false;
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() else { continue };
        let room = limit.saturating_sub(body.len());
        body.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Response { url: sending.uri.to_string(), method: sending.method.to_string(), status, headers, body, cut })
}

impl Host for State {
    async fn fetch(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        let dialer = self.dialer();
        let room = self.room();
        let answered = self.pace.wait(async {
            room?;
            fetch(&dialer, request).await
        });
        let answered = flatten(answered.await);
        Ok(self.report(answered))
    }
}

#[cfg(test)]
mod tests {
    use super::{follow, place};
    use hyper::Uri;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn redirects_lead_where_the_standard_says() {
        let base = uri("https://a.example:8443/x/y?z=1");
        let leads = |location: &str| follow(&base, location).map(|uri| uri.to_string()).ok();
        for (location, expected) in [
            ("http://b.example/", "http://b.example/"),
            ("//b.example/c", "https://b.example/c"),
            ("/c?d#e", "https://a.example:8443/c?d"),
            ("c", "https://a.example:8443/x/c"),
            ("?q", "https://a.example:8443/x/y?q"),
            ("", "https://a.example:8443/x/y"),
        ] {
            assert_eq!(leads(location).as_deref(), Some(expected), "{location}");
        }
        assert_eq!(leads("/a b"), None);
    }

    #[test]
    fn places_are_http_ones_without_secrets() {
        assert!(place(&uri("http://[::1]:8080/")).is_ok_and(|it| it.host == "::1" && it.port == 8080 && !it.tls));
        assert!(place(&uri("https://db")).is_ok_and(|it| it.port == 443 && it.tls));
        for wrong in ["ftp://a/", "/a", "http://user:secret@a/"] {
            assert!(place(&uri(wrong)).is_err(), "{wrong}");
        }
    }
}
