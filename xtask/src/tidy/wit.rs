//! The law of published interfaces: a package never changes. `wit/LOCK` has a line for each, `HASH  PACKAGE`, where the hash is what
//! `cd wit/FOLDER && sha256sum *.wit | sha256sum` prints in the C locale. A package is a folder of `wit/` or `wit/compat/` with `.wit` files in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::workspace;

/// Packages by name, as found or as locked, with their hashes.
type Hashes = BTreeMap<String, String>;

pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut folders: BTreeMap<&Path, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for file in files {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { continue };
        let is_wit = file.extension().is_some_and(|extension| extension == "wit");
        let packages = [Path::new("wit"), Path::new("wit/compat")];
        if is_wit && folder.parent().is_some_and(|parent| packages.contains(&parent)) {
            let content = workspace::read(&root.join(file))?;
            folders.entry(folder).or_default().push((name.to_string_lossy().into_owned(), content));
        }
    }
    let mut found = Hashes::new();
    let mut breaches = Vec::new();
    for (folder, files) in &folders {
        match files.iter().find_map(|(_, content)| name_package(content)) {
            None => breaches.push(format!("{}: no file declares a package with a version", folder.display())),
            Some(package) => {
                if found.insert(package.clone(), hash(files)).is_some() {
                    breaches.push(format!("{}: {package} is in another folder too", folder.display()));
                }
            }
        }
    }
    let lock = root.join("wit/LOCK");
    let text = if lock.exists() { workspace::read_text(&lock)? } else { String::new() };
    breaches.extend(compare(&found, &text));
    Ok(breaches)
}

/// Compares what is there with what was published.
fn compare(found: &Hashes, lock: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut locked = Hashes::new();
    for (number, line) in lock.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once("  ") {
            Some((hash, package)) if locked.insert(package.to_owned(), hash.to_owned()).is_none() => {}
            Some((_, package)) => breaches.push(format!("wit/LOCK:{}: {package} is there twice", number + 1)),
            None => breaches.push(format!("wit/LOCK:{}: write HASH, two spaces, PACKAGE", number + 1)),
        }
    }
    for (package, hash) in found {
        match locked.get(package) {
            Some(published) if published == hash => {}
            Some(_) => breaches.push(format!(
                "wit/LOCK: {package} was published and has changed; undo that, or make it a new version (its hash is {hash})"
            )),
            None => breaches.push(format!("wit/LOCK: {package} is missing; to publish it add the line\n{hash}  {package}")),
        }
    }
    for package in locked.keys().filter(|package| !found.contains_key(*package)) {
        breaches.push(format!(
            "wit/LOCK: {package} was published and is gone; plugins are built against it, bring it back"
        ));
    }
    breaches
}

/// The package a file declares, with its version.
fn name_package(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let line = text.lines().find_map(|line| line.strip_prefix("package "))?;
    let name = line.split(';').next()?.trim();
    name.contains('@').then(|| name.to_owned())
}

/// Of the files in the order of their names.
fn hash(files: &[(String, Vec<u8>)]) -> String {
    let digest = |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
    let list: String = files.iter().map(|(name, content)| format!("{}  {name}\n", digest(content))).collect();
    digest(list.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_what_a_shell_prints() {
        let files = [(String::from("a.wit"), b"one\n".to_vec()), (String::from("b.wit"), b"two\n".to_vec())];
        assert_eq!(hash(&files), "30a7fe33d3a656fc64273859b15d1b01ce9adaebdf710ac10f17801a19396d99");
    }

    #[test]
    fn finds_the_package() {
        let text = b"// package no:thing@0.0.1;\npackage hilum:host@0.1.0;\ninterface log {}\n";
        assert_eq!(name_package(text).as_deref(), Some("hilum:host@0.1.0"));
        assert_eq!(name_package(b"package hilum:host;\n"), None);
        assert_eq!(name_package(b"interface log {}\n"), None);
    }

    #[test]
    fn the_law_holds_both_ways() {
        let found = Hashes::from([(String::from("a:b@1.0.0"), String::from("00"))]);
        assert!(compare(&found, "# published\n00  a:b@1.0.0\n").is_empty());
        let breach = |lock: &str| compare(&found, lock).join("\n");
        assert!(breach("11  a:b@1.0.0\n").contains("has changed"));
        assert!(breach("").contains("add the line\n00  a:b@1.0.0"));
        assert!(breach("00  a:b@1.0.0\n22  a:b@0.9.0\n").contains("is gone"));
        assert!(breach("00  a:b@1.0.0\n00  a:b@1.0.0\n").contains("twice"));
        assert!(breach("00 a:b@1.0.0\n").contains("two spaces"));
    }
}
