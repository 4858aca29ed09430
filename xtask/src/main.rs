//! `cargo xtask`: everything done to this repository that is more than one cargo call. A verb is a file; this one only finds
//! the verb and prints the list.
//!
//! Progress goes to standard error, results to standard output, the tools' own output to `target/log`.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod bless;
mod ci;
mod demo;
mod dist;
mod e2e;
mod elf;
mod fuzz;
mod image;
mod languages;
mod packages;
mod plugins;
mod process;
mod provision;
mod setup;
mod sim;
mod size;
mod tally;
mod target;
mod tidy;
mod workspace;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::arguments::Arguments;

/// One thing to do.
struct Verb {
    name: &'static str,
    /// What follows the name, as in the usage.
    takes: &'static str,
    about: &'static str,
    run: fn(Arguments) -> Result<(), String>,
}

/// Every verb, in the order of the usage.
const VERBS: &[Verb] = &[
    Verb { name: "ci", takes: "", about: "all that CI runs, in CI's order; ends with one summary line", run: ci::run },
    Verb {
        name: "dist",
        takes: "[--target T]… [--only hilum,hilum-tiny,hilumc,plugins]",
        about: "static binaries and plugins in target/dist",
        run: dist::run,
    },
    Verb { name: "plugins", takes: "[--target T]…", about: "components and precompiled plugins", run: plugins::run },
    Verb {
        name: "image",
        takes: "NAME [--platform linux/amd64,linux/arm64] [--out DIR] [--load] [--bundle DIR]",
        about: "reproducible OCI image layout from images/NAME",
        run: image::run,
    },
    Verb {
        name: "demo",
        takes: "[--keep]",
        about: "boots the demo image as a real container and shows what hilum does",
        run: demo::run,
    },
    Verb { name: "size", takes: "[--target T]…", about: "artefacts against images/budgets.toml", run: size::run },
    Verb { name: "tidy", takes: "", about: "house rules: layout, arrows, unsafe, WIT hashes, names", run: tidy::run },
    Verb {
        name: "sim",
        takes: "[--seeds N | --seed S]",
        about: "the engine's simulator, release build",
        run: sim::run,
    },
    Verb { name: "e2e", takes: "[NAME]", about: "the static binary as real PID 1", run: e2e::run },
    Verb {
        name: "bench",
        takes: "[--only PART] [--rounds N] [--quick] [--cpu N] [--ordinary] [--markdown] [--hilum FILE]",
        about: "hilum beside tini, dumb-init, catatonit, s6, runit and supervisor: one table, with the goals",
        run: bench::run,
    },
    Verb { name: "bless", takes: "", about: "rewrite expected outputs; read the diff", run: bless::run },
    Verb {
        name: "fuzz",
        takes: "TARGET [SECONDS] | --replay",
        about: "fuzz one target, or replay all corpora",
        run: fuzz::run,
    },
    Verb {
        name: "setup",
        takes: "[--target T]…",
        about: "find or install what the builds need; the others do it themselves",
        run: setup::run,
    },
];

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    let name = words.next().unwrap_or_default();
    if matches!(name.as_str(), "" | "help" | "-h" | "--help") {
        let _ = write!(io::stdout(), "{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        let _ = write!(io::stderr(), "xtask: no verb \"{name}\"\n\n{}", usage());
        return ExitCode::from(64);
    };
    match (verb.run)(Arguments::new(words.collect())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "xtask: {name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask VERB\n\n");
    for verb in VERBS {
        let gap = if verb.takes.is_empty() { "" } else { " " };
        text.push_str(&format!("  {}{gap}{}\n          {}\n", verb.name, verb.takes, verb.about));
    }
    text
}
