//! What all calls of one plugin share, and what outlives them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hilum_wire::Series;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::ticker::Pace;
use crate::uplink::Uplink;

/// Lookups, file operations and readings of the system's certificates of one plugin that may wait in threads at once. Doubled, one plugin whose file system hangs
/// holds twice as many of the worker's threads.
const MAX_WAITING: usize = 4;

/// Commands of one plugin that may run at once.
const MAX_RUNNING: usize = 4;

/// Commands of one plugin that may start in a row.
const BURST: u32 = 50;

/// How often one may start after that. Each costs PID 1 a process; doubled, one plugin has it spend a tenth of a processor on them.
const EVERY: Duration = Duration::from_millis(20);

/// What one plugin keeps.
pub(crate) struct Kept {
    /// The way to whoever keeps it for longer than a worker's life.
    pub(crate) uplink: Arc<dyn Uplink>,
    /// What may wait in threads.
    pub(crate) waiting: Arc<Semaphore>,
    /// Commands that may run.
    pub(crate) running: Arc<Semaphore>,
    starts: Mutex<Starts>,
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
            starts: Mutex::default(),
            things: Mutex::new(Things { state, series: Vec::new() }),
        }
    }

    /// How long the next command has to wait until it may start; none if that is longer than it can.
    pub(crate) fn turn(&self, longest: Duration) -> Option<Duration> {
        let now = Instant::now();
        let start = self.starts.lock().unwrap_or_else(PoisonError::into_inner).next(now, now + longest);
        start.map(|start| start - now)
    }

    pub(crate) fn things(&self) -> MutexGuard<'_, Things> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moments to start commands at: [`BURST`] in a row, and then one [`EVERY`] so often.
#[derive(Debug, Default)]
struct Starts {
    /// When all that were given would be over, were there no bursts.
    over: Option<Instant>,
}

impl Starts {
    /// The next one, unless it is later than `latest`.
    fn next(&mut self, now: Instant, latest: Instant) -> Option<Instant> {
        let begins = self.over.map_or(now, |over| over.max(now));
        let start = begins.checked_sub(EVERY * (BURST - 1)).map_or(now, |start| start.max(now));
        if start > latest {
            return None;
        }
        self.over = Some(begins + EVERY);
        Some(start)
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
    use super::{Arc, BURST, Duration, EVERY, Instant, Pace, Semaphore, Starts, aside};
    use crate::ticker::Ticker;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    #[test]
    fn commands_start_in_a_burst_and_then_one_by_one() {
        let (mut starts, now) = (Starts::default(), Instant::now());
        let mut next = |now: Instant, longest: Duration| starts.next(now, now + longest);
        assert!((0..BURST).all(|_| next(now, Duration::ZERO) == Some(now)));
        assert_eq!(next(now, EVERY), Some(now + EVERY));
        // Whoever cannot wait so long takes nobody's turn.
        assert_eq!(next(now, EVERY), None);
        assert_eq!(next(now, EVERY * 2), Some(now + EVERY * 2));
        // A while later there is room for a few again.
        let later = now + 5 * EVERY;
        assert!((0..3).all(|_| next(later, Duration::ZERO) == Some(later)));
        assert_eq!(next(later, EVERY), Some(later + EVERY));
    }

    #[test]
    fn what_was_given_up_holds_its_place_until_it_comes_back() -> std::io::Result<()> {
        let ticker = Ticker::start()?;
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
