//! Clients that mean harm: thousands that stay silent, thousands that are slow, and requests that are none.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::run_mode::address;
use crate::stage::boot::pass;
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Init, fixture, peek};

const USR1: u8 = 10;
const TERM: u8 = 15;

fn start() -> Result<(Init, Client, String), Failure> {
    let fixture = fixture()?;
    let mut init = Boot::hilum(&["supervise", "--listen", "127.0.0.1:0", "--", &fixture, "trap", "15:0"]).start()?;
    let address = address(&mut init)?;
    init.line_from("ready")?;
    let client = Client::new(&address);
    client.wait_for("/readiness", 200)?;
    Ok((init, client, address))
}

fn end(mut init: Init) -> Check {
    init.signal(TERM)?;
    init.line_from("signal 15")?;
    same("code", init.wait()?, 0)
}

/// The middle one.
pub(crate) fn median(mut took: Vec<Duration>) -> Option<Duration> {
    took.sort();
    took.get(took.len() / 2).copied()
}

/// Whether a time has not doubled. Below half a millisecond it is the scheduler's noise that is compared.
pub(crate) fn is_within_twice(time: Duration, idle: Duration) -> bool {
    time <= (idle * 2).max(Duration::from_micros(500))
}

/// The median time from a signal to process 1 to the child's word that it has it.
fn signal_latency(init: &mut Init) -> Result<Duration, Failure> {
    let mut took = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        init.signal(USR1)?;
        init.expect_line("signal 10")?;
        took.push(start.elapsed());
    }
    median(took).context("no measurements")
}

/// Checks that the latency, measured before and now, has not doubled. Of a few rounds the best counts: a busy machine only ever adds.
fn not_doubled(idle: Duration, init: &mut Init) -> Check {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        best = best.min(signal_latency(init)?);
        if is_within_twice(best, idle) {
            println!("signals take {best:?} under load, {idle:?} idle");
            return Ok(());
        }
    }
    holds(format!("signals take {best:?} under load, {idle:?} idle"), false)
}

/// Memory of hilum and its workers. **Units:** kB.
fn hilum_memory(init: &mut Init) -> Result<u64, Failure> {
    let pid = init.pid()?;
    let mine = peek::descendants(pid).into_iter().filter(|stat| stat.name != "e2e-fixture");
    mine.map(|stat| peek::memory(stat.pid)).sum()
}

#[test]
fn ten_thousand_silent_and_a_thousand_slow_connections_hold_nobody_up() -> Check {
    hilum_sys::process::raise_descriptor_limit();
    holds("this test needs 12,000 descriptors; raise ulimit -n", hilum_sys::process::descriptor_limit() >= 12_000)?;
    let (mut init, client, address) = start()?;
    let idle = signal_latency(&mut init)?;
    let quiet = hilum_memory(&mut init)?;
    let mut silent = Vec::new();
    for _ in 0..10_000 {
        silent.push(TcpStream::connect(&address).context(format!("connection {}", silent.len()))?);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            // A byte a second each, spread over the second; one that is dropped comes back.
            let head = b"GET /liveness HTTP/1.1\r\nHost: a-host-with-a-name-that-takes-its-time\r\n";
            let mut streams = Vec::new();
            for _ in 0..1_000 {
                streams.push((TcpStream::connect(&address)?, 0_usize));
            }
            while !stop.load(Ordering::Relaxed) {
                for part in streams.chunks_mut(50) {
                    for (stream, sent) in part {
                        let byte = head.get(*sent % head.len()).copied().unwrap_or(b'x');
                        *sent += 1;
                        if stream.write_all(&[byte]).is_err() {
                            *stream = TcpStream::connect(&address)?;
                            *sent = 0;
                        }
                    }
                    pass(Duration::from_millis(50))?;
                }
            }
            Check::Ok(())
        });
        let mut check = || {
            let mut slowest = Duration::ZERO;
            for _ in 0..50 {
                let start = Instant::now();
                same("liveness", client.get("/liveness")?.status, 200)?;
                slowest = slowest.max(start.elapsed());
                pass(Duration::from_millis(50))?;
            }
            holds(format!("liveness took {slowest:?}"), slowest < Duration::from_secs(1))?;
            let memory = hilum_memory(&mut init)?;
            println!("slowest answer {slowest:?}; memory {memory} kB, quiet {quiet} kB");
            holds(format!("{memory} kB of memory"), memory < 24 * 1024)?;
            not_doubled(idle, &mut init)
        };
        let checked = check();
        stop.store(true, Ordering::Relaxed);
        let slow = slow.join().unwrap_or_else(|_| crate::stage::fail("the slow clients panicked"));
        checked.and(slow)
    })?;
    drop(silent);
    // It recovers: a quick answer, and the memory of a thousand connections given back or at least not growing when all of it comes again.
    let start = Instant::now();
    same("readiness", client.get("/readiness")?.status, 200)?;
    holds(format!("an answer took {:?} afterwards", start.elapsed()), start.elapsed() < Duration::from_secs(1))?;
    let after = hilum_memory(&mut init)?;
    holds(format!("{after} kB afterwards"), after < 24 * 1024)?;
    end(init)
}

