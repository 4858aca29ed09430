//! Instances that serve further calls, for plugins whose plan wants it: what a fresh one costs, memory that is mapped, touched and unmapped, is
//! most of a short call.
//!
//! A fresh instance bounds by itself what a call leaves behind. So one is reused only if there is nothing the next call could suffer from but
//! the guest's own memory: it answered, gave back every handle and has room to grow. What the host keeps of a call is never reused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::Store;
use wasmtime::component::Instance;

use crate::host::{Limits, State};

/// Instances of one plugin that wait for their next call, if they hold no more than one call may together. More calls at once get fresh ones.
const MAX_SPARES: usize = 4;

/// Calls one instance serves. What a guest loses bit by bit comes back then, and a fresh one now and then costs nothing that can be measured.
const MAX_CALLS: u32 = 1_000;

/// Instances of one plugin that wait for their next call.
#[derive(Default)]
pub(crate) struct Spares {
    waiting: Mutex<Vec<Seat>>,
}

/// Where calls run, one after another: a store, and the instance in it.
pub(crate) struct Seat {
    pub(crate) store: Store<State>,
    /// The instance, if it answered its last call.
    pub(crate) answered: Option<Instance>,
    /// Calls it served before.
    pub(crate) served: u32,
}

impl Spares {
    /// The one that waits for the shortest time, whose memory is the warmest.
    pub(crate) fn take(&self) -> Option<Seat> {
        self.lock().pop()
    }

    /// Takes one whose call is over; returns it if it is not to serve again.
    pub(crate) fn give(&self, mut seat: Seat) -> Option<Seat> {
        seat.served = seat.served.saturating_add(1);
        let state = seat.store.data_mut();
        let Limits { memory, memory_used, .. } = state.limits;
        let fit = seat.answered.is_some() && seat.served < MAX_CALLS && state.table.is_empty();
        if !fit || memory_used > memory / 2 {
            return Some(seat);
        }
        state.rest();
        let mut waiting = self.lock();
        let held: usize = waiting.iter().map(|seat| seat.store.data().limits.memory_used).sum();
        if waiting.len() >= MAX_SPARES || held.saturating_add(memory_used) > memory {
            return Some(seat);
        }
        waiting.push(seat);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
