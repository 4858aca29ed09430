//! The values of a plan file: typed by the table of keys, with their place and with variables put in. What they mean
//! together is `resolve`'s business.

use std::net::SocketAddr;

use hilum_engine::{Signal, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::address::{self, Address};
use crate::diagnose::{Fault, Mistake, alternatives, join, quote};
use crate::expand::{Environment, expand};
use crate::raw::{Absent, Grant, Key, PLAN, Schema, Shape};
use crate::unit::{format_thousandths, parse_thousandths};
use crate::{parse_duration, parse_signal, parse_size, words};

/// A typed value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Datum {
    /// It was wrong, and that has been said.
    Bad,
    Flag(bool),
    Text(String),
    Duration(Span),
    Unlimited,
    Size(u64),
    Count(u32),
    Thousandths(u32),
    Choice(&'static str),
    Signal(Signal),
    Words(Vec<String>),
    Listen(Vec<Address>),
    Address(SocketAddr),
    Settings(serde_json::Value),
    Table(Fields),
}

/// A table's values, in the order of the file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fields {
    /// Where the table begins.
    pub(crate) at: usize,
    /// What is in it.
    pub(crate) entries: Vec<Field>,
}

/// One key's value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Field {
    /// The key.
    pub(crate) name: String,
    /// Where the value is; for a table with a header, the name in the header.
    pub(crate) at: usize,
    /// The value.
    pub(crate) datum: Datum,
}

impl Fields {
    /// The value of a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Field> {
        self.entries.iter().find(|field| field.name == name)
    }

    /// The table at a key, if there is one.
    pub(crate) fn table(&self, name: &str) -> Option<&Fields> {
        self.get(name).and_then(Field::table)
    }
}

impl Field {
    /// The value, if it is a table.
    pub(crate) fn table(&self) -> Option<&Fields> {
        match &self.datum {
            Datum::Table(fields) => Some(fields),
            _ => None,
        }
    }
}

/// Longest name of a service, probe or plugin. **Units:** bytes. Names stand in every log line, status report and file
/// name; a host name's label has the same limit, less one.
const NAME: usize = 64;

/// Largest `with` table. **Units:** bytes of JSON. Written as a string in a frame to the worker, where each byte may
/// take two, it fits twice into the 64 KiB of a frame; doubled, it might not fit beside the rest.
const SETTINGS: usize = 16 * 1024;

/// Most addresses one plugin may be granted. All travel in one 64 KiB frame; the longest is a 253-byte name with a
/// port.
const GRANTS: usize = 128;

/// Most names, variables or commands one plugin may be granted, for the same reason.
const NAMES: usize = 64;

/// Most files and directories one plugin may be granted. A descriptor for each travels with the frame.
const FILES: usize = 16;

/// Most status sockets. Each is a descriptor that PID 1 holds and passes on.
const LISTENERS: usize = 16;

/// Reads `text`: the plan's tables and what is wrong with them. There are no tables if the text is not TOML.
pub(crate) fn read(text: &str, environment: &Environment<'_>) -> (Option<Fields>, Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, environment, path: Vec::new(), faults: Vec::new() };
    if errors.is_empty() {
        let fields = reader.table(document.get_ref(), 0, &PLAN);
        return (Some(fields), reader.faults);
    }
    // What a broken text means is a guess: its syntax comes first. The parser goes on after an error and stumbles over
    // what follows on the same line; the first of each line is the one to mend.
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let found = text.get(span.clone()).unwrap_or_default();
        let problem = if found.trim().is_empty() {
            format!("not TOML: {}", error.message())
        } else {
            format!("not TOML at {}: {}", quote(found), error.message())
        };
        reader.faults.push(Fault { at: span.start, key: String::new(), mistake: Mistake::new(problem, "") });
    }
    reader.faults.sort_by_key(|fault| fault.at);
    reader.faults.dedup_by(|next, first| !text.get(first.at..next.at).unwrap_or_default().contains('\n'));
    (None, reader.faults)
}

