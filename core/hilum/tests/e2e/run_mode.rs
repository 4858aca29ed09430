//! `hilum run`, and what kapo got wrong there: each defect its reference lists has a test that bears its number.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::stage::boot::{Place, eventually, pass};
use crate::stage::failure::{Context as _, holds, same};
use crate::stage::{Boot, Check, Client, DEADLINE, Failure, Folder, Init, fixture, peek, tool};

const USR1: u8 = 10;
const TERM: u8 = 15;

/// `hilum run` with a status socket at a path.
fn run(folder: &Folder, options: &[&str], child: &[&str]) -> Result<(Boot, Client), Failure> {
    let listen = format!("unix:{}", folder.file("s"));
    let fixture = fixture()?;
    let mut words = vec!["run", "--listen", &listen];
    words.extend(options);
    words.extend(["--", &fixture]);
    words.extend(child);
    Ok((Boot::hilum(&words), Client::new(&listen)))
}

/// The address hilum says it listens at, one for each call.
pub(crate) fn address(init: &mut Init) -> Result<String, Failure> {
    let line = init.error_line_with("event=listening")?;
    line.split("address=").nth(1).map(str::to_owned).context(format!("no address in {line}"))
}

#[test]
fn kapo_defect_01_the_exit_code_is_passed_on() -> Check {
    for (child, code) in [(["exit", "7"], 7), (["exit", "0"], 0), (["raise", "9"], 137), (["raise", "11"], 139)] {
        let folder = Folder::new()?;
        same(format!("code of {child:?}"), run(&folder, &[], &child)?.0.run()?.code, code)?;
    }
    Ok(())
}

#[test]
fn kapo_defect_02_wrong_usage_is_told_and_not_0() -> Check {
    for (name, value) in [("HILUM_PORT", "none"), ("HILUM_WAIT", "5"), ("HILUM_TTL", ""), ("HILUM_SIDEBIND", "perhaps")]
    {
        let done = Boot::hilum(&["run", "--", &fixture()?, "exit", "0"]).variable(name, value).run()?;
        same(format!("code with {name}={value}: {}", done.stderr), done.code, 64)?;
        holds(format!("{name} is not named: {}", done.stderr), done.stderr.contains(name))?;
    }
    Ok(())
}

#[test]
fn kapo_defect_03_bind_failure_is_fatal() -> Check {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let folder = Folder::new()?;
    let marker = folder.file("marker");
    for listen in [address.as_str(), "unix:/no/such/folder/s", "192.0.2.1:80"] {
        let done = Boot::hilum(&["run", "--listen", listen, "--", &fixture()?, "flush", &marker]).run()?;
        same(format!("code with {listen}: {}", done.stderr), done.code, 78)?;
        let named = listen.strip_prefix("unix:").unwrap_or(listen);
        holds(format!("{listen} is not named: {}", done.stderr), done.stderr.contains(named))?;
        holds("the child was started", !std::path::Path::new(&marker).exists())?;
    }
    Ok(())
}

#[test]
fn kapo_defect_04_signals_are_forwarded_and_nobody_is_orphaned() -> Check {
    for place in [Place::First, Place::Ordinary] {
        let folder = Folder::new()?;
        let (boot, _) = run(&folder, &[], &["trap", "15:4"])?;
        let mut init = boot.at(place).start()?;
        let child = init.line_from("ready")?;
        init.signal(USR1)?;
        init.expect_line("signal 10")?;
        init.signal(TERM)?;
        same("code", init.wait()?, 4)?;
        if place == Place::Ordinary {
            holds("the child is left", peek::stat(child.parse()?).is_none())?;
        }
    }
    Ok(())
}

