//! Plugins that mean harm, in a real worker beside one that does not. Whatever they attempt, the worker contains it: nothing is had that is not
//! granted, the operator reads what was refused, the other plugin answers, and memory and descriptors come back.
//!
//! The attempts are `plugins/attacks`, and `plugins/attacks-wasi` for guests of ordinary toolchains; both are built here, by what this machine has.
//! The worker is confined and sealed as PID 1 has it, where the test is root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod boundary;
mod commands;
mod files;
#[expect(dead_code, reason = "the role's own tests use the rest")]
#[path = "../role/guest.rs"]
mod guest;
mod lives;
mod network;
mod numbers;
mod peers;
mod stage;
mod time;
mod tls;
mod toolchain;
mod wasi;
#[expect(dead_code, reason = "the role's own tests use the rest")]
#[path = "../role/worker.rs"]
mod worker;
