//! The built program from outside: it serves, keeps its count over a TERM, and loses it in a crash.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

struct Running {
    child: Child,
    address: String,
    line: String,
}

impl Running {
    fn start(state: &Path) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_demo-app"))
            .env("DEMO_LISTEN", "127.0.0.1:0")
            .env("DEMO_STATE", state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().split(',').next().unwrap().to_owned();
        Running { child, address, line }
    }

    /// The whole answer; empty if the service went away instead.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // A reset is one way a crash looks from here.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn terminate(mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

fn state_file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn keeps_its_count_over_a_stop() {
    let state = state_file("stop");
    let first = Running::start(&state);
    assert!(first.get("/").ends_with("hello, request 1\n"));
    assert!(first.get("/").ends_with("hello, request 2\n"));
    assert!(first.get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(first.get("/break").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(first.get("/healthz").starts_with("HTTP/1.1 503 "));
    assert_eq!(first.terminate().code(), Some(0));
    assert_eq!(fs::read_to_string(&state).unwrap(), "2\n");

    let second = Running::start(&state);
    assert!(second.line.ends_with("2 requests so far\n"), "{}", second.line);
    assert!(second.get("/").ends_with("hello, request 3\n"));
    assert_eq!(second.terminate().code(), Some(0));
    fs::remove_file(&state).unwrap();
}

#[test]
fn a_crash_is_a_crash() {
    let state = state_file("crash");
    let mut running = Running::start(&state);
    assert_eq!(running.get("/crash"), "");
    assert_eq!(running.child.wait().unwrap().signal(), Some(6));
    assert!(!state.exists());
}

#[test]
fn a_long_head_is_refused() {
    let state = state_file("head");
    let running = Running::start(&state);
    let mut stream = TcpStream::connect(&running.address).unwrap();
    // The service may answer and close before it has read all.
    let _ = stream.write_all(&[b'a'; 4608]);
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 431");
    assert_eq!(running.terminate().code(), Some(0));
    fs::remove_file(&state).unwrap();
}
