//! What is bundled with our own executable, if anything: a plan, and plugins for it. See `hilum_wire::bundle` for the layout.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use hilum_config::Bundled;
use hilum_sys::executable;
use hilum_wire::bundle::{Index, Part, TRAILER};

/// The executable as a bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    file: File,
    index: Index,
}

impl Bundle {
    /// What is bundled; `None` if nothing is, or the executable cannot be read, which a bundle must be.
    ///
    /// **Errors:** there is something, and it is damaged.
    pub(crate) fn open() -> io::Result<Option<Bundle>> {
        let Ok(file) = executable::open_readable().map(File::from) else { return Ok(None) };
        let len = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        let Some(at) = len.checked_sub(TRAILER.try_into().unwrap_or(u64::MAX)) else { return Ok(None) };
        file.read_exact_at(&mut trailer, at)?;
        let Some(place) = Index::place(len, &trailer).map_err(io::Error::other)? else { return Ok(None) };
        let index = Index::parse(&read(&file, place)?, place.offset).map_err(io::Error::other)?;
        Ok(Some(Bundle { file, index }))
    }

    /// The plan.
    ///
    /// **Errors:** it cannot be read.
    pub(crate) fn plan(&self) -> io::Result<String> {
        String::from_utf8(read(&self.file, self.index.plan)?).map_err(io::Error::other)
    }

    /// The plugin of this name.
    pub(crate) fn plugin(&self, name: &str) -> Option<Bundled> {
        let plugin = self.index.plugins.iter().find(|plugin| plugin.name == name)?;
        Some(Bundled { offset: plugin.part.offset, len: plugin.part.len, sha256: plugin.sha256.clone() })
    }
}

/// The file that bundled plugins are in.
///
/// **Errors:** it cannot be opened for reading.
pub(crate) fn file() -> io::Result<OwnedFd> {
    executable::open_readable()
}

fn read(file: &File, part: Part) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(part.len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, part.offset)?;
    Ok(bytes)
}
