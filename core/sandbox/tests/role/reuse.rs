//! Instances that serve further calls: when they do, when they must not, and what of a call outlives it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use hilum_wire::{Answer, FromSandbox};

use crate::guest::{ECHO, Guest};
use crate::worker::Worker;

/// A guest whose call fails with which call of its instance it is, written as [`number`] reads it. Told anything, it first does what is given.
macro_rules! counting {
    ($act:literal) => {
        Guest::checking(concat!(
            "(if (local.get $len) (then ",
            $act,
            "))
            (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
            (i32.store8 (i32.const 160) (i32.const 1))
            (i32.store (i32.const 164) (i32.const 1032))
            (i32.store (i32.const 168) (i32.const 3))
            (i32.store8 (i32.const 1032)
              (i32.add (i32.const 97) (i32.and (i32.shr_u (i32.load (i32.const 1024)) (i32.const 8)) (i32.const 15))))
            (i32.store8 (i32.const 1033)
              (i32.add (i32.const 97) (i32.and (i32.shr_u (i32.load (i32.const 1024)) (i32.const 4)) (i32.const 15))))
            (i32.store8 (i32.const 1034) (i32.add (i32.const 97) (i32.and (i32.load (i32.const 1024)) (i32.const 15))))
            (i32.const 160)"
        ))
    };
}

fn number(answer: &Answer) -> u32 {
    let Answer::Fail(text) = answer else { panic!("{answer:?}") };
    text.bytes().fold(0, |number, letter| number * 16 + u32::from(letter - b'a'))
}

/// Which call of its instance a call with `settings` is.
fn count(worker: &mut Worker, settings: &str) -> u32 {
    number(&worker.ask(settings, 10_000).0)
}

#[test]
fn an_instance_serves_one_call_unless_the_plan_has_it_reused() {
    let mut worker = Worker::start();
    worker.load(counting!("(nop)"));
    assert_eq!([count(&mut worker, ""), count(&mut worker, "x")], [1, 1]);
}

#[test]
fn an_instance_serves_a_thousand_calls_and_no_more() {
    let mut worker = Worker::start();
    worker.load_reused(counting!("(nop)"), &[]);
    for call in (1..=1000).chain(1..=3) {
        assert_eq!(count(&mut worker, ""), call);
    }
}

#[test]
fn what_is_asked_without_grants_meets_an_instance_of_its_own() {
    let mut worker = Worker::start();
    worker.load_reused(counting!("(nop)"), &[]);
    assert_eq!([count(&mut worker, ""), count(&mut worker, "")], [1, 2]);
    // The guest would trap if its memory had been counted in.
    assert_eq!(worker.judge(0, "{}"), Answer::Judged(Vec::new()));
    assert_eq!(count(&mut worker, ""), 3);
}

#[test]
fn each_call_is_told_its_own_settings_and_denials_count_for_it_alone() {
    let mut worker = Worker::start();
    worker.load_reused(Guest::checking(ECHO), &[]);
    for text in ["one", "another", ""] {
        assert_eq!(worker.ask(text, 10_000).0, Answer::Fail(text.to_owned()));
    }
    worker.load_reused(
        counting!("(call $connect (local.get $settings) (local.get $len) (i32.const 1) (i32.const 1048))"),
        &[],
    );
    for call in 1..=3 {
        worker.call(call, 0, "127.0.0.1", 1000);
        match worker.receive() {
            FromSandbox::Answered { answer, denied: 1, .. } => assert_eq!(u64::from(number(&answer)), call),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_instance_that_broke_serves_no_further_call() {
    for broken in [counting!("(unreachable)"), counting!("(loop $again (br $again))")] {
        let mut worker = Worker::start();
        worker.load_reused(broken, &[]);
        assert_eq!([count(&mut worker, ""), count(&mut worker, "")], [1, 2]);
        assert!(matches!(worker.ask("x", 50).0, Answer::Broken { .. }));
        assert_eq!([count(&mut worker, ""), count(&mut worker, "")], [1, 2]);
    }
}

#[test]
fn an_instance_serves_quick_and_slow_calls_in_turn() {
    let mut worker = Worker::start();
    // Tens of milliseconds.
    worker.load_reused(
        counting!(
            "(loop $again
              (i32.store (i32.const 1040) (i32.add (i32.load (i32.const 1040)) (i32.const 1)))
              (br_if $again (i32.and (i32.load (i32.const 1040)) (i32.const 0xffffff))))"
        ),
        &[],
    );
    // The first after a slow one begins where that one ended, in the slow lane.
    assert_eq!(["", "x", "x", "", "", "x"].map(|settings| count(&mut worker, settings)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn memory_that_an_instance_took_counts_in_its_further_calls() {
    // 16 pages are what it may have. It begins with one and grows by as many as its settings have letters.
    let mut worker = Worker::start();
    worker.load_reused(counting!("(drop (memory.grow (local.get $len)))"), &[]);
    let of = |letters| "x".repeat(letters);
    assert_eq!([count(&mut worker, &of(7)), count(&mut worker, "")], [1, 2]);
    match worker.ask(&of(9), 10_000).0 {
        Answer::Broken { kind, message } => assert!(kind == "memory" && message.contains("1088 KiB"), "{message}"),
        other => panic!("{other:?}"),
    }
    // With more than half of it an instance is not kept.
    assert_eq!([count(&mut worker, &of(7)), count(&mut worker, &of(1)), count(&mut worker, "")], [1, 2, 1]);
}

#[test]
fn an_instance_that_left_a_connection_open_serves_no_further_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u64::from(listener.local_addr().unwrap().port());
    let mut worker = Worker::start();
    // Where to is the settings, the port the time-out.
    let leaving =
        counting!("(call $connect (local.get $settings) (local.get $len) (local.get $timeout) (i32.const 1048))");
    worker.load_reused(leaving, &["127.0.0.1:*"]);
    assert_eq!([count(&mut worker, ""), number(&worker.ask("127.0.0.1", port).0)], [1, 2]);
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    assert_eq!(count(&mut worker, ""), 1);
}

#[test]
fn as_many_instances_wait_as_there_is_room_for() {
    const CALLS: usize = 6;
    // One that waits in a call for its server, and the same that has seven of sixteen pages meanwhile.
    let small = counting!(
        "(call $connect (local.get $settings) (local.get $len) (local.get $timeout) (i32.const 1048))
         (call $read (i32.load (i32.const 1052)) (i32.const 1) (i32.const 1080))
         (call $close (i32.load (i32.const 1052)))"
    );
    let large = small.with_pages(7);
    for (guest, spares) in [(small, 4), (large, 2)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = u64::from(listener.local_addr().unwrap().port());
        let mut worker = Worker::start();
        worker.load_reused(guest, &["127.0.0.1:*"]);
        for expected in [BTreeMap::from([(1, CALLS)]), BTreeMap::from([(1, CALLS - spares), (2, spares)])] {
            let connected = |id| {
                worker.call(id, 0, "127.0.0.1", port);
                listener.accept().unwrap().0
            };
            let peers: Vec<TcpStream> = (0..6).map(connected).collect();
            let mut numbers = BTreeMap::new();
            for mut peer in peers {
                peer.write_all(b"x").unwrap();
                let FromSandbox::Answered { answer, .. } = worker.receive() else { panic!("no answer") };
                *numbers.entry(number(&answer)).or_default() += 1;
            }
            assert_eq!(numbers, expected);
        }
    }
}

#[test]
fn an_idle_worker_with_waiting_instances_sleeps_for_good() {
    let mut worker = Worker::start();
    worker.load_reused(counting!("(nop)"), &[]);
    assert_eq!([count(&mut worker, ""), count(&mut worker, "")], [1, 2]);
    assert!(worker.is_silent_for(Duration::from_millis(200)));
    let before = worker.naps();
    assert!(worker.is_silent_for(Duration::from_millis(1000)));
    assert_eq!(worker.naps(), before);
    assert_eq!(count(&mut worker, ""), 3);
}
