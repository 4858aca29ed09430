//! Whether PID 1's loop turns: when to ping it, and whether its last pong still counts. Pure; time is an argument.
//!
//! At most one ping is under way, and none is sent while the last pong counts. That alone bounds the rate to one ping per
//! [`FRESH`], however many requests come, and costs nothing while none do.

use std::time::Duration;

use tokio::time::Instant;

/// How old a pong may be when a request arrives. 100 ms is ten pings a second at most, and far below the period of any liveness probe.
pub(crate) const FRESH: Duration = Duration::from_millis(100);

/// The state of the questions to PID 1.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    nonce: u64,
    under_way: bool,
    answered: Option<Instant>,
}

impl Pulse {
    /// Whether PID 1 has answered recently enough for a request that arrived at `asked`.
    pub(crate) fn is_fresh(&self, asked: Instant) -> bool {
        self.answered.is_some_and(|answered| answered + FRESH >= asked)
    }

    /// The number to send, if a ping is to be sent for a request that arrived at `asked`.
    pub(crate) fn ask(&mut self, asked: Instant) -> Option<u64> {
        if self.under_way || self.is_fresh(asked) {
            return None;
        }
        self.under_way = true;
        self.nonce += 1;
        Some(self.nonce)
    }

    /// The ping could not be sent: the next request tries again.
    pub(crate) fn unsent(&mut self) {
        self.under_way = false;
    }

    /// A pong came. One with another number than the ping under way proves nothing.
    pub(crate) fn answer(&mut self, nonce: u64, now: Instant) {
        if self.under_way && nonce == self.nonce {
            self.under_way = false;
            self.answered = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FRESH, Pulse};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn one_ping_serves_all_who_wait() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        assert!(!pulse.is_fresh(start));
        assert_eq!(pulse.ask(start), Some(1));
        assert_eq!(pulse.ask(start), None);
        pulse.answer(7, start);
        assert!(!pulse.is_fresh(start));
        pulse.answer(1, start + Duration::from_millis(5));
        assert!(pulse.is_fresh(start));
        let still = start + Duration::from_millis(5) + FRESH;
        assert!(pulse.is_fresh(still));
        assert_eq!(pulse.ask(still), None);
        let later = still + Duration::from_millis(1);
        assert!(!pulse.is_fresh(later));
        assert_eq!(pulse.ask(later), Some(2));
        pulse.answer(1, later);
        assert!(!pulse.is_fresh(later));
    }

    #[test]
    fn never_more_than_ten_a_second() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        let mut sent = 0;
        for millis in 0..1_000 {
            let now = start + Duration::from_millis(millis);
            if let Some(nonce) = pulse.ask(now) {
                sent += 1;
                pulse.answer(nonce, now);
            }
        }
        assert_eq!(sent, 10);
    }

    #[test]
    fn a_ping_that_could_not_be_sent_is_tried_again() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        assert_eq!(pulse.ask(start), Some(1));
        pulse.unsent();
        assert_eq!(pulse.ask(start), Some(2));
    }
}
