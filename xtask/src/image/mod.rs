//! Builds an image from its recipe: reproducible, for several platforms, with no container engine and no root.

mod bundle;
mod layout;
mod recipe;
mod tar;
pub(crate) mod verify;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;
use crate::dist;
use crate::plugins;
use crate::process;
use crate::target::Target;
use crate::workspace;
use layout::{Layout, Origin, Platform};
use recipe::{From, Item, Recipe};
use tar::{Content, Entry, Tree};

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let targets = Target::find_all(&arguments.values("--platform")?)?;
    let out = arguments.value("--out")?.map(PathBuf::from);
    let bundle = arguments.value("--bundle")?.map(PathBuf::from);
    let load = arguments.switch("--load");
    let name = arguments.word().ok_or("name an image: a folder below images/ that has an image.toml")?;
    arguments.finish()?;

    let out = out.unwrap_or_else(|| folder(&name));
    let image = build(&name, &targets)?;
    image.layout.write(&out)?;
    println!("{}  {}", image.layout.digest, workspace::shorten(&out));
    for (platform, bytes) in &image.layout.pulled {
        println!("  {platform}: {bytes} bytes to pull");
    }
    if let Some(folder) = bundle {
        bundle::write(&folder, &image)?;
        println!("  bundle: {}", folder.display());
    }
    if load { self::load(&out, &image) } else { Ok(()) }
}

/// Where an image goes if nothing else is said.
pub(crate) fn folder(name: &str) -> PathBuf {
    workspace::target().join("images").join(name)
}

/// Builds an image for this machine and unpacks it for runc.
pub(crate) fn bundle(name: &str, target: &'static Target, folder: &Path) -> Result<(), String> {
    bundle::write(folder, &build(name, &[target])?)
}

/// A finished image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layout: Layout,
    recipe: Recipe,
    origin: Origin,
    platforms: Vec<Platform>,
}

/// Builds everything the recipe asks for, for the targets.
///
/// **Errors:** among others, a platform's layers over the recipe's budget.
pub(crate) fn build(name: &str, targets: &[&'static Target]) -> Result<Image, String> {
    let folder = workspace::root().join("images").join(name);
    let recipe = Recipe::read(&folder.join("image.toml"))?;
    if recipe.layers.iter().flat_map(|layer| &layer.entries).any(|item| matches!(item.from, From::Plugin(_))) {
        plugins::build(targets)?;
    }
    let mut platforms = Vec::new();
    for target in targets {
        let mut layers: Vec<Tree> = Vec::new();
        let mut below = Tree::new();
        for layer in &recipe.layers {
            let mut tree = Tree::new();
            for item in &layer.entries {
                let entry = make(item, &folder, target)?;
                tar::insert(&mut tree, &below, &item.path, entry)
                    .map_err(|error| format!("images/{name}/image.toml: {}: {error}", layer.title))?;
            }
            below.extend(tree.clone());
            layers.push(tree);
        }
        platforms.push(Platform { name: target.platform, layers });
    }
    let origin = origin(name)?;
    let layout = Layout::new(&recipe, &origin, &platforms)?;
    for (platform, bytes) in &layout.pulled {
        if *bytes > recipe.budget {
            return Err(format!(
                "{name} for {platform} has {bytes} bytes; its budget is {}, in images/{name}/image.toml",
                recipe.budget
            ));
        }
    }
    Ok(Image { layout, recipe, origin, platforms })
}

/// Builds an item, if it is one that is built, and reads it.
fn make(item: &Item, folder: &Path, target: &Target) -> Result<Entry, String> {
    let content = match &item.from {
        From::Folder => Content::Folder,
        From::Link(to) => Content::Link(to.clone()),
        From::File(name) => Content::File(workspace::read(&folder.join(name))?),
        From::Package(name) => Content::File(workspace::read(&dist::package(target, name, true, name)?)?),
        From::Plugin(name) => Content::File(workspace::read(&plugins::precompiled(name, target))?),
        From::Dist(name) => {
            dist::ensure(target, &[name])?;
            Content::File(workspace::read(&dist::path(target, name))?)
        }
    };
    Ok(Entry { content, mode: item.mode, uid: item.uid, gid: item.gid })
}

/// `SOURCE_DATE_EPOCH` says both times; without it an image is as old as its commit, and its files have no age.
fn origin(name: &str) -> Result<Origin, String> {
    let git = |arguments: &[&str]| -> Option<String> {
        let answer = process::ask(Command::new("git").current_dir(workspace::root()).args(arguments)).ok()?;
        Some(answer.trim().to_owned())
    };
    let epoch = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            Some(text.parse::<u64>().map_err(|_| format!("SOURCE_DATE_EPOCH \"{text}\" is not a number of seconds"))?)
        }
        Err(_) => None,
    };
    let committed = git(&["log", "-1", "--format=%ct"]).and_then(|text| text.parse().ok());
    let changed = git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
    let revision = git(&["rev-parse", "--verify", "HEAD"]).filter(|text| !text.is_empty());
    Ok(Origin {
        name: format!("hilum-{name}"),
        version: String::from(env!("CARGO_PKG_VERSION")),
        licenses: String::from("MIT OR Apache-2.0"),
        revision: revision.map(|hash| if changed { format!("{hash}-dirty") } else { hash }),
        created: epoch.or(committed).unwrap_or(0),
        mtime: epoch.unwrap_or(0),
    })
}

/// Hands the layout to the container engine that is here.
fn load(out: &Path, image: &Image) -> Result<(), String> {
    let reference = format!("{}:{}", out.display(), image.origin.version);
    let name = format!("{}:{}", image.origin.name, image.origin.version);
    if workspace::on_path("podman") {
        let pulled = process::ask(Command::new("podman").args(["pull", "--quiet", &format!("oci:{reference}")]))?;
        process::ask(Command::new("podman").args(["untag", pulled.trim()]))?;
        process::ask(Command::new("podman").args(["tag", pulled.trim(), &name]))?;
    } else if workspace::on_path("docker") {
        let archive = out.with_extension("tar");
        process::ask(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(out).arg("."))?;
        process::ask(Command::new("docker").arg("load").arg("--input").arg(&archive))?;
    } else {
        return Err(String::from("cannot load the image: there is neither podman nor docker"));
    }
    println!("  loaded: {name}");
    Ok(())
}
