//! What is fuzzed, as plain functions from bytes to nothing: they return, or panic because a promise was broken.
//!
//! Each has a libFuzzer binary of its name (`cargo xtask fuzz NAME SECONDS`), and `tests/replay.rs` runs every kept input on the stable
//! compiler. What they do not do: judge what is right beyond what holds for any input. That is for the ordinary tests.
#![forbid(unsafe_code)]

mod activation;
mod command_line;
pub mod component;
mod engine_events;
pub mod host_calls;
mod http_head;
mod plan_toml;
mod proc_stat;
mod tape;
pub mod wire_frames;

pub use activation::activation;
pub use command_line::command_line;
pub use component::component;
pub use engine_events::engine_events;
pub use host_calls::host_calls;
pub use http_head::http_head;
pub use plan_toml::plan_toml;
pub use proc_stat::proc_stat;
pub use wire_frames::wire_frames;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("activation", activation),
    ("command_line", command_line),
    ("component", component),
    ("engine_events", engine_events),
    ("host_calls", host_calls),
    ("http_head", http_head),
    ("plan_toml", plan_toml),
    ("proc_stat", proc_stat),
    ("wire_frames", wire_frames),
];
