//! One guest for each thing a plugin might do to the worker, and what comes of it.

use std::time::Duration;

use hilum_wire::{Answer, FromSandbox};

use crate::guest::{CONNECT, ECHO, Guest, PASS, SPIN, case};
use crate::worker::{MEMORY, Worker};

/// The answer of `guest`; the worker must answer for another plugin afterwards.
fn answer(guest: Guest, timeout_ms: u64) -> (Answer, Duration, Vec<(String, String)>) {
    let mut worker = Worker::start();
    worker.load(guest);
    let (answer, took) = worker.ask("settings", timeout_ms);
    let lines = std::mem::take(&mut worker.lines);
    worker.load(Guest::checking(PASS));
    assert_eq!(worker.ask("{}", 10_000).0, Answer::Pass);
    (answer, took, lines)
}

fn assert_broken(guest: Guest, kind: &str, said: &str) {
    let (answer, _, _) = answer(guest, 10_000);
    match &answer {
        Answer::Broken { kind: found, message } if found == kind && message.contains(said) => {}
        other => panic!("expected {kind} with {said:?}: {other:?}"),
    }
}

#[test]
fn a_spinning_guest_ends_at_its_deadline() {
    for timeout in [1, 30, 200] {
        let (answer, took, _) = answer(Guest::checking(SPIN), timeout);
        let said = format!("did not answer within {timeout} ms");
        assert!(
            matches!(&answer, Answer::Broken { kind, message } if kind == "deadline" && message.contains(&said)),
            "{answer:?}"
        );
        assert!(took >= Duration::from_millis(timeout), "{took:?}");
        // A tick is 1 ms; the rest is for a machine that is busy.
        assert!(took < Duration::from_millis(timeout + 5000), "{took:?}");
    }
}

#[test]
fn a_guest_that_spins_before_it_is_asked_ends_at_the_deadline_too() {
    let spin = "(func $spin (loop $again (br $again))) (start $spin)";
    let mut worker = Worker::start();
    let failure = worker.load_bytes(0, &Guest::checking(PASS).with_fields(spin).compiled(), &[]).unwrap_err();
    assert_eq!(failure.kind, "describe");
    assert!(failure.message.contains("did not answer within 2000 ms"), "{failure:?}");
    worker.load(Guest::checking(PASS));
}

#[test]
fn a_guest_that_wants_more_memory_than_it_may_have_is_stopped() {
    let eat = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)";
    assert_broken(Guest::checking(eat), "memory", "it wanted 1088 KiB of memory and may have 1024 KiB; raise memory");
    let gulp = "(drop (memory.grow (i32.const 65000))) (i32.const 128)";
    assert_broken(Guest::checking(gulp), "memory", "may have 1024 KiB");
    let other = "(table $more 0 funcref) (func $grow (loop $again (drop (table.grow $more (ref.null func) (i32.const 1000))) (br $again)))";
    assert_broken(Guest::checking("(call $grow) (unreachable)").with_fields(other), "memory", "it wanted");
    assert_eq!(MEMORY, 1024 * 1024);
}

#[test]
fn endless_recursion_is_a_stack_overflow_of_the_call() {
    let fields = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    assert_broken(Guest::checking("(call $deep (i32.const 0))").with_fields(fields), "stack", "stack overflow");
}

#[test]
fn traps_are_told_with_their_reason() {
    assert_broken(Guest::checking("(unreachable)"), "trap", "it gave up");
    assert_broken(Guest::checking("(i32.load (i32.const -8))"), "trap", "out of bounds");
    assert_broken(Guest::checking("(i32.div_u (i32.const 1) (i32.const 0))"), "trap", "divide by zero");
    assert_broken(Guest::checking("(unreachable)"), "trap", "(in ");
}

