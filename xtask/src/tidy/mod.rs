//! House rules that neither the compiler nor clippy can hold: each rule is a file here, gives every breach with its place, and
//! says what would be right. Formatting and lints are cargo's.

mod arrows;
mod layout;
mod rust;
mod source;
mod wit;

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::process;
use crate::workspace;

/// Folders that are nobody's source.
const SKIPPED: &[&str] = &[".git", "target", "artifacts", "node_modules"];

pub(crate) fn run(arguments: Arguments) -> Result<(), String> {
    arguments.finish()?;
    let breaches = check(&workspace::root())?;
    if breaches.is_empty() {
        process::say("tidy: all house rules hold");
        return Ok(());
    }
    Err(format!("{} of the house rules' breaches:\n  {}", breaches.len(), breaches.join("\n  ")))
}

/// Every breach in the tree below `root`, as `path: what, and what would be right`.
fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    walk(root, Path::new(""), &mut files)?;
    files.sort();
    let mut breaches = layout::check(root, &files)?;
    breaches.extend(rust::check(root, &files)?);
    breaches.extend(arrows::check()?);
    breaches.extend(wit::check(root, &files)?);
    Ok(breaches)
}

/// Collects the files below `root/below`, as paths from `root`.
fn walk(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type().map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
        if !kind.is_dir() {
            files.push(path);
        } else if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            walk(root, &path, files)?;
        }
    }
    Ok(())
}