#[test]
fn kapo_defects_05_and_08_output_is_passed_on_and_kept_apart() -> Check {
    let folder = Folder::new()?;
    let done = run(&folder, &["--quiet"], &["print", "to stdout", "to stderr"])?.0.run()?;
    same("streams", (done.stdout.as_str(), done.stderr.as_str()), ("to stdout", "to stderr"))?;
    let done = run(&folder, &["--stdout", "null"], &["print", "to stdout", "to stderr"])?.0.run()?;
    same("stdout", done.stdout.as_str(), "")?;
    holds(format!("stderr: {}", done.stderr), done.stderr.contains("to stderr"))?;
    let done =
        run(&folder, &["--stdout", "log", "--stderr", "log"], &["print", "to \"stdout\"\n", "to stderr"])?.0.run()?;
    same("stdout", done.stdout.as_str(), "")?;
    for wanted in [r#"stream=stdout message="to \"stdout\"""#, r#"stream=stderr message="to stderr""#] {
        holds(format!("no {wanted} in {}", done.stderr), done.stderr.contains(wanted))?;
    }
    Ok(())
}

#[test]
fn kapo_defect_06_a_closed_stream_costs_nothing() -> Check {
    let folder = Folder::new()?;
    let shell = tool("sh", "dash")?;
    let fifo = folder.file("fifo");
    let script = format!("mkfifo {fifo}; exec >&- 2>&-; read line < {fifo}");
    let listen = format!("unix:{}", folder.file("s"));
    let words = ["run", "--listen", &listen, "--stdout", "log", "--stderr", "log", "--", &shell, "-c", &script];
    let mut init = Boot::hilum(&words).ordinary().start()?;
    address(&mut init)?;
    Client::new(&listen).wait_for("/readiness", 200)?;
    eventually("the child waits", || Ok(std::path::Path::new(&fifo).exists()))?;
    let pid = init.pid()?;
    let switches = || -> Result<u64, Failure> {
        let status = peek::status(pid)?;
        let count = |key: &str| status.get(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        Ok(count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches"))
    };
    let before = switches()?;
    pass(Duration::from_secs(1))?;
    let woken = switches()? - before;
    holds(format!("{woken} wake-ups in a second"), woken < 20)?;
    std::fs::write(&fifo, "go\n")?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_07_the_last_lines_are_not_lost() -> Check {
    let shell = tool("sh", "dash")?;
    let folder = Folder::new()?;
    let listen = format!("unix:{}", folder.file("s"));
    let script = "i=0; while [ $i -lt 400 ]; do echo line-$i; i=$((i+1)); done; printf the-end";
    for round in 0..20 {
        let words = ["run", "--listen", &listen, "--stdout", "log", "--", &shell, "-c", script];
        let done = Boot::hilum(&words).run()?;
        same("code", done.code, 0)?;
        let lines = done.stderr.matches("message=line-").count();
        same(format!("lines in round {round}"), lines, 400)?;
        holds("the end without a line break is lost", done.stderr.contains("message=the-end"))?;
        let (end, exit) = (done.stderr.find("the-end"), done.stderr.find("event=exited"));
        holds("a line came after the news of the end", end < exit)?;
    }
    Ok(())
}

#[test]
fn kapo_defect_09_each_key_has_its_documented_unit() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &["--ttl", "30s", "--wait", "2s"], &["trap", "15:0"])?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    let object = client.get("/")?.json()?;
    let number = |key: &str| object.pointer(&format!("/0/{key}")).and_then(serde_json::Value::as_u64);
    same("TTL, Wait", (number("TTL"), number("Wait")), (Some(30), Some(2_000_000_000)))?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn the_status_object_is_kapos_key_for_key() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &["--wait", "10s"], &["trap", "10:3"])?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    let answer = client.get("/")?;
    same("type", answer.header("content-type"), Some("application/json"))?;
    let keys: Vec<&str> =
        ["Arguments", "Command", "EndTime", "ExitCode", "Mode", "SidebindPort", "StartTime", "Status", "TTL", "Wait"]
            .to_vec();
    let mut at = 0;
    for key in &keys {
        let found = answer.body.get(at..).and_then(|rest| rest.find(&format!("\"{key}\":")));
        at += found.context(format!("{key} is missing or out of order in {}", answer.body))?;
    }
    let object = answer.json()?;
    same("number of keys", object.pointer("/0").and_then(|object| Some(object.as_object()?.len())), Some(keys.len()))?;
    same("Status", object.pointer("/0/Status"), Some(&"running".into()))?;
    same("Mode", object.pointer("/0/Mode"), Some(&"run".into()))?;
    same("ExitCode", object.pointer("/0/ExitCode"), Some(&0.into()))?;
    same("EndTime", object.pointer("/0/EndTime"), Some(&"0001-01-01T00:00:00Z".into()))?;
    same("Arguments", object.pointer("/0/Arguments"), Some(&serde_json::json!(["trap", "10:3"])))?;
    let head = client.ask("HEAD", "/")?;
    same(
        "HEAD: status, body, length",
        (head.status, head.body.as_str(), head.header("content-length")),
        (200, "", answer.header("content-length")),
    )?;
    init.signal(USR1)?;
    let object =
        client.wait_until("/", "the end is shown", |object| object.pointer("/0/Status") == Some(&"stopped".into()))?;
    same("ExitCode", object.pointer("/0/ExitCode"), Some(&3.into()))?;
    holds("EndTime is not set", object.pointer("/0/EndTime") != Some(&"0001-01-01T00:00:00Z".into()))?;
    // Whoever wants it to end need not wait for --wait.
    init.signal(TERM)?;
    same("code", init.wait()?, 3)
}

