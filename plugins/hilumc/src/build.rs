//! `hilumc build` and `hilumc compile`: from sources to a component, from a component to files that hilum loads.

use std::fs;
use std::path::{Path, PathBuf};

use hilum_sandbox::compile::Compiled;
use hilum_sandbox::engine::Target;
use hilum_sandbox::load::digest;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::component;
use crate::failure::Failure;
use crate::toolchain::{self, Binary, Made};

/// Builds what is at `source`, a plugin's folder or a core module, and writes what comes of it.
pub(crate) fn build(source: &Path, out: Option<&Path>, targets: &[Target]) -> Result<String, Failure> {
    let made = if source.is_file() { module(source)? } else { toolchain::make(source)? };
    let component = match &made.binary {
        Binary::Module(module) => componentise(&made.name, module)?,
        Binary::Component(component) => component.clone(),
    };
    let out = out.map_or(made.out, Path::to_owned);
    fs::create_dir_all(&out).map_err(|error| Failure::file("make folder", &out, &error))?;
    let beyond = beyond(&made.name, &component)?;
    let path = out.join(format!("{}.wasm", made.name));
    if path.canonicalize().is_ok_and(|path| source.canonicalize().is_ok_and(|source| path == source)) {
        return Err(Failure::new(format!("cannot write {}: it is what is built; name another --out", path.display())));
    }
    let mut report = write(&path, &component)?;
    let native = [Target::native()];
    for target in if targets.is_empty() { &native } else { targets } {
        let compiled = component::compile(&path, &component, *target)?;
        report.push_str(&write(&out.join(format!("{}.{target}.cwasm", made.name)), compiled.bytes())?);
    }
    if !beyond.is_empty() {
        report.push_str(&format!("note: it imports {}, which hilum-tiny does not have\n", beyond.join(" ")));
    }
    Ok(report)
}

/// Precompiles the component in `file`.
pub(crate) fn compile(file: &Path, target: Target, output: Option<&Path>) -> Result<String, Failure> {
    let compiled: Compiled = component::compile(file, &component::read(file)?, target)?;
    let output = output.map_or_else(|| file.with_extension(format!("{target}.cwasm")), Path::to_owned);
    write(&output, compiled.bytes())
}

/// A core module that somebody's toolchain made.
fn module(file: &Path) -> Result<Made, Failure> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let binary = Binary::Module(component::read_module(file)?);
    Ok(Made { name, binary, out: file.with_file_name("target").join("plugins") })
}

/// What `component` imports beyond hilum's own interfaces.
///
/// **Errors:** it is no plugin at all.
fn beyond(name: &str, component: &[u8]) -> Result<Vec<String>, Failure> {
    let wrong = |story: &str| Failure::new(format!("cannot use the component of {name}: {story}"));
    let decoded = wit_component::decode(component).map_err(|error| wrong(&format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else { return Err(wrong("it is a package of WIT")) };
    let world = resolve.worlds.get(world).ok_or_else(|| wrong("it has no world"))?;
    if !world.exports.keys().any(|key| resolve.name_world_key(key).starts_with("hilum:")) {
        return Err(wrong("it exports no interface of hilum's; does it implement a plugin world?"));
    }
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key));
    Ok(imports.filter(|name| !name.starts_with("hilum:host/")).collect())
}

/// Wraps a module into a component.
fn componentise(name: &str, module: &[u8]) -> Result<Vec<u8>, Failure> {
    let encode = |adapter: bool| {
        let mut encoder = ComponentEncoder::default();
        let mut encoder = encoder.validate(true).module(module)?;
        if adapter {
            encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?;
        }
        encoder.encode()
    };
    // The name of an import stands in a module as it is. One that only mentions it pays with some bytes of adapter.
    let imports_wasi = module
        .windows(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME.len())
        .any(|window| window == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME.as_bytes());
    encode(imports_wasi).map_err(|error| {
        Failure::new(format!(
            "cannot make a component of {name}: {error:#}; does it export a plugin world, by hilum_plugin::export! or by bindings of \
             wit-bindgen that were linked in?"
        ))
    })
}

/// Writes aside and renames, so that nobody ever loads half a file. Says what was written.
fn write(path: &Path, bytes: &[u8]) -> Result<String, Failure> {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|error| Failure::file("write", path, &error))?;
    Ok(format!("{}  {}  {} bytes\n", digest(bytes), path.display(), bytes.len()))
}
