//! The probe against a scripted host.

use hilum_plugin::fake::{FakeHost, Step};
use hilum_plugin::{Host, NetworkError, Outcome, Request, TlsOptions, Trust};
use probe_http::ProbeHttp;

fn ask(settings: &str, host: &impl Host) -> Outcome {
    hilum_plugin::check::<ProbeHttp>(&Request { settings: settings.to_owned(), timeout_ms: 2000, attempt: 1 }, host)
}

fn server(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(2000).with_peer("127.0.0.1", 8080, steps)
}

const PLAIN: &str = r#"{"url": "http://127.0.0.1:8080/healthz"}"#;
const BODY: &str = r#"{"url": "http://127.0.0.1:8080/", "expect-body": "all well"}"#;

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// The answer to `settings` from a server that sends `text`, whole and byte by byte: it must be the same.
fn answer(settings: &str, text: &str) -> Outcome {
    let whole = ask(settings, &server(vec![send(text)]));
    if text.len() < 2000 {
        let dripped = ask(settings, &server(vec![Step::Drip { bytes: text.as_bytes().to_vec(), every_ms: 0 }]));
        // What is shown of garbage depends on how much of it had come.
        assert_eq!(
            std::mem::discriminant(&whole),
            std::mem::discriminant(&dripped),
            "{text:?}: {whole:?}, {dripped:?}"
        );
    }
    whole
}

fn fails_with(outcome: &Outcome, said: &str) -> bool {
    matches!(outcome, Outcome::Fail(why) if why.contains(said))
}

#[test]
fn statuses_from_200_to_399_pass_and_no_body_is_waited_for() {
    for head in
        ["HTTP/1.1 200 OK", "HTTP/1.0 204", "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/", "HTTP/1.1 399 "]
    {
        let host = server(vec![send(&format!("{head}\r\nContent-Length: 10\r\n\r\n")), Step::Hang]);
        assert_eq!(ask(PLAIN, &host), Outcome::Pass, "{head}");
        assert_eq!(host.conversations().len(), 1);
        assert!(host.conversations().iter().all(|c| c.closed));
    }
    assert_eq!(answer(PLAIN, "HTTP/1.1 200 OK\n\n"), Outcome::Pass);
    assert_eq!(
        answer(PLAIN, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        Outcome::Pass
    );
}

#[test]
fn other_statuses_fail_with_the_status_and_what_was_expected() {
    assert_eq!(
        answer(PLAIN, "HTTP/1.1 503 Service Unavailable\r\n\r\n"),
        Outcome::Fail("GET 127.0.0.1:8080/healthz answered 503 Service Unavailable, expected 200-399".to_owned())
    );
    let only = r#"{"url": "http://127.0.0.1:8080", "expect-status": [204, "500-502"]}"#;
    assert_eq!(answer(only, "HTTP/1.1 204 No Content\r\n\r\n"), Outcome::Pass);
    assert_eq!(answer(only, "HTTP/1.1 501 x\r\n\r\n"), Outcome::Pass);
    assert!(fails_with(&answer(only, "HTTP/1.1 200 OK\r\n\r\n"), "answered 200 OK, expected 204, 500-502"));
    let one = r#"{"url": "http://127.0.0.1:8080", "expect-status": 503}"#;
    assert_eq!(answer(one, "HTTP/1.1 503 x\r\n\r\n"), Outcome::Pass);
}

#[test]
fn the_request_is_what_the_settings_say() {
    let host = server(vec![send("HTTP/1.1 200 OK\r\n\r\n")]);
    let settings = r#"{"url": "http://127.0.0.1:8080?a=b#frag", "method": "POST", "headers": {"X-Probe": "1", "host": "web"}, "body": "hé"}"#;
    assert_eq!(ask(settings, &host), Outcome::Pass);
    let written = host.conversations().first().map(|c| String::from_utf8_lossy(&c.written).into_owned());
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "POST /?a=b HTTP/1.1\r\nUser-Agent: hilum-probe-http/{version}\r\nAccept: */*\r\nX-Probe: 1\r\nhost: web\r\n\
         Connection: close\r\nContent-Length: 3\r\n\r\nhé"
    );
    assert_eq!(written, Some(expected));
    let host = FakeHost::new().with_peer("::1", 80, vec![send("HTTP/1.1 200 OK\r\n\r\n")]);
    assert_eq!(ask(r#"{"url": "HTTP://[::1]/x"}"#, &host), Outcome::Pass);
    let written =
        host.conversations().first().map(|c| String::from_utf8_lossy(&c.written).into_owned()).unwrap_or_default();
    assert!(written.starts_with("GET /x HTTP/1.1\r\nHost: [::1]\r\n"), "{written}");
}

#[test]
fn bodies_are_found_in_every_framing() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nso, all well.",
        "HTTP/1.1 200 OK\r\n\r\nso, all well.",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nso, al\r\n7;ext=1\r\nl well.\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\nD\nso, all well.\n0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 8, 8\r\n\r\nall well and more that is not asked for",
        "HTTP/1.0 200 OK\r\nServer: caf\u{e9}\r\n folded: no\r\n\r\nall well",
    ] {
        assert_eq!(answer(BODY, text), Outcome::Pass, "{text:?}");
    }
    let late = format!("HTTP/1.1 200 OK\r\n\r\n{}all well", "x".repeat(250_000));
    assert_eq!(answer(BODY, &late), Outcome::Pass);
    let stream = server(vec![send("HTTP/1.1 200 OK\r\n\r\nall well"), Step::Hang]);
    assert_eq!(ask(BODY, &stream), Outcome::Pass);
}

