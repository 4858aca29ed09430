//! A component file, read with care: whatever the bytes are, the answer is a component or a clear error.

use std::fs;
use std::path::Path;

use hilum_sandbox::compile::Compiled;
use hilum_sandbox::engine::Target;

use crate::failure::Failure;

/// Largest component that is read. **Units:** bytes. What it compiles to must fit hilum's own limit.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The bytes of the component at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    let wrong = |story: &str| Err(Failure::new(format!("cannot use {}: {story}", path.display())));
    if !metadata.is_file() {
        return wrong("it is not a regular file; name a .wasm file");
    }
    if metadata.len() > MAX_FILE {
        return wrong(&format!("it has {} bytes, the limit is {MAX_FILE}", metadata.len()));
    }
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    // A component's preamble is that of a module with a layer of 1 in the version's upper half.
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(bytes),
        Some(b"\0asm\x01\0\0\0") => wrong(
            "it is a core module, not a component; hilumc build makes a component of a Rust crate, wasm-tools component new of others",
        ),
        Some([0, b'a', b's', b'm', ..]) => wrong("it is WebAssembly of a version this hilumc does not know"),
        _ => match Target::of(&bytes) {
            Some(target) => wrong(&format!("it is precompiled already, for {target}; name the .wasm it was made from")),
            None => wrong("it is not WebAssembly; name a .wasm component"),
        },
    }
}

/// The component in `bytes`, precompiled.
pub(crate) fn compile(path: &Path, bytes: &[u8], target: Target) -> Result<Compiled, Failure> {
    Compiled::new(bytes, target).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
