//! State, metrics, chance and time, asked for without measure.

use std::time::{Duration, Instant};

use hilum_wire::Answer;
use serde_json::json;

use crate::stage::{AMPLE, BRIEF, Setting};

#[test]
fn more_state_than_a_plugin_may_keep_is_refused() {
    let mut stage = Setting::default().start();
    stage.attempt("a flood of state", "state-flood", &json!({"times": 1000}), AMPLE).failed(" bytes were kept");
}

#[test]
fn a_value_that_changes_all_the_time_waits_for_a_pid_1_that_does_not_listen() {
    let mut stage = Setting::default().start();
    let before = stage.holds().0;
    // Twenty thousand values of 16 KiB, and nobody reads: the worker must not keep them meanwhile.
    let id = stage.ask("state-churn", &json!({"times": 20_000}), 2000);
    let until = Instant::now() + Duration::from_millis(2500);
    let mut most = before;
    while Instant::now() < until {
        most = stage.holds().0.max(most);
    }
    assert!(most < before + 8 * 1024, "from {before} to {most} KiB");
    let answer = stage.answer(id).0;
    assert!(matches!(&answer, Answer::Fail(why) if why.contains("faster than hilum takes it")), "{answer:?}");
    // As many as waited, at most.
    assert!(stage.told.kept < 1000, "{}", stage.told.kept);
    stage.attempt("churning state", "state-churn", &json!({"times": 50}), AMPLE).failed("all were taken");
}

#[test]
fn more_series_than_a_plugin_may_have_are_refused() {
    let mut stage = Setting::default().start();
    stage.attempt("a flood of series", "series-flood", &json!({"times": 50_000}), AMPLE).failed("64 were taken");
}

#[test]
fn what_is_no_number_or_no_name_is_not_measured() {
    let met = Setting::default().start().attempt("odd numbers", "odd-numbers", &json!({}), 5000);
    assert_eq!(met.failed("all were refused").told.measured, 0);
}

#[test]
fn time_and_chance_are_free_and_hold_up_nobody() {
    let mut stage = Setting::default().start();
    stage
        .attempt("a million looks at the clock", "clock-flood", &json!({"times": 1_000_000}), AMPLE)
        .failed("all asked");
    stage.attempt("chance", "random-flood", &json!({}), BRIEF).failed(" bytes");
    stage
        .attempt("pointers into settings", "pointers", &json!({"size": 500_000, "text": "x", "list": [1]}), AMPLE)
        .failed("0 of 11 found");
}
