//! What keeps guests from holding each other up, though they share a thread: a clock that advances the engines' epoch every [`TICK`] while
//! guest code runs, and a slow lane, a thread of its own, for those that use up a whole tick.
//!
//! Guest code does not return to the loop by itself. The epoch brings it back after a tick, or it waits while the host works for it; once both
//! together have taken a tick the call is moved to the slow lane and stays there, where all such calls take turns, a tick each. The next call of
//! the same plugin begins there, until one is quick again. So a guest that spins delays the others by one tick once, and no more.
//!
//! The clock is a thread because guest code does not return to the loop by itself. It waits for a timer that is set when guest code begins to
//! run, and stopped when the last call ends or a tick found all guests waiting: a guest that is done within a tick wakes nobody, one that waits
//! for somebody else does once, and an idle worker wakes up for nothing. A timer that is set is never set anew, or guests that wait for nothing
//! would keep it from ever ringing.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use hilum_sys::timer::Timer;
use hilum_sys::{clock, process};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use wasmtime::Engine;

/// Longest time a guest runs before it has to leave the thread to others, and so how late a deadline may be noticed. Halving it doubles the
/// wake-ups while guest code runs; doubling it doubles the delay that a spinning plugin causes once.
pub const TICK: Duration = Duration::from_millis(1);

/// Threads of a lane for what may not answer: lookups, file systems. Each plugin may hold four; sixteen plugins can all hang at once.
const MAX_THREADS: usize = 64;

/// Stack of such a thread, and of the slow lane's. **Units:** bytes. Calls have stacks of their own; the C library's resolver needs about 30 KiB,
/// checking certificates less.
const THREAD_STACK: usize = 256 * 1024;

/// How far those threads step back behind the one with the quick calls. What wakes up for a quick call then runs at once, and on a machine without
/// idle time slow calls still get a tenth of what a service gets. **Units:** nice.
const STEP_BACK: i32 = 10;

/// The loop of a lane.
///
/// **Errors:** it could not be set up: a descriptor limit.
pub(crate) fn runtime() -> io::Result<Runtime> {
    // The driver is asked after every task: a spinning guest is a task that is always ready.
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(1)
        .max_blocking_threads(MAX_THREADS)
        .thread_stack_size(THREAD_STACK)
        .on_thread_start(step_back)
        .build()
}

fn step_back() {
    // Not refused by the kernel; with the priority of the others it serves as well, if less politely.
    let _stepped = process::step_back(STEP_BACK);
}

/// What the calls of a process share. The clock ends with it.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) ticker: Ticker,
    pub(crate) slow: SlowLane,
}

impl Lanes {
    /// Both lanes empty and the clock at rest.
    ///
    /// **Errors:** those of [`Ticker::start`].
    pub(crate) fn open() -> io::Result<Lanes> {
        Ok(Lanes { ticker: Ticker::start()?, slow: SlowLane::default() })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.ticker.end();
    }
}

/// The clock.
#[derive(Clone, Debug)]
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
    /// Whose epoch advances.
    engines: Vec<Engine>,
    /// Calls there are.
    calls: usize,
    /// Those whose guest runs.
    running: usize,
    /// Whether the timer is set.
    set: bool,
    /// Whether the thread is to end.
    ended: bool,
}

impl Ticker {
    /// Starts the clock, at rest.
    ///
    /// **Errors:** no timer or no thread could be had: a descriptor or process limit.
    pub(crate) fn start() -> io::Result<Ticker> {
        let shared = Arc::new(Shared { timer: Timer::new()?, state: Mutex::default() });
        let clock = Arc::clone(&shared);
        thread::Builder::new()
            .name("ticker".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || while clock.timer.wait().is_ok() && clock.goes_on() {})?;
        Ok(Ticker { shared })
    }

    /// Advances the epoch of `engine` too, from now on.
    pub(crate) fn drive(&self, engine: &Engine) {
        self.shared.lock().engines.push(engine.clone());
    }

