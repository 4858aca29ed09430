//! A probe that knows nothing of hilum but what it exports: files, sockets, variables and time are those of Rust's own library, which asks WASI for
//! them. Its settings name an attempt and say what with: `{"attempt": "read", "with": "/etc/passwd"}`.
//!
//! `pass` means that it got what it asked for, `fail` that it did not, with the library's error. Both are right, with a grant and without: the tests
//! that run it decide.
#![forbid(unsafe_code)]

mod attempts;

use hilum_plugin::{Description, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

/// The plugin.
#[derive(Debug)]
pub struct AttacksWasi;

impl Plugin for AttacksWasi {
    type Settings = (String, String);

    fn describe() -> Description {
        Description {
            name: "attacks-wasi",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: r#"{"type": "object"}"#,
            grants: Vec::new(),
        }
    }

    fn read(settings: &mut Settings) -> Result<(String, String), SettingsError> {
        let attempt = settings.required("attempt", "attempt = \"read\"")?.string()?.to_owned();
        let with = settings.required("with", "with = \"/etc/passwd\"")?.string()?.to_owned();
        Ok((attempt, with))
    }
}

impl Probe for AttacksWasi {
    fn check((attempt, with): &(String, String), _: &Request, _: &impl Host) -> Outcome {
        match attempts::run(attempt, with) {
            Some(Ok(())) => Outcome::Pass,
            Some(Err(error)) => Outcome::Fail(format!("{:?}: {error}", error.kind())),
            None => Outcome::Unknown(format!("bug: there is no attempt {attempt}")),
        }
    }
}

hilum_plugin::export!(AttacksWasi);
