//! Commands that run in PID 1's hands, and the worker's end of their output.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hilum_wire::{Ending, FromSandbox};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::outbox::Outbox;
use crate::uplink::{Ran, Running};

/// Bytes of a command's output, and of its errors, that a plugin gets.
const MAX_OUTPUT: usize = 64 * 1024;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// How long a stream that is only thrown away any more is left alone after each [`CHUNK`]: 16 MB/s. A command that pours would else have a
/// processor, and the worker another one.
const LEISURE: Duration = Duration::from_millis(1);

/// The runs that have not ended. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiting: HashMap<u64, Waiting>,
}

/// What a run waits for.
#[derive(Debug)]
struct Waiting {
    started: Option<oneshot::Sender<Vec<OwnedFd>>>,
    ended: oneshot::Sender<Ending>,
}

/// Stops a run whose result nobody waits for any more.
struct Asked {
    id: u64,
    outbox: Outbox,
    runs: Runs,
    over: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.runs.lock().waiting.remove(&self.id);
        if !self.over {
            self.outbox.push(&FromSandbox::StopRun { id: self.id });
        }
    }
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command of the plan, asked for at once.
    pub(crate) fn run(&self, plugin: u16, command: &str, outbox: &Outbox) -> Running {
        let (started, starting) = oneshot::channel();
        let (ended, ending) = oneshot::channel();
        let id = {
            let mut table = self.lock();
            table.next += 1;
            let id = table.next;
            table.waiting.insert(id, Waiting { started: Some(started), ended });
            id
        };
        outbox.push(&FromSandbox::Run { id, plugin, command: command.to_owned() });
        let asked = Asked { id, outbox: outbox.clone(), runs: self.clone(), over: false };
        Box::pin(wait(asked, starting, ending))
    }

    /// A command was started; these are the ends of its output and errors.
    pub(crate) fn on_started(&self, id: u64, descriptors: Vec<OwnedFd>) {
        if let Some(started) = self.lock().waiting.get_mut(&id).and_then(|waiting| waiting.started.take()) {
            // Whoever waited may have gone; then the ends close here.
            let _gone = started.send(descriptors);
        }
    }

    /// A command has ended.
    pub(crate) fn on_ran(&self, id: u64, ending: Ending) {
        if let Some(waiting) = self.lock().waiting.remove(&id) {
            let _gone = waiting.ended.send(ending);
        }
    }
}

async fn wait(
    mut asked: Asked,
    starting: oneshot::Receiver<Vec<OwnedFd>>,
    mut ending: oneshot::Receiver<Ending>,
) -> Ran {
    let ends = starting.await.unwrap_or_default();
    let mut ends = ends.into_iter().map(|end| Receiver::from_owned_fd(end).ok());
    let mut stdout = Output::new(ends.next().flatten(), Keep::First);
    let mut stderr = Output::new(ends.next().flatten(), Keep::Last);
    let mut chunks = [vec![0; CHUNK], vec![0; CHUNK]];
    let [out, err] = &mut chunks;
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended,
            () = stdout.read(out), if stdout.is_open() => {}
            () = stderr.read(err), if stderr.is_open() => {}
        }
    };
    asked.over = true;
    // What it wrote last is in the pipes; nobody is waited for who still holds their other ends.
    stdout.drain(out);
    stderr.drain(err);
    let ending = ended.unwrap_or_else(|_| Ending::Refused("the command was given up".to_owned()));
    let cut = stdout.cut || stderr.cut;
    Ran { ending, stdout: stdout.kept(), stderr: stderr.kept(), cut }
}

/// One stream of a command's output.
struct Output {
    pipe: Option<Receiver>,
    keep: Keep,
    /// Up to twice what is kept, so that the beginning is not moved away with each piece that comes.
    bytes: Vec<u8>,
    cut: bool,
    /// Not to be read before.
    next: Instant,
}

/// Which bytes are kept of too many.
enum Keep {
    First,
    Last,
}

impl Output {
    fn new(pipe: Option<Receiver>, keep: Keep) -> Output {
        Output { pipe, keep, bytes: Vec::new(), cut: false, next: Instant::now() }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Reads what comes next, by way of `chunk`.
    async fn read(&mut self, chunk: &mut [u8]) {
        if self.cut {
            tokio::time::sleep_until(self.next.into()).await;
            self.next = Instant::now() + LEISURE;
        }
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(chunk).await {
            Ok(count) if count > 0 => self.take(chunk.get(..count).unwrap_or_default()),
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    /// Reads what is there.
    fn drain(&mut self, chunk: &mut [u8]) {
        // As much as a pipe holds by default, twice.
        for _ in 0..128 * 1024 / CHUNK {
            match self.pipe.as_ref().map(|pipe| pipe.try_read(chunk)) {
                Some(Ok(count)) if count > 0 => self.take(chunk.get(..count).unwrap_or_default()),
                Some(_) | None => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = MAX_OUTPUT.saturating_sub(self.bytes.len());
        self.cut |= bytes.len() > room;
        match self.keep {
            Keep::First => self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes)),
            Keep::Last => {
                self.bytes.extend_from_slice(bytes);
                if self.bytes.len() > 2 * MAX_OUTPUT {
                    self.bytes.drain(..self.bytes.len() - MAX_OUTPUT);
                }
            }
        }
    }

    /// What is kept.
    fn kept(mut self) -> Vec<u8> {
        self.bytes.drain(..self.bytes.len().saturating_sub(MAX_OUTPUT));
        self.bytes
    }
}
