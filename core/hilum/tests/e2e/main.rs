//! hilum from outside: the built program as real process 1, in namespaces of its own and in containers, judged by what its children, the kernel and
//! its clients see.
//!
//! The program is the one `HILUM_BIN` names, the release build when xtask runs this, else the one cargo has just built. Every wait has a deadline
//! and none is a sleep. A tool that is missing is a failure that names its package. Nothing here looks inside hilum.
#![forbid(unsafe_code)]

mod crash;
mod exit_codes;
mod hostile_environment;
mod personalities;
mod platform;
mod plugins;
mod reaping;
mod run_mode;
mod signals;
mod stage;
mod status_load;
mod supervise;
mod terminal;
mod watch;
mod workers;
