//! JSON to values, small: guests carry this code, and settings are all they read with it. Numbers stay text until someone says what
//! they should be. The other way there is only what needs care when one writes JSON by hand, the strings.

use std::fmt::Write;

/// Deepest nesting. A settings table has two or three levels; the guest's stack has room for far more.
const MAX_DEPTH: u32 = 32;

/// A JSON value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Value>),
    /// In order; no name twice.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// What it is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "a table",
        }
    }
}

/// The value that `text` is.
///
/// **Errors:** where it stops being JSON. **Source:** RFC 8259.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.wrong("the end")) }
}

/// `text` as a JSON string, with its quotes.
///
/// **Source:** RFC 8259, section 7.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1f' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, wanted: &str) -> String {
        format!("not JSON: at byte {} there should be {wanted}", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether the next byte is `byte`, which is then taken.
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.wrong("a value"))
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong("a value")),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, String> {
        self.at += 1;
        let mut members: Vec<(String, Value)> = Vec::new();
        self.skip_space();
        if self.takes(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} is there twice"));
            }
            self.skip_space();
            if !self.takes(b':') {
                return Err(self.wrong("a colon"));
            }
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.skip_space();
            if self.takes(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma or the end of the object"));
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.takes(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.takes(b']') {
                return Ok(Value::Array(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma or the end of the array"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(Value::Number(self.text.get(start..self.at).unwrap_or_default().to_owned()))
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.wrong("a digit")) }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.takes(b'"') {
            return Err(self.wrong("a string"));
        }
        let mut string = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            string.push_str(self.text.get(start..self.at).unwrap_or_default());
            if self.takes(b'"') {
                return Ok(string);
            }
            if !self.takes(b'\\') {
                return Err(self.wrong("the end of the string"));
            }
            string.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&unit) {
                    if !(self.takes(b'\\') && self.takes(b'u')) {
                        return Err(self.wrong("the other half of a surrogate pair"));
                    }
                    let low = self.unit()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.wrong("the other half of a surrogate pair"));
                    }
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    unit
                };
                char::from_u32(code).ok_or_else(|| self.wrong("a character"))?
            }
            _ => {
                self.at -= 1;
                return Err(self.wrong("an escape such as \\n"));
            }
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse, quoted};

    #[test]
    fn strings_are_quoted_so_that_they_are_read_again() {
        assert_eq!(quoted("a\"b\\c\nd\u{1f}é\u{7f}"), "\"a\\\"b\\\\c\\u000ad\\u001fé\u{7f}\"");
        let all: String = (0..=0x2100).chain(0x1_f600..0x1_f610).filter_map(char::from_u32).collect();
        for text in ["", "\\", "\\u0041", all.as_str()] {
            assert_eq!(parse(&quoted(text)), Ok(Value::String(text.to_owned())));
        }
    }

    #[test]
    fn values_are_read() {
        let text = r#" {"a": [1, -2.5e3, true, null], "b": {"c": "x\n\u00e4\ud83d\ude00\"/"}, "": ""} "#;
        let number = |text: &str| Value::Number(text.to_owned());
        let expected = Value::Object(vec![
            ("a".to_owned(), Value::Array(vec![number("1"), number("-2.5e3"), Value::Bool(true), Value::Null])),
            ("b".to_owned(), Value::Object(vec![("c".to_owned(), Value::String("x\nä😀\"/".to_owned()))])),
            (String::new(), Value::String(String::new())),
        ]);
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_is_not_json_is_an_error_with_a_place() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "1e",
            "tru",
            "nullx",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\n\"",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "\"\\",
            "1 1",
        ] {
            assert!(parse(text).is_err_and(|e| e.contains("at byte")), "{text:?} was taken");
        }
        assert!(parse(r#"{"a": 1, "a": 2}"#).is_err_and(|e| e.contains("twice")));
        assert!(parse(&"[".repeat(100_000)).is_err_and(|e| e.contains("deep")));
        assert!(parse(&format!("{}{}", "[".repeat(32), "]".repeat(32))).is_ok());
    }

    #[test]
    fn every_prefix_and_every_single_byte_change_is_a_value_or_an_error() {
        let text = r#"{"a":[1,-2.5e3,true,null],"b":{"c":"x\n\u00e4\ud83d\ude00\""}}"#;
        for end in 0..text.len() {
            assert!(parse(text.get(..end).unwrap_or_default()).is_err());
        }
        for at in 0..text.len() {
            for byte in 0..128_u8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes.splice(at..=at, [byte]);
                // Only that it returns is asked here; a change may well be another value.
                let _ = String::from_utf8(bytes).map(|text| parse(&text));
            }
        }
    }
}
