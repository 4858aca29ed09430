//! The probe against a scripted host.

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::{NetworkError, Outcome, Request, TlsOptions, Trust};
use probe_redis::ProbeRedis;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeRedis>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

/// A server that sends each text when it is read from, and then ends its side.
fn server(texts: &[&str]) -> FakeHost {
    peer(texts.iter().map(|text| Step::Send(text.as_bytes().to_vec())).collect())
}

fn peer(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_peer("h", 6379, steps)
}

fn fails_with(settings: &str, texts: &[&str], said: &str) {
    let outcome = check(settings, &server(texts));
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{texts:?}: {outcome:?}, not {said:?}");
}

const PING: &str = r#"{"host": "h"}"#;
const FULL: &str = r#"{"host": "h", "username": "u", "password": "hunter2", "database": 3, "command": ["GET", "k"], "expect": "hello"}"#;
const FULL_ASKED: &str =
    "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$7\r\nhunter2\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
const FULL_ANSWER: &str = "+OK\r\n+OK\r\n$5\r\nhello\r\n";

fn drip(bytes: &[u8]) -> Step {
    Step::Drip { bytes: bytes.to_vec(), every_ms: 1 }
}

#[test]
fn a_pong_passes_however_it_is_cut_and_the_connection_is_closed() {
    for steps in [
        vec![Step::Send(b"+PONG\r\n".to_vec())],
        vec![Step::Send(b"+PON".to_vec()), Step::Send(b"G\r".to_vec()), Step::Send(b"\n".to_vec()), Step::Hang],
        vec![drip(b"+PONG\r\n"), Step::Hang],
        vec![drip(b"$4\r\nPONG\r\n"), Step::Reset],
    ] {
        let host = peer(steps);
        assert_eq!(check(PING, &host), Outcome::Pass);
        let conversations = host.conversations();
        assert_eq!(conversations.len(), 1);
        assert!(conversations.iter().all(|c| c.closed && c.written == b"*1\r\n$4\r\nPING\r\n"));
    }
}