    /// Ends the clock's thread.
    pub(crate) fn end(&self) {
        self.shared.lock().ended = true;
        self.shared.every(Duration::from_nanos(1));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins. Its guest does not run yet.
    fn begin(&self) {
        self.lock().calls += 1;
    }

    /// A call ends. Its guest does not run any more.
    fn end(&self) {
        let mut state = self.lock();
        state.calls -= 1;
        if state.calls == 0 {
            self.rest(&mut state);
        }
    }

    /// A guest begins to run.
    fn enter(&self) {
        let mut state = self.lock();
        state.running += 1;
        if !state.set && !state.ended {
            state.set = true;
            self.every(TICK);
        }
    }

    /// A guest has ended or waits.
    fn leave(&self) {
        self.lock().running -= 1;
    }

    /// A tick is over: whether the clock goes on. It rests from now on if no guest runs.
    fn goes_on(&self) -> bool {
        let mut state = self.lock();
        state.engines.iter().for_each(Engine::increment_epoch);
        if state.running == 0 {
            self.rest(&mut state);
        }
        !state.ended
    }

    fn rest(&self, state: &mut State) {
        if state.set && !state.ended {
            state.set = false;
            self.every(Duration::ZERO);
        }
    }

    fn every(&self, period: Duration) {
        // The descriptor is a timer and the period is valid, so this cannot fail.
        let _set = self.timer.every(period);
    }
}

/// A call on its way.
type Moved = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread for calls that use up a whole tick. It is started for the first of them and ends with the process.
#[derive(Debug, Default)]
pub(crate) struct SlowLane {
    calls: OnceLock<Option<mpsc::UnboundedSender<Moved>>>,
}

impl SlowLane {
    /// Runs a call here until it has answered or has used up a tick, and then in the slow lane; from the beginning there if `slow` says that the
    /// last call of its kind did. Tells the next one by it. Returns its answer, which it gives before it ends by [`Pace::answered`]: what it holds
    /// is dropped where it ran, but after whoever waits for the answer has had a turn. Dropped, it ends wherever it is.
    pub(crate) async fn run<R: Send + 'static, C: Future<Output = ()> + Send + 'static>(
        &self,
        pace: &Pace,
        slow: &AtomicBool,
        call: impl FnOnce(oneshot::Sender<R>) -> C,
    ) -> R {
        let (answer, mut answered) = oneshot::channel();
        let mut call = Box::pin(call(answer));
        if !slow.load(Ordering::Relaxed) {
            let here = poll_fn(|context| {
                let _over = call.as_mut().poll(context);
                match answered.try_recv() {
                    Ok(value) => Poll::Ready(Some(value)),
                    Err(_) if pace.is_up() => Poll::Ready(None),
                    Err(_) => Poll::Pending,
                }
            });
            if let Some(value) = here.await {
                // It may have been long all the same: nothing but guest code comes back when its tick is over.
                slow.store(pace.is_spent(), Ordering::Relaxed);
                tokio::spawn(async move { drop(call) });
                return value;
            }
            slow.store(true, Ordering::Relaxed);
        }
        pace.lock().apart = true;
        // Dropped with this future.
        let (_wanted, unwanted) = oneshot::channel::<()>();
        let rest = async move {
            tokio::select! {
                () = call => {}
                _ = unwanted => {}
            }
        };
        match self.calls.get_or_init(start_lane) {
            // The lane lives as long as the process does.
            Some(lane) => drop(lane.send(Box::pin(rest))),
            // No thread to be had: it takes its turns here.
            None => drop(tokio::spawn(rest)),
        }
        match answered.await {
            Ok(value) => {
                slow.store(pace.is_spent(), Ordering::Relaxed);
                value
            }
            // A call answers before it ends.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Starts the slow lane; `None` where no thread is to be had.
fn start_lane() -> Option<mpsc::UnboundedSender<Moved>> {
    let runtime = runtime().ok()?;
    let (calls, mut coming) = mpsc::unbounded_channel();
    let lane = thread::Builder::new().name("slow-lane".to_owned()).stack_size(THREAD_STACK);
    let started = lane.spawn(move || {
        step_back();
        runtime.block_on(async {
            while let Some(call) = coming.recv().await {
                tokio::spawn(call);
            }
        });
    });
    started.ok().map(|_| calls)
}

/// How one call shares the thread, and until when. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// When host functions answer that time is up.
    soft_deadline: Instant,
    shared: Arc<Turn>,
}

#[derive(Debug)]
struct Turn {
    ticker: Ticker,
    slice: Mutex<Slice>,
}

#[derive(Debug, Default)]
struct Slice {
    /// Guest code runs, as far as the clock knows.
    running: bool,
    /// Processor time of the thread that works for the call just now, when it began to.
    began: Option<Duration>,
    /// Processor time the call used before that, all told.
    used: Duration,
    /// How much of it was told.
    told: Duration,
    /// It has used up a tick once.
    spent: bool,
    /// It was handed to the slow lane.
    apart: bool,
    /// It is in a function of WASI.
    waiting: bool,
    /// The call has ended.
    over: bool,
}

impl Slice {
    /// Processor time the call has used, seen from the thread that works for it, if one does.
    fn used_until_now(&self) -> Duration {
        self.used + self.began.map_or(Duration::ZERO, |began| clock::thread().saturating_sub(began))
    }
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, Slice> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call is over. **Idempotent:** yes.
    fn end(&self) {
        let mut slice = self.lock();
        if std::mem::replace(&mut slice.over, true) {
            return;
        }
        if slice.running {
            self.ticker.shared.leave();
        }
        self.ticker.shared.end();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

/// The call's time was up before a wait ended.
#[derive(Debug)]
pub(crate) struct TimedOut;

impl Pace {
    /// The pace of a call that is to begin.
    pub(crate) fn new(ticker: &Ticker, soft_deadline: Instant) -> Pace {
        ticker.shared.begin();
        Pace { soft_deadline, shared: Arc::new(Turn { ticker: ticker.clone(), slice: Mutex::default() }) }
    }

    /// Time left until host functions answer that it is up.
    pub(crate) fn left(&self) -> Duration {
        self.soft_deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the guest has to leave the thread to others. It does once it has used a tick of the processor's time, give or take half of one: the
    /// clock ticks when it does, not when a guest begins. What it ran before it waited counts too, or a guest that asks for little in between
    /// would never have had a tick, and so does what the host did for it. What others had of the processor meanwhile does not.
    ///
    /// **Order:** in the thread that works for the call, or while none does.
    pub(crate) fn is_up(&self) -> bool {
        let mut slice = self.lock();
        slice.spent |= slice.used_until_now() >= TICK / 2;
        slice.spent
    }

    /// Goes to the slow lane, for what takes long and cannot be interrupted.
    #[cfg(feature = "full")]
    pub(crate) async fn give_way(&self) {
        self.lock().spent = true;
        tokio::task::yield_now().await;
    }

    /// After the answer: lets whoever waits for it have a turn before the call ends, where both share a thread.
    pub(crate) async fn answered(&self) {
        if !self.lock().apart {
            tokio::task::yield_now().await;
        }
    }

    /// Whether the guest had to leave the thread when that was last looked at.
    pub(crate) fn is_spent(&self) -> bool {
        self.lock().spent
    }

    /// Processor time that was used since this returned some last, once it is `least` or more. Looks whether the guest has to leave too.
    ///
    /// **Order:** as for [`is_up`](Pace::is_up).
    pub(crate) fn used(&self, least: Duration) -> Option<Duration> {
        let mut slice = self.lock();
        let used = slice.used_until_now();
        slice.spent |= used >= TICK / 2;
        let untold = used.saturating_sub(slice.told);
        (untold >= least).then(|| {
            slice.told = used;
            untold
        })
    }

    /// Waits for `future`, no longer than the call's time. Others run meanwhile, at least once, so that a guest cannot keep the
    /// thread by asking for what is there already.
    pub(crate) async fn wait<F: Future>(&self, future: F) -> Result<F::Output, TimedOut> {
        self.set_running(false);
        tokio::task::yield_now().await;
        let result = if self.left().is_zero() {
            Err(TimedOut)
        } else {
            tokio::time::timeout_at(self.soft_deadline.into(), future).await.map_err(|_| TimedOut)
        };
        self.set_running(true);
        result
    }

    /// The call itself: all of the processor's time in it is its own.
    pub(crate) async fn count<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|context| {
            self.lock().began = Some(clock::thread());
            let polled = call.as_mut().poll(context);
            let mut slice = self.lock();
            slice.used = slice.used_until_now();
            slice.began = None;
            polled
        })
        .await
    }

    /// A task beside the call that works for it, maybe in another thread.
    #[cfg(feature = "full")]
    pub(crate) async fn count_beside<F: Future>(&self, task: F) -> F::Output {
        let mut task = pin!(task);
        poll_fn(|context| self.count_here(|| task.as_mut().poll(context))).await
    }

    /// Work for the call in a thread where nothing else is counted just now.
    pub(crate) fn count_here<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = clock::thread();
        let done = work();
        self.lock().used += clock::thread().saturating_sub(began);
        done
    }

    /// Notes that the guest enters or leaves a function of WASI, which may wait without telling.
    #[cfg(feature = "full")]
    pub(crate) fn on_hook(&self, entering: bool) {
        self.lock().waiting = entering;
        self.set_running(!entering);
    }

    /// Whether it is in a function of WASI.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().waiting
    }

    /// Notes that the guest begins to run, or has ended or waits.
    ///
    /// **Idempotent:** yes.
    pub(crate) fn set_running(&self, running: bool) {
        let mut slice = self.lock();
        if slice.over || slice.running == running {
            return;
        }
        slice.running = running;
        if running {
            self.shared.ticker.shared.enter();
        } else {
            self.shared.ticker.shared.leave();
        }
    }

    /// The call is over, though somebody may still hold its pace. It is when the last clone is dropped, too.
    ///
    /// **Idempotent:** yes.
    pub(crate) fn end(&self) {
        self.shared.end();
    }

    fn lock(&self) -> MutexGuard<'_, Slice> {
        self.shared.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, SlowLane, TICK, Ticker, clock, oneshot, thread};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread::ThreadId;
    use std::time::{Duration, Instant};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn running(ticker: &Ticker) -> Pace {
        let pace = Pace::new(ticker, soon());
        pace.set_running(true);
        pace
    }

