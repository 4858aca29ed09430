//! The tools of other languages that plugins are written in, for the tests that build with them: C's from Debian, JavaScript's from npm and
//! Python's from PyPI, each in `target/tools`.

use std::path::Path;
use std::process::Command;

use crate::packages::{self, Program};
use crate::process;
use crate::workspace;

/// What C, and the servers its example asks, are built and run with. What is no program is named by a file of the package.
const PROGRAMS: &[Program] = &[
    Program { name: "clang", package: "clang" },
    Program { name: "wasm-ld", package: "lld" },
    Program { name: "/usr/lib/wasm32-wasi/libc.a", package: "wasi-libc" },
    Program { name: "/usr/share/doc/libclang-rt-dev-wasm32/copyright", package: "libclang-rt-dev-wasm32" },
    Program { name: "memcached", package: "memcached" },
    Program { name: "node", package: "nodejs" },
    Program { name: "npm", package: "npm" },
    Program { name: "ld", package: "binutils" },
];

/// JavaScript's: two engines, the small one of the template and the one that most use.
const NPM: &[&str] = &["componentize-qjs@0.4.5", "@bytecodealliance/componentize-js@0.23.0"];

/// Python's.
const PYPI: &str = "componentize-py==0.25.1";

/// Finds them, or installs them.
///
/// **Idempotent:** yes.
///
/// **Errors:** what is missing and cannot be installed.
pub(crate) fn ensure() -> Result<(), String> {
    packages::ensure("building plugins in C and JavaScript", PROGRAMS)?;
    let tools = workspace::tools();
    let js = tools.join("js");
    if !NPM.iter().all(|package| is_there(&js, package)) {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&js).args(NPM);
        process::run("npm install componentize-qjs and componentize-js", &mut npm)?;
    }
    let python = tools.join("python");
    if !python.join("bin/componentize-py").exists() {
        process::run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        let mut pip = Command::new(python.join("bin/pip"));
        process::run(&format!("pip install {PYPI}"), pip.args(["install", "--quiet", PYPI]))?;
    }
    Ok(())
}

/// Whether npm has installed a package, of this version.
fn is_there(folder: &Path, package: &str) -> bool {
    let Some((name, version)) = package.rsplit_once('@') else { return false };
    let manifest = folder.join("node_modules").join(name).join("package.json");
    workspace::read_text(&manifest).is_ok_and(|text| text.contains(&format!("\"version\": \"{version}\"")))
}
