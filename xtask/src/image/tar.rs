//! The few parts of the tar format a layer needs, written so that the same files give the same bytes: sorted, with owners,
//! modes and times that somebody stated, nothing taken from the file system.

use std::collections::BTreeMap;

const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    File(Vec<u8>),
    Folder,
    /// A symbolic link, and what it points at.
    Link(String),
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Entry {
    /// A folder as everybody expects it: root's, readable by all.
    pub(crate) fn folder() -> Entry {
        Entry { content: Content::Folder, mode: 0o755, uid: 0, gid: 0 }
    }
}

/// Entries by absolute path, without the leading slash; folders sort before what is in them.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// Adds an entry and the folders above it that are not there yet, with owners and modes they have in the layers `below`.
///
/// **Errors:** the path is not absolute and plain, or taken.
pub(crate) fn insert(tree: &mut Tree, below: &Tree, path: &str, entry: Entry) -> Result<(), String> {
    let Some(inner) = path.strip_prefix('/') else {
        return Err(format!("\"{path}\" is not absolute; begin it with /"));
    };
    if inner.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("\"{path}\" has an empty, . or .. part; write the plain path"));
    }
    for (at, _) in inner.match_indices('/') {
        let above = inner.get(..at).unwrap_or_default();
        let folder =
            tree.entry(above.to_owned()).or_insert_with(|| below.get(above).cloned().unwrap_or_else(Entry::folder));
        if folder.content != Content::Folder {
            return Err(format!("\"{path}\" is below \"/{above}\", which is no folder"));
        }
    }
    if tree.contains_key(inner) {
        return Err(format!(
            "\"{path}\" is there already; folders made for other entries count, so list a folder before what is in it"
        ));
    }
    tree.insert(inner.to_owned(), entry);
    Ok(())
}

/// Writes a tree as a ustar archive, every entry changed last at `mtime`.
///
/// **Units:** seconds since 1970.
///
/// **Source:** POSIX.1-2017, pax, "ustar Interchange Format".
///
/// **Errors:** a name, size or id that the format cannot hold.
pub(crate) fn archive(tree: &Tree, mtime: u64) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (path, entry) in tree {
        let (kind, data, link): (u8, &[u8], &str) = match &entry.content {
            Content::File(data) => (b'0', data, ""),
            Content::Link(target) => (b'2', &[], target),
            Content::Folder => (b'5', &[], ""),
        };
        let name = if kind == b'5' { format!("{path}/") } else { path.clone() };
        out.extend_from_slice(
            &header(&name, entry, kind, data.len(), link, mtime).map_err(|error| format!("/{path}: {error}"))?,
        );
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    Ok(out)
}

fn header(name: &str, entry: &Entry, kind: u8, size: usize, link: &str, mtime: u64) -> Result<[u8; BLOCK], String> {
    let (prefix, name) = split(name)?;
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    let mut header = [0; BLOCK];
    put(&mut header, 0, 100, name.as_bytes())?;
    put(&mut header, 100, 8, &octal(u64::from(entry.mode), 7)?)?;
    put(&mut header, 108, 8, &octal(u64::from(entry.uid), 7)?)?;
    put(&mut header, 116, 8, &octal(u64::from(entry.gid), 7)?)?;
    put(&mut header, 124, 12, &octal(size, 11)?)?;
    put(&mut header, 136, 12, &octal(mtime, 11)?)?;
    put(&mut header, 148, 8, b"        ")?;
    put(&mut header, 156, 1, &[kind])?;
    put(&mut header, 157, 100, link.as_bytes())?;
    put(&mut header, 257, 8, b"ustar\x0000")?;
    put(&mut header, 345, 155, prefix.as_bytes())?;
    // The sum of all bytes, its own field read as spaces.
    let sum = header.iter().map(|&byte| u64::from(byte)).sum();
    put(&mut header, 148, 7, &[octal(sum, 6)?.as_slice(), b"\0"].concat())?;
    Ok(header)
}

