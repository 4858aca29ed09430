//! The callback against a scripted host.

use callback_webhook::CallbackWebhook;
use hilum_plugin::fake::{FakeHost, Random};
use hilum_plugin::{Context, Event, FileError, HttpRequest, HttpResponse, NetworkError, Reaction, Trust};

const URL: &str = "https://hooks.example/T0/secret-path";
const PLAIN: &str = r#"{"url": "https://hooks.example/T0/secret-path"}"#;

fn event() -> Event {
    Event {
        name: "service.exited".to_owned(),
        id: "run-7".to_owned(),
        at: 1_800_000_000_000_000_001,
        service: Some("web \"1\"".to_owned()),
        body: r#"{"code": 1, "why": "é"}"#.to_owned(),
    }
}

fn tell(settings: &str, event: &Event, host: &FakeHost) -> Reaction {
    let context = Context { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 };
    hilum_plugin::notify::<CallbackWebhook>(event, &context, host)
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<HttpResponse, NetworkError> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Ok(HttpResponse {
        url: URL.to_owned(),
        method: "POST".to_owned(),
        status,
        headers,
        body: body.as_bytes().to_vec(),
        cut: false,
    })
}

fn receiver(status: u16, headers: &[(&str, &str)], body: &str) -> FakeHost {
    FakeHost::new().with_page(URL, answer(status, headers, body))
}

/// The requests that were made, which must be this many.
fn requests<const COUNT: usize>(host: &FakeHost) -> [HttpRequest; COUNT] {
    let mut made = host.requests().into_iter();
    let requests = std::array::from_fn(|_| made.next().unwrap_or_default());
    assert_eq!(host.requests().len(), COUNT);
    requests
}

fn retries(reaction: &Reaction, said: &str) -> bool {
    matches!(reaction, Reaction::Retry { why, .. } if why.contains(said) && !why.contains("secret"))
}

fn fails(reaction: &Reaction, said: &str) -> bool {
    matches!(reaction, Reaction::Failed(why) if why.contains(said) && !why.contains("secret"))
}

#[test]
fn an_event_that_is_taken_is_done_with_the_answer() {
    let host = receiver(202, &[], "taken");
    assert_eq!(tell(PLAIN, &event(), &host), Reaction::Done("taken".to_owned()));
    let [request] = requests(&host);
    assert_eq!((request.method.as_str(), request.url.as_str(), request.redirects), ("POST", URL, 0));
    assert_eq!((&request.trust, &request.identity, request.limit), (&Trust::System, &None, 65_536));
    let expected = r#"{"name":"service.exited","id":"run-7","at":"2027-01-15T08:00:00.000000001Z","service":"web \"1\"","body":{"code": 1, "why": "é"}}"#;
    assert_eq!(String::from_utf8_lossy(&request.body), expected);
    let agent = concat!("hilum-callback-webhook/", env!("CARGO_PKG_VERSION"));
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("Content-Type", "application/json"), ("User-Agent", agent), ("Idempotency-Key", "run-7")]);
}

