//! Probe: whether the service shows that it is alive, by touching or writing a file again and again.
//!
//! A beat counts for the life of the service it was made in: what an earlier one left behind is not looked at, and a new one has as long for its
//! first beat as for any other. What each setting means is said in the README.
#![forbid(unsafe_code)]

use hilum_plugin::unit::format_duration;
use hilum_plugin::{
    Description, FileError, FileKind, Grant, Host, Outcome, Plugin, Probe, Request, Run, Settings, SettingsError,
};

/// The plugin.
#[derive(Debug)]
pub struct ProbeHeartbeat;

impl Plugin for ProbeHeartbeat {
    type Settings = Heart;

    fn describe() -> Description {
        Description {
            name: "probe-heartbeat",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "files", value: None, reason: "file of the settings, :ro" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Heart, SettingsError> {
        let file = settings.required("file", "file = \"/run/app/beat\"")?.path()?.to_owned();
        let setting = settings.required("max-age", "max-age = \"30s\"")?;
        let max_age = setting.duration()?;
        if max_age == 0 {
            return Err(setting.error("is nothing, and no beat is that young; write twice the time between two beats"));
        }
        Ok(Heart { file, max_age })
    }
}

impl Probe for ProbeHeartbeat {
    fn check(heart: &Heart, _: &Request, host: &impl Host) -> Outcome {
        let Some(service) = host.service() else {
            return Outcome::Unknown("no beat can be expected: the call is about no service".to_owned());
        };
        let Some(run) = service.run else {
            return Outcome::Unknown(format!("no beat can be expected: {} does not run", service.name));
        };
        let file = &heart.file;
        let status = match host.file_status(file) {
            Ok(status) => status,
            Err(FileError::NotFound(_)) => return heart.judge(None, run, &service.name),
            Err(error) => return error.outcome("look at the file", file),
        };
        if status.kind != FileKind::File {
            return Outcome::Unknown(format!("{file} is {}; name a file that the service touches", status.kind));
        }
        match status.age_ms(host) {
            Ok(age) => heart.judge(Some(age), run, &service.name),
            Err(story) => Outcome::Unknown(format!("cannot tell the age of the last beat: {file} {story}")),
        }
    }
}

hilum_plugin::export!(ProbeHeartbeat);

/// What beats, and how often.
#[derive(Debug)]
pub struct Heart {
    file: String,
    /// **Units:** milliseconds.
    max_age: u64,
}

impl Heart {
    /// What a beat of this age, if there was one, says of this life.
    fn judge(&self, age: Option<u64>, run: Run, service: &str) -> Outcome {
        let Heart { file, max_age } = self;
        // An older one was not made in this life.
        let own = age.filter(|age| *age <= run.age_ms);
        if own.unwrap_or(run.age_ms) <= *max_age {
            return Outcome::Pass;
        }
        let limit = format_duration(*max_age);
        let lived = format_duration(run.age_ms);
        Outcome::Fail(match (own, age) {
            (Some(own), _) => format!(
                "the last beat of {service} was {} ago, more than {limit}: {file} was not touched since",
                format_duration(own)
            ),
            (None, None) => {
                format!("no beat of {service} in the {lived} it runs, more than {limit}: {file} is missing")
            }
            (None, Some(age)) => format!(
                "no beat of {service} in the {lived} it runs, more than {limit}: {file} was touched {} ago, before that",
                format_duration(age)
            ),
        })
    }
}