/// The value a key has where the file does not mention it, from the table of keys.
pub(crate) fn built_in(key: &Key) -> Option<Datum> {
    let Absent::Default(text) = key.absent else {
        return None;
    };
    let value = DeValue::parse(text).ok()?;
    let mut reader = Reader { text, environment: &|_| None, path: Vec::new(), faults: Vec::new() };
    Some(reader.datum(&key.shape, &value))
}

struct Reader<'a> {
    text: &'a str,
    environment: &'a Environment<'a>,
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, at: usize, mistake: Mistake) -> Datum {
        self.faults.push(Fault { at, key: join(&self.path), mistake });
        Datum::Bad
    }

    fn fault_at_key(&mut self, at: usize, key: &str, mistake: Mistake) {
        self.path.push(String::from(key));
        self.fault(at, mistake);
        self.path.pop();
    }

    /// Reads a table by its schema.
    fn table(&mut self, table: &DeTable<'_>, at: usize, schema: &'static Schema) -> Fields {
        let mut entries = Vec::new();
        for (name, value) in in_order(table) {
            let Some(key) = schema.key(name.get_ref()) else {
                self.fault_at_key(name.span().start, name.get_ref(), schema.unknown(name.get_ref()));
                // The key that was meant is there in a way: it is not reported as missing too.
                if let Some(meant) = schema.meant(name.get_ref())
                    && !table.contains_key(meant.name)
                {
                    entries.push(Field { name: String::from(meant.name), at: name.span().start, datum: Datum::Bad });
                }
                continue;
            };
            self.path.push(String::from(key.name));
            let datum = self.datum(&key.shape, value);
            self.path.pop();
            entries.push(Field { name: String::from(key.name), at: place(name, value), datum });
        }
        Fields { at, entries }
    }

    fn named(&mut self, table: &DeTable<'_>, at: usize, schema: &'static Schema) -> Fields {
        let mut entries = Vec::new();
        for (name, value) in in_order(table) {
            self.path.push(name.get_ref().to_string());
            if let Err(mistake) = check_name(name.get_ref()) {
                self.fault(name.span().start, mistake);
            }
            let datum = match value.get_ref() {
                DeValue::Table(inner) => Datum::Table(self.table(inner, name.span().start, schema)),
                other => self.fault(value.span().start, wrong_type(other, "a table", "")),
            };
            self.path.pop();
            entries.push(Field { name: name.get_ref().to_string(), at: name.span().start, datum });
        }
        Fields { at, entries }
    }

    /// Reads one value by its shape.
    fn datum(&mut self, shape: &Shape, value: &Spanned<DeValue<'_>>) -> Datum {
        let at = value.span().start;
        match (shape, value.get_ref()) {
            (Shape::Table(schema) | Shape::Either(schema, _), DeValue::Table(table)) => {
                Datum::Table(self.table(table, at, schema))
            }
            (Shape::Either(_, single), _) => self.datum(single, value),
            (Shape::Named(schema), DeValue::Table(table)) => Datum::Table(self.named(table, at, schema)),
            (Shape::Variables, DeValue::Table(table)) => self.variables(table, at),
            (Shape::Settings, DeValue::Table(table)) => self.settings(table, at),
            (Shape::Flag | Shape::Sidebind, DeValue::Boolean(flag)) => Datum::Flag(*flag),
            (Shape::Thousandths(low, high), DeValue::Integer(_) | DeValue::Float(_)) => {
                self.thousandths(value, *low, *high)
            }
            (Shape::Count, DeValue::Integer(number)) => {
                match i128::from_str_radix(number.as_str(), number.radix()).ok().and_then(|n| u32::try_from(n).ok()) {
                    Some(count) if count > 0 => Datum::Count(count),
                    _ => self.fault(
                        at,
                        Mistake::new(
                            format!("{} is out of range", clipped(&number.to_string())),
                            format!("write a whole number from 1 to {}", u32::MAX),
                        ),
                    ),
                }
            }
            (Shape::Signal, DeValue::Integer(number)) => self.parsed(at, &number.to_string(), stop_signal),
            (Shape::Command, DeValue::Array(items)) => {
                let words = self.texts(items);
                self.command(at, words)
            }
            (Shape::Command, DeValue::String(_)) => self.split_command(value),
            (Shape::Listen, DeValue::Array(items)) => self.listen(items),
            (Shape::Grants(grant), DeValue::Array(items)) => self.grants(*grant, items, at),
            (shape, DeValue::String(_)) if shape.takes_text() => match self.string(value) {
                Some(text) => self.text_datum(shape, at, &text),
                None => Datum::Bad,
            },
            (shape, other) => self.fault(at, wrong_type(other, &shape.describe(), &shape.remedy(other))),
        }
    }

    /// Reads a string by its shape.
    fn text_datum(&mut self, shape: &Shape, at: usize, text: &str) -> Datum {
        match shape {
            Shape::Duration { zero } => self.parsed(at, text, |text| match parse_duration(text)? {
                Span::ZERO if !zero => {
                    Err(Mistake::new(format!("{} is zero", quote(text)), "write a duration above zero"))
                }
                span => Ok(Datum::Duration(span)),
            }),
            Shape::Patience if text == "unlimited" => Datum::Unlimited,
            Shape::Patience => self.parsed(at, text, |text| match parse_duration(text) {
                Ok(span) => Ok(Datum::Duration(span)),
                Err(mistake) => Err(Mistake { remedy: format!("{}, or \"unlimited\"", mistake.remedy), ..mistake }),
            }),
            Shape::Unlimited if text == "unlimited" => Datum::Unlimited,
            Shape::Unlimited => self.fault(
                at,
                Mistake::new(format!("{} is not known here", quote(text)), "write a table, or \"unlimited\""),
            ),
            Shape::Size(low, high) => self.parsed(at, text, |text| match parse_size(text)? {
                size if (*low..=*high).contains(&size) => Ok(Datum::Size(size)),
                _ => Err(Mistake::new(
                    format!("{} is out of range", quote(text)),
                    format!("write a size from {} to {}", crate::format_size(*low), crate::format_size(*high)),
                )),
            }),
            Shape::Choice(words) => match words.iter().find(|word| **word == text) {
                Some(word) => Datum::Choice(word),
                None => self.fault(
                    at,
                    Mistake::new(
                        format!("{} is not known here", quote(text)),
                        format!("write {}", alternatives(words)),
                    ),
                ),
            },
            Shape::Signal => self.parsed(at, text, stop_signal),
            Shape::Sidebind => self.parsed(at, text, |text| match address::parse_listen(text)? {
                Address::Tcp(address) => Ok(Datum::Address(address)),
                Address::Unix(_) | Address::Activation => Err(Mistake::new(
                    format!("{} has no port to count up from", quote(text)),
                    "write an address as \"0.0.0.0:8111\"",
                )),
            }),
            Shape::Digest => self.parsed(at, text, digest),
            Shape::Directory => self.parsed(at, text, |text| {
                if text.starts_with('/') {
                    Ok(Datum::Text(String::from(text)))
                } else {
                    Err(Mistake::new(format!("{} is not an absolute path", quote(text)), "begin it with \"/\""))
                }
            }),
            Shape::Path => self.parsed(at, text, |text| {
                if text.is_empty() || text.ends_with('/') {
                    Err(Mistake::new(
                        format!("{} is not the path of a file", quote(text)),
                        "write the path of a .cwasm file",
                    ))
                } else if text.ends_with(".wasm") {
                    Err(Mistake::new(
                        format!("{} is not precompiled", quote(text)),
                        "compile it with \"hilumc compile\" and name the .cwasm file",
                    ))
                } else {
                    Ok(Datum::Text(String::from(text)))
                }
            }),
            _ => Datum::Text(String::from(text)),
        }
    }

    fn parsed(&mut self, at: usize, text: &str, parse: impl FnOnce(&str) -> Result<Datum, Mistake>) -> Datum {
        match parse(text) {
            Ok(datum) => datum,
            Err(mistake) => self.fault(at, mistake),
        }
    }

    /// The expanded string at `value`, which is one.
    fn string(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str()?;
        match expand(text, self.environment) {
            Ok(expanded) if expanded.contains('\0') => {
                let mistake = Mistake::new(format!("{} has a NUL character in it", quote(&expanded)), "remove it");
                self.fault(value.span().start, mistake);
                None
            }
            Ok(expanded) => Some(expanded),
            Err((offset, mistake)) => {
                self.fault(self.inside(value, text, offset), mistake);
                None
            }
        }
    }

    /// Where byte `offset` of the string `text` at `value` is in the file; the string's beginning if escapes make that
    /// hard to tell.
    fn inside(&self, value: &Spanned<DeValue<'_>>, text: &str, offset: usize) -> usize {
        let span = value.span();
        let typed = self.text.get(span.clone()).unwrap_or_default();
        typed.find(text).map_or(span.start, |start| span.start + start + offset)
    }

    /// The strings of a list; `None` for those that are wrong.
    fn texts(&mut self, items: &[Spanned<DeValue<'_>>]) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        let mut good = true;
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            match item.get_ref() {
                DeValue::String(_) => match self.string(item) {
                    Some(text) => texts.push(text),
                    None => good = false,
                },
                other => {
                    self.fault(item.span().start, wrong_type(other, "a string", &in_quotes(other)));
                    good = false;
                }
            }
            self.path.pop();
        }
        good.then_some(texts)
    }

    fn command(&mut self, at: usize, words: Option<Vec<String>>) -> Datum {
        match words {
            None => Datum::Bad,
            Some(words) if words.first().is_none_or(String::is_empty) => self.fault(
                at,
                Mistake::new(
                    "the command is empty",
                    "write a program and its arguments, as [\"/app/web\", \"--port\", \"8080\"]",
                ),
            ),
            Some(words) => Datum::Words(words),
        }
    }

    fn split_command(&mut self, value: &Spanned<DeValue<'_>>) -> Datum {
        let text = value.get_ref().as_str().unwrap_or_default();
        let at = value.span().start;
        let split = match words::split(text) {
            Ok(split) => split,
            Err((offset, mistake)) => return self.fault(self.inside(value, text, offset), mistake),
        };
        let mut expanded = Vec::new();
        let before = self.faults.len();
        for word in &split {
            match expand(word, self.environment) {
                Ok(word) if word.contains('\0') => {
                    self.fault(at, Mistake::new("the command has a NUL character in it", "remove it"));
                }
                Ok(word) => expanded.push(word),
                Err((offset, mistake)) => {
                    // Quotes may have hidden the word as it was typed; then the command's beginning has to do.
                    let offset = text.find(word.as_str()).map_or(0, |start| start + offset);
                    self.fault(self.inside(value, text, offset), mistake);
                }
            }
        }
        let expanded = (self.faults.len() == before).then_some(expanded);
        self.command(at, expanded)
    }

    fn variables(&mut self, table: &DeTable<'_>, at: usize) -> Datum {
        let mut entries = Vec::new();
        for (name, value) in in_order(table) {
            let variable = name.get_ref().as_ref();
            self.path.push(String::from(variable));
            if variable.is_empty() || variable.contains(['=', '\0']) {
                let mistake = Mistake::new(
                    format!("{} cannot be the name of a variable", quote(variable)),
                    "write a name that is not empty and has no \"=\" in it",
                );
                self.fault(name.span().start, mistake);
            }
            let datum = match value.get_ref() {
                DeValue::String(_) => self.string(value).map_or(Datum::Bad, Datum::Text),
                other => self.fault(value.span().start, wrong_type(other, "a string", &in_quotes(other))),
            };
            self.path.pop();
            entries.push(Field { name: String::from(variable), at: value.span().start, datum });
        }
        Datum::Table(Fields { at, entries })
    }

    fn settings(&mut self, table: &DeTable<'_>, at: usize) -> Datum {
        let before = self.faults.len();
        let json = self.json_object(table);
        if self.faults.len() > before {
            return Datum::Bad;
        }
        let length = json.to_string().len();
        if length > SETTINGS {
            return self.fault(
                at,
                Mistake::new(
                    format!("the settings are {length} bytes long as JSON"),
                    format!("keep them to {}", crate::format_size(u64::try_from(SETTINGS).unwrap_or(u64::MAX))),
                ),
            );
        }
        Datum::Settings(json)
    }

    fn json_object(&mut self, table: &DeTable<'_>) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (name, value) in in_order(table) {
            self.path.push(name.get_ref().to_string());
            let json = self.json(value);
            self.path.pop();
            object.insert(name.get_ref().to_string(), json);
        }
        serde_json::Value::Object(object)
    }

    fn json(&mut self, value: &Spanned<DeValue<'_>>) -> serde_json::Value {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => match expand(text, self.environment) {
                Ok(expanded) => return serde_json::Value::String(expanded),
                Err((offset, mistake)) => {
                    self.fault(self.inside(value, text, offset), mistake);
                }
            },
            DeValue::Boolean(flag) => return serde_json::Value::Bool(*flag),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => return serde_json::Value::from(number),
                Err(_) => {
                    self.fault(
                        at,
                        Mistake::new(
                            format!("{} is out of range", clipped(&number.to_string())),
                            format!("write a whole number from {} to {}", i64::MIN, i64::MAX),
                        ),
                    );
                }
            },
            DeValue::Float(number) => {
                match number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                    Some(number) => return serde_json::Value::Number(number),
                    None => {
                        self.fault(
                            at,
                            Mistake::new(
                                format!("{} is not a number JSON has", clipped(number.as_str())),
                                "write a finite number",
                            ),
                        );
                    }
                }
            }
            DeValue::Datetime(moment) => return serde_json::Value::String(moment.to_string()),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    self.path.push(index.to_string());
                    list.push(self.json(item));
                    self.path.pop();
                }
                return serde_json::Value::Array(list);
            }
            DeValue::Table(table) => return self.json_object(table),
        }
        serde_json::Value::Null
    }

    fn thousandths(&mut self, value: &Spanned<DeValue<'_>>, low: u32, high: u32) -> Datum {
        let typed = match value.get_ref() {
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).map(|n| n.to_string()).unwrap_or_default()
            }
            DeValue::Float(number) => String::from(number.as_str()),
            _ => String::new(),
        };
        match parse_thousandths(&typed) {
            Some(thousandths) if (low..=high).contains(&thousandths) => Datum::Thousandths(thousandths),
            Some(_) => self.fault(
                value.span().start,
                Mistake::new(
                    format!("{} is out of range", clipped(&typed)),
                    format!("write a number from {} to {}", format_thousandths(low), format_thousandths(high)),
                ),
            ),
            None => self.fault(
                value.span().start,
                Mistake::new(
                    format!("{} is not a plain number", clipped(&typed)),
                    format!(
                        "write a number from {} to {} with at most three decimals",
                        format_thousandths(low),
                        format_thousandths(high)
                    ),
                ),
            ),
        }
    }

    fn listen(&mut self, items: &[Spanned<DeValue<'_>>]) -> Datum {
        let before = self.faults.len();
        let mut addresses: Vec<Address> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            let at = item.span().start;
            if let Some(text) = self.address_text(item, |text| address::parse_listen(text).map(drop)) {
                match address::parse_listen(&text) {
                    Err(mistake) => {
                        self.fault(at, mistake);
                    }
                    Ok(address) if addresses.contains(&address) => {
                        self.fault(at, Mistake::new(format!("{} is listed twice", quote(&text)), "remove one of them"));
                    }
                    Ok(_) if addresses.len() == LISTENERS => {
                        self.fault(at, Mistake::new(format!("more than {LISTENERS} addresses"), "listen on fewer"));
                    }
                    Ok(address) => addresses.push(address),
                }
            }
            self.path.pop();
        }
        if addresses.len() > 1
            && let Some(index) = addresses.iter().position(|address| *address == Address::Activation)
            && let Some(item) = items.get(index)
            && self.faults.len() == before
        {
            let mistake = Mistake::new(
                "\"socket-activation\" stands beside other addresses",
                "list it alone; for one more socket set \"sidebind\"",
            );
            self.fault(item.span().start, mistake);
        }
        if self.faults.len() > before { Datum::Bad } else { Datum::Listen(addresses) }
    }

    fn grants(&mut self, grant: Grant, items: &[Spanned<DeValue<'_>>], at: usize) -> Datum {
        let before = self.faults.len();
        type Parse = fn(&str) -> Result<String, Mistake>;
        let (parse, most, what): (Parse, usize, &str) = match grant {
            Grant::Place => (address::parse_grant, GRANTS, "addresses"),
            Grant::Name => (address::parse_name, NAMES, "names"),
            Grant::File => (address::parse_file, FILES, "paths"),
            Grant::Variable => (variable, NAMES, "names"),
            Grant::Command => (|text| check_name(text).map(|()| String::from(text)), NAMES, "names"),
        };
        let mut grants = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            let text = match grant {
                Grant::Place => self.address_text(item, |text| address::parse_grant(text).map(drop)),
                Grant::Name | Grant::File | Grant::Variable | Grant::Command => {
                    self.address_text(item, |_| Err(Mistake::new("", "")))
                }
            };
            if let Some(text) = text {
                match parse(&text) {
                    Ok(grant) => grants.push(grant),
                    Err(mistake) => {
                        self.fault(item.span().start, mistake);
                    }
                }
            }
            self.path.pop();
        }
        if grants.len() > most {
            let remedy = match grant {
                Grant::Place => "grant \"*\" for a host or a port",
                Grant::Name => "grant \"*.\" before what they have in common",
                Grant::File => "grant the directory they are in",
                Grant::Variable | Grant::Command => "split the plugin's work",
            };
            self.fault(at, Mistake::new(format!("{} {what} are more than {most}", grants.len()), remedy));
        }
        if self.faults.len() > before { Datum::Bad } else { Datum::Words(grants) }
    }

    /// The string that an address has to be; a lone port number gets the remedy that its string would.
    fn address_text(&mut self, item: &Spanned<DeValue<'_>>, parse: fn(&str) -> Result<(), Mistake>) -> Option<String> {
        match item.get_ref() {
            DeValue::String(_) => self.string(item),
            other => {
                let remedy = match other {
                    DeValue::Integer(number) => parse(&number.to_string()).err().map(|mistake| mistake.remedy),
                    _ => None,
                };
                self.fault(item.span().start, wrong_type(other, "a string", &remedy.unwrap_or_default()));
                None
            }
        }
    }
}

