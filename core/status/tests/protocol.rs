//! What PID 1 sees, and what clients see of a PID 1 that is new, slow or gone.
#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod stage;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;

use hilum_status::{ServeError, serve};
use hilum_wire::{FromStatus, Mode, Overview, ToStatus, VERSION};
use stage::{Client, Pid1, Worker, running, well};

/// What `serve` returns when PID 1 says `frames` and hangs up.
fn served(frames: &[&[u8]]) -> Result<(), ServeError> {
    let (pid1, channel) = Pid1::pair();
    for frame in frames {
        pid1.send_raw(frame);
    }
    drop(pid1);
    serve(channel, Vec::new(), Vec::new())
}

fn frame(message: &ToStatus) -> Vec<u8> {
    hilum_wire::encode(message).unwrap()
}

#[test]
fn the_end_of_the_channel_is_the_end_of_the_worker() {
    assert!(served(&[]).is_ok());
    assert!(served(&[&frame(&ToStatus::Hello { version: VERSION })]).is_ok());
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    let error = served(&[&frame(&ToStatus::Hello { version: VERSION + 6 })]).unwrap_err();
    assert!(matches!(error, ServeError::Version { ours: VERSION, theirs } if theirs == VERSION + 6));
    assert!(error.to_string().contains(&format!("protocol {VERSION}, pid 1 speaks {}", VERSION + 6)), "{error}");
}

#[test]
fn what_is_no_message_ends_the_worker() {
    let hello = frame(&ToStatus::Hello { version: VERSION });
    assert!(matches!(served(&[&hello, b"{}"]), Err(ServeError::Frame(_))));
    assert!(matches!(served(&[&hello, b"\xff"]), Err(ServeError::Frame(_))));
    assert!(matches!(served(&[&frame(&ToStatus::Pong { nonce: 1 })]), Err(ServeError::NoHello)));
}

#[test]
fn what_is_no_listener_is_named_by_its_place() {
    let (_pid1, channel) = Pid1::pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/").unwrap();
    let error = serve(channel, vec![OwnedFd::from(listener), OwnedFd::from(file)], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("status socket 1"), "{error}");
}

#[test]
fn a_descriptor_that_does_not_listen_disturbs_no_other() {
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    let (pid1, channel) = Pid1::pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = vec![OwnedFd::from(datagram), OwnedFd::from(listener)];
    let serving = std::thread::spawn(move || serve(channel, listeners, Vec::new()));
    pid1.expect_hello();
    pid1.send(&ToStatus::Hello { version: VERSION });
    pid1.send(&ToStatus::Overview(Box::new(Overview { complete: true, ..well() })));
    let mut client = Client::new(TcpStream::connect(address).unwrap());
    client.send("GET /readiness HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with("ok\n"));
    drop(pid1);
    serving.join().unwrap().unwrap();
}

/// Requests that came first are answered once everything is known, and with nothing less.
#[test]
fn a_new_worker_waits_to_be_told_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early = Client::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    early.send("GET / HTTP/1.0\r\n\r\n");
    let (pid1, channel) = Pid1::pair();
    let serving = std::thread::spawn(move || serve(channel, vec![OwnedFd::from(listener)], Vec::new()));
    pid1.expect_hello();
    pid1.send(&ToStatus::Hello { version: VERSION });
    // The request is being served: it asks for a sign of life.
    assert_eq!(pid1.receive(), Some(FromStatus::Ping { nonce: 1 }));
    pid1.send(&ToStatus::Pong { nonce: 1 });
    pid1.send(&ToStatus::Overview(Box::new(Overview { services: 2, ..well() })));
    pid1.send(&ToStatus::Service { index: 1, report: Box::new(running("db")) });
    pid1.send(&ToStatus::Service { index: 0, report: Box::new(running("web")) });
    let answer = early.rest();
    assert_eq!(answer.matches("\"Command\":\"/app/").count(), 2, "{answer}");
    drop(pid1);
    serving.join().unwrap().unwrap();
}

#[test]
fn a_worker_that_is_told_nothing_says_so() {
    let worker = Worker::start_untold();
    for target in ["/", "/status", "/liveness", "/readiness", "/metrics", "/debug/vars", "/service/web"] {
        assert_eq!(worker.get(target), (503, "pid 1 has not reported yet\n".into()), "{target}");
    }
    worker.pid1.send(&ToStatus::Overview(Box::new(Overview { mode: Mode::Watch, ..well() })));
    assert_eq!(worker.get("/").0, 503, "an array that is empty for want of a look");
    worker.tell(Overview { mode: Mode::Watch, ..well() }, vec![]);
    assert_eq!(worker.get("/"), (200, "[]".into()));
    worker.end();
}

#[test]
fn a_dead_loop_is_said_to_be_dead() {
    let worker = Worker::start(well(), vec![running("web")]);
    assert_eq!(worker.get("/liveness"), (200, "ok\n".into()));
    worker.answers.store(false, Ordering::SeqCst);
    // The last pong counts for 100 ms.
    while worker.get("/liveness").0 == 200 {}
    for target in ["/liveness", "/service/web/liveness", "/"] {
        assert_eq!(worker.get(target), (503, "pid 1 does not answer\n".into()), "{target}");
    }
    assert_eq!(worker.get("/readiness").0, 200);
    worker.end();
}

/// Many requests, few pings: one under way, ten a second.
#[test]
fn pings_are_shared() {
    let worker = Worker::start(well(), vec![running("web")]);
    let begun = std::time::Instant::now();
    let mut clients: Vec<Client> = (0..50).map(|_| worker.connect()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            client.send("GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer().1, "ok\n");
        }
    }
    let most = begun.elapsed().as_millis() / 100 + 1;
    let pings = worker.pings.load(Ordering::SeqCst);
    assert!(pings >= 1 && u128::from(pings) <= most, "{pings} pings, {most} allowed");
    worker.end();
}

/// The sockets outlive a worker: its successor serves those who came in between.
#[test]
fn a_successor_takes_over_the_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = Worker::start_on(listener.try_clone().unwrap());
    first.tell(well(), vec![running("web")]);
    assert_eq!(first.get("/liveness").0, 200);
    first.end();
    let mut between = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    between.write_all(b"GET /readiness HTTP/1.0\r\n\r\n").unwrap();
    let second = Worker::start_on(listener);
    second.tell(well(), vec![running("web")]);
    let mut answer = String::new();
    between.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    second.end();
}
