//! `hilum:host/settings`: the settings of the call, piece by piece.

use std::fmt;

use serde_json::Value;

use crate::bindings::host::settings::Host;
use crate::host::State;

/// Settings as they came, and as they were read once somebody asked.
#[derive(Default)]
pub(crate) struct Given {
    text: String,
    read: Option<Value>,
}

impl fmt::Debug for Given {
    /// Not what they say: there may be passwords among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("len", &self.text.len()).finish_non_exhaustive()
    }
}

impl Given {
    pub(crate) fn new(text: &str) -> Given {
        Given { text: text.to_owned(), read: None }
    }

    /// What is at `pointer`. Settings that are no JSON have nothing anywhere.
    fn at(&mut self, pointer: &str) -> Option<&Value> {
        let text = &self.text;
        self.read.get_or_insert_with(|| serde_json::from_str(text).unwrap_or_default()).pointer(pointer)
    }
}

impl Host for State {
    fn get(&mut self, pointer: String) -> wasmtime::Result<Option<String>> {
        Ok(self.settings.at(&pointer).map(|value| match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        }))
    }

    fn keys(&mut self, pointer: String) -> wasmtime::Result<Vec<String>> {
        Ok(match self.settings.at(&pointer) {
            Some(Value::Object(object)) => object.keys().cloned().collect(),
            Some(Value::Array(list)) => (0..list.len()).map(|index| index.to_string()).collect(),
            Some(_) | None => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Given;

    #[test]
    fn pieces_are_found_by_pointer() {
        let mut given = Given::new(r#"{"a": {"b/c": [1, "x"]}}"#);
        assert_eq!(given.at("/a/b~1c/1").and_then(|value| value.as_str()), Some("x"));
        assert!(given.at("/a/d").is_none());
        assert!(given.at("").is_some_and(serde_json::Value::is_object));
        assert!(Given::new("not json").at("/a").is_none());
    }
}
