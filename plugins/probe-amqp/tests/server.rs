//! The probe against RabbitMQ itself, as Debian's package `rabbitmq-server` has it.
//!
//! It takes seconds to start and is started once; that is why there is one test with named steps.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hilum_plugin::json::quoted;
use hilum_plugin::native::NativeHost;
use hilum_plugin::{Outcome, Request};
use probe_amqp::ProbeAmqp;

/// The program itself; the one on the `PATH` is a wrapper that changes the user and knows one place for data.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const NAMES: &str = "epmd";
const PACKAGE: &str = "Debian's package rabbitmq-server has it";

/// What the server is to know from the start.
const DEFINITIONS: &str = r#"{
    "users": [
        {"name": "guest", "password": "guest", "tags": "administrator"},
        {"name": "probe", "password": "s3cret", "tags": ""}
    ],
    "vhosts": [{"name": "/"}, {"name": "/shop"}],
    "permissions": [
        {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
        {"user": "probe", "vhost": "/", "configure": "^$", "write": "^$", "read": "^$"}
    ],
    "queues": [{"name": "orders", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}]
}"#;

/// The authority of the tests, and what it has signed for `peer.test` and 127.0.0.1, with its key.
const AUTHORITY: &str = include_str!("../../../core/sandbox/tests/attack/tls/authority.pem");
const PAPERS: &str = include_str!("../../../core/sandbox/tests/attack/tls/right.pem");

type Tried<T> = Result<T, Box<dyn Error>>;

/// How long the server may take for what it does not do at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Children that are killed with the test, whatever ends it, and the folder they write to.
struct Broker {
    port: u16,
    tls_port: u16,
    folder: PathBuf,
    server: Child,
    /// Erlang's name service. The server would leave one behind as a daemon if it found none.
    names: Child,
}

impl Broker {
    fn start() -> Tried<Broker> {
        let folder = std::env::temp_dir().join(format!("probe-amqp-{}", std::process::id()));
        // One may be there from a process of the same number that could not remove it.
        let _removed = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("home"))?;
        fs::write(folder.join("definitions.json"), DEFINITIONS)?;
        fs::write(folder.join("authority.pem"), AUTHORITY)?;
        fs::write(folder.join("papers.pem"), PAPERS)?;
        let [port, tls_port, distribution, names_port] = free_ports()?;
        let path = |name: &str| folder.join(name).display().to_string();
        let (papers, authority) = (path("papers.pem"), path("authority.pem"));
        let conf = format!(
            "load_definitions = {}\n\
             listeners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.cacertfile = {authority}\nssl_options.certfile = {papers}\nssl_options.keyfile = {papers}\n",
            path("definitions.json")
        );
        fs::write(folder.join("rabbitmq.conf"), conf)?;

        // Killed by the kernel should this process end without having done it.
        let mut names = Command::new("setpriv");
        names.args(["--pdeathsig", "KILL", NAMES, "-address", "127.0.0.1", "-port", &names_port.to_string()]);
        let names = spawn(&mut names, &folder, "epmd.log")?;

        let mut server = Command::new("setpriv");
        server.args(["--pdeathsig", "KILL", SERVER]);
        server.env("HOME", folder.join("home"));
        server.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", names_port.to_string());
        server.env("RABBITMQ_NODENAME", format!("hilum-{}@localhost", std::process::id()));
        server.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", port.to_string());
        server.env("RABBITMQ_DIST_PORT", distribution.to_string());
        for (name, file) in [
            ("RABBITMQ_CONF_ENV_FILE", "no-environment"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "no-plugins"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_PID_FILE", "pid"),
        ] {
            server.env(name, folder.join(file));
        }
        server.env("RABBITMQ_LOGS", "-");
        // Makes the script become the server instead of waiting for it: a signal to the child then reaches the right one.
        server.env("RABBITMQ_ALLOW_INPUT", "1");
        server.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput -start_epmd false");
        let server = spawn(&mut server, &folder, "server.log")?;
        Ok(Broker { port, tls_port, folder, server, names })
    }

