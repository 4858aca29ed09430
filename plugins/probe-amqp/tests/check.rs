//! The probe against a scripted broker.

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::{NetworkError, Outcome, Plugin, Request, TlsOptions, Trust};
use probe_amqp::ProbeAmqp;

const LOGIN: &str = r#"{"host": "127.0.0.1", "username": "probe", "password": "s3cret"}"#;
const QUEUE: &str = r#"{"host": "127.0.0.1", "username": "probe", "password": "s3cret", "virtual-host": "/shop",
    "queue": "orders", "max-messages": 10, "min-consumers": 2}"#;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeAmqp>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn broker(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_peer("127.0.0.1", 5672, steps)
}

/// The answer to `settings` of a broker that sends these frames and then nothing more, whole and byte by byte: it must be the same.
fn answer(settings: &str, frames: &[Vec<u8>]) -> Outcome {
    let whole = check(settings, &broker(vec![Step::Send(frames.concat()), Step::Hang]));
    let dripped = check(settings, &broker(vec![Step::Drip { bytes: frames.concat(), every_ms: 0 }, Step::Hang]));
    assert_eq!(whole, dripped);
    whole
}

fn fails_with(outcome: &Outcome, said: &str) -> bool {
    matches!(outcome, Outcome::Fail(why) if why.contains(said) && !why.contains("s3cret"))
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xce]].concat()
}

fn method(channel: u16, class: u16, number: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes(), &number.to_be_bytes(), arguments].concat())
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap_or(u8::MAX)], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes(), bytes].concat()
}

fn start_with(version: [u8; 2], mechanisms: &str) -> Vec<u8> {
    let properties = b"\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8";
    method(0, 10, 10, &[&version[..], &long(properties), &long(mechanisms.as_bytes()), &long(b"en_US")].concat())
}

fn start() -> Vec<u8> {
    start_with([0, 9], "AMQPLAIN PLAIN")
}

fn tune_with(channels: u16, frame: u32) -> Vec<u8> {
    method(0, 10, 30, &[&channels.to_be_bytes()[..], &frame.to_be_bytes(), &[0, 60]].concat())
}

fn tune() -> Vec<u8> {
    tune_with(2047, 131_072)
}

fn open_ok() -> Vec<u8> {
    method(0, 10, 41, &short(""))
}

fn reason(code: u16, text: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], &short(text), &[0, 10, 0, 40]].concat()
}

fn close(code: u16, text: &str) -> Vec<u8> {
    method(0, 10, 50, &reason(code, text))
}

fn close_ok() -> Vec<u8> {
    method(0, 10, 51, &[])
}

fn channel_open_ok() -> Vec<u8> {
    method(1, 20, 11, &long(b""))
}

fn channel_close(code: u16, text: &str) -> Vec<u8> {
    method(1, 20, 40, &reason(code, text))
}

fn declare_ok(queue: &str, messages: u32, consumers: u32) -> Vec<u8> {
    method(1, 50, 11, &[&short(queue)[..], &messages.to_be_bytes(), &consumers.to_be_bytes()].concat())
}

fn heartbeat() -> Vec<u8> {
    frame(8, 0, &[])
}

fn login() -> Vec<Vec<u8>> {
    vec![start(), tune(), open_ok(), close_ok()]
}

fn look(messages: u32, consumers: u32) -> Vec<Vec<u8>> {
    vec![start(), tune(), open_ok(), channel_open_ok(), declare_ok("orders", messages, consumers), close_ok()]
}

#[test]
fn a_login_passes_however_it_is_cut() {
    let all = login().concat();
    for at in 0..all.len() {
        let (first, second) = all.split_at(at);
        let steps = vec![Step::Send(first.to_vec()), Step::Send(second.to_vec()), Step::Hang];
        assert_eq!(check(LOGIN, &broker(steps)), Outcome::Pass, "cut at {at}");
    }
    let host = broker(vec![Step::Drip { bytes: all, every_ms: 1 }]);
    assert_eq!(check(LOGIN, &host), Outcome::Pass);
    assert!(host.conversations().iter().all(|conversation| conversation.closed));
    assert_eq!(host.conversations().len(), 1);
}

