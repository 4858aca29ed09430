//! From TOML and command lines to a validated launch.
//!
//! A plan goes through two stages. `value` reads the file as typed, by `raw`'s table of keys: types, units, ranges,
//! unknown keys. `resolve` makes the [`Launch`] of it: defaults, names to indices, values against each other. Both
//! collect every mistake as a [`Diagnostic`] with its line and column; neither stops at the first.
//!
//! Pure: nothing here reads a file, an environment variable, a clock or a name server; [`load`] is handed text and a
//! function. No input makes it panic. A command line needs no stage of its own: it fills in a [`Launch`] with the
//! parsers of units and signals exported here.
#![forbid(unsafe_code)]

mod address;
mod diagnose;
mod expand;
mod launch;
mod print;
mod raw;
mod reference;
mod resolve;
mod signal;
mod unit;
mod value;
mod words;

pub use diagnose::{Diagnostic, Mistake};
pub use launch::*;
pub use reference::reference;
pub use resolve::{MAX_PLAN, Resolved, default_plugin_path, load};
pub use signal::{parse_signal, signal_name};
pub use unit::{format_duration, format_size, parse_duration, parse_size};

/// A commented minimal plan, to begin from.
#[must_use]
pub fn example() -> &'static str {
    include_str!("../example.toml")
}
