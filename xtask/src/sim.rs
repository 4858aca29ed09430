//! The engine against a fake world: many seeds, or one again. The simulator prints the seed of a failure; `--seed` replays it.

use crate::arguments::Arguments;
use crate::tally::{self, Tally};
use crate::workspace;

/// Seeds when none are asked for; what CI runs.
pub(crate) const SEEDS: u64 = 1000;

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let number = |name: &str, value: Option<String>| match value {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name} \"{text}\" is not a whole number")),
    };
    let seeds = number("--seeds", arguments.value("--seeds")?)?;
    let seed = number("--seed", arguments.value("--seed")?)?;
    arguments.finish()?;
    match (seeds, seed) {
        (Some(_), Some(_)) => Err(String::from("--seeds runs many and --seed replays one; give one of them")),
        (None, Some(seed)) => {
            tally::require(&format!("sim, seed {seed}"), cargo().env("HILUM_SIM_SEED", seed.to_string()))
        }
        (seeds, None) => {
            let seeds = seeds.unwrap_or(SEEDS);
            tally::require(&format!("sim, {seeds} seeds"), cargo().env("HILUM_SIM_SEEDS", seeds.to_string()))
        }
    }
}

/// CI's share.
pub(crate) fn tally() -> Result<Tally, String> {
    tally::run(&format!("sim, {SEEDS} seeds"), cargo().env("HILUM_SIM_SEEDS", SEEDS.to_string()))
}

fn cargo() -> std::process::Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--release", "--locked", "--package", "hilum-engine", "--test", "sim", "--", "--nocapture"]);
    cargo
}
