//! Every wait ends when it says, in virtual time: the clock jumps to the next timer whenever all tasks wait.
#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

use std::rc::Rc;
use std::time::Duration;

use hilum_sys::channel::Channel;
use hilum_wire::Overview;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, sleep};

use crate::connection::Stream;
use crate::link::Link;
use crate::listener;
use crate::server::Server;

/// Runs `talk` with a client's socket whose other end is served; PID 1 is there and silent.
fn with_client<F: AsyncFnOnce(UnixStream, Rc<Server>)>(talk: F) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let (_pid1, channel) = Channel::pair().unwrap();
        let server = Rc::new(Server::new(Link::new(channel).unwrap()));
        let (client, served) = UnixStream::pair().unwrap();
        listener::seat(&server, Stream::Unix(served));
        talk(client, server).await;
    });
}

async fn rest(client: &mut UnixStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends a request and checks when it is answered, and with what status.
fn expect_after(request: &'static str, length: Duration, status: &str, overview: Option<Overview>) {
    with_client(async |mut client, server| {
        if let Some(overview) = overview {
            server.snapshot.borrow_mut().set_overview(Box::new(Overview { complete: true, ..overview }));
        }
        let begun = Instant::now();
        let request = format!("GET {request} HTTP/1.0\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{answer}");
        is_about(begun, length);
    });
}

/// Timers have a grain of a millisecond.
#[track_caller]
fn is_about(begun: Instant, expected: Duration) {
    let elapsed = begun.elapsed();
    assert!(elapsed >= expected && elapsed <= expected + Duration::from_millis(5), "{elapsed:?}, not {expected:?}");
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    with_client(async |mut client, server| {
        let begun = Instant::now();
        assert_eq!(rest(&mut client).await, "");
        is_about(begun, Duration::from_secs(30));
        assert_eq!(server.seats.borrow().taken(), 0);
    });
}

#[test]
fn silence_begins_anew_after_each_answer() {
    with_client(async |mut client, _| {
        sleep(Duration::from_secs(29)).await;
        client.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let begun = Instant::now();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 404 "));
        is_about(begun, Duration::from_secs(30));
    });
}

#[test]
fn a_slow_head_is_answered_408_however_it_trickles() {
    with_client(async |mut client, _| {
        sleep(Duration::from_secs(20)).await;
        let begun = Instant::now();
        for byte in b"GET /" {
            client.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(900)).await;
        }
        let mut first = [0; 12];
        client.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 408");
        is_about(begun, Duration::from_secs(5));
        // It is told before it is cut off, and not waited for long.
        assert!(rest(&mut client).await.ends_with("request head not complete within 5 s\n"));
        drop(client);
    });
}

#[test]
fn a_reader_too_slow_is_given_up() {
    with_client(async |mut client, server| {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";
        let requests = request.repeat(8 * 1024 / request.len());
        // The answers fill both sockets many times over.
        client.write_all(&requests).await.unwrap();
        client.write_all(&requests).await.unwrap();
        let begun = Instant::now();
        while server.seats.borrow().taken() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        is_about(begun, Duration::from_secs(10));
        assert_eq!(server.unsent.get(), 0);
    });
}

#[test]
fn a_pid_1_that_does_not_answer_is_waited_for_half_a_second() {
    let half = Duration::from_millis(500);
    expect_after("/liveness", half, "503", Some(Overview { alive: true, ..Overview::default() }));
    expect_after("/", half, "503", Some(Overview::default()));
    expect_after("/liveness?wait=0s", half, "503", Some(Overview::default()));
    expect_after("/liveness?wait=3s", Duration::from_secs(3), "503", Some(Overview::default()));
}

#[test]
fn a_first_report_is_waited_for_half_a_second() {
    for target in ["/status", "/metrics", "/readiness", "/startup", "/debug/vars"] {
        expect_after(target, Duration::from_millis(500), "503", None);
    }
    expect_after("/readiness?wait=2s", Duration::from_secs(2), "503", None);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let down = || Some(Overview::default());
    expect_after("/readiness", Duration::ZERO, "503", down());
    expect_after("/readiness?wait=1m", Duration::from_secs(60), "503", down());
    expect_after("/startup?wait", Duration::from_secs(30), "503", down());
    expect_after("/readiness?wait=1m", Duration::ZERO, "200", Some(Overview { ready: true, ..Overview::default() }));
}

#[test]
fn a_client_that_leaves_while_it_waits_is_noticed_at_once() {
    with_client(async |mut client, server| {
        server.snapshot.borrow_mut().set_overview(Box::new(Overview { complete: true, ..Overview::default() }));
        client.write_all(b"GET /readiness?wait=1h HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        while server.held.get() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        let begun = Instant::now();
        while server.seats.borrow().taken() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() < Duration::from_millis(10));
        assert_eq!(server.held.get(), 0);
    });
}

/// The measure of what a thousand idle connections cost.
#[test]
fn a_connection_is_a_small_future() {
    with_client(async |_client, server| {
        let (_other, served) = UnixStream::pair().unwrap();
        let seat = crate::server::Seat::new(Rc::clone(&server), 0);
        let size = size_of_val(&crate::connection::converse(Stream::Unix(served), seat));
        assert!(size <= 2_048, "{size} bytes");
    });
}