#[test]
fn heartbeats_and_what_a_server_adds_are_ignored() {
    let tune = method(0, 10, 30, b"\x00\x00\x00\x00\x00\x00\x00\x00more");
    let frames = [start(), heartbeat(), heartbeat(), tune, heartbeat(), open_ok(), heartbeat(), close_ok()];
    assert_eq!(answer(LOGIN, &frames), Outcome::Pass);
    // Even before everything else.
    assert_eq!(answer(LOGIN, &[vec![heartbeat()], login()].concat()), Outcome::Pass);
}

#[test]
fn what_is_sent_is_what_the_protocol_wants() {
    let host = broker(vec![Step::Send(look(10, 2).concat()), Step::Hang]);
    assert_eq!(check(QUEUE, &host), Outcome::Pass);
    let version = env!("CARGO_PKG_VERSION");
    let properties = [
        &short("product")[..],
        b"S",
        &long(b"hilum"),
        &short("version"),
        b"S",
        &long(version.as_bytes()),
        &short("connection_name"),
        b"S",
        &long(b"hilum probe-amqp"),
        &short("capabilities"),
        b"F",
        &long(&[&short("authentication_failure_close")[..], b"t\x01"].concat()),
    ]
    .concat();
    let expected = [
        b"AMQP\x00\x00\x09\x01".to_vec(),
        method(
            0,
            10,
            11,
            &[&long(&properties)[..], &short("PLAIN"), &long(b"\0probe\0s3cret"), &short("en_US")].concat(),
        ),
        method(0, 10, 31, b"\x00\x01\x00\x02\x00\x00\x00\x00"),
        method(0, 10, 40, &[&short("/shop")[..], &short(""), &[0]].concat()),
        method(1, 20, 10, &short("")),
        method(1, 50, 10, &[&[0, 0][..], &short("orders"), &[1], &long(b"")].concat()),
        method(0, 10, 50, b"\x00\xc8\x04done\x00\x00\x00\x00"),
    ]
    .concat();
    assert_eq!(host.conversations().first().map(|c| c.written.clone()), Some(expected));
}

#[test]
fn the_servers_limits_are_kept_and_no_limit_becomes_the_probes_own() {
    for (offered, taken) in [
        ((2047, 131_072), "\0\u{1}\0\u{2}\0\0\0\0"),
        ((1, 4096), "\0\u{1}\0\0\u{10}\0\0\0"),
        ((0, 0), "\0\u{1}\0\u{2}\0\u{8}\0\0"),
        ((u16::MAX, u32::MAX), "\0\u{1}\0\u{2}\0\u{8}\0\0"),
    ] {
        let host = broker(vec![Step::Send([start(), tune_with(offered.0, offered.1), open_ok(), close_ok()].concat())]);
        assert_eq!(check(LOGIN, &host), Outcome::Pass);
        let wanted = method(0, 10, 31, taken.as_bytes());
        let written = host.conversations().first().map(|c| c.written.clone()).unwrap_or_default();
        assert!(written.windows(wanted.len()).any(|part| part == wanted), "{offered:?}");
    }
}

#[test]
fn a_server_that_does_not_confirm_the_end_still_passes() {
    let begin = [start(), tune(), open_ok()].concat();
    for steps in [
        vec![Step::Hang],
        Vec::new(),
        vec![Step::Reset],
        vec![Step::Send(close(320, "CONNECTION_FORCED"))],
        vec![Step::Send(b"garbage and more of it".to_vec()), Step::Hang],
        vec![Step::Send(channel_open_ok()), Step::Send(close_ok())],
        vec![Step::Send(heartbeat().repeat(200_000)), Step::Hang],
    ] {
        let steps = [vec![Step::Send(begin.clone())], steps].concat();
        assert_eq!(check(LOGIN, &broker(steps)), Outcome::Pass);
    }
}

