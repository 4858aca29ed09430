//! From a folder of sources to WebAssembly, by the toolchain of its language. hilumc brings what is about hilum (WIT, bindings, the
//! component around a module); the compilers and interpreters are the author's own.

mod c;
mod js;
mod python;
mod rust;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use c::bindings;

use crate::failure::Failure;
use crate::manifest::{Language, Manifest};

/// What a toolchain leaves.
#[derive(Debug)]
pub(crate) enum Binary {
    /// A core module with its component type in it.
    Module(Vec<u8>),
    /// A component.
    Component(Vec<u8>),
}

/// What a build left.
#[derive(Debug)]
pub(crate) struct Made {
    /// The plugin's name.
    pub(crate) name: String,
    pub(crate) binary: Binary,
    /// Where to write if nothing else is said.
    pub(crate) out: PathBuf,
}

/// Builds the plugin in `folder`.
pub(crate) fn make(folder: &Path) -> Result<Made, Failure> {
    let (language, manifest) = match Manifest::read(folder)? {
        Some(manifest) if manifest.language != Language::Rust => (manifest.language, manifest),
        _ if folder.join("Cargo.toml").is_file() => return rust::Toolchain::find()?.build(folder),
        Some(_) => {
            return Err(Failure::new(format!(
                "cannot build {}: plugin.toml names no other language, and there is no Cargo.toml; write language = \"c\", \"js\" or \
                 \"python\" in plugin.toml",
                folder.display()
            )));
        }
        None => {
            return Err(Failure::new(format!(
                "cannot build {}: there is no Cargo.toml and no plugin.toml; name a plugin's folder, or begin one: hilumc new",
                folder.display()
            )));
        }
    };
    // The tools run in it, with paths relative to it: what they write into their output is then the same wherever the folder is.
    let folder = &folder.canonicalize().map_err(|error| Failure::file("find", folder, &error))?;
    let work = folder.join("target/guest");
    fs::create_dir_all(&work).map_err(|error| Failure::file("make folder", &work, &error))?;
    let binary = match language {
        Language::C => Binary::Module(c::build(folder, &manifest)?),
        Language::Js => Binary::Component(js::build(folder, &manifest)?),
        Language::Python => Binary::Component(python::build(folder, &manifest)?),
        Language::Rust => return Err(Failure::new("bug: Rust is built by its Cargo.toml")),
    };
    Ok(Made { name: manifest.name, binary, out: folder.join("target/plugins") })
}

/// Where a tool writes, relative to the plugin's folder.
fn scratch(manifest: &Manifest, extension: &str) -> String {
    format!("target/guest/{}.{extension}", manifest.name)
}

/// Runs to the end and returns standard output; diagnostics go to the user's terminal as they come. `hint` is told with a failure.
fn run(command: &mut Command, hint: &str) -> Result<Vec<u8>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot run {program}: {error} ({hint})")))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure::new(format!("{program} ended with {} ({hint})", output.status)))
    }
}

/// What `program` says to `arguments`, if it is there and content.
fn ask<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[S]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
