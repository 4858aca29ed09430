//! Giants across the boundary, and floods of words.

use serde_json::json;

use crate::stage::{AMPLE, ATTACKER, Setting};

/// Below what may pass in one call of the host, and above. **Units:** bytes.
const SIZES: [u32; 2] = [1_000_000, 10_000_000];

#[test]
fn what_a_guest_passes_is_bounded_whatever_it_is() {
    let mut stage = Setting::default().start();
    for (function, said) in [
        ("log", "it was taken"),
        ("connect", "Invalid("),
        ("connect-udp", "Invalid("),
        ("connect-unix", "Invalid("),
        ("resolve", "Invalid("),
        ("read-file", "Invalid("),
        ("environment", "is not granted"),
        ("run", "Denied("),
        ("key", "1 to 128 bytes"),
        ("value", "at most 16384 bytes"),
        ("metric", "cannot be the name of a metric"),
        ("label", "cannot be the name of a label"),
        ("url", "Invalid("),
        ("content", "Denied("),
    ] {
        let [small, large] = SIZES.map(|size| json!({"function": function, "size": size}));
        let met = stage.attempt(&format!("a giant for {function}"), "giant", &small, AMPLE).failed(said);
        let longest = met.told.lines.iter().map(|(.., line)| line.len()).max().unwrap_or_default();
        assert!(longest <= 1024, "{function}: a line of {longest} bytes");
        stage.attempt(&format!("a giant too large for {function}"), "giant", &large, AMPLE).broken("trap");
    }
    let with = json!({"function": "label-value", "size": 10_000_000});
    stage.attempt("a giant for a label's value", "giant", &with, AMPLE).broken("trap");
}

#[test]
fn long_lists_are_bounded() {
    let mut stage = Setting::default().connect(&["127.0.0.1:1"]).start();
    stage.attempt("a hundred thousand labels", "many-labels", &json!({"count": 100_000}), AMPLE).broken("trap");
    stage.attempt("a thousand labels", "many-labels", &json!({"count": 1000}), AMPLE).failed("at most 4 labels");
    let fields = |count: u32| json!({"url": "http://127.0.0.1:1/", "count": count});
    stage.attempt("a million fields", "many-fields", &fields(1_000_000), AMPLE).broken("trap");
    stage.attempt("a thousand fields", "many-fields", &fields(1000), AMPLE).failed("Invalid(");
}

#[test]
fn long_answers_are_cut_or_refused() {
    let mut stage = Setting::default().start();
    let met =
        stage.attempt("a long reason", "long-reason", &json!({"repeat": 100_000}), AMPLE).failed("\u{fffd}reason");
    assert!(matches!(&met.answer, hilum_wire::Answer::Fail(why) if why.len() <= 1024 && why.ends_with('…')));
    stage.attempt("a reason of ten megabytes", "long-reason", &json!({"repeat": 1_500_000}), AMPLE).broken("trap");
    let met = stage.attempt("a long panic", "panic", &json!({"repeat": 100_000}), AMPLE).broken("trap");
    let lines = &met.told.lines;
    assert!(lines.iter().all(|(.., line)| line.len() <= 1024 && !line.contains('\u{202e}')), "{lines:?}");
}

#[test]
fn a_flood_of_lines_is_cut_counted_and_cleaned() {
    let mut stage = Setting::default().start();
    for (name, text, repeat, times) in [
        ("a million lines", "line", 1, 1_000_000),
        ("lines of a megabyte", "0123456789", 100_000, 200),
        ("control characters", "\r\nlevel=error \u{1b}[2J\u{202e}\u{0}", 10, 1000),
    ] {
        let with = json!({"text": text, "repeat": repeat, "times": times});
        let met = stage.attempt(name, "log-flood", &with, AMPLE).failed("all were written");
        let lines = &met.told.lines;
        assert_eq!(lines.len(), 65, "{name}");
        for (plugin, _, line) in lines {
            assert_eq!(*plugin, ATTACKER, "{name}");
            assert!(
                line.len() <= 1024 && !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{name}: {line:?}"
            );
        }
        let last = lines.last().map(|(.., line)| line.as_str());
        assert!(
            last.is_some_and(|line| line.starts_with(&format!("{} more log lines", times - 64))),
            "{name}: {last:?}"
        );
    }
}

#[test]
fn memory_and_stack_end_the_call_that_wants_more() {
    let mut stage = Setting::default().start();
    stage.attempt("endless recursion", "recurse", &json!({"depth": u32::MAX}), AMPLE).broken("stack");
    for (name, step) in
        [("memory in one step", 1_500_000_000), ("memory in large steps", 16_000_000), ("memory in small steps", 4096)]
    {
        stage.attempt(name, "grow", &json!({"step": step}), AMPLE).broken("memory");
    }
    for met in stage.attempt_times("memory in two calls", "grow", &json!({"step": 1_000_000}), AMPLE, 2) {
        met.broken("memory");
    }
}
