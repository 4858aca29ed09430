//! Calls beside one another, and the worker's own life.

use std::time::Duration;

use hilum_wire::{Answer, FromSandbox, ToSandbox, VERSION};

use crate::guest::{ECHO, Guest, PASS, SPIN};
use crate::worker::Worker;

#[test]
fn any_number_of_spinning_guests_leave_an_echo_its_turn() {
    let mut worker = Worker::start();
    worker.load_bytes(1, &Guest::checking(SPIN).compiled(), &[]).unwrap();
    worker.load(Guest::checking(ECHO));
    for id in 0..32 {
        worker.call(id, 1, "", 300_000);
    }
    // A spinning guest comes back in five minutes, or for a moment after each tick. How long that is for others `neighbours` measures.
    for _ in 0..21 {
        assert_eq!(worker.ask("x", 10_000).0, Answer::Fail("x".to_owned()));
    }
}

#[test]
fn a_cancelled_call_is_over_and_has_no_answer() {
    let mut worker = Worker::start();
    worker.load_bytes(1, &Guest::checking(SPIN).compiled(), &[]).unwrap();
    worker.load(Guest::checking(ECHO));
    for id in 0..10 {
        worker.call(id, 1, "", 60_000);
    }
    for id in 0..10 {
        worker.send(&ToSandbox::Cancel { id });
    }
    worker.send(&ToSandbox::Cancel { id: 12345 });
    assert_eq!(worker.ask("x", 10_000).0, Answer::Fail("x".to_owned()));
    assert!(worker.is_silent_for(Duration::from_millis(200)));
}

#[test]
fn an_idle_worker_sleeps_for_good() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(SPIN));
    assert!(matches!(worker.ask("", 100).0, Answer::Broken { .. }));
    // The clock notices within a tick that nothing runs any more.
    assert!(worker.is_silent_for(Duration::from_millis(200)));
    let before = worker.naps();
    assert!(worker.is_silent_for(Duration::from_millis(1000)));
    assert_eq!(worker.naps(), before);
    worker.load(Guest::checking(SPIN));
    assert!(matches!(worker.ask("", 100).0, Answer::Broken { .. }));
}

#[test]
fn the_processor_time_of_long_calls_is_told_while_they_go_on_and_that_of_others_is_not() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(SPIN));
    worker.load_bytes(1, &Guest::checking(ECHO).compiled(), &[]).unwrap();
    worker.call(1, 0, "", 2000);
    // What the spinning call used since it was told last, and what all the echoes beside it used.
    let (mut rest, mut echoes, mut count) = (None, Duration::ZERO, 0);
    for id in 2.. {
        count += 1;
        worker.call(id, 1, "", 10_000);
        while let FromSandbox::Answered { id: answered, used_us, .. } = worker.receive() {
            if answered == id {
                echoes += Duration::from_micros(used_us);
                break;
            }
            rest = Some(Duration::from_micros(used_us));
        }
        if rest.is_some() {
            break;
        }
    }
    let rest = rest.unwrap();
    let told: Duration = worker.used.iter().sum();
    assert!(worker.used.iter().all(|used| *used >= Duration::from_millis(20)), "{:?}", worker.used);
    // The spinning one has had most of a processor or, where all of them are busy, some of one.
    assert!(told > Duration::ZERO && told + rest < Duration::from_millis(2200), "{told:?} and {rest:?}");
    // Each is a part of a millisecond; what it waited for its turn is not its own.
    assert!(echoes < count * Duration::from_millis(5), "{echoes:?} of {count}");
}

#[test]
fn more_calls_than_the_limit_are_answered_at_once() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(SPIN));
    for id in 0..256 {
        worker.call(id, 0, "", 60_000);
    }
    let (answer, _) = worker.ask("", 10_000);
    assert!(matches!(&answer, Answer::Unknown(why) if why.contains("256 plugin calls are running")), "{answer:?}");
    for id in 0..256 {
        worker.send(&ToSandbox::Cancel { id });
    }
    worker.load(Guest::checking(PASS));
    assert_eq!(worker.ask("", 10_000).0, Answer::Pass);
}

#[test]
fn ten_thousand_calls_leave_nothing_behind() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(ECHO));
    let mut round = |base: u64| {
        for id in base..base + 100 {
            worker.call(id, 0, "some settings", 10_000);
        }
        for _ in 0..100 {
            assert!(matches!(worker.receive(), FromSandbox::Answered { answer: Answer::Fail(_), .. }));
        }
        // What they held is given back after their answers, and before the next call has its turn.
        worker.ask("", 10_000);
        worker.resident()
    };
    let warm = (0..10).map(|n| round(n * 100)).max().unwrap();
    // The least of many: what the slow lane holds just now, and what this libc keeps for each thread, comes and goes.
    let last = (10..110).map(|n| round(n * 100)).skip(50).min().unwrap();
    assert!(last <= warm + 1024, "from {warm} to {last} KiB");
}

#[test]
fn traps_leave_nothing_behind_either() {
    let mut worker = Worker::start();
    worker.load(Guest::checking("(unreachable)"));
    let mut round = || {
        for _ in 0..100 {
            assert!(matches!(worker.ask("", 10_000).0, Answer::Broken { .. }));
        }
        worker.resident()
    };
    let warm = (0..3).map(|_| round()).max().unwrap();
    let last = (0..10).map(|_| round()).max().unwrap();
    assert!(last <= warm + 1024, "from {warm} to {last} KiB");
}

#[test]
fn the_worker_ends_well_when_pid_1_does() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(SPIN));
    for id in 0..10 {
        worker.call(id, 0, "", 60_000);
    }
    assert!(worker.hang_up().success());
    assert!(Worker::start_silent().hang_up().success());
}

#[test]
fn what_is_not_in_the_protocol_ends_the_worker_with_an_error() {
    let hello = hilum_wire::encode(&ToSandbox::Hello { version: VERSION }).unwrap();
    let wrong = hilum_wire::encode(&ToSandbox::Hello { version: VERSION + 1 }).unwrap();
    let early = hilum_wire::encode(&ToSandbox::Cancel { id: 1 }).unwrap();
    for frames in [
        vec![&wrong[..]],
        vec![&early[..]],
        vec![&hello[..], &hello[..]],
        vec![&hello[..], &b"{}"[..]],
        vec![&b"\xff"[..]],
    ] {
        let mut worker = Worker::start_silent();
        for frame in frames {
            worker.send_raw(frame, None);
        }
        assert!(!worker.end().success());
    }
}

#[test]
fn a_pid_1_that_does_not_read_loses_logs_but_no_answer() {
    let chatty = "(local $left i32) (local.set $left (i32.const 60))
        (loop $again
            (call $log (i32.const 1) (i32.const 256) (i32.const 5))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 128)";
    let mut worker = Worker::start();
    worker.load(Guest::checking(chatty));
    for id in 0..200 {
        worker.call(id, 0, "", 10_000);
    }
    let mut answered: Vec<u64> = (0..200)
        .map(|_| match worker.receive() {
            FromSandbox::Answered { id, answer: Answer::Pass, .. } => id,
            other => panic!("{other:?}"),
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..200).collect::<Vec<u64>>());
}
