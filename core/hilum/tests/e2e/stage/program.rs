//! The programs: hilum as built for release if the environment says where (`HILUM_BIN`), the fixture, and tools of the system, each missing one
//! a failure that names the package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::failure::{Context as _, Failure, fail};

/// The program under test.
pub(crate) fn hilum() -> String {
    std::env::var("HILUM_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hilum").to_owned())
}

/// The folder of the whole project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program tests run as hilum's child; `HILUM_FIXTURE` or built here, once, with the host's toolchain. Static, so that it runs in an
/// empty image.
pub(crate) fn fixture() -> Result<String, Failure> {
    static BUILT: OnceLock<Result<String, String>> = OnceLock::new();
    if let Ok(path) = std::env::var("HILUM_FIXTURE") {
        return Ok(path);
    }
    match BUILT.get_or_init(|| build_fixture().map_err(|failure| failure.to_string())) {
        Ok(path) => Ok(path.clone()),
        Err(text) => fail(text),
    }
}

fn build_fixture() -> Result<String, Failure> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = root().join("target/e2e");
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--quiet", "--package", "e2e-fixture", "--release", "--target", &target])
        .args(["--config", "profile.release.lto=false"])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Crelocation-model=static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        return fail(format!("cannot build the fixture: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let path = folder.join(target).join("release/e2e-fixture").canonicalize().context("cannot find the fixture")?;
    Ok(path.display().to_string())
}

/// A program of the system by its name, and the Debian package it comes in.
pub(crate) fn tool(name: &str, package: &str) -> Result<String, Failure> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<&str> = path.split(':').collect();
    folders.extend(["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/lib/systemd", "/usr/lib/systemd"]);
    for folder in folders {
        let candidate = Path::new(folder).join(name);
        if candidate.is_file() {
            return Ok(candidate.display().to_string());
        }
    }
    fail(format!("cannot find {name}: run apt-get install {package}"))
}

/// Copies a program to where it will be executed from. Another process does: a file that this one has open for writing may be inherited by what
/// another test starts at that moment, and the kernel executes no file that someone can write (`ETXTBSY`).
pub(crate) fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Failure> {
    let output = Command::new(tool("cp", "coreutils")?).args([from.as_ref(), to.as_ref()]).output()?;
    if output.status.success() { Ok(()) } else { fail(String::from_utf8_lossy(&output.stderr).trim()) }
}

/// Whether the tests run as root; others need a user namespace for a pid namespace.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails unless the tests run as root: for what no user namespace offers.
pub(crate) fn need_root(purpose: &str) -> Result<(), Failure> {
    if is_root() { Ok(()) } else { fail(format!("{purpose} needs root: run the tests as root")) }
}
