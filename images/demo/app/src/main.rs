//! The service in the demo image: a counter behind HTTP that can be told to fail, so that probes and restarts have something
//! to show. It keeps its count over a polite stop, and loses what it counted since when it crashes.
//!
//! It is not a web server to build on: one short request a connection, no keep-alive, no TLS.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Connections served at once; a further one is closed unanswered. Each costs a thread, a small stack and a 4 KiB buffer.
/// Doubled, a flood doubles the memory; halved, a browser and two probes still fit many times over.
const CONNECTIONS: usize = 64;

/// Longest request head. **Units:** bytes. Browsers send below 2 KiB; what does not fit is answered with 431.
const HEAD: usize = 4096;

/// How long one whole request, and its answer, may take. A client that trickles bytes is cut off after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread's stack. **Units:** bytes. The deepest call here is formatting into a vector.
const STACK: usize = 128 * 1024;

/// What all connections share.
struct Service {
    requests: AtomicU64,
    connections: AtomicUsize,
    broken: AtomicBool,
    warm: Instant,
}

impl Service {
    fn healthy(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && Instant::now() >= self.warm
    }
}

/// How the service is set up; the environment says it.
struct Settings {
    listen: String,
    state: Option<PathBuf>,
    warm_up: Duration,
}

impl Settings {
    /// **Errors:** names the variable, what was found and what would do.
    fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let warm_up = match variable("DEMO_WARM_UP") {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                format!("cannot read DEMO_WARM_UP: \"{text}\" is not a number of seconds; write for example 3")
            })?,
        };
        Ok(Settings {
            listen: variable("DEMO_LISTEN").unwrap_or_else(|| String::from("0.0.0.0:8080")),
            state: variable("DEMO_STATE").map(PathBuf::from),
            warm_up: Duration::from_secs(warm_up),
        })
    }
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "demo-app: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let settings = Settings::read(&|name| std::env::var(name).ok())?;
    let counted = settings.state.as_deref().map_or(Ok(0), restore)?;

    let (mut stopping, stop) = UnixStream::pair().map_err(|error| format!("cannot make a socket pair: {error}"))?;
    for signal in [SIGTERM, SIGINT] {
        let stop = stop.try_clone().map_err(|error| format!("cannot copy a descriptor: {error}"))?;
        signal_hook::low_level::pipe::register(signal, stop)
            .map_err(|error| format!("cannot listen for signal {signal}: {error}"))?;
    }

    let listener = TcpListener::bind(&settings.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| format!("cannot ask for the address: {error}"))?;
    say(&format!("listening on {address}, {counted} requests so far"));

    let service = Arc::new(Service {
        requests: AtomicU64::new(counted),
        connections: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
        warm: Instant::now() + settings.warm_up,
    });
    let shared = Arc::clone(&service);
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || accept(&listener, &shared))
        .map_err(|error| format!("cannot start a thread: {error}"))?;

    stopping.read_exact(&mut [0]).map_err(|error| format!("cannot wait for a signal: {error}"))?;
    let counted = service.requests.load(Ordering::Relaxed);
    if let Some(path) = &settings.state {
        keep(path, counted)?;
    }
    say(&format!("stopped in order, {counted} requests so far"));
    Ok(())
}

/// Prints a line. Whoever read standard output may be gone; that is no reason to stop serving.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Reads the count an earlier run kept; a file that is not there yet means none.
fn restore(path: &Path) -> Result<u64, String> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            format!("cannot read {}: \"{}\" is not a count; remove the file", path.display(), text.trim())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Writes the count beside the file, then renames: a reader sees the old count or the new one, never half.
fn keep(path: &Path, counted: u64) -> Result<(), String> {
    let beside = path.with_extension("new");
    let written = fs::File::create(&beside).and_then(|mut file| {
        writeln!(file, "{counted}")?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| format!("cannot keep the count in {}: {error}", path.display()))
}

/// Takes connections for ever. A failed accept (no descriptor left, a client gone) costs a pause, not the service.
fn accept(listener: &TcpListener, service: &Arc<Service>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if service.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS {
            service.connections.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let shared = Arc::clone(service);
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
            // A client that goes away mid-answer concerns nobody else.
            let _ = converse(stream, &shared);
            shared.connections.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            service.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Reads one request and answers it.
fn converse(mut stream: TcpStream, service: &Service) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::with_capacity(512);
    let answer = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            break answer(&head, service);
        }
        if head.len() > HEAD {
            break Answer { status: "431 Request Header Fields Too Large", body: String::from("head too long\n") };
        }
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    )
}

