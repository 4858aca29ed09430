//! What clients see: addresses, methods, versions, persistence, and what happens to requests that are none.
#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

#[expect(dead_code, reason = "this file uses a part of the stage")]
mod stage;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use hilum_wire::{ExitReport, Mode, Overview, ProbeReport, ServiceReport, ToStatus, VERSION};
use stage::{Client, Pid1, Worker, running, well};

fn worker() -> Worker {
    Worker::start(well(), vec![running("web"), running("d b/\u{e4}")])
}

const HTTP_1_1: &str = " HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn every_address_answers() {
    let worker = worker();
    for (target, status, needle) in [
        (
            "/",
            200,
            "[{\"Arguments\":[\"-x\"],\"Command\":\"/app/web\",\"EndTime\":\"0001-01-01T00:00:00Z\",\"ExitCode\":0,",
        ),
        ("/status", 200, "{\"version\":1,\"hilum\":\"0.1.0\",\"mode\":\"run\","),
        ("/liveness", 200, "ok\n"),
        ("/readiness", 200, "ok\n"),
        ("/startup", 200, "ok\n"),
        ("/metrics", 200, "hilum_service_up{service=\"web\"} 1\n"),
        ("/debug/vars", 200, "\"memstats\":{\"Alloc\":"),
        ("/service/web", 200, "{\"name\":\"web\","),
        ("/service/web/", 200, "{\"name\":\"web\","),
        ("/service/d%20b%2F%C3%A4/readiness", 200, "ok\n"),
        ("/service/web/liveness?wait=1s", 200, "ok\n"),
        ("/service/web/startup", 200, "ok\n"),
        ("/service/web/metrics", 200, "hilum_service_up{service=\"web\"} 1\n"),
        ("http://elsewhere:1/readiness?x", 200, "ok\n"),
        ("/service/none", 404, "not found"),
        ("/service/none/readiness?wait=1h", 404, "not found"),
        ("/service/none/metrics", 404, "not found"),
        ("/favicon.ico", 404, "not found"),
        ("//", 404, "not found"),
        ("/readiness?wait=5", 400, "wait: \"5\" is not a duration; write 5s"),
        ("/service/%ff", 400, "percent"),
        ("/%0", 400, "percent"),
    ] {
        let (found, body) = worker.get(target);
        assert_eq!(found, status, "{target}: {body}");
        assert!(body.contains(needle), "{target}: {body}");
    }
    worker.end();
}

#[test]
fn fields_fit_the_answer() {
    let worker = worker();
    let mut client = worker.connect();
    for (request, expected) in [
        ("/", "application/json"),
        ("/status", "application/json"),
        ("/debug/vars", "application/json; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/readiness", "text/plain; charset=utf-8"),
        ("/none", "text/plain; charset=utf-8"),
    ] {
        client.send(format!("GET {request}{HTTP_1_1}"));
        let (head, _) = client.answer();
        assert!(head.contains(&format!("\r\nContent-Type: {expected}\r\n")), "{request}: {head}");
        assert!(head.contains("\r\nCache-Control: no-store\r\n") && head.contains("\r\nDate: "), "{head}");
    }
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text; version=1.0.0;q=0.8,*/*;q=0.1\r\n\r\n");
    let (head, body) = client.answer();
    assert!(head.contains("application/openmetrics-text; version=1.0.0") && body.ends_with("# EOF\n"), "{head}");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\r\n");
    let (head, body) = client.answer();
    assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n") && body.starts_with("<!doctype html>"));
    assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; "));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json, */*\r\n\r\n");
    assert!(client.answer().1.starts_with("[{\"Arguments\""));
    worker.end();
}

#[test]
fn head_is_get_without_a_body() {
    let worker = worker();
    for target in ["/", "/liveness", "/metrics", "/none"] {
        let get = worker.ask(&format!("GET {target} HTTP/1.0\r\n\r\n"));
        let head = worker.ask(&format!("HEAD {target} HTTP/1.0\r\n\r\n"));
        let (status, length) = (get.get(..12), get.find("\r\nContent-Length: ").unwrap());
        assert_eq!(head.get(..12), status, "{target}");
        assert!(head.ends_with("\r\n\r\n") && !get.ends_with("\r\n\r\n"), "{target}: {head}");
        if target != "/metrics" {
            let line = get.get(length..).unwrap().lines().nth(1);
            assert!(head.contains(line.unwrap()), "{target}: {head}");
        }
    }
    worker.end();
}

#[test]
fn kapos_array_tells_kinds_of_ends_apart() {
    let killed = ExitReport { code: 143, signal: Some("SIGTERM".into()), cause: Some("ttl".into()) };
    let ended = |exit| ServiceReport {
        running: false,
        ended_at: Some(1_700_000_001_000_000_000),
        last_exit: Some(exit),
        ..running("web")
    };
    let worker = Worker::start(Overview { mode: Mode::Supervise, ..well() }, vec![ended(killed)]);
    let (_, body) = worker.get("/");
    assert!(body.contains("\"EndTime\":\"2023-11-14T22:13:21Z\",\"ExitCode\":-1,\"Mode\":\"supervise\""), "{body}");
    assert!(body.contains("\"Status\":\"killed\"") && body.ends_with("\"Wait\":0}]"), "{body}");
    worker.end();
}

