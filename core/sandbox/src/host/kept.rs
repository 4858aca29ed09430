//! What all calls of one plugin share, and what outlives them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hilum_wire::Series;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::ticker::Pace;
use crate::uplink::Uplink;

/// Lookups, file operations and preparations of TLS of one plugin that may wait in threads at once. Doubled, one plugin whose file system hangs
/// holds twice as many of the worker's threads.
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

/// What `act` returns, which may take long or not come back, and so has a thread. It waits for room among those of the plugin, which `waiting`
/// counts; given up, it holds its place until it has come back. What it uses of the processor is the call's, whose `pace` this is.
///
/// **Errors:** the worker ends.
pub(crate) async fn aside<T: Send + 'static>(
    waiting: &Arc<Semaphore>,
    pace: &Pace,
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    // Nobody closes it, so there is a permit.
    let permit = Arc::clone(waiting).acquire_owned().await;
    let pace = pace.clone();
    let acting = tokio::task::spawn_blocking(move || {
        let done = pace.count_here(act);
        drop(permit);
        done
    });
    acting.await
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Pace, Semaphore, aside};
    use crate::ticker::Ticker;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::Instant;

    #[test]
    fn what_was_given_up_holds_its_place_until_it_comes_back() -> std::io::Result<()> {
        let ticker = Ticker::start(Vec::new())?;
        let pace = &Pace::new(&ticker, Instant::now());
        crate::run(async {
            let waiting = Arc::new(Semaphore::new(1));
            let (go, gone) = mpsc::channel::<()>();
            let mut stuck = Box::pin(aside(&waiting, pace, move || gone.recv().is_err()));
            let mut unheard = Context::from_waker(Waker::noop());
            assert!(stuck.as_mut().poll(&mut unheard).is_pending());
            drop(stuck);
            let mut next = Box::pin(aside(&waiting, pace, || 7));
            assert!(next.as_mut().poll(&mut unheard).is_pending());
            assert_eq!(waiting.available_permits(), 0);
            drop(go);
            assert_eq!(next.await.ok(), Some(7));
        })
    }
}
