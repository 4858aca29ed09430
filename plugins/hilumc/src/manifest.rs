//! `plugin.toml`: what hilumc must know of a plugin's folder. Rust plugins need none, Cargo.toml says it all; that they have one is for people.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// A language plugins are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    Rust,
    C,
    Js,
    Python,
}

impl Language {
    /// As it is written, and the name of its templates' folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::C => "c",
            Language::Js => "js",
            Language::Python => "python",
        }
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Language, String> {
        [Language::Rust, Language::C, Language::Js, Language::Python]
            .into_iter()
            .find(|language| language.name() == text)
            .ok_or_else(|| format!("there is no language \"{text}\"; write rust, c, js or python"))
    }
}

/// What `plugin.toml` says.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) language: Language,
    /// Relative to the folder.
    pub(crate) sources: Vec<String>,
    pub(crate) world: String,
}

impl Manifest {
    /// Reads the manifest in `folder`, if there is one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Manifest>, Failure> {
        let path = folder.join("plugin.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        let manifest = Manifest::parse(&text);
        manifest.map(Some).map_err(|story| Failure::new(format!("cannot use {}: {story}", path.display())))
    }

    fn parse(text: &str) -> Result<Manifest, String> {
        let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
        let (mut name, mut language, mut sources, mut world) = (None, Language::Rust, Vec::new(), None);
        for (key, value) in table.get_ref() {
            let key: &str = key.get_ref();
            match key {
                "name" => name = Some(string(key, value.get_ref())?),
                "language" => language = string(key, value.get_ref())?.parse()?,
                "world" => world = Some(string(key, value.get_ref())?),
                "sources" => {
                    let DeValue::Array(list) = value.get_ref() else {
                        return Err(String::from("sources: write a list of files"));
                    };
                    sources = list.iter().map(|item| string(key, item.get_ref())).collect::<Result<_, _>>()?;
                }
                // What plugins of this repository tell people.
                "imports" | "limits" | "allow" => {}
                _ => {
                    return Err(format!(
                        "there is no \"{key}\"; there are name, language, sources, world, imports, limits and allow"
                    ));
                }
            }
        }
        let name = name.ok_or("name is missing; write name = \"probe-NAME\"")?;
        check_name(&name)?;
        if language != Language::Rust && sources.is_empty() {
            return Err(String::from("sources is missing; write sources = [\"FILE\"]"));
        }
        if let Some(source) = sources.iter().find(|source| source.is_empty() || source.starts_with(['-', '/'])) {
            return Err(format!("sources: \"{source}\" is no file of this folder"));
        }
        // The name the templates give their own.
        let world = world.unwrap_or_else(|| String::from("plugin"));
        Ok(Manifest { name, language, sources, world })
    }

    /// The one source of languages whose modules find each other.
    pub(crate) fn entry(&self) -> Result<&str, Failure> {
        match self.sources.as_slice() {
            [entry] => Ok(entry),
            _ => Err(Failure::new(format!(
                "cannot build {}: plugin.toml has {} sources; name one, the others are imported by it",
                self.name,
                self.sources.len()
            ))),
        }
    }
}

/// Whether `name` can be a plugin's: of a folder, a crate, a package, a file and a plan's table alike.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let words = name
        .split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    if words && name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(format!(
        "\"{}\" cannot be a plugin's name; write lower case letters, digits and single hyphens, a letter first, at most 64, such as \
         probe-queue",
        name.escape_debug()
    ))
}

fn string(key: &str, value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{key}: write text in quotes"))
}

#[cfg(test)]
mod tests {
    use super::{Language, Manifest, check_name};

    #[test]
    fn a_manifest_says_what_is_built() {
        let text = "name = \"probe-x\"\nlanguage = \"c\"\nsources = [\"a.c\", \"b.c\"]\n[limits]\nmemory = \"1MiB\"\n";
        let expected = Manifest {
            name: "probe-x".to_owned(),
            language: Language::C,
            sources: vec!["a.c".to_owned(), "b.c".to_owned()],
            world: "plugin".to_owned(),
        };
        assert_eq!(Manifest::parse(text), Ok(expected));
        for (text, said) in [
            ("name = 1", "name: write text in quotes"),
            ("language = \"c\"", "name is missing"),
            ("name = \"x\"\nlanguage = \"c\"", "sources is missing"),
            ("name = \"x\"\nlanguage = \"go\"", "there is no language \"go\"; write rust, c, js or python"),
            ("name = \"x\"\nlanguage = \"c\"\nsources = \"a.c\"", "write a list"),
            ("name = \"x\"\nlanguage = \"c\"\nsources = [\"-o\"]", "\"-o\" is no file"),
            ("name = \"../x\"", "cannot be a plugin's name"),
            ("nam = \"x\"", "there is no \"nam\""),
            ("name", "expected"),
        ] {
            let parsed = Manifest::parse(text);
            assert!(parsed.as_ref().is_err_and(|error| error.contains(said)), "{text:?}: {parsed:?}");
        }
    }

    #[test]
    fn names_are_good_for_files_crates_and_tables() {
        for name in ["probe-x", "p", "probe-2-x9"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", "-x", "x-", "a--b", "Probe", "a_b", "a/b", "..", "1a", "a b", "\u{e9}", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
