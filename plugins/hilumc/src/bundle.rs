//! `hilumc bundle`: hilum, a plan and its plugins as one executable file, for `FROM scratch`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hilum_sandbox::engine::Target;
use hilum_sandbox::load::digest;
use hilum_wire::bundle::{BundledPlugin, Index, MAGIC, Part};

use crate::failure::Failure;

/// Puts them together in `out`. Plugins are `FILE` or `NAME=FILE`; a name that is left out is the file's up to the first dot.
pub(crate) fn bundle(hilum: &Path, plan: &Path, plugins: &[String], out: &Path) -> Result<String, Failure> {
    let read = |path: &Path| fs::read(path).map_err(|error| Failure::file("read", path, &error));
    let mut whole = read(hilum)?;
    if !whole.starts_with(b"\x7fELF") {
        return Err(Failure::new(format!("{} is no executable of Linux; name the hilum to bundle", hilum.display())));
    }
    if whole.ends_with(MAGIC) {
        return Err(Failure::new(format!("{} is a bundle already; name a hilum without one", hilum.display())));
    }
    let text = read(plan)?;
    if std::str::from_utf8(&text).is_err() {
        return Err(Failure::new(format!("{} is not UTF-8, which a plan must be", plan.display())));
    }
    let mut index = Index { plan: append(&mut whole, &text), plugins: Vec::new() };
    for word in plugins {
        let (name, file) = match word.split_once('=') {
            Some((name, file)) => (name.to_owned(), PathBuf::from(file)),
            None => (named_after(Path::new(word))?, PathBuf::from(word)),
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Failure::new(format!("{name:?} cannot be the name of a plugin; write NAME=FILE")));
        }
        if index.plugins.iter().any(|known| known.name == name) {
            return Err(Failure::new(format!("the plugin {name} is there twice; leave one out or write NAME=FILE")));
        }
        let bytes = read(&file)?;
        if Target::of(&bytes).is_none() {
            let shown = file.display();
            return Err(Failure::new(format!("{shown} is not precompiled; run: hilumc compile {shown}")));
        }
        let sha256 = digest(&bytes);
        index.plugins.push(BundledPlugin { name, part: append(&mut whole, &bytes), sha256 });
    }
    whole.extend_from_slice(&index.render());
    write(out, &whole)?;
    let names: Vec<&str> = index.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    Ok(format!("{}: {} bytes, the plan {} and {}\n", out.display(), whole.len(), plan.display(), list(&names)))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no plugin".to_owned() } else { names.join(", ") }
}

fn append(whole: &mut Vec<u8>, bytes: &[u8]) -> Part {
    let size = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let part = Part { offset: size(whole.len()), len: size(bytes.len()) };
    whole.extend_from_slice(bytes);
    part
}

fn named_after(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
    name.map(str::to_owned).ok_or_else(|| Failure::new(format!("{} has no name; write NAME=FILE", file.display())))
}

/// Written aside and renamed: a bundle that runs is not changed under its own feet.
fn write(out: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut aside = out.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let failed = |error: std::io::Error| Failure::file("write", &aside, &error);
    let mut file = fs::File::create(&aside).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    fs::rename(&aside, out).map_err(|error| Failure::file("write", out, &error))
}
