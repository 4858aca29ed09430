//! What lies where, and what it is called.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All that may lie at the top, beside dot-files.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "core",
    "fuzz",
    "images",
    "plugins",
    "target",
    "wit",
    "xtask",
];

/// Names that say nothing about what is inside.
const EMPTY_WORDS: &[&str] = &["util", "utils", "common", "manager", "handler", "helper", "helpers"];

pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut breaches = Vec::new();
    let entries = fs::read_dir(root).map_err(|error| format!("cannot read {}: {error}", root.display()))?;
    let top: BTreeSet<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for name in top.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str())) {
        breaches.push(format!("{name}: does not belong at the top; there may be {}", TOP.join(" ")));
    }
    for wanted in ["LICENSE", "README.md", "core/README.md", "wit/README.md"] {
        if !root.join(wanted).is_file() {
            breaches.push(format!("{wanted}: is missing"));
        }
    }
    for file in files {
        if let Some(word) = empty_word(file) {
            breaches.push(format!("{}: \"{word}\" in a name says nothing; name the thing", file.display()));
        }
    }
    Ok(breaches)
}

fn empty_word(path: &Path) -> Option<&'static str> {
    let path = path.to_string_lossy().to_lowercase();
    path.split(|letter: char| !letter.is_alphanumeric())
        .find_map(|word| EMPTY_WORDS.iter().copied().find(|empty| word == *empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_empty_words_but_not_parts_of_words() {
        assert_eq!(empty_word(Path::new("core/hilum/src/string_utils.rs")), Some("utils"));
        assert_eq!(empty_word(Path::new("core/helper/src/lib.rs")), Some("helper"));
        assert_eq!(empty_word(Path::new("core/uncommonly/utility.rs")), None);
    }
}
