//! The probe against a scripted host.

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::{Host, NetworkError, Outcome, Request, TlsOptions, Trust};
use probe_grpc::ProbeGrpc;

const PLAIN: &str = r#"{"host": "h", "port": 50051}"#;
const FULL: &str = r#"{"host": "h", "port": 50051, "service": "a.B", "metadata": {"authorization": "Bearer hunter2"}}"#;

fn check(settings: &str, host: &impl Host) -> Outcome {
    hilum_plugin::check::<ProbeGrpc>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn peer(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_peer("h", 50051, steps)
}

/// The answer to a server that sends `bytes` and then nothing.
fn answer(bytes: &[u8]) -> Outcome {
    let whole = check(PLAIN, &peer(vec![Step::Send(bytes.to_vec()), Step::Hang]));
    if bytes.len() < 2000 {
        let dripped = check(PLAIN, &peer(vec![Step::Drip { bytes: bytes.to_vec(), every_ms: 0 }, Step::Hang]));
        // What is shown of garbage depends on how much of it had come.
        let kinds = [&whole, &dripped].map(std::mem::discriminant);
        assert!(kinds.iter().all(|kind| Some(kind) == kinds.first()), "{whole:?}, {dripped:?}");
    }
    whole
}

fn fails_with(outcome: &Outcome, said: &str) -> bool {
    matches!(outcome, Outcome::Fail(why) if why.contains(said) && !why.contains("hunter2"))
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [_, length @ ..] = length;
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as it is.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.push(u8::try_from(text.len()).unwrap_or(126).min(126));
        out.extend(text.bytes().take(126));
    }
    out
}

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 0xff, 0xff])
}

/// `:status: 200` from the table, and the type of the content.
fn head() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &[vec![0x88], field("content-type", "application/grpc")].concat())
}

fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    frame(DATA, 0, 1, &[&[0], &length[..], bytes].concat())
}

fn trailers(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

fn ok() -> Vec<u8> {
    trailers(&[("grpc-status", "0")])
}

/// A whole answer with this status of the service.
fn says(status: u8) -> Vec<u8> {
    [settings(), head(), message(&[8, status]), ok()].concat()
}

#[test]
fn a_serving_server_passes_however_its_answer_is_cut_and_is_asked_the_right_thing() {
    for steps in [
        vec![Step::Send(says(1)), Step::Hang],
        vec![Step::Drip { bytes: says(1), every_ms: 1 }],
        says(1).chunks(7).map(|part| Step::Send(part.to_vec())).collect(),
    ] {
        let host = peer(steps);
        assert_eq!(check(FULL, &host), Outcome::Pass);
        let conversations = host.conversations();
        assert_eq!(conversations.len(), 1);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x0c\x04\0\0\0\0\0\0\x02\0\0\0\0\0\x06\0\0\x40\0";
        assert!(conversations.iter().all(|c| c.closed && c.tls.is_none() && c.written.starts_with(preface)));
        let written = conversations.first().map(|c| c.written.clone()).unwrap_or_default();
        let rest = written.get(preface.len()..).unwrap_or_default();
        let fields: Vec<u8> = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", "h:50051"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", concat!("hilum-probe-grpc/", env!("CARGO_PKG_VERSION"))),
            ("grpc-timeout", "1000m"),
        ]
        .iter()
        .flat_map(|(name, value)| field(name, value))
        // Not to be remembered on the way.
        .chain([0x10].into_iter().chain(field("authorization", "Bearer hunter2").into_iter().skip(1)))
        .collect();
        let headers = frame(HEADERS, END_HEADERS, 1, &fields);
        let question = frame(DATA, END_STREAM, 1, b"\0\0\0\0\x05\x0a\x03a.B");
        let acknowledgement = frame(SETTINGS, 1, 0, &[]);
        // Whether settings are acknowledged before the answer is whole depends on how it was cut.
        let asked = [headers, question].concat();
        assert!(rest == asked || rest == [asked.clone(), acknowledgement].concat(), "{}", rest.escape_ascii());
    }
    let host = peer(vec![Step::Send(says(1))]);
    assert_eq!(check(PLAIN, &host), Outcome::Pass);
    let written = host.conversations().first().map(|c| c.written.clone()).unwrap_or_default();
    assert!(written.ends_with(&frame(DATA, END_STREAM, 1, &[0; 5])));
}

