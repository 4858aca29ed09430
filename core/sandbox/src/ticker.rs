//! What makes guests share the one thread they all run on: a clock that advances the engines' epoch every [`TICK`] while calls run, and a
//! [`Lane`] that those which use up a whole tick have to queue in.
//!
//! The clock is a thread because guest code does not return to the loop by itself. It sleeps for good while no call runs: an idle
//! worker wakes up for nothing.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;

/// Longest time a guest runs before the others get a turn, and so how late a deadline may be noticed. Halving it doubles the
/// wake-ups while calls run; doubling it doubles the delay that a spinning plugin adds to the others.
pub const TICK: Duration = Duration::from_millis(10);

/// The clock.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls that run, or [`ENDED`].
    running: AtomicUsize,
}

/// Value of `running` that ends the thread.
const ENDED: usize = usize::MAX;

/// A call that runs; the clock ticks while there is one.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
}

impl Ticker {
    /// Starts the clock, at rest.
    ///
    /// **Errors:** the thread could not be started: a process limit.
    pub(crate) fn start(engines: Vec<Engine>) -> io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let clock = Arc::clone(&shared);
        let handle = thread::Builder::new().name("ticker".to_owned()).stack_size(64 * 1024).spawn(move || {
            loop {
                match clock.running.load(Ordering::Acquire) {
                    // A token left by `unpark` makes `park` return at once, so a call that began since the load is not missed.
                    0 => thread::park(),
                    ENDED => return,
                    _ => {
                        thread::sleep(TICK);
                        engines.iter().for_each(Engine::increment_epoch);
                    }
                }
            }
        })?;
        Ok(Ticker { shared, thread: handle.thread().clone() })
    }

    /// Notes that a call runs, until the result is dropped.
    pub(crate) fn enter(&self) -> Running {
        if self.shared.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.running.store(ENDED, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A call that outlives the clock leaves its last word alone.
        let leave = |running| if running == ENDED { None } else { Some(running - 1) };
        let _ = self.shared.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, leave);
    }
}

/// The queue for guests that used up a tick: one of them runs at a time, a tick each, so that any number of spinning guests delays
/// the others no more than one does.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    queue: Arc<Semaphore>,
}

/// How one guest shares the thread, and until when. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// When host functions answer that time is up.
    soft_deadline: Instant,
    slice: Arc<Mutex<Slice>>,
}

#[derive(Debug)]
struct Slice {
    /// The right to run, of a guest that came through the lane.
    turn: Option<OwnedSemaphorePermit>,
    /// When guest code last got the thread.
    began: Instant,
}

/// The call's time was up before a wait ended.
#[derive(Debug)]
pub(crate) struct TimedOut;

impl Lane {
    pub(crate) fn new() -> Lane {
        Lane { queue: Arc::new(Semaphore::new(1)) }
    }

    /// Lets the others run, then waits for a turn and gives it to `pace`.
    pub(crate) async fn requeue(self, pace: Pace) {
        let mut next = pin!(self.queue.acquire_owned());
        // Queued here before the last turn is given back, and waiting here alone: guests that also queued in the loop would come up there in
        // the same order, and hold up everyone else for a whole round.
        let queued = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        pace.leave();
        let turn = match queued {
            Poll::Pending => next.await,
            Poll::Ready(turn) => {
                tokio::task::yield_now().await;
                turn
            }
        };
        // The semaphore is never closed, so there is a turn.
        pace.begin(turn.ok());
    }
}

impl Pace {
    pub(crate) fn new(soft_deadline: Instant) -> Pace {
        Pace { soft_deadline, slice: Arc::new(Mutex::new(Slice { turn: None, began: Instant::now() })) }
    }

    /// Time left until host functions answer that it is up.
    pub(crate) fn left(&self) -> Duration {
        self.soft_deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the guest has had the thread for a tick, give or take half of one: the clock ticks when it does, not when a slice
    /// begins.
    pub(crate) fn is_spent(&self) -> bool {
        self.lock().began.elapsed() >= TICK / 2
    }

    /// Waits for `future`, no longer than the call's time. Others run meanwhile, at least once, so that a guest cannot keep the
    /// thread by asking for what is there already.
    pub(crate) async fn wait<F: Future>(&self, future: F) -> Result<F::Output, TimedOut> {
        self.leave();
        tokio::task::yield_now().await;
        let result = if self.left().is_zero() {
            Err(TimedOut)
        } else {
            tokio::time::timeout_at(self.soft_deadline.into(), future).await.map_err(|_| TimedOut)
        };
        self.begin(None);
        result
    }

    fn leave(&self) {
        self.lock().turn.take();
    }

    fn begin(&self, turn: Option<OwnedSemaphorePermit>) {
        *self.lock() = Slice { turn, began: Instant::now() };
    }

    fn lock(&self) -> MutexGuard<'_, Slice> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Running, Ticker};
    use std::sync::atomic::Ordering;

    #[test]
    fn the_clock_counts_calls_and_survives_their_late_end() -> std::io::Result<()> {
        let ticker = Ticker::start(Vec::new())?;
        let calls: Vec<Running> = (0..3).map(|_| ticker.enter()).collect();
        assert_eq!(ticker.shared.running.load(Ordering::Acquire), 3);
        drop(calls);
        assert_eq!(ticker.shared.running.load(Ordering::Acquire), 0);
        let late = ticker.enter();
        drop(ticker);
        drop(late);
        Ok(())
    }
}
