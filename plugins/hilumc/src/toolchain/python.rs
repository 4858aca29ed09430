//! Python: `componentize-py`, from the plugin's own `.venv`, the path, or the `python3` on it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{ask, run, scratch};
use crate::failure::Failure;
use crate::manifest::Manifest;

/// The release the templates and examples are tested with.
pub(crate) const PACKAGE: &str = "componentize-py==0.25.1";

/// Makes the component.
pub(super) fn build(folder: &Path, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let source = Path::new(manifest.entry()?);
    let module = source.file_stem().unwrap_or_default();
    let parent = source.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let component = scratch(manifest, "component.wasm");
    let mut command = find(folder)?;
    command
        .args([
            "--quiet",
            "--wit-path",
            "wit",
            "--world",
            &manifest.world,
            "componentize",
            "--stub-wasi",
            "--python-path",
        ])
        .arg(parent)
        .arg(module)
        .args(["--output", &component])
        .current_dir(folder);
    run(&mut command, &format!("tested with {PACKAGE}"))?;
    let component = folder.join(component);
    fs::read(&component).map_err(|error| Failure::file("read", &component, &error))
}

fn find(folder: &Path) -> Result<Command, Failure> {
    let environment = folder.join(".venv");
    let own = environment.join("bin/componentize-py");
    if own.is_file() {
        let mut command = Command::new(own);
        // So that packages installed there are found beside the tool.
        command.env("VIRTUAL_ENV", environment);
        return Ok(command);
    }
    if ask("componentize-py", &["--version"]).is_some() {
        return Ok(Command::new("componentize-py"));
    }
    if ask("python3", &["-m", "componentize_py", "--version"]).is_some() {
        let mut command = Command::new("python3");
        command.args(["-m", "componentize_py"]);
        return Ok(command);
    }
    Err(Failure::new(format!(
        "cannot build {0}: componentize-py was found neither in its .venv nor on the path; run: python3 -m venv {0}/.venv && \
         {0}/.venv/bin/pip install {PACKAGE} (Debian: apt-get install python3-venv)",
        folder.display()
    )))
}
