//! The probe against the servers of Debian's package redis-server.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hilum_plugin::json::quoted;
use hilum_plugin::native::NativeHost;
use hilum_plugin::{Outcome, Request};
use probe_redis::ProbeRedis;

type Tested = Result<(), Box<dyn std::error::Error>>;

/// The authority of the tests, and what it has signed for `peer.test` and 127.0.0.1, with its key.
const AUTHORITY: &str = include_str!("../../../core/sandbox/tests/attack/tls/authority.pem");
const PAPERS: &str = include_str!("../../../core/sandbox/tests/attack/tls/right.pem");

/// Time for a server to come up and for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Starts a server with `arguments` more, in which `PORT` and `FOLDER` stand for its own, waits until it answers a probe with `login` in its settings.
    fn start(arguments: &[&str], login: &str) -> Result<Server, Box<dyn std::error::Error>> {
        // Someone else may take the free port before the server does.
        for _ in 0..5 {
            let mut server = Server::spawn(arguments)?;
            let started = Instant::now();
            while server.child.try_wait()?.is_none() {
                // Not just anyone: this very process.
                let own = format!("process_id:{}\r", server.child.id());
                let rest = format!(r#", "command": ["INFO", "server"], "contains": "{}""#, own.escape_default());
                if server.check(&format!("{login}{rest}")) == Outcome::Pass {
                    return Ok(server);
                }
                if started.elapsed() > PATIENCE {
                    return Err(format!("redis-server does not answer; its log:\n{}", server.log()).into());
                }
                sleep(Duration::from_millis(20));
            }
            if !server.log().contains("Address already in use") {
                return Err(format!("redis-server ended; its log:\n{}", server.log()).into());
            }
        }
        Err("five free ports in a row were taken by someone else".into())
    }

    fn spawn(arguments: &[&str]) -> Result<Server, Box<dyn std::error::Error>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("probe-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // A server that can be told to be a sentinel wants a file it can write.
        let plan = folder.join("redis.conf");
        fs::write(folder.join("authority.pem"), AUTHORITY)?;
        fs::write(folder.join("papers.pem"), PAPERS)?;
        let own = |argument: &&str| {
            argument.replace("PORT", &port.to_string()).replace("FOLDER", &folder.display().to_string())
        };
        fs::write(&plan, format!("port {port}\nbind 127.0.0.1\ndaemonize no\ndir {}\n", folder.display()))?;
        let child = Command::new("redis-server")
            .arg(&plan)
            .args(arguments.iter().map(own))
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("log"))?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run redis-server: {error}; install Debian's package redis-server"))?;
        Ok(Server { child, port, folder })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Probes with `rest` after host and port in the settings.
    fn check(&self, rest: &str) -> Outcome {
        self.check_within(rest, PATIENCE)
    }

    fn check_within(&self, rest: &str, timeout: Duration) -> Outcome {
        let settings = format!(r#"{{"host": "127.0.0.1", "port": {}{rest}}}"#, self.port);
        let host = NativeHost::new(timeout).with_grant("127.0.0.1", self.port);
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        hilum_plugin::check::<ProbeRedis>(&Request { settings, timeout_ms, attempt: 1 }, &host)
    }

    fn passes(&self, rest: &str) {
        assert_eq!(self.check(rest), Outcome::Pass, "{rest}");
    }

    fn fails(&self, rest: &str, said: &str) {
        let outcome = self.check(rest);
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{rest}: {outcome:?}, not {said:?}");
    }

    /// Sends a signal and waits until the process is in `state`, as `/proc` calls it.
    fn signal(&self, signal: &str, states: &[&str]) -> Tested {
        let pid = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status()?;
        assert!(sent.success(), "cannot send {signal} to {pid}");
        let started = Instant::now();
        loop {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let state = status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap_or_default();
            if states.iter().any(|wanted| state.starts_with(wanted)) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{pid} is {state} after {signal}").into());
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Nothing is kept.
const BARE: &[&str] = &["--save", "", "--appendonly", "no"];

fn bare(more: &[&str], login: &str) -> Result<Server, Box<dyn std::error::Error>> {
    Server::start(&[BARE, more].concat(), login)
}

#[test]
fn a_server_that_answers_as_expected_passes() -> Tested {
    let server = bare(&[], "")?;
    server.passes("");
    server.passes(r#", "command": "ping""#);
    server.passes(r#", "command": ["PING", "a\r\nb"], "expect": "a\r\nb""#);
    server.passes(r#", "command": ["SET", "health", "well"], "expect": "OK""#);
    server.passes(r#", "command": ["GET", "health"], "expect": "well""#);
    server.passes(r#", "database": 0, "command": ["EXISTS", "health"], "expect": "1""#);
    server.passes(r#", "database": 3, "command": ["EXISTS", "health"], "expect": "0""#);
    server.passes(r#", "database": 3, "command": ["GET", "health"]"#);
    server.passes(r#", "command": ["INFO", "persistence"], "contains": "loading:0""#);
    server.passes(r#", "command": ["INFO", "everything"], "contains": "redis_version:""#);
    server.passes(r#", "command": ["ROLE"], "contains": "master""#);
    server.passes(r#", "command": ["CONFIG", "GET", "*"], "contains": "maxmemory\n0""#);
    server.passes(r#", "command": ["CLIENT", "LIST"], "contains": "cmd=client""#);
    Ok(())
}

#[test]
fn a_server_that_answers_otherwise_fails_with_its_answer() -> Tested {
    let server = bare(&[], "")?;
    server.fails(r#", "command": ["GET", "health"], "expect": "well""#, "answered GET health with nil");
    server
        .fails(r#", "command": ["ROLE"], "contains": "slave""#, "with the list \"master\\n0\", which does not contain");
    server.fails(r#", "database": 99"#, "answered SELECT 99 with the error \"ERR DB index is out of range\"");
    server.fails(r#", "command": ["NONSENSE"]"#, "answered NONSENSE with the error \"ERR unknown command 'NONSENSE'");
    server.fails(r#", "command": ["GET"]"#, "wrong number of arguments");
    server.fails(r#", "command": ["COMMAND"]"#, "with more than is read");
    server.fails(r#", "password": "hunter2""#, "; leave password out, or set one at the server");
    Ok(())
}

#[test]
fn a_login_is_needed_and_judged_by_the_server() -> Tested {
    let login = r#", "password": "hunter2""#;
    let server = bare(&["--requirepass", "hunter2"], login)?;
    server.passes(login);
    server.passes(r#", "username": "default", "password": "hunter2", "database": 1"#);
    server.fails("", "answered PING with the error \"NOAUTH Authentication required.\"; set password");
    server.fails(
        r#", "password": "hunter3""#,
        "answered AUTH with the error \"WRONGPASS invalid username-password pair or user is disabled.\"; check password",
    );
    let user = r#", "password": "hunter2", "command": ["ACL", "SETUSER", "probe", "on", ">other", "+ping"]"#;
    server.passes(user);
    let probe = r#", "username": "probe", "password": "other""#;
    server.passes(probe);
    server.fails(r#", "username": "probe", "password": "hunter2""#, "; check username and password");
    server.fails(&format!(r#"{probe}, "command": ["GET", "k"]"#), "NOPERM");
    server.fails(&format!(r#"{probe}, "database": 1"#), "answered SELECT 1 with the error \"NOPERM");
    Ok(())
}

#[test]
fn with_tls_only_the_right_server_passes_and_says_whom_it_wants() -> Tested {
    const TLS: &[&str] = &[
        "--port",
        "0",
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        "FOLDER/papers.pem",
        "--tls-key-file",
        "FOLDER/papers.pem",
        "--tls-ca-cert-file",
        "FOLDER/authority.pem",
        "--tls-auth-clients",
    ];
    let (authority, papers) = (quoted(AUTHORITY), quoted(PAPERS));
    let trusting = format!(r#", "tls": {{"ca": {authority}}}"#);
    let server = bare(&[TLS, &["no"]].concat(), &trusting)?;
    server.passes(&trusting);
    server.passes(&format!(r#", "tls": {{"ca": {authority}, "server-name": "peer.test"}}"#));
    server.fails(
        &format!(r#", "tls": {{"ca": {authority}, "server-name": "other.test"}}"#),
        "cannot agree on TLS with 127.0.0.1",
    );
    server.fails(&format!(r#", "tls": {{"ca": {papers}}}"#), "invalid peer certificate");
    server.fails("", "; if it speaks TLS, write tls = {}");

    let showing = format!(r#", "tls": {{"ca": {authority}, "certificate": {papers}, "key": {papers}}}"#);
    let server = bare(&[TLS, &["yes"]].concat(), &showing)?;
    server.passes(&showing);
    server.fails(&trusting, "received fatal alert");

    // Without TLS it takes the handshake for the beginning of a line.
    let plain = bare(&[], "")?;
    let outcome = plain.check_within(&trusting, Duration::from_millis(300));
    assert!(matches!(&outcome, Outcome::Fail(why) if why.ends_with("it may speak no TLS at this port")), "{outcome:?}");
    Ok(())
}

#[test]
fn a_password_that_the_server_repeats_is_not_shown() -> Tested {
    let server = bare(&["--rename-command", "AUTH", ""], "")?;
    for password in ["hunter2".to_owned(), "correct horse battery staple ".repeat(8)] {
        let outcome = server.check(&format!(r#", "password": "{password}""#));
        assert!(
            matches!(&outcome, Outcome::Fail(why) if why.contains("'***") && !why.contains("hunt") && !why.contains("correct")),
            "{outcome:?}"
        );
    }
    Ok(())
}

#[test]
fn a_replica_without_its_master_fails_with_what_it_cannot_do() -> Tested {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let server = bare(&["--replicaof", "127.0.0.1", &nobody, "--replica-serve-stale-data", "no"], "")?;
    server.fails(r#", "command": ["GET", "k"]"#, "with the error \"MASTERDOWN Link with MASTER is down");
    server.fails(r#", "command": ["INFO", "replication"], "contains": "master_link_status:up""#, "does not contain");
    server.passes(r#", "command": ["CONFIG", "SET", "replica-serve-stale-data", "yes"], "expect": "OK""#);
    server.fails(r#", "command": ["SET", "k", "v"]"#, "with the error \"READONLY You can't write against");
    Ok(())
}

#[test]
fn a_server_that_is_still_loading_fails() -> Tested {
    let server = bare(&["--rdbcompression", "no", "--enable-debug-command", "yes"], "")?;
    let value = "x".repeat(4000);
    for key in 0..40 {
        server.passes(&format!(r#", "command": ["SET", "{key}", "{value}"], "expect": "OK""#));
    }
    // A tenth of a second for each key, and now and then an answer for who asks.
    let slow = r#", "command": ["CONFIG", "SET", "key-load-delay", "100000", "loading-process-events-interval-bytes", "1024"]"#;
    server.passes(slow);
    // The reload holds the server up; whoever asks meanwhile is told so.
    let mut loader = TcpStream::connect(("127.0.0.1", server.port))?;
    loader.write_all(b"DEBUG RELOAD\r\n")?;
    let started = Instant::now();
    while !matches!(server.check(""), Outcome::Fail(why) if why.contains("with the error \"LOADING ")) {
        assert!(started.elapsed() < PATIENCE, "no LOADING");
    }
    Ok(())
}

#[test]
fn a_server_that_is_full_fails_with_its_reason() -> Tested {
    let server = bare(&["--maxclients", "1"], "")?;
    let started = Instant::now();
    // The connection of the last probe may not be gone yet.
    let holder = loop {
        let mut holder = TcpStream::connect(("127.0.0.1", server.port))?;
        let mut answer = [0; 7];
        if holder.write_all(b"PING\r\n").is_ok() && holder.read_exact(&mut answer).is_ok() && &answer == b"+PONG\r\n" {
            break holder;
        }
        assert!(started.elapsed() < PATIENCE, "nobody is let in");
    };
    server.fails("", "with the error \"ERR max number of clients reached\"");
    drop(holder);
    Ok(())
}

#[test]
fn a_sentinel_passes() -> Tested {
    let server = Server::start(&["--sentinel"], "")?;
    server.passes("");
    server.passes(r#", "command": ["SENTINEL", "MASTERS"]"#);
    server.fails(r#", "command": ["SENTINEL", "MASTERS"], "contains": "s_down""#, "with an empty list");
    server.fails(r#", "database": 1"#, "answered SELECT 1 with the error \"ERR unknown command");
    Ok(())
}

#[test]
fn a_stopped_server_times_out_and_passes_again_when_it_goes_on() -> Tested {
    let server = bare(&[], "")?;
    server.signal("STOP", &["T"])?;
    let started = Instant::now();
    let outcome = server.check_within("", Duration::from_millis(300));
    assert!(matches!(&outcome, Outcome::Fail(why) if why.ends_with("which sent nothing: timed out")), "{outcome:?}");
    // The deadline, and room for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    server.signal("CONT", &["R", "S", "D"])?;
    server.passes("");
    Ok(())
}

#[test]
fn a_server_that_is_gone_refuses() -> Tested {
    let mut server = bare(&[], "")?;
    server.passes("");
    server.child.kill()?;
    server.child.wait()?;
    server.fails("", "connection refused");
    Ok(())
}