/// A status line's code and reason, and a body.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    fn ok(body: String) -> Answer {
        Answer { status: "200 OK", body }
    }
}

/// Decides by the request line alone; `/crash` does not return.
fn answer(head: &[u8], service: &Service) -> Answer {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    if !matches!(method, b"GET" | b"POST") {
        return Answer { status: "405 Method Not Allowed", body: String::from("use GET or POST\n") };
    }
    match path {
        b"/" => {
            let count = service.requests.fetch_add(1, Ordering::Relaxed) + 1;
            Answer::ok(format!("hello, request {count}\n"))
        }
        b"/healthz" if service.healthy() => Answer::ok(String::from("ok\n")),
        b"/healthz" => Answer { status: "503 Service Unavailable", body: String::from("not healthy\n") },
        b"/break" => {
            service.broken.store(true, Ordering::Relaxed);
            Answer::ok(String::from("broken; /heal mends it\n"))
        }
        b"/heal" => {
            service.broken.store(false, Ordering::Relaxed);
            Answer::ok(String::from("healed\n"))
        }
        b"/crash" => std::process::abort(),
        _ => Answer { status: "404 Not Found", body: String::from("try /, /healthz, /break, /heal or /crash\n") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            requests: AtomicU64::new(41),
            connections: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            warm: Instant::now(),
        }
    }

    #[test]
    fn counts_only_the_front_page() {
        let service = service();
        assert_eq!(answer(b"GET /healthz HTTP/1.1\r\n\r\n", &service).body, "ok\n");
        assert_eq!(answer(b"GET /?a=b HTTP/1.1\r\n\r\n", &service).body, "hello, request 42\n");
        assert_eq!(answer(b"GET / HTTP/1.1\r\n\r\n", &service).body, "hello, request 43\n");
    }

    #[test]
    fn breaks_and_heals() {
        let service = service();
        answer(b"POST /break HTTP/1.1\r\n\r\n", &service);
        assert_eq!(answer(b"GET /healthz HTTP/1.0\r\n\r\n", &service).status, "503 Service Unavailable");
        answer(b"GET /heal HTTP/1.1\r\n\r\n", &service);
        assert_eq!(answer(b"GET /healthz HTTP/1.1\r\n\r\n", &service).status, "200 OK");
    }

    #[test]
    fn is_unhealthy_while_warming_up() {
        let mut service = service();
        service.warm = Instant::now() + Duration::from_secs(3600);
        assert!(!service.healthy());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let service = service();
        assert_eq!(answer(b"GET /nowhere HTTP/1.1\r\n\r\n", &service).status, "404 Not Found");
        assert_eq!(answer(b"DELETE / HTTP/1.1\r\n\r\n", &service).status, "405 Method Not Allowed");
        assert_eq!(answer(b"\r\n\r\n", &service).status, "405 Method Not Allowed");
        assert_eq!(answer(b"\xff\xfe \xff\r\n\r\n", &service).status, "405 Method Not Allowed");
    }

    #[test]
    fn says_what_is_wrong_with_a_setting() {
        let error = Settings::read(&|name| (name == "DEMO_WARM_UP").then(|| String::from("soon"))).err();
        assert_eq!(
            error.as_deref(),
            Some("cannot read DEMO_WARM_UP: \"soon\" is not a number of seconds; write for example 3")
        );
    }
}
