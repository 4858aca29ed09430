//! Where the standard library for a target comes from. Two ways, found out here so that nobody has to read about it:
//!
//! - **rustup**: the library is installed, or `rustup target add` installs it. Linked with rustc's own linker and musl.
//! - **source**: a rustc that has the library's sources (Debian's `rust-web-src`, or rustup's `rust-src`) builds it. Linked
//!   through zig, which brings musl for every target; both come from PyPI into `target/tools`.
//!
//! Neither needs anything of the system but what it says here. Which one is used can be forced with
//! `HILUM_PROVISION=rustup` or `source`.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;
use crate::process;
use crate::workspace;

/// Pinned, so that the same sources link to the same bytes.
const ZIG: &str = "ziglang==0.17.0";
/// Pinned with it.
const ZIGBUILD: &str = "cargo-zigbuild==0.24.0";

/// What Debian 12 offers for building the standard library; `lld-22` is what this rustc's `rust-lld` points at.
const DEBIAN: &[&str] =
    &["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "libstd-rust-web-dev", "lld-22", "python3-venv"];

/// The oldest rustc that builds this workspace: wasmtime asks for it.
const OLDEST: (u32, u32) = (1, 95);

/// A way to build for a target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Provision {
    /// Its standard library is installed.
    Rustup,
    /// Its standard library is built from source.
    Source {
        /// The cargo that goes with `rustc`.
        cargo: OsString,
        /// The compiler that has the sources.
        rustc: OsString,
        /// Where the sources are.
        library: PathBuf,
    },
}

impl Provision {
    /// Finds a way, installing what may be installed.
    ///
    /// **Idempotent:** yes; found again without a network.
    ///
    /// **Errors:** what to run by hand.
    pub(crate) fn find(triple: &str) -> Result<Provision, String> {
        let _lock = lock()?;
        let forced = env::var("HILUM_PROVISION").unwrap_or_default();
        match forced.as_str() {
            "" => source(triple).or_else(|reason| {
                if !rustup(triple)? {
                    return Err(reason);
                }
                process::say("building with rustup's standard library, a fifth larger: there is none with sources");
                Ok(Provision::Rustup)
            }),
            "rustup" if rustup(triple)? => Ok(Provision::Rustup),
            "rustup" => {
                Err(format!("HILUM_PROVISION is \"rustup\", but `rustup target add {triple}` does not work here"))
            }
            "source" => source(triple),
            other => Err(format!("HILUM_PROVISION is \"{other}\"; write rustup or source, or leave it out")),
        }
    }

    /// The folder builds go to. One for each way: the toolchains differ, and so would every fingerprint.
    pub(crate) fn target_dir(&self) -> PathBuf {
        workspace::target().join(match self {
            Provision::Rustup => "cross",
            Provision::Source { .. } => "cross-source",
        })
    }

