//! What a call needs of whoever keeps things between calls: PID 1, or a tool that makes one call by hand.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use hilum_wire::{Ending, Series};

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
    /// Whether one of them was longer.
    pub cut: bool,
}

/// A run that goes on; dropping it stops the command.
pub type Running = Pin<Box<dyn Future<Output = Ran> + Send>>;

/// The way up, of one plugin.
pub trait Uplink: Send + Sync {
    /// Writes a line, already cleaned and cut.
    fn log(&self, level: &'static str, line: String);

    /// Waits until there is room for one more value to keep or show. A plugin that changes them faster than they are taken waits here.
    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    /// Keeps a value, or with none forgets it.
    fn keep(&self, key: &str, value: Option<&[u8]>);

    /// Shows the value of a series.
    fn show(&self, series: Series);

    /// Tells that a call that goes on has used this much more of the processor. Whoever does not keep account of it need not listen.
    fn used(&self, _time: Duration) {}

    /// Runs a command of the plan.
    fn run(&self, command: &str) -> Running;
}

impl fmt::Debug for dyn Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uplink")
    }
}
