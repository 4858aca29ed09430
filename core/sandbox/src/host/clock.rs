//! `hilum:host/clock`: time, and how much of it the call has left.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bindings::host::clock::Host;
use crate::host::State;

/// The fixed moment that monotonic time counts from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Host for State {
    fn monotonic_now(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_now(&mut self) -> wasmtime::Result<u64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.pace.left().as_millis()).unwrap_or(u32::MAX))
    }

    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<()> {
        // Ended early by the call's own time, which is no error of sleeping.
        let _slept = self.pace.wait(tokio::time::sleep(Duration::from_millis(ms.into()))).await;
        Ok(())
    }
}