    /// Waits until the probe passes, and gives up when the server does.
    fn await_pass(&mut self) -> Tried<()> {
        let start = Instant::now();
        loop {
            let outcome = self.ask("", Duration::from_secs(5));
            if outcome == Outcome::Pass {
                return Ok(());
            }
            let ended = [self.names.try_wait(), self.server.try_wait()].into_iter().any(|end| !matches!(end, Ok(None)));
            if ended || start.elapsed() > PATIENCE {
                let log = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
                let logs = format!("{}\n{}", log("epmd.log"), log("server.log"));
                return Err(format!("{SERVER} ({PACKAGE}) is not there: {outcome:?}\n{logs}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks with more settings, each beginning with a comma.
    fn ask(&self, more: &str, timeout: Duration) -> Outcome {
        ask(self.port, more, timeout)
    }

    fn passes(&self, more: &str) {
        assert_eq!(self.ask(more, PATIENCE), Outcome::Pass, "{more}");
    }

    fn fails(&self, more: &str, said: &[&str]) {
        let outcome = self.ask(more, PATIENCE);
        assert!(
            matches!(&outcome, Outcome::Fail(why) if said.iter().all(|said| why.contains(said))),
            "{more}: {outcome:?}"
        );
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.server.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {name}");
    }

    /// A client of our own that has a channel open.
    fn client(&self) -> Tried<Client> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Client { stream };
        client.exchange(b"AMQP\x00\x00\x09\x01", [10, 10])?;
        let login = b"\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US";
        client.exchange(&method(0, 10, 11, login), [10, 30])?;
        let limits = method(0, 10, 31, b"\x00\x01\x00\x02\x00\x00\x00\x00");
        client.exchange(&[limits, method(0, 10, 40, b"\x01/\x00\x00")].concat(), [10, 41])?;
        client.exchange(&method(1, 20, 10, b"\x00"), [20, 11])?;
        Ok(client)
    }

    /// Puts a message into the queue `orders`.
    fn publish(&self, body: &[u8]) -> Tried<()> {
        let mut client = self.client()?;
        let size = u64::try_from(body.len())?.to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &[0, 0]].concat();
        let message = [method(1, 60, 40, b"\x00\x00\x00\x06orders\x00"), frame(2, 1, &header), frame(3, 1, body)];
        // The end of the channel is confirmed after all that came on it has been done.
        let end = method(1, 20, 40, b"\x00\xc8\x00\x00\x00\x00\x00");
        client.exchange(&[message.concat(), end].concat(), [20, 41])?;
        client.exchange(&method(0, 10, 50, b"\x00\xc8\x00\x00\x00\x00\x00"), [10, 51])
    }

    /// A consumer of the queue `orders` for as long as it is held. It takes what is there and confirms nothing.
    fn consume(&self) -> Tried<Client> {
        let mut client = self.client()?;
        client.exchange(&method(1, 60, 20, b"\x00\x00\x06orders\x00\x00\x00\x00\x00\x00"), [60, 21])?;
        Ok(client)
    }

    fn log(&self) -> Tried<String> {
        Ok(fs::read_to_string(self.folder.join("server.log"))?)
    }
}

/// As much of a client as fills and empties a queue.
struct Client {
    stream: TcpStream,
}

impl Client {
    /// Sends bytes and waits for the method that answers them.
    fn exchange(&mut self, bytes: &[u8], wanted: [u16; 2]) -> Tried<()> {
        self.stream.write_all(bytes)?;
        let mut prefix = [0; 7];
        self.stream.read_exact(&mut prefix)?;
        let [_, _, _, size @ ..] = prefix;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size))?];
        self.stream.read_exact(&mut payload)?;
        self.stream.read_exact(&mut [0])?;
        if payload.starts_with(&wanted.map(u16::to_be_bytes).concat()) {
            return Ok(());
        }
        Err(format!("wanted method {wanted:?}, not {}", payload.escape_ascii()).into())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.names] {
            // Both may have ended before; there is nobody left to tell.
            let _ended = child.kill();
            let _status = child.wait();
        }
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(command: &mut Command, folder: &Path, log: &str) -> Tried<Child> {
    let log = File::create(folder.join(log))?;
    let errors = log.try_clone()?;
    let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    child.map_err(|error| format!("cannot run setpriv, which Debian's package util-linux has: {error}").into())
}

/// Asks whoever listens at `port`, with more settings, each beginning with a comma.
fn ask(port: u16, more: &str, timeout: Duration) -> Outcome {
    let host = NativeHost::new(timeout).with_grant("127.0.0.1", port);
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let settings = format!(r#"{{"host": "127.0.0.1", "port": {port}{more}}}"#);
    hilum_plugin::check::<ProbeAmqp>(&Request { settings, timeout_ms, attempt: 1 }, &host)
}

/// Ports nobody listens at.
fn free_ports<const COUNT: usize>() -> Tried<[u16; COUNT]> {
    // All are held until all are known, so that they differ.
    let held: Vec<TcpListener> =
        (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xce]].concat()
}

fn method(channel: u16, class: u16, number: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes(), &number.to_be_bytes(), arguments].concat())
}

