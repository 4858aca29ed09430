//! A host for native tests: a script of what each place answers, and a record of what the plugin did. Time passes only where the script
//! says so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::host::{Connection, Host, Level, TcpError};

/// A host that plays a script.
#[derive(Debug, Default)]
pub struct FakeHost {
    clock: Rc<FakeClock>,
    peers: RefCell<Vec<Peer>>,
    lines: RefCell<Vec<(Level, String)>>,
    conversations: RefCell<Vec<Rc<RefCell<Conversation>>>>,
}

/// Time left, counted down by scripts.
#[derive(Debug, Default)]
struct FakeClock {
    started_with_ms: Cell<u32>,
    remaining_ms: Cell<u32>,
}

impl FakeClock {
    fn pass(&self, ms: u32) -> Result<(), TcpError> {
        let left = self.remaining_ms.get().saturating_sub(ms);
        self.remaining_ms.set(left);
        if left == 0 { Err(TcpError::TimedOut) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Peer {
    host: String,
    port: u16,
    behaviour: Result<Vec<Step>, TcpError>,
}

/// What a peer does next on a connection. After the last step it has ended its side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Sends bytes. A read gets those of one step at a time.
    Send(Vec<u8>),
    /// Sends bytes one by one, this many milliseconds apart.
    Drip {
        /// What.
        bytes: Vec<u8>,
        /// How slowly.
        every_ms: u32,
    },
    /// Says nothing until the call's time is up.
    Hang,
    /// Breaks the connection off.
    Reset,
}

/// What passed over one connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conversation {
    /// Where to.
    pub peer: (String, u16),
    /// What the plugin wrote.
    pub written: Vec<u8>,
    /// Whether it ended its side.
    pub shut: bool,
    /// Whether it let go of the connection.
    pub closed: bool,
}

impl FakeHost {
    /// A host that grants nothing, with ten seconds left.
    #[must_use]
    pub fn new() -> FakeHost {
        let host = FakeHost::default();
        host.with_remaining(10_000)
    }

    /// Sets the time left. **Units:** milliseconds.
    #[must_use]
    pub fn with_remaining(self, ms: u32) -> FakeHost {
        self.clock.started_with_ms.set(ms);
        self.clock.remaining_ms.set(ms);
        self
    }

    /// Lets someone listen at `host` and `port` who does `steps` on every connection.
    #[must_use]
    pub fn with_peer(self, host: &str, port: u16, steps: Vec<Step>) -> FakeHost {
        self.peers.borrow_mut().push(Peer { host: host.to_owned(), port, behaviour: Ok(steps) });
        self
    }

    /// Lets connections to `host` and `port` fail.
    #[must_use]
    pub fn with_failure(self, host: &str, port: u16, error: TcpError) -> FakeHost {
        self.peers.borrow_mut().push(Peer { host: host.to_owned(), port, behaviour: Err(error) });
        self
    }

    /// The lines the plugin logged.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.lines.borrow().clone()
    }

    /// The connections the plugin made, in order.
    #[must_use]
    pub fn conversations(&self) -> Vec<Conversation> {
        self.conversations.borrow().iter().map(|conversation| conversation.borrow().clone()).collect()
    }
}

impl Host for FakeHost {
    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.to_owned()));
    }

    fn monotonic_now(&self) -> u64 {
        u64::from(self.clock.started_with_ms.get() - self.clock.remaining_ms.get()) * 1_000_000
    }

    fn wall_now(&self) -> u64 {
        1_800_000_000_000_000_000 + self.monotonic_now()
    }

    fn remaining_ms(&self) -> u32 {
        self.clock.remaining_ms.get()
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, TcpError> {
        self.clock.pass(0)?;
        let peers = self.peers.borrow();
        let Some(peer) = peers.iter().find(|peer| peer.host == host && peer.port == port) else {
            return Err(TcpError::Denied(format!("connect to {host}:{port} is not in the plugin's allow.connect")));
        };
        let steps = peer.behaviour.clone()?;
        let conversation = Conversation { peer: (host.to_owned(), port), ..Conversation::default() };
        let conversation = Rc::new(RefCell::new(conversation));
        self.conversations.borrow_mut().push(Rc::clone(&conversation));
        Ok(Box::new(FakeConnection { clock: Rc::clone(&self.clock), steps: steps.into(), conversation }))
    }
}

struct FakeConnection {
    clock: Rc<FakeClock>,
    steps: VecDeque<Step>,
    conversation: Rc<RefCell<Conversation>>,
}

impl Connection for FakeConnection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TcpError> {
        self.clock.pass(0)?;
        let mut conversation = self.conversation.borrow_mut();
        if conversation.shut {
            return Err(TcpError::Closed);
        }
        conversation.written.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, TcpError> {
        self.clock.pass(0)?;
        let limit = usize::try_from(limit.min(65_536)).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        loop {
            match self.steps.front_mut() {
                None => return Ok(Vec::new()),
                Some(Step::Hang) => return self.clock.pass(u32::MAX).map(|()| Vec::new()),
                Some(Step::Reset) => return Err(TcpError::Closed),
                Some(Step::Send(bytes) | Step::Drip { bytes, .. }) if bytes.is_empty() => {
                    self.steps.pop_front();
                }
                Some(Step::Send(bytes)) => return Ok(bytes.drain(..limit.min(bytes.len())).collect()),
                Some(Step::Drip { bytes, every_ms }) => {
                    self.clock.pass(*every_ms)?;
                    return Ok(bytes.drain(..1).collect());
                }
            }
        }
    }

    fn shutdown_write(&mut self) -> Result<(), TcpError> {
        self.clock.pass(0)?;
        self.conversation.borrow_mut().shut = true;
        Ok(())
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.conversation.borrow_mut().closed = true;
    }
}