#[test]
fn kapo_defect_10_a_ttl_is_polite_reaches_the_group_and_is_named() -> Check {
    let folder = Folder::new()?;
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    let listen = format!("unix:{}", folder.file("s"));
    // The leader ends at TERM; the other one of its group does not and must be killed.
    let script = format!("{fixture} stubborn & exec {fixture} trap 15:0");
    let words = [
        "run",
        "--listen",
        &listen,
        "--ttl",
        "500ms",
        "--grace-period",
        "500ms",
        "--wait",
        "1h",
        "--",
        &shell,
        "-c",
        &script,
    ];
    let mut init = Boot::hilum(&words).start()?;
    let client = Client::new(&listen);
    init.line_from("ready")?;
    init.line_from("signal 15")?;
    let object =
        client.wait_until("/", "the end is shown", |object| object.pointer("/0/Status") == Some(&"killed".into()))?;
    holds(format!("no end in {object}"), object.pointer("/0/EndTime") != Some(&"0001-01-01T00:00:00Z".into()))?;
    let status = client.get("/status")?;
    holds(format!("no cause in {}", status.body), status.body.contains("\"ttl\""))?;
    eventually("the group is swept", || {
        Ok(!peek::descendants(init.pid()?).iter().any(|stat| stat.name == "e2e-fixture"))
    })?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn a_ttl_range_is_drawn_from() -> Check {
    let folder = Folder::new()?;
    let (boot, _) = run(&folder, &["--ttl", "100ms..400ms"], &["trap", "15:6"])?;
    let done = boot.run()?;
    same(format!("code: {}", done.stderr), done.code, 6)?;
    holds(format!("no cause in {}", done.stderr), done.stderr.contains("reason=ttl"))
}

#[test]
fn kapo_defect_14_the_first_document_is_whole() -> Check {
    for _ in 0..20 {
        let folder = Folder::new()?;
        let (boot, client) = run(&folder, &[], &["trap", "15:0"])?;
        let mut init = boot.start()?;
        address(&mut init)?;
        // Before the worker serves, the connection waits; it is not refused, and what it gets is a document.
        let answer = client.get("/")?;
        same("status", answer.status, 200)?;
        let status = answer.json()?.pointer("/0/Status").cloned();
        holds(format!("Status {status:?}"), status == Some("running".into()) || status == Some("stopped".into()))?;
    }
    Ok(())
}

#[test]
fn kapo_defect_15_ports_are_what_they_say() -> Check {
    // The next free port above, bound to the same address, and told.
    let first = TcpListener::bind("127.0.0.1:0")?;
    let base = first.local_addr()?.port();
    drop(first);
    let fixture = fixture()?;
    let blocked = TcpListener::bind(("127.0.0.1", base + 1));
    let listen = format!("127.0.0.1:{base}");
    let mut init = Boot::hilum(&["run", "--listen", &listen, "--sidebind", "--", &fixture, "trap", "15:0"]).start()?;
    let addresses = [address(&mut init)?, address(&mut init)?];
    same("first address", addresses[0].as_str(), listen.as_str())?;
    let object = Client::new(&addresses[1]).get("/")?.json()?;
    let port = object.pointer("/0/SidebindPort").and_then(serde_json::Value::as_u64).context("no SidebindPort")?;
    holds(format!("{addresses:?}, SidebindPort {port}"), addresses[1] == format!("127.0.0.1:{port}"))?;
    holds("a port in use was taken", blocked.is_err() || port > u64::from(base) + 1)?;
    same("both say the same", Client::new(&addresses[0]).get("/")?.json()?, object)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)?;
    // No port above the last one; none above 0.
    for (port, code) in [("65535", 78), ("0", 64)] {
        let done = Boot::hilum(&[
            "run",
            "--interface",
            "127.0.0.1",
            "--port",
            port,
            "--sidebind",
            "--",
            &fixture,
            "exit",
            "0",
        ])
        .run()?;
        same(format!("code with port {port}: {}", done.stderr), done.code, code)?;
    }
    // Port 0 is reported.
    let mut init =
        Boot::hilum(&["run", "--interface", "127.0.0.1", "--port", "0", "--", &fixture, "trap", "15:0"]).start()?;
    let address = address(&mut init)?;
    holds(format!("address {address}"), !address.ends_with(":0"))?;
    same("status", Client::new(&address).get("/liveness")?.status, 200)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_18_addresses_are_what_they_say() -> Check {
    let fixture = fixture()?;
    for interface in ["::1", "[::1]"] {
        let words = ["run", "--interface", interface, "--port", "0", "--", &fixture, "trap", "15:0"];
        let mut init = Boot::hilum(&words).start()?;
        let address = address(&mut init)?;
        holds(format!("address {address}"), address.starts_with("[::1]:"))?;
        same("status", Client::new(&address).get("/liveness")?.status, 200)?;
        init.line_from("ready")?;
        init.signal(TERM)?;
        same("code", init.wait()?, 0)?;
    }
    let words = ["run", "--interface", "0.0.0.0", "--port", "0", "--", &fixture, "trap", "15:0"];
    let mut init = Boot::hilum(&words).start()?;
    let address = address(&mut init)?;
    same("status", Client::new(&address).get("/liveness")?.status, 200)?;
    let port = address.rsplit(':').next().unwrap_or_default().parse::<u16>()?;
    holds("the IPv4 wildcard answers on IPv6", std::net::TcpStream::connect(("::1", port)).is_err())?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_19_ready_is_said_once_the_child_runs_and_not_to_it() -> Check {
    let folder = Folder::new()?;
    let socket = folder.file("notify");
    let notify = UnixDatagram::bind(&socket)?;
    notify.set_read_timeout(Some(DEADLINE))?;
    let (boot, _) = run(&folder, &[], &["trap", "15:0"])?;
    let mut init = boot.variable("NOTIFY_SOCKET", &socket).start()?;
    let mut buffer = [0; 512];
    let mut next = || -> Result<String, Failure> {
        let read = notify.recv(&mut buffer).context("no notification")?;
        Ok(String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned())
    };
    let said = next()?;
    holds(format!("said {said:?}"), said.lines().any(|line| line == "READY=1"))?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    let said = next()?;
    holds(format!("said {said:?}"), said.lines().any(|line| line == "STOPPING=1"))?;
    same("code", init.wait()?, 0)?;
    let (boot, _) = run(&folder, &[], &["variables"])?;
    let done = boot.variable("NOTIFY_SOCKET", &socket).run()?;
    holds("the child has it", !done.stdout.contains("NOTIFY_SOCKET"))?;
    for said in [next()?, next()?] {
        holds(format!("said {said:?}"), ["READY=1", "STOPPING=1"].contains(&said.trim_end()))?;
    }
    // A command that cannot start is never ready.
    let listen = format!("unix:{}", folder.file("t"));
    let done = Boot::hilum(&["run", "--listen", &listen, "--", "/missing"]).variable("NOTIFY_SOCKET", &socket).run()?;
    same("code", done.code, 127)?;
    notify.set_nonblocking(true)?;
    while let Ok(read) = notify.recv(&mut buffer) {
        let said = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned();
        holds(format!("said {said:?} for what did not start"), !said.contains("READY=1") || said.contains("STOPPING"))?;
    }
    Ok(())
}

/// Starts hilum with a socket as descriptor 3, as systemd does; `$$` in a value is its pid.
fn activated(socket: impl Into<Stdio>, variables: &str, child: &[&str]) -> Result<Boot, Failure> {
    let shell = tool("sh", "dash")?;
    let script = format!("export {variables}; exec \"$@\" 3<&0 </dev/null");
    let fixture = fixture()?;
    let mut words = vec!["run", "--socket-activation", "--", &fixture];
    words.extend(child);
    Ok(Boot::hilum(&words).through(&[&shell, "-c", &script, "sh"]).stdin(socket))
}

#[test]
fn sockets_that_systemd_passes_are_served() -> Check {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let boot = activated(
        std::os::fd::OwnedFd::from(listener),
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=status",
        &["trap", "15:0"],
    )?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    same("status", Client::new(&address).get("/liveness")?.status, 200)?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let boot = activated(std::os::fd::OwnedFd::from(listener), "LISTEN_PID=$$ LISTEN_FDS=1", &["variables"])?;
    let done = boot.run()?;
    let passed: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with("LISTEN_")).collect();
    same("what the child has of it", passed, Vec::new())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let boot = activated(std::os::fd::OwnedFd::from(listener), "LISTEN_PID=$$ LISTEN_FDS=1", &["environment"])?;
    let done = boot.run()?;
    holds(format!("the child has the socket: {}", done.stdout), done.stdout.contains("free-descriptors 3,"))
}

#[test]
fn kapo_defect_19_wrong_activation_is_an_error_and_no_panic() -> Check {
    let cases = [
        "NONE=1",
        "LISTEN_PID=1000000 LISTEN_FDS=1",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=$$ LISTEN_FDS=-1",
        "LISTEN_PID=$$ LISTEN_FDS=99999999999999999999",
        "LISTEN_PID=$$ LISTEN_FDS=1000000",
        "LISTEN_PID=$$ LISTEN_FDS=one",
        "LISTEN_PID= LISTEN_FDS=1",
        "LISTEN_PID=$$ LISTEN_FDS=",
        "LISTEN_PID=$$ LISTEN_FDS=2",
    ];
    for variables in cases {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let done = activated(std::os::fd::OwnedFd::from(listener), variables, &["exit", "0"])?.run()?;
        same(format!("code with {variables}: {}", done.stderr), done.code, 78)?;
        holds(
            format!("not named with {variables}: {}", done.stderr),
            done.stderr.contains("LISTEN_") || done.stderr.contains("descriptor 4"),
        )?;
        holds(format!("a panic: {}", done.stderr), !done.stderr.contains("panic"))?;
    }
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let done = activated(std::os::fd::OwnedFd::from(datagrams), "LISTEN_PID=$$ LISTEN_FDS=1", &["exit", "0"])?.run()?;
    same(format!("code with a datagram socket: {}", done.stderr), done.code, 78)?;
    let file = std::fs::File::open("/dev/null")?;
    let done = activated(std::os::fd::OwnedFd::from(file), "LISTEN_PID=$$ LISTEN_FDS=1", &["exit", "0"])?.run()?;
    same(format!("code with a file: {}", done.stderr), done.code, 78)
}

#[test]
fn systemds_own_tool_activates_it() -> Check {
    let activate = tool("systemd-socket-activate", "systemd")?;
    let folder = Folder::new()?;
    let socket = folder.file("activated");
    let words =
        ["-l", &socket, &crate::stage::hilum(), "run", "--socket-activation", "--", &fixture()?, "trap", "15:0"];
    let mut init = Boot::program(&activate, &words).ordinary().start()?;
    init.error_line_with("Listening on")?;
    // The first connection starts it, and is answered.
    let answer = Client::new(&format!("unix:{socket}")).get("/liveness")?;
    same("status", answer.status, 200)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_20_the_http_status_knows_the_state() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &["--wait", "1h"], &["trap", "10:1"])?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    client.wait_for("/readiness", 200)?;
    same("startup", client.get("/startup")?.status, 200)?;
    same("service", client.get("/service/e2e-fixture/readiness")?.status, 200)?;
    init.signal(USR1)?;
    client.wait_for("/readiness", 503)?;
    client.wait_for("/liveness", 503)?;
    // kapo's own page says it in the document, as it did.
    same("kapo's page", client.get("/")?.status, 200)?;
    init.signal(TERM)?;
    same("code", init.wait()?, 1)
}

