//! The probe against a scripted host.

use hilum_plugin::fake::FakeHost;
use hilum_plugin::{FileError, FileKind, FileStatus, Host, Outcome, Request};
use probe_file::ProbeFile;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeFile>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

/// Settings about `/f`, with `more`.
fn settings(more: &str) -> String {
    format!(r#"{{"path": "/f"{}{more}}}"#, if more.is_empty() { "" } else { ", " })
}

/// A host with a file of ten bytes, changed ten seconds ago.
fn ten() -> FakeHost {
    FakeHost::new().with_file("/f", b"state: ok\n", 10_000)
}

fn special(kind: FileKind) -> FakeHost {
    FakeHost::new().with_special("/f", kind)
}

#[test]
fn what_holds_passes() {
    for more in [
        "",
        r#""exists": true, "kind": "any""#,
        r#""kind": "file""#,
        r#""max-age": "10s""#,
        r#""min-age": "10s""#,
        r#""min-age": "9s999ms", "max-age": "1d""#,
        r#""min-size": 10, "max-size": "10B""#,
        r#""max-size": "1KiB", "kind": "file""#,
        r#""contains": "state: ok""#,
        r#""contains": "ok\n", "where": "end""#,
        r#""contains": "ok", "where": "start", "kind": "any""#,
    ] {
        assert_eq!(check(&settings(more), &ten()), Outcome::Pass, "{more}");
    }
    for (more, kind) in [
        ("", FileKind::Directory),
        ("", FileKind::Special),
        (r#""kind": "directory", "max-age": "1s""#, FileKind::Directory),
        (r#""kind": "any", "max-age": "1s""#, FileKind::Special),
    ] {
        assert_eq!(check(&settings(more), &special(kind)), Outcome::Pass, "{more}");
    }
    let empty = FakeHost::new().with_file("/f", b"", 0);
    assert_eq!(check(&settings(r#""max-size": 0, "max-age": "0s""#), &empty), Outcome::Pass);
}

#[test]
fn what_is_missing_and_need_not_be_passes() {
    let gone = FakeHost::new().with_file_error("/f", FileError::NotFound("/f: no such file".to_owned()));
    assert_eq!(check(&settings(r#""exists": false"#), &gone), Outcome::Pass);
    assert_eq!(check(&settings(r#""exists": false, "kind": "any""#), &gone), Outcome::Pass);
    let outcome = check(&settings(""), &gone);
    assert_eq!(outcome, Outcome::Fail("cannot look at the file: /f: no such file".to_owned()));
}

#[test]
fn what_does_not_hold_fails_and_says_what_is() {
    for (more, said) in [
        (r#""exists": false"#, "/f is there and should not be; it is a file"),
        (r#""kind": "directory""#, "/f is a file, not a directory"),
        (r#""max-age": "9s999ms""#, "/f was changed 10s ago, more than 9s999ms"),
        (r#""min-age": "1m""#, "/f was changed 10s ago, less than 1m"),
        (r#""min-size": "1KiB""#, "/f has 10B, less than 1KiB"),
        (r#""max-size": 9"#, "/f has 10B, more than 9B"),
        (r#""contains": "ready""#, r#"/f does not hold "ready", it begins with "state: ok\n""#),
        (r#""contains": "ready", "where": "end""#, r#"/f does not hold "ready", it ends in "state: ok\n""#),
    ] {
        assert_eq!(check(&settings(more), &ten()), Outcome::Fail(said.to_owned()), "{more}");
    }
    for (kind, more, said) in [
        (FileKind::Directory, r#""kind": "file""#, "/f is a directory, not a file"),
        (FileKind::Directory, r#""contains": "x""#, "/f is a directory, not a file"),
        (FileKind::Directory, r#""max-size": 1"#, "/f is a directory, not a file"),
        (FileKind::Special, r#""kind": "file""#, "/f is neither a file nor a directory, not a file"),
        (FileKind::Special, r#""exists": false"#, "it is neither a file nor a directory"),
    ] {
        let outcome = check(&settings(more), &special(kind));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{more}: {outcome:?}");
    }
    let empty = FakeHost::new().with_file("/f", b"", 0);
    let outcome = check(&settings(r#""contains": "x""#), &empty);
    assert_eq!(outcome, Outcome::Fail(r#"/f does not hold "x", it is empty"#.to_owned()));
}

#[test]
fn only_one_end_of_a_long_file_is_searched() {
    let long = [b"first".to_vec(), vec![b'\xff'; 65_536 - 5], vec![b'x'; 65_536 - 4], b"last".to_vec()].concat();
    let host = FakeHost::new().with_file("/f", &long, 0);
    for more in
        [r#""contains": "first""#, r#""contains": "last", "where": "end""#, r#""contains": "xx", "where": "end""#]
    {
        assert_eq!(check(&settings(more), &host), Outcome::Pass, "{more}");
    }
    for (more, said) in [
        (r#""contains": "last""#, r#"/f does not hold "last" in its first 64KiB, it begins with "first\xff"#),
        (r#""contains": "x""#, "in its first 64KiB"),
        (r#""contains": "first", "where": "end""#, r#"/f does not hold "first" in its last 64KiB, it ends in "…xxx"#),
    ] {
        let outcome = check(&settings(more), &host);
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{more}: {outcome:?}");
    }
}

#[test]
fn a_file_that_shrinks_meanwhile_is_no_trouble() {
    let status = FileStatus { kind: FileKind::File, size: u64::MAX, modified: 0, mode: 0 };
    let host = FakeHost::new().with_status("/f", status);
    let outcome = check(&settings(r#""contains": "x", "where": "end""#), &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("it is empty")), "{outcome:?}");
    let outcome = check(&settings(r#""max-size": "4GiB""#), &host);
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("more than 4GiB")), "{outcome:?}");
}

#[test]
fn ages_far_in_the_future_are_unknown_and_a_little_is_now() {
    let ahead = |ns: u64| {
        let modified = FakeHost::new().wall_now() + ns;
        FakeHost::new().with_status("/f", FileStatus { kind: FileKind::File, size: 0, modified, mode: 0 })
    };
    assert_eq!(check(&settings(r#""max-age": "1s""#), &ahead(60_000_000_000)), Outcome::Pass);
    let outcome = check(&settings(r#""max-age": "1s""#), &ahead(90_000_000_000));
    let said =
        "cannot tell the age of /f: it was changed 1m30s after now by the machine's clock; the clock was set back";
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    assert!(matches!(check(&settings(r#""min-age": "1s""#), &ahead(u64::MAX / 2)), Outcome::Unknown(_)));
    assert_eq!(check(&settings(""), &ahead(u64::MAX / 2)), Outcome::Pass);
}

#[test]
fn errors_are_the_services_or_not() {
    let text = |text: &str| text.to_owned();
    for (error, said) in [
        (FileError::TimedOut, "cannot look at the file: /f: the file system did not answer in time"),
        (FileError::Other(text("/f: Input/output error")), "cannot look at the file: /f: Input/output error"),
        (FileError::WrongKind(text("it is not a regular file")), "not a regular file"),
    ] {
        let host = FakeHost::new().with_file_error("/f", error);
        let outcome = check(&settings(""), &host);
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{outcome:?}");
        assert!(!matches!(check(&settings(r#""exists": false"#), &host), Outcome::Pass));
    }
    for (error, said) in [
        (FileError::Forbidden(text("/f: Permission denied")), "denied; plugins run as user 65534"),
        (FileError::Denied(text("not granted")), "cannot look at the file: not granted"),
        (FileError::Invalid(text("not absolute")), "not absolute"),
    ] {
        let host = FakeHost::new().with_file_error("/f", error);
        for more in ["", r#""exists": false"#] {
            let outcome = check(&settings(more), &host);
            assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
        }
    }
    assert!(matches!(check(&settings(""), &FakeHost::new()), Outcome::Unknown(why) if why.contains("not granted")));
}

#[test]
fn wrong_settings_are_unknown() {
    for (more, said) in [
        (r#""path": "/g""#, "twice"),
        (r#""exists": "no""#, "exists: must be true or false, not \"no\""),
        (r#""kind": "socket""#, "kind: is \"socket\"; write \"file\", \"directory\" or \"any\""),
        (r#""kind": 1"#, "kind: must be a string, not 1"),
        (r#""max-age": 30"#, "max-age: must be a duration such as \"30s\" or \"1m30s\", not 30"),
        (r#""min-age": "30""#, "min-age: must be a duration"),
        (r#""min-age": "2s", "max-age": "1s""#, "max-age: is less than min-age; nothing is in between"),
        (r#""max-size": "64K""#, "max-size: must be a number of bytes, or a size such as \"64KiB\", not \"64K\""),
        (r#""min-size": -1"#, "min-size: must be a number of bytes"),
        (r#""min-size": 2, "max-size": 1"#, "max-size: is less than min-size"),
        (r#""contains": """#, "contains: is empty, which any file holds; leave it out, or write a text"),
        (r#""contains": 5"#, "contains: must be a string, not 5"),
        (r#""where": "end""#, "where: says where to look, but not for what; write contains = \"TEXT\""),
        (r#""contains": "x", "where": "top""#, "where: is \"top\"; write \"start\" or \"end\""),
        (
            r#""kind": "directory", "contains": "x""#,
            "kind: is \"directory\", but sizes and contents are those of files",
        ),
        (r#""kind": "directory", "min-size": 1"#, "kind: is \"directory\", but sizes"),
        (
            r#""exists": false, "max-age": "1s""#,
            "exists: is false, so nothing else can be asked of it; leave out the rest",
        ),
        (r#""exists": false, "kind": "file""#, "exists: is false"),
        (r#""exists": false, "contains": "x""#, "exists: is false"),
        (r#""min_age": "1s""#, "min_age: no such key; there are path, exists, kind, min-age, max-age, min-size"),
    ] {
        let outcome = check(&settings(more), &ten());
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{more}: {outcome:?}");
    }
    for (whole, said) in [
        ("{}", "path: missing; write path = \"/run/app/ready\""),
        (r#"{"path": "f"}"#, "path: must be an absolute path without \".\" and \"..\", not \"f\""),
        (r#"{"path": "/../f"}"#, "path: must be an absolute path"),
    ] {
        let outcome = check(whole, &ten());
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{whole}: {outcome:?}");
    }
}
