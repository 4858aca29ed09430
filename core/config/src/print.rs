//! Shows every effective value of a plan and where it came from, as a plan: TOML with comments that can be loaded
//! again.

use std::fmt::Write as _;

use crate::address::Address;
use crate::unit::format_thousandths;
use crate::value::Datum;
use crate::{format_duration, format_size, signal_name};

/// One effective value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    /// The table it is in.
    pub(crate) table: Vec<String>,
    /// Its key there, with points where it is deeper.
    pub(crate) key: String,
    /// The value as TOML; `None` where no value says what holds.
    pub(crate) value: Option<String>,
    /// Where it came from.
    pub(crate) source: String,
}

/// The plan that says `settings`.
pub(crate) fn render(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut table: &[String] = &[];
    for setting in settings {
        if setting.table != table {
            let names: Vec<String> = setting.table.iter().map(|name| key(name)).collect();
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}[{}]", names.join("."));
            table = &setting.table;
        }
        let _ = match &setting.value {
            Some(value) => writeln!(text, "{} = {value}  # {}", setting.key, setting.source),
            None => writeln!(text, "# {}", setting.source),
        };
    }
    text
}

/// A key as TOML: bare where it can be.
pub(crate) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { String::from(name) } else { quoted(name) }
}

/// A value as TOML, with what `load` would expand put so that it does not.
pub(crate) fn value(datum: &Datum) -> String {
    match datum {
        Datum::Bad | Datum::Table(_) => String::new(),
        Datum::Flag(flag) => flag.to_string(),
        Datum::Text(text) => string(text),
        Datum::Duration(span) => quoted(&format_duration(*span)),
        Datum::Unlimited => quoted("unlimited"),
        Datum::Size(bytes) => quoted(&format_size(*bytes)),
        Datum::Count(count) => count.to_string(),
        Datum::Thousandths(thousandths) => format_thousandths(*thousandths),
        Datum::Choice(word) => quoted(word),
        Datum::Signal(signal) => quoted(&signal_name(*signal)),
        Datum::Words(words) => list(words.iter().map(|word| string(word))),
        Datum::Listen(addresses) => list(addresses.iter().map(|address| match address {
            Address::Tcp(address) => quoted(&address.to_string()),
            Address::Unix(path) => string(&format!("unix:{}", path.display())),
            Address::Activation => quoted("socket-activation"),
        })),
        Datum::Address(address) => quoted(&address.to_string()),
        Datum::Settings(settings) => json(settings),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Inline TOML for a JSON value, which has no null: settings come from TOML.
fn json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Bool(flag) => flag.to_string(),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Array(items) => list(items.iter().map(json)),
        serde_json::Value::Object(entries) if entries.is_empty() => String::from("{}"),
        serde_json::Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(name, value)| format!("{} = {}", key(name), json(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A string of a plan: quoted, with its dollar signs doubled.
fn string(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
