//! The probe against a scripted host.

use hilum_plugin::fake::{FakeHost, Step};
use hilum_plugin::{NetworkError, Outcome, Request};
use probe_tcp::ProbeTcp;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeTcp>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn peer(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_peer("127.0.0.1", 7, steps)
}

const PING: &str = r#"{"host": "127.0.0.1", "port": 7, "send": "PING\r\n", "expect": "+PONG"}"#;

#[test]
fn an_accepted_connection_passes_and_is_closed() {
    let host = peer(vec![Step::Hang]);
    assert_eq!(check(r#"{"host": "127.0.0.1", "port": 7}"#, &host), Outcome::Pass);
    let conversations = host.conversations();
    assert_eq!(conversations.len(), 1);
    assert!(conversations.iter().all(|c| c.closed && c.written.is_empty()));
}

#[test]
fn the_expected_answer_passes_however_it_is_cut() {
    for steps in [
        vec![Step::Send(b"+PONG\r\n".to_vec())],
        vec![Step::Send(b"noise +PO".to_vec()), Step::Send(b"NG".to_vec()), Step::Hang],
        vec![Step::Drip { bytes: b"xx+PONG".to_vec(), every_ms: 10 }],
        vec![Step::Send([vec![b'x'; 60_000], b"+PONG".to_vec()].concat())],
    ] {
        let host = peer(steps);
        assert_eq!(check(PING, &host), Outcome::Pass);
        assert_eq!(host.conversations().first().map(|c| c.written.clone()), Some(b"PING\r\n".to_vec()));
    }
    let host = peer(Vec::new());
    assert_eq!(check(r#"{"host": "127.0.0.1", "port": 7, "expect": ""}"#, &host), Outcome::Pass);
}

#[test]
fn anything_else_from_the_service_fails_with_what_came() {
    for (steps, said) in [
        (vec![Step::Send(b"-ERR\r\n".to_vec())], r#"did not send "+PONG", it sent "-ERR\r\n""#),
        (Vec::new(), "it sent nothing"),
        (vec![Step::Hang], "did not send \"+PONG\" in time, it sent nothing"),
        (vec![Step::Send(b"+PON".to_vec()), Step::Hang], "in time, it sent \"+PON\""),
        (vec![Step::Drip { bytes: vec![b'y'; 5000], every_ms: 10 }], "in time"),
        (vec![Step::Reset], "closed by the peer"),
        (vec![Step::Send(vec![0xff; 200_000])], r"\xff"),
    ] {
        let outcome = check(PING, &peer(steps.clone()));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{steps:?}: {outcome:?}");
    }
}

#[test]
fn what_the_service_is_not_to_blame_for_is_unknown() {
    let refused = FakeHost::new().with_failure("127.0.0.1", 7, NetworkError::Refused);
    assert!(matches!(check(PING, &refused), Outcome::Fail(why) if why.contains("connection refused")));
    assert!(matches!(check(PING, &FakeHost::new()), Outcome::Unknown(why) if why.contains("allow.connect")));
    for (settings, said) in [
        ("{}", "host: missing; write host ="),
        (r#"{"host": "a"}"#, "port: missing"),
        (r#"{"host": "a", "port": 0}"#, "from 1 to 65535, not 0"),
        (r#"{"host": "[::1]", "port": 1}"#, "write \"127.0.0.1\", \"::1\""),
        (r#"{"host": "a b", "port": 1}"#, "is not an address"),
        (r#"{"host": "a", "port": 1, "sned": ""}"#, "sned: no such key; there are host, port, send, expect"),
        (r#"{"host": "a", "port": 1, "send": 5}"#, "send: must be a string, not 5"),
    ] {
        let host = peer(Vec::new());
        let outcome = check(settings, &host);
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
        assert!(host.conversations().is_empty());
    }
}
