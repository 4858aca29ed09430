//! Ten thousand clients that say nothing and a thousand that say little: the next one is answered, and memory stays small.
//!
//! A file of its own, for it counts the descriptors and the memory of the whole process, the clients' included.
#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

#[expect(dead_code, reason = "this file uses a part of the stage")]
mod stage;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stage::{Worker, running, well};

/// Most memory. **Units:** bytes. The clients and the test itself are in it.
const MOST: u64 = 12 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn silent_and_slow_clients_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let room = usize::try_from(limit.maximum.unwrap_or(20_000)).unwrap();
    // Each client is one descriptor here; the worker adds 1,024 and the test a few.
    let silent_count = 10_000.min(room.saturating_sub(2_500));
    assert!(silent_count >= 2_000, "raise the hard limit of open files ({room}) to at least 4,500 to run this test");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // As long a queue as PID 1's; the standard library's is 128, and each connection that does not fit into it costs a second.
    rustix::net::listen(&listener, 4_096).unwrap();
    let worker = Worker::start_on(listener);
    worker.tell(well(), vec![running("web")]);

    let silent: Vec<TcpStream> = (0..silent_count).map(|_| TcpStream::connect(worker.address).unwrap()).collect();
    let mut slow: Vec<TcpStream> = (0..1_000).map(|_| TcpStream::connect(worker.address).unwrap()).collect();
    for byte in "GET /liv".bytes() {
        // One byte each, then a fresh client: that is the pace.
        slow.retain_mut(|client| client.write_all(&[byte]).is_ok());
        let begun = Instant::now();
        assert_eq!(worker.get("/liveness"), (200, "ok\n".into()));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let metrics = worker.get("/metrics").1;
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let open = value("hilum_http_connections_open ");
    assert!((900..=1_024).contains(&open), "{open} open");
    assert!(value("hilum_http_connections_dropped_total ") >= u64::try_from(silent_count).unwrap() - 1_024);
    let resident = resident();
    assert!(resident < MOST, "{resident} bytes resident");

    // The oldest had to go, unanswered.
    let mut oldest = silent.first().unwrap();
    oldest.set_read_timeout(Some(stage::PATIENCE)).unwrap();
    let end = oldest.read(&mut [0; 1]);
    assert!(
        matches!(&end, Ok(0)) || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );

    drop((silent, slow));
    while !worker.get("/metrics").1.contains("\nhilum_http_connections_open 1\n") {}
    worker.end();
}
