//! The probe against a scripted host.

use hilum_plugin::fake::FakeHost;
use hilum_plugin::{Outcome, Request};
use probe_env::ProbeEnv;

fn check(settings: &str, value: Option<&str>) -> Outcome {
    let host = FakeHost::new().with_variable("NAME", value);
    hilum_plugin::check::<ProbeEnv>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, &host)
}

const ANY: &str = r#"{"name": "NAME"}"#;
const SET: &str = r#"{"name": "NAME", "set": true}"#;
const UNSET: &str = r#"{"name": "NAME", "set": false}"#;
const NOTHING: &str = r#"{"name": "NAME", "equals": ""}"#;
const VALUE: &str = r#"{"name": "NAME", "equals": "hunter2"}"#;

#[test]
fn what_is_as_it_should_be_passes() {
    for (settings, value) in [
        (ANY, Some("x")),
        (ANY, Some("")),
        (SET, Some("x")),
        (SET, Some("")),
        (UNSET, None),
        (NOTHING, Some("")),
        (VALUE, Some("hunter2")),
    ] {
        assert_eq!(check(settings, value), Outcome::Pass, "{settings} {value:?}");
    }
}

#[test]
fn what_is_not_fails_without_the_value() {
    for (settings, value, said) in [
        (ANY, None, "variable NAME is not set in hilum's environment"),
        (SET, None, "variable NAME is not set"),
        (NOTHING, None, "variable NAME is not set"),
        (VALUE, None, "variable NAME is not set"),
        (UNSET, Some("hunter3"), "variable NAME is set in hilum's environment, and should not be"),
        (UNSET, Some(""), "variable NAME is set in hilum's environment, if only to nothing, and should not be"),
        (NOTHING, Some("hunter3"), "variable NAME has another value in hilum's environment, not the one of equals"),
        (VALUE, Some("hunter3"), "variable NAME has another value"),
        (VALUE, Some("hunter2 "), "variable NAME has another value"),
        (VALUE, Some("Hunter2"), "variable NAME has another value"),
        (VALUE, Some(""), "variable NAME is set to nothing in hilum's environment, not the one of equals"),
    ] {
        let outcome = check(settings, value);
        assert!(
            matches!(&outcome, Outcome::Fail(why) if why.starts_with(said) && !why.to_lowercase().contains("hunter")),
            "{settings} {value:?}: {outcome:?}"
        );
    }
}

#[test]
fn what_is_not_granted_is_unknown() {
    let outcome = check(r#"{"name": "OTHER"}"#, None);
    let said = "cannot read variable OTHER: reading OTHER is not granted; to allow it, add \"OTHER\" to allow.env";
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.starts_with(said)), "{outcome:?}");
}

#[test]
fn wrong_settings_are_unknown() {
    for (settings, said) in [
        ("{}", "name: missing; write name = \"REGION\""),
        (r#"{"name": ""}"#, "name: \"\" cannot be the name of a variable; write the name alone"),
        (r#"{"name": "A=b"}"#, "name: \"A=b\" cannot be the name of a variable"),
        (r#"{"name": 1}"#, "name: must be a string, not 1"),
        (r#"{"name": "NAME", "equals": 8080}"#, "equals: must be a string, not 8080"),
        (r#"{"name": "NAME", "set": "yes"}"#, "set: must be true or false, not \"yes\""),
        (r#"{"name": "NAME", "equals": "x", "set": true}"#, "set: cannot be used with equals, which asks for a set"),
        (r#"{"name": "NAME", "value": "x"}"#, "value: no such key; there are name, equals, set"),
    ] {
        let outcome = check(settings, Some("x"));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
    }
}

#[test]
fn settings_shown_to_developers_hold_no_value() {
    let settings = hilum_plugin::read::<ProbeEnv>(VALUE);
    assert!(settings.as_ref().is_ok_and(|read| !format!("{read:?}").contains("hunter")), "{settings:?}");
}
