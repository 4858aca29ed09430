//! A JSON writer that escapes as Go's `encoding/json` does: safe inside HTML, and byte for byte what kapo's readers are used to.

use std::fmt::{self, Write};

/// A document in the making.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
    follows: bool,
}

impl Json {
    /// The finished document.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// A member's name; its value comes next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Json {
        self.string(name);
        self.out.push(':');
        self.follows = false;
        self
    }

    /// An object with the members `fill` writes.
    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Json)) {
        self.nest('{', fill, '}');
    }

    /// An array of what `write` makes of each item.
    pub(crate) fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Json, T)) {
        self.nest('[', |json| items.into_iter().for_each(|item| write(json, item)), ']');
    }

    /// A string.
    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    self.put(format_args!("\\u{:04x}", u32::from(letter)));
                }
                _ => self.out.push(letter),
            }
        }
        self.out.push('"');
    }

    /// A number.
    pub(crate) fn number(&mut self, number: impl Into<i128>) {
        self.separate();
        self.put(format_args!("{}", number.into()));
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.push_str(if value { "true" } else { "false" });
    }

    /// What `write` makes of a value, or `null`.
    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Json, T)) {
        match value {
            Some(value) => write(self, value),
            None => {
                self.separate();
                self.out.push_str("null");
            }
        }
    }

    /// White space, for people.
    pub(crate) fn space(&mut self, space: &str) {
        self.out.push_str(space);
    }

    /// A comma and a new line, where members stand one a line.
    pub(crate) fn next_line(&mut self) {
        self.separate();
        self.out.push('\n');
        self.follows = false;
    }

    fn nest(&mut self, open: char, fill: impl FnOnce(&mut Json), close: char) {
        self.separate();
        self.out.push(open);
        self.follows = false;
        fill(self);
        self.out.push(close);
        self.follows = true;
    }

    fn separate(&mut self) {
        if self.follows {
            self.out.push(',');
        }
        self.follows = true;
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn commas_and_nesting() {
        let mut json = Json::default();
        json.object(|json| {
            json.key("a").array([1, 2], |json, number| json.number(number));
            json.key("b").object(|_| {});
            json.key("c").optional(None::<u8>, |json, value| json.number(value));
            json.key("d").array([true, false], |json, value| json.boolean(value));
            json.key("e").array(["x"; 0], Json::string);
        });
        assert_eq!(json.finish(), r#"{"a":[1,2],"b":{},"c":null,"d":[true,false],"e":[]}"#);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut json = Json::default();
        json.string("\"\\/\u{8}\u{c}\n\r\t\u{1f}<a>&\u{7f}\u{2028}\u{2029}\u{e4}");
        assert_eq!(
            json.finish(),
            "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u001f\\u003ca\\u003e\\u0026\u{7f}\\u2028\\u2029\u{e4}\""
        );
    }
}
