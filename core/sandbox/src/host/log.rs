//! `hilum:host/log`: lines for the operator.

use crate::bindings::host::log::{Host, Level};
use crate::host::State;

impl Host for State {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.say(level, &message);
        Ok(())
    }
}
