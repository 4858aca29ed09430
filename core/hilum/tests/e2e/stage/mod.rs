//! What the tests stand on: programs, process 1 in namespaces or containers, deadlines. It judges nothing.

pub(crate) mod boot;
pub(crate) mod bundle;
pub(crate) mod client;
pub(crate) mod failure;
pub(crate) mod folder;
pub(crate) mod peek;
pub(crate) mod program;
pub(crate) mod pty;

pub(crate) use boot::{Boot, Init};
pub(crate) use bundle::Bundle;
pub(crate) use client::Client;
pub(crate) use failure::{Check, Failure, fail};
pub(crate) use folder::Folder;
pub(crate) use program::{fixture, hilum, tool};

use std::time::Duration;

/// Longest wait for anything. **Units:** time. Far above what an idle machine needs (milliseconds) so that only what never happens is a
/// failure, and far below what a person waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
