//! `hilum:host/random`.

use crate::bindings::host::random::Host;
use crate::host::State;

/// Bytes one call returns at most.
const MAX_BYTES: usize = 4096;

impl Host for State {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(MAX_BYTES).min(MAX_BYTES)];
        hilum_sys::random::fill(&mut bytes)?;
        Ok(bytes)
    }
}