impl Shape {
    /// Whether a string can be right.
    fn takes_text(&self) -> bool {
        match self {
            Shape::Text
            | Shape::Directory
            | Shape::Path
            | Shape::Duration { .. }
            | Shape::Patience
            | Shape::Unlimited
            | Shape::Size(..)
            | Shape::Choice(_)
            | Shape::Signal
            | Shape::Sidebind
            | Shape::Digest => true,
            Shape::Flag
            | Shape::Count
            | Shape::Thousandths(..)
            | Shape::Command
            | Shape::Listen
            | Shape::Grants(_)
            | Shape::Variables
            | Shape::Settings
            | Shape::Table(_)
            | Shape::Either(..)
            | Shape::Named(_) => false,
        }
    }

    /// How the value found could be written right, where that is easy to see.
    fn remedy(&self, found: &DeValue<'_>) -> String {
        match (self, found) {
            (Shape::Duration { .. } | Shape::Patience, DeValue::Integer(number)) => {
                format!("write \"{}s\"", clipped(&number.to_string()))
            }
            (Shape::Size(..), DeValue::Integer(number)) => {
                format!("write \"{}MiB\" or \"{}B\"", clipped(&number.to_string()), clipped(&number.to_string()))
            }
            (Shape::Flag, DeValue::String(text)) if text == "true" || text == "false" => format!("write {text}"),
            (Shape::Count | Shape::Thousandths(..), DeValue::String(text)) if parse_thousandths(text).is_some() => {
                format!("write {text}")
            }
            (Shape::Listen | Shape::Grants(_), DeValue::String(text)) => format!("write [{}]", quote(text)),
            (Shape::Text | Shape::Digest, _) => in_quotes(found),
            _ => String::new(),
        }
    }
}

