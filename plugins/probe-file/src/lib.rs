//! Probe: a file or directory: that it is there or not, of which kind, how old, how large, and whether a text is in it.
//!
//! What each setting means is said in the README; what is a failure and what is unknown is
//! [`FileError::outcome`](hilum_plugin::FileError::outcome)'s rule. All that is set must hold; the first that does not is told.
#![forbid(unsafe_code)]

use hilum_plugin::unit::{format_duration, format_size};
use hilum_plugin::{
    Description, FileError, FileKind, FileStatus, Grant, Host, Outcome, Plugin, Probe, Request, Settings,
    SettingsError, holds, shown, shown_end,
};

/// Bytes at one end of the file that are searched for `contains`. The state a program writes down is shorter, and so is what it logged last.
const SEARCHED: u32 = 64 * 1024;

/// The plugin.
#[derive(Debug)]
pub struct ProbeFile;

impl Plugin for ProbeFile {
    type Settings = Expectation;

    fn describe() -> Description {
        Description {
            name: "probe-file",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "files", value: None, reason: "path of the settings, :ro" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Expectation, SettingsError> {
        let path = settings.required("path", "path = \"/run/app/ready\"")?.path()?.to_owned();
        let exists = settings.optional("exists").map(|setting| setting.boolean()).transpose()?;
        let kind = match settings.optional("kind") {
            None => None,
            Some(setting) => match setting.string()? {
                "file" => Some(FileKind::File),
                "directory" => Some(FileKind::Directory),
                "any" => None,
                other => {
                    return Err(setting.error(format_args!("is {other:?}; write \"file\", \"directory\" or \"any\"")));
                }
            },
        };
        let age = span(settings, "min-age", "max-age", hilum_plugin::Setting::duration)?;
        let size = span(settings, "min-size", "max-size", hilum_plugin::Setting::size)?;
        let contains = match settings.optional("contains") {
            None => None,
            Some(setting) => match setting.string()? {
                "" => return Err(setting.error("is empty, which any file holds; leave it out, or write a text")),
                text => Some(text.to_owned()),
            },
        };
        let end = match settings.optional("where") {
            None => false,
            Some(setting) if contains.is_none() => {
                return Err(setting.error("says where to look, but not for what; write contains = \"TEXT\""));
            }
            Some(setting) => match setting.string()? {
                "start" => false,
                "end" => true,
                other => return Err(setting.error(format_args!("is {other:?}; write \"start\" or \"end\""))),
            },
        };
        let text = contains.map(|text| Text { text, end });
        let of_files = text.is_some() || !size.is_open();
        if of_files && kind == Some(FileKind::Directory) {
            return Err(SettingsError::new("kind", "is \"directory\", but sizes and contents are those of files"));
        }
        let kind = if of_files { Some(FileKind::File) } else { kind };
        if exists == Some(false) && (kind.is_some() || !age.is_open()) {
            return Err(SettingsError::new(
                "exists",
                "is false, so nothing else can be asked of it; leave out the rest",
            ));
        }
        Ok(Expectation { path, exists: exists.unwrap_or(true), kind, age, size, text })
    }
}

impl Probe for ProbeFile {
    fn check(expected: &Expectation, _: &Request, host: &impl Host) -> Outcome {
        let path = &expected.path;
        match (host.file_status(path), expected.exists) {
            (Err(FileError::NotFound(_)), false) => Outcome::Pass,
            (Ok(status), false) => Outcome::Fail(format!("{path} is there and should not be; it is {}", status.kind)),
            (Err(error), _) => error.outcome("look at the file", path),
            (Ok(status), true) => expected.judge(&status, host),
        }
    }
}

hilum_plugin::export!(ProbeFile);

/// What is expected of which path.
#[derive(Debug)]
pub struct Expectation {
    path: String,
    exists: bool,
    /// `None`: any.
    kind: Option<FileKind>,
    /// **Units:** milliseconds.
    age: Span,
    /// **Units:** bytes.
    size: Span,
    text: Option<Text>,
}

/// What to find at which end of a file.
#[derive(Debug)]
struct Text {
    text: String,
    end: bool,
}

impl Expectation {
    fn judge(&self, status: &FileStatus, host: &impl Host) -> Outcome {
        let path = &self.path;
        if let Some(kind) = self.kind
            && kind != status.kind
        {
            return Outcome::Fail(format!("{path} is {}, not {kind}", status.kind));
        }
        if !self.age.is_open() {
            let age = match status.age_ms(host) {
                Ok(age) => age,
                Err(story) => return Outcome::Unknown(format!("cannot tell the age of {path}: it {story}")),
            };
            if let Some(limit) = self.age.missed(age, format_duration) {
                return Outcome::Fail(format!("{path} was changed {} ago, {limit}", format_duration(age)));
            }
        }
        if let Some(limit) = self.size.missed(status.size, format_size) {
            return Outcome::Fail(format!("{path} has {}, {limit}", format_size(status.size)));
        }
        self.text.as_ref().map_or(Outcome::Pass, |text| text.find(path, status.size, host))
    }
}

impl Text {
    fn find(&self, path: &str, size: u64, host: &impl Host) -> Outcome {
        let offset = if self.end { size.saturating_sub(SEARCHED.into()) } else { 0 };
        let bytes = match host.read_file(path, offset, SEARCHED) {
            Ok(bytes) => bytes,
            Err(error) => return error.outcome("read the file", path),
        };
        if holds(&bytes, self.text.as_bytes()) {
            return Outcome::Pass;
        }
        let found = match (bytes.is_empty(), self.end) {
            (true, _) => "it is empty".to_owned(),
            (false, false) => format!("it begins with {}", shown(&bytes)),
            (false, true) => format!("it ends in {}", shown_end(&bytes)),
        };
        let part = match (size > SEARCHED.into(), self.end) {
            (false, _) => "",
            (true, false) => " in its first 64KiB",
            (true, true) => " in its last 64KiB",
        };
        Outcome::Fail(format!("{path} does not hold {}{part}, {found}", shown(self.text.as_bytes())))
    }
}

/// From what to what, both included; each may be open.
#[derive(Debug)]
struct Span {
    min: Option<u64>,
    max: Option<u64>,
}

/// Reads a span.
///
/// **Errors:** of `read`, and that nothing is in it.
fn span(
    settings: &mut Settings,
    min: &str,
    max: &str,
    read: impl Fn(&hilum_plugin::Setting) -> Result<u64, SettingsError>,
) -> Result<Span, SettingsError> {
    let lowest = settings.optional(min).map(|setting| read(&setting)).transpose()?;
    let Some(setting) = settings.optional(max) else { return Ok(Span { min: lowest, max: None }) };
    let highest = read(&setting)?;
    if lowest.is_some_and(|lowest| lowest > highest) {
        return Err(setting.error(format_args!("is less than {min}; nothing is in between")));
    }
    Ok(Span { min: lowest, max: Some(highest) })
}

impl Span {
    fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// Which limit `value` misses, for people.
    fn missed(&self, value: u64, format: impl Fn(u64) -> String) -> Option<String> {
        match (self.min, self.max) {
            (Some(min), _) if value < min => Some(format!("less than {}", format(min))),
            (_, Some(max)) if value > max => Some(format!("more than {}", format(max))),
            _ => None,
        }
    }
}
