//! Commands that run in PID 1's hands, and the worker's end of their output.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hilum_wire::{Ending, FromSandbox};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::outbox::Outbox;
use crate::uplink::{Ran, Running};

/// Bytes of a command's output, and of its errors, that a plugin gets.
const MAX_OUTPUT: usize = 64 * 1024;

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
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended,
            () = stdout.read(), if stdout.is_open() => {}
            () = stderr.read(), if stderr.is_open() => {}
        }
    };
    asked.over = true;
    // What it wrote last is in the pipes; nobody is waited for who still holds their other ends.
    stdout.drain();
    stderr.drain();
    let ending = ended.unwrap_or_else(|_| Ending::Refused("the command was given up".to_owned()));
    let cut = stdout.cut || stderr.cut;
    Ran { ending, stdout: stdout.bytes, stderr: stderr.bytes, cut }
}

/// One stream of a command's output.
struct Output {
    pipe: Option<Receiver>,
    keep: Keep,
    bytes: Vec<u8>,
    cut: bool,
}

/// Which bytes are kept of too many.
enum Keep {
    First,
    Last,
}

impl Output {
    fn new(pipe: Option<Receiver>, keep: Keep) -> Output {
        Output { pipe, keep, bytes: Vec::new(), cut: false }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Reads what comes next.
    async fn read(&mut self) {
        let mut chunk = [0; 4096];
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(&mut chunk).await {
            Ok(count) if count > 0 => self.take(chunk.get(..count).unwrap_or_default()),
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    /// Reads what is there.
    fn drain(&mut self) {
        let mut chunk = [0; 4096];
        // As much as a pipe holds by default, twice.
        for _ in 0..32 {
            match self.pipe.as_ref().map(|pipe| pipe.try_read(&mut chunk)) {
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
                self.bytes.drain(..self.bytes.len().saturating_sub(MAX_OUTPUT));
            }
        }
    }
}
