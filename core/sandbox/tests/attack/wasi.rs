//! Guests of an ordinary toolchain: what Rust's own library asks of WASI works with the grant and is refused without it, by the grant's name.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use hilum_wire::Answer;
use serde_json::json;

use crate::peers::{Forbidden, Web, resolver, send, serve};
use crate::stage::{AMPLE, BRIEF, Met, Setting, Stage};
use crate::toolchain::attacks_wasi;

fn setting() -> Setting {
    Setting::default().attacker(attacks_wasi())
}

/// What comes of an attempt that must not succeed.
fn attempt(stage: &mut Stage, attempt: &str, with: &str, timeout_ms: u64) -> Met {
    stage.attempt(&format!("{attempt} {with:?}"), attempt, &json!(with), timeout_ms)
}

/// An attempt that is granted.
#[track_caller]
fn assert_works(stage: &mut Stage, attempt: &str, with: &str) {
    let id = stage.ask(attempt, &json!(with), 5000);
    assert_eq!(stage.answer(id).0, Answer::Pass, "{attempt} {with:?}: {:?}", stage.told.lines);
}

impl Met {
    /// It was refused, and the operator reads which grant is missing.
    #[track_caller]
    fn refused(self, grant: &str) {
        assert!(matches!(&self.answer, Answer::Fail(_)), "{:?}", self.answer);
        assert!(self.denied > 0, "no denial was counted: {:?}", self.answer);
        let lines = &self.told.lines;
        assert!(
            lines.iter().any(|(.., line)| line.starts_with("denied: ") && line.contains(grant)),
            "no {grant:?} in {lines:?}"
        );
    }
}

/// The port of a peer that says again what `greet` says.
fn echo() -> u16 {
    serve(|mut stream| {
        let mut heard = [0; 6];
        if stream.read_exact(&mut heard).is_ok() {
            let _gone = stream.write_all(&heard);
        }
    })
}

