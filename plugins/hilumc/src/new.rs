//! `hilumc new`: a folder with a working probe in it, and everything it is built and tested with but the language's own tools. All of it
//! is in this file of hilumc's; nothing is fetched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::manifest::{Language, check_name};
use crate::toolchain;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What stands for the plugin's name in templates.
const NAME: &str = "{{name}}";

/// The world of plugins that have bindings generated; their `wit/world.wit` says what is in it.
const WORLD: &str = "plugin";

/// Writes the folder `name` and says what to do next.
pub(crate) fn new(language: Language, kind: &str, name: &str) -> Result<String, Failure> {
    if kind != "probe" {
        return Err(Failure::new(format!("cannot begin a plugin of kind \"{kind}\"; hilum runs probes only")));
    }
    check_name(name).map_err(|story| Failure::new(format!("cannot begin a plugin: {story}")))?;
    let folder = Path::new(name);
    let taken = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(_) => true,
    };
    if taken {
        return Err(Failure::new(format!("cannot begin {name}: it is there already; take another name or remove it")));
    }
    // Aside first: whatever goes wrong, there is no half of it under its name.
    let aside = PathBuf::from(format!("{name}.new"));
    fs::create_dir(&aside).map_err(|error| Failure::file("make folder", &aside, &error))?;
    let done = write(language, name, &aside)
        .and_then(|()| fs::rename(&aside, folder).map_err(|error| Failure::file("make folder", folder, &error)));
    if let Err(failure) = done {
        let _ = fs::remove_dir_all(&aside);
        return Err(failure);
    }
    Ok(format!("{name}: a probe in {}; its README.md says how to build, check, call and test it\n", language.name()))
}

fn write(language: Language, name: &str, folder: &Path) -> Result<(), Failure> {
    for (source, bytes) in FILES {
        let bytes = match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(NAME) => text.replace(NAME, name).into_bytes(),
            _ => bytes.to_vec(),
        };
        for place in places(language, source) {
            let path = folder.join(place);
            fs::create_dir_all(path.parent().unwrap_or(folder))
                .and_then(|()| fs::write(&path, &bytes))
                .map_err(|error| Failure::file("write", &path, &error))?;
        }
    }
    if language == Language::C {
        toolchain::bindings(folder, WORLD)?;
    }
    Ok(())
}

/// Where a file that hilumc was built with goes in the folder of a plugin in `language`.
fn places(language: Language, source: &str) -> Vec<String> {
    if let Some(template) = source.strip_prefix(language.name()).and_then(|rest| rest.strip_prefix('/')) {
        // The ending keeps the tools of hilum's own repository from taking a template for theirs.
        return vec![template.strip_suffix(".in").unwrap_or(template).to_owned()];
    }
    if let Some(file) = source.strip_prefix("wit/") {
        let package = file.split('/').next().unwrap_or_default();
        if language != Language::Rust {
            return if package == "callback" { Vec::new() } else { vec![format!("wit/deps/{file}")] };
        }
        // As in hilum's repository, so that the SDK's paths hold. A package's `deps` are folders, for not everything follows links.
        let users: &[&str] = match package {
            "host" => &["callback", "plugin", "probe"],
            "plugin" => &["callback", "probe"],
            _ => &[],
        };
        let copies = users.iter().map(|user| format!("hilum/wit/{user}/deps/{file}"));
        return copies.chain([format!("hilum/wit/{file}")]).collect();
    }
    match source.strip_prefix("sdk/") {
        Some("workspace.toml") if language == Language::Rust => vec![String::from("hilum/Cargo.toml")],
        Some(file) if language == Language::Rust => vec![format!("hilum/plugins/sdk/{file}")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{FILES, Language, places};

    #[test]
    fn every_language_gets_a_complete_folder() {
        for (language, wanted) in [
            (
                Language::Rust,
                vec!["Cargo.toml", "src/lib.rs", "settings.json", "hilum/Cargo.toml", "hilum/plugins/sdk/src/lib.rs"],
            ),
            (
                Language::Rust,
                vec!["hilum/wit/probe/world.wit", "hilum/wit/probe/deps/host/tcp.wit", "hilum/wit/callback/world.wit"],
            ),
            (Language::C, vec!["probe.c", "test.c", "wit/world.wit", "wit/deps/probe/probe.wit"]),
            (Language::Js, vec!["probe.js", "probe.test.js", "package.json", "wit/deps/plugin/plugin.wit"]),
            (Language::Python, vec!["probe.py", "test_probe.py", "wit/deps/host/tcp.wit"]),
        ] {
            let written: Vec<String> = FILES.iter().flat_map(|(source, _)| places(language, source)).collect();
            for file in wanted.into_iter().chain(["plugin.toml", "README.md", ".gitignore"]) {
                assert!(written.iter().any(|path| path == file), "{language:?}: {file} is not among {written:?}");
            }
            assert!(!written.iter().any(|path| path.ends_with(".in")), "{written:?}");
        }
    }
}
