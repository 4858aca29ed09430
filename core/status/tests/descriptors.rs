//! A process that runs out of descriptors goes on with fewer connections.
//!
//! A file of its own, for it lowers the limit of the whole process.
#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

#[expect(dead_code, reason = "this file uses a part of the stage")]
mod stage;

use std::net::TcpListener;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stage::{Client, Worker, running, well};

#[test]
fn the_newest_is_served_when_descriptors_run_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || Client::new(std::net::TcpStream::connect(address).unwrap());
    let mut clients: Vec<Client> = (0..100).map(|_| connect()).collect();
    let open = u64::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap();
    let limit = getrlimit(Resource::Nofile);
    // Enough for the worker itself and about 30 connections.
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 40), ..limit }).unwrap();
    let worker = Worker::start_on(listener);
    worker.tell(well(), vec![running("web")]);
    let newest = clients.last_mut().unwrap();
    newest.send("GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(newest.answer().1, "ok\n");
    newest.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let metrics = newest.answer().1;
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert!(value("hilum_http_accept_errors_total ") >= 1, "{metrics}");
    assert!(value("hilum_http_connections_limit ") <= 40, "{metrics}");
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(worker.get("/liveness").0, 200);
    worker.end();
}