/// A folder that plugins may write, with a way out.
fn folder(name: &str) -> (PathBuf, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("hilum-wasi-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let top = std::env::temp_dir().join(name);
    let inside = top.join("in");
    fs::create_dir_all(&inside).unwrap();
    for folder in [&top, &inside] {
        fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    }
    for (file, text) in [("in/file", "harmless"), ("secret", "nobody may read this")] {
        fs::write(top.join(file), text).unwrap();
        fs::set_permissions(top.join(file), Permissions::from_mode(0o666)).unwrap();
    }
    symlink(top.join("secret"), inside.join("absolute")).unwrap();
    symlink("../secret", inside.join("relative")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    symlink("/", inside.join("top")).unwrap();
    (top, inside.to_str().unwrap().to_owned())
}

#[test]
fn files_are_those_that_are_granted() {
    let (top, inside) = folder("files");
    let mut stage = setting().files(&top.join("in"), true).start();
    assert_works(&mut stage, "read", &format!("{inside}/file"));
    assert_works(&mut stage, "list", &inside);
    assert_works(&mut stage, "write", &format!("{inside}/new"));
    assert_works(&mut stage, "append", &format!("{inside}/new"));
    assert_eq!(fs::read_to_string(top.join("in/new")).unwrap(), "taken overtaken over");
    assert_works(&mut stage, "remove", &format!("{inside}/new"));
    for path in ["/etc/passwd", "/proc/self/environ", "etc/passwd", ""] {
        for way in ["read", "write", "remove", "list"] {
            attempt(&mut stage, way, path, AMPLE).failed(":");
        }
    }
    for path in ["../secret", "absolute", "relative", "up/secret", "top/etc/passwd", "../in/../secret"] {
        let path = format!("{inside}/{path}");
        for way in ["read", "append", "truncate", "list"] {
            attempt(&mut stage, way, &path, AMPLE).failed(":");
        }
    }
    attempt(&mut stage, "rename", &format!("{inside}/../secret"), AMPLE).failed(":");
    attempt(&mut stage, "link", &format!("{inside}/up/secret {inside}/stolen"), AMPLE).failed(":");
    assert_eq!(fs::read_to_string(top.join("secret")).unwrap(), "nobody may read this");
    fs::remove_dir_all(&top).unwrap();
}

#[test]
fn a_folder_granted_to_be_read_is_not_written() {
    let (top, inside) = folder("read-only");
    let mut stage = setting().files(&top.join("in"), false).start();
    assert_works(&mut stage, "read", &format!("{inside}/file"));
    for (way, path) in [
        ("write", "file"),
        ("write", "new"),
        ("append", "file"),
        ("truncate", "file"),
        ("remove", "file"),
        ("make-folder", "new"),
        ("rename", "file"),
    ] {
        attempt(&mut stage, way, &format!("{inside}/{path}"), AMPLE).failed(":");
    }
    assert_eq!(fs::read_to_string(top.join("in/file")).unwrap(), "harmless");
    assert_eq!(fs::read_dir(top.join("in")).unwrap().count(), 5);
    fs::remove_dir_all(&top).unwrap();
}

#[test]
fn places_are_those_that_are_granted() {
    let echo = echo();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_place = udp.local_addr().unwrap().to_string();
    let forbidden = Forbidden::new();
    let mut stage = setting().connect(&[&format!("127.0.0.1:{echo}"), &format!("udp:{udp_place}")]).start();
    assert_works(&mut stage, "greet", &format!("127.0.0.1:{echo}"));
    assert_works(&mut stage, "send", &udp_place);
    assert_eq!(udp.recv(&mut [0; 16]).unwrap(), 5);
    for host in ["127.0.0.1", "127.0.0.2", "[::1]", "169.254.169.254"] {
        let place = format!("{host}:{}", forbidden.port);
        attempt(&mut stage, "connect", &place, AMPLE).refused(&format!("add \"{place}\" to allow.connect"));
        forbidden.assert_unvisited(&place);
        if !host.starts_with('[') {
            attempt(&mut stage, "send", &place, AMPLE).refused(&format!("add \"udp:{place}\" to allow.connect"));
            forbidden.assert_unvisited(&place);
        }
    }
    attempt(&mut stage, "connect", &format!("[::ffff:127.0.0.1]:{}", forbidden.port), AMPLE).failed(":");
    forbidden.assert_unvisited("a mapped address");
    attempt(&mut stage, "listen", "127.0.0.1:0", AMPLE).failed(":");
    attempt(&mut stage, "listen", "0.0.0.0:8080", AMPLE).failed(":");
    attempt(&mut stage, "bind-udp", "0.0.0.0:5353", AMPLE).failed(":");
}

#[test]
fn a_name_leads_no_further_than_its_grant() {
    let forbidden = Forbidden::new();
    let place = |name: &str| format!("{name}.test:{}", forbidden.port);
    let granted = ["near", "six", "mapped", "zero", "link", "both", "flip"].map(place);
    let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
    let mut stage = setting().connect(&granted).resolve(&["*.inside.test"]).resolver(resolver()).start();
    assert_works(&mut stage, "resolve", "near.test");
    for name in ["far.test", "inside.test", "localhost"] {
        attempt(&mut stage, "resolve", name, AMPLE).refused(&format!("add \"{name}\" to allow.resolve"));
    }
    for name in ["near", "six", "mapped", "zero", "link", "both", "flip", "flip"] {
        // Where there is nobody, it waits: that is a failure too.
        attempt(&mut stage, "connect", &place(name), 1000).failed("");
        forbidden.assert_unvisited(name);
    }
}

#[test]
fn a_granted_name_works() {
    let echo = echo();
    let mut stage =
        setting().connect(&[&format!("near.test:{echo}"), &format!("127.0.0.1:{echo}")]).resolver(resolver()).start();
    assert_works(&mut stage, "greet", &format!("near.test:{echo}"));
}

#[test]
fn variables_are_those_that_are_granted() {
    let mut stage = setting().env("GRANTED", "value").start();
    assert_works(&mut stage, "variable", "GRANTED");
    attempt(&mut stage, "variable", "PATH", AMPLE).failed("NotFound");
    let mut stage = setting().start();
    for nothing in ["any-variable", "any-argument", "any-input"] {
        attempt(&mut stage, nothing, "", AMPLE).failed("NotFound");
    }
}

#[test]
fn http_goes_to_granted_places_only() {
    let forbidden = Forbidden::new();
    let port = forbidden.port;
    let web = Web::start(move |path, stream| match path {
        "/redirect" => send(stream, "302 Found", &format!("location: http://127.0.0.1:{port}/\r\n"), ""),
        "/silence" => {
            let _gone = stream.read(&mut [0; 1]);
        }
        _ => send(stream, "200 OK", "", "harmless"),
    });
    let mut stage = setting().connect(&[&web.place()]).start();
    assert_works(&mut stage, "fetch", &format!("{}/", web.place()));
    attempt(&mut stage, "fetch", &format!("127.0.0.1:{port}/"), AMPLE)
        .refused(&format!("add \"127.0.0.1:{port}\" to allow.connect"));
    attempt(&mut stage, "fetch", "169.254.169.254/latest", AMPLE)
        .refused("add \"169.254.169.254:80\" to allow.connect");
    attempt(&mut stage, "fetch", &format!("{}/redirect", web.place()), AMPLE).failed("status 302");
    attempt(&mut stage, "fetch", &format!("{}/silence", web.place()), BRIEF).failed("still waiting");
    forbidden.assert_unvisited("http");
}

#[test]
fn one_that_waits_beyond_its_time_has_failed_and_one_that_spins_is_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let mut stage = setting().connect(&[&place]).start();
    attempt(&mut stage, "wait", &place, BRIEF).failed("still waiting");
    attempt(&mut stage, "sleep", "1000000", BRIEF).failed("still waiting");
    stage.assert_goes_on_beside("spin", &json!(""));
    attempt(&mut stage, "spin", "", 500).broken("deadline");
    let id = stage.ask("naps", &json!(""), 500);
    assert!(!matches!(stage.answer(id).0, Answer::Pass | Answer::Unknown(_)));
    let met = attempt(&mut stage, "hoard", &place, 5000);
    assert!(!matches!(met.answer, Answer::Unknown(_)), "{:?}", met.answer);
}

#[test]
fn one_that_ends_itself_is_broken_and_its_code_is_told() {
    let mut stage = setting().start();
    // WASI 0.2 tells no code, only whether it went well.
    for (code, told) in [("3", 1), ("0", 0), ("255", 1)] {
        let met = attempt(&mut stage, "exit", code, AMPLE).broken("trap");
        let said = format!("ended itself with exit code {told}");
        assert!(matches!(&met.answer, Answer::Broken { message, .. } if message.contains(&said)), "{:?}", met.answer);
    }
    for (way, with) in [("thread", ""), ("command", "/bin/sh")] {
        attempt(&mut stage, way, with, AMPLE).failed("Unsupported");
    }
}

#[test]
fn a_flood_of_printed_lines_is_cut() {
    let mut stage = setting().start();
    let met = attempt(&mut stage, "print", "line \u{1b}[2J", AMPLE).failed("all was written");
    let lines = &met.told.lines;
    // As many of each stream, and that there were more.
    assert_eq!(lines.len(), 2 * 65, "{lines:?}");
    assert!(lines.iter().all(|(.., line)| line.len() <= 1024 && !line.contains('\u{1b}')), "{lines:?}");
}