#[test]
fn readiness_turns_before_the_stop_signal_is_passed_on() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &["--term-delay", "1h"], &["trap", "15:0"])?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    client.wait_for("/readiness", 200)?;
    init.signal(TERM)?;
    client.wait_for("/readiness", 503)?;
    same("liveness", client.get("/liveness")?.status, 200)?;
    init.signal(2)?;
    same("code", init.wait()?, 137)
}

#[test]
fn readiness_can_be_waited_for() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &[], &["trap", "15:0"])?;
    let mut init = boot.start()?;
    address(&mut init)?;
    same("status", client.get("/readiness?wait=20s")?.status, 200)?;
    same("a wait that makes no sense", client.get("/readiness?wait=5")?.status, 400)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_21_other_paths_and_methods_are_refused_and_arguments_are_not_shown() -> Check {
    let folder = Folder::new()?;
    let (boot, client) = run(&folder, &[], &["trap", "15:0"])?;
    let mut init = boot.start()?;
    init.line_from("ready")?;
    for path in ["/nothing", "//", "/../etc/passwd", "/service/nobody", "/status/x", "/service/e2e-fixture/nothing"] {
        same(format!("status of {path}"), client.get(path)?.status, 404)?;
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = client.ask(method, "/")?;
        same(format!("status of {method}"), (answer.status, answer.header("allow")), (405, Some("GET, HEAD")))?;
    }
    let answer = client.get("/debug/vars")?;
    let vars = answer.json()?;
    let cmdline = vars.get("cmdline").context("no cmdline")?.to_string();
    holds(format!("the child's arguments are shown: {cmdline}"), cmdline.contains("run") && !cmdline.contains("trap"))?;
    holds("no memstats", vars.pointer("/memstats/Sys").is_some())?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_22_the_childs_arguments_are_its_own() -> Check {
    let folder = Folder::new()?;
    let listen = format!("unix:{}", folder.file("s"));
    let fixture = fixture()?;
    let arguments = ["arguments", "-t", "9", "--ttl", "1s", "--", "-x", "--help"];
    for marker in [&["--"][..], &[]] {
        let mut words = vec!["run", "--listen", &listen];
        words.extend(marker);
        words.push(&fixture);
        words.extend(arguments);
        let done = Boot::hilum(&words).run()?;
        same(format!("code: {}", done.stderr), done.code, 0)?;
        same("arguments", done.stdout.as_str(), "-t\n9\n--ttl\n1s\n--\n-x\n--help")?;
    }
    Ok(())
}

#[test]
fn every_address_of_several_is_served_and_a_dead_socket_file_is_no_obstacle() -> Check {
    let folder = Folder::new()?;
    let path = folder.file("s");
    // Left behind by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    let listen = format!("unix:{path}");
    let words = [
        "run",
        "--listen",
        &listen,
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "[::1]:0",
        "--",
        &fixture()?,
        "trap",
        "15:0",
    ];
    let mut init = Boot::hilum(&words).start()?;
    for _ in 0..3 {
        let address = address(&mut init)?;
        same(format!("status at {address}"), Client::new(&address).get("/liveness")?.status, 200)?;
    }
    // One that is alive is: two must not share it.
    let done = Boot::hilum(&["run", "--listen", &listen, "--", &fixture()?, "exit", "0"]).run()?;
    same(format!("code at a socket in use: {}", done.stderr), done.code, 78)?;
    same("the first still answers", Client::new(&listen).get("/liveness")?.status, 200)?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}
