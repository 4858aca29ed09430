//! Artefacts against their budgets (`images/budgets.toml`), and proof that no compiler is in what ships.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::arguments::Arguments;
use crate::dist;
use crate::plugins;
use crate::process;
use crate::target::Target;
use crate::workspace;

/// Crates that make up wasmtime's compilers.
const COMPILER_CRATES: &[&str] = &["cranelift-codegen", "regalloc2", "winch-codegen", "wasmtime-internal-cranelift"];

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let targets = Target::find_all(&arguments.values("--target")?)?;
    arguments.finish()?;
    let budgets = Budgets::read(&workspace::root().join("images/budgets.toml"))?;
    let mut over = Vec::new();
    println!("{:<28} {:<32} {:>10} {:>10} {:>6}", "artefact", "target", "bytes", "budget", "used");
    for target in targets {
        for (name, budget) in budgets.of(target)? {
            let path = locate(&name, target);
            let size = u64::try_from(workspace::read(&path)?.len()).unwrap_or(u64::MAX);
            println!("{name:<28} {:<32} {size:>10} {budget:>10} {:>5}%", target.triple, size * 100 / budget.max(1));
            if size > budget {
                over.push(format!("{} has {size} bytes; its budget is {budget}", workspace::shorten(&path)));
            }
        }
        over.extend(find_compilers(target)?);
    }
    if over.is_empty() { Ok(()) } else { Err(over.join("\n")) }
}

/// Plugins are named as files, everything else is a binary.
fn locate(name: &str, target: &Target) -> PathBuf {
    match name.strip_suffix(".cwasm") {
        Some(plugin) => plugins::precompiled(plugin, target),
        None if name.ends_with(".wasm") => plugins::folder().join(name),
        None => dist::path(target, name),
    }
}

/// Looks for the compiler in two ways: in the list of what is linked, and in the bytes, where the names of source files
/// survive stripping. hilumc, which has it, must be caught by both, or they prove nothing.
fn find_compilers(target: &Target) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for (name, package, features, expected) in [
        ("hilum", "hilum", &[] as &[&str], false),
        ("hilum-tiny", "hilum", &["--no-default-features"], false),
        ("hilumc", "hilumc", &[], true),
    ] {
        let mut cargo = workspace::cargo();
        cargo.args(["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none", "--target"]);
        let tree = process::ask(cargo.arg(target.triple).args(features))?;
        let linked =
            tree.lines().any(|line| COMPILER_CRATES.iter().any(|crate_| line.split(' ').next() == Some(crate_)));
        if linked != expected {
            wrong.push(complaint(name, "its dependencies", expected));
        }
        let path = dist::path(target, name);
        if name == "hilumc" && !path.exists() {
            continue;
        }
        if contains_compiler(&workspace::read(&path)?) != expected {
            wrong.push(complaint(name, &workspace::shorten(&path), expected));
        }
    }
    Ok(wrong)
}

fn complaint(name: &str, place: &str, expected: bool) -> String {
    if expected {
        format!("the search for a compiler is blind: it finds none in {place} of {name}, which has one")
    } else {
        format!(
            "a compiler is linked into {name}: found in {place}; `cargo tree -p hilum -i cranelift-codegen` shows why"
        )
    }
}

/// Whether the path of a compiler's source file is in the binary.
fn contains_compiler(binary: &[u8]) -> bool {
    COMPILER_CRATES.iter().any(|name| {
        let needle = format!("{name}-").into_bytes();
        binary
            .windows(needle.len() + 1)
            .any(|window| window.starts_with(&needle) && window.last().is_some_and(u8::is_ascii_digit))
    })
}

/// Bytes allowed, per target and artefact.
struct Budgets(Vec<(String, Vec<(String, u64)>)>);

impl Budgets {
    fn read(path: &std::path::Path) -> Result<Budgets, String> {
        Budgets::parse(&workspace::read_text(path)?).map_err(|error| format!("{}: {error}", workspace::shorten(path)))
    }

    fn parse(text: &str) -> Result<Budgets, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?;
        let mut targets = Vec::new();
        for (target, artefacts) in table.get_ref() {
            let DeValue::Table(artefacts) = artefacts.get_ref() else {
                return Err(format!("{}: write [{0}] and the artefacts below it", target.get_ref()));
            };
            let mut budgets = Vec::new();
            for (name, bytes) in artefacts {
                let number = bytes.get_ref().as_integer().and_then(|number| number.as_str().parse::<u64>().ok());
                let bytes = number
                    .ok_or_else(|| format!("{}.{}: write a number of bytes", target.get_ref(), name.get_ref()))?;
                budgets.push((name.get_ref().to_string(), bytes));
            }
            targets.push((target.get_ref().to_string(), budgets));
        }
        Ok(Budgets(targets))
    }

    fn of(&self, target: &Target) -> Result<Vec<(String, u64)>, String> {
        let found = self.0.iter().find(|(name, _)| name == target.short());
        found
            .map(|(_, budgets)| budgets.clone())
            .ok_or_else(|| format!("images/budgets.toml has no budgets for {0}; add a table [{0}]", target.short()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_budgets() -> Result<(), String> {
        let budgets = Budgets::parse("[x86_64]\nhilum = 4_500_000\n\"probe-http.wasm\" = 120_000\n")?;
        let found = budgets.of(Target::find("x86_64")?)?;
        assert_eq!(found, [(String::from("hilum"), 4_500_000), (String::from("probe-http.wasm"), 120_000)]);
        assert!(budgets.of(Target::find("aarch64")?).is_err());
        assert!(Budgets::parse("[x86_64]\nhilum = \"4MB\"\n").is_err());
        assert!(Budgets::parse("hilum = 4\n").is_err());
        Ok(())
    }

    #[test]
    fn finds_a_compiler_by_its_file_names() {
        assert!(contains_compiler(b"\0/cargo/registry/cranelift-codegen-0.135.0/src/lib.rs\0"));
        assert!(!contains_compiler(b"\0compiled without cranelift-codegen-like settings\0"));
    }
}
