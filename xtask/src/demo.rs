//! The tour: builds the demo image, boots it as a real container under runc, and shows what hilum does with a service that starts, crashes, falls ill,
//! recovers and is stopped. Every step is checked, so the tour that ends well is a test too.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::arguments::Arguments;
use crate::image;
use crate::packages::{self, Program};
use crate::process::say;
use crate::target::Target;
use crate::workspace;

/// The name runc knows the container by.
const CONTAINER: &str = "hilum-demo";

/// Where the plan puts the status sockets, and the service.
const STATUS: &str = "127.0.0.1:8111";
const SERVICE: &str = "127.0.0.1:8080";

/// Longest wait for anything in the tour. The longest it should take is the liveness probe's five failures.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let keep = arguments.switch("--keep");
    arguments.finish()?;
    packages::ensure("the demo", &[Program { name: "runc", package: "runc" }])?;
    for (address, what) in [(STATUS, "status page"), (SERVICE, "service")] {
        if connect(address).is_ok() {
            return Err(format!(
                "cannot start the demo: something listens at {address} already, where its {what} goes"
            ));
        }
    }
    let bundle = workspace::target().join("demo");
    image::bundle("demo", Target::host()?, &bundle)?;
    let mut container = Container::start(&bundle)?;
    let toured = tour(&bundle, keep, &mut container);
    drop(container);
    toured
}

fn tour(bundle: &Path, keep: bool, container: &mut Container) -> Result<(), String> {
    title("1. A scratch image boots: read-only root, uid 65532, no shell, no libc, no capability");
    wait_for("the status socket", || connect(STATUS).is_ok())?;
    tell(&format!("the page for a browser: http://{STATUS}/"));
    let readiness = get("/readiness")?;
    tell(&format!("GET /readiness → {} {}", readiness.status, readiness.line()));
    expect(readiness.status == 503, "the service warms up for three seconds, so it should not be ready yet")?;

    title("2. A sandboxed WebAssembly probe asks the service, and finds it ready");
    let readiness = get("/readiness?wait=30s")?;
    tell(&format!("GET /readiness?wait=30s → {} {}", readiness.status, readiness.line()));
    expect(readiness.status == 200, "the service should become ready")?;
    tell(&format!("GET / → {}", get("/")?.line()));
    for _ in 0..3 {
        tell(&format!("the service itself says: {}", request(SERVICE, "GET", "/")?.line()));
    }

    title("3. The service crashes, and is back");
    let before = service()?;
    request(SERVICE, "POST", "/crash").ok();
    wait_for("the restart", || service().is_ok_and(|now| number(&now, "restarts") > number(&before, "restarts")))?;
    let after = service()?;
    let last = after.get("last_exit").map(Value::to_string).unwrap_or_default();
    tell(&format!(
        "last exit {last}, restarts {}, pid {} → {}",
        number(&after, "restarts"),
        number(&before, "pid"),
        number(&after, "pid")
    ));
    expect(get("/readiness?wait=30s")?.status == 200, "the service should become ready again")?;
    tell("GET /readiness?wait=30s → 200");

    title("4. The service falls ill: out of rotation, but left alone");
    request(SERVICE, "POST", "/break")?;
    wait_for("/readiness to turn", || get("/readiness").is_ok_and(|answer| answer.status == 503))?;
    let readiness = get("/readiness")?;
    tell(&format!("GET /readiness → {} {}", readiness.status, readiness.line()));
    expect(number(&service()?, "pid") == number(&after, "pid"), "a failing readiness probe should restart nothing")?;

    title("5. It recovers by itself");
    request(SERVICE, "POST", "/heal")?;
    expect(get("/readiness?wait=30s")?.status == 200, "the service should become ready again")?;
    tell("GET /readiness?wait=30s → 200");

    title("6. It falls ill and stays so: the liveness probe has it restarted");
    request(SERVICE, "POST", "/break")?;
    tell("five failed probes, two seconds apart …");
    wait_for("the restart", || service().is_ok_and(|now| number(&now, "restarts") > number(&after, "restarts")))?;
    let last = service()?.get("last_exit").map(Value::to_string).unwrap_or_default();
    tell(&format!("last exit {last}"));
    expect(get("/readiness?wait=30s")?.status == 200, "the service should become ready again")?;
    tell("GET /readiness?wait=30s → 200");

    title("7. The process that answers HTTP is killed; no connection is refused");
    let worker = worker_pid()?;
    let outside = outside_pid(worker)?;
    run_command(Command::new("kill").args(["-KILL", &outside.to_string()]))?;
    wait_for("a new worker", || worker_pid().is_ok_and(|now| now != worker))?;
    tell(&format!("status worker {worker} → {}, and the page is still at http://{STATUS}/", worker_pid()?));

    if keep {
        title(&format!(
            "Have a look: http://{STATUS}/ is the page, http://{SERVICE}/ the service. Enter ends the demo."
        ));
        let _ = io::stdin().read_line(&mut String::new());
    }

    title("8. TERM: the service flushes its count, then the container ends");
    let count = request(SERVICE, "GET", "/")?;
    run_command(Command::new("runc").args(["kill", CONTAINER, "TERM"]))?;
    let status = container.wait()?;
    tell(&format!("the container ended with {status}"));
    let file = bundle.join("volumes/state/count");
    let kept = workspace::read_text(&file)?;
    tell(&format!("{} says {}", workspace::shorten(&file), kept.trim()));
    expect(status == 0, "a clean stop should end with 0")?;
    expect(count.body.contains(kept.trim()), "the last count should be on disk")?;
    say("the demo is over; cargo xtask demo --keep leaves it running for you to play with");
    Ok(())
}

