//! The plugins that are called: two of the standard ones and an echo, each as native code, the same with its instances reused, and for the interpreter.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::quoted;
use crate::dist;
use crate::plugins;
use crate::process;
use crate::target::Target;
use crate::workspace;

/// What machine code is beside.
const INTERPRETER: &str = "pulley64";

/// Most memory of one call. **Units:** bytes. What the standard plugins' pages recommend; a cap that is not reached costs nothing.
const MEMORY: u64 = 4 * 1024 * 1024;

/// What is sent to be echoed.
const TEXT: &str = "hello";

/// A plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    Echo,
    Tcp,
    Http,
}

impl Plugin {
    const fn name(self) -> &'static str {
        match self {
            Plugin::Echo => "echo",
            Plugin::Tcp => "probe-tcp",
            Plugin::Http => "probe-http",
        }
    }

    /// Settings that have it ask at `address`, and what is then in the frame of a good answer.
    pub(super) fn question(self, address: SocketAddr) -> (String, String) {
        let pass = String::from("\"answer\":\"pass\"");
        match self {
            Plugin::Echo => (json!({ "text": TEXT }).to_string(), format!("\"answer\":{}", json!({ "fail": TEXT }))),
            Plugin::Tcp => (json!({ "host": address.ip(), "port": address.port() }).to_string(), pass),
            Plugin::Http => (json!({ "url": format!("http://{address}/") }).to_string(), pass),
        }
    }

    /// Settings that have it wait for an answer at `address`.
    pub(super) fn endless_question(self, address: SocketAddr) -> String {
        match self {
            Plugin::Tcp => {
                json!({ "host": address.ip(), "port": address.port(), "send": "x", "expect": "y" }).to_string()
            }
            Plugin::Echo | Plugin::Http => self.question(address).0,
        }
    }
}

/// How a plugin is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As machine code, with a fresh instance for each call.
    Native,
    /// As machine code, with `reuse-instances`.
    Reused,
    /// By the interpreter.
    Interpreted,
}

/// A plugin in one of its forms.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// As in the table.
    pub(super) name: &'static str,
    pub(super) plugin: Plugin,
    pub(super) form: Form,
    /// The precompiled file and its digest, or why there is none.
    pub(super) file: Result<(PathBuf, String), String>,
}

impl Guest {
    /// The frame that orders it to be loaded as `index`, with every connection granted. Without a digest it is trusted for its owner's sake.
    pub(super) fn order(&self, index: u16, sha256: Option<&str>) -> String {
        json!({ "load": {
            "plugin": index,
            "name": self.name,
            "sha256": sha256,
            "part": null,
            "memory": MEMORY,
            "reuse_instances": self.form == Form::Reused,
            "grants": { "connect": ["*:*"] },
        } })
        .to_string()
    }
}

impl Guest {
    /// The same with files and digests of their own, so that a worker takes them for so many plugins.
    ///
    /// **Errors:** a file could not be written.
    pub(super) fn copies(&self, count: u16) -> Result<Vec<Guest>, String> {
        let copy = |number: u16| {
            let Ok((path, _)) = &self.file else { return Ok(self.clone()) };
            let mut bytes = workspace::read(path)?;
            bytes.extend_from_slice(&number.to_le_bytes());
            let path = path.with_extension(format!("{number}.cwasm"));
            workspace::write(&path, &bytes, 0o644)?;
            Ok(Guest { file: Ok((path, digest(&bytes))), ..self.clone() })
        };
        (0..count).map(copy).collect()
    }
}

/// All of them, made ready.
///
/// **Errors:** there is no hilumc, or it cannot build the echo.
pub(super) fn prepare() -> Result<Vec<Guest>, String> {
    let host = Target::host()?;
    let hilumc = dist::path(host, "hilumc");
    if !hilumc.is_file() {
        return Err(String::from("there is no hilumc for the plugins; run cargo xtask dist --only hilumc,plugins"));
    }
    let folder = workspace::target().join("bench/plugins");
    build_echo(&hilumc, &folder)?;
    let names = [
        (Plugin::Echo, ["echo, native", "echo, reused", "echo, interpreted"]),
        (Plugin::Tcp, ["probe-tcp, native", "probe-tcp, reused", "probe-tcp, interpreted"]),
        (Plugin::Http, ["probe-http, native", "probe-http, reused", "probe-http, interpreted"]),
    ];
    let forms = |(plugin, [native, reused, interpreted]): (Plugin, [&'static str; 3])| {
        let component = match plugin {
            Plugin::Echo => folder.join("echo.wasm"),
            Plugin::Tcp | Plugin::Http => plugins::folder().join(format!("{}.wasm", plugin.name())),
        };
        let file = |machine: &str| {
            let file = folder.join(format!("{}.{machine}.cwasm", plugin.name()));
            precompile(&hilumc, &component, machine, &file)
        };
        let code = file(host.plugin);
        [
            Guest { name: native, plugin, form: Form::Native, file: code.clone() },
            Guest { name: reused, plugin, form: Form::Reused, file: code },
            Guest { name: interpreted, plugin, form: Form::Interpreted, file: file(INTERPRETER) },
        ]
    };
    Ok(names.into_iter().flat_map(forms).collect())
}

/// Precompiles a component: with the very hilumc that is here, whatever made the files in `target/dist`.
fn precompile(hilumc: &Path, component: &Path, machine: &str, file: &Path) -> Result<(PathBuf, String), String> {
    if !component.is_file() {
        return Err(format!("no {}; run cargo xtask plugins", workspace::shorten(component)));
    }
    process::ask(Command::new(hilumc).args(["compile", "--target", machine, "-o"]).arg(file).arg(component))?;
    Ok((file.to_owned(), digest(&workspace::read(file)?)))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Builds the echo, a crate of one file. It is put together in `target`, with the workspace's locked dependencies: as a member it would be one
/// of the plugins we ship, and as a package of its own it would need a lock file to be kept.
fn build_echo(hilumc: &Path, out: &Path) -> Result<(), String> {
    let root = workspace::root();
    let folder = workspace::target().join("bench/echo");
    let path = |path: &str| quoted(&root.join(path).display().to_string());
    let manifest = format!(
        "[package]\nname = \"echo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\npath = {}\ncrate-type = [\"cdylib\", \"rlib\"]\n\
         [dependencies]\nhilum-plugin = {{ path = {} }}\n[workspace]\n",
        path("xtask/bench/echo.rs"),
        path("plugins/sdk"),
    );
    workspace::write(&folder.join("Cargo.toml"), manifest.as_bytes(), 0o644)?;
    workspace::write(&folder.join("Cargo.lock"), &workspace::read(&root.join("Cargo.lock"))?, 0o644)?;
    let mut build = Command::new(hilumc);
    workspace::cleanse(&mut build);
    build.arg("build").arg(&folder).arg("--out").arg(out);
    process::run("build the echo plugin", &mut build).map(drop)
}
