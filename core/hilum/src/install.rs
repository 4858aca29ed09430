//! `hilum install DEST`: copies this program, for images without `cp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Copies this program to `destination`, or into it where it is a directory. Written beside and renamed, so that nobody ever executes half a
/// file.
///
/// **Errors:** in words for people.
///
/// **Idempotent.**
pub(crate) fn run(destination: &Path) -> Result<(), String> {
    let target = if destination.is_dir() { destination.join("hilum") } else { destination.to_owned() };
    let beside = beside(&target);
    let copied = copy(&beside).and_then(|()| fs::rename(&beside, &target));
    copied.map_err(|error| {
        let _ = fs::remove_file(&beside);
        format!("cannot install to {}: {error}", target.display())
    })
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    target.with_file_name(name)
}

fn copy(to: &Path) -> io::Result<()> {
    let mut from = File::from(hilum_sys::executable::open_readable()?);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(to)?;
    io::copy(&mut from, &mut file)?;
    // The mode given at creation is cut by the umask.
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.sync_all()
}
