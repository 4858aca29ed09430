//! What `hilumc bundle` appends to hilum, so that one file is the executable, the plan and the plugins: their bytes, an index of them as lines
//! of text, and a trailer that says how long the index is.
//!
//! ```text
//! hilum's own bytes | plan | plugin | … | index | trailer
//! index:   plan OFFSET LENGTH
//!          plugin NAME OFFSET LENGTH SHA256
//! trailer: the index's length in 16 hexadecimal digits, then MAGIC
//! ```
//! Offsets are from the beginning of the file. The kernel loads what the ELF header says and does not look at what is behind it.

use std::fmt;

/// The end of a file that is a bundle.
pub const MAGIC: &[u8; 16] = b"hilum-bundle-01\n";

/// Length of the trailer. **Units:** bytes.
pub const TRAILER: usize = 32;

/// Longest index. **Units:** bytes. Hundreds of plugins; doubling it doubles what a damaged file can make us read.
const MAX_INDEX: u64 = 64 * 1024;

/// Bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub len: u64,
}

/// A precompiled plugin in a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BundledPlugin {
    /// Its name in the plan.
    pub name: String,
    /// Where it is.
    pub part: Part,
    /// Its digest, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// What is in a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// The plan.
    pub plan: Part,
    /// The plugins.
    pub plugins: Vec<BundledPlugin>,
}

/// A file that ends like a bundle and is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bundle is damaged: its index cannot be read; make it again with hilumc bundle")
    }
}

impl std::error::Error for Damaged {}

impl Index {
    /// The index and the trailer, as they stand at the end of the file.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let Part { offset, len } = self.plan;
        let mut text = format!("plan {offset} {len}\n");
        for BundledPlugin { name, part: Part { offset, len }, sha256 } in &self.plugins {
            text.push_str(&format!("plugin {name} {offset} {len} {sha256}\n"));
        }
        let trailer = format!("{:016x}", text.len());
        [text.as_bytes(), trailer.as_bytes(), MAGIC].concat()
    }

    /// Where the index of a file is that has `len` bytes and ends with `trailer`; `None` if it is no bundle.
    ///
    /// **Errors:** [`Damaged`].
    pub fn place(len: u64, trailer: &[u8]) -> Result<Option<Part>, Damaged> {
        let Some(digits) = trailer.strip_suffix(MAGIC) else { return Ok(None) };
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16).ok_or(Damaged)?;
        let index = u64::from_str_radix(digits, 16).ok().filter(|index| *index <= MAX_INDEX).ok_or(Damaged)?;
        let behind = index.saturating_add(u64::try_from(TRAILER).unwrap_or(u64::MAX));
        Ok(Some(Part { offset: len.checked_sub(behind).ok_or(Damaged)?, len: index }))
    }

    /// The index that `text` is, of a file in which it begins at `end`.
    ///
    /// **Errors:** [`Damaged`].
    pub fn parse(text: &[u8], end: u64) -> Result<Index, Damaged> {
        let text = std::str::from_utf8(text).map_err(|_| Damaged)?;
        let part = |offset: &str, len: &str| -> Option<Part> {
            let (offset, len) = (offset.parse::<u64>().ok()?, len.parse::<u64>().ok()?);
            (offset.checked_add(len)? <= end).then_some(Part { offset, len })
        };
        let mut index = Index::default();
        let mut lines = text.lines();
        let plan = lines.next().and_then(|line| {
            let mut words = line.strip_prefix("plan ")?.split(' ');
            part(words.next()?, words.next()?)
        });
        index.plan = plan.ok_or(Damaged)?;
        for line in lines {
            let plugin = line.strip_prefix("plugin ").and_then(|rest| {
                let mut words = rest.split(' ');
                let (name, offset, len, sha256) = (words.next()?, words.next()?, words.next()?, words.next()?);
                let (name, sha256) = (name.to_owned(), sha256.to_owned());
                Some(BundledPlugin { name, part: part(offset, len)?, sha256 })
            });
            index.plugins.push(plugin.ok_or(Damaged)?);
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{BundledPlugin, Damaged, Index, Part, TRAILER};

    fn index() -> Index {
        let part = Part { offset: 150, len: 70 };
        let plugin = BundledPlugin { name: "probe-http".to_owned(), part, sha256: "ab".repeat(32) };
        Index { plan: Part { offset: 100, len: 50 }, plugins: vec![plugin] }
    }

    fn read(file: &[u8]) -> Result<Option<Index>, Damaged> {
        let len = u64::try_from(file.len()).unwrap_or(u64::MAX);
        let trailer = file.get(file.len().saturating_sub(TRAILER)..).unwrap_or_default();
        let Some(part) = Index::place(len, trailer)? else { return Ok(None) };
        let from = usize::try_from(part.offset).unwrap_or(usize::MAX);
        let to = file.len() - TRAILER;
        Index::parse(file.get(from..to).unwrap_or_default(), part.offset).map(Some)
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let file = [vec![0; 220], index().render()].concat();
        assert_eq!(read(&file), Ok(Some(index())));
        assert_eq!(read(b"just a program"), Ok(None));
        assert_eq!(read(b""), Ok(None));
    }

    #[test]
    fn a_damaged_index_is_an_error_wherever_it_is_damaged() {
        let file = [vec![0; 220], index().render()].concat();
        // A plan or plugin that lies beyond what there is.
        assert_eq!(read(&index().render()), Err(Damaged));
        for at in 220..file.len() - 16 {
            let mut changed = file.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 0x80;
            }
            assert!(read(&changed) != Ok(Some(index())), "byte {at}");
        }
    }
}
