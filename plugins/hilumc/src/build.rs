//! `hilumc build` and `hilumc compile`: from a crate to a component, from a component to files that hilum loads.

use std::fs;
use std::path::{Path, PathBuf};

use hilum_sandbox::compile::Compiled;
use hilum_sandbox::engine::Target;
use hilum_sandbox::load::digest;
use wit_component::ComponentEncoder;

use crate::component;
use crate::failure::Failure;
use crate::toolchain::Toolchain;

/// Builds the crate in `folder` and writes what comes of it.
pub(crate) fn build(folder: &Path, out: Option<&Path>, targets: &[Target]) -> Result<String, Failure> {
    let made = Toolchain::find()?.build(folder)?;
    let module = fs::read(&made.module).map_err(|error| Failure::file("read", &made.module, &error))?;
    let component = componentise(&made.name, &module)?;
    let out = out.map_or_else(|| made.target_directory.join("plugins"), Path::to_owned);
    fs::create_dir_all(&out).map_err(|error| Failure::file("make folder", &out, &error))?;
    let path = out.join(format!("{}.wasm", made.name));
    let mut report = write(&path, &component)?;
    let native = [Target::native()];
    for target in if targets.is_empty() { &native } else { targets } {
        let compiled = component::compile(&path, &component, *target)?;
        report.push_str(&write(&out.join(format!("{}.{target}.cwasm", made.name)), compiled.bytes())?);
    }
    Ok(report)
}

/// Precompiles the component in `file`.
pub(crate) fn compile(file: &Path, target: Target, output: Option<&Path>) -> Result<String, Failure> {
    let compiled: Compiled = component::compile(file, &component::read(file)?, target)?;
    let output = output.map_or_else(|| file.with_extension(format!("{target}.cwasm")), Path::to_owned);
    write(&output, compiled.bytes())
}

fn componentise(name: &str, module: &[u8]) -> Result<Vec<u8>, Failure> {
    let encoded = ComponentEncoder::default().validate(true).module(module).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| {
        Failure::new(format!(
            "cannot make a component of {name}: {error:#}; does the crate implement a plugin world and call hilum_plugin::export!?"
        ))
    })
}

/// Writes aside and renames, so that nobody ever loads half a file. Says what was written.
fn write(path: &Path, bytes: &[u8]) -> Result<String, Failure> {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|error| Failure::file("write", path, &error))?;
    Ok(format!("{}  {}  {} bytes\n", digest(bytes), path.display(), bytes.len()))
}
