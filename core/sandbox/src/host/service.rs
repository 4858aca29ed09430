//! `hilum:host/service`: what the call is about.

use crate::bindings::host::service::{Host, Run};
use crate::host::State;

impl Host for State {
    fn name(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.subject.as_ref().map(|subject| subject.name.clone()))
    }

    fn current(&mut self) -> wasmtime::Result<Option<Run>> {
        Ok(self.subject.as_ref().and_then(|subject| {
            let age_ms = subject.starts.first().copied().unwrap_or_default();
            Some(Run { number: subject.run, pid: subject.pid?, age_ms })
        }))
    }

    fn starts(&mut self) -> wasmtime::Result<Vec<u64>> {
        Ok(self.subject.as_ref().map(|subject| subject.starts.clone()).unwrap_or_default())
    }
}
