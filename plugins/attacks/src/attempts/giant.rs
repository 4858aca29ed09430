//! Passes a giant to a host function: one name, path or value of as many bytes as told.

use hilum_plugin::{Host, HttpRequest, Level, SettingsError, WriteMode};

use super::{Tried, met, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let (function, giant) = (given.text("function")?, "g".repeat(given.size("size")?));
    let outcome = |refused: Option<String>| refused.map_or_else(|| stopped("it was taken"), met);
    Ok(outcome(match function {
        "log" => {
            host.log(Level::Error, &giant);
            None
        }
        "connect" => host.connect(&giant, 80).err().map(|error| format!("{error:?}")),
        "connect-udp" => host.connect_udp(&giant, 80).err().map(|error| format!("{error:?}")),
        "connect-unix" => host.connect_unix(&format!("/{giant}")).err().map(|error| format!("{error:?}")),
        "resolve" => host.resolve(&giant).err().map(|error| format!("{error:?}")),
        "read-file" => host.read_file(&format!("/{giant}"), 0, 1).err().map(|error| format!("{error:?}")),
        "write-file" => {
            let path = given.text("path")?;
            host.write_file(path, giant.as_bytes(), WriteMode::Replace).err().map(|error| format!("{error:?}"))
        }
        "environment" => host.environment(&giant).err(),
        "run" => host.run(&giant).err().map(|error| format!("{error:?}")),
        "key" => host.keep(&giant, Some(b"x")).err(),
        "value" => host.keep("x", Some(giant.as_bytes())).err(),
        "metric" => host.gauge(&giant, &[], 1.0).err(),
        "label" => host.gauge("x", &[(&giant, "x")], 1.0).err(),
        "label-value" => host.gauge("x", &[("x", &giant)], 1.0).err(),
        "url" => {
            let url = format!("http://127.0.0.1:1/{giant}");
            let request = HttpRequest { method: "GET".to_owned(), url, ..HttpRequest::default() };
            host.fetch(&request).err().map(|error| format!("{error:?}"))
        }
        "content" => {
            let (url, body) = ("http://127.0.0.1:1/".to_owned(), giant.into_bytes());
            let request = HttpRequest { method: "POST".to_owned(), url, body, ..HttpRequest::default() };
            host.fetch(&request).err().map(|error| format!("{error:?}"))
        }
        _ => return Err(SettingsError::new("function", "there is none of this name")),
    }))
}
