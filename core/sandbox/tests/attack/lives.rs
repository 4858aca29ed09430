//! Harm before the first question: in start functions, when a plugin says what it is, and in the answers about settings. The guests are written as
//! text, for no compiler makes them.

use hilum_wire::Answer;

use crate::guest::{ECHO, Guest, PASS, SPIN};
use crate::worker::{MEMORY, Worker};

/// A worker that has met `guest` and refused it; it must be of use afterwards.
fn refused(name: &str, guest: Guest, said: &str) {
    let mut worker = Worker::start();
    worker.load(Guest::checking(ECHO));
    let failure = worker.load_bytes(1, &guest.compiled(), &["*:*"]).unwrap_err();
    assert!(failure.kind == "describe" && failure.message.contains(said), "{name}: {failure:?}");
    assert_eq!(worker.ask(name, 10_000).0, Answer::Fail(name.to_owned()), "{name}");
}

#[test]
fn a_plugin_that_does_harm_before_it_is_asked_is_not_loaded() {
    refused("spins when described", Guest::describing(SPIN), "did not answer within 2000 ms");
    let spin = "(func $spin (loop $again (br $again))) (start $spin)";
    refused("spins in its start function", Guest::checking(PASS).with_fields(spin), "did not answer within 2000 ms");
    let deep = "(func $deep (call $deep)) (start $deep)";
    refused("recurses in its start function", Guest::checking(PASS).with_fields(deep), "stack overflow");
    let grow = "(func $grow (loop $again (drop (memory.grow (i32.const 1))) (br $again))) (start $grow)";
    refused("grows in its start function", Guest::checking(PASS).with_fields(grow), "may have 1024 KiB");
    refused("is too large from the start", Guest::checking(PASS).with_pages(1000), "may have 1024 KiB");
    let tables = "(table $a 100000 funcref) (table $b 100000 funcref)";
    refused("has too many table elements", Guest::checking(PASS).with_fields(tables), "it wanted");
    assert_eq!(MEMORY, 1024 * 1024);
}
