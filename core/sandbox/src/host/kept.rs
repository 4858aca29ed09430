//! What all calls of one plugin share, and what outlives them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hilum_wire::Series;
use tokio::sync::Semaphore;

use crate::uplink::Uplink;

/// Lookups and file operations of one plugin that may wait in threads at once. Doubled, one plugin whose file system hangs holds twice as
/// many of the worker's threads.
const MAX_WAITING: usize = 4;

/// Commands of one plugin that may run at once.
const MAX_RUNNING: usize = 4;

/// What one plugin keeps.
pub(crate) struct Kept {
    /// The way to whoever keeps it for longer than a worker's life.
    pub(crate) uplink: Arc<dyn Uplink>,
    /// What may wait in threads.
    pub(crate) waiting: Arc<Semaphore>,
    /// Commands that may run.
    pub(crate) running: Arc<Semaphore>,
    things: Mutex<Things>,
}

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Things {
    /// `hilum:host/state`.
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    /// `hilum:host/metrics`.
    pub(crate) series: Vec<Series>,
}

impl Kept {
    /// What a plugin keeps, with what it kept before.
    pub(crate) fn new(uplink: Arc<dyn Uplink>, state: BTreeMap<String, Vec<u8>>) -> Kept {
        Kept {
            uplink,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            things: Mutex::new(Things { state, series: Vec::new() }),
        }
    }

    pub(crate) fn things(&self) -> MutexGuard<'_, Things> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