#[test]
fn every_try_sends_the_same_bytes() {
    let host = receiver(503, &[], "");
    let settings = format!(r#"{{"url": "{URL}", "secret": "top-secret"}}"#);
    assert!(retries(&tell(&settings, &event(), &host), "answered 503"));
    assert!(retries(&tell(&settings, &event(), &host), "answered 503"));
    assert_eq!(host.requests().first(), host.requests().last());
}

#[test]
fn an_event_about_no_service_has_null_and_an_empty_body_is_an_empty_object() {
    let host = receiver(200, &[], "");
    let bare = Event { service: None, body: " \n".to_owned(), ..event() };
    assert_eq!(tell(PLAIN, &bare, &host), Reaction::Done(String::new()));
    let sent =
        host.requests().first().map(|request| String::from_utf8_lossy(&request.body).into_owned()).unwrap_or_default();
    assert!(sent.ends_with(r#""service":null,"body":{}}"#), "{sent}");
}

#[test]
fn headers_and_signature_go_with_it() {
    let host = receiver(200, &[], "");
    let settings = format!(
        r#"{{"url": "{URL}", "method": "PUT", "secret": "Jefe", "headers": {{"Authorization": "Bearer t", "content-type": "application/x", "User-Agent": "u"}}}}"#
    );
    assert_eq!(tell(&settings, &event(), &host), Reaction::Done(String::new()));
    let [request] = requests(&host);
    assert_eq!(request.method, "PUT");
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Idempotency-Key", "X-Hilum-Signature", "Authorization", "content-type", "User-Agent"]);
    let signature =
        request.headers.iter().find(|(name, _)| name == "X-Hilum-Signature").map(|(_, value)| value.as_str());
    // By: openssl dgst -sha256 -hmac Jefe
    assert_eq!(signature, Some("sha256=eee9dea3e96fc04d57fb12379c010cc67fcd1efaee6319693a53ec60d986a537"));
}

#[test]
fn tls_is_the_hosts_with_what_the_settings_say() {
    const PEM: &str = "-----BEGIN X-----";
    let host = receiver(200, &[], "").with_file("/ca.pem", PEM.as_bytes(), 0).with_file("/key.pem", PEM.as_bytes(), 0);
    let settings =
        format!(r#"{{"url": "{URL}", "tls": {{"ca": "/ca.pem", "certificate": "{PEM}", "key": "/key.pem"}}}}"#);
    assert_eq!(tell(&settings, &event(), &host), Reaction::Done(String::new()));
    let anybody = format!(r#"{{"url": "{URL}", "tls": {{"insecure": true}}}}"#);
    assert_eq!(tell(&anybody, &event(), &host), Reaction::Done(String::new()));
    let [known, unknown] = requests(&host);
    assert_eq!(known.trust, Trust::Authorities(PEM.to_owned()));
    assert!(known.identity.as_ref().is_some_and(|who| who.key == PEM && who.certificates == PEM));
    assert_eq!((&unknown.trust, &unknown.identity), (&Trust::Anybody, &None));

    let missing = FakeHost::new().with_file_error("/ca.pem", FileError::NotFound("no such file".to_owned()));
    let settings = format!(r#"{{"url": "{URL}", "tls": {{"ca": "/ca.pem"}}}}"#);
    assert!(retries(&tell(&settings, &event(), &missing), "cannot read tls.ca from /ca.pem: no such file"));
    let half = FakeHost::new().with_file("/ca.pem", b"", 0);
    assert!(retries(&tell(&settings, &event(), &half), "tls.ca: /ca.pem is not PEM text"));
    assert!(fails(&tell(&settings, &event(), &FakeHost::new()), "reading /ca.pem is not granted"));
}

#[test]
fn what_may_be_over_by_the_next_try_is_tried_again() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let host = receiver(status, &[("retry-after", "120")], "busy\n");
        let said =
            format!("https://hooks.example answered {status} and said \"busy\\n\"; it asks for a pause of \"120\"");
        assert_eq!(tell(PLAIN, &event(), &host), Reaction::Retry { why: said, after_ms: Some(120_000) });
    }
    for error in [
        NetworkError::NameUnresolved("hooks.example: no such name".to_owned()),
        NetworkError::Refused,
        NetworkError::Unreachable("no route".to_owned()),
        NetworkError::TimedOut,
        NetworkError::Closed,
        NetworkError::Untrusted("invalid peer certificate: Expired".to_owned()),
        NetworkError::Limit("16 connections".to_owned()),
        NetworkError::Other("it does not speak HTTP".to_owned()),
    ] {
        let said = format!("cannot tell https://hooks.example: {error}");
        let host = FakeHost::new().with_page(URL, Err(error));
        assert_eq!(tell(PLAIN, &event(), &host), Reaction::retry(said));
    }
}

#[test]
fn what_another_try_would_not_change_has_failed() {
    for status in [100, 199, 304, 400, 401, 403, 404, 405, 409, 410, 413, 422, 426, 600, 999] {
        let reaction = tell(PLAIN, &event(), &receiver(status, &[], "\u{1b}[no"));
        assert!(
            fails(&reaction, &format!(r#"https://hooks.example answered {status} and said "\x1b[no""#)),
            "{reaction:?}"
        );
    }
    for error in [
        NetworkError::Denied("connect to hooks.example:443 is not granted".to_owned()),
        NetworkError::Invalid("no host".to_owned()),
        NetworkError::Unsupported("there is no TLS in this hilum".to_owned()),
    ] {
        let said = error.to_string();
        assert!(fails(&tell(PLAIN, &event(), &FakeHost::new().with_page(URL, Err(error))), &said));
    }
}

#[test]
fn redirects_that_lose_the_event_are_not_followed() {
    for status in [301, 302, 303] {
        let host = receiver(status, &[("location", "http://elsewhere.example/secret")], "");
        let settings = format!(r#"{{"url": "{URL}", "redirects": 5}}"#);
        let reaction = tell(&settings, &event(), &host);
        assert!(
            fails(&reaction, "it leads to http://elsewhere.example, by a request without the event"),
            "{reaction:?}"
        );
        assert_eq!(host.requests().len(), 1);
    }
    let reaction = tell(PLAIN, &event(), &receiver(302, &[], ""));
    assert!(fails(&reaction, "it leads nowhere"), "{reaction:?}");
}

#[test]
fn redirects_that_keep_the_event_are_followed_as_often_as_allowed() {
    let settings = |redirects: u32| {
        format!(
            r#"{{"url": "{URL}", "redirects": {redirects}, "secret": "k", "headers": {{"Authorization": "Bearer t"}},
            "tls": {{"certificate": "-----BEGIN C", "key": "-----BEGIN K"}}}}"#
        )
    };
    let script = || {
        receiver(307, &[("location", "next?a=b#frag")], "")
            .with_page("https://hooks.example/T0/next?a=b", answer(308, &[("Location", "//Other.example:8443")], ""))
            .with_page("https://Other.example:8443", answer(201, &[], "made"))
    };
    let host = script();
    assert_eq!(tell(&settings(2), &event(), &host), Reaction::Done("made".to_owned()));
    let requests = requests::<3>(&host);
    let sent = |name: &str| -> Vec<bool> {
        requests.iter().map(|request| request.headers.iter().any(|(known, _)| known == name)).collect()
    };
    assert_eq!(sent("Authorization"), [true, true, false]);
    assert_eq!(sent("X-Hilum-Signature"), [true, true, true]);
    assert_eq!(sent("Content-Type"), [true, true, true]);
    let shown: Vec<bool> = requests.iter().map(|request| request.identity.is_some()).collect();
    assert_eq!(shown, [true, true, false]);
    assert!(requests.iter().all(|request| request.method == "POST" && Some(&request.body) == requests.first().map(|first| &first.body)));

    let reaction = tell(&settings(1), &event(), &script());
    let said = "answered 308; it leads to https://other.example:8443, and 1 redirects are followed; set redirects";
    assert!(fails(&reaction, said), "{reaction:?}");
    let reaction = tell(PLAIN, &event(), &receiver(307, &[("location", "/x")], ""));
    assert!(fails(&reaction, "it leads to https://hooks.example, and 0 redirects are followed"), "{reaction:?}");
    for (headers, said) in [
        (vec![], "answered 307, but not where to go"),
        (vec![("location", "ftp://a/")], "but where to go cannot be used: the scheme must be http or https"),
        (
            vec![("location", "http://hooks.example/")],
            "leads to http://hooks.example without TLS; the event is not told",
        ),
        (vec![("location", "https://u:p@a/")], "user and password do not belong"),
    ] {
        let reaction = tell(&settings(9), &event(), &receiver(307, &headers, ""));
        assert!(fails(&reaction, said), "{reaction:?}");
    }
    let circle = receiver(307, &[("location", URL)], "");
    assert!(fails(&tell(&settings(10), &event(), &circle), "10 redirects are followed"));
    assert_eq!(circle.requests().len(), 11);
}

#[test]
fn what_an_answer_repeats_of_the_secrets_is_not_shown() {
    let settings = format!(
        r#"{{"url": "{URL}", "secret": "hunter2-key", "headers": {{"Authorization": "Bearer hunter2", "X-Key": "hunter3"}}}}"#
    );
    let said = "token hunter2, key hunter3, signed by hunter2-key, Bearer hunter2";
    let reaction = tell(&settings, &event(), &receiver(403, &[], said));
    let expected = "https://hooks.example answered 403 and said \"token ***, key ***, signed by ***, ***\"";
    assert_eq!(reaction, Reaction::Failed(expected.to_owned()));
    let error = NetworkError::Other("it sent hunter3".to_owned());
    let reaction = tell(&settings, &event(), &FakeHost::new().with_page(URL, Err(error)));
    assert!(retries(&reaction, "it sent ***"), "{reaction:?}");
    let target = hilum_plugin::read::<CallbackWebhook>(&settings);
    assert!(target.is_ok() && !format!("{target:?}").contains("hunter") && !format!("{target:?}").contains("hooks"));
}

#[test]
fn long_and_odd_answers_stay_short_and_plain() {
    let mut page = answer(500, &[], "");
    if let Ok(page) = &mut page {
        page.body = vec![0xff; 60_000];
    }
    let reaction = tell(PLAIN, &event(), &FakeHost::new().with_page(URL, page.clone()));
    assert!(matches!(&reaction, Reaction::Retry { why, .. } if why.len() < 500), "{reaction:?}");
    if let Ok(page) = &mut page {
        page.status = 200;
    }
    let reaction = tell(PLAIN, &event(), &FakeHost::new().with_page(URL, page));
    assert_eq!(reaction, Reaction::Done("\u{fffd}".repeat(60_000)));
}

#[test]
fn events_that_cannot_be_sent_have_failed_and_nobody_is_asked() {
    let host = receiver(200, &[], "");
    let long = Event { body: format!("{{\"x\":\"{}\"}}", "x".repeat(1_000_000)), ..event() };
    let reaction = tell(PLAIN, &long, &host);
    assert!(fails(&reaction, "the event has 1000114 bytes, with header and certificates"), "{reaction:?}");
    for body in ["[]", "{", "null", "x"] {
        let reaction = tell(PLAIN, &Event { body: body.to_owned(), ..event() }, &host);
        assert!(fails(&reaction, "no JSON object"), "{reaction:?}");
    }
    assert!(host.requests().is_empty());
}

#[test]
fn wrong_settings_have_failed_and_nobody_is_asked() {
    for (settings, said) in [
        ("{}", "url: missing; write url = \"https://hooks.example/hilum\""),
        (r#"{"url": 1}"#, "url: must be a string; put it in quotes"),
        (r#"{"url": "hooks.example/secret"}"#, "url: cannot be used: it is not an absolute URL; write one such as"),
        (r#"{"url": "ftp://a/"}"#, "the scheme must be http or https"),
        (r#"{"url": "http:///x"}"#, "it has no host"),
        (r#"{"url": "http://:80/x"}"#, "it has no host"),
        (r#"{"url": "http://a b/"}"#, "neither spaces"),
        (r#"{"url": "http://a/\r\nX: y"}"#, "neither spaces"),
        (r#"{"url": "http://u:secret@a/"}"#, "set an Authorization header"),
        (r#"{"url": "http://a/", "method": "GET"}"#, "method: \"GET\" cannot carry an event; write \"POST\", \"PUT\""),
        (r#"{"url": "http://a/", "headers": {"X y": "1"}}"#, "headers.X y: not a header name"),
        (r#"{"url": "http://a/", "headers": {"X": 1}}"#, "headers.X: must be a string"),
        (
            r#"{"url": "http://a/", "headers": {"X": "secret\r\nY: 2"}}"#,
            "headers.X: a header value cannot hold control",
        ),
        (r#"{"url": "http://a/", "headers": {"idempotency-KEY": "1"}}"#, "this header is not yours to set"),
        (r#"{"url": "http://a/", "headers": []}"#, "headers: must be a table"),
        (r#"{"url": "http://a/", "secret": ""}"#, "secret: is empty; leave it out"),
        (r#"{"url": "http://a/", "secret": 12345}"#, "secret: must be a string; put it in quotes"),
        (r#"{"url": "http://a/", "redirects": 11}"#, "redirects: must be a whole number from 0 to 10, not 11"),
        (r#"{"url": "http://a/", "tls": {}}"#, "tls: `url` is http, which has no TLS"),
        (
            r#"{"url": "http://a/", "timeout": 1}"#,
            "timeout: no such key; there are url, method, headers, secret, redirects, tls",
        ),
    ] {
        let host = receiver(200, &[], "");
        let reaction = tell(settings, &event(), &host);
        // The name of the key is no secret.
        let shown = matches!(&reaction, Reaction::Failed(why) if why.contains(said) && !why.contains("/secret") && !why.contains(":secret"));
        assert!(shown, "{settings}: {reaction:?}");
        assert!(host.requests().is_empty());
    }
}

#[test]
fn ten_thousand_odd_answers_are_never_done_nor_panic() {
    const PIECES: &[&[u8]] = &[
        b"https://",
        b"//",
        b"/",
        b"?",
        b"#",
        b"@",
        b":",
        b"[",
        b"a",
        b".",
        b"\0",
        b"\xff",
        b"hooks.example",
        b"hunter2",
    ];
    let settings = format!(r#"{{"url": "{URL}", "redirects": 3, "headers": {{"X-Key": "hunter2"}}}}"#);
    let mut random = Random::new();
    for _ in 0..10_000 {
        let status = random.pick(&[301, 307, 308, 404, 503]);
        let mut page = answer(status, &[], "");
        if let Ok(page) = &mut page {
            page.headers = ["location", "retry-after"].map(|name| (name.to_owned(), random.text(PIECES, 8))).to_vec();
            page.body = random.text(PIECES, 8);
        }
        let reaction = tell(&settings, &event(), &FakeHost::new().with_page(URL, page.clone()));
        let taken = matches!(&reaction, Reaction::Failed(why) | Reaction::Retry { why, .. } if why.len() < 2000);
        assert!(taken, "{page:?}: {reaction:?}");
    }
}