    /// A cargo call that builds for `triple`, up to and without the package.
    ///
    /// **Errors:** zig cannot be installed.
    pub(crate) fn build(&self, triple: &str) -> Result<Command, String> {
        let mut flags = vec![
            // At a fixed address: nothing to relocate at start, so no page is written before main.
            String::from("-Crelocation-model=static"),
            String::from("-Ctarget-feature=+crt-static"),
            // A panic aborts, so nothing ever unwinds: the tables for it would be a tenth of the file.
            String::from("-Cforce-unwind-tables=no"),
        ];
        flags.extend(self.remaps());
        let mut command;
        match self {
            Provision::Rustup => {
                flags.push(String::from("-Clinker=rust-lld"));
                command = workspace::cargo();
                command.arg("build");
            }
            Provision::Source { cargo, rustc, .. } => {
                let zig = Zig::find()?;
                flags.push(String::from("-Clink-self-contained=no"));
                command = Command::new(zig.cargo_zigbuild);
                workspace::cleanse(&mut command);
                command
                    .current_dir(workspace::root())
                    .env("CARGO_ZIGBUILD_ZIG_PATH", zig.zig)
                    .env("CARGO", cargo)
                    .env("RUSTC", rustc)
                    // -Zbuild-std is not stable yet; this is how Debian and Fedora build Rust too.
                    .env("RUSTC_BOOTSTRAP", "1")
                    // Naming any feature leaves out the standard library's default ones: unwinding, and printing backtraces, for
                    // which a stripped file has no names anyway.
                    .args(["zigbuild", "-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
            }
        }
        command
            .args(["--release", "--locked", "--target", triple])
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", self.target_dir());
        Ok(command)
    }

    /// Panic messages hold file names. These make them the same wherever the repository and the registry are, so that two
    /// checkouts give the same bytes. rustc takes the last that fits.
    fn remaps(&self) -> Vec<String> {
        let home = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
            .unwrap_or_else(|| PathBuf::from("/cargo"));
        let mut remaps = vec![(home.clone(), "/cargo"), (workspace::root(), "/hilum")];
        if let Provision::Source { library, .. } = self {
            remaps.push((library.clone(), "/rust"));
        }
        // The folder's name holds a hash of the registry's address, which a mirror changes.
        let mut registries: Vec<PathBuf> = fs::read_dir(home.join("registry/src"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        registries.sort();
        remaps.extend(registries.into_iter().map(|folder| (folder, "/cargo/registry")));
        remaps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect()
    }
}

/// Makes sure hilumc can build guests: it looks for the same two ways itself.
///
/// **Errors:** what to run by hand.
pub(crate) fn ensure_guest() -> Result<(), String> {
    Provision::find("wasm32-unknown-unknown").map(drop)
}

/// Makes sure that guests of the ordinary toolchain, for WASI, can be built. Only rustup has their standard library with the C library below
/// it; from source it wants one that Debian does not have.
///
/// **Errors:** what to run by hand.
pub(crate) fn ensure_wasi_guest() -> Result<(), String> {
    let _lock = lock()?;
    if rustup("wasm32-wasip2")? {
        return Ok(());
    }
    Err(String::from("there is no standard library for wasm32-wasip2; run: rustup target add wasm32-wasip2"))
}

/// Installs zig now if builds for `triple` will want it.
pub(crate) fn ensure_linker(provision: &Provision) -> Result<(), String> {
    match provision {
        Provision::Rustup => Ok(()),
        Provision::Source { .. } => Zig::find().map(drop),
    }
}

/// Forgets that a target could not be installed, so that it is tried again.
pub(crate) fn forget() -> Result<(), String> {
    workspace::clear(&workspace::tools().join("not-in-rustup"))
}

/// Two xtasks at once must not install into each other; the second waits until this is dropped.
fn lock() -> Result<File, String> {
    let path = workspace::tools().join("lock");
    fs::create_dir_all(workspace::tools())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("cannot lock {}: {error}", workspace::shorten(&path)))
}

/// Whether rustc has the target's library, after asking rustup for it.
fn rustup(triple: &str) -> Result<bool, String> {
    let installed = || -> Result<bool, String> {
        let mut rustc = Command::new("rustc");
        let folder = process::ask(rustc.args(["--print", "target-libdir", "--target", triple]))?;
        // The folder may be there, and be empty, without the library.
        Ok(fs::read_dir(folder.trim()).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
        }))
    };
    if installed()? {
        return Ok(true);
    }
    let refused = workspace::tools().join("not-in-rustup").join(triple);
    if refused.exists() || !workspace::on_path("rustup") {
        return Ok(false);
    }
    let added =
        process::watch(&format!("rustup target add {triple}"), Command::new("rustup").args(["target", "add", triple]))?;
    if added.success && installed()? {
        return Ok(true);
    }
    process::say(&format!("rustup cannot install {triple} here"));
    workspace::write(&refused, added.output.as_bytes(), 0o644)?;
    Ok(false)
}

/// Finds a rustc that has the library's sources, or installs Debian's.
fn source(triple: &str) -> Result<Provision, String> {
    if let Some(found) = with_sources() {
        return Ok(found);
    }
    if workspace::on_path("rustup") {
        let mut add = Command::new("rustup");
        // Refused by some mirrors; then there are other ways.
        let _ = process::watch("rustup component add rust-src", add.args(["component", "add", "rust-src"]))?;
        if let Some(found) = with_sources() {
            return Ok(found);
        }
    }
    if packages::may_install() {
        packages::install("building the standard library", DEBIAN)?;
        if let Some(found) = with_sources() {
            return Ok(found);
        }
    }
    Err(format!(
        "there is no standard library for {triple}; run one of:\n  rustup target add {triple}\n  rustup component add rust-src\n  {}",
        packages::by_hand(DEBIAN)
    ))
}

/// The first of Debian's and the default rustc that has sources and is new enough.
fn with_sources() -> Option<Provision> {
    let default = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    [(OsString::from("/usr/bin/cargo"), OsString::from("/usr/bin/rustc")), (default, OsString::from("rustc"))]
        .into_iter()
        .find_map(|(cargo, rustc)| {
            let sysroot = process::ask(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
            let version = process::ask(Command::new(&rustc).arg("--version")).ok()?;
            let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
            let whole = library.join("Cargo.lock").is_file() && Path::new(&cargo).exists();
            (whole && parse_version(&version)? >= OLDEST).then_some(Provision::Source { cargo, rustc, library })
        })
}

/// Major and minor of `rustc 1.96.0 (…)`.
fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut parts = line.split_whitespace().nth(1)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The linker for targets without a library of their own.
struct Zig {
    zig: PathBuf,
    cargo_zigbuild: PathBuf,
}

impl Zig {
    /// Finds it in `target/tools`, or installs it there.
    ///
    /// **Errors:** what is missing: Python, its venv module, or the network.
    fn find() -> Result<Zig, String> {
        let folder = workspace::tools().join(format!("{ZIG}-{ZIGBUILD}").replace("==", "-"));
        if let Some(zig) = Zig::look(&folder) {
            return Ok(zig);
        }
        let python = |arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.args(["-m", "venv"]).args(arguments).arg(&folder);
            command
        };
        // A half-made environment from an interrupted run is made anew; Debian keeps the module in a package of its own.
        let made = process::run("python3 -m venv, for zig", &mut python(&["--clear"]));
        if let Err(error) = made {
            if !packages::may_install() {
                return Err(format!("{error}\n  zig comes from PyPI: install Python 3 with its venv module"));
            }
            packages::install("Python's venv module", &["python3-venv"])?;
            process::run("python3 -m venv, for zig", &mut python(&["--clear"]))?;
        }
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", ZIG, ZIGBUILD]);
        process::run(&format!("pip install {ZIG} {ZIGBUILD}"), &mut pip)?;
        Zig::look(&folder).ok_or_else(|| {
            format!("cannot find zig and cargo-zigbuild in {} though pip installed them", folder.display())
        })
    }

    fn look(folder: &Path) -> Option<Zig> {
        let cargo_zigbuild = folder.join("bin/cargo-zigbuild");
        let zig = fs::read_dir(folder.join("lib"))
            .ok()?
            .flatten()
            .map(|python| python.path().join("site-packages/ziglang/zig"))
            .find(|zig| zig.is_file())?;
        // pip installs in this order, so the last one there means that all is there.
        cargo_zigbuild.is_file().then_some(Zig { zig, cargo_zigbuild })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(parse_version("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"), Some((1, 96)));
        assert_eq!(parse_version("rustc 1.97.0-nightly (abc 2026-06-01)"), Some((1, 97)));
        assert_eq!(parse_version("gcc"), None);
    }

    #[test]
    fn the_repository_is_named_the_same_everywhere() {
        let remaps = Provision::Rustup.remaps();
        let own = format!("--remap-path-prefix={}=/hilum", workspace::root().display());
        assert!(remaps.contains(&own), "{remaps:?}");
    }
}
