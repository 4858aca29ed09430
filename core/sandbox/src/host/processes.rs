//! `hilum:host/processes`: what `/proc` says of the processes hilum can see.

use std::sync::Arc;

use hilum_sys::procfs;

use crate::bindings::host::processes::{Error, Host, Process, Table};
use crate::host::{State, aside};

/// Processes that are listed at most.
const MAX_PROCESSES: usize = 4096;

/// Bytes of all of them together, so that the list passes to the guest.
const MAX_LIST: usize = 512 * 1024;

fn list() -> Result<Table, Error> {
    let found = procfs::usage(MAX_PROCESSES)
        .map_err(|error| Error::Unsupported(format!("cannot list processes: /proc: {error}")))?;
    let mut room = MAX_LIST;
    let mut cut = found.len() >= MAX_PROCESSES;
    let mut processes = Vec::new();
    for process in found {
        let words: usize = process.command.iter().map(|word| word.len().saturating_add(16)).sum();
        let size = words.saturating_add(process.name.len()).saturating_add(96);
        let Some(left) = room.checked_sub(size) else {
            cut = true;
            break;
        };
        room = left;
        processes.push(Process {
            pid: process.pid,
            parent: process.parent,
            name: process.name,
            command: process.command,
            state: process.state.to_string(),
            user: process.user,
            age_ms: process.age_ms,
            memory: process.memory,
            cpu_ms: process.cpu_ms,
        });
    }
    Ok(Table { processes, cut })
}

impl Host for State {
    async fn list(&mut self) -> wasmtime::Result<Result<Table, Error>> {
        let permitted = if self.grants.processes {
            Ok(())
        } else {
            let why =
                "seeing processes is not granted; to allow it, set allow.processes of this plugin to true".to_owned();
            self.deny(&why);
            Err(Error::Denied(why))
        };
        let waiting = Arc::clone(&self.kept.waiting);
        let listed = self.pace.wait(async {
            permitted?;
            aside(&waiting, &self.pace, list).await.unwrap_or(Err(Error::TimedOut))
        });
        Ok(listed.await.unwrap_or(Err(Error::TimedOut)))
    }
}
