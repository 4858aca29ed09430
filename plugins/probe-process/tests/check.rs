//! The probe against a scripted host.

use hilum_plugin::fake::FakeHost;
use hilum_plugin::{Outcome, Process, Request, Run, Service};
use probe_process::ProbeProcess;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeProcess>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

/// A host whose service was started at these times.
fn started(starts: &[u64]) -> FakeHost {
    let run = starts.first().map(|age_ms| Run { number: 1, pid: 7, age_ms: *age_ms });
    FakeHost::new().with_service(Service { name: "web".to_owned(), run, starts: starts.to_vec() })
}

const STABLE: &str = r#"{"max-starts": 3, "within": "10m"}"#;

#[test]
fn few_starts_pass_without_a_grant() {
    for starts in [&[0][..], &[], &[0, 1, 2], &[0, 1, 2, 600_001], &[600_001; 32]] {
        assert_eq!(check(STABLE, &started(starts)), Outcome::Pass, "{starts:?}");
    }
    let most = r#"{"max-starts": 31, "within": "1h"}"#;
    assert_eq!(check(most, &started(&[5; 31])), Outcome::Pass);
}

#[test]
fn many_starts_fail_with_their_number() {
    let said = "web was started 4 times within 10m, more than 3, the last time 2s5ms ago; its log says why it ended";
    assert_eq!(check(STABLE, &started(&[2005, 9000, 60_000, 600_000, 600_001])), Outcome::Fail(said.to_owned()));
    let most = r#"{"max-starts": 31, "within": "1h"}"#;
    assert!(matches!(check(most, &started(&[5; 32])), Outcome::Fail(why) if why.contains("started 32 times")));
    let first = r#"{"max-starts": 1, "within": "1ms"}"#;
    assert!(matches!(check(first, &started(&[0, 1])), Outcome::Fail(why) if why.contains("2 times within 1ms")));
}

#[test]
fn starts_of_no_service_are_unknown() {
    let outcome = check(STABLE, &FakeHost::new());
    assert_eq!(outcome, Outcome::Unknown("cannot count starts: the call is about no service".to_owned()));
}

fn process(pid: u32, name: &str, command: &str, memory: u64) -> Process {
    let command = command.split_whitespace().map(str::to_owned).collect();
    Process { pid, name: name.to_owned(), command, memory, state: "S".to_owned(), ..Process::default() }
}

/// Two workers, a scheduler, a dead worker and a dead one of another kind.
fn busy() -> FakeHost {
    let dead = |pid, name| Process { state: "Z".to_owned(), ..process(pid, name, "", 0) };
    FakeHost::new().with_processes(vec![
        process(1, "hilum", "/hilum up", 1 << 20),
        process(10, "worker", "/app/worker --queue mail", 100 << 20),
        process(11, "worker", "/app/worker --queue print", 200 << 20),
        process(12, "scheduler", "/app/scheduler --of worker", 1000),
        dead(13, "worker"),
        dead(14, "cron"),
    ])
}

#[test]
fn processes_within_their_limits_pass() {
    for settings in [
        r#"{"name": "worker"}"#,
        r#"{"name": "worker", "min": 2, "max": 2}"#,
        r#"{"name": "worker", "min": 0, "max": 5}"#,
        r#"{"name": "worker", "max-memory": "300MiB"}"#,
        r#"{"name": "worker", "command": "queue mail", "max": 1}"#,
        r#"{"command": "worker", "min": 3, "max": 3}"#,
        r#"{"command": "/app/worker --queue", "min": 2, "max": 2, "max-memory": 314572800}"#,
        r#"{"name": "nobody", "max": 0}"#,
        r#"{"name": "nobody", "min": 0, "max-memory": 0}"#,
        r#"{"name": "cron", "max": 0}"#,
    ] {
        assert_eq!(check(settings, &busy()), Outcome::Pass, "{settings}");
    }
}

