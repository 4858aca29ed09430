//! C: bindings by wit-bindgen, which is in hilumc, and a compiler with a C library for `wasm32-wasi`: the first of wasi-sdk, zig and clang
//! with the system's wasi-libc.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use super::{ask, run, scratch};
use crate::failure::Failure;
use crate::manifest::Manifest;

/// Folder of the bindings, beside the sources: `#include "plugin.h"` finds them there, and so do editors and native tests.
const BINDINGS: &str = "bindings";

/// What is linked in so that `snprintf` does not drag WASI along.
const STDIO: &str = include_str!("stdio.c");

/// What makes a plugin of C: small code, no entry point, nothing of this machine, and only what is used.
const FLAGS: [&str; 9] = [
    "-mexec-model=reactor",
    "-Os",
    "-Wall",
    "-Wextra",
    "-ffunction-sections",
    "-fdata-sections",
    "-Wl,--gc-sections",
    "-Wl,--strip-all",
    // Twice what wasm-ld gives: the answers of host functions may be large, and C keeps buffers on the stack.
    "-Wl,-z,stack-size=131072",
];

const INSTALL: &str = "Debian: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32; elsewhere: pip install ziglang, or wasi-sdk from \
                       github.com/WebAssembly/wasi-sdk with WASI_SDK_PATH set to its folder";

/// A compiler and how to call it.
struct Compiler {
    command: Vec<OsString>,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command.join(" ".as_ref()).to_string_lossy())
    }
}

impl Compiler {
    fn new(program: impl Into<OsString>, arguments: &[&str]) -> Compiler {
        Compiler { command: [program.into()].into_iter().chain(arguments.iter().map(OsString::from)).collect() }
    }

    /// The first that is here.
    fn find() -> Result<Compiler, Failure> {
        if let Some(sdk) = env::var_os("WASI_SDK_PATH") {
            let clang = PathBuf::from(sdk).join("bin/clang");
            if !clang.is_file() {
                return Err(Failure::new(format!(
                    "cannot compile C: WASI_SDK_PATH is set, but there is no {}; correct or unset it",
                    clang.display()
                )));
            }
            return Ok(Compiler::new(clang, &["--target=wasm32-wasi", "-Wl,--stack-first"]));
        }
        if ask("zig", &["version"]).is_some() {
            return Ok(Compiler::new("zig", &["cc", "-target", "wasm32-wasi"]));
        }
        if ask("python3", &["-m", "ziglang", "version"]).is_some() {
            return Ok(Compiler::new("python3", &["-m", "ziglang", "cc", "-target", "wasm32-wasi"]));
        }
        // A file that is not found is printed as it was asked for.
        let start = ask("clang", &["--target=wasm32-wasi", "-print-file-name=crt1-reactor.o"]);
        let lacks = match start {
            None => "no wasi-sdk, zig or clang was found",
            Some(found) if !found.contains('/') => "clang has no C library for wasm32-wasi",
            Some(_)
                if ask("clang", &["--target=wasm32-wasi", "-print-prog-name=wasm-ld"])
                    .is_none_or(|found| ask(&found, &["--version"]).is_none()) =>
            {
                "clang has no wasm-ld"
            }
            Some(_) => return Ok(Compiler::new("clang", &["--target=wasm32-wasi", "-Wl,--stack-first"])),
        };
        Err(Failure::new(format!("cannot compile C: {lacks}; {INSTALL}")))
    }
}

/// Compiles the sources and returns the core module.
pub(super) fn build(folder: &Path, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let compiler = Compiler::find()?;
    let mut inputs = bindings(folder, &manifest.world)?;
    let stdio = scratch(manifest, "stdio.c");
    fs::write(folder.join(&stdio), STDIO).map_err(|error| Failure::file("write", Path::new(&stdio), &error))?;
    inputs.push(stdio);
    let module = scratch(manifest, "module.wasm");
    let mut command = Command::new(compiler.command.first().map_or_else(OsString::new, Clone::clone));
    command
        .args(compiler.command.iter().skip(1))
        .args(FLAGS)
        .args(["-I", BINDINGS, "-o", &module])
        .args(&manifest.sources)
        .args(&inputs)
        .current_dir(folder);
    run(&mut command, &format!("used: {compiler}; {INSTALL}"))?;
    let module = folder.join(module);
    fs::read(&module).map_err(|error| Failure::file("read", &module, &error))
}

/// Writes the bindings of `world` and returns those of the files that take part in a build, relative to `folder`.
pub(crate) fn bindings(folder: &Path, world: &str) -> Result<Vec<String>, Failure> {
    let wit = folder.join("wit");
    let wrong = |error: &dyn fmt::Display| {
        // wit-parser shows the place on lines of their own.
        Failure::new(format!("cannot read {} for world \"{world}\": {error:#}", wit.display()))
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).map_err(|error| wrong(&error))?;
    let world = resolve.select_world(&[package], Some(world)).map_err(|error| wrong(&error))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).map_err(|error| wrong(&error))?;
    let out = folder.join(BINDINGS);
    fs::create_dir_all(&out).map_err(|error| Failure::file("make folder", &out, &error))?;
    let mut inputs = Vec::new();
    for (name, bytes) in files.iter() {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|error| Failure::file("write", &path, &error))?;
        if !name.ends_with(".h") {
            inputs.push(format!("{BINDINGS}/{name}"));
        }
    }
    Ok(inputs)
}
