//! hilum in a container: an image that holds two files, run by runc.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::boot::Boot;
use super::failure::{Context as _, Failure, fail};
use super::{Folder, program};

/// An OCI bundle: a root file system with `/hilum` and `/fixture` and nothing else, read-only, run as user 65532 without any capability and with
/// no_new_privs, until told otherwise.
#[derive(Debug)]
pub(crate) struct Bundle {
    folder: Folder,
    config: Value,
    name: String,
}

/// A folder that holds hilum and the fixture, to be a root. There is no C library and no loader in it.
pub(crate) fn fill_root(root: &Path) -> Result<(), Failure> {
    fs::create_dir_all(root)?;
    for (source, name) in [(program::hilum(), "hilum"), (program::fixture()?, "fixture")] {
        let bytes = fs::read(&source).context(format!("cannot read {source}"))?;
        // The loader's path stands at the beginning of a program that needs one.
        if bytes.iter().take(4096).copied().collect::<Vec<u8>>().windows(3).any(|window| window == b"/ld") {
            return fail(format!(
                "{source} is not static: run cargo xtask e2e, or set HILUM_BIN to a build of cargo xtask dist"
            ));
        }
        program::copy(&source, root.join(name)).context(format!("cannot copy {source}"))?;
    }
    Ok(())
}

impl Bundle {
    /// A container that runs `words`, the first one a path in the image.
    pub(crate) fn new(words: &[&str]) -> Result<Bundle, Failure> {
        program::need_root("a container run by runc")?;
        let folder = Folder::new()?;
        fill_root(&folder.path().join("rootfs"))?;
        let name =
            format!("hilum-{}", folder.path().file_name().map(|name| name.to_string_lossy()).unwrap_or_default());
        let namespaces: Vec<Value> =
            ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind})).to_vec();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 65532, "gid": 65532},
                "args": words,
                "env": [],
                "cwd": "/",
                "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
                "noNewPrivileges": true
            },
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": namespaces}
        });
        Ok(Bundle { folder, config, name })
    }

    /// Changes what is at a JSON pointer.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Bundle {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = self.config.pointer_mut(parent)
        {
            parent.insert(key.to_owned(), value);
        }
        self
    }

    /// A folder of the host, writable in the container.
    pub(crate) fn mount(mut self, source: &str, destination: &str) -> Bundle {
        let mount = json!({"destination": destination, "type": "bind", "source": source, "options": ["bind", "rw"]});
        if let Some(Value::Array(mounts)) = self.config.pointer_mut("/mounts") {
            mounts.push(mount);
        }
        self
    }

    /// The command that runs it; the bundle must outlive it.
    pub(crate) fn boot(&self) -> Result<Boot, Failure> {
        fs::create_dir_all(self.folder.path().join("rootfs/proc"))?;
        let text = serde_json::to_string(&self.config)?;
        self.folder.write("config.json", &text)?;
        let runc = program::tool("runc", "runc")?;
        let state = self.folder.file("state");
        let bundle = self.folder.path().display().to_string();
        Ok(Boot::program(&runc, &["--root", &state, "run", "--bundle", &bundle, &self.name]).ordinary())
    }

    /// Has runc do something with the container that runs: `pause`, `resume`.
    pub(crate) fn runc(&self, verb: &str) -> Result<(), Failure> {
        let runc = program::tool("runc", "runc")?;
        let state = self.folder.file("state");
        let output = std::process::Command::new(runc).args(["--root", &state, verb, &self.name]).output()?;
        if output.status.success() {
            return Ok(());
        }
        fail(format!("runc {verb}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The pid of its process 1, as seen from here.
    pub(crate) fn first_pid(&self) -> Result<i32, Failure> {
        let runc = program::tool("runc", "runc")?;
        let state = self.folder.file("state");
        let output = std::process::Command::new(runc).args(["--root", &state, "state", &self.name]).output()?;
        let state: Value = serde_json::from_slice(&output.stdout)
            .context(format!("runc state says {}", String::from_utf8_lossy(&output.stderr)))?;
        let pid = state.pointer("/pid").and_then(Value::as_i64).context("runc state names no pid")?;
        Ok(i32::try_from(pid)?)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let Ok(runc) = program::tool("runc", "runc") else { return };
        let state = self.folder.file("state");
        // Only what a failed test left running; after a good one there is nothing to delete.
        let _deleted =
            std::process::Command::new(runc).args(["--root", &state, "delete", "--force", &self.name]).output();
    }
}