#[test]
fn login_database_and_command_are_asked_in_this_order() {
    for steps in [
        vec![Step::Send(b"+OK\r\n".to_vec()), Step::Send(b"+OK\r\n".to_vec()), Step::Send(b"$5\r\nhello\r\n".to_vec())],
        vec![drip(FULL_ANSWER.as_bytes()), Step::Hang],
    ] {
        let host = peer(steps);
        assert_eq!(check(FULL, &host), Outcome::Pass);
        assert_eq!(host.conversations().first().map(|c| c.written.clone()), Some(FULL_ASKED.as_bytes().to_vec()));
    }
    let host = server(&["+OK\r\n", "+PONG\r\n"]);
    assert_eq!(check(r#"{"host": "h", "password": "p"}"#, &host), Outcome::Pass);
    assert_eq!(
        host.conversations().first().map(|c| c.written.clone()),
        Some(b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n*1\r\n$4\r\nPING\r\n".to_vec())
    );
}

#[test]
fn nothing_is_asked_after_a_step_that_failed() {
    let host = server(&["-WRONGPASS invalid username-password pair or user is disabled.\r\n", "+OK\r\n", "+hello\r\n"]);
    let outcome = check(FULL, &host);
    assert_eq!(
        outcome,
        Outcome::Fail(
            "h:6379 answered AUTH with the error \"WRONGPASS invalid username-password pair or user is disabled.\"; \
             check username and password"
                .to_owned()
        )
    );
    assert!(host.conversations().iter().all(|c| c.closed && !c.written.windows(6).any(|part| part == b"SELECT")));
    fails_with(
        FULL,
        &["+OK\r\n", "-ERR DB index is out of range\r\n", "+hello\r\n"],
        "answered SELECT 3 with the error",
    );
    fails_with(FULL, &["+OK\r\n", "+QUEUED\r\n", "+hello\r\n"], "answered SELECT 3 with \"QUEUED\", not with \"OK\"");
    fails_with(FULL, &["$-1\r\n"], "answered AUTH with nil");
}

#[test]
fn expectations_are_about_strings_numbers_and_lists() {
    for (expectation, answer) in [
        (r#""expect": "42""#, ":42\r\n"),
        (r#""expect": "42""#, "$2\r\n42\r\n"),
        (r#""expect": """#, "$0\r\n\r\n"),
        (r#""expect": "a\r\nb""#, "$4\r\na\r\nb\r\n"),
        (r#""contains": "loading:0""#, "$28\r\n# Persistence\r\nloading:0\r\nx:\r\n"),
        (r#""contains": "slave\n127.0.0.1\n6380""#, "*4\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6380\r\n*0\r\n"),
        (r#""database": 0"#, "+OK\r\n"),
    ] {
        let settings = format!(r#"{{"host": "h", "command": ["ROLE"], {expectation}}}"#);
        let texts: &[&str] = if expectation.contains("database") { &["+OK\r\n", "$-1\r\n"] } else { &[answer] };
        assert_eq!(check(&settings, &server(texts)), Outcome::Pass, "{expectation}");
    }
    for (expectation, answer, said) in [
        (r#""expect": "42""#, ":43\r\n", "answered ROLE with \"43\", not with \"42\""),
        (r#""expect": "42""#, "$-1\r\n", "with nil (there is no such thing), not with \"42\""),
        (r#""expect": "42""#, "*1\r\n:42\r\n", "with the list \"42\", which expect cannot be; use contains"),
        (r#""expect": "42""#, "*0\r\n", "with an empty list, which expect"),
        (r#""contains": "42""#, "*2\r\n:4\r\n:2\r\n", "with the list \"4\\n2\", which does not contain \"42\""),
        (r#""contains": "42""#, "$-1\r\n", "which does not contain"),
        (r#""contains": "42""#, "+4\r\n", "with \"4\", which does not contain"),
    ] {
        let settings = format!(r#"{{"host": "h", "command": ["ROLE"], {expectation}}}"#);
        fails_with(&settings, &[answer], said);
    }
    fails_with(PING, &["+PING\r\n"], "h:6379 answered PING with \"PING\", not with \"PONG\"");
}

#[test]
fn every_error_fails_with_the_servers_text_and_a_way_out() {
    for (error, said) in [
        ("NOAUTH Authentication required.", "; set password, and username unless"),
        ("LOADING Redis is loading the dataset in memory", "in memory\""),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "set to 'no'.\""),
        ("READONLY You can't write against a read only replica.", "can't write"),
        ("NOPERM this user has no permissions to run the 'ping' command", "; allow it to this user"),
        ("ERR unknown command 'PING'", "unknown command 'PING'\""),
        ("", "the error \"\""),
    ] {
        fails_with(PING, &[&format!("-{error}\r\n")], &format!("h:6379 answered PING with the error \"{error}\""));
        fails_with(PING, &[&format!("-{error}\r\n")], said);
    }
    let password = r#"{"host": "h", "password": "p"}"#;
    fails_with(password, &["-WRONGPASS no\r\n"], "; check password, or set username");
    fails_with(password, &["-ERR invalid password\r\n"], "; check password, or set username");
    fails_with(password, &["-ERR AUTH <password> called without any\r\n"], "; leave password out, or set one");
    fails_with(password, &["-ERR Client sent AUTH, but no password is set\r\n"], "; leave password out, or set one");
    fails_with(FULL, &["-ERR wrong number of arguments for 'auth' command\r\n"], "; leave username out");
    fails_with(PING, &[&format!("-{}\r\n", "x".repeat(900))], &format!("\"{}…\"", "x".repeat(160)));
    fails_with(r#"{"host": "h", "command": ["EVAL", "x", "0"]}"#, &["*2\r\n+a\r\n-ERR in\r\n"], "the error \"ERR in\"");
}

#[test]
fn who_speaks_another_protocol_fails_with_what_it_sent() {
    for (sent, said) in [
        (
            "HTTP/1.1 400 Bad Request\r\n",
            "does not speak the Redis protocol: it sent \"HTTP/1.1 400 Bad Request\\r\\n\"",
        ),
        ("SSH-2.0-x\r\n", "does not speak the Redis protocol: it sent \"SSH-2.0-x\\r\\n\""),
        ("\x15\x03\x01\0\x02\x02\x46", "which is TLS; if it speaks TLS, write tls = {}"),
        ("%1\r\n+a\r\n+b\r\n", "does not speak the Redis protocol"),
        ("\0\0\0\0", "it sent \"\\x00\\x00\\x00\\x00\" when asked PING"),
        ("+PONG\n", "a line does not end with CR LF"),
        ("$x\r\n", "where the length of a string is no number"),
        (":x\r\n", "where a number is none"),
        ("$4\r\nPONGPONG", "where a string is not as long as announced"),
        ("*1\r\nPONG", "where byte 4 begins no value"),
        ("+PONG\r\nHTTP/1.1", "sent more than one answer to PING: it sent \"+PONG\\r\\nHTTP/1.1\""),
    ] {
        fails_with(PING, &[sent], said);
    }
    let host = peer(vec![drip(b"HTTP/1.1 200 OK\r\n\r\n"), Step::Hang]);
    assert!(matches!(check(PING, &host), Outcome::Fail(why) if why.contains("does not speak the Redis protocol")));
    let host = peer(vec![Step::Send(vec![0xff; 200_000]), Step::Hang]);
    assert!(matches!(check(PING, &host), Outcome::Fail(why) if why.contains("\\xff…")));
}

#[test]
fn silence_and_broken_connections_fail_with_the_step_and_what_came() {
    for (steps, said) in [
        (vec![Step::Hang], "cannot get an answer to PING from h:6379, which sent nothing: timed out"),
        (vec![Step::Send(b"+PON".to_vec()), Step::Hang], "which sent \"+PON\": timed out"),
        (vec![Step::Drip { bytes: vec![b'+'; 5000], every_ms: 10 }], "timed out"),
        (vec![Step::Reset], "which sent nothing: connection closed by the peer"),
        (vec![Step::Send(b"$9\r\n".to_vec()), Step::Reset], "which sent \"$9\\r\\n\": connection closed by the peer"),
        (Vec::new(), "h:6379 closed the connection before its answer to PING was complete; it sent nothing"),
        (vec![Step::Send(b"+PONG\r".to_vec())], "was complete; it sent \"+PONG\\r\""),
    ] {
        let outcome = check(PING, &peer(steps.clone()));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{steps:?}: {outcome:?}");
    }
    // Every place where the whole exchange can be broken off.
    for length in 0..FULL_ANSWER.len() {
        let bytes = FULL_ANSWER.as_bytes().get(..length).unwrap_or_default();
        for end in [Vec::new(), vec![Step::Hang], vec![Step::Reset]] {
            let outcome = check(FULL, &peer([vec![drip(bytes)], end].concat()));
            let step = match length {
                0..5 => "AUTH",
                5..10 => "SELECT 3",
                _ => "GET k",
            };
            assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(step)), "{length}: {outcome:?}");
        }
    }
}

#[test]
fn with_tls_the_same_is_asked_on_a_protected_connection() {
    let host = server(&["+OK\r\n", "+OK\r\n", "$5\r\nhello\r\n"]);
    let settings = FULL.replacen('{', r#"{"tls": {"insecure": true, "server-name": "cache.example"}, "#, 1);
    assert_eq!(check(&settings, &host), Outcome::Pass);
    let options = TlsOptions {
        server_name: "cache.example".to_owned(),
        trust: Trust::Anybody,
        identity: None,
        protocols: Vec::new(),
    };
    assert_eq!(host.agreements(), [options]);
    let written = host.conversations().first().map(|conversation| conversation.written.clone());
    assert_eq!(written.as_deref(), Some(FULL_ASKED.as_bytes()));

    let settings = r#"{"host": "h", "tls": {}}"#;
    let refusing = |error: NetworkError| check(settings, &peer(vec![Step::Hang]).with_tls_refusal(error));
    let outcome = refusing(NetworkError::Untrusted("invalid peer certificate: UnknownIssuer".to_owned()));
    let said =
        "cannot agree on TLS with h:6379: invalid peer certificate: UnknownIssuer; if it is the right one, set tls.ca";
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{outcome:?}");
    let tiny = refusing(NetworkError::Unsupported("there is no TLS in this hilum".to_owned()));
    assert!(matches!(&tiny, Outcome::Unknown(why) if why.contains("no TLS")), "{tiny:?}");
    // Without TLS in the settings silence may mean that the server wants it; with TLS it does not.
    let silent = |settings| check(settings, &peer(Vec::new()));
    assert!(matches!(silent(PING), Outcome::Fail(why) if why.ends_with("; if it speaks TLS, write tls = {}")));
    assert!(matches!(silent(settings), Outcome::Fail(why) if !why.contains("if it speaks TLS")));
}

#[test]
fn huge_announcements_fail_without_being_read() {
    for (sent, said) in [
        ("$65537\r\n".to_owned(), "a string of more than 65536 bytes"),
        ("$99999999999999999999999\r\n".to_owned(), "a string of more than 65536 bytes"),
        ("*4097\r\n".to_owned(), "a list of more than 4096 values"),
        ("*1\r\n".repeat(9), "more than 8 lists within each other"),
        (format!("*4096\r\n*1\r\n{}", "+\r\n".repeat(4096)), "more than 4096 values"),
        (format!("+{}", "x".repeat(5000)), "a line of more than 4096 bytes"),
        (format!("*9\r\n{}", format!("$60000\r\n{}\r\n", "x".repeat(60_000)).repeat(3)), "more than 131072 bytes"),
    ] {
        let outcome = check(PING, &peer(vec![Step::Send(sent.into_bytes()), Step::Hang]));
        assert!(
            matches!(&outcome, Outcome::Fail(why) if why.contains(said) && why.contains("ask for less")),
            "{said}: {outcome:?}"
        );
    }
}

#[test]
fn what_the_service_is_not_to_blame_for_is_unknown() {
    let refused = FakeHost::new().with_failure("h", 6379, NetworkError::Refused);
    assert_eq!(check(PING, &refused), Outcome::Fail("cannot connect to h:6379: connection refused".to_owned()));
    let six = FakeHost::new().with_failure("::1", 7, NetworkError::Refused);
    let outcome = check(r#"{"host": "::1", "port": 7}"#, &six);
    assert_eq!(outcome, Outcome::Fail("cannot connect to [::1]:7: connection refused".to_owned()));
    assert!(matches!(check(PING, &FakeHost::new()), Outcome::Unknown(why) if why.contains("allow.connect")));
    let unresolved = FakeHost::new().with_failure("h", 6379, NetworkError::NameUnresolved("h is not known".to_owned()));
    assert!(matches!(check(PING, &unresolved), Outcome::Unknown(why) if why.contains("h is not known")));
}

#[test]
fn wrong_settings_are_unknown_and_nobody_is_asked() {
    for (rest, said) in [
        (r#""port": 0"#, "settings: port: must be a whole number from 1 to 65535, not 0"),
        (r#""port": "6379""#, "settings: port: must be a whole number from 1 to 65535, not \"6379\""),
        (r#""username": "u""#, "settings: username: has no password beside it; write password = \"…\" too"),
        (r#""password": """#, "settings: password: is empty; leave it out if the server asks for none"),
        (r#""username": "", "password": "p""#, "settings: username: is empty"),
        (r#""password": 4711"#, "settings: password: must be a string; put it in quotes"),
        (r#""username": ["hunter2"], "password": "p""#, "settings: username: must be a string"),
        (r#""database": -1"#, "settings: database: must be a whole number from 0 to 2147483647, not -1"),
        (r#""command": []"#, "settings: command: an empty list asks nothing; write a word each, such as [\"GET\", "),
        (r#""command": "GET k""#, "settings: command: \"GET k\" is not the name of a command; write a word each"),
        (r#""command": [""]"#, "settings: command[0]: \"\" is not the name of a command"),
        (r#""command": ["GET", 5]"#, "settings: command[1]: must be a string, not 5"),
        (r#""command": ["auth", "x"]"#, "settings: command[0]: auth is sent by the probe; set username and password"),
        (r#""command": ["HELLO", "3"]"#, "settings: command[0]: HELLO would change the protocol"),
        (r#""command": ["SUBSCRIBE", "a"]"#, "settings: command[0]: SUBSCRIBE has no single answer"),
        (r#""expect": 5"#, "settings: expect: must be a string, not 5"),
        (r#""contains": true"#, "settings: contains: must be a string, not a boolean"),
        (r#""contains": """#, "settings: contains: an empty text is in every answer"),
        (r#""expect": "a", "contains": "b""#, "settings: contains: there is expect too; keep the one that is meant"),
        (
            r#""pasword": "hunter2""#,
            "settings: pasword: no such key; there are host, port, tls, username, password, database",
        ),
    ] {
        let host = server(&["+PONG\r\n"]);
        let outcome = check(&format!(r#"{{"host": "h", {rest}}}"#), &host);
        assert!(
            matches!(&outcome, Outcome::Unknown(why) if why.starts_with(said) && !why.contains("4711") && !why.contains("hunter2")),
            "{rest}: {outcome:?}"
        );
        assert!(host.conversations().is_empty());
    }
    let long = "x".repeat(70_000);
    for (settings, said) in [
        ("{}".to_owned(), "settings: host: missing; write host = \"127.0.0.1\""),
        ("[]".to_owned(), "settings: must be a table"),
        (r#"{"host": "[::1]"}"#.to_owned(), "settings: host: \"[::1]\" is not an address or a name; write"),
        (r#"{"host": "a b"}"#.to_owned(), "is not an address"),
        (format!(r#"{{"host": "h", "password": "{long}"}}"#), "settings: password: has 70000 bytes; at most 4096"),
        (format!(r#"{{"host": "h", "command": ["GET", "{long}"]}}"#), "settings: command: has 70051 bytes; at most"),
    ] {
        let outcome = check(&settings, &server(&[]));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{said}: {outcome:?}");
    }
}

#[test]
fn the_password_is_not_shown_even_when_the_server_repeats_it() {
    let settings = r#"{"host": "h", "password": "hunter2", "command": ["ECHO", "hunter2"], "expect": "hunter2!"}"#;
    for texts in [
        vec!["-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n"],
        vec!["*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n"],
        vec!["+hunter2\r\n"],
        vec!["hunter2"],
        vec!["+hunter2"],
        vec!["+hunter"],
        vec!["+OK\r\n", "+hunter2\r\n"],
        vec!["+OK\r\n"],
        vec!["$7\r\nhunter2??"],
        vec![":hunter2\r\n"],
        vec!["$hunter2\r\n"],
        vec!["*1\r\n:hunter2\r\n"],
    ] {
        let outcome = check(settings, &server(&texts));
        assert!(
            matches!(&outcome, Outcome::Fail(why) if why.contains("***") && !why.contains("hunter")),
            "{texts:?}: {outcome:?}"
        );
    }
    let settings = r#"{"host": "h", "command": ["config", "SET", "requirepass", "hunter2"]}"#;
    let outcome = check(settings, &server(&["-ERR no\r\n"]));
    assert_eq!(outcome, Outcome::Fail("h:6379 answered config with the error \"ERR no\"".to_owned()));
}

#[test]
fn ten_thousand_damaged_answers_neither_pass_nor_panic() {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"*3\r\n",
        b"$99999999999999999999\r\n",
        b"*4294967295\r\n",
        b"$2147483647\r\n",
        b":18446744073709551616\r\n",
        b"-hunter2\r\n",
        b"+",
        b"\0",
        b"\xff\xfe",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ];
    let ping = r#"{"host": "h", "password": "hunter2"}"#;
    let list =
        r#"{"host": "h", "password": "hunter2", "command": ["ROLE"], "contains": "master\n7\n127.0.0.1\n6380\nend"}"#;
    let scripts = [
        (FULL, FULL_ANSWER),
        (ping, "+OK\r\n+PONG\r\n"),
        (list, "+OK\r\n*4\r\n$6\r\nmaster\r\n:7\r\n*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n$3\r\nend\r\n"),
    ];
    let mut random = Random::new();
    let mut tried = 0;
    while tried < 10_000 {
        for (settings, good) in scripts {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..=random.below(3) {
                if random.below(6) == 0 {
                    let more = random.below(bytes.len() + 1) * 64;
                    bytes.resize(bytes.len() + more, b'x');
                } else {
                    random.damage(&mut bytes, |random| random.pick(PIECES).to_vec());
                }
            }
            // What follows a good answer in a packet of its own is never read.
            if bytes.starts_with(good.as_bytes()) {
                continue;
            }
            tried += 1;
            let outcome = check(settings, &peer(random.steps(&bytes)));
            let shown = bytes.escape_ascii();
            assert!(matches!(&outcome, Outcome::Fail(why) if !why.contains("hunter2")), "{shown}: {outcome:?}");
        }
    }
}