/// The container, ended with this value.
struct Container {
    runc: Child,
}

impl Container {
    fn start(bundle: &Path) -> Result<Container, String> {
        delete();
        let mut runc = Command::new("runc")
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(CONTAINER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run runc: {error}"))?;
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            runc.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
            runc.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        ];
        for stream in streams.into_iter().flatten() {
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = writeln!(io::stderr(), "    │ {line}");
                }
            });
        }
        Ok(Container { runc })
    }

    /// Waits for its end and returns the exit code.
    fn wait(&mut self) -> Result<i32, String> {
        let start = Instant::now();
        loop {
            match self.runc.try_wait() {
                Ok(Some(status)) => return status.code().ok_or_else(|| format!("runc ended with {status}")),
                Ok(None) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                Ok(None) => return Err("the container does not end".to_owned()),
                Err(error) => return Err(format!("cannot wait for runc: {error}")),
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        delete();
        let _ = self.runc.kill();
        let _ = self.runc.wait();
    }
}

/// Ends a container of our name, one of an interrupted demo included.
fn delete() {
    let quiet = |command: &mut Command| {
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    quiet(Command::new("runc").args(["delete", "--force", CONTAINER]));
}

/// An HTTP answer.
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// The body on one line.
    fn line(&self) -> String {
        self.body.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let parsed: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let stream = TcpStream::connect_timeout(&parsed, Duration::from_secs(2));
    stream.map_err(|error| format!("cannot connect to {address}: {error}"))
}

fn get(path: &str) -> Result<Answer, String> {
    request(STATUS, "GET", path)
}

fn request(address: &str, method: &str, path: &str) -> Result<Answer, String> {
    let failed = |error: io::Error| format!("{method} {address}{path}: {error}");
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .map_err(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{method} {address}{path}: no answer"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer { status: status.ok_or("no status in the answer")?, body: body.to_owned() })
}

fn status() -> Result<Value, String> {
    serde_json::from_str(&get("/status")?.body).map_err(|error| format!("cannot read /status: {error}"))
}

/// What /status says of the service.
fn service() -> Result<Value, String> {
    status()?.pointer("/services/0").cloned().ok_or_else(|| "no service in /status".to_owned())
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or(-1)
}

/// The status worker's pid as the container counts.
fn worker_pid() -> Result<i64, String> {
    let status = status()?;
    let workers = status.get("workers").and_then(Value::as_array).cloned().unwrap_or_default();
    let worker = workers.iter().find(|worker| worker.get("role").and_then(Value::as_str) == Some("status"));
    worker
        .map(|worker| number(worker, "pid"))
        .filter(|pid| *pid > 0)
        .ok_or_else(|| "no status worker in /status".to_owned())
}

/// The pid, as this system counts, of a process of the container.
fn outside_pid(inside: i64) -> Result<i32, String> {
    let processes = fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in numbers {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let Ok(words) = fs::read_to_string(format!("/proc/{pid}/cmdline")) else { continue };
        let namespaces = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let innermost = namespaces.split_whitespace().nth(1).and_then(|word| word.parse::<i64>().ok());
        if innermost == Some(inside) && words.starts_with("hilum\0worker\0status") {
            return Ok(pid);
        }
    }
    Err(format!("cannot find process {inside} of the container"))
}

fn run_command(command: &mut Command) -> Result<(), String> {
    let spelled = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {spelled}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{spelled} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Looks again and again; what is waited for has no other way to tell.
fn wait_for(what: &str, mut ready: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > PATIENCE {
            return Err(format!("{what} did not come within {} s", PATIENCE.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("this is not what the demo shows: {otherwise}")) }
}

fn title(line: &str) {
    let _ = writeln!(io::stderr(), "\n{line}");
}

fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "  {line}");
}