#[test]
fn bodies_without_the_text_fail() {
    for (text, said) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsickxall well",
            "does not contain \"all well\"; it begins with \"sickx\"",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nall\0well", r#"begins with "all\x00well""#),
        ("HTTP/1.1 204 OK\r\n\r\nall well", "does not contain"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nall well", "does not contain"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n well", "does not contain"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall", "closed within the body, after 3 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall", "closed within the body, after 3 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk's size is"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\n", "chunk's size is"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "chunk's size is"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", "chunk's size is"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall well\r\n", "longer than its size"),
    ] {
        let outcome = answer(BODY, text);
        assert!(fails_with(&outcome, said), "{text:?}: {outcome:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(400_000));
    assert!(fails_with(&answer(BODY, &endless), "not in the first 262144 bytes"));
    let size = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", "0".repeat(10_000));
    assert!(fails_with(&answer(BODY, &size), "does not end"));
    let trailers = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}", "a: b\r\n".repeat(5000));
    assert!(fails_with(&answer(BODY, &trailers), "trailers do not end"));
    let slow = server(vec![send("HTTP/1.1 200 OK\r\n\r\nall"), Step::Hang]);
    assert!(fails_with(&ask(BODY, &slow), "did not come in time; 3 bytes"));
}

#[test]
fn what_is_not_http_fails_with_what_came() {
    for (text, said) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP: it sent \"SSH-2.0"),
        ("\x15\x03\x01\x00\x02\x02\x16", "does not speak HTTP: it sent \"\\x15"),
        ("HTTP/2 200\r\n\r\n", "it sent \"HTTP/2"),
        ("HTTP/1.1 20 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 +20 OK\r\n\r\n", "status line"),
        ("HTTP/1.1\r\n\r\n", "status line"),
        ("HTTP/1.10 200 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 099 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header line is \"no colon\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "Content-Length"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer, only \"HTTP/1.1 200"),
        ("", "closed the connection without an answer"),
    ] {
        let outcome = answer(PLAIN, text);
        assert!(fails_with(&outcome, said), "{text:?}: {outcome:?}");
    }
    let giant = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2_000_000));
    assert!(fails_with(&answer(PLAIN, &giant), "longer than 65536 bytes"));
    let giant = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(65_536));
    assert!(fails_with(&answer(PLAIN, &giant), "longer than 65536 bytes"));
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    assert!(fails_with(&answer(PLAIN, &interim), "interim"));
}

