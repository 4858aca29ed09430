//! The probe against a scripted host, and against a real socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::native::NativeHost;
use hilum_plugin::{Host, NetworkError, Outcome, Request};
use probe_unix::ProbeUnix;

fn check(settings: &str, host: &impl Host) -> Outcome {
    hilum_plugin::check::<ProbeUnix>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn peer(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_unix_peer("/run/app.sock", steps)
}

const PLAIN: &str = r#"{"path": "/run/app.sock"}"#;
const STATUS: &str = r#"{"path": "/run/app.sock", "send": "status\n", "expect": "ready"}"#;

#[test]
fn an_accepted_connection_passes_and_is_closed() {
    let host = peer(vec![Step::Hang]);
    assert_eq!(check(PLAIN, &host), Outcome::Pass);
    let conversations = host.conversations();
    assert_eq!(conversations.len(), 1);
    assert!(conversations.iter().all(|c| c.closed && c.written.is_empty() && c.peer.0 == "unix:/run/app.sock"));
}

#[test]
fn the_expected_answer_passes_however_it_is_cut() {
    for steps in [
        vec![Step::Send(b"ready\n".to_vec())],
        vec![Step::Send(b"still rea".to_vec()), Step::Send(b"dy".to_vec()), Step::Hang],
        vec![Step::Drip { bytes: b"xxready".to_vec(), every_ms: 10 }],
        vec![Step::Send([vec![b'x'; 60_000], b"ready".to_vec()].concat())],
    ] {
        let host = peer(steps);
        assert_eq!(check(STATUS, &host), Outcome::Pass);
        assert_eq!(host.conversations().first().map(|c| c.written.clone()), Some(b"status\n".to_vec()));
    }
}

#[test]
fn anything_else_from_the_service_fails_with_what_came() {
    for (steps, said) in [
        (vec![Step::Send(b"no\n".to_vec())], r#"unix:/run/app.sock did not send "ready", it sent "no\n""#),
        (Vec::new(), "it sent nothing"),
        (vec![Step::Hang], "did not send \"ready\" in time, it sent nothing"),
        (vec![Step::Send(b"read".to_vec()), Step::Hang], "in time, it sent \"read\""),
        (vec![Step::Send(b"read".to_vec()), Step::Reset], "it sent \"read\": connection closed by the peer"),
        (vec![Step::Send(vec![0xff; 200_000])], r"\xff"),
    ] {
        let outcome = check(STATUS, &peer(steps.clone()));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{steps:?}: {outcome:?}");
    }
}

#[test]
fn a_socket_nobody_answers_at_fails() {
    for (error, said) in [
        (NetworkError::Refused, "cannot connect to unix:/run/app.sock: connection refused"),
        (NetworkError::Unreachable("No such file or directory".to_owned()), ": No such file"),
        (NetworkError::TimedOut, ": timed out"),
        (NetworkError::Other("Permission denied (os error 13)".to_owned()), ": Permission denied"),
    ] {
        let outcome = check(STATUS, &FakeHost::new().with_unix_failure("/run/app.sock", error));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{outcome:?}");
    }
}

#[test]
fn what_the_service_is_not_to_blame_for_is_unknown() {
    let outcome = check(PLAIN, &FakeHost::new());
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("allow.connect")), "{outcome:?}");
    let long = format!(r#"{{"path": "/{}"}}"#, "x".repeat(107));
    for (settings, said) in [
        ("{}", "path: missing; write path = \"/run/app.sock\""),
        (r#"{"path": "app.sock"}"#, "path: must be an absolute path without \".\" and \"..\", not \"app.sock\""),
        (r#"{"path": "unix:/run/app.sock"}"#, "path: must be an absolute path"),
        (r#"{"path": "/run/../app.sock"}"#, "path: must be an absolute path"),
        (r#"{"path": 5}"#, "path: must be an absolute path"),
        (long.as_str(), "path: has 108 bytes, and the path of a socket at most 107; give the socket a shorter one"),
        (r#"{"path": "/s", "sned": ""}"#, "sned: no such key; there are path, send, expect"),
        (r#"{"path": "/s", "send": 5}"#, "send: must be a string, not 5"),
        (r#"{"path": "/s", "expect": []}"#, "expect: must be a string, not an array"),
    ] {
        let host = peer(Vec::new());
        let outcome = check(settings, &host);
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
        assert!(host.conversations().is_empty());
    }
}

#[test]
fn settings_shown_to_developers_hold_nothing_that_is_sent() {
    let settings = hilum_plugin::read::<ProbeUnix>(r#"{"path": "/s", "send": "AUTH hunter2"}"#);
    assert!(settings.as_ref().is_ok_and(|settings| !format!("{settings:?}").contains("hunter2")), "{settings:?}");
}

#[test]
fn five_thousand_scripts_pass_where_the_text_is_there_and_nowhere_else() {
    const PIECES: &[&[u8]] = &[b"rea", b"dy", b"ready", b"r", b"\0", b"\xff\xfe", b"rereadready", b""];
    let mut random = Random::new();
    for _ in 0..5000 {
        let (mut steps, mut came) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            let mut bytes = random.pick(PIECES).to_vec();
            let long = random.below(8) == 0;
            if long {
                bytes.resize(random.below(70_000), b'x');
            }
            came.extend_from_slice(&bytes);
            steps.push(if !long && random.below(4) == 0 {
                Step::Drip { bytes, every_ms: 0 }
            } else {
                Step::Send(bytes)
            });
        }
        steps.extend(random.ending());
        came.truncate(64 * 1024);
        let there = came.windows(5).any(|part| part == b"ready");
        let outcome = check(STATUS, &peer(steps.clone()));
        assert!(if there { outcome == Outcome::Pass } else { matches!(outcome, Outcome::Fail(_)) }, "{outcome:?}");
    }
}

#[test]
fn a_real_socket_is_asked_and_missed_when_it_is_gone() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("probe-unix-{}.sock", std::process::id()));
    let name = path.to_str().ok_or("a temporary directory that is no text")?.to_owned();
    let listener = UnixListener::bind(&path)?;
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut asked = [0; 7];
        stream.read_exact(&mut asked)?;
        stream.write_all(if &asked == b"status\n" { b"all ready" } else { b"what?" })
    });
    let settings = format!(r#"{{"path": {name:?}, "send": "status\n", "expect": "ready"}}"#);
    let host = NativeHost::new(Duration::from_secs(10)).with_grant(&name, 0);
    assert_eq!(check(&settings, &host), Outcome::Pass);
    assert!(server.join().is_ok_and(|done| done.is_ok()));
    // The listener is gone, its file is not.
    let outcome = check(&settings, &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("connection refused")), "{outcome:?}");
    std::fs::remove_file(&path)?;
    let outcome = check(&settings, &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("No such file")), "{outcome:?}");
    Ok(())
}