/// Copies a field to its place.
fn put(header: &mut [u8; BLOCK], at: usize, length: usize, field: &[u8]) -> Result<(), String> {
    if field.len() > length {
        return Err(format!("\"{}\" is longer than {length} bytes", String::from_utf8_lossy(field)));
    }
    let place = header.iter_mut().skip(at);
    place.zip(field).for_each(|(place, &byte)| *place = byte);
    Ok(())
}

/// So many octal digits.
fn octal(number: u64, digits: usize) -> Result<Vec<u8>, String> {
    let text = format!("{number:0digits$o}");
    if text.len() > digits {
        Err(format!("{number} does not fit into {digits} octal digits"))
    } else {
        Ok(text.into_bytes())
    }
}

/// Splits a name at a slash into the format's two fields.
fn split(name: &str) -> Result<(&str, &str), String> {
    if name.len() <= 100 {
        return Ok(("", name));
    }
    name.match_indices('/')
        .filter_map(|(at, _)| Some((name.get(..at)?, name.get(at + 1..)?)))
        .find(|(prefix, rest)| prefix.len() <= 155 && rest.len() <= 100 && !rest.is_empty())
        .ok_or_else(|| String::from("the name is too long for a tar archive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn file(data: &[u8]) -> Entry {
        Entry { content: Content::File(data.to_vec()), mode: 0o644, uid: 0, gid: 0 }
    }

    #[test]
    fn the_systems_tar_reads_it() -> Result<(), String> {
        let mut tree = Tree::new();
        insert(&mut tree, &Tree::new(), "/etc/hilum.toml", file(b"a = 1\n"))?;
        insert(&mut tree, &Tree::new(), "/state", Entry { uid: 65532, gid: 65532, mode: 0o700, ..Entry::folder() })?;
        insert(
            &mut tree,
            &Tree::new(),
            "/sbin/tini",
            Entry { content: Content::Link(String::from("/hilum")), ..file(b"") },
        )?;
        insert(&mut tree, &Tree::new(), &format!("/{}/{}", "d".repeat(90), "f".repeat(90)), file(&[7; 1000]))?;
        let bytes = archive(&tree, 86400)?;
        assert_eq!(bytes.len() % BLOCK, 0);

        let mut tar = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc", "--full-time", "--file=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        // Dropping the pipe tells tar that this is all.
        tar.stdin.take().map(|mut pipe| pipe.write_all(&bytes)).transpose().map_err(|error| error.to_string())?;
        let output = tar.wait_with_output().map_err(|error| error.to_string())?;
        let listing = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for wanted in [
            "drwxr-xr-x 0/0 0 1970-01-02 00:00:00 etc/",
            "-rw-r--r-- 0/0 6 1970-01-02 00:00:00 etc/hilum.toml",
            "lrw-r--r-- 0/0 0 1970-01-02 00:00:00 sbin/tini -> /hilum",
            "drwx------ 65532/65532 0 1970-01-02 00:00:00 state/",
            &format!("-rw-r--r-- 0/0 1000 1970-01-02 00:00:00 {}/{}", "d".repeat(90), "f".repeat(90)),
        ] {
            assert!(listing.contains(wanted), "{wanted}\n{listing}");
        }
        Ok(())
    }

    #[test]
    fn a_folder_keeps_its_owner_in_later_layers() -> Result<(), String> {
        let (mut first, mut second) = (Tree::new(), Tree::new());
        insert(&mut first, &Tree::new(), "/state", Entry { uid: 7, ..Entry::folder() })?;
        insert(&mut second, &first, "/state/file", file(b""))?;
        assert_eq!(second.get("state").map(|folder| folder.uid), Some(7));
        Ok(())
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut tree = Tree::new();
        for path in ["etc", "/", "//a", "/a/../b", "/a/", "/."] {
            assert!(insert(&mut tree, &Tree::new(), path, file(b"")).is_err(), "{path}");
        }
        assert!(insert(&mut tree, &Tree::new(), "/a", file(b"")).is_ok());
        assert!(insert(&mut tree, &Tree::new(), "/a", file(b"")).is_err());
        assert!(insert(&mut tree, &Tree::new(), "/a/b", file(b"")).is_err());
        assert!(octal(8, 1).is_err());
        let long = Tree::from([("x".repeat(101), file(b""))]);
        assert!(archive(&long, 0).is_err());
    }
}
