//! Every kept input, once more, on the stable compiler.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use hilum_fuzz::TARGETS;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn every_kept_input_keeps_its_promises() -> Result<(), Box<dyn Error>> {
    for (name, target) in TARGETS {
        let folder = corpus(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))? {
            let path = entry?.path();
            let input = fs::read(&path)?;
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                return Err(format!("{name} breaks on {}", path.display()).into());
            }
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty; give the target a first input", folder.display());
        println!("{name}: {inputs} inputs");
    }
    Ok(())
}

#[test]
fn every_target_has_a_binary_and_every_corpus_a_target() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))?.parse()?;
    let binaries = manifest.get("bin").and_then(toml::Value::as_array).ok_or("no binaries in Cargo.toml")?;
    let binaries: BTreeSet<_> =
        binaries.iter().filter_map(|bin| bin.get("name")?.as_str().map(str::to_owned)).collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(binaries, targets);
    let corpora: Result<BTreeSet<_>, _> = fs::read_dir(folder.join("corpus"))?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect();
    assert_eq!(corpora?, targets);
    Ok(())
}