    #[test]
    fn the_clock_counts_guests_and_survives_their_late_end() -> std::io::Result<()> {
        let ticker = Ticker::start()?;
        let paces: Vec<Pace> = (0..3).map(|_| running(&ticker)).collect();
        let count = || {
            let state = ticker.shared.lock();
            (state.calls, state.running)
        };
        assert_eq!(count(), (3, 3));
        paces.iter().for_each(|pace| pace.set_running(false));
        assert_eq!(count(), (3, 0));
        paces.iter().for_each(|pace| pace.set_running(true));
        assert_eq!(count(), (3, 3));
        drop(paces);
        assert_eq!(count(), (0, 0));
        assert!(!ticker.shared.lock().set);
        let late = running(&ticker);
        ticker.end();
        drop(late);
        Ok(())
    }

    /// Uses the processor for `time`.
    fn work(time: Duration) {
        let began = clock::thread();
        while clock::thread() - began < time {}
    }

    #[test]
    fn a_tick_is_used_up_in_sips_too() -> std::io::Result<()> {
        let ticker = Ticker::start()?;
        let pace = running(&ticker);
        let mut sips = 0_u128;
        crate::run(pace.count(async {
            while !pace.is_up() {
                work(TICK / 8);
                tokio::task::yield_now().await;
                sips += 1;
            }
        }))?;
        assert!((1..=4).contains(&sips), "{sips}");
        ticker.end();
        Ok(())
    }

