//! What the tasks share. They run on one thread, so cells suffice; no cell is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::link::Link;
use crate::pulse::Pulse;
use crate::seats::{MAX_CONNECTIONS, Seats};
use crate::snapshot::Snapshot;
use crate::traffic::Traffic;

/// Bytes read from a socket at once, into one buffer all connections share: an idle connection has none of its own.
const SCRATCH: usize = 4096;

/// What the tasks share.
#[derive(Debug)]
pub(crate) struct Server {
    /// The way to PID 1.
    pub(crate) link: Link,
    /// What PID 1 last reported.
    pub(crate) snapshot: RefCell<Snapshot>,
    /// A report came.
    pub(crate) reported: Notify,
    /// Whether PID 1 answers.
    pub(crate) pulse: RefCell<Pulse>,
    /// A pong came.
    pub(crate) answered: Notify,
    /// The connections; each is held by its task.
    pub(crate) seats: RefCell<Seats<AbortHandle>>,
    /// A connection was closed or became idle.
    pub(crate) freed: Notify,
    /// Counters. What [`Seats`] counts is filled in when they are read.
    pub(crate) traffic: RefCell<Traffic>,
    /// Requests held by `?wait`.
    pub(crate) held: Cell<usize>,
    /// Bytes of answers that wait for slow readers.
    pub(crate) unsent: Cell<usize>,
    /// Where sockets are read to.
    pub(crate) scratch: RefCell<[u8; SCRATCH]>,
}

impl Server {
    /// Nothing reported, nobody connected.
    pub(crate) fn new(link: Link) -> Server {
        Server {
            link,
            snapshot: RefCell::default(),
            reported: Notify::new(),
            pulse: RefCell::default(),
            answered: Notify::new(),
            seats: RefCell::new(Seats::new(MAX_CONNECTIONS)),
            freed: Notify::new(),
            traffic: RefCell::default(),
            held: Cell::new(0),
            unsent: Cell::new(0),
            scratch: RefCell::new([0; SCRATCH]),
        }
    }

    /// The counters as they are now.
    pub(crate) fn traffic(&self) -> Traffic {
        let seats = self.seats.borrow();
        Traffic {
            open: seats.taken(),
            limit: seats.limit(),
            held: self.held.get(),
            dropped: seats.dropped(),
            ..self.traffic.borrow().clone()
        }
    }
}

/// A connection's seat, left when its task ends, however it ends.
#[derive(Debug)]
pub(crate) struct Seat {
    /// What the tasks share.
    pub(crate) server: Rc<Server>,
    number: u64,
}

impl Seat {
    /// The seat of this number.
    pub(crate) fn new(server: Rc<Server>, number: u64) -> Seat {
        Seat { server, number }
    }

    /// The connection waits for its client.
    pub(crate) fn set_idle(&self) {
        self.server.seats.borrow_mut().set_idle(self.number);
        self.server.freed.notify_waiters();
    }

    /// The connection is being served.
    pub(crate) fn set_busy(&self) {
        self.server.seats.borrow_mut().set_busy(self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.server.seats.borrow_mut().leave(self.number);
        self.server.freed.notify_waiters();
    }
}

/// An amount added to a shared sum for as long as this lives.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    sum: &'a Cell<usize>,
    amount: usize,
}

impl<'a> Share<'a> {
    /// Adds `amount` to `sum`, unless that takes it over `most`.
    pub(crate) fn take(sum: &'a Cell<usize>, amount: usize, most: usize) -> Option<Share<'a>> {
        let total = sum.get().checked_add(amount).filter(|total| *total <= most)?;
        sum.set(total);
        Some(Share { sum, amount })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.sum.set(self.sum.get().saturating_sub(self.amount));
    }
}
