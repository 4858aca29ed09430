//! Plans and what comes of them: for each `cases/NAME.toml`, `cases/NAME.expect` holds what `--print` shows or all the
//! diagnostics. With `BLESS=1` in the environment the expectations are written anew; read the difference before keeping
//! it.
#![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]

mod environment;

use std::fs;
use std::path::{Path, PathBuf};

use hilum_config::{example, load, reference};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn plans() -> Vec<PathBuf> {
    let mut plans: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    plans.sort();
    plans
}

/// What `text` gives, and whether that is a launch.
fn outcome(text: &str) -> (String, bool) {
    match load(text, Path::new("/etc/hilum.toml"), &environment::lookup) {
        Ok(resolved) => (resolved.print(), true),
        Err(diagnostics) => (diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect(), false),
    }
}

fn compare(path: &Path, found: &str) -> Option<String> {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, found).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != found).then(|| format!("{}:\n--- expected\n{expected}--- found\n{found}", path.display()))
}

#[test]
fn every_plan_gives_what_is_expected() {
    let plans = plans();
    assert!(plans.len() >= 40, "only {} cases found", plans.len());
    let mut differences = Vec::new();
    for plan in plans {
        let (found, good) = outcome(&fs::read_to_string(&plan).unwrap());
        let name = plan.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(good, name.starts_with("good-"), "{name}:\n{found}");
        differences.extend(compare(&plan.with_extension("expect"), &found));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_expectation_is_left_behind() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("toml").exists(), "{} has no plan", path.display());
    }
}

#[test]
fn what_is_printed_loads_to_the_same_launch() {
    let mut good = 0;
    for plan in plans() {
        for origin in ["/etc/hilum.toml", "plans/hilum.toml", "hilum.toml"] {
            let Ok(first) = load(&fs::read_to_string(&plan).unwrap(), Path::new(origin), &environment::lookup) else {
                continue;
            };
            let printed = first.print();
            // Everything that was looked up is in the text now: no variable is needed.
            let second = load(&printed, Path::new(origin), &|_| None).unwrap_or_else(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                unreachable!("{} does not load again:\n{}\n{printed}", plan.display(), errors.join("\n"))
            });
            assert_eq!(first.launch, second.launch, "{}", plan.display());
            good += 1;
        }
    }
    assert!(good >= 30, "only {good} round trips made");
}

#[test]
fn the_example_loads() {
    let (found, good) = outcome(example());
    assert!(good, "{found}");
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    let difference = compare(&path, &reference());
    assert!(difference.is_none(), "run BLESS=1 cargo test -p hilum-config");
}
