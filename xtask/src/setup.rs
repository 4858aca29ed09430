//! Finds or installs what the builds need, ahead of time. Every other verb does the same for itself; this one also asks
//! rustup again for what it once refused.

use crate::arguments::Arguments;
use crate::process;
use crate::provision::{self, Provision};
use crate::target::Target;

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let targets = Target::find_all(&arguments.values("--target")?)?;
    arguments.finish()?;
    provision::forget()?;
    for target in targets {
        let found = Provision::find(target.triple)?;
        provision::ensure_linker(&found)?;
        let way = match found {
            Provision::Rustup => String::from("rustup's standard library"),
            Provision::Source { rustc, .. } => format!("the standard library from source, by {}", rustc.display()),
        };
        process::say(&format!("{}: {way}", target.triple));
    }
    provision::ensure_guest()?;
    process::say("wasm32-unknown-unknown: found");
    Ok(())
}
