//! The plan's `with` table, read key by key; a key nobody asked for is an error, because it is a typing mistake.

use std::fmt;

use crate::json::{Value, parse};

/// Settings on their way to a plugin's own type.
#[derive(Clone, Debug)]
pub struct Settings {
    place: String,
    members: Vec<(String, Value)>,
    /// Keys that were asked for, to list them when another one is found.
    known: Vec<String>,
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    place: String,
    value: Value,
}

/// What is wrong with settings: the place, what was found, and the way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    text: String,
}

impl SettingsError {
    /// An error of the plugin's own; `story` should say what was found and what to write.
    #[must_use]
    pub fn new(key: &str, story: impl fmt::Display) -> SettingsError {
        SettingsError { text: format!("settings: {key}: {story}") }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads a settings object.
    ///
    /// **Errors:** it is not one.
    pub fn parse(json: &str) -> Result<Settings, SettingsError> {
        match parse(json) {
            Ok(Value::Object(members)) => Ok(Settings { place: String::new(), members, known: Vec::new() }),
            Ok(other) => Err(SettingsError { text: format!("settings: must be a table, not {}", other.kind()) }),
            Err(story) => Err(SettingsError { text: format!("settings: {story}") }),
        }
    }

    /// The setting `key`, if it is there.
    pub fn optional(&mut self, key: &str) -> Option<Setting> {
        self.known.push(key.to_owned());
        let index = self.members.iter().position(|(name, _)| name == key)?;
        let (_, value) = self.members.remove(index);
        Some(Setting { place: format!("{}{key}", self.place), value })
    }

    /// The setting `key`, which must be there; `example` is shown if it is not.
    ///
    /// **Errors:** it is not there.
    pub fn required(&mut self, key: &str, example: &str) -> Result<Setting, SettingsError> {
        self.optional(key).ok_or_else(|| {
            SettingsError::new(&format!("{}{key}", self.place), format_args!("missing; write {example}"))
        })
    }

    /// Ends the reading.
    ///
    /// **Errors:** a key is left that was not asked for.
    pub fn finish(self) -> Result<(), SettingsError> {
        match self.members.first() {
            None => Ok(()),
            Some((key, _)) => Err(SettingsError::new(
                &format!("{}{key}", self.place),
                format_args!("no such key; there are {}", self.known.join(", ")),
            )),
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
        SettingsError::new(&self.place, format_args!("must be {wanted}, not {found}"))
    }

    /// An error about this setting.
    #[must_use]
    pub fn error(&self, story: impl fmt::Display) -> SettingsError {
        SettingsError::new(&self.place, story)
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

    /// The items, if it is a list; else itself as the only one.
    #[must_use]
    pub fn items(self) -> Vec<Setting> {
        match self.value {
            Value::Array(values) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| Setting { place: format!("{}[{index}]", self.place), value })
                .collect(),
            value => vec![Setting { place: self.place, value }],
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
                let place = format!("{}.{name}", self.place);
                (name, Setting { place, value })
            })
            .collect())
    }

    /// A table with keys of its own.
    ///
    /// **Errors:** it is something else.
    pub fn table(self) -> Result<Settings, SettingsError> {
        let error = self.wrong("a table");
        let Value::Object(members) = self.value else { return Err(error) };
        Ok(Settings { place: format!("{}.", self.place), members, known: Vec::new() })
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
    }
}
