//! Probe: a variable of hilum's own environment: whether it is set, and to what. A variable that is not set is another thing than one that is
//! set to nothing.
//!
//! Values are never shown: many are secrets.
#![forbid(unsafe_code)]

use std::fmt;

use hilum_plugin::{Description, Grant, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

/// The plugin.
#[derive(Debug)]
pub struct ProbeEnv;

impl Plugin for ProbeEnv {
    type Settings = Variable;

    fn describe() -> Description {
        Description {
            name: "probe-env",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "env", value: None, reason: "name of the settings" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Variable, SettingsError> {
        let name = settings.required("name", "name = \"REGION\"")?;
        let text = name.string()?;
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(name.error(format_args!("{text:?} cannot be the name of a variable; write the name alone")));
        }
        let equals = settings.optional("equals").map(|setting| setting.string().map(str::to_owned)).transpose()?;
        let set = settings.optional("set");
        let wanted = match (equals, set) {
            (Some(_), Some(set)) => {
                return Err(
                    set.error("cannot be used with equals, which asks for a set variable anyway; leave one out")
                );
            }
            (Some(value), None) => Wanted::Value(value),
            (None, Some(set)) if !set.boolean()? => Wanted::Unset,
            (None, _) => Wanted::Set,
        };
        Ok(Variable { name: text.to_owned(), wanted })
    }
}

impl Probe for ProbeEnv {
    fn check(variable: &Variable, _: &Request, host: &impl Host) -> Outcome {
        let name = &variable.name;
        let value = match host.environment(name) {
            Ok(value) => value,
            Err(why) => return Outcome::Unknown(format!("cannot read variable {name}: {why}")),
        };
        match (&variable.wanted, value) {
            (Wanted::Set, Some(_)) | (Wanted::Unset, None) => Outcome::Pass,
            (Wanted::Value(wanted), Some(value)) if *wanted == value => Outcome::Pass,
            (Wanted::Set | Wanted::Value(_), None) => {
                Outcome::Fail(format!("variable {name} is not set in hilum's environment"))
            }
            (Wanted::Unset, Some(value)) => {
                let empty = if value.is_empty() { ", if only to nothing" } else { "" };
                Outcome::Fail(format!("variable {name} is set in hilum's environment{empty}, and should not be"))
            }
            (Wanted::Value(_), Some(value)) => {
                let found = if value.is_empty() { "is set to nothing" } else { "has another value" };
                Outcome::Fail(format!("variable {name} {found} in hilum's environment, not the one of equals"))
            }
        }
    }
}

hilum_plugin::export!(ProbeEnv);

/// What is asked of which variable.
#[derive(Debug)]
pub struct Variable {
    name: String,
    wanted: Wanted,
}

enum Wanted {
    Set,
    Unset,
    Value(String),
}

impl fmt::Debug for Wanted {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Set => "Set",
            Wanted::Unset => "Unset",
            Wanted::Value(_) => "Value(…)",
        })
    }
}
