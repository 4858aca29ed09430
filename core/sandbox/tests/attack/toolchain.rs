//! Builds guests in Rust for a target, by what this machine has: a standard library that is installed for it, or the sources of one. hilumc does
//! the same for plugin authors; here it is done again, because a test of the sandbox cannot wait for a tool that is built upon it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use hilum_sandbox::compile::compile;
use hilum_sandbox::engine::Target;
use wit_component::ComponentEncoder;

/// The attempts of `plugins/attacks`, precompiled for this machine; built once.
pub(crate) fn attacks() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let module = build("attacks", "wasm32-unknown-unknown");
        let encoded = ComponentEncoder::default().validate(true).module(&module).unwrap().encode();
        precompiled(&encoded.unwrap_or_else(|error| panic!("attacks: {error:?}")))
    })
}

/// The attempts of `plugins/attacks-wasi`, precompiled for this machine; built once. The target's own linker makes the component.
pub(crate) fn attacks_wasi() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| precompiled(&build("attacks-wasi", "wasm32-wasip2")))
}

fn precompiled(component: &[u8]) -> Vec<u8> {
    compile(component, Target::native()).unwrap_or_else(|error| panic!("{error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What `plugins/NAME` builds for `target`.
fn build(name: &str, target: &str) -> Vec<u8> {
    let toolchains = [("cargo", "rustc"), ("/usr/bin/cargo", "/usr/bin/rustc")];
    let known: Vec<_> =
        toolchains.into_iter().filter_map(|(cargo, rustc)| Some((cargo, rustc, sysroot(rustc)?))).collect();
    let (installed, sources) = (format!("lib/rustlib/{target}/lib"), "lib/rustlib/src/rust/library/std/Cargo.toml");
    // A folder may be there without a library in it.
    let is_installed = |sysroot: &Path| {
        fs::read_dir(sysroot.join(&installed)).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
        })
    };
    let ready = known.iter().find(|(.., sysroot)| is_installed(sysroot)).map(|found| (found, false));
    let chosen =
        ready.or_else(|| known.iter().find(|(.., sysroot)| sysroot.join(sources).is_file()).map(|found| (found, true)));
    let Some(((cargo, rustc, _), from_source)) = chosen else {
        panic!("{name} cannot be built: there is no standard library for {target}; run: rustup target add {target}");
    };
    let folder = root().join("target/attack-guests");
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--lib", "--quiet", "--package", name, "--target", target, "--target-dir"])
        .arg(&folder)
        .args(["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"])
        .current_dir(root())
        .env("RUSTC", rustc)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null());
    // What the cargo of this test says of itself is not meant for that one.
    for (variable, _) in std::env::vars_os() {
        let variable = variable.to_string_lossy();
        let meant_for_us = variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_");
        if meant_for_us || variable == "RUSTUP_TOOLCHAIN" && cargo.starts_with('/') {
            command.env_remove(variable.as_ref());
        }
    }
    if from_source {
        command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
    }
    let output = command.output().unwrap_or_else(|error| panic!("{cargo}: {error}"));
    assert!(
        output.status.success(),
        "{cargo} with {rustc} cannot build {name} for {target}: {}\nrustup target add {target} may help",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read(folder.join(target).join("release").join(format!("{}.wasm", name.replace('-', "_")))).unwrap()
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim_end()))
}
