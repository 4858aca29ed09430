//! The worker as PID 1 sees it: a process at the other end of a channel, given plugins that mean well and plugins that do not.
//!
//! Guests are written as text, one per behaviour, and precompiled here; the worker itself has its own process in every test.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod guest;
mod hostile;
mod loading;
mod reuse;
mod sharing;
mod worker;
