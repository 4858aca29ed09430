//! Commands, variables and processes.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::stage::{AMPLE, BRIEF, Setting};

#[test]
fn what_is_not_granted_is_denied_by_name() {
    let mut stage = Setting::default().exec(&["brief"]).env("GRANTED", "value").start();
    let met = stage.attempt("a variable", "environment", &json!({"name": "PATH"}), AMPLE);
    met.failed("is not granted")
        .told
        .lines
        .iter()
        .find(|(.., line)| line.contains("add \"PATH\" to allow.env"))
        .unwrap();
    stage.attempt("a prefix of a variable", "environment", &json!({"name": "GRANT"}), AMPLE).failed("is not granted");
    stage.attempt("processes", "processes", &json!({}), AMPLE).denied("set allow.processes");
    for command in ["brief; never", "brie", "brief ", "../brief", "/bin/sh", "never"] {
        let met = stage.attempt(command, "run", &json!({"command": command, "times": 1}), AMPLE).failed("1 denied");
        assert_eq!(met.denied, 1);
        let grant = format!("add \"{command}\" to allow.exec");
        assert!(met.told.lines.iter().any(|(.., line)| line.contains(&grant)), "{:?}", met.told.lines);
    }
    assert_eq!(stage.runs.all, 0);
}

#[test]
fn commands_start_one_by_one_and_are_four_at_a_time() {
    let mut stage = Setting::default().exec(&["brief", "never"]).start();
    let began = Instant::now();
    let met = stage.attempt("many one after the other", "run", &json!({"command": "brief", "times": 150}), AMPLE);
    met.failed("150 exited, 0 signaled");
    assert!(began.elapsed() >= Duration::from_secs(2), "a hundred more than in a row took {:?}", began.elapsed());
    assert_eq!(stage.runs.most, 1);
    for met in stage.attempt_times("a thousand at once", "run", &json!({"command": "never", "times": 4}), 1000, 250) {
        met.failed_or_late("0 exited");
    }
    assert!(stage.runs.most <= 4, "{}", stage.runs.most);
    assert!(stage.runs.all < 300, "{}", stage.runs.all);
}

#[test]
fn a_command_that_never_ends_is_stopped_with_its_call() {
    let mut stage = Setting::default().exec(&["never"]).start();
    stage.attempt("a command that never ends", "run", &json!({"command": "never", "times": 1}), BRIEF).failed("1 late");
}

#[test]
fn a_flood_of_output_is_cut() {
    let mut stage = Setting::default().exec(&["flood"]).start();
    stage.attempt("a flood of output", "run", &json!({"command": "flood", "times": 1}), BRIEF).failed("1 late");
}

#[test]
fn whoever_holds_a_commands_output_is_not_waited_for() {
    let mut stage = Setting::default().exec(&["daemon"]).start();
    stage.attempt("a daemon", "run", &json!({"command": "daemon", "times": 10}), AMPLE).failed("10 exited");
    stage.runs.let_go();
}