#[test]
fn a_queue_within_its_bounds_passes_and_one_outside_fails_with_the_number() {
    assert_eq!(answer(QUEUE, &look(10, 2)), Outcome::Pass);
    assert_eq!(answer(QUEUE, &look(0, 9)), Outcome::Pass);
    assert_eq!(
        answer(QUEUE, &look(11, 2)),
        Outcome::Fail("127.0.0.1:5672 has too many messages in queue \"orders\": 11, max-messages is 10".to_owned())
    );
    assert_eq!(
        answer(QUEUE, &look(10, 1)),
        Outcome::Fail("127.0.0.1:5672 has too few consumers at queue \"orders\": 1, min-consumers is 2".to_owned())
    );
    let free = r#"{"host": "127.0.0.1", "queue": "orders"}"#;
    assert_eq!(answer(free, &look(u32::MAX, 0)), Outcome::Pass);
}

#[test]
fn what_the_server_refuses_fails_with_its_code_its_text_and_the_way_out() {
    let begin = [start(), tune(), open_ok()].concat();
    for (settings, frames, said) in [
        (
            LOGIN,
            vec![start(), close(403, "ACCESS_REFUSED - Login was refused")],
            "127.0.0.1:5672 answered the login of user \"probe\" with 403 \"ACCESS_REFUSED - Login was refused\"; check \
             username and password",
        ),
        (
            r#"{"host": "127.0.0.1"}"#,
            vec![start(), close(403, "ACCESS_REFUSED")],
            "check username and password (RabbitMQ lets guest in from its own machine only)",
        ),
        (
            LOGIN,
            vec![start(), tune(), close(530, "NOT_ALLOWED - vhost / not found")],
            "answered the opening of virtual host \"/\" with 530 \"NOT_ALLOWED - vhost / not found\"; check virtual-host",
        ),
        (LOGIN, vec![close(320, "CONNECTION_FORCED - stop")], "answered the header of AMQP 0-9-1 with 320 \"CONN"),
        (
            QUEUE,
            vec![begin.clone(), close(320, "CONNECTION_FORCED")],
            "answered the opening of a channel with 320 \"CONNECTION_FORCED\"",
        ),
        (QUEUE, vec![begin.clone(), channel_close(504, "CHANNEL_ERROR")], "the opening of a channel with 504 \"CHAN"),
        (
            QUEUE,
            vec![begin.clone(), channel_open_ok(), channel_close(404, "NOT_FOUND - no queue"), close_ok()],
            "answered the look at queue \"orders\" with 404 \"NOT_FOUND - no queue\"; check queue and virtual-host",
        ),
        (
            QUEUE,
            vec![begin.clone(), channel_open_ok(), channel_close(403, "ACCESS_REFUSED"), close_ok()],
            "with 403 \"ACCESS_REFUSED\"; check the user's permissions on the queue",
        ),
        (QUEUE, vec![begin.clone(), channel_open_ok(), channel_close(405, "LOCKED")], "with 405 \"LOCKED\""),
        (LOGIN, vec![start(), close(403, "\x1b[31m\"\n\\'")], r#"403 "\x1b[31m\"\n\\'""#),
        (LOGIN, vec![start(), close(403, &"x".repeat(255))], &format!("403 \"{}…\"", "x".repeat(160))),
        (LOGIN, vec![start(), close(403, "no user with s3cret")], "403 and a text with the password in it; check"),
    ] {
        let outcome = answer(settings, &frames);
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
}

#[test]
fn a_refusal_is_confirmed_as_the_protocol_wants() {
    let host = broker(vec![Step::Send([start(), close(403, "no")].concat())]);
    check(LOGIN, &host);
    assert!(host.conversations().iter().all(|c| c.written.ends_with(&close_ok())));
    let frames = [start(), tune(), open_ok(), channel_open_ok(), channel_close(404, "no"), close_ok()].concat();
    let host = broker(vec![Step::Send(frames)]);
    check(QUEUE, &host);
    let end = [method(1, 20, 41, &[]), method(0, 10, 50, b"\x00\xc8\x04done\x00\x00\x00\x00")].concat();
    assert!(host.conversations().iter().all(|c| c.written.ends_with(&end)));
}

#[test]
fn other_protocols_fail_and_are_named() {
    for (sent, said) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            r#"does not speak AMQP, it sent "HTTP/1.1 400 Bad Request\r\n"#,
        ),
        (b"AMQP\x00\x01\x00\x00", "speaks AMQP 1.0.0, not 0-9-1; probe a port where it speaks 0-9-1"),
        (b"AMQP\x03\x01\x00\x00", "speaks AMQP 1.0.0, not 0-9-1"),
        (b"AMQP\x01\x01\x00\x0a", "speaks AMQP 0-10, not 0-9-1"),
        (b"AMQP\x01\x01\x08\x00", "speaks AMQP 0-8, not 0-9-1"),
        (b"AMQP\x00\x00\x09\x00", "speaks AMQP 0-9-0, not 0-9-1"),
        (b"AMQP\x00\x00\x09\x01", "sends back what it is sent"),
        (b"AMQX\x00\x00\x09\x01", "does not speak AMQP, it sent \"AMQX"),
        (b"A", "closed the connection at the header of AMQP 0-9-1, 1 of a frame's bytes came"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "speaks TLS; write tls = {}"),
        (b"+PONG\r\n", "does not speak AMQP"),
        (b"\xff\xff\xff\xff", r"it sent "),
        (b"\x00", r#"it sent "\x00""#),
    ] {
        let outcome = check(LOGIN, &broker(vec![Step::Send(sent.to_vec())]));
        assert!(fails_with(&outcome, said), "{sent:?}: {outcome:?}");
        let outcome = check(LOGIN, &broker(vec![Step::Drip { bytes: sent.to_vec(), every_ms: 1 }]));
        assert!(matches!(outcome, Outcome::Fail(_)), "{sent:?}: {outcome:?}");
    }
    let old = answer(LOGIN, &[start_with([8, 0], "PLAIN")]);
    assert!(fails_with(&old, "speaks AMQP 8-0, not 0-9-1"), "{old:?}");
    let long = check(LOGIN, &broker(vec![Step::Send(vec![b'z'; 200_000])]));
    assert!(fails_with(&long, &format!("it sent \"{}…\"", "z".repeat(64))), "{long:?}");
}

#[test]
fn broken_frames_and_wrong_methods_fail() {
    let cut = |mut frame: Vec<u8>| {
        if let Some(last) = frame.last_mut() {
            *last = 0;
        }
        frame
    };
    let tiny = |class: u16, number: u16| method(0, class, number, &[]);
    for (frames, said) in [
        (vec![cut(start())], "ended a frame with 0x00 instead of 0xce"),
        (vec![start(), frame(1, 0, b"\x00\x0a\x00")], "sent a method that ends too early"),
        (vec![start(), tiny(10, 30)], "sent a connection.tune that ends too early"),
        (vec![tiny(10, 10)], "sent a connection.start that ends too early"),
        (vec![method(0, 10, 10, b"\x00\x09\xff\xff\xff\xff")], "sent a connection.start that ends too early"),
        (
            vec![method(0, 10, 10, b"\x00\x09\x00\x00\x00\x00\x7f\xff\xff\xff")],
            "a connection.start that ends too early",
        ),
        (vec![start(), method(0, 10, 50, b"\x01\x93\xffx")], "sent a connection.close that ends too early"),
        (vec![start(), frame(1, 7, &[0, 10, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0])], "sent connection.tune on channel 7"),
        (vec![start(), frame(4, 0, &[])], "sent a frame of kind 4, which AMQP 0-9-1 does not have"),
        (vec![start(), frame(2, 1, &[])], "sent a part of a message"),
        (vec![start(), frame(3, 1, &[])], "sent a part of a message"),
        (vec![start(), b"\x01\x00\x00\xff\xff\xff\xff".to_vec()], "sent a frame of 4294967295 bytes; at most 131072"),
        (vec![b"\x01\x00\x00\x00\x02\x00\x01".to_vec()], "sent a frame of 131073 bytes; at most 131072"),
        (vec![tune()], "answered the header of AMQP 0-9-1 with connection.tune, not connection.start"),
        (vec![start(), start()], "answered the login of user \"probe\" with connection.start, not connection.tune"),
        (vec![start(), tune(), tune()], "with connection.tune, not connection.open-ok"),
        (vec![start(), tune(), tiny(10, 60)], "with method 10.60, not connection.open-ok"),
        (vec![start(), tune(), method(1, 20, 11, &[])], "with channel.open-ok, not connection.open-ok"),
    ] {
        let outcome = answer(LOGIN, &frames);
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
    let begin = [start(), tune(), open_ok()].concat();
    for (frames, said) in [
        (vec![begin.clone(), open_ok()], "answered the opening of a channel with connection.open-ok"),
        (
            vec![begin.clone(), channel_open_ok(), channel_open_ok()],
            "answered the look at queue \"orders\" with channel.open-ok, not queue.declare-ok",
        ),
        (
            vec![begin.clone(), channel_open_ok(), declare_ok("other", 0, 9)],
            "answered the look at queue \"orders\" with another queue, \"other\"",
        ),
        (
            vec![begin.clone(), channel_open_ok(), method(1, 50, 11, b"\x06orders\x00\x00\x00\x00\x00\x00\x00")],
            "sent a queue.declare-ok that ends too early",
        ),
        (
            vec![begin.clone(), channel_open_ok(), method(0, 50, 11, b"\x06orders\x00\x00\x00\x00\x00\x00\x00\x09")],
            "sent queue.declare-ok on channel 0",
        ),
    ] {
        let outcome = answer(QUEUE, &frames);
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
}

#[test]
fn a_connection_that_ends_or_falls_silent_anywhere_fails_with_what_was_waited_for() {
    let all = [start(), tune(), open_ok(), channel_open_ok(), declare_ok("orders", 0, 9)].concat();
    for at in 0..all.len() {
        let (sent, _) = all.split_at(at);
        for (end, said) in [
            (vec![Step::Hang], "timed out"),
            (Vec::new(), "closed the connection"),
            (vec![Step::Reset], "closed the c"),
        ] {
            let steps = [vec![Step::Send(sent.to_vec())], end].concat();
            let outcome = check(QUEUE, &broker(steps));
            assert!(fails_with(&outcome, said), "{at}: {outcome:?}");
        }
    }
    for (frames, said) in [
        (vec![], "127.0.0.1:5672 timed out: no answer to the header of AMQP 0-9-1, nothing came"),
        (vec![b"\x01\x00".to_vec()], "no answer to the header of AMQP 0-9-1, 2 of a frame's bytes came"),
        (vec![start()], "no answer to the login of user \"probe\", nothing came"),
        (vec![start(), tune()], "no answer to the opening of virtual host \"/shop\""),
        (vec![start(), tune(), open_ok()], "no answer to the opening of a channel"),
        (vec![start(), tune(), open_ok(), channel_open_ok()], "no answer to the look at queue \"orders\""),
    ] {
        let outcome = answer(QUEUE, &frames);
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
    let old = check(LOGIN, &broker(vec![Step::Send(start())]));
    assert!(
        fails_with(&old, "a broker that gives no reason mostly means that username or password is wrong"),
        "{old:?}"
    );
    let slow = broker(vec![Step::Drip { bytes: login().concat(), every_ms: 20 }]);
    assert!(fails_with(&check(LOGIN, &slow), "timed out"));
}

#[test]
fn a_server_that_never_stops_is_cut_off() {
    let outcome = check(LOGIN, &broker(vec![Step::Send(heartbeat().repeat(1_000_000))]));
    assert!(fails_with(&outcome, "sent more than 1048576 bytes and no answer"), "{outcome:?}");
    let large = frame(8, 0, &vec![0; 128 * 1024]);
    let outcome = check(LOGIN, &broker(vec![Step::Send([start(), large.repeat(20)].concat())]));
    assert!(fails_with(&outcome, "sent more than 1048576 bytes"), "{outcome:?}");
}

#[test]
fn the_network_decides_between_fail_and_unknown() {
    for (error, is_fail, said) in [
        (NetworkError::Refused, true, "cannot connect to 127.0.0.1:5672: connection refused"),
        (NetworkError::Unreachable("no route".to_owned()), true, "no route"),
        (NetworkError::TimedOut, true, "cannot connect to 127.0.0.1:5672: timed out"),
        (NetworkError::NameUnresolved("not known".to_owned()), false, "not known"),
        (NetworkError::Denied("allow.connect".to_owned()), false, "allow.connect"),
        (NetworkError::Limit("16".to_owned()), false, "16"),
    ] {
        let outcome = check(LOGIN, &FakeHost::new().with_failure("127.0.0.1", 5672, error));
        assert!(
            match &outcome {
                Outcome::Fail(why) => is_fail && why.contains(said),
                Outcome::Unknown(why) => !is_fail && why.contains(said),
                Outcome::Pass => false,
            },
            "{outcome:?}"
        );
    }
    let six = check(r#"{"host": "::1"}"#, &FakeHost::new().with_failure("::1", 5672, NetworkError::Refused));
    assert!(fails_with(&six, "[::1]:5672"), "{six:?}");
}

#[test]
fn with_tls_the_same_is_asked_at_the_port_for_it() {
    let frames = [login(), vec![close_ok()]].concat().concat();
    let settings = LOGIN.replacen('{', r#"{"tls": {"insecure": true, "server-name": "mq.example"}, "#, 1);
    let at = |port, steps| FakeHost::new().with_remaining(1000).with_peer("127.0.0.1", port, steps);
    let (plain, protected) = (at(5672, vec![Step::Send(frames.clone())]), at(5671, vec![Step::Send(frames)]));
    assert_eq!(check(LOGIN, &plain), Outcome::Pass);
    assert_eq!(check(&settings, &protected), Outcome::Pass);
    let options = TlsOptions {
        server_name: "mq.example".to_owned(),
        trust: Trust::Anybody,
        identity: None,
        protocols: Vec::new(),
    };
    assert_eq!(protected.agreements(), [options]);
    let written = |host: &FakeHost| host.conversations().first().map(|conversation| conversation.written.clone());
    assert_eq!(written(&protected), written(&plain));

    let refusing = |error| check(&settings, &at(5671, vec![Step::Hang]).with_tls_refusal(error));
    let outcome = refusing(NetworkError::Untrusted("invalid peer certificate: Expired".to_owned()));
    assert!(
        fails_with(&outcome, "cannot agree on TLS with 127.0.0.1:5671: invalid peer certificate: Expired"),
        "{outcome:?}"
    );
    let tiny = refusing(NetworkError::Unsupported("there is no TLS in this hilum".to_owned()));
    assert!(matches!(&tiny, Outcome::Unknown(why) if why.contains("no TLS")), "{tiny:?}");
}

#[test]
fn a_login_the_probe_does_not_speak_is_unknown() {
    for (frames, said) in [
        (
            vec![start_with([0, 9], "EXTERNAL AMQPLAIN")],
            "offers the logins \"EXTERNAL AMQPLAIN\", this probe speaks PLAIN",
        ),
        (vec![start_with([0, 9], "PLAINER XPLAIN plain")], "this probe speaks PLAIN only"),
        (vec![start_with([0, 9], "")], "offers the logins \"\""),
        (vec![start(), method(0, 10, 20, &long(b"again"))], "asks for more than a user name and a password"),
    ] {
        let outcome = answer(LOGIN, &frames);
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    }
}

#[test]
fn wrong_settings_are_unknown_and_say_what_to_write() {
    let long = "x".repeat(256);
    let secret = "y".repeat(7169);
    for (settings, said) in [
        ("[]", "settings: must be a table"),
        ("{}", "host: missing; write host = \"127.0.0.1\""),
        (r#"{"host": ""}"#, "host: \"\" is not an address or a name; write \"127.0.0.1\", \"::1\""),
        (r#"{"host": "[::1]"}"#, "is not an address"),
        (r#"{"host": "a/b"}"#, "is not an address"),
        (r#"{"host": "a", "port": 0}"#, "port: must be a whole number from 1 to 65535, not 0"),
        (r#"{"host": "a", "port": "5672"}"#, "port: must be a whole number"),
        (r#"{"host": "a", "username": ""}"#, "username: must not be empty; leave it out for the default"),
        (r#"{"host": "a", "username": "a\u0000b"}"#, "username: cannot hold a zero byte"),
        (r#"{"host": "a", "password": "a\u0000b"}"#, "password: cannot hold a zero byte"),
        (r#"{"host": "a", "password": 12345678}"#, "password: must be a string; put it in quotes"),
        (
            &format!(r#"{{"host": "a", "password": "{secret}"}}"#),
            "password: has 7169 bytes; this probe sends at most 7168",
        ),
        (&format!(r#"{{"host": "a", "username": "{long}"}}"#), "username: has 256 bytes; AMQP allows 255"),
        (&format!(r#"{{"host": "a", "virtual-host": "{long}"}}"#), "virtual-host: has 256 bytes; AMQP allows 255"),
        (&format!(r#"{{"host": "a", "queue": "{long}"}}"#), "queue: has 256 bytes; AMQP allows 255"),
        (r#"{"host": "a", "virtual-host": ""}"#, "virtual-host: must not be empty"),
        (r#"{"host": "a", "queue": ""}"#, "queue: must not be empty"),
        (r#"{"host": "a", "queue": 3}"#, "queue: must be a string, not 3"),
        (r#"{"host": "a", "max-messages": 1}"#, "max-messages: is about a queue and none is named; write queue ="),
        (r#"{"host": "a", "min-consumers": 1}"#, "min-consumers: is about a queue and none is named"),
        (
            r#"{"host": "a", "queue": "q", "max-messages": -1}"#,
            "max-messages: must be a whole number from 0 to 4294967295",
        ),
        (r#"{"host": "a", "queue": "q", "min-consumers": 1.5}"#, "min-consumers: must be a whole number"),
        (
            r#"{"host": "a", "vhost": "/"}"#,
            "vhost: no such key; there are tls, host, port, username, password, virtual-host, queue, max-messages, min-consumers",
        ),
    ] {
        let host = broker(Vec::new());
        let outcome = check(settings, &host);
        assert!(
            matches!(&outcome, Outcome::Unknown(why) if why.contains(said) && !why.contains("12345678")),
            "{settings}: {outcome:?}"
        );
        assert!(host.conversations().is_empty());
    }
}

#[test]
fn the_longest_settings_are_sent_whole() {
    let (name, secret) = ("é".repeat(127), "p".repeat(7168));
    let settings =
        format!(r#"{{"host": "127.0.0.1", "username": "{name}", "password": "{secret}", "virtual-host": "{name}"}}"#);
    let host = broker(vec![Step::Send(login().concat())]);
    assert_eq!(check(&settings, &host), Outcome::Pass);
    let written = host.conversations().first().map(|c| c.written.clone()).unwrap_or_default();
    let wanted = long(format!("\0{name}\0{secret}").as_bytes());
    assert!(written.windows(wanted.len()).any(|part| part == wanted));
    // What a broker takes before the size of frames is agreed on.
    assert!(written.len() < 8 + 8192 + 512);
    let outcome = check(&settings, &broker(vec![Step::Send([start(), close(403, "no")].concat())]));
    assert!(fails_with(&outcome, &format!("user \"{}\"… with 403", "é".repeat(64))), "{outcome:?}");
}

/// A good script loses its end before the last answer and some bytes change: whatever that makes of it, it is not a pass.
#[test]
fn mutated_scripts_neither_panic_nor_pass() {
    let mut random = Random::new();
    let scripts = [
        [start(), tune(), open_ok()].concat(),
        [start(), close(403, "ACCESS_REFUSED - Login was refused")].concat(),
        [start(), tune(), close(530, "NOT_ALLOWED")].concat(),
        [start(), tune(), open_ok(), channel_open_ok(), declare_ok("orders", 3, 4)].concat(),
        [start(), tune(), open_ok(), channel_open_ok(), channel_close(404, "NOT_FOUND - no queue")].concat(),
    ];
    // No last answer.
    let frames = [start(), tune(), channel_close(404, "NOT_FOUND - no queue")];
    for round in 0..20_000 {
        let mut bytes = random.pick(&scripts);
        bytes.truncate(random.below(bytes.len()));
        for _ in 0..random.below(6) {
            random.damage(&mut bytes, |random| random.pick(&frames));
        }
        let settings = if random.below(4) == 0 { LOGIN } else { QUEUE };
        // A login is over before the look at a queue begins: its scripts are the first three.
        let settings = if bytes.len() >= [start(), tune(), open_ok()].concat().len() { QUEUE } else { settings };
        let outcome = check(settings, &broker(random.steps(&bytes)));
        assert!(
            matches!(&outcome, Outcome::Fail(why) | Outcome::Unknown(why)
                if !why.is_empty() && why.len() <= 1024 && !why.contains("s3cret")),
            "round {round}: {}: {outcome:?}",
            bytes.escape_ascii()
        );
    }
}

/// Every other value of every byte that means something makes a good script a bad one.
#[test]
fn each_byte_that_matters_is_looked_at() {
    let frames = [start(), tune(), open_ok(), channel_open_ok(), declare_ok("orders", 0, 0xffff_ffff)];
    let script = frames.concat();
    let mut places = Vec::new();
    let mut at = 0;
    for frame in &frames {
        // Kind, channel, size, class, method, and the end mark.
        places.extend(at..at + 11);
        at += frame.len();
        places.push(at - 1);
    }
    // The version, and the size of the first table.
    places.extend(11..17);
    // The name of the queue, with its length.
    let queue = script.len() - 16;
    places.extend(queue..queue + 7);
    let settings = r#"{"host": "127.0.0.1", "queue": "orders"}"#;
    assert_eq!(check(settings, &broker(vec![Step::Send(script.clone()), Step::Hang])), Outcome::Pass);
    for place in places {
        for change in 1..=255 {
            let mut changed = script.clone();
            if let Some(byte) = changed.get_mut(place) {
                *byte ^= change;
            }
            let outcome = check(settings, &broker(vec![Step::Send(changed), Step::Hang]));
            assert!(!matches!(outcome, Outcome::Pass), "byte {place} changed by {change:#04x}");
        }
    }
}

#[test]
fn the_description_says_what_is_needed() {
    let description = ProbeAmqp::describe();
    assert_eq!(description.name, "probe-amqp");
    assert_eq!(description.grants.iter().map(|grant| grant.kind).collect::<Vec<_>>(), ["connect", "files"]);
    for key in ["host", "port", "username", "password", "virtual-host", "queue", "max-messages", "min-consumers"] {
        assert!(description.settings_schema.contains(&format!("\"{key}\"")), "{key}");
    }
}