/// Asks again until the answer is the wanted one: what another client did is seen a little later.
fn eventually(wanted: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "never came true: {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rabbitmq_is_told_from_a_rabbitmq_in_trouble() -> Tried<()> {
    assert!(Path::new(SERVER).exists(), "there is no {SERVER}; {PACKAGE}");
    let mut broker = Broker::start()?;
    broker.await_pass()?;

    step("a login passes");
    broker.passes("");
    broker.passes(r#", "username": "probe", "password": "s3cret""#);

    step("a wrong password or user fails with the server's reason");
    for more in [r#", "password": "wrong""#, r#", "username": "nobody""#, r#", "password": """#] {
        broker.fails(
            more,
            &["403 \"ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN", "; check username and"],
        );
    }

    step("with TLS only the right server passes");
    let tls =
        |port: u16, more: &str| ask(port, &format!(r#", "tls": {{"ca": {}{more}}}"#, quoted(AUTHORITY)), PATIENCE);
    assert_eq!(tls(broker.tls_port, ""), Outcome::Pass);
    assert_eq!(tls(broker.tls_port, r#", "server-name": "peer.test""#), Outcome::Pass);
    let other = tls(broker.tls_port, r#", "server-name": "other.test""#);
    assert!(matches!(&other, Outcome::Fail(why) if why.contains("cannot agree on TLS with 127.0.0.1")), "{other:?}");
    let plain = ask(broker.tls_port, "", PATIENCE);
    assert!(matches!(&plain, Outcome::Fail(why) if why.contains("write tls = {}")), "{plain:?}");
    let swapped = tls(broker.port, "");
    assert!(matches!(&swapped, Outcome::Fail(why) if why.contains("it does not speak TLS")), "{swapped:?}");

    step("a virtual host that is not there or not allowed fails with the server's reason");
    broker.fails(
        r#", "virtual-host": "/none""#,
        &["virtual host \"/none\" with 530 \"NOT_ALLOWED - vhost /none not found"],
    );
    broker.fails(
        r#", "virtual-host": "/shop""#,
        &["530 \"NOT_ALLOWED - ", "refused for user 'guest'", "; check virtual-"],
    );

    step("a queue passes, and needs no right of the user's");
    broker.passes(r#", "queue": "orders", "max-messages": 0, "min-consumers": 0"#);
    broker.passes(r#", "queue": "orders", "username": "probe", "password": "s3cret""#);

    step("a queue that is not there fails with the server's reason");
    broker.fails(r#", "queue": "none""#, &["404 \"NOT_FOUND - no queue 'none' in vhost '/'\"; check queue"]);

    step("messages are counted");
    broker.publish(b"first")?;
    broker.publish(b"second")?;
    let most = r#", "queue": "orders", "max-messages": 1"#;
    eventually("two messages are ready", || broker.ask(most, PATIENCE) != Outcome::Pass);
    broker.fails(most, &["too many messages in queue \"orders\": 2, max-messages is 1"]);
    broker.passes(r#", "queue": "orders", "max-messages": 2"#);

    step("consumers are counted, and what they hold is not");
    let least = r#", "queue": "orders", "min-consumers": 1, "max-messages": 0"#;
    broker.fails(
        r#", "queue": "orders", "min-consumers": 1"#,
        &["too few consumers at queue \"orders\": 0, min-consumers is 1"],
    );
    let consumer = broker.consume()?;
    eventually("a consumer is there", || broker.ask(least, PATIENCE) == Outcome::Pass);
    drop(consumer);
    eventually("the consumer is gone", || broker.ask(least, PATIENCE) != Outcome::Pass);

    step("the server's log has no complaint about a login that passed");
    let before = complaints(&broker.log()?);
    broker.passes(r#", "queue": "orders""#);
    broker.fails(r#", "queue": "none""#, &["404"]);
    eventually("the server has noted the ends", || {
        let log = broker.log().unwrap_or_default();
        log.matches("accepting AMQP connection").count() == log.matches("closing AMQP connection").count()
    });
    assert_eq!(complaints(&broker.log()?), before);

    step("a stopped server fails in time, and passes once it goes on");
    broker.signal("STOP");
    let start = Instant::now();
    let outcome = broker.ask("", Duration::from_millis(500));
    assert!(
        matches!(&outcome, Outcome::Fail(why) if why.contains("timed out: no answer to the header")),
        "{outcome:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    broker.signal("CONT");
    broker.passes("");

    step("a server that is gone fails");
    broker.server.kill()?;
    broker.server.wait()?;
    broker.fails("", &["connection refused"]);
    Ok(())
}

/// Lines about connections that a client ended without a word.
fn complaints(log: &str) -> usize {
    log.matches("client unexpectedly closed TCP connection").count()
}

/// Names what is tried, for whoever reads why it failed.
fn step(name: &str) {
    println!("step: {name}");
}
