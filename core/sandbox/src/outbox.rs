//! What waits to be sent to PID 1. Sending never blocks the loop: frames that the socket does not take stay here.
//!
//! Answers are never dropped; they are bounded because the role reads no further request while [`Outbox::is_full`]. What plugins keep and
//! measure is not dropped either: a plugin waits for [`Outbox::room`] before it says more. Log lines are dropped when there is no room, and
//! their number is said once there is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hilum_wire::{FromSandbox, encode};
use tokio::sync::Notify;

/// Frames that may wait before no further request is read. With a frame of a few hundred bytes this is some hundred KiB.
const FULL: usize = 1024;

/// Frames that may wait before log lines are dropped.
const ROOM_FOR_LOGS: usize = 512;

/// Frames that may wait before plugins wait with what they keep and measure. The longest such frame has 32 KiB, and each call that waits adds
/// one at most once there is room; doubled, a plugin that keeps too much holds two more megabytes.
const ROOM_FOR_VALUES: usize = 64;

/// The queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    queue: Arc<Mutex<Queue>>,
    filled: Arc<Notify>,
    taken: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// Log lines dropped since the last one that was kept, and the plugin of the last of them.
    dropped: Option<(u16, u64)>,
}

impl Outbox {
    /// Queues a message that must arrive.
    pub(crate) fn push(&self, message: &FromSandbox) {
        // Every text in a message is cut to far below the frame limit when it is made, so that it always fits.
        if let Ok(frame) = encode(message) {
            self.with(|queue| queue.frames.push_back(frame));
            self.filled.notify_one();
        }
    }

    /// Queues a log line if there is room.
    pub(crate) fn log(&self, plugin: u16, level: &str, message: String) {
        let room = self.with(|queue| {
            if queue.frames.len() < ROOM_FOR_LOGS {
                return Some(queue.dropped.take());
            }
            let count = queue.dropped.map_or(0, |(_, count)| count);
            queue.dropped = Some((plugin, count.saturating_add(1)));
            None
        });
        let Some(dropped) = room else { return };
        if let Some((plugin, count)) = dropped {
            let message = format!("{count} log lines of plugins dropped, PID 1 did not keep up");
            self.push(&FromSandbox::Log { plugin, level: "warn".to_owned(), message });
        }
        self.push(&FromSandbox::Log { plugin, level: level.to_owned(), message });
    }

    /// Waits until few frames wait.
    pub(crate) async fn room(&self) {
        loop {
            // Made before the look, so that what is taken in between is not missed.
            let taken = self.taken.notified();
            if self.with(|queue| queue.frames.len() < ROOM_FOR_VALUES) {
                return;
            }
            taken.await;
        }
    }

    /// Whether no further request should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.with(|queue| queue.frames.len() >= FULL)
    }

    /// Waits until something was queued since the last wait.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Hands frames to `send` in order until it fails; that one stays.
    pub(crate) fn flush<E>(&self, mut send: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let flushed = self.with(|queue| {
            while let Some(frame) = queue.frames.front() {
                send(frame)?;
                queue.frames.pop_front();
            }
            Ok(())
        });
        self.taken.notify_waiters();
        flushed
    }

    fn with<R>(&self, act: impl FnOnce(&mut Queue) -> R) -> R {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::{FULL, Outbox, ROOM_FOR_LOGS, ROOM_FOR_VALUES};
    use hilum_wire::{FromSandbox, decode};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    fn poll(future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn drain(outbox: &Outbox) -> Vec<FromSandbox> {
        let mut seen = Vec::new();
        outbox
            .flush(|frame| -> Result<(), ()> {
                seen.push(decode(frame).unwrap());
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn a_frame_that_is_not_taken_stays_first() {
        let outbox = Outbox::default();
        outbox.push(&FromSandbox::Hello { version: 1, refused: Vec::new() });
        outbox.push(&FromSandbox::Hello { version: 2, refused: Vec::new() });
        assert_eq!(outbox.flush(|_| Err("full")), Err("full"));
        assert_eq!(
            drain(&outbox),
            [
                FromSandbox::Hello { version: 1, refused: Vec::new() },
                FromSandbox::Hello { version: 2, refused: Vec::new() }
            ]
        );
        assert!(outbox.flush(|_| Err(())).is_ok(), "it is empty");
    }

    #[test]
    fn logs_give_way_to_answers_and_the_gap_is_said() {
        let outbox = Outbox::default();
        for _ in 0..FULL {
            outbox.log(7, "info", "line".to_owned());
        }
        assert!(!outbox.is_full());
        assert_eq!(drain(&outbox).len(), ROOM_FOR_LOGS);
        outbox.log(7, "info", "after".to_owned());
        let seen = drain(&outbox);
        assert_eq!(seen.len(), 2);
        let said = format!("{seen:?}");
        assert!(said.contains(&format!("{} log lines", FULL - ROOM_FOR_LOGS)) && said.contains("after"), "{said}");
        for _ in 0..FULL {
            outbox.push(&FromSandbox::Hello { version: 1, refused: Vec::new() });
        }
        assert!(outbox.is_full());
    }

    #[test]
    fn whoever_wants_to_say_more_waits_until_frames_are_taken() {
        let outbox = Outbox::default();
        for _ in 0..ROOM_FOR_VALUES {
            assert!(poll(std::pin::pin!(outbox.room())).is_ready());
            outbox.push(&FromSandbox::Hello { version: 1, refused: Vec::new() });
        }
        let waiting = outbox.room();
        let mut waiting = std::pin::pin!(waiting);
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(drain(&outbox).len(), ROOM_FOR_VALUES);
        assert!(poll(waiting.as_mut()).is_ready());
    }
}