#[test]
fn header_fields_are_read_in_every_form() {
    // Codes and the dynamic table, as servers send them.
    let coded = [&[0x88, 0x5f, 0x8b][..], &[0x1d, 0x75, 0xd0, 0x62, 0x0d, 0x26, 0x3d, 0x4c, 0x4d, 0x65, 0x64]].concat();
    let status = [&[0x40, 0x88][..], &[0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f], &[1, b'0']].concat();
    let padded = [&[4][..], &[0, 0, 0, 0, 16], &coded, &[0; 4]].concat();
    let (start, end) = coded.split_at(3);
    let question = message(&[8, 1]);
    let padded_message = frame(DATA, 0x8, 1, &[&[2][..], question.get(9..).unwrap_or_default(), &[0; 2]].concat());
    let interim = frame(HEADERS, END_HEADERS, 1, &field(":status", "103"));
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &status);
    for (what, bytes) in [
        ("coded", [frame(HEADERS, END_HEADERS, 1, &coded), question.clone(), trailers.clone()].concat()),
        ("padded", [frame(HEADERS, END_HEADERS | 0x28, 1, &padded), padded_message, trailers.clone()].concat()),
        (
            "continued",
            [
                frame(HEADERS, 0, 1, start),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, END_HEADERS, 1, end),
                question.clone(),
                trailers.clone(),
            ]
            .concat(),
        ),
        ("interim", [interim.clone(), interim, head(), question.clone(), trailers.clone()].concat()),
        (
            "everything between",
            [
                frame(PING, 0, 0, &[7; 8]),
                frame(PING, 1, 0, &[7; 8]),
                frame(SETTINGS, 1, 0, &[]),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
                frame(PRIORITY, 0, 3, &[0; 5]),
                frame(0xfa, 0xff, 77, &[1, 2, 3]),
                frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
                head(),
                frame(DATA, 0, 1, &[]),
                question.clone(),
                trailers,
            ]
            .concat(),
        ),
        (
            "split message",
            [
                head(),
                frame(DATA, 0, 1, &[0, 0, 0]),
                frame(DATA, 0, 1, &[0, 7, 0x12, 1]),
                frame(DATA, 0, 1, &[b'x', 8, 0, 8, 1]),
                ok(),
            ]
            .concat(),
        ),
    ] {
        assert_eq!(answer(&[settings(), bytes].concat()), Outcome::Pass, "{what}");
    }
    // A table of one block is used by the next.
    let remembered = [&[0x88][..], &[0x40, 11], b"grpc-status", &[1, b'0'], &[0x5f, 16], b"application/grpc"].concat();
    let bytes = [
        settings(),
        frame(HEADERS, END_HEADERS, 1, &remembered),
        question,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe]),
    ]
    .concat();
    assert_eq!(answer(&bytes), Outcome::Pass);
}

#[test]
fn pings_are_answered_and_settings_acknowledged() {
    let host = peer(vec![Step::Send([settings(), frame(PING, 0, 0, b"12345678")].concat()), Step::Send(says(1))]);
    assert_eq!(check(PLAIN, &host), Outcome::Pass);
    let written = host.conversations().first().map(|c| c.written.clone()).unwrap_or_default();
    assert!(written.ends_with(&[frame(SETTINGS, 1, 0, &[]), frame(PING, 1, 0, b"12345678")].concat()));
}

