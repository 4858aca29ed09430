//! An OCI image layout on disk: `oci-layout`, `index.json` and `blobs/sha256`. Pure bytes from pure data, so that the same image
//! has the same digest wherever and whenever it is written.
//!
//! **Source:** the OCI image specification 1.1: image-layout, image-index, manifest, config, layer.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::recipe::Recipe;
use super::tar::{self, Tree};
use crate::workspace;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What describes every platform's image alike.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The image's name, for whoever loads it.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licenses: String,
    /// The commit it was built from, if there is one.
    pub(crate) revision: Option<String>,
    /// When it was made. **Units:** seconds since 1970.
    pub(crate) created: u64,
    /// When its files last changed. **Units:** seconds since 1970. Not `created`: a layer whose files are the same stays the same
    /// blob from commit to commit, and is not pulled again.
    pub(crate) mtime: u64,
}

/// One platform's files.
#[derive(Debug)]
pub(crate) struct Platform {
    /// `linux/arm/v7`.
    pub(crate) name: &'static str,
    /// One tree for each of the recipe's layers.
    pub(crate) layers: Vec<Tree>,
}

/// A finished layout, in memory.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Digest of the index over all platforms: the image's name in the world.
    pub(crate) digest: String,
    /// Bytes of all compressed layers, for each platform.
    pub(crate) pulled: Vec<(&'static str, u64)>,
    index: String,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    /// Makes the blobs and the index.
    ///
    /// **Errors:** what a tar archive cannot hold.
    pub(crate) fn new(recipe: &Recipe, origin: &Origin, platforms: &[Platform]) -> Result<Layout, String> {
        let mut layout =
            Layout { digest: String::new(), pulled: Vec::new(), index: String::new(), blobs: BTreeMap::new() };
        let labels = labels(recipe, origin);
        let mut manifests = Vec::new();
        for platform in platforms {
            let (mut layers, mut diffs, mut history, mut pulled) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for (layer, tree) in recipe.layers.iter().zip(&platform.layers) {
                let archive = tar::archive(tree, origin.mtime)?;
                diffs.push(Value::from(digest(&archive)));
                let packed = compress(&archive)?;
                pulled += packed.len();
                layers.push(layout.add(LAYER, packed));
                history.push(
                    json!({"created": timestamp(origin.created), "created_by": format!("hilum: {}", layer.title)}),
                );
            }
            let config = configuration(recipe, origin, platform.name, &labels, diffs, history);
            let config = layout.add(CONFIG, encode(&config));
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": labels,
            });
            let mut descriptor = layout.add(MANIFEST, encode(&manifest));
            set(&mut descriptor, "platform", parse_platform(platform.name));
            manifests.push(descriptor);
            layout.pulled.push((platform.name, u64::try_from(pulled).unwrap_or(u64::MAX)));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels});
        let mut descriptor = layout.add(INDEX, encode(&index));
        layout.digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
        // Both spellings: the first is the specification's tag, the second is what containerd and docker show as the name.
        let tag = origin.version.clone();
        let full = format!("{}:{tag}", origin.name);
        set(
            &mut descriptor,
            "annotations",
            json!({"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": full}),
        );
        layout.index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]}).to_string();
        Ok(layout)
    }

    /// Writes it to a folder, which is replaced.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        workspace::clear(folder)?;
        workspace::write(&folder.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}", 0o644)?;
        for (digest, blob) in &self.blobs {
            workspace::write(&folder.join("blobs").join(digest.replace(':', "/")), blob, 0o644)?;
        }
        // Last: a folder with an index is whole.
        workspace::write(&folder.join("index.json"), self.index.as_bytes(), 0o644)
    }

    /// Keeps a blob and gives its descriptor.
    fn add(&mut self, media_type: &str, blob: Vec<u8>) -> Value {
        let digest = digest(&blob);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": blob.len()});
        self.blobs.insert(digest, blob);
        descriptor
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn encode(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value);
    }
}

/// Gzip with no name and no time in it.
fn compress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut packer = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    packer.write_all(bytes).and_then(|()| packer.finish()).map_err(|error| format!("cannot compress a layer: {error}"))
}

/// The standard labels, and the recipe's own over them.
fn labels(recipe: &Recipe, origin: &Origin) -> Value {
    let mut labels = Map::new();
    let mut label =
        |key: &str, value: &str| labels.insert(format!("org.opencontainers.image.{key}"), Value::from(value));
    label("title", &origin.name);
    label("description", &recipe.description);
    label("version", &origin.version);
    label("licenses", &origin.licenses);
    label("created", &timestamp(origin.created));
    if let Some(revision) = &origin.revision {
        label("revision", revision);
    }
    for (key, value) in &recipe.labels {
        labels.insert(key.clone(), Value::from(value.as_str()));
    }
    Value::Object(labels)
}

