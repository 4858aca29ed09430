//! Builds the standard plugins with hilumc, as any plugin author does: `NAME.wasm`, the component, and `NAME.MACHINE.cwasm`, the
//! same precompiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::arguments::Arguments;
use crate::dist;
use crate::process;
use crate::provision;
use crate::target::Target;
use crate::workspace;

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let targets = Target::find_all(&arguments.values("--target")?)?;
    arguments.finish()?;
    build(&targets)
}

/// Where finished plugins are.
pub(crate) fn folder() -> PathBuf {
    workspace::dist().join("plugins")
}

/// A precompiled plugin.
pub(crate) fn precompiled(name: &str, target: &Target) -> PathBuf {
    folder().join(format!("{name}.{}.cwasm", target.plugin))
}

/// Builds every plugin for the targets. The compiler is the static hilumc that `dist` makes for this machine: it is needed
/// anyway, and building it a second time would take longer than everything else together.
pub(crate) fn build(targets: &[&Target]) -> Result<(), String> {
    let host = Target::host()?;
    dist::ensure(host, &["hilumc"])?;
    provision::ensure_guest()?;
    let machines: BTreeSet<&str> = targets.iter().map(|target| target.plugin).collect();
    for name in names()? {
        let mut hilumc = Command::new(dist::path(host, "hilumc"));
        workspace::cleanse(&mut hilumc);
        hilumc
            .current_dir(workspace::root())
            .arg("build")
            .arg(workspace::root().join("plugins").join(&name))
            .arg("--out")
            .arg(folder());
        for machine in &machines {
            hilumc.args(["--target", machine]);
        }
        process::run(
            &format!("build plugin {name} for {}", Vec::from_iter(machines.iter().copied()).join(", ")),
            &mut hilumc,
        )?;
        let made =
            targets.iter().map(|target| precompiled(&name, target)).chain([folder().join(format!("{name}.wasm"))]);
        for path in made {
            let size = workspace::read(&path)?.len();
            process::say(&format!("{}: {size} bytes", workspace::shorten(&path)));
        }
    }
    Ok(())
}

/// The plugins: folders that have a `plugin.toml`.
pub(crate) fn names() -> Result<Vec<String>, String> {
    let folder = workspace::root().join("plugins");
    let entries = fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("plugin.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(String::from("cannot find a plugin: no folder below plugins/ has a plugin.toml"));
    }
    Ok(names)
}