#[test]
fn a_server_that_is_not_serving_fails_with_its_word() {
    for (status, said) in [
        (0, "asked h:50051 about its health: it says UNKNOWN"),
        (2, "it says NOT_SERVING"),
        (3, "it says SERVICE_UNKNOWN"),
        (4, "it says status 4, which is none"),
    ] {
        let outcome = answer(&says(status));
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
    // The default is not written.
    let outcome = answer(&[settings(), head(), message(&[]), ok()].concat());
    assert!(fails_with(&outcome, "it says UNKNOWN"), "{outcome:?}");
}

#[test]
fn another_grpc_status_fails_with_its_name_and_message() {
    for (code, message, said) in [
        ("12", "unknown service", "it answered UNIMPLEMENTED: \"unknown service\"; it has no health service"),
        ("5", "", "it answered NOT_FOUND; it does not know its own health, write service"),
        ("16", "no%20token%0A", "it answered UNAUTHENTICATED: \"no token\\n\"; check metadata"),
        ("7", "100%", "it answered PERMISSION_DENIED: \"100%\""),
        ("14", "%zz%e2%82%ac%ff", "it answered UNAVAILABLE: \"%zz€\u{fffd}\""),
        ("4", "", "it answered DEADLINE_EXCEEDED"),
        ("99", "x", "it answered code 99: \"x\""),
        ("-1", "", "it answered with grpc-status \"-1\", which is none"),
        ("", "", "it answered with grpc-status \"\", which is none"),
        ("99999999999999999999999", "", "which is none"),
    ] {
        let fields = [("grpc-status", code), ("grpc-message", message)];
        let outcome = answer(&[settings(), head(), trailers(&fields)].concat());
        assert!(fails_with(&outcome, said), "{outcome:?}");
        // Without a head before it.
        let only = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", code),
            ("grpc-message", message),
        ];
        let outcome = answer(&[settings(), trailers(&only)].concat());
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
    let outcome = check(FULL, &peer(vec![Step::Send([settings(), trailers(&[("grpc-status", "5")])].concat())]));
    assert!(fails_with(&outcome, "NOT_FOUND; it does not know the service \"a.B\""), "{outcome:?}");
    let repeats = [("grpc-status", "16"), ("grpc-message", "not Bearer hunter2, nor hunter2")];
    let outcome = check(FULL, &peer(vec![Step::Send([settings(), trailers(&repeats)].concat())]));
    assert!(fails_with(&outcome, "\"not ***, nor ***\""), "{outcome:?}");
}

#[test]
fn what_is_not_grpc_fails_with_what_came() {
    for (bytes, said) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak HTTP/2: it sent \"HTTP/1.1 400"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "it speaks HTTP/1: is it the right port?"),
        (b"\x15\x03\x01\0\x02\x02\x46".to_vec(), "it speaks TLS: write tls = {}"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            "does not speak HTTP/2: it sent \"SSH-2.0-OpenSSH_9.2\\r\\n\"; is it the right port",
        ),
        (frame(PING, 0, 0, &[0; 8]), "does not speak HTTP/2"),
        (
            [settings(), trailers(&[(":status", "404"), ("content-type", "text/html")])].concat(),
            "HTTP status \"404\" and content of type \"text/html\", which is not gRPC",
        ),
        ([settings(), trailers(&[(":status", "200")])].concat(), "which is not gRPC"),
        ([settings(), trailers(&[])].concat(), "HTTP status \"\""),
        ([settings(), head(), trailers(&[("x", "y")])].concat(), "without saying what came of it (grpc-status)"),
        ([settings(), head(), message(&[8, 1]), frame(DATA, END_STREAM, 1, &[])].concat(), "(grpc-status)"),
        ([settings(), head(), ok()].concat(), "answered OK, but nothing else"),
        ([settings(), head(), frame(DATA, 0, 1, &[0, 0]), ok()].concat(), "half a message"),
        (
            [settings(), head(), frame(DATA, 0, 1, &[1, 0, 0, 0, 2, 8, 1]), ok()].concat(),
            "compressed, which was not offered",
        ),
        ([settings(), head(), frame(DATA, 0, 1, &[0, 0, 0, 0, 3, 8, 1]), ok()].concat(), "anything but one message"),
        ([settings(), head(), message(&[8, 1]), message(&[8, 1]), ok()].concat(), "anything but one message"),
        ([settings(), head(), message(&[8]), ok()].concat(), "broken message"),
        ([settings(), head(), message(&[0x0b]), ok()].concat(), "broken message"),
        ([settings(), head(), message(&[0x12, 9, 1]), ok()].concat(), "broken message"),
        ([settings(), head(), message(&[0x80; 11]), ok()].concat(), "broken message"),
    ] {
        let outcome = answer(&bytes);
        assert!(fails_with(&outcome, said), "{outcome:?}, not {said}");
    }
}

