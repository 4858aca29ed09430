//! A probe that means harm. Its settings name an attempt and say what with: `{"attempt": "read-file", "with": {"path": "/etc/passwd"}}`.
//!
//! The answer is the attacker's: `pass` means that it got what it wanted, `fail` that it did not, with what it met instead. It decides nothing about
//! the sandbox; the tests that run it do. It has no `plugin.toml`, so it is not among the plugins that are built to be shipped.
#![forbid(unsafe_code)]

mod attempts;
mod given;

use hilum_plugin::{Description, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

use given::Given;

/// The plugin.
#[derive(Debug)]
pub struct Attacks;

impl Plugin for Attacks {
    type Settings = Plot;

    fn describe() -> Description {
        Description {
            name: "attacks",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: r#"{"type": "object"}"#,
            grants: Vec::new(),
        }
    }

    fn read(settings: &mut Settings) -> Result<Plot, SettingsError> {
        let attempt = settings.required("attempt", "attempt = \"read-file\"")?.string()?.to_owned();
        let given = settings.optional("with").map(Given::read).transpose()?.unwrap_or_default();
        if attempt == "never-judge" {
            attempts::spin::spin();
        }
        Ok(Plot { attempt, given })
    }
}

impl Probe for Attacks {
    fn check(plot: &Plot, _: &Request, host: &impl Host) -> Outcome {
        match attempts::run(&plot.attempt, &plot.given, host) {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Outcome::Unknown(format!("bug: {error}")),
            None => Outcome::Unknown(format!("bug: there is no attempt {}", plot.attempt)),
        }
    }
}

hilum_plugin::export!(Attacks);

/// What to attempt, and what with.
#[derive(Debug)]
pub struct Plot {
    attempt: String,
    given: Given,
}