/// The entries of a table in the order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// Where to point for a value: tables can be spread over the file, so they are pointed at by name.
fn place(name: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) -> usize {
    if value.get_ref().is_table() { name.span().start } else { value.span().start }
}

/// The name of a variable.
fn variable(text: &str) -> Result<String, Mistake> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(Mistake::new(
            format!("{} cannot be the name of a variable", quote(text)),
            "write a name that is not empty and has no \"=\" in it",
        ));
    }
    Ok(String::from(text))
}

/// Whether `name` can be that of a service, probe or plugin.
pub(crate) fn check_name(name: &str) -> Result<(), Mistake> {
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if name.is_empty() || !good || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Mistake::new(
            format!("{} cannot be a name", quote(name)),
            "write letters, digits, \"-\", \"_\" and \".\", a letter or digit first",
        ));
    }
    if name.len() > NAME {
        return Err(Mistake::new(
            format!("{} is a name of {} bytes", quote(name), name.len()),
            format!("keep it to {NAME} bytes"),
        ));
    }
    Ok(())
}

fn stop_signal(text: &str) -> Result<Datum, Mistake> {
    match parse_signal(text)? {
        Signal::STOP => Err(Mistake::new(
            format!("{} freezes a process and does not end it", quote(text)),
            "write another signal, as \"TERM\"",
        )),
        signal => Ok(Datum::Signal(signal)),
    }
}

