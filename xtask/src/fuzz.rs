//! Fuzzing with libFuzzer, on the stable compiler and without cargo-fuzz: nearly all of our code forbids unsafe, so the
//! address sanitizer, the part that needs nightly, would find little. `fuzz/` is a package outside the workspace with one
//! binary a target and its inputs in `fuzz/corpus/TARGET`; its ordinary tests replay every corpus. What a
//! run finds stays in `target`; the few inputs among it that reach code no kept one reaches are added to the corpus.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::arguments::Arguments;
use crate::packages::{self, Program};
use crate::process;
use crate::tally::{self, Tally};
use crate::workspace;

/// How long a target is fuzzed if nothing else is said. **Units:** seconds.
const SECONDS: u64 = 60;

/// Coverage instrumentation as libFuzzer wants it. **Source:** the LLVM documentation of SanitizerCoverage.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Comparisons of constants stay calls, which libFuzzer sees; inlined, it would never guess a keyword.
    "-Cllvm-args=-max-loads-per-memcmp=0",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

/// Adds what reaches a new place, not what reaches an old one more often: that would grow the corpora by thousands of files a run.
const MERGE: &[&str] = &["-set_cover_merge=1", "-use_counters=0"];

/// libFuzzer is written in C++, and compiled with the targets.
const PROGRAMS: &[Program] = &[Program { name: "c++", package: "g++" }];

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    if arguments.switch("--replay") {
        arguments.finish()?;
        return tally::require("replay corpora", &mut replay());
    }
    let target = arguments.word();
    let seconds = match arguments.word() {
        None => SECONDS,
        Some(text) => text.parse().map_err(|_| format!("\"{text}\" is not a number of seconds"))?,
    };
    arguments.finish()?;
    let known = targets()?;
    match target {
        Some(target) if known.contains(&target) => fuzz(&target, seconds),
        Some(target) => Err(format!("no fuzz target \"{target}\"; there are {}", known.join(", "))),
        None => Err(format!("name a fuzz target: {}", known.join(", "))),
    }
}

/// CI's share: every input that was ever interesting, once more.
pub(crate) fn tally() -> Result<Tally, String> {
    tally::run("replay corpora", &mut replay())
}

/// Without libFuzzer, and so without a C++ compiler.
fn replay() -> Command {
    let mut cargo = workspace::cargo();
    cargo
        .args(["test", "--locked", "--no-default-features", "--manifest-path", "fuzz/Cargo.toml"])
        // What the workspace's own tests have built serves here too.
        .env("CARGO_TARGET_DIR", workspace::target());
    cargo
}

/// Builds and runs one target. A crash leaves its input in `fuzz/artifacts/TARGET` and fails the verb.
fn fuzz(target: &str, seconds: u64) -> Result<(), String> {
    packages::ensure("fuzzing", PROGRAMS)?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = workspace::target().join("fuzz");
    let mut cargo = workspace::cargo();
    cargo
        .args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple])
        .args(["--bin", target])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_TARGET_DIR", &folder);
    process::run(&format!("build fuzz target {target}"), &mut cargo)?;

    // From the top and relative: libFuzzer starts itself again through a shell, and quotes nothing.
    let program = format!("target/fuzz/{triple}/release/{target}");
    let (corpus, found) = (format!("fuzz/corpus/{target}"), format!("target/fuzz/corpus/{target}"));
    let artifacts = format!("fuzz/artifacts/{target}/");
    for folder in [&corpus, &artifacts, &found] {
        let folder = workspace::root().join(folder);
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let libfuzzer = || {
        let mut fuzzer = Command::new(workspace::root().join(&program));
        fuzzer.arg0(&program).current_dir(workspace::root()).args(["-timeout=10", "-rss_limit_mb=1024"]);
        fuzzer
    };
    let mut run = libfuzzer();
    run.arg(format!("-artifact_prefix={artifacts}"))
        .args([&format!("-max_total_time={seconds}"), "-print_final_stats=1"])
        .args([&found, &corpus]);
    let output = process::run(&format!("fuzz {target} for {seconds} s"), &mut run)?;
    for line in output.lines().filter(|line| line.starts_with("Done ") || line.starts_with("stat::")) {
        process::say(&format!("{target}: {line}"));
    }
    let count = || fs::read_dir(workspace::root().join(&corpus)).map_or(0, Iterator::count);
    let before = count();
    process::run(&format!("merge {target}"), libfuzzer().args(MERGE).args([&corpus, &found]))?;
    process::say(&format!("{target}: {} inputs added to {corpus}", count().saturating_sub(before)));
    Ok(())
}

/// The binaries of `fuzz/`.
fn targets() -> Result<Vec<String>, String> {
    let mut cargo = workspace::cargo();
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--manifest-path", "fuzz/Cargo.toml"];
    let metadata = process::ask(cargo.args(arguments))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    let list = |value: &serde_json::Value, key: &str| value.get(key).and_then(|list| list.as_array()).cloned();
    let mut names = Vec::new();
    for package in list(&metadata, "packages").unwrap_or_default() {
        for target in list(&package, "targets").unwrap_or_default() {
            if list(&target, "kind").is_some_and(|kind| kind.iter().any(|kind| kind == "bin")) {
                names.extend(target.get("name").and_then(|name| name.as_str()).map(str::to_owned));
            }
        }
    }
    names.sort();
    Ok(names)
}
