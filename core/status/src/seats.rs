//! Who holds a connection, and who has to give it up when there are too many. Pure; a seat's holder is a type parameter.
//!
//! A connection is idle while it waits for the client: for a head, or for room to write. Its place in the queue of the idle is where it
//! became idle, not where its last byte came, so that a head sent one byte at a time earns nothing by its slowness.

use std::collections::BTreeMap;

/// Most connections at a time. A status socket has a handful of regular readers; the rest is room for load balancers, for `?wait`, and
/// for an attack to be spread over. An idle one costs about 2 KiB, so doubling it costs 2 MiB under attack and buys nothing, for the oldest
/// idle one makes room anyway.
pub(crate) const MAX_CONNECTIONS: usize = 1024;

/// Descriptors left free below the number at which the kernel refused one: for files read on request and for connections that are
/// still being closed.
pub(crate) const HEADROOM: usize = 16;

/// The connections.
#[derive(Debug)]
pub(crate) struct Seats<H> {
    limit: usize,
    next: u64,
    taken: BTreeMap<u64, Seat<H>>,
    idle: BTreeMap<u64, u64>,
    dropped: u64,
}

#[derive(Debug)]
struct Seat<H> {
    holder: H,
    idle: Option<u64>,
}

impl<H> Seats<H> {
    /// Room for `limit` connections.
    pub(crate) fn new(limit: usize) -> Seats<H> {
        Seats { limit, next: 0, taken: BTreeMap::new(), idle: BTreeMap::new(), dropped: 0 }
    }

    /// Number of connections.
    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Number of connections there is room for.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Connections evicted so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether someone has to go before the next one comes.
    pub(crate) fn is_full(&self) -> bool {
        self.taken.len() >= self.limit
    }

    /// Seats a holder made from the seat's number; idle at first.
    pub(crate) fn take(&mut self, hold: impl FnOnce(u64) -> H) -> u64 {
        let number = self.fresh_number();
        let holder = hold(number);
        self.taken.insert(number, Seat { holder, idle: None });
        self.set_idle(number);
        number
    }

    /// The holder waits for its client from now on: it goes to the end of the queue, unless it stands in it already.
    pub(crate) fn set_idle(&mut self, number: u64) {
        let place = self.fresh_number();
        if let Some(seat) = self.taken.get_mut(&number)
            && seat.idle.is_none()
        {
            seat.idle = Some(place);
            self.idle.insert(place, number);
        }
    }

    /// The holder does something for its client.
    pub(crate) fn set_busy(&mut self, number: u64) {
        if let Some(place) = self.taken.get_mut(&number).and_then(|seat| seat.idle.take()) {
            self.idle.remove(&place);
        }
    }

    /// The holder leaves; harmless if it was evicted.
    pub(crate) fn leave(&mut self, number: u64) {
        self.set_busy(number);
        self.taken.remove(&number);
    }

    /// Takes the seat from whoever has been idle longest. `None`: nobody is.
    pub(crate) fn evict(&mut self) -> Option<H> {
        let (_, number) = self.idle.pop_first()?;
        self.dropped += 1;
        self.taken.remove(&number).map(|seat| seat.holder)
    }

    /// The kernel refused a descriptor at this number of connections: there is room for fewer.
    pub(crate) fn shrink(&mut self) {
        self.limit = self.taken.len().saturating_sub(HEADROOM).max(HEADROOM);
    }

    /// The reason to shrink may be gone.
    pub(crate) fn restore(&mut self, limit: usize) {
        self.limit = limit;
    }

    fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADROOM, Seats};

    #[test]
    fn the_longest_idle_goes_first() {
        let mut seats = Seats::new(3);
        let [a, b, c] = ['a', 'b', 'c'].map(|name| seats.take(|_| name));
        assert!(seats.is_full());
        seats.set_busy(a);
        seats.set_idle(a);
        seats.set_busy(b);
        seats.set_idle(c);
        assert_eq!(seats.evict(), Some('c'), "idle a second time is no new place");
        assert_eq!(seats.evict(), Some('a'));
        assert_eq!(seats.evict(), None, "b is busy");
        assert_eq!((seats.taken(), seats.dropped()), (1, 2));
        seats.leave(c);
        seats.set_idle(c);
        seats.leave(b);
        assert_eq!((seats.taken(), seats.evict()), (0, None));
    }

    #[test]
    fn the_limit_shrinks_below_what_the_kernel_allowed_and_comes_back() {
        let mut seats = Seats::new(100);
        for number in 0..50 {
            seats.take(|_| number);
        }
        seats.shrink();
        assert_eq!(seats.limit(), 50 - HEADROOM);
        assert!(seats.is_full());
        while seats.is_full() {
            assert!(seats.evict().is_some());
        }
        assert_eq!(seats.taken(), 50 - HEADROOM - 1);
        seats.restore(100);
        assert!(!seats.is_full());
        let mut few = Seats::new(100);
        few.take(|_| 0);
        few.shrink();
        assert_eq!(few.limit(), HEADROOM);
    }
}