#[test]
fn answers_that_break_the_interface_are_traps() {
    // An address outside memory, a case that does not exist, text that is not UTF-8, text outside memory.
    assert_broken(Guest::checking("(i32.const -4)"), "trap", "it was stopped");
    assert_broken(
        Guest::checking("(i32.store8 (i32.const 160) (i32.const 9)) (i32.const 160)"),
        "trap",
        "it was stopped",
    );
    let text = "(i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 200))
        (i32.store (i32.const 168) (i32.const 4)) (i32.store (i32.const 200) (i32.const -1)) (i32.const 160)";
    assert_broken(Guest::checking(text), "trap", "utf-8");
    let outside = "(i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 65000))
        (i32.store (i32.const 168) (i32.const 65000)) (i32.const 160)";
    assert_broken(Guest::checking(outside), "trap", "it was stopped");
}

#[test]
fn long_texts_are_cut_and_control_characters_replaced() {
    let zeros = "(i32.store8 (i32.const 160) (i32.const 2)) (i32.store (i32.const 164) (i32.const 1024))
        (i32.store (i32.const 168) (i32.const 60000)) (i32.const 160)";
    let (answer, _, _) = answer(Guest::checking(zeros), 10_000);
    let Answer::Unknown(text) = answer else { panic!("{answer:?}") };
    assert!(text.len() <= 1024 && text.len() > 1000, "{}", text.len());
    assert!(text.ends_with('…') && text.starts_with("\u{fffd}\u{fffd}"), "{text}");
    let mut worker = Worker::start();
    worker.load(Guest::checking(ECHO));
    assert_eq!(
        worker.ask("a\r\nlevel=error \x1b[2J\u{202e}", 10_000).0,
        Answer::Fail("a\u{fffd}\u{fffd}level=error \u{fffd}[2J\u{fffd}".to_owned())
    );
}

#[test]
fn a_flood_of_logs_is_cut_and_counted() {
    let flood = "(local $left i32) (local.set $left (i32.const 5000))
        (loop $again
            (call $log (i32.const 3) (i32.const 256) (i32.const 5))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 128)";
    let (answer, _, lines) = answer(Guest::checking(flood), 5000);
    assert_eq!(answer, Answer::Pass);
    assert_eq!(lines.len(), 65, "{lines:?}");
    assert!(lines.iter().take(64).all(|line| *line == ("error".to_owned(), "guest".to_owned())));
    assert!(
        lines.last().is_some_and(|(level, line)| level == "warn" && line.starts_with("4936 more log lines")),
        "{:?}",
        lines.last()
    );
}

#[test]
fn arguments_larger_than_the_boundary_allows_stop_the_guest() {
    let big = "(drop (memory.grow (i32.const 600))) (call $log (i32.const 0) (i32.const 0) (i32.const 30000000)) (i32.const 128)";
    let mut worker = Worker::start();
    let bytes = Guest::checking(big).compiled();
    let file = crate::worker::scratch(&bytes);
    let pin = hilum_sandbox::load::digest(&bytes);
    worker.load_file(0, Some(&file), Some(pin), 64 * 1024 * 1024, &[]).unwrap();
    let (answer, _) = worker.ask("", 5000);
    assert!(matches!(&answer, Answer::Broken { kind, .. } if kind == "trap"), "{answer:?}");
    assert!(worker.lines.is_empty());
}

#[test]
fn connections_that_are_not_granted_are_denied_and_logged() {
    let mut worker = Worker::start();
    worker.load_granted(Guest::checking(CONNECT), &["127.0.0.1:81", "db.1:*"]);
    for (place, port) in
        [("127.0.0.1", 82), ("127.0.0.2", 81), ("localhost", 81), ("::1", 81), ("dbx", 81), ("169.254.169.254", 80)]
    {
        // The port is the timeout, so that the guest needs no parser.
        assert_eq!(worker.ask(place, port).0, Answer::Fail(format!("e{}", case("denied"))), "{place}:{port}");
        let line = worker.lines.pop().unwrap();
        assert!(
            line.0 == "warn" && line.1.contains("denied: connect to") && line.1.contains("allow.connect"),
            "{line:?}"
        );
    }
    assert_eq!(worker.ask("::1", 81).0, Answer::Fail(format!("e{}", case("denied"))));
    assert!(worker.lines.pop().unwrap().1.contains("\"[::1]:81\""));
    // Granted, and: nobody there; a name nobody knows; not a name.
    assert_eq!(worker.ask("127.0.0.1", 81).0, Answer::Fail(format!("e{}", case("refused"))));
    assert_eq!(worker.ask("db.1", 81).0, Answer::Fail(format!("e{}", case("name-unresolved"))));
    assert_eq!(worker.ask("db/../x", 81).0, Answer::Fail(format!("e{}", case("invalid"))));
    assert_eq!(worker.ask(&"d".repeat(5000), 81).0, Answer::Fail(format!("e{}", case("invalid"))));
}

