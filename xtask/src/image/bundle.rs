//! An image unpacked for `runc run`: the leanest way to start it as a real container, with no engine and no network set-up. Read-only
//! root, no capability, no new privileges; each folder the image's user owns becomes a writable one beside the root, so that
//! what the service keeps can be looked at. The network is the host's: the status page is at its own address.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::Image;
use super::recipe::Recipe;
use super::tar::{Content, Entry, Tree};
use crate::target::Target;
use crate::workspace;

/// Writes the bundle for this machine's platform to a folder, which is replaced.
///
/// **Errors:** the image was not built for this machine; or owners cannot be set, which takes root.
pub(super) fn write(folder: &Path, image: &Image) -> Result<(), String> {
    let host = Target::host()?.platform;
    let platform = image.platforms.iter().find(|platform| platform.name == host);
    let platform = platform.ok_or_else(|| format!("cannot make a bundle for this machine: add --platform {host}"))?;
    let mut tree = Tree::new();
    platform.layers.iter().for_each(|layer| tree.extend(layer.clone()));
    let user = parse_user(&image.recipe.user);
    let volumes: Vec<&String> = tree
        .iter()
        .filter(|(_, entry)| entry.content == Content::Folder && (entry.uid, entry.gid) == user)
        .map(|(path, _)| path)
        .collect();

    workspace::clear(folder)?;
    for (path, entry) in &tree {
        place(&folder.join("rootfs").join(path), entry)
            .map_err(|error| format!("cannot unpack /{path}: {error}; owners are set as root only"))?;
        if volumes.contains(&path) {
            place(&folder.join("volumes").join(path), entry)
                .map_err(|error| format!("cannot make volume /{path}: {error}"))?;
        }
    }
    let absolute = fs::canonicalize(folder).map_err(|error| format!("cannot find {}: {error}", folder.display()))?;
    let mounts = volumes.iter().map(|path| {
        json!({
            "destination": format!("/{path}"), "type": "bind", "options": ["bind", "rw", "nosuid", "nodev", "noexec"],
            "source": absolute.join("volumes").join(path),
        })
    });
    let configuration = configure(&image.recipe, user, mounts.collect());
    workspace::write(&folder.join("config.json"), format!("{configuration:#}\n").as_bytes(), 0o644)
}

/// Makes one entry, with its owner and mode, and the folders above it.
fn place(path: &Path, entry: &Entry) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    match &entry.content {
        Content::Folder => fs::DirBuilder::new().recursive(true).create(path)?,
        Content::File(bytes) => fs::write(path, bytes)?,
        Content::Link(to) => {
            symlink(to, path)?;
            return lchown(path, Some(entry.uid), Some(entry.gid));
        }
    }
    chown(path, Some(entry.uid), Some(entry.gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(entry.mode))
}

/// The recipe was checked when it was read.
fn parse_user(user: &str) -> (u32, u32) {
    let (uid, gid) = user.split_once(':').unwrap_or_default();
    (uid.parse().unwrap_or_default(), gid.parse().unwrap_or_default())
}

/// **Source:** the OCI runtime specification 1.0.
fn configure(recipe: &Recipe, (uid, gid): (u32, u32), mut volumes: Vec<Value>) -> Value {
    let words: Vec<&String> = recipe.entrypoint.iter().chain(&recipe.cmd).collect();
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        }),
    ];
    mounts.append(&mut volumes);
    let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": uid, "gid": gid},
            "args": words,
            "env": recipe.env,
            "cwd": recipe.directory,
            "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "hilum",
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