#[test]
fn reasons_are_given() {
    let probe = ProbeReport {
        name: "http".into(),
        kind: "readiness".into(),
        passing: Some(false),
        message: "connection refused".into(),
        ..ProbeReport::default()
    };
    let sick = ServiceReport { ready: false, probes: vec![probe], ..running("web") };
    let worker = Worker::start(Overview { ready: false, ..well() }, vec![sick, running("db")]);
    let no = (503, "service web: readiness probe http fails: connection refused\n".to_owned());
    assert_eq!(worker.get("/readiness"), no);
    assert_eq!(worker.get("/service/web/readiness"), no);
    assert_eq!(worker.get("/service/db/readiness").0, 200);
    assert_eq!(worker.get("/readiness?wait=1ms"), no);
    assert_eq!(worker.get("/liveness").0, 200);
    worker.end();
}

#[test]
fn other_methods_are_refused_and_the_answer_is_read_whatever_was_sent() {
    let worker = worker();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = worker.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
    assert!(worker.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let mut client = worker.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    client.send(vec![b'x'; 500_000]);
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    worker.end();
}

#[test]
fn a_body_on_get_is_no_second_request() {
    let worker = worker();
    for field in ["Content-Length: 37", "Transfer-Encoding: chunked"] {
        let body = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = worker.ask(&format!("GET /readiness HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{body}"));
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    worker.end();
}

#[test]
fn connections_last_as_the_version_says() {
    let worker = worker();
    let answer = worker.ask("GET /readiness HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let mut client = worker.connect();
    client.send("GET /readiness HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().0.ends_with("\r\nConnection: keep-alive"));
    client.send(format!("\r\nGET /readiness{HTTP_1_1}"));
    assert_eq!(client.answer().1, "ok\n");
    client.send("GET /readiness HTTP/1.1\nHost: a\nConnection: close\n\n");
    assert!(client.rest().ends_with("\r\nConnection: close\r\n\r\nok\n"));
    worker.end();
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let worker = worker();
    let mut client = worker.connect();
    let targets = ["/readiness", "/none", "/service/web/startup", "/liveness", "/status"];
    let statuses = [200, 404, 200, 200, 200];
    let requests: String = targets.iter().cycle().take(1_000).map(|target| format!("GET {target}{HTTP_1_1}")).collect();
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(requests.as_bytes()));
    for status in statuses.iter().cycle().take(1_000) {
        let (head, _) = client.answer();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    sending.join().unwrap().unwrap();
    worker.end();
}

#[test]
fn what_is_no_request_gets_its_number() {
    let worker = worker();
    for (request, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\r\n\r\nhello\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    ] {
        let mut client = worker.connect();
        client.send(request);
        let answer = client.rest();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{:?}: {answer}", String::from_utf8_lossy(request));
    }
    worker.end();
}

#[test]
fn a_head_of_a_megabyte_is_answered_431() {
    let worker = worker();
    for head in [format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)), "x".repeat(1 << 20)] {
        let mut client = worker.connect();
        client.send(head);
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
    }
    assert_eq!(worker.get("/liveness").0, 200);
    worker.end();
}

/// Whatever is sent, the worker answers the next client.
#[test]
fn garbage_is_survived() {
    let worker = worker();
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..300 {
        let mut client = worker.connect();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_vec();
        for _ in 0..64 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let [place, byte, ..] = seed.to_le_bytes();
            if usize::from(place) < bytes.len() {
                bytes.insert(place.into(), byte);
            } else {
                bytes.push(byte);
            }
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        // The worker may have closed its end already.
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
    }
    assert_eq!(worker.get("/liveness").0, 200);
    worker.end();
}

#[test]
fn a_client_that_says_all_and_closes_its_end_is_answered() {
    let worker = worker();
    let mut client = worker.connect();
    client.send(format!("GET /status{HTTP_1_1}GET /liveness{HTTP_1_1}"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    let answer = client.rest();
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answer}");
    worker.end();
}

#[test]
fn wait_answers_as_soon_as_it_is_true() {
    let worker = Worker::start(Overview { ready: false, ..well() }, vec![running("web")]);
    let mut waiting: Vec<Client> = (0..100).map(|_| worker.connect()).collect();
    for client in &mut waiting {
        client.send("GET /readiness?wait=1h HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    let held = |count| while !worker.get("/metrics").1.contains(&format!("\nhilum_http_requests_held {count}\n")) {};
    held(100);
    // Those who go away give their place back.
    waiting.truncate(60);
    held(60);
    worker.tell(well(), vec![running("web")]);
    for client in &mut waiting {
        assert!(client.rest().ends_with("\r\n\r\nok\n"));
    }
    held(0);
    worker.end();
}

#[test]
fn waits_never_take_all_places() {
    let worker = Worker::start(Overview { ready: false, ..well() }, vec![running("web")]);
    let mut waiting: Vec<Client> = (0..512).map(|_| worker.connect()).collect();
    for client in &mut waiting {
        client.send("GET /readiness?wait=1h HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    while !worker.get("/metrics").1.contains("\nhilum_http_requests_held 512\n") {}
    let (status, body) = worker.get("/readiness?wait=1h");
    assert_eq!((status, body.as_str()), (503, "too many requests wait already; ask again without wait\n"));
    assert_eq!(worker.get("/liveness").0, 200);
    worker.end();
}

#[test]
fn unix_sockets_are_served_too() {
    let directory = std::env::temp_dir().join(format!("hilum-status-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (pid1, channel) = Pid1::pair();
    let serving = std::thread::spawn(move || hilum_status::serve(channel, vec![OwnedFd::from(listener)], Vec::new()));
    pid1.expect_hello();
    pid1.send(&ToStatus::Hello { version: VERSION });
    pid1.send(&ToStatus::Overview(Box::new(Overview { complete: true, ..well() })));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"GET /readiness HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    drop(pid1);
    serving.join().unwrap().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}
