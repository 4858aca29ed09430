//! The one binary: PID 1, its workers, and its last resort.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(hilum::main(&std::env::args_os().collect::<Vec<_>>()))
}
