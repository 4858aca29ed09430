//! JavaScript: `componentize-qjs` (QuickJS), or `@bytecodealliance/componentize-js` (SpiderMonkey) where `package.json` names it, run by the
//! author's node from the author's `node_modules`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::scratch;
use crate::failure::Failure;
use crate::manifest::Manifest;

/// What is run, in the plugin's folder, so that node finds the packages there.
const SCRIPT: &str = include_str!("componentize.mjs");

/// Code of the script for a package that is not installed.
const MISSING: i32 = 3;

/// Makes the component.
pub(super) fn build(folder: &Path, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let source = manifest.entry()?;
    if !folder.join("package.json").is_file() {
        return Err(Failure::new(format!(
            "cannot build {}: there is no package.json; hilumc new --lang js writes one",
            folder.display()
        )));
    }
    let component = scratch(manifest, "component.wasm");
    let output = Command::new("node")
        .args(["--input-type=module", "--eval", SCRIPT, "--"])
        .args([source, &manifest.world, &component])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::new(format!(
                "cannot run node: {error}; Debian: apt-get install nodejs npm; elsewhere: https://nodejs.org (20 or newer)"
            ))
        })?;
    if output.status.code() == Some(MISSING) {
        return Err(Failure::new(format!(
            "cannot build {}: {} is not installed there; run: npm install --prefix {0}",
            folder.display(),
            String::from_utf8_lossy(&output.stdout).trim_end(),
        )));
    }
    if !output.status.success() {
        return Err(Failure::new(format!("node ended with {} while it made a component of {source}", output.status)));
    }
    let component = folder.join(component);
    fs::read(&component).map_err(|error| Failure::file("read", &component, &error))
}
