//! A file of WebAssembly, read with care: whatever the bytes are, the answer is what was asked for or a clear error.

use std::fs;
use std::path::Path;

use hilum_sandbox::compile::Compiled;
use hilum_sandbox::engine::Target;

use crate::failure::Failure;

/// Largest file that is read. **Units:** bytes. What it compiles to must fit hilum's own limit.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What a file of WebAssembly is, by its preamble: that of a component is a module's with a layer of 1 in the version's upper half.
enum Kind {
    Component,
    Module,
}

/// The bytes of the component at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match identify(path)? {
        (bytes, Kind::Component) => Ok(bytes),
        (_, Kind::Module) => {
            Err(wrong(path, "it is a core module, not a component; hilumc build makes a component of it"))
        }
    }
}

/// The bytes of the core module at `path`.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>, Failure> {
    match identify(path)? {
        (bytes, Kind::Module) => Ok(bytes),
        (_, Kind::Component) => Err(wrong(path, "it is a component already; hilumc compile precompiles it")),
    }
}

fn wrong(path: &Path, story: &str) -> Failure {
    Failure::new(format!("cannot use {}: {story}", path.display()))
}

fn identify(path: &Path) -> Result<(Vec<u8>, Kind), Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    if !metadata.is_file() {
        return Err(wrong(path, "it is not a regular file; name a .wasm file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(wrong(path, &format!("it has {} bytes, the limit is {MAX_FILE}", metadata.len())));
    }
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let story = match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => return Ok((bytes, Kind::Component)),
        Some(b"\0asm\x01\0\0\0") => return Ok((bytes, Kind::Module)),
        Some([0, b'a', b's', b'm', ..]) => String::from("it is WebAssembly of a version this hilumc does not know"),
        _ => match Target::of(&bytes) {
            Some(target) => format!("it is precompiled already, for {target}; name the .wasm it was made from"),
            None => String::from("it is not WebAssembly; name a .wasm file"),
        },
    };
    Err(wrong(path, &story))
}

/// The component in `bytes`, precompiled.
pub(crate) fn compile(path: &Path, bytes: &[u8], target: Target) -> Result<Compiled, Failure> {
    Compiled::new(bytes, target).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
