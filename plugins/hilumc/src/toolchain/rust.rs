//! Rust: finds what compiles a crate for `wasm32-unknown-unknown` on this machine, and uses it.
//!
//! Two provisions: a standard library that is installed for the target (`rustup target add`), or one that is built from source because
//! the compiler came with it (`rust-src`, Debian's `rust-web-src`). Both are looked for in the toolchain on the path and in the system's own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Binary, Made};
use crate::failure::Failure;

const TARGET: &str = "wasm32-unknown-unknown";

/// The release profile of every guest, whatever its workspace says: a plugin waits for the network most of its time and is loaded by
/// small machines, so size is what counts, and a panic ends the call in any case.
const PROFILE: [&str; 5] = [
    "profile.release.opt-level=\"z\"",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
];

/// A way to build guests.
#[derive(Debug)]
pub(super) struct Toolchain {
    cargo: &'static str,
    rustc: &'static str,
    sysroot: PathBuf,
    /// Whether the standard library is built along.
    from_source: bool,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let library = if self.from_source { "standard library from source" } else { "installed standard library" };
        write!(f, "{} with {}, {library}", self.cargo, self.rustc)
    }
}

impl Toolchain {
    /// The first of the known toolchains that can.
    pub(super) fn find() -> Result<Toolchain, Failure> {
        let known = [("cargo", "rustc"), ("/usr/bin/cargo", "/usr/bin/rustc")];
        let mut found = Vec::new();
        for (cargo, rustc) in known {
            if let Some(sysroot) = sysroot(rustc) {
                found.push((cargo, rustc, sysroot));
            }
        }
        // Installed anywhere is better than from source: it builds in seconds and needs no bootstrap switch.
        let installed = found.iter().find(|(_, _, sysroot)| has_target(sysroot)).map(|it| (it, false));
        let chosen =
            installed.or_else(|| found.iter().find(|(_, _, sysroot)| has_source(sysroot)).map(|it| (it, true)));
        if let Some(((cargo, rustc, sysroot), from_source)) = chosen {
            return Ok(Toolchain { cargo, rustc, sysroot: sysroot.clone(), from_source });
        }
        Err(Failure::new(format!(
            "cannot build for {TARGET}: {} has neither the target's standard library nor the sources of its own; run: rustup target add \
             {TARGET} (Debian: apt-get install rustc-web cargo-web rust-web-src rust-web-llvm libstd-rust-web-dev lld-22)",
            if found.is_empty() { "no rustc was found, and so nothing" } else { "rustc" }
        )))
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(self.cargo);
        cargo.env("RUSTC", self.rustc);
        // What an outer cargo (cargo run, cargo test) says of itself is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if let Some(text) = name.to_str()
                && (text.starts_with("CARGO_PKG_")
                    || text.starts_with("CARGO_MANIFEST_")
                    || text == "RUSTUP_TOOLCHAIN" && self.cargo.starts_with('/'))
            {
                cargo.env_remove(name);
            }
        }
        cargo
    }

    /// Builds the crate in `folder` as a core module.
    pub(super) fn build(&self, folder: &Path) -> Result<Made, Failure> {
        let manifest = folder.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|error| Failure::file("find", &manifest, &error))?;
        let mut metadata = self.cargo();
        metadata.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let metadata: Value = serde_json::from_slice(&self.run(&mut metadata)?)
            .map_err(|error| Failure::new(format!("cannot read what cargo metadata says: {error}")))?;
        let path = |key: &str| metadata.get(key).and_then(Value::as_str).map(PathBuf::from).unwrap_or_default();
        let (target_directory, workspace) = (path("target_directory"), path("workspace_root"));
        // A folder of its own: this toolchain may be another than the one that uses the rest, and neither waits for the other.
        let guest = target_directory.join("guest");
        let mut build = self.cargo();
        build
            .args(["build", "--release", "--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"])
            .args(PROFILE.into_iter().flat_map(|setting| ["--config", setting]))
            .arg("--manifest-path")
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&guest)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(&workspace));
        if self.from_source {
            build.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        let messages = self.run(&mut build)?;
        let (name, module) = artefact(&messages, &manifest).ok_or_else(|| {
            Failure::new(format!(
                "{} builds no {TARGET} module; give its Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]",
                manifest.display()
            ))
        })?;
        let module = fs::read(&module).map_err(|error| Failure::file("read", &module, &error))?;
        Ok(Made { name, binary: Binary::Module(module), out: target_directory.join("plugins") })
    }

    /// Paths of this machine that would end up in panic messages are written as if everything lived in one place, so that the same
    /// source gives the same bytes anywhere.
    fn flags(&self, workspace: &Path) -> std::ffi::OsString {
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
            .unwrap_or_default();
        let library = self.sysroot.join("lib/rustlib/src/rust");
        // Debian's is a link to where the sources are, and rustc sees through it.
        let real = fs::canonicalize(&library).unwrap_or_else(|_| library.clone());
        let mut flags = std::ffi::OsString::new();
        for (from, to) in [(workspace, "/plugin"), (&home, "/cargo"), (&library, "/rust"), (&real, "/rust")] {
            if from.as_os_str().is_empty() {
                continue;
            }
            if !flags.is_empty() {
                flags.push("\x1f");
            }
            flags.push("--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
        flags
    }

    /// Runs to the end and returns standard output; diagnostics go to the user's terminal as they come.
    fn run(&self, command: &mut Command) -> Result<Vec<u8>, Failure> {
        super::run(command, &format!("used: {self}"))
    }
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output =
        Command::new(rustc).args(["--print", "sysroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim_end()))
}

fn has_target(sysroot: &Path) -> bool {
    // The folder may be there without a library in it.
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::read_dir(library).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}

/// The package at `manifest` and the module that came of it, from cargo's messages.
fn artefact(messages: &[u8], manifest: &Path) -> Option<(String, PathBuf)> {
    messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()).find_map(
        |message| {
            let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            if text(&message, "reason")? != "compiler-artifact"
                || Path::new(&text(&message, "manifest_path")?) != manifest
            {
                return None;
            }
            let files = message.get("filenames")?.as_array()?;
            let module = files
                .iter()
                .filter_map(Value::as_str)
                .map(PathBuf::from)
                .find(|path| path.extension() == Some("wasm".as_ref()))?;
            // The package's name, not the library's: that one has underscores.
            let id = text(&message, "package_id")?;
            let name = id.rsplit(['/', '#']).find_map(|part| {
                part.split('@').next().filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()))
            })?;
            Some((name.to_owned(), module))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::artefact;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_module_of_the_package_is_found_among_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/x/Cargo.toml","package_id":"p","filenames":["/t/x.wasm"]}
not json
{"reason":"build-script-executed","package_id":"p"}
{"reason":"compiler-artifact","manifest_path":"/w/p/Cargo.toml","package_id":"path+file:///w/probe-http#0.1.0","filenames":["/t/libp.rlib","/t/p.wasm"]}
"#;
        let found = artefact(messages, Path::new("/w/p/Cargo.toml"));
        assert_eq!(found, Some(("probe-http".to_owned(), PathBuf::from("/t/p.wasm"))));
        let named = br#"{"reason":"compiler-artifact","manifest_path":"/a","package_id":"path+file:///w/folder#my-probe@1.2.3","filenames":["/t/p.wasm"]}"#;
        assert_eq!(artefact(named, Path::new("/a")).map(|(name, _)| name), Some("my-probe".to_owned()));
        assert_eq!(artefact(b"", Path::new("/a")), None);
    }
}