#[test]
fn time_outs_and_broken_connections_fail() {
    assert!(fails_with(&ask(PLAIN, &server(vec![Step::Hang])), "did not answer in time"));
    assert!(fails_with(&ask(PLAIN, &server(vec![send("HTTP/1.1 2"), Step::Hang])), "in time, only \"HTTP/1.1 2\""));
    let slow = Step::Drip { bytes: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), every_ms: 500 };
    assert!(fails_with(&ask(PLAIN, &server(vec![slow])), "in time, only \"HTT\""));
    assert!(fails_with(&ask(PLAIN, &server(vec![Step::Reset])), "closed by the peer"));
    for error in [NetworkError::Refused, NetworkError::TimedOut, NetworkError::Unreachable("no route".to_owned())] {
        let said = error.to_string();
        let host = FakeHost::new().with_failure("127.0.0.1", 8080, error);
        assert!(fails_with(&ask(PLAIN, &host), &said));
    }
}

#[test]
fn what_the_service_is_not_to_blame_for_is_unknown() {
    assert!(matches!(ask(PLAIN, &FakeHost::new()), Outcome::Unknown(why) if why.contains("allow.connect")));
    for (settings, said) in [
        ("", "not JSON"),
        ("{}", "url: missing; write url = \"http://127.0.0.1:8080/healthz\""),
        (r#"{"url": 1}"#, "url: must be a string, not 1"),
        (r#"{"url": "http://a/", "tls": {}}"#, "tls: `url` is http, which has no TLS; write https there"),
        (r#"{"url": "https://a/", "tls": {"ca": "ca.pem"}}"#, "tls.ca: neither PEM text"),
        (r#"{"url": "https://a/", "tls": {"key": "/key.pem"}}"#, "tls.key: has no certificate beside it"),
        (r#"{"url": "https://a/", "tls": {"verify": false}}"#, "tls.verify: no such key"),
        (r#"{"url": "https://a:0/"}"#, "from 1 to 65535"),
        (r#"{"url": "ftp://a/"}"#, "the scheme must be http or https"),
        (r#"{"url": "/healthz"}"#, "not an absolute URL"),
        (r#"{"url": "http://"}"#, "not a host"),
        (r#"{"url": "http://a b/"}"#, "neither spaces"),
        (r#"{"url": "http://a/\r\nX: y"}"#, "neither spaces"),
        (r#"{"url": "http://ä/"}"#, "outside ASCII"),
        (r#"{"url": "http://u:p@a/"}"#, "Authorization"),
        (r#"{"url": "http://a:0/"}"#, "from 1 to 65535"),
        (r#"{"url": "http://a:+8/"}"#, "from 1 to 65535"),
        (r#"{"url": "http://a:99999/"}"#, "from 1 to 65535"),
        (r#"{"url": "http://[::1/"}"#, "not closed"),
        (r#"{"url": "http://[x]/"}"#, "not an IPv6"),
        (r#"{"url": "http://a*/"}"#, "not a host"),
        (r#"{"url": "http://a/", "method": "get"}"#, "in capitals"),
        (r#"{"url": "http://a/", "method": "CONNECT"}"#, "cannot be used"),
        (r#"{"url": "http://a/", "method": "G T"}"#, "cannot be used"),
        (r#"{"url": "http://a/", "headers": {"X y": "1"}}"#, "headers.X y: not a header name"),
        (r#"{"url": "http://a/", "headers": {"X": "1\r\nY: 2"}}"#, "headers.X: a header value cannot hold control"),
        (r#"{"url": "http://a/", "headers": {"Content-Length": "1"}}"#, "the probe's own"),
        (r#"{"url": "http://a/", "headers": ["x"]}"#, "headers: must be a table"),
        (r#"{"url": "http://a/", "expect-status": []}"#, "matches nothing"),
        (r#"{"url": "http://a/", "expect-status": "2xx"}"#, "is no status"),
        (r#"{"url": "http://a/", "expect-status": ["299-200"]}"#, "is no status"),
        (r#"{"url": "http://a/", "expect-status": 99}"#, "from 100 to 599"),
        (r#"{"url": "http://a/", "expect-body": "x", "method": "HEAD"}"#, "HEAD has no body"),
        (
            r#"{"url": "http://a/", "timeout": 5}"#,
            "timeout: no such key; there are url, method, headers, body, expect-status, expect-body, tls",
        ),
    ] {
        let outcome = ask(settings, &server(Vec::new()));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
    }
}

#[test]
fn https_is_http_with_tls_before_it() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----";
    let server = |port| FakeHost::new().with_peer("web", port, vec![send("HTTP/1.1 200 OK\r\n\r\n"), Step::Hang]);
    for (settings, port, server_name, trust) in [
        (r#"{"url": "https://web/x"}"#, 443, "web", Trust::System),
        (r#"{"url": "HTTPS://web:8443/x", "tls": {"insecure": true}}"#, 8443, "web", Trust::Anybody),
        (
            r#"{"url": "https://web/x", "tls": {"ca": "/ca.pem", "server-name": "web.example"}}"#,
            443,
            "web.example",
            Trust::Authorities(PEM.to_owned()),
        ),
    ] {
        let host = server(port).with_file("/ca.pem", PEM.as_bytes(), 0);
        assert_eq!(ask(settings, &host), Outcome::Pass, "{settings}");
        let (server_name, protocols) = (server_name.to_owned(), vec!["http/1.1".to_owned()]);
        assert_eq!(host.agreements(), [TlsOptions { server_name, trust, identity: None, protocols }]);
        let conversations = host.conversations();
        assert!(
            conversations.iter().all(|c| c.tls.is_some() && c.closed && c.written.starts_with(b"GET /x HTTP/1.1\r\n"))
        );
    }
}

#[test]
fn a_server_that_is_not_trusted_fails_and_is_asked_nothing() {
    let settings = r#"{"url": "https://127.0.0.1:8080/healthz"}"#;
    let refusing = |error: NetworkError| server(vec![Step::Hang]).with_tls_refusal(error);
    for (why, said) in [
        (
            "invalid peer certificate: UnknownIssuer",
            "invalid peer certificate: UnknownIssuer; if it is the right one, set tls.ca",
        ),
        (
            "invalid peer certificate: Expired",
            "cannot agree on TLS with GET https://127.0.0.1:8080/healthz: invalid peer",
        ),
        ("it does not speak TLS: InvalidContentType", "it does not speak TLS"),
    ] {
        let host = refusing(NetworkError::Untrusted(why.to_owned()));
        let outcome = ask(settings, &host);
        assert!(fails_with(&outcome, said), "{outcome:?}");
        assert!(host.conversations().iter().all(|c| c.written.is_empty() && c.closed));
    }
    assert!(fails_with(&ask(settings, &refusing(NetworkError::TimedOut)), "cannot agree on TLS with"));
    let tiny = ask(settings, &refusing(NetworkError::Unsupported("there is no TLS in this hilum".to_owned())));
    assert!(matches!(&tiny, Outcome::Unknown(why) if why.contains("there is no TLS in this hilum")), "{tiny:?}");
}

#[test]
fn files_of_tls_that_cannot_be_used_are_unknown() {
    let settings = r#"{"url": "https://127.0.0.1:8080/", "tls": {"ca": "/ca.pem"}}"#;
    for (host, said) in [
        (server(Vec::new()), "cannot read tls.ca from /ca.pem: reading /ca.pem is not granted"),
        (server(Vec::new()).with_file("/ca.pem", b"\x30\x82\x01", 0), "tls.ca: /ca.pem is not PEM text"),
    ] {
        let outcome = ask(settings, &host);
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    }
}
