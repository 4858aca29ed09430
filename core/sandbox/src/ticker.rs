//! What makes guests share the one thread they all run on: a clock that advances the engines' epoch every [`TICK`] while calls run, and a
//! [`Lane`] that those which use up a whole tick have to queue in.
//!
//! The clock is a thread because guest code does not return to the loop by itself. It waits for a timer that is set while calls run: a
//! call that is shorter than a tick wakes nobody, and an idle worker wakes up for nothing.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use hilum_sys::timer::Timer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;

/// Longest time a guest runs before the others get a turn, and so how late a deadline may be noticed. Halving it doubles the
/// wake-ups while calls run; doubling it doubles the delay that a spinning plugin adds to the others.
pub const TICK: Duration = Duration::from_millis(10);

/// The clock.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    timer: Timer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that run.
    running: usize,
    /// Whether the thread is to end.
    ended: bool,
}

/// A call that runs; the clock ticks while there is one.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
}

impl Ticker {
    /// Starts the clock, at rest.
    ///
    /// **Errors:** no timer or no thread could be had: a descriptor or process limit.
    pub(crate) fn start(engines: Vec<Engine>) -> io::Result<Ticker> {
        let shared = Arc::new(Shared { timer: Timer::new()?, state: Mutex::default() });
        let clock = Arc::clone(&shared);
        thread::Builder::new().name("ticker".to_owned()).stack_size(64 * 1024).spawn(move || {
            while clock.timer.wait().is_ok() && !clock.lock().ended {
                engines.iter().for_each(Engine::increment_epoch);
            }
        })?;
        Ok(Ticker { shared })
    }

    /// Notes that a call runs, until the result is dropped.
    pub(crate) fn enter(&self) -> Running {
        let mut state = self.shared.lock();
        state.running += 1;
        if state.running == 1 {
            self.shared.set(TICK);
        }
        Running { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.set(Duration::from_nanos(1));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running -= 1;
        if state.running == 0 && !state.ended {
            self.shared.set(Duration::ZERO);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, period: Duration) {
        // The descriptor is a timer and the period is valid, so this cannot fail.
        let _set = self.timer.every(period);
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

    #[test]
    fn the_clock_counts_calls_and_survives_their_late_end() -> std::io::Result<()> {
        let ticker = Ticker::start(Vec::new())?;
        let calls: Vec<Running> = (0..3).map(|_| ticker.enter()).collect();
        assert_eq!(ticker.shared.lock().running, 3);
        drop(calls);
        assert_eq!(ticker.shared.lock().running, 0);
        let late = ticker.enter();
        drop(ticker);
        drop(late);
        Ok(())
    }
}
