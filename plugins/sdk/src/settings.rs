//! The plan's `with` table, read key by key; a key nobody asked for is an error, because it is a typing mistake.

use std::fmt;

use crate::json::{Value, parse};
use crate::unit;

/// Where a setting stands, in both notations. The last part of neither is added yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Path {
    /// For people: `tls.ca`, `expect[1]`.
    text: String,
    /// For programs, a JSON Pointer: `/tls/ca`, `/expect/1`.
    pointer: String,
}

impl Path {
    fn key(&self, key: &str) -> Path {
        let text = if self.text.is_empty() { key.to_owned() } else { format!("{}.{key}", self.text) };
        Path { text, pointer: format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1")) }
    }

    fn index(&self, index: usize) -> Path {
        Path { text: format!("{}[{index}]", self.text), pointer: format!("{}/{index}", self.pointer) }
    }

    fn error(&self, story: impl fmt::Display) -> SettingsError {
        SettingsError { path: self.clone(), story: story.to_string() }
    }
}

/// Settings on their way to a plugin's own type.
#[derive(Clone, Debug)]
pub struct Settings {
    path: Path,
    members: Vec<(String, Value)>,
    /// Keys that were asked for, to list them when another one is found.
    known: Vec<String>,
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    path: Path,
    value: Value,
}

/// What is wrong with settings: the place, what was found, and the way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    path: Path,
    story: String,
}

impl SettingsError {
    /// An error of the plugin's own about a key; `story` should say what was found and what to write.
    #[must_use]
    pub fn new(key: &str, story: impl fmt::Display) -> SettingsError {
        Path::default().key(key).error(story)
    }

    /// Where, as a JSON Pointer.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.path.pointer
    }

    /// What, without where.
    #[must_use]
    pub fn story(&self) -> &str {
        &self.story
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.text.as_str() {
            "" => write!(f, "settings: {}", self.story),
            place => write!(f, "settings: {place}: {}", self.story),
        }
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads a settings object.
    ///
    /// **Errors:** it is not one.
    pub fn parse(json: &str) -> Result<Settings, SettingsError> {
        let path = Path::default();
        match parse(json) {
            Ok(Value::Object(members)) => Ok(Settings { path, members, known: Vec::new() }),
            Ok(other) => Err(path.error(format_args!("must be a table, not {}", other.kind()))),
            Err(story) => Err(path.error(story)),
        }
    }

    /// The setting `key`, if it is there.
    pub fn optional(&mut self, key: &str) -> Option<Setting> {
        self.known.push(key.to_owned());
        let index = self.members.iter().position(|(name, _)| name == key)?;
        let (_, value) = self.members.remove(index);
        Some(Setting { path: self.path.key(key), value })
    }

    /// The setting `key`, which must be there; `example` is shown if it is not.
    ///
    /// **Errors:** it is not there.
    pub fn required(&mut self, key: &str, example: &str) -> Result<Setting, SettingsError> {
        let missing = self.path.key(key);
        self.optional(key).ok_or_else(|| missing.error(format_args!("missing; write {example}")))
    }

    /// Ends the reading.
    ///
    /// **Errors:** a key is left that was not asked for.
    pub fn finish(self) -> Result<(), SettingsError> {
        match self.members.first() {
            None => Ok(()),
            Some((key, _)) if self.known.is_empty() => Err(self.path.key(key).error("no such key; there are none")),
            Some((key, _)) => {
                Err(self.path.key(key).error(format_args!("no such key; there are {}", self.known.join(", "))))
            }
        }
    }
}

impl Setting {
    fn wrong(&self, wanted: &str) -> SettingsError {
        let found = match &self.value {
            Value::Number(text) => text.clone(),
            Value::String(text) => format!("{text:?}"),
            other => other.kind().to_owned(),
        };
        self.path.error(format_args!("must be {wanted}, not {found}"))
    }

    /// An error about this setting.
    #[must_use]
    pub fn error(&self, story: impl fmt::Display) -> SettingsError {
        self.path.error(story)
    }