fn digest(text: &str) -> Result<Datum, Mistake> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    if bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
        return if bare.len() == text.len() {
            Ok(Datum::Text(bare.to_ascii_lowercase()))
        } else {
            Err(Mistake::new("the digest has a prefix", "write only the digits after \"sha256:\""))
        };
    }
    Err(Mistake::new(
        format!("{} is not a SHA-256 digest", quote(text)),
        "write its 64 hexadecimal digits, as sha256sum prints them",
    ))
}

fn wrong_type(found: &DeValue<'_>, expected: &str, remedy: &str) -> Mistake {
    let shown = match found {
        DeValue::String(text) => format!("the string {}", quote(text)),
        DeValue::Integer(number) => format!("the number {}", clipped(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", clipped(number.as_str())),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(moment) => format!("the time {moment}"),
        DeValue::Array(_) => String::from("a list"),
        DeValue::Table(_) => String::from("a table"),
    };
    Mistake::new(format!("expected {expected}, found {shown}"), remedy)
}

/// The remedy for a value that only lacks its quotes.
fn in_quotes(found: &DeValue<'_>) -> String {
    match found {
        DeValue::Integer(number) => format!("write \"{}\"", clipped(&number.to_string())),
        DeValue::Float(number) => format!("write \"{}\"", clipped(number.as_str())),
        DeValue::Boolean(flag) => format!("write \"{flag}\""),
        DeValue::Datetime(moment) => format!("write \"{moment}\""),
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}

/// A number's digits, cut to one line's worth.
fn clipped(digits: &str) -> String {
    let quoted = quote(digits);
    String::from(quoted.trim_matches(['"', '…'])) + if quoted.ends_with('…') { "…" } else { "" }
}
