//! Everything CI runs, in CI's order. A step that fails does not hide the next: all are run, all are counted, and the last line
//! sums them up. If it passes here, it passes there.

use std::process::Command;
use std::time::Instant;

use crate::arguments::Arguments;
use crate::dist;
use crate::e2e;
use crate::fuzz;
use crate::image;
use crate::languages;
use crate::packages;
use crate::plugins;
use crate::process;
use crate::provision;
use crate::sim;
use crate::size;
use crate::tally::{self, Tally};
use crate::target::Target;
use crate::tidy;
use crate::workspace;

/// One step, in the words of the summary.
struct Step {
    name: &'static str,
    run: fn() -> Result<Tally, String>,
}

/// Formatting and rules first: they take seconds. Then what the tests need, then the tests. Host builds all take the whole
/// workspace, so that its dependencies are compiled once; only what ships is built a package at a time.
const STEPS: &[Step] = &[
    Step { name: "fmt", run: || check("fmt", &["fmt", "--all", "--check"]) },
    Step { name: "tidy", run: || tidy::run(Arguments::new(Vec::new())).map(|()| Tally::of(true)) },
    Step { name: "clippy", run: || clippy("clippy", &["--workspace", "--all-targets"]) },
    // What hilum-tiny leaves out may be all that used something.
    Step { name: "clippy-tiny", run: || clippy("clippy of hilum-tiny", &["-p", "hilum", "--no-default-features"]) },
    // Where the interpreter is the only way to run plugins it may come without the rest.
    Step {
        name: "clippy-pulley",
        run: || {
            let which = ["-p", "hilum-sandbox", "--lib", "--no-default-features", "--features", "pulley"];
            clippy("clippy of the sandbox with the interpreter alone", &which)
        },
    },
    // A workspace of its own; what uses libFuzzer itself is compiled when fuzzing.
    Step {
        name: "clippy-fuzz",
        run: || {
            let which =
                ["--no-default-features", "--manifest-path=fuzz/Cargo.toml", "--target-dir=target", "--all-targets"];
            clippy("clippy of the fuzz targets", &which)
        },
    },
    Step { name: "dist", run: distribute },
    Step { name: "size", run: || size::run(Arguments::new(Vec::new())).map(|()| Tally::of(true)) },
    Step { name: "unit", run: unit },
    Step { name: "doc", run: || check("doc tests", &["test", "--locked", "--workspace", "--doc"]) },
    Step { name: "sim", run: sim::tally },
    Step { name: "corpora", run: fuzz::tally },
    Step { name: "e2e", run: e2e::tally },
    Step { name: "image", run: pack },
];

/// Test targets with a step of their own.
const SEPARATE: &[&str] = &["sim", "e2e"];

pub(crate) fn run(arguments: Arguments) -> Result<(), String> {
    arguments.finish()?;
    let start = Instant::now();
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for step in STEPS {
        process::say(&format!("== {}, {} since the start, {}", step.name, process::elapsed(start), space()));
        let tally = (step.run)().unwrap_or_else(|error| {
            process::say(&format!("{}: {error}", step.name));
            Tally::of(false)
        });
        lines.push(format!("  {:<13} {:>5} passed {:>4} failed", step.name, tally.passed, tally.failed));
        total += tally;
    }
    for story in &total.stories {
        process::say(story);
    }
    println!("{}\n{} passed, {} failed", lines.join("\n"), total.passed, total.failed);
    if total.failed == 0 { Ok(()) } else { Err(format!("{} failed; above says which and why", total.failed)) }
}

/// What is left of the disk. A full one fails a step in ways that seldom say so: the log of the step ends in the middle.
fn space() -> String {
    let told = process::ask(Command::new("df").args(["-P", "-m"]).arg(workspace::root())).unwrap_or_default();
    let free = told.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).unwrap_or("an unknown number of");
    format!("{free} MB of disk free")
}

fn check(title: &str, arguments: &[&str]) -> Result<Tally, String> {
    process::run(title, workspace::cargo().args(arguments)).map(|_| Tally::of(true))
}

fn clippy(title: &str, which: &[&str]) -> Result<Tally, String> {
    check(title, &[&["clippy", "--locked"], which, &["--", "-D", "warnings"]].concat())
}

fn distribute() -> Result<Tally, String> {
    let host = Target::host()?;
    let names: Vec<&str> = dist::BINARIES.iter().map(|binary| binary.name).collect();
    dist::ensure(host, &names)?;
    plugins::build(&[host])?;
    Ok(Tally::of(true))
}

/// All tests of all packages but those with a step of their own, in one build.
fn unit() -> Result<Tally, String> {
    packages::ensure("the tests", e2e::PROGRAMS)?;
    languages::ensure()?;
    provision::ensure_wasi_guest()?;
    // Some tests start one as a process; naming test targets, as below, leaves them out.
    process::run("examples", workspace::cargo().args(["build", "--locked", "--workspace", "--examples"]))?;
    let mut cargo = workspace::cargo();
    e2e::point(&mut cargo, Target::host()?)?;
    cargo.args(["test", "--locked", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for name in test_targets()? {
        cargo.args(["--test", &name]);
    }
    tally::run("unit tests", &mut cargo)
}

/// Names of the workspace's integration tests.
fn test_targets() -> Result<Vec<String>, String> {
    let text = process::ask(workspace::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    let mut names = Vec::new();
    for package in metadata.get("packages").and_then(|list| list.as_array()).into_iter().flatten() {
        for target in package.get("targets").and_then(|list| list.as_array()).into_iter().flatten() {
            let is_test = target
                .get("kind")
                .and_then(|kinds| kinds.as_array())
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"));
            let name = target.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            if is_test && !SEPARATE.contains(&name) {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Builds the demo image for two machines, twice, and has other people's tools judge it.
fn pack() -> Result<Tally, String> {
    packages::ensure("the image", e2e::PROGRAMS)?;
    let targets = [Target::find("x86_64")?, Target::find("aarch64")?];
    let first = image::build("demo", &targets)?;
    dist::forget(targets[0], &["hilum", "demo-app"])?;
    let second = image::build("demo", &targets)?;
    let same = first.layout.digest == second.layout.digest;
    if !same {
        process::say(&format!("image: built twice, got {} and {}", first.layout.digest, second.layout.digest));
    }
    let out = image::folder("demo");
    second.layout.write(&out)?;
    let mut tally = Tally::of(same);
    for result in image::verify::check(&out, &targets) {
        tally += Tally::of(result.is_ok());
        if let Err(error) = result {
            process::say(&format!("image: {error}"));
        }
    }
    Ok(tally)
}