    /// A string.
    ///
    /// **Errors:** it is something else.
    pub fn string(&self) -> Result<&str, SettingsError> {
        match &self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    /// A string that may be a secret, such as a password or a token.
    ///
    /// **Errors:** it is something else, which is not shown: it is the secret without its quotes.
    pub fn secret(&self) -> Result<&str, SettingsError> {
        match &self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.error("must be a string; put it in quotes")),
        }
    }

    /// A boolean.
    ///
    /// **Errors:** it is something else.
    pub fn boolean(&self) -> Result<bool, SettingsError> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A whole number from `min` to `max`.
    ///
    /// **Errors:** it is something else.
    pub fn integer(&self, min: i64, max: i64) -> Result<i64, SettingsError> {
        let number = match &self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.wrong(&format!("a whole number from {min} to {max}")))
    }

    /// A duration such as `"30s"`, `"250ms"` or `"1m30s"`; units `ms s m h d`, at most ten years. **Units:** milliseconds.
    ///
    /// **Errors:** it is something else, a bare number too.
    pub fn duration(&self) -> Result<u64, SettingsError> {
        let ms = match &self.value {
            Value::String(text) => unit::parse_duration(text),
            _ => None,
        };
        ms.ok_or_else(|| self.wrong("a duration such as \"30s\" or \"1m30s\""))
    }

    /// A number of bytes: a whole number, or text with a unit such as `"64KiB"`; units `B kB KiB MB MiB GB GiB`.
    ///
    /// **Errors:** it is something else.
    pub fn size(&self) -> Result<u64, SettingsError> {
        let bytes = match &self.value {
            Value::Number(text) => text.parse().ok(),
            Value::String(text) => unit::parse_size(text),
            _ => None,
        };
        bytes.ok_or_else(|| self.wrong("a number of bytes, or a size such as \"64KiB\""))
    }

    /// An absolute path, as the host takes it: without `.` and `..`, at most 4,095 bytes.
    ///
    /// **Errors:** it is something else.
    pub fn path(&self) -> Result<&str, SettingsError> {
        let path = match &self.value {
            Value::String(path) => Some(path.as_str()),
            _ => None,
        };
        path.filter(|path| path.starts_with('/') && path.len() <= 4095 && !path.contains('\0'))
            .filter(|path| path.split('/').all(|part| part != "." && part != ".."))
            .ok_or_else(|| self.wrong("an absolute path without \".\" and \"..\""))
    }

    /// The items, if it is a list; else itself as the only one.
    #[must_use]
    pub fn items(self) -> Vec<Setting> {
        match self.value {
            Value::Array(values) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| Setting { path: self.path.index(index), value })
                .collect(),
            value => vec![Setting { path: self.path, value }],
        }
    }

    /// The entries of a table whose keys are the user's own.
    ///
    /// **Errors:** it is something else.
    pub fn entries(self) -> Result<Vec<(String, Setting)>, SettingsError> {
        let error = self.wrong("a table");
        let Value::Object(members) = self.value else { return Err(error) };
        Ok(members
            .into_iter()
            .map(|(name, value)| {
                let path = self.path.key(&name);
                (name, Setting { path, value })
            })
            .collect())
    }

    /// A table with keys of its own.
    ///
    /// **Errors:** it is something else.
    pub fn table(self) -> Result<Settings, SettingsError> {
        let error = self.wrong("a table");
        let Value::Object(members) = self.value else { return Err(error) };
        Ok(Settings { path: self.path, members, known: Vec::new() })
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self.value, Value::Number(_))
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, SettingsError};

    fn read(json: &str) -> Result<(String, i64), SettingsError> {
        let mut settings = Settings::parse(json)?;
        let name = settings.required("name", "name = \"x\"")?.string()?.to_owned();
        let mut limit = 5;
        if let Some(table) = settings.optional("limit") {
            let mut table = table.table()?;
            limit = table.required("count", "count = 3")?.integer(1, 9)?;
            table.finish()?;
        }
        settings.finish()?;
        Ok((name, limit))
    }

    #[test]
    fn durations_sizes_and_paths_say_what_they_should_be() {
        let told = |json: &str| {
            let setting = Settings::parse(json)?.required("x", "x")?;
            match (setting.duration(), setting.size(), setting.path()) {
                (Ok(ms), ..) => Ok(format!("{ms} ms")),
                (_, Ok(bytes), _) => Ok(format!("{bytes} bytes")),
                (.., Ok(path)) => Ok(path.to_owned()),
                (Err(duration), Err(size), Err(path)) => {
                    Err(SettingsError::new("x", [duration.story(), size.story(), path.story()].join("; ")))
                }
            }
        };
        assert_eq!(told(r#"{"x": "1m30s"}"#), Ok("90000 ms".to_owned()));
        assert_eq!(told(r#"{"x": 4096}"#), Ok("4096 bytes".to_owned()));
        assert_eq!(told(r#"{"x": "64KiB"}"#), Ok("65536 bytes".to_owned()));
        assert_eq!(told(r#"{"x": "/run/a..b/.c"}"#), Ok("/run/a..b/.c".to_owned()));
        for value in ["\"\"", "\"run\"", "\"/run/../etc\"", "\"/.\"", "true", "-1", "1.5"] {
            let expected = format!(
                "settings: x: must be a duration such as \"30s\" or \"1m30s\", not {value}; must be a number of bytes, or a size \
                 such as \"64KiB\", not {value}; must be an absolute path without \".\" and \"..\", not {value}"
            )
            .replace("not true", "not a boolean");
            assert_eq!(told(&format!("{{\"x\": {value}}}")).map_err(|e| e.to_string()), Err(expected));
        }
        assert!(told(&format!("{{\"x\": \"/{}\"}}", "x".repeat(4095))).is_err());
        assert!(told(r#"{"x": "/a\u0000b"}"#).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let told = |json: &str| Settings::parse(json)?.required("x", "x")?.secret().map(str::to_owned);
        assert_eq!(told(r#"{"x": "hunter2"}"#), Ok("hunter2".to_owned()));
        for value in ["4711", "true", "null", r#"["hunter2"]"#, r#"{"hunter2": 1}"#] {
            let story = "settings: x: must be a string; put it in quotes".to_owned();
            assert_eq!(told(&format!("{{\"x\": {value}}}")).map_err(|e| e.to_string()), Err(story));
        }
    }

    #[test]
    fn settings_become_values() {
        assert_eq!(read(r#"{"name": "n"}"#), Ok(("n".to_owned(), 5)));
        assert_eq!(read(r#"{"limit": {"count": 7}, "name": "n"}"#), Ok(("n".to_owned(), 7)));
    }

    #[test]
    fn errors_name_the_place_what_was_found_and_the_way_out() {
        for (json, expected) in [
            ("[]", "settings: must be a table, not an array"),
            ("{", "settings: not JSON: at byte 1 there should be a string"),
            ("{}", "settings: name: missing; write name = \"x\""),
            (r#"{"name": 3}"#, "settings: name: must be a string, not 3"),
            (r#"{"name": "n", "nmae": 1}"#, "settings: nmae: no such key; there are name, limit"),
            (r#"{"name": "n", "limit": 1}"#, "settings: limit: must be a table, not 1"),
            (r#"{"name": "n", "limit": {}}"#, "settings: limit.count: missing; write count = 3"),
            (
                r#"{"name": "n", "limit": {"count": 10}}"#,
                "settings: limit.count: must be a whole number from 1 to 9, not 10",
            ),
            (
                r#"{"name": "n", "limit": {"count": 1.5}}"#,
                "settings: limit.count: must be a whole number from 1 to 9, not 1.5",
            ),
            (
                r#"{"name": "n", "limit": {"count": "1"}}"#,
                "settings: limit.count: must be a whole number from 1 to 9, not \"1\"",
            ),
            (r#"{"name": "n", "limit": {"count": 1, "x": 1}}"#, "settings: limit.x: no such key; there are count"),
        ] {
            assert_eq!(read(json).map_err(|e| e.to_string()), Err(expected.to_owned()), "{json}");
        }
        let error = read(r#"{"name": "n", "limit": {"co/~nt": 1, "count": 1}}"#).err();
        assert_eq!(error.as_ref().map(SettingsError::pointer), Some("/limit/co~1~0nt"));
        assert_eq!(error.as_ref().map(SettingsError::story), Some("no such key; there are count"));
    }
}