#[test]
fn processes_beyond_their_limits_fail_and_are_told() {
    for (settings, said) in [
        (r#"{"name": "nobody"}"#, r#"found 0 processes with name "nobody", fewer than 1"#),
        (
            r#"{"name": "worker", "min": 3}"#,
            r#"found 2 processes with name "worker", fewer than 3; 1 more ended and nobody waited for them"#,
        ),
        (
            r#"{"name": "worker", "command": "fax"}"#,
            r#"found 0 processes with name "worker" and command "fax", fewer than 1"#,
        ),
        (
            r#"{"command": "worker", "max": 2}"#,
            r#"found 3 processes with command "worker", more than 2: pids 10, 11, 12"#,
        ),
        (r#"{"command": "mail", "min": 2}"#, r#"found 1 process with command "mail", fewer than 2"#),
        (
            r#"{"name": "scheduler", "max-memory": "500B"}"#,
            r#"the memory of 1 process with name "scheduler" is 1000B, more than 500B"#,
        ),
        (r#"{"name": "worker", "max": 0}"#, r#"found 2 processes with name "worker", more than 0: pids 10, 11"#),
        (
            r#"{"name": "worker", "max-memory": "299MiB"}"#,
            "the memory of 2 processes with name \"worker\" is 300MiB, more than 299MiB; the largest part, 200MiB, is of pid 11",
        ),
    ] {
        assert_eq!(check(settings, &busy()), Outcome::Fail(said.to_owned()), "{settings}");
    }
}

#[test]
fn of_many_processes_the_first_are_told_and_sums_do_not_overflow() {
    let many = (1..=4096).map(|pid| process(pid, "\u{1b}[31m\u{fffd}", "x", u64::MAX)).collect();
    let host = FakeHost::new().with_processes(many);
    let outcome = check(r#"{"command": "x", "max": 20}"#, &host);
    assert!(
        matches!(&outcome, Outcome::Fail(why) if why.ends_with("pids 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …")),
        "{outcome:?}"
    );
    let outcome = check(r#"{"command": "x", "max-memory": "1GiB"}"#, &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("is 17179869183.9GiB")), "{outcome:?}");
    let outcome = check("{\"name\": \"\\u001b[31m\u{fffd}\", \"max\": 0}", &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(r#"name "\x1b[31m"#)), "{outcome:?}");
}

#[test]
fn processes_that_are_not_granted_are_unknown() {
    let outcome = check(r#"{"name": "worker"}"#, &FakeHost::new());
    let said = "cannot look for name \"worker\": seeing processes is not granted; to allow it, set allow.processes";
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.starts_with(said)), "{outcome:?}");
}

#[test]
fn wrong_settings_are_unknown() {
    const TWO: &str = "max-starts: and within are about the service, name and command about processes; use two probes";
    for (settings, said) in [
        (
            "{}",
            "name: missing; write name = \"worker\" or command = \"--queue mail\" to ask for processes, or max-starts",
        ),
        (r#"{"min": 2}"#, "name: missing; write name"),
        (r#"{"max-starts": 3}"#, "within: missing beside max-starts; write within = \"10m\""),
        (r#"{"within": "1m"}"#, "max-starts: missing beside within; write max-starts = 3"),
        (r#"{"max-starts": 3, "within": "1m", "name": "x"}"#, TWO),
        (r#"{"within": "1m", "command": "x"}"#, TWO),
        (
            r#"{"max-starts": 3, "within": "1m", "max": 1}"#,
            "max: is about processes, max-starts about the service; use",
        ),
        (r#"{"max-starts": 3, "within": "1m", "max-memory": 1}"#, "max-memory: is about processes"),
        (r#"{"max-starts": 0, "within": "1m"}"#, "max-starts: must be a whole number from 1 to 31, not 0"),
        (r#"{"max-starts": 32, "within": "1m"}"#, "from 1 to 31, not 32"),
        (r#"{"max-starts": 3, "within": 60}"#, "within: must be a duration such as \"30s\" or \"1m30s\", not 60"),
        (r#"{"max-starts": 3, "within": "0s"}"#, "within: is nothing; write a time, such as \"10m\""),
        (r#"{"name": ""}"#, "name: is empty, and matches nothing in particular; leave it out, or write a text"),
        (
            r#"{"name": "sixteen-bytes-ok"}"#,
            "name: has 16 bytes, and the kernel keeps 15 of a name; write the first 15",
        ),
        (r#"{"command": ""}"#, "command: is empty"),
        (r#"{"command": ["x"]}"#, "command: must be a string, not an array"),
        (r#"{"name": "x", "min": -1}"#, "min: must be a whole number from 0 to 4096, not -1"),
        (r#"{"name": "x", "min": 2, "max": 1}"#, "max: is less than min; no number is at least 2 and at most 1"),
        (r#"{"name": "x", "max-memory": "1G"}"#, "max-memory: must be a number of bytes, or a size such as \"64KiB\""),
        (r#"{"name": "x", "memory": 1}"#, "memory: no such key; there are max-starts, within, name, command, min, max"),
    ] {
        let outcome = check(settings, &busy());
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
    }
}