#[test]
fn what_breaks_the_rules_of_http2_fails() {
    let long = vec![b'x'; 16_384];
    for (bytes, said) in [
        ([settings(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])].concat(), "it broke the call off: REFUSED_STREAM"),
        ([settings(), frame(RST_STREAM, 0, 1, &[0, 0, 1, 0])].concat(), "it broke the call off: code 256"),
        ([settings(), frame(RST_STREAM, 0, 1, &[0])].concat(), "an end of the wrong length"),
        (
            [settings(), frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0bcalm\x1b")].concat(),
            "does not take the call, and said GOAWAY: ENHANCE_YOUR_CALM, \"calm\\x1b\"",
        ),
        ([settings(), frame(GOAWAY, 0, 0, &[0; 7])].concat(), "a farewell of the wrong length"),
        (
            [settings(), frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x02")].concat(),
            "in time; it had said GOAWAY: INTERNAL_ERROR",
        ),
        ([settings(), frame(PING, 0, 0, &[0; 7])].concat(), "a ping of the wrong length"),
        ([settings(), frame(SETTINGS, 0, 0, &[0; 7])].concat(), "settings of the wrong length"),
        ([settings(), frame(SETTINGS, 1, 0, &[0; 6])].concat(), "an acknowledgement that says more"),
        ([settings(), frame(WINDOW_UPDATE, 0, 0, &[0; 4])].concat(), "a window that does not open"),
        ([settings(), frame(WINDOW_UPDATE, 0, 0, &[1; 3])].concat(), "a window that does not open"),
        ([settings(), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])].concat(), "a push that was not wanted"),
        ([settings(), frame(HEADERS, 5, 3, &[0x88])].concat(), "a frame of kind 1 on stream 3"),
        ([settings(), frame(DATA, 0, 0, &[0])].concat(), "a frame of kind 0 on stream 0"),
        ([settings(), frame(SETTINGS, 0, 1, &[])].concat(), "a frame of kind 4 on stream 1"),
        ([settings(), frame(DATA, 0, 1, &[0])].concat(), "content before the header fields"),
        ([settings(), frame(CONTINUATION, 4, 1, &[0x88])].concat(), "go on without a beginning"),
        (
            [settings(), frame(HEADERS, 0, 1, &[0x88]), frame(PING, 0, 0, &[0; 8])].concat(),
            "other frames within header fields",
        ),
        ([settings(), frame(HEADERS, 0x24, 1, &[0; 4])].concat(), "header fields of the wrong length"),
        ([settings(), frame(HEADERS, 0xc, 1, &[9, 0x88])].concat(), "more padding than content"),
        ([settings(), frame(HEADERS, 0xc, 1, &[])].concat(), "more padding than content"),
        ([settings(), head(), frame(HEADERS, 4, 1, &[0x88])].concat(), "header fields in the midst of the content"),
        ([settings(), frame(HEADERS, 4, 1, &[0xff])].concat(), "header fields that cannot be read: they end too early"),
        ([settings(), frame(HEADERS, 4, 1, &[0xc0])].concat(), "they refer to a field that is not there"),
        ([settings(), vec![0, 0x40, 1, DATA, 0, 0, 0, 0, 1]].concat(), "a frame of 16385 bytes"),
        ([settings(), head(), frame(DATA, 0, 1, &[0; 4097])].concat(), "more than 4 KiB, which is no health answer"),
        (
            [settings(), head(), frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat()).repeat(65)].concat(),
            "no health answer",
        ),
        (
            [
                settings(),
                frame(HEADERS, 0, 1, &long),
                frame(CONTINUATION, 0, 1, &long),
                frame(CONTINUATION, 0, 1, &long),
            ]
            .concat(),
            "header fields of more than 32 KiB",
        ),
        ([settings(), frame(HEADERS, 4, 1, &field(":status", "100")).repeat(9)].concat(), "too many interim answers"),
        ([settings(), frame(PING, 0, 0, &[0; 8]).repeat(1024)].concat(), "sent more than 1024 frames"),
        ([settings(), frame(0xfa, 0, 0, &long).repeat(17)].concat(), "sent more than 256 KiB"),
    ] {
        let outcome = answer(&bytes);
        assert!(fails_with(&outcome, said), "{outcome:?}, not {said}");
    }
    // A field of 126 bytes, repeated by a byte each.
    let bomb = [&[0x40][..], field("x", &"y".repeat(126)).get(1..).unwrap_or_default(), &[0xbe; 1000]].concat();
    let outcome = answer(&[settings(), frame(HEADERS, END_HEADERS, 1, &bomb)].concat());
    assert!(fails_with(&outcome, "they have more than 16 KiB"), "{outcome:?}");
}