    #[test]
    fn what_is_used_is_told_once_and_what_others_use_meanwhile_is_not() -> std::io::Result<()> {
        let ticker = Ticker::start()?;
        let pace = running(&ticker);
        crate::run(async {
            pace.count(async {
                work(TICK);
                tokio::task::yield_now().await;
            })
            .await;
            work(TICK * 4);
            pace.count_here(|| work(TICK));
        })?;
        assert_eq!(pace.used(TICK * 5), None);
        assert!(pace.used(TICK * 2).is_some_and(|used| used < TICK * 4));
        assert_eq!(pace.used(Duration::from_nanos(1)), None);
        ticker.end();
        Ok(())
    }

    /// A call that answers with its thread.
    async fn told(pace: Pace, answer: oneshot::Sender<ThreadId>) {
        let _gone = answer.send(thread::current().id());
        pace.answered().await;
    }

    #[test]
    fn what_a_call_holds_is_dropped_where_it_ran_and_after_its_answer() -> std::io::Result<()> {
        struct Held(mpsc::Sender<ThreadId>);
        impl Drop for Held {
            fn drop(&mut self) {
                let _gone = self.0.send(thread::current().id());
            }
        }
        let ticker = Ticker::start()?;
        let lane = SlowLane::default();
        for slow in [false, true] {
            let (dropped, drops) = mpsc::channel();
            let pace = running(&ticker);
            crate::run(async {
                let slowness = AtomicBool::new(slow);
                let turns = pace.clone();
                let call = |answer| async move {
                    let _held = Held(dropped);
                    told(turns, answer).await;
                };
                let ran = lane.run(&pace, &slowness, call).await;
                if !slow {
                    assert!(drops.try_recv().is_err());
                    tokio::task::yield_now().await;
                }
                assert_eq!(drops.recv().ok(), Some(ran));
                assert_eq!(ran != thread::current().id(), slow);
            })?;
        }
        ticker.end();
        Ok(())
    }

    #[test]
    fn a_call_that_used_up_a_tick_goes_on_in_another_thread() -> std::io::Result<()> {
        let ticker = Ticker::start()?;
        let lane = SlowLane::default();
        crate::run(async {
            let here = std::thread::current().id();
            let quick = running(&ticker);
            let slowness = AtomicBool::new(false);
            assert_eq!(lane.run(&quick, &slowness, |answer| told(quick.clone(), answer)).await, here);
            assert!(!slowness.load(Ordering::Relaxed));
            let slow = running(&ticker);
            let pace = slow.clone();
            let counting = pace.clone();
            let moved = lane.run(&slow, &slowness, |answer| async move {
                let spin = async {
                    while !pace.is_up() {}
                    tokio::task::yield_now().await;
                    told(pace, answer).await;
                };
                counting.count(spin).await;
            });
            assert_ne!(moved.await, here);
            // The next one begins there, and the one after a quick one here again.
            assert!(slowness.load(Ordering::Relaxed));
            let quick = running(&ticker);
            assert_ne!(lane.run(&quick, &slowness, |answer| told(quick.clone(), answer)).await, here);
            assert!(!slowness.load(Ordering::Relaxed));
        })?;
        ticker.end();
        Ok(())
    }
}