fn configuration(
    recipe: &Recipe,
    origin: &Origin,
    platform: &str,
    labels: &Value,
    diffs: Vec<Value>,
    history: Vec<Value>,
) -> Value {
    let exposed: Map<String, Value> = recipe.expose.iter().map(|port| (port.clone(), json!({}))).collect();
    let mut run = json!({
        "User": recipe.user,
        "ExposedPorts": exposed,
        "Env": recipe.env,
        "Entrypoint": recipe.entrypoint,
        "WorkingDir": recipe.directory,
        "Labels": labels,
    });
    if !recipe.cmd.is_empty() {
        set(&mut run, "Cmd", json!(recipe.cmd));
    }
    if let Some(signal) = &recipe.stop_signal {
        set(&mut run, "StopSignal", json!(signal));
    }
    let mut configuration = parse_platform(platform);
    set(&mut configuration, "created", json!(timestamp(origin.created)));
    set(&mut configuration, "config", run);
    set(&mut configuration, "rootfs", json!({"type": "layers", "diff_ids": diffs}));
    set(&mut configuration, "history", Value::Array(history));
    configuration
}

/// `linux/arm/v7` as the specification's three keys.
fn parse_platform(name: &str) -> Value {
    let mut parts = name.split('/');
    let mut platform = json!({"os": parts.next(), "architecture": parts.next()});
    if let Some(variant) = parts.next() {
        set(&mut platform, "variant", json!(variant));
    }
    platform
}

/// RFC 3339, in UTC. The calendar is Howard Hinnant's `civil_from_days`: eras of 400 years that begin in March.
fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86400, seconds % 86400);
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Layer;
    use super::super::tar::{Content, Entry};
    use super::*;
    use std::process::Command;

    fn layout(content: &[u8]) -> Result<Layout, String> {
        let recipe = Recipe {
            description: String::from("a test"),
            entrypoint: vec![String::from("/app")],
            user: String::from("65532:65532"),
            directory: String::from("/"),
            expose: vec![String::from("8080/tcp")],
            layers: vec![Layer { title: String::from("the app"), entries: Vec::new() }],
            ..Recipe::default()
        };
        let origin = Origin {
            name: String::from("test"),
            version: String::from("0.1.0"),
            licenses: String::from("MIT"),
            revision: Some(String::from("abc")),
            created: 1_700_000_000,
            mtime: 0,
        };
        let platform = |name| -> Result<Platform, String> {
            let mut tree = Tree::new();
            let entry = Entry { content: Content::File(content.to_vec()), mode: 0o755, uid: 0, gid: 0 };
            tar::insert(&mut tree, &Tree::new(), "/app", entry)?;
            Ok(Platform { name, layers: vec![tree] })
        };
        Layout::new(&recipe, &origin, &[platform("linux/amd64")?, platform("linux/arm/v7")?])
    }

    #[test]
    fn the_same_files_have_the_same_digest() -> Result<(), String> {
        let (first, second) = (layout(b"one")?, layout(b"one")?);
        assert_eq!((&first.digest, &first.index, &first.blobs), (&second.digest, &second.index, &second.blobs));
        assert_ne!(first.digest, layout(b"two")?.digest);
        // A change of the writer that changes digests is to be noticed, not found out by users.
        assert_eq!(first.digest, "sha256:33fbfdfd24f23f56f2cd88947b61be37d0bfe35b889282de2cdf59c24e758e53");
        Ok(())
    }

    #[test]
    fn every_blob_is_what_its_name_says_and_is_referred_to() -> Result<(), String> {
        let layout = layout(b"one")?;
        // One layer for both platforms, a configuration and a manifest each, and the index.
        assert_eq!(layout.blobs.len(), 6);
        for (name, blob) in &layout.blobs {
            assert_eq!(name, &digest(blob));
            let referred = layout.index.contains(name)
                || layout.blobs.values().any(|other| String::from_utf8_lossy(other).contains(name.as_str()));
            assert!(referred, "{name}");
        }
        Ok(())
    }

    #[test]
    fn the_layout_on_disk_is_the_layout() -> Result<(), String> {
        let folder = std::env::temp_dir().join(format!("hilum-layout-{}", std::process::id()));
        let layout = layout(b"one")?;
        layout.write(&folder)?;
        layout.write(&folder)?;
        let index = workspace::read_text(&folder.join("index.json"))?;
        assert!(index.contains(&layout.digest));
        let blobs = folder.join("blobs/sha256");
        for (name, blob) in &layout.blobs {
            let hex = name.strip_prefix("sha256:").unwrap_or_default();
            assert_eq!(&workspace::read(&blobs.join(hex))?, blob);
        }
        let listing = crate::process::ask(Command::new("ls").arg(&blobs))?;
        assert_eq!(listing.lines().count(), layout.blobs.len());
        workspace::clear(&folder)
    }

    #[test]
    fn knows_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(timestamp(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn platforms_have_up_to_three_parts() {
        assert_eq!(parse_platform("linux/amd64"), json!({"os": "linux", "architecture": "amd64"}));
        assert_eq!(parse_platform("linux/arm/v7"), json!({"os": "linux", "architecture": "arm", "variant": "v7"}));
    }
}
