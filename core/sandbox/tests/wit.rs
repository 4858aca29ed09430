//! The interfaces as published: every package is complete for a tool that reads WIT, and every function says what it promises.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{PackageId, Resolve};

/// The folders below `wit/` that are packages.
fn packages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let below =
        |root: PathBuf| fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let (compat, mut folders): (Vec<_>, Vec<_>) = below(root).partition(|path| path.ends_with("compat"));
    folders.extend(compat.into_iter().flat_map(below));
    folders.sort();
    folders
}

fn parse(folder: &Path) -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).unwrap();
    (resolve, package)
}

#[test]
fn every_package_is_complete_and_named_as_its_folder() {
    let mut worlds = Vec::new();
    for folder in packages() {
        let (resolve, id) = parse(&folder);
        let package = resolve.packages.get(id).unwrap();
        assert_eq!(package.name.namespace, "hilum");
        let name = &package.name;
        let version = name.version.as_ref().unwrap().to_string();
        let versioned = if version == "0.1.0" { name.name.clone() } else { format!("{}-{version}", name.name) };
        assert_eq!(folder.file_name().unwrap().to_string_lossy(), versioned);
        worlds.extend(package.worlds.keys().map(|world| format!("{versioned}/{world}")));
    }
    let all = [
        "callback/callback-plugin",
        "callback/trigger-plugin",
        "discovery/discovery-plugin",
        "host-0.0.1/imports",
        "host/imports",
        "lease/lease-plugin",
        "plugin/any-plugin",
        "probe-0.0.1/probe-plugin",
        "probe/probe-plugin",
        "sensor/sensor-plugin",
    ];
    worlds.sort();
    assert_eq!(worlds, all);
}

#[test]
fn every_function_says_what_goes_wrong_and_whether_it_may_be_repeated() {
    for folder in packages() {
        let (resolve, id) = parse(&folder);
        for (name, interface) in &resolve.packages.get(id).unwrap().interfaces {
            for function in resolve.interfaces.get(*interface).unwrap().functions.values() {
                let docs = function.docs.contents.clone().unwrap_or_default();
                for promise in ["Errors:", "Idempotent:"] {
                    assert!(docs.contains(promise), "{name}.{}: does not say \"{promise}\"", function.name);
                }
            }
        }
    }
}
