//! From snapshots to documents: one module per address. Pure; time and traffic are arguments.

pub(crate) mod expvar;
mod json;
pub(crate) mod kapo;
pub(crate) mod metrics;
pub(crate) mod page;
#[cfg(test)]
mod sample;
pub(crate) mod status;
