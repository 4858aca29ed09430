//! Builds what users get: static binaries that start at a fixed address with nothing to relocate, and the plugins.

use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::elf;
use crate::plugins;
use crate::process;
use crate::provision::Provision;
use crate::target::Target;
use crate::workspace;

/// One binary.
#[derive(Debug)]
pub(crate) struct Binary {
    /// Its name in `target/dist/TARGET`.
    pub(crate) name: &'static str,
    /// The package, and the name cargo gives the file.
    package: &'static str,
    /// Whether the package's default features are in.
    features: bool,
}

/// Built with `-p`, one at a time: a build of the whole workspace would unify features and put the compiler into hilum.
pub(crate) const BINARIES: &[Binary] = &[
    Binary { name: "hilum", package: "hilum", features: true },
    Binary { name: "hilum-tiny", package: "hilum", features: false },
    Binary { name: "hilumc", package: "hilumc", features: true },
];

const PLUGINS: &str = "plugins";

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let targets = Target::find_all(&arguments.values("--target")?)?;
    let only = arguments.values("--only")?;
    arguments.finish()?;
    let known = |name: &String| name == PLUGINS || BINARIES.iter().any(|binary| binary.name == name);
    if let Some(name) = only.iter().find(|name| !known(name)) {
        return Err(format!("cannot build \"{name}\"; --only takes hilum, hilum-tiny, hilumc and plugins"));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    for target in &targets {
        for binary in BINARIES.iter().filter(|binary| wanted(binary.name)) {
            if binary.name == "hilumc" && !target.compiles_plugins {
                if only.is_empty() {
                    process::say(&format!("{}: no hilumc, its compiler does not run there", target.triple));
                    continue;
                }
                return Err(format!("cannot build hilumc for {}: its compiler does not run there", target.triple));
            }
            let path = build(target, binary)?;
            process::say(&format!("{}: {} bytes", workspace::shorten(&path), workspace::read(&path)?.len()));
        }
    }
    if wanted(PLUGINS) {
        plugins::build(&targets)?;
    }
    Ok(())
}

/// Builds the binaries of these names.
pub(crate) fn ensure(target: &Target, names: &[&str]) -> Result<(), String> {
    for binary in BINARIES.iter().filter(|binary| names.contains(&binary.name)) {
        build(target, binary)?;
    }
    Ok(())
}

/// Where a finished binary is.
pub(crate) fn path(target: &Target, name: &str) -> PathBuf {
    workspace::dist().join(target.triple).join(name)
}

fn build(target: &Target, binary: &Binary) -> Result<PathBuf, String> {
    let built = package(target, binary.package, binary.features, binary.name)?;
    let place = path(target, binary.name);
    workspace::write(&place, &workspace::read(&built)?, 0o755)?;
    Ok(place)
}

/// Builds a package's binary of the same name and proves it static. It stays where cargo leaves it, until the same package is
/// built with other features. `title` is what to call it.
pub(crate) fn package(target: &Target, package: &str, features: bool, title: &str) -> Result<PathBuf, String> {
    let provision = Provision::find(target.triple)?;
    let mut cargo = provision.build(target.triple)?;
    cargo.args(["--package", package, "--bin", package]);
    if !features {
        cargo.arg("--no-default-features");
    }
    process::run(&format!("build {title} for {}", target.triple), &mut cargo)?;

    let built = provision.target_dir().join(target.triple).join("release").join(package);
    let found =
        elf::inspect(&workspace::read(&built)?).map_err(|error| format!("{}: {error}", workspace::shorten(&built)))?;
    if found == (elf::Executable { machine: target.machine, relocated: false }) {
        return Ok(built);
    }
    Err(format!(
        "{} is not what runs from scratch on {}: found {found:?}, wanted machine {} and no relocation",
        workspace::shorten(&built),
        target.triple,
        target.machine
    ))
}

/// Forgets what was built of these packages, so that they are compiled and linked again.
pub(crate) fn forget(target: &Target, packages: &[&str]) -> Result<(), String> {
    let provision = Provision::find(target.triple)?;
    let mut cargo = workspace::cargo();
    cargo.args(["clean", "--release", "--target", target.triple]).env("CARGO_TARGET_DIR", provision.target_dir());
    for package in packages {
        cargo.args(["--package", package]);
    }
    process::ask(&mut cargo).map(drop)
}
