//! The probe against the server of Debian's package dnsmasq-base.

use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hilum_plugin::native::NativeHost;
use hilum_plugin::{Outcome, Request};
use probe_dns::ProbeDns;

type Tested = Result<(), Box<dyn std::error::Error>>;

/// Time for a server to come up and for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for datagrams and for connections.
fn free_port() -> Result<u16, Box<dyn std::error::Error>> {
    for _ in 0..50 {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let port = udp.local_addr()?.port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free for both".into())
}

impl Server {
    /// Starts a server and waits until it answers.
    fn start() -> Result<Server, Box<dyn std::error::Error>> {
        // Someone else may take the free port before the server does.
        for _ in 0..5 {
            let mut server = Server::spawn()?;
            let started = Instant::now();
            while server.child.try_wait()?.is_none() {
                if server.check("web.test", "") == Outcome::Pass {
                    return Ok(server);
                }
                if started.elapsed() > PATIENCE {
                    return Err("dnsmasq does not answer".into());
                }
                sleep(Duration::from_millis(20));
            }
        }
        Err("dnsmasq ended five times".into())
    }

    fn spawn() -> Result<Server, Box<dyn std::error::Error>> {
        let port = free_port()?;
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--no-daemon",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--pid-file=",
            "--local=/test/",
            "--host-record=web.test,192.0.2.1,2001:db8::1",
            "--host-record=web.test,192.0.2.2",
            "--cname=www.test,web.test",
            "--cname=alias.test,www.test",
            "--mx-host=test,mail.test,10",
            "--srv-host=_pg._tcp.test,db.test,5432,0,5",
            "--txt-record=test,v=spf1 -all",
            "--ptr-record=9.2.0.192.in-addr.arpa,printer.test",
        ]);
        command.arg(format!("--port={port}"));
        for number in 0..40 {
            command.arg(format!("--txt-record=long.test,{number}-{}", "x".repeat(200)));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run dnsmasq: {error}; install Debian's package dnsmasq-base"))?;
        Ok(Server { child, port })
    }

    /// Probes for `name` with `rest` after it in the settings.
    fn check(&self, name: &str, rest: &str) -> Outcome {
        let settings = format!(r#"{{"name": "{name}", "server": "127.0.0.1:{}"{rest}}}"#, self.port);
        let host = NativeHost::new(Duration::from_secs(5)).with_grant("127.0.0.1", self.port);
        hilum_plugin::check::<ProbeDns>(&Request { settings, timeout_ms: 5000, attempt: 1 }, &host)
    }

    fn fails(&self, name: &str, rest: &str, said: &str) {
        let outcome = self.check(name, rest);
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{name}: {outcome:?}, not {said:?}");
    }
}

#[test]
fn a_server_with_the_records_passes_by_udp_and_by_tcp() -> Tested {
    let server = Server::start()?;
    for transport in ["", r#", "transport": "tcp""#] {
        for (name, rest) in [
            ("web.test", r#""type": "A", "expect": ["192.0.2.2", "192.0.2.1"], "min-records": 2"#),
            ("WEB.test.", r#""type": "AAAA", "expect": "2001:db8::1""#),
            ("www.test", r#""expect": "192.0.2.1""#),
            ("alias.test", r#""expect": "192.0.2.1""#),
            ("alias.test", r#""type": "CNAME", "expect": "www.test""#),
            ("test", r#""type": "MX", "expect": "10 mail.test""#),
            ("_pg._tcp.test", r#""type": "SRV", "expect": "0 5 5432 db.test""#),
            ("test", r#""type": "TXT", "expect": "v=spf1 -all""#),
            ("192.0.2.9", r#""type": "PTR", "expect": "printer.test""#),
            ("192.0.2.1", r#""type": "PTR", "expect": "web.test""#),
            ("long.test", r#""type": "TXT", "min-records": 40"#),
        ] {
            assert_eq!(server.check(name, &format!(", {rest}{transport}")), Outcome::Pass, "{name} {rest}{transport}");
        }
    }
    Ok(())
}

#[test]
fn a_server_without_them_fails_with_its_word() -> Tested {
    let server = Server::start()?;
    server.fails("nothing.test", "", "NXDOMAIN: there is no such name");
    server.fails("web.test", r#", "type": "MX""#, "no data");
    server.fails("elsewhere.example", "", "REFUSED: it does not answer us");
    server.fails("web.test", r#", "expect": "192.0.2.7""#, "\"192.0.2.7\" not there; it has \"192.0.2.");
    server.fails("web.test", r#", "min-records": 3"#, "2 of at least 3 records");
    Ok(())
}

#[test]
fn a_server_that_is_gone_fails_at_once() -> Tested {
    let mut server = Server::start()?;
    server.child.kill()?;
    server.child.wait()?;
    server.fails("web.test", "", "nobody listens there");
    server.fails("web.test", r#", "transport": "tcp""#, "connection refused");
    Ok(())
}
