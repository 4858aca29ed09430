//! Puts what `hilumc new` writes into the tool: the templates, the SDK and the WIT packages, as they are in this repository. So hilumc is
//! one file, and what it writes is what it was built with.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// WIT packages the SDK and the templates are written against.
const PACKAGES: [&str; 4] = ["callback", "host", "plugin", "probe"];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let (templates, root) = (here.join("templates"), here.join("../..").canonicalize()?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut table = String::from("const FILES: &[(&str, &[u8])] = &[\n");
    for path in files(&templates)? {
        add(&mut table, &path.strip_prefix(&templates)?.to_string_lossy(), &path)?;
    }
    for package in PACKAGES {
        for path in files(&root.join("wit").join(package))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            add(&mut table, &format!("wit/{package}/{name}"), &path)?;
        }
    }
    let sdk = root.join("plugins/sdk");
    for path in files(&sdk.join("src"))? {
        add(&mut table, &format!("sdk/{}", path.strip_prefix(&sdk)?.to_string_lossy()), &path)?;
    }
    add(&mut table, "sdk/Cargo.toml", &sdk.join("Cargo.toml"))?;
    let workspace = out.join("workspace.toml");
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    fs::write(&workspace, excerpt(&manifest, &fs::read_to_string(sdk.join("Cargo.toml"))?))?;
    add(&mut table, "sdk/workspace.toml", &workspace)?;
    table.push_str("];\n");
    fs::write(out.join("files.rs"), table)?;
    Ok(())
}

/// The files below `folder`, sorted. Links are not followed: a package's `deps` are those links, and written as folders later.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "deps" {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn add(table: &mut String, name: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    writeln!(table, "    ({name:?}, include_bytes!({:?})),", path.to_string_lossy())?;
    Ok(())
}

/// What the SDK takes from the workspace: its own workspace outside of this repository.
fn excerpt(workspace: &str, sdk: &str) -> String {
    let mut text = String::from("[workspace]\nmembers = [\"plugins/sdk\"]\nresolver = \"3\"\n");
    let mut section = "";
    for line in workspace.lines() {
        if line.starts_with('[') {
            section = line;
            let wanted = section == "[workspace.package]"
                || section == "[workspace.dependencies]"
                || section.starts_with("[workspace.lints");
            if wanted {
                text.push_str(&format!("\n{line}\n"));
            }
            continue;
        }
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let wanted = match section {
            "[workspace.dependencies]" => {
                sdk.contains(&format!("{key}.workspace = true")) || sdk.contains(&format!("{key} = {{ workspace"))
            }
            "[workspace.package]" => true,
            _ => section.starts_with("[workspace.lints"),
        };
        if wanted {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}
