//! The probe against a scripted host.

use hilum_plugin::fake::FakeHost;
use hilum_plugin::{FileError, FileKind, FileStatus, Host, Outcome, Request, Run, Service};
use probe_heartbeat::ProbeHeartbeat;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeHeartbeat>(
        &Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 },
        host,
    )
}

const BEAT: &str = r#"{"file": "/run/beat", "max-age": "30s"}"#;

/// A host whose service runs since `age_ms`.
fn running(age_ms: u64) -> FakeHost {
    let run = Some(Run { number: 2, pid: 7, age_ms });
    FakeHost::new().with_service(Service { name: "worker".to_owned(), run, starts: vec![age_ms, 900_000] })
}

/// The answer if the service runs since `age_ms` and the last beat, if there is a file, is so old.
fn after(age_ms: u64, beat: Option<u64>) -> Outcome {
    let host = running(age_ms);
    check(
        BEAT,
        &match beat {
            Some(age) => host.with_file("/run/beat", b"", age),
            None => host.with_file_error("/run/beat", FileError::NotFound("/run/beat: no such file".to_owned())),
        },
    )
}

#[test]
fn a_young_beat_passes() {
    for (age, beat) in [(60_000, 0), (60_000, 30_000), (3_600_000, 29_999), (30_001, 30_000)] {
        assert_eq!(after(age, Some(beat)), Outcome::Pass, "{age} {beat}");
    }
}

#[test]
fn an_old_beat_fails_with_its_age() {
    let said = "the last beat of worker was 30s1ms ago, more than 30s: /run/beat was not touched since";
    assert_eq!(after(60_000, Some(30_001)), Outcome::Fail(said.to_owned()));
    assert!(matches!(after(60_000, Some(60_000)), Outcome::Fail(why) if why.contains("was 1m ago")));
}

#[test]
fn before_the_first_beat_there_is_grace_and_then_none() {
    assert_eq!(after(0, None), Outcome::Pass);
    assert_eq!(after(30_000, None), Outcome::Pass);
    let said = "no beat of worker in the 30s1ms it runs, more than 30s: /run/beat is missing";
    assert_eq!(after(30_001, None), Outcome::Fail(said.to_owned()));
}

#[test]
fn a_beat_of_an_earlier_life_counts_neither_for_nor_against() {
    assert_eq!(after(5000, Some(5001)), Outcome::Pass);
    assert_eq!(after(5000, Some(86_400_000)), Outcome::Pass);
    assert_eq!(after(30_000, Some(86_400_000)), Outcome::Pass);
    let said = "no beat of worker in the 30s1ms it runs, more than 30s: /run/beat was touched 40s ago, before that";
    assert_eq!(after(30_001, Some(40_000)), Outcome::Fail(said.to_owned()));
    let said = "no beat of worker in the 40s it runs, more than 30s: /run/beat was touched 40s1ms ago, before that";
    assert_eq!(after(40_000, Some(40_001)), Outcome::Fail(said.to_owned()));
}

#[test]
fn a_clock_that_was_set_back_is_unknown_and_a_little_ahead_is_now() {
    let ahead = |ns: u64| {
        let modified = FakeHost::new().wall_now().saturating_add(ns);
        running(60_000).with_status("/run/beat", FileStatus { kind: FileKind::File, size: 0, modified, mode: 0o644 })
    };
    assert_eq!(check(BEAT, &ahead(60_000_000_000)), Outcome::Pass);
    for (ns, said) in [
        (60_000_000_001, "/run/beat was changed 1m after now by the machine's clock; the clock was set back"),
        (7_200_000_000_000, "was changed 2h after now"),
        (u64::MAX, "after now"),
    ] {
        let outcome = check(BEAT, &ahead(ns));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    }
}

#[test]
fn what_keeps_the_probe_from_looking_is_not_the_services_fault() {
    let text = |text: &str| text.to_owned();
    for (error, said) in [
        (FileError::Forbidden(text("/run/beat: Permission denied")), "denied; plugins run as user 65534"),
        (FileError::Denied(text("not granted")), "cannot look at the file: not granted"),
    ] {
        let outcome = check(BEAT, &running(60_000).with_file_error("/run/beat", error));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    }
    for kind in [FileKind::Directory, FileKind::Special] {
        let outcome = check(BEAT, &running(60_000).with_special("/run/beat", kind));
        let said = format!("/run/beat is {kind}; name a file that the service touches");
        assert_eq!(outcome, Outcome::Unknown(said));
    }
    let outcome = check(BEAT, &running(60_000));
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("not granted")), "{outcome:?}");
}

#[test]
fn a_file_system_that_does_not_answer_fails() {
    for (error, said) in [
        (FileError::TimedOut, "cannot look at the file: /run/beat: the file system did not answer in time"),
        (FileError::Other("Input/output error".to_owned()), "Input/output error"),
    ] {
        let outcome = check(BEAT, &running(60_000).with_file_error("/run/beat", error));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{outcome:?}");
    }
}

#[test]
fn without_a_life_no_beat_is_expected() {
    let none = FakeHost::new().with_file("/run/beat", b"", 0);
    let outcome = check(BEAT, &none);
    assert_eq!(outcome, Outcome::Unknown("no beat can be expected: the call is about no service".to_owned()));
    let between = none.with_service(Service { name: "worker".to_owned(), run: None, starts: vec![9000] });
    let outcome = check(BEAT, &between);
    assert_eq!(outcome, Outcome::Unknown("no beat can be expected: worker does not run".to_owned()));
}

#[test]
fn wrong_settings_are_unknown() {
    for (settings, said) in [
        ("{}", "file: missing; write file = \"/run/app/beat\""),
        (r#"{"file": "/b"}"#, "max-age: missing; write max-age = \"30s\""),
        (r#"{"file": "b", "max-age": "1s"}"#, "file: must be an absolute path without \".\" and \"..\", not \"b\""),
        (r#"{"file": "/b", "max-age": 30}"#, "max-age: must be a duration such as \"30s\" or \"1m30s\", not 30"),
        (r#"{"file": "/b", "max-age": "0s"}"#, "max-age: is nothing, and no beat is that young; write twice the time"),
        (r#"{"file": "/b", "max-age": "1s", "age": 1}"#, "age: no such key; there are file, max-age"),
    ] {
        let outcome = check(settings, &running(1));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
    }
}
