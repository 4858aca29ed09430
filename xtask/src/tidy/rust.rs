//! Rules of Rust sources: where unsafe may be, that every crate forbids it otherwise and takes the shared lints, that every
//! module says why it is there, that no test is skipped and no lint silenced without a reason.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::source;
use crate::workspace;

/// Where `unsafe` may be written. The sandbox's file holds the one call that turns checked bytes into code.
const UNSAFE: &[&str] = &["core/sys/", "core/sandbox/src/code.rs"];

/// How often it may be written in the sandbox's file.
const UNSAFE_IN_SANDBOX: usize = 1;

/// Crates whose macros expand to unsafe code (the component ABI), or that hold some: they deny it by this rule, not by the compiler.
const NOT_FORBIDDING: &[&str] = &["core/sys", "core/sandbox", "plugins/"];

pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = workspace::read_text(&root.join(file))?;
        breaches.extend(check_source(&file.to_string_lossy(), &text));
    }
    for file in files.iter().filter(|file| file.ends_with("Cargo.toml") && file.components().count() > 1) {
        let name = file.to_string_lossy();
        // Packages outside the workspace cannot inherit from it.
        if name.starts_with("fuzz/") {
            continue;
        }
        let text = workspace::read_text(&root.join(file))?;
        if !takes_shared_lints(&text) {
            breaches.push(format!("{name}: does not take the shared lints; add [lints] workspace = true"));
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        for entry in ["src/lib.rs", "src/main.rs"].map(|entry| folder.join(entry)) {
            if !files.contains(&entry) || NOT_FORBIDDING.iter().any(|free| name.starts_with(free)) {
                continue;
            }
            let text = workspace::read_text(&root.join(&entry))?;
            if !text.contains("#![forbid(unsafe_code)]") {
                breaches.push(format!("{}: does not forbid unsafe code; add #![forbid(unsafe_code)]", entry.display()));
            }
        }
    }
    Ok(breaches)
}

fn check_source(name: &str, text: &str) -> Vec<String> {
    let program = source::program(text);
    let mut breaches = Vec::new();

    let lines = source::lines_with_word(&program, "unsafe");
    let allowed = match UNSAFE.iter().find(|place| name.starts_with(**place)) {
        None => 0,
        Some(place) if place.ends_with('/') => usize::MAX,
        Some(_) => UNSAFE_IN_SANDBOX,
    };
    if lines.len() > allowed {
        let line = lines.last().copied().unwrap_or_default();
        breaches.push(format!("{name}:{line}: unsafe code may be in {} only, and there once", UNSAFE.join(" and ")));
    }
    for (number, line) in program.lines().enumerate() {
        let squeezed: String = line.split_whitespace().collect();
        if squeezed.contains("#[ignore") {
            breaches.push(format!("{name}:{}: a skipped test proves nothing; run it or remove it", number + 1));
        }
        if squeezed.contains("#[allow(") || squeezed.contains("#![allow(") {
            breaches.push(format!("{name}:{}: write #[expect(…, reason = \"…\")], not allow", number + 1));
        }
    }
    let module = name.contains("/src/") && !name.ends_with("/build.rs");
    if module && !text.lines().any(|line| line.starts_with("//!")) {
        breaches.push(format!("{name}: does not say why it is there; begin it with //!"));
    }
    breaches
}

fn takes_shared_lints(text: &str) -> bool {
    let Ok(table) = DeTable::parse(text) else { return false };
    let Some(DeValue::Table(lints)) = table.get_ref().get("lints").map(|lints| lints.get_ref()) else { return false };
    matches!(lints.get("workspace").map(|value| value.get_ref()), Some(DeValue::Boolean(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_stays_in_its_places() {
        let text = "//! A module.\nfn a() { unsafe { b() } }\n";
        assert!(check_source("core/sys/src/child/exec.rs", text).is_empty());
        assert!(check_source("core/sandbox/src/code.rs", text).is_empty());
        assert_eq!(check_source("core/sandbox/src/code.rs", &format!("{text}unsafe fn c() {{}}\n")).len(), 1);
        let found = check_source("core/hilum/src/main.rs", text);
        assert!(found.first().is_some_and(|first| first.starts_with("core/hilum/src/main.rs:2: unsafe")), "{found:?}");
    }

    #[test]
    fn skipped_tests_and_silenced_lints_are_seen() {
        let text = "//! A module.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#![ allow(dead_code)]\n// #[allow(x)]\n";
        let found = check_source("core/wire/src/frame.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|breach| breach.starts_with("core/wire/src/frame.rs:3:")), "{found:?}");
    }

    #[test]
    fn a_module_says_why_it_is_there() {
        assert_eq!(check_source("core/wire/src/frame.rs", "fn a() {}\n").len(), 1);
        assert!(check_source("core/wire/tests/frame.rs", "fn a() {}\n").is_empty());
    }

    #[test]
    fn shared_lints_are_taken_or_not() {
        assert!(takes_shared_lints("[package]\nname = \"a\"\n[lints]\nworkspace = true\n"));
        assert!(!takes_shared_lints("[package]\nname = \"a\"\n[lints]\nworkspace = false\n"));
        assert!(!takes_shared_lints("[package]\n# [lints] workspace = true\n"));
    }
}
