//! Where things are in this repository, and the toolchain xtask itself was started by.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's top.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// What builds leave; never kept in version control.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Finished artefacts.
pub(crate) fn dist() -> PathBuf {
    target().join("dist")
}

/// Tools and stamps xtask installs for itself.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The cargo that runs xtask, started at the top without what it told xtask about xtask's own package: build scripts that
/// look at those variables would run again each time.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cleanse(&mut command);
    command.current_dir(root());
    command
}

/// Takes the variables away that `cargo run` sets for the program it runs.
pub(crate) fn cleanse(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_") {
            command.env_remove(name.as_ref());
        }
    }
}

/// A path as people type it: from the top, where it is below the top.
pub(crate) fn shorten(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Reads a file whole. **Errors:** name it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", shorten(path)))
}

/// Reads a text file whole. **Errors:** name it.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", shorten(path)))
}

/// Writes a file beside its place and renames it there, with its folder made first: a reader, or the kernel running the old
/// one, never meets half a file.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |error: std::io::Error| format!("cannot write {}: {error}", shorten(path));
    let folder = path.parent().ok_or_else(|| format!("cannot write {}: it has no folder", path.display()))?;
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    std::fs::write(&beside, bytes).map_err(fail)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).map_err(fail)?;
    std::fs::rename(&beside, path).map_err(fail)
}

/// Removes a folder with all in it; one that is not there is fine.
pub(crate) fn clear(path: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", shorten(path)))
        }
        _ => Ok(()),
    }
}

/// Whether a program of that name is on `PATH` or where Debian keeps programs for root.
pub(crate) fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

/// Where that program is.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
