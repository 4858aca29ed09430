//! A folder of a test's own, gone when the test is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::failure::{Context as _, Failure};

/// Numbers the folders of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A temporary folder. Anyone may enter and write: tests run programs as other users.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Folder, Failure> {
        use std::os::unix::fs::PermissionsExt as _;
        let name = format!("hilum-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).context(format!("cannot create {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        Ok(Folder(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside, as text.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file inside, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.file(name);
        std::fs::write(&path, text).context(format!("cannot write {path}"))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover folder under /tmp fails no test.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}
