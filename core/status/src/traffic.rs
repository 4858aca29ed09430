//! What went over the status sockets, counted.

use std::collections::BTreeMap;

/// Totals since the worker started, and the present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Answers by status code.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Calls of accept(2) that failed.
    pub(crate) accept_errors: u64,
    /// Connections open now.
    pub(crate) open: usize,
    /// Connections there is room for now.
    pub(crate) limit: usize,
    /// Requests held by `?wait` now.
    pub(crate) held: usize,
    /// Idle connections dropped to make room.
    pub(crate) dropped: u64,
}

impl Traffic {
    /// Counts an answer.
    pub(crate) fn count(&mut self, status: u16) {
        *self.answers.entry(status).or_default() += 1;
    }
}
