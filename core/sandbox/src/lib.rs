//! The worker role that hosts plugins: PID 1 re-executes itself into [`serve`], which loads precompiled components, calls them, and
//! answers. The only user of wasmtime.
//!
//! A plugin is native code that a compiler promised to keep in its box. The promise is checked by a pinned digest ([`load`]), and
//! the box is guarded from outside: each call gets a fresh store with its own memory, stack and time limits ([`call`]), time is shared
//! in ticks so that one guest cannot hold up another ([`ticker`]), and host functions do only what the plan grants ([`host`]).
//!
//! Needs no file, no `/proc`, no `/dev` and no privilege. Wakes up only while calls run.
//!
//! What it does not do: compile (that is `hilumc`; the `compile` feature is not for hilum), confine its own process (whoever starts
//! the role does, before calling [`serve`]), or decide anything: thresholds, quarantine and restarts are PID 1's.

#![deny(unsafe_code)]

mod bindings;
pub mod call;
mod code;
mod compat;
#[cfg(feature = "compile")]
pub mod compile;
pub mod engine;
mod grant;
pub mod host;
pub mod load;
mod outbox;
mod resolve;
mod reuse;
mod role;
mod runs;
mod text;
pub mod ticker;
pub mod uplink;

pub use bindings::plugin;
pub use role::{ServeError, run, serve};