#[test]
fn silence_and_broken_connections_fail_with_how_far_it_came() {
    for (steps, said) in [
        (vec![Step::Hang], "asked h:50051 about its health: it did not answer in time"),
        (vec![Step::Send(vec![0, 0]), Step::Hang], "did not answer in time, only \"\\x00\\x00\""),
        (vec![Step::Send(settings()), Step::Hang], "did not answer in time; it had begun to speak HTTP/2"),
        (vec![Step::Send([settings(), head()].concat()), Step::Hang], "did not answer in time; it had begun to answer"),
        (vec![Step::Drip { bytes: says(1), every_ms: 100 }], "did not answer in time"),
        (Vec::new(), "it closed the connection without an answer; if it speaks TLS, write tls = {}"),
        (vec![Step::Reset], "it broke the connection off; if it speaks TLS, write tls = {}"),
        (
            vec![Step::Send([settings(), frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x01")].concat())],
            "closed the connection without an answer; it had said GOAWAY: PROTOCOL_ERROR",
        ),
        (vec![Step::Send(settings()), Step::Reset], "it broke the connection off; it had begun to speak HTTP/2"),
    ] {
        let outcome = check(PLAIN, &peer(steps));
        assert!(fails_with(&outcome, said), "{outcome:?}, not {said}");
    }
    for error in [NetworkError::Refused, NetworkError::TimedOut, NetworkError::Unreachable("no route".to_owned())] {
        let said = format!("cannot connect to h:50051: {error}");
        assert!(fails_with(&check(PLAIN, &FakeHost::new().with_failure("h", 50051, error)), &said));
    }
}

#[test]
fn with_tls_the_same_is_asked_on_a_protected_connection() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----";
    for (tls, server_name, trust, authority) in [
        ("{}", "h", Trust::System, "h:50051"),
        (r#"{"insecure": true}"#, "h", Trust::Anybody, "h:50051"),
        (
            r#"{"ca": "/ca.pem", "server-name": "api.example"}"#,
            "api.example",
            Trust::Authorities(PEM.to_owned()),
            "api.example:50051",
        ),
    ] {
        let host = peer(vec![Step::Send(says(1))]).with_file("/ca.pem", PEM.as_bytes(), 0);
        let settings = format!(r#"{{"host": "h", "port": 50051, "tls": {tls}}}"#);
        assert_eq!(check(&settings, &host), Outcome::Pass, "{tls}");
        let options =
            TlsOptions { server_name: server_name.to_owned(), trust, identity: None, protocols: vec!["h2".to_owned()] };
        assert_eq!(host.agreements(), [options]);
        let written = host.conversations().first().map(|c| c.written.clone()).unwrap_or_default();
        let has = |part: Vec<u8>| written.windows(part.len()).any(|window| window == part);
        assert!(has(field(":authority", authority)) && has(field(":scheme", "https")));
    }
    let settings = r#"{"host": "h", "port": 50051, "tls": {}}"#;
    let refusing = |error: NetworkError| check(settings, &peer(vec![Step::Hang]).with_tls_refusal(error));
    let outcome = refusing(NetworkError::Untrusted("invalid peer certificate: UnknownIssuer".to_owned()));
    assert!(
        fails_with(&outcome, "cannot agree on TLS with h:50051: invalid peer certificate: UnknownIssuer; if"),
        "{outcome:?}"
    );
    let silent = check(settings, &peer(vec![Step::Reset]));
    assert!(fails_with(&silent, "; if it wants a certificate of ours, set tls.certificate and tls.key"), "{silent:?}");
    let tiny = refusing(NetworkError::Unsupported("there is no TLS in this hilum".to_owned()));
    assert!(matches!(&tiny, Outcome::Unknown(why) if why.contains("no TLS")), "{tiny:?}");
    let denied = r#"{"host": "h", "port": 50051, "tls": {"ca": "/ca.pem"}}"#;
    let outcome = check(denied, &peer(Vec::new()));
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("reading /ca.pem is not granted")), "{outcome:?}");
}

#[test]
fn what_the_server_is_not_to_blame_for_is_unknown() {
    assert!(matches!(check(PLAIN, &FakeHost::new()), Outcome::Unknown(why) if why.contains("allow.connect")));
    let long = "x".repeat(1025);
    let longer = "x".repeat(9000);
    for (settings, said) in [
        ("{}", "host: missing; write host ="),
        (r#"{"host": "a"}"#, "port: missing"),
        (r#"{"host": "a", "port": 0}"#, "from 1 to 65535, not 0"),
        (r#"{"host": "a/b", "port": 1}"#, "is not an address"),
        (r#"{"host": "a", "port": 1, "service": 5}"#, "service: must be a string, not 5"),
        (
            &format!(r#"{{"host": "a", "port": 1, "service": "{long}"}}"#),
            "service: has 1025 bytes; at most 1024 are sent",
        ),
        (r#"{"host": "a", "port": 1, "metadata": "x"}"#, "metadata: must be a table"),
        (
            r#"{"host": "a", "port": 1, "metadata": {"A": "hunter2"}}"#,
            "metadata.A: not a name of metadata; write one in lower",
        ),
        (r#"{"host": "a", "port": 1, "metadata": {":path": "/"}}"#, "not a name of metadata"),
        (r#"{"host": "a", "port": 1, "metadata": {"": "/"}}"#, "not a name of metadata"),
        (r#"{"host": "a", "port": 1, "metadata": {"a-bin": "hunter2"}}"#, "binary metadata cannot be sent"),
        (r#"{"host": "a", "port": 1, "metadata": {"grpc-timeout": "1m"}}"#, "not yours to set"),
        (r#"{"host": "a", "port": 1, "metadata": {"te": "x"}}"#, "not yours to set"),
        (r#"{"host": "a", "port": 1, "metadata": {"a": 42}}"#, "metadata.a: must be a string; put it in quotes"),
        (r#"{"host": "a", "port": 1, "metadata": {"a": "hunter2\r\n"}}"#, "metadata.a: must be printable ASCII"),
        (r#"{"host": "a", "port": 1, "metadata": {"a": " hunter2"}}"#, "without spaces at its ends"),
        (
            &format!(r#"{{"host": "a", "port": 1, "metadata": {{"a": "{longer}"}}}}"#),
            "all metadata may have 8192 bytes",
        ),
        (r#"{"host": "a", "port": 1, "tls": true}"#, "tls: must be a table, not a boolean"),
        (r#"{"host": "a", "port": 1, "tls": {"ca": "ca.pem"}}"#, "tls.ca: neither PEM text"),
        (
            r#"{"host": "a", "port": 1, "sevice": ""}"#,
            "sevice: no such key; there are host, port, service, metadata, tls",
        ),
    ] {
        let host = peer(Vec::new());
        let outcome = check(settings, &host);
        let right = matches!(&outcome, Outcome::Unknown(why) if why.contains(said) && !why.contains("hunter2"));
        assert!(right, "{settings}: {outcome:?}");
        assert!(host.conversations().is_empty());
    }
    let name = "h".repeat(20_000);
    let settings = format!(r#"{{"host": "{name}", "port": 1}}"#);
    let outcome = check(&settings, &FakeHost::new().with_peer(&name, 1, Vec::new()));
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("shorten host or metadata")), "{outcome:?}");
    let target = hilum_plugin::read::<ProbeGrpc>(FULL);
    assert!(target.is_ok() && !format!("{target:?}").contains("hunter2"));
}

fn any_frame(random: &mut Random) -> Vec<u8> {
    let payload: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
    let kind = u8::try_from(random.below(11)).unwrap_or_default();
    let stream = u32::try_from(random.below(3)).unwrap_or_default();
    frame(kind, random.byte(), stream, &payload)
}

#[test]
fn ten_thousand_damaged_answers_neither_pass_nor_panic() {
    // What says that it does not serve: no damage but the right one makes a pass of it, and that one is far off.
    let coded =
        [&[0x88, 0x5f, 0x8b, 0x1d, 0x75, 0xd0, 0x62, 0x0d, 0x26, 0x3d, 0x4c, 0x4d, 0x65, 0x64][..], &field("x", "y")]
            .concat();
    let message = message(&[0x12, 3, b'a', b'b', b'c', 8, 0x84, 0x42]);
    let scripts = [
        [settings(), head(), message.clone(), ok()].concat(),
        [settings(), frame(PING, 0, 0, &[1; 8]), frame(HEADERS, END_HEADERS, 1, &coded), message, ok()].concat(),
        [settings(), trailers(&[(":status", "200"), ("grpc-status", "12"), ("grpc-message", "no%20such")])].concat(),
    ];
    let mut random = Random::new();
    for _ in 0..4000 {
        for good in &scripts {
            let mut bytes = good.clone();
            for _ in 0..=random.below(4) {
                random.damage(&mut bytes, any_frame);
            }
            let outcome = check(FULL, &peer(random.steps(&bytes)));
            let shown = bytes.escape_ascii();
            assert!(fails_with(&outcome, "asked h:50051 about \"a.B\": it "), "{shown}: {outcome:?}");
        }
    }
}
