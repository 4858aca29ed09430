//! Rewrites the expected outputs kept as files (traces, diagnostics, the reference page) to what the code gives now. Whoever
//! runs it reads the difference before keeping it.

use crate::arguments::Arguments;
use crate::process;
use crate::workspace;

/// Packages with tests that write their expectations when `BLESS` is set.
const PACKAGES: &[&str] = &["hilum-engine", "hilum-config", "hilum-status"];

pub(crate) fn run(arguments: Arguments) -> Result<(), String> {
    arguments.finish()?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-fail-fast"]).env("BLESS", "1");
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    process::run("bless", &mut cargo)?;
    process::say("blessed; read `git diff` before you keep it");
    Ok(())
}
