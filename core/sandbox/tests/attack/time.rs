//! Calls that do not end by themselves.

use std::net::TcpListener;

use hilum_wire::Answer;
use serde_json::{Value, json};

use crate::stage::{BRIEF, Setting};

#[test]
fn a_call_that_does_not_come_back_is_ended_at_its_deadline() {
    let mut stage = Setting::default().start();
    for (attempt, with) in
        [("spin", json!({})), ("spin-between", json!({"rounds": 1000})), ("sleep-forever", json!({}))]
    {
        for met in stage.attempt_times(attempt, attempt, &with, 500, 8) {
            met.broken("deadline");
        }
    }
    for (attempt, with) in
        [("spin", json!({})), ("spin-between", json!({"rounds": 1000})), ("sip", json!({"slice-us": 300}))]
    {
        stage.assert_goes_on_beside(attempt, &with);
    }
    for (attempt, with) in [("sleep-nothing", json!({})), ("sip", json!({"slice-us": 300}))] {
        for met in stage.attempt_times(attempt, attempt, &with, BRIEF, 8) {
            met.failed_or_late("time");
        }
    }
}

#[test]
fn settings_that_are_never_judged_are_a_broken_call() {
    let mut stage = Setting::default().start();
    assert!(matches!(stage.judge("never-judge", 300), Answer::Broken { kind, .. } if kind == "deadline"));
    stage.meet_victim("after judging");
    assert_eq!(stage.judge("nothing", 1000), Answer::Judged(Vec::new()));
}

/// A peer on this machine that accepts and says nothing.
fn silent() -> (TcpListener, String, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("127.0.0.1:{port}"), json!({"host": "127.0.0.1", "port": port, "size": 1_000_000}))
}

#[test]
fn a_time_out_that_is_not_taken_for_an_answer_ends_the_call() {
    let (_listener, place, with) = silent();
    let mut stage = Setting::default().connect(&[&place]).start();
    stage.attempt("insisting", "insist", &with, 500).broken("deadline");
    stage.attempt("pouring", "pour", &with, BRIEF).failed("TimedOut");
}
