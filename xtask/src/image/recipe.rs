//! An image's recipe, `images/NAME/image.toml`: what is in it, how it starts, how large it may be. Unknown keys are mistakes.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// An image, as its recipe says.
#[derive(Debug, Default)]
pub(crate) struct Recipe {
    /// One sentence, for the label and the index.
    pub(crate) description: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`, sorted.
    pub(crate) env: Vec<String>,
    /// `uid:gid`: an image from scratch has no names.
    pub(crate) user: String,
    pub(crate) directory: String,
    /// `8080/tcp`.
    pub(crate) expose: Vec<String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    /// Most bytes all layers may have, compressed, on any platform: what a pull costs.
    pub(crate) budget: u64,
    pub(crate) layers: Vec<Layer>,
}

/// One layer; what changes together lies together.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    /// For the image's history.
    pub(crate) title: String,
    pub(crate) entries: Vec<Item>,
}

/// One entry of a layer.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) from: From,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Where an entry's content comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// `dist:hilum`: a binary of `cargo xtask dist`.
    Dist(String),
    /// `package:demo-app`: a workspace package's binary of the same name.
    Package(String),
    /// `plugin:probe-http`: a plugin precompiled for the platform.
    Plugin(String),
    /// `file:hilum.toml`: a file beside the recipe.
    File(String),
    /// `link:/hilum`: a symbolic link.
    Link(String),
    /// `folder`: an empty folder.
    Folder,
}

impl Recipe {
    /// **Errors:** every one with the key and what would do.
    pub(crate) fn read(path: &Path) -> Result<Recipe, String> {
        let text = crate::workspace::read_text(path)?;
        Recipe::parse(&text).map_err(|error| format!("{}: {error}", crate::workspace::shorten(path)))
    }

    fn parse(text: &str) -> Result<Recipe, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?;
        let mut recipe = Recipe { directory: String::from("/"), ..Recipe::default() };
        for (key, value) in table.get_ref() {
            let key: &str = key.get_ref();
            let value = value.get_ref();
            match key {
                "description" => recipe.description = string(key, value)?,
                "entrypoint" => recipe.entrypoint = strings(key, value)?,
                "cmd" => recipe.cmd = strings(key, value)?,
                "env" => {
                    recipe.env =
                        pairs(key, value)?.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
                }
                "user" => recipe.user = string(key, value)?,
                "directory" => recipe.directory = string(key, value)?,
                "expose" => recipe.expose = strings(key, value)?,
                "stop-signal" => recipe.stop_signal = Some(string(key, value)?),
                "labels" => recipe.labels = pairs(key, value)?,
                "budget" => recipe.budget = integer(key, value)?,
                "layer" => recipe.layers = tables(key, value, parse_layer)?,
                _ => return Err(format!("unknown key {key}")),
            }
        }
        let uid_and_gid =
            recipe.user.split_once(':').is_some_and(|(uid, gid)| [uid, gid].iter().all(|id| id.parse::<u32>().is_ok()));
        if !uid_and_gid {
            return Err(format!("user: \"{}\" is not uid:gid; write for example \"65532:65532\"", recipe.user));
        }
        for (key, missing) in [
            ("description", recipe.description.is_empty()),
            ("entrypoint", recipe.entrypoint.is_empty()),
            ("budget", recipe.budget == 0),
            ("layer", recipe.layers.is_empty()),
        ] {
            if missing {
                return Err(format!("{key} is missing"));
            }
        }
        Ok(recipe)
    }
}

type Values<'a> = DeTable<'a>;

fn parse_layer(table: &Values<'_>) -> Result<Layer, String> {
    let mut layer = Layer::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "title" => layer.title = string("title", value.get_ref())?,
            "entry" => layer.entries = tables("entry", value.get_ref(), parse_item)?,
            other => return Err(format!("unknown key {other}")),
        }
    }
    if layer.title.is_empty() {
        return Err(String::from("title is missing"));
    }
    Ok(layer)
}

fn parse_item(table: &Values<'_>) -> Result<Item, String> {
    let (mut path, mut from, mut mode, mut uid, mut gid) = (None, None, None, 0, 0);
    let id = |key: &str, value: &DeValue<'_>| {
        let number = integer(key, value)?;
        u32::try_from(number).map_err(|_| format!("{key}: {number} is too large"))
    };
    for (key, value) in table {
        let value = value.get_ref();
        match key.get_ref().as_ref() {
            "path" => path = Some(string("path", value)?),
            "from" => from = Some(parse_from(&string("from", value)?)?),
            "mode" => {
                let text = string("mode", value)?;
                let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o7777);
                mode = Some(bits.ok_or_else(|| format!("mode: \"{text}\" is not octal; write for example \"755\""))?);
            }
            "uid" => uid = id("uid", value)?,
            "gid" => gid = id("gid", value)?,
            other => return Err(format!("unknown key {other}")),
        }
    }
    let from = from.ok_or("from is missing")?;
    let usual = match from {
        From::File(_) | From::Plugin(_) => 0o644,
        From::Link(_) => 0o777,
        From::Dist(_) | From::Package(_) | From::Folder => 0o755,
    };
    Ok(Item { path: path.ok_or("path is missing")?, from, mode: mode.unwrap_or(usual), uid, gid })
}

fn parse_from(text: &str) -> Result<From, String> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    match (kind, name) {
        ("folder", "") => Ok(From::Folder),
        (_, "") => Err(format!(
            "from: \"{text}\" names nothing; write dist:, package:, plugin:, file: or link: and a name, or folder"
        )),
        ("dist", name) => Ok(From::Dist(name.to_owned())),
        ("package", name) => Ok(From::Package(name.to_owned())),
        ("plugin", name) => Ok(From::Plugin(name.to_owned())),
        ("file", name) => Ok(From::File(name.to_owned())),
        ("link", name) => Ok(From::Link(name.to_owned())),
        _ => Err(format!("from: \"{text}\"; write dist:, package:, plugin:, file: or link: and a name, or folder")),
    }
}

fn string(key: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err(format!("{key}: write a string")),
    }
}

fn strings(key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| string(key, value.get_ref())).collect(),
        _ => Err(format!("{key}: write a list of strings")),
    }
}

fn pairs(key: &str, value: &DeValue<'_>) -> Result<Vec<(String, String)>, String> {
    match value {
        DeValue::Table(table) => table
            .iter()
            .map(|(name, value)| Ok((name.get_ref().to_string(), string(name.get_ref(), value.get_ref())?)))
            .collect(),
        _ => Err(format!("{key}: write a table of strings")),
    }
}

fn integer(key: &str, value: &DeValue<'_>) -> Result<u64, String> {
    value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
        .ok_or_else(|| format!("{key}: write a whole number"))
}

fn tables<T>(key: &str, value: &DeValue<'_>, parse: fn(&Values<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
    let DeValue::Array(values) = value else { return Err(format!("{key}: write [[{key}]]")) };
    let parsed =
        values.iter().enumerate().map(|(index, value): (usize, &Spanned<DeValue<'_>>)| match value.get_ref() {
            DeValue::Table(table) => parse(table).map_err(|error| format!("{key} {}: {error}", index + 1)),
            _ => Err(format!("{key}: write [[{key}]]")),
        });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
description = "a test"
entrypoint = ["/hilum"]
env = { A = "1" }
user = "65532:65532"
budget = 1_000
[[layer]]
title = "one"
entry = [
  { path = "/hilum", from = "dist:hilum" },
  { path = "/state", from = "folder", uid = 65532, gid = 65532, mode = "700" },
]
"#;

    #[test]
    fn reads_a_recipe() -> Result<(), String> {
        let recipe = Recipe::parse(GOOD)?;
        assert_eq!(recipe.env, ["A=1"]);
        assert_eq!(recipe.budget, 1000);
        let items: Vec<_> = recipe.layers.iter().flat_map(|layer| &layer.entries).collect();
        let summary: Vec<_> = items.iter().map(|item| (item.path.as_str(), &item.from, item.mode, item.uid)).collect();
        assert_eq!(
            summary,
            [("/hilum", &From::Dist(String::from("hilum")), 0o755, 0), ("/state", &From::Folder, 0o700, 65532)]
        );
        Ok(())
    }

    #[test]
    fn says_where_a_mistake_is() {
        let mistake = |from: &str, to: &str| Recipe::parse(&GOOD.replace(from, to)).err().unwrap_or_default();
        assert_eq!(mistake("budget = 1_000", "bugdet = 1"), "unknown key bugdet");
        assert_eq!(mistake("budget = 1_000", ""), "budget is missing");
        assert_eq!(
            mistake("\"65532:65532\"", "\"nobody\""),
            "user: \"nobody\" is not uid:gid; write for example \"65532:65532\""
        );
        assert!(mistake("\"700\"", "\"799\"").contains("layer 1: entry 2: mode: \"799\" is not octal"));
        assert!(mistake("dist:hilum", "disk:hilum").contains("\"disk:hilum\""));
        assert!(mistake("dist:hilum", "dist:").contains("names nothing"));
    }
}
