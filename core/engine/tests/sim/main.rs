//! The simulator: the engine against a fake world, many seeds, every rule after every step.
//!
//! `HILUM_SIM_SEEDS=N` plays seeds 0 to N - 1 and all of `seeds.txt`; `HILUM_SIM_SEED=S` plays one and prints all of it. What it does not
//! do: try the shell. The world here is honest and the kernel is not in it.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may stop at what cannot be")]

mod invariants;
mod mutation;
mod scenario;
#[path = "../transcript/mod.rs"]
mod transcript;
mod world;

use std::collections::BTreeSet;

use hilum_engine::{Plan, Supervisor};

use crate::invariants::Breach;
use crate::scenario::{Failure, Maker, Outcome, play};
use crate::world::Machine;

/// Seeds when none are asked for.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 10_000 };

fn engine(plan: Plan, seed: u64) -> Box<dyn Machine> {
    Box::new(Supervisor::new(plan, seed))
}

/// Plays a seed twice: it keeps every rule, and does the same again.
fn try_seed(seed: u64, make: &Maker<'_>, loud: bool) -> Result<Outcome, Box<Failure>> {
    let first = play(seed, make, loud)?;
    let second = play(seed, make, false)?;
    if first.actions == second.actions {
        return Ok(first);
    }
    let same = first.actions.iter().zip(&second.actions).take_while(|(left, right)| left == right).count();
    let story = format!("order {same} is {:?}, then {:?}", first.actions.get(same), second.actions.get(same));
    let breach = Breach { invariant: "same_seed_same_actions", story };
    Err(Box::new(Failure { seed, step: 0, breach, trace: String::new() }))
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is \"{value}\", which is not a whole number"),
    }
}

/// The seeds that failed once.
fn kept() -> BTreeSet<u64> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let word = line.split_whitespace().next().unwrap_or_default();
            word.parse().unwrap_or_else(|_| panic!("seeds.txt: \"{word}\" is not a seed"))
        })
        .collect()
}

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = number("HILUM_SIM_SEED") {
        match try_seed(seed, &engine, true) {
            Ok(outcome) => println!("{}seed {seed} keeps every invariant", outcome.trace),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let seeds = 0..number("HILUM_SIM_SEEDS").unwrap_or(SEEDS);
    let mut orders = 0;
    let mut tried = 0;
    for seed in kept().into_iter().chain(seeds) {
        match try_seed(seed, &engine, false) {
            Ok(outcome) => orders += outcome.actions.len(),
            Err(failure) => panic!("{failure}"),
        }
        tried += 1;
    }
    println!("{tried} seeds, {orders} orders, every invariant kept");
}