/// Sends bytes and reads all that comes back.
fn exchange(address: &str, request: &[u8]) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(crate::stage::DEADLINE))?;
    // It may answer and close before it has all.
    let _sent = stream.write_all(request);
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && !bytes.is_empty() => {}
        Err(error) => return crate::stage::fail(format!("no answer to {} bytes: {error}", request.len())),
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn requests_that_are_none_get_the_right_refusal() -> Check {
    let (init, client, address) = start()?;
    let long = "x".repeat(1 << 20);
    let many = "A: b\r\n".repeat(20_000);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "a head of 1 MB in one line",
            format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes(),
            &["414", "431"],
        ),
        ("a header of 1 MB", format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n").into_bytes(), &["431"]),
        ("20,000 headers", format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n").into_bytes(), &["431"]),
        ("a target that is no UTF-8", b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), &["400"]),
        (
            "an escape that is no UTF-8",
            b"GET /service/%ff%fe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec(),
            &["400", "404"],
        ),
        (
            "a header that is no UTF-8",
            b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\xfe\r\nConnection: close\r\n\r\n".to_vec(),
            &["200", "400"],
        ),
        ("no HTTP at all", b"hello\r\n\r\n".to_vec(), &["400"]),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &["400"]),
        ("another version", b"GET / HTTP/9.9\r\nHost: h\r\n\r\n".to_vec(), &["400", "505"]),
        (
            "two lengths",
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
            &["400"],
        ),
        // May be answered, but the connection must end with it (RFC 9112, 6.1): `exchange` reads to the end.
        (
            "a length and chunks",
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            &["200", "400"],
        ),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &["400"]),
    ];
    for (what, request, codes) in cases {
        let answer = exchange(&address, &request).context(what)?;
        let code = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        holds(format!("{what}: {}", answer.chars().take(200).collect::<String>()), codes.contains(&code.as_str()))?;
        same("liveness afterwards", client.get("/liveness")?.status, 200)?;
    }
    end(init)
}

#[test]
fn requests_in_a_row_are_answered_in_order() -> Check {
    let (init, _, address) = start()?;
    let request = b"GET /liveness HTTP/1.1\r\nHost: h\r\n\r\nGET /nothing HTTP/1.1\r\nHost: h\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n\
        GET /readiness HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = exchange(&address, request)?;
    let codes: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answer.get(at + 9..at + 12)).collect();
    same(format!("codes in {answer}"), codes, vec!["200", "404", "200", "200"])?;
    // A byte at a time is the same request.
    let mut stream = TcpStream::connect(&address)?;
    stream.set_nodelay(true)?;
    for byte in b"GET /liveness HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte])?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    holds(format!("answer {answer}"), answer.starts_with("HTTP/1.1 200 "))?;
    end(init)
}

#[test]
fn an_old_client_gets_its_answer_and_the_end() -> Check {
    let (init, _, address) = start()?;
    let answer = exchange(&address, b"GET /liveness HTTP/1.0\r\n\r\n")?;
    holds(format!("answer {answer}"), answer.split(' ').nth(1) == Some("200"))?;
    holds(format!("chunks for HTTP/1.0: {answer}"), !answer.to_ascii_lowercase().contains("transfer-encoding"))?;
    end(init)
}

#[test]
fn clients_that_go_away_leave_nothing_behind() -> Check {
    let (mut init, client, address) = start()?;
    let worker = crate::workers::worker(&mut init, "status")?.context("no worker")?;
    let descriptors = || std::fs::read_dir(format!("/proc/{worker}/fd")).map(Iterator::count);
    let before = descriptors()?;
    for round in 0..2_000 {
        let mut stream = TcpStream::connect(&address)?;
        if round % 2 == 0 {
            stream.write_all(b"GET /readiness?wait=1h HTTP/1.1\r\nHo")?;
        }
        drop(stream);
    }
    crate::stage::boot::eventually("the descriptors are given back", || Ok(descriptors()? <= before + 4))?;
    same("liveness", client.get("/liveness")?.status, 200)?;
    end(init)
}