#[test]
fn a_guest_that_hoards_connections_is_limited() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Never drops one: says how many it got before the first error.
    let hoard = "(local $count i32)
        (loop $again
            (call $connect (local.get $settings) (local.get $len) (local.get $timeout) (i32.const 192))
            (if (i32.eqz (i32.load8_u (i32.const 192)))
                (then (local.set $count (i32.add (local.get $count) (i32.const 1))) (br $again))))
        (i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 224)) (i32.store (i32.const 168) (i32.const 2))
        (i32.store8 (i32.const 224) (i32.add (i32.const 64) (local.get $count)))
        (i32.store8 (i32.const 225) (i32.add (i32.const 48) (i32.load8_u (i32.const 196))))
        (i32.const 160)";
    let mut worker = Worker::start();
    worker.load_granted(Guest::checking(hoard), &["127.0.0.1:*"]);
    // 16 is 'P' after '@'.
    assert_eq!(worker.ask("127.0.0.1", port.into()).0, Answer::Fail(format!("P{}", case("limit"))));
    // They were closed with the call.
    for _ in 0..16 {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(matches!(std::io::Read::read(&mut stream, &mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_wait_ends_a_little_before_the_call_does() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Reads from a peer that says nothing, and says the case of the error.
    let wait = "(call $connect (local.get $settings) (local.get $len) (i32.const PORT) (i32.const 192))
        (call $read (i32.load (i32.const 196)) (i32.const 100) (i32.const 240))
        (i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 224)) (i32.store (i32.const 168) (i32.const 2))
        (i32.store8 (i32.const 224) (i32.add (i32.const 48) (i32.load8_u (i32.const 240))))
        (i32.store8 (i32.const 225) (i32.add (i32.const 48) (i32.load8_u (i32.const 244))))
        (i32.const 160)";
    let wait: &'static str = Box::leak(wait.replace("PORT", &port.to_string()).into_boxed_str());
    let mut worker = Worker::start();
    worker.load_granted(Guest::checking(wait), &["127.0.0.1:*"]);
    let (answer, took) = worker.ask("127.0.0.1", 3000);
    assert_eq!(answer, Answer::Fail(format!("1{}", case("timed-out"))));
    assert!(took >= Duration::from_millis(2899) && took < Duration::from_millis(3000), "{took:?}");
}

#[test]
fn a_guest_that_does_not_take_no_for_an_answer_ends_at_the_deadline() {
    let insist = "(loop $again (call $connect (local.get $settings) (local.get $len) (i32.const 80) (i32.const 192))
        (global.set $free (i32.const 40960)) (br $again)) (unreachable)";
    let mut worker = Worker::start();
    worker.load_bytes(1, &Guest::checking(ECHO).compiled(), &[]).unwrap();
    worker.load(Guest::checking(insist));
    worker.call(1, 0, "127.0.0.1", 3000);
    worker.call(2, 1, "meanwhile", 10_000);
    assert!(
        matches!(worker.receive(), FromSandbox::Answered { id: 2, answer: Answer::Fail(said), .. } if said == "meanwhile")
    );
    assert!(
        matches!(worker.receive(), FromSandbox::Answered { id: 1, answer: Answer::Broken { kind, .. }, .. } if kind == "deadline")
    );
    // 64 denials and their number.
    assert_eq!(worker.lines.len(), 65);
}
