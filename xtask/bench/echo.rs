//! The smallest probe there is: it answers with what it was given. What a call of it takes is what any call takes.
#![forbid(unsafe_code)]

use hilum_plugin::{Description, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};

/// The plugin.
#[derive(Debug)]
pub struct Echo;

impl Plugin for Echo {
    type Settings = String;

    fn describe() -> Description {
        Description { name: "echo", version: "0.1.0", settings_schema: "{}", grants: Vec::new() }
    }

    fn read(settings: &mut Settings) -> Result<String, SettingsError> {
        Ok(settings.required("text", "text = \"hello\"")?.string()?.to_owned())
    }
}

impl Probe for Echo {
    fn check(text: &String, _: &Request, _: &impl Host) -> Outcome {
        Outcome::Fail(text.clone())
    }
}

hilum_plugin::export!(Echo);
