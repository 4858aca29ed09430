#![forbid(unsafe_code)]
//! hilum, PID 1 and supervisor for minimal container images, as a library for its one binary, its tests and its fuzz targets.
//!
//! [`main`] decides by the command line which role this process plays. PID 1 is [`supervise`] (or [`watch`]): it parents the services, parses no network
//! byte and runs no plugin. `worker status` and `worker sandbox` are the same file re-executed, and may be lost at any time. `last-resort` is what PID 1
//! becomes when it crashes.

mod broker;
mod bundle;
pub mod cli;
mod errand;
mod install;
mod listener;
mod log;
pub mod personality;
mod preflight;
mod relay;
mod report;
mod role;
mod run_table;
mod starts;
mod supervise;
mod up;
mod watch;
mod worker;

use std::ffi::{OsStr, OsString};

use cli::Command;
use personality::Facts;

/// The exit code of a command line that cannot be understood.
const USAGE: u8 = 64;

/// Plays the role the command line asks for and returns the exit code.
#[must_use]
pub fn main(argv: &[OsString]) -> u8 {
    if let [_, first, rest @ ..] = argv {
        // Only ever written by hilum itself; looked at first, so that a worker starts at once and a crash needs nothing else to work.
        match first.to_str() {
            Some("last-resort") => hilum_sys::crash::last_resort::main(rest),
            Some("worker") => return role::worker(rest),
            _ => {}
        }
    }
    command_line(argv)
}

/// What a person or a container's image asks for. Its frame is two pages large, which is nothing that workers should stand on all their lives.
#[inline(never)]
fn command_line(argv: &[OsString]) -> u8 {
    let environment = |name: &str| std::env::var_os(name);
    let facts = Facts { pid: hilum_sys::process::pid() };
    let cmdline = own_words(argv);
    match cli::read(argv, &environment, facts) {
        Command::Start(launch) => start(*launch, cmdline),
        Command::Watch(watch) => watch::run(*watch, cmdline).unwrap_or_else(|message| refuse(&message)),
        Command::Up(options) => match up::load(&options.plan, options.implied) {
            Ok(mut launch) => {
                options.process.apply(&mut launch.process);
                start(launch, cmdline)
            }
            Err(stop) => say(&stop.stdout, &stop.stderr, stop.code),
        },
        Command::Check(options) => up::check(&options),
        Command::Install(destination) => install::run(&destination).map_or_else(|message| refuse(&message), |()| 0),
        Command::Print { stdout, stderr, code } => say(&stdout, &stderr, code),
    }
}

fn start(launch: hilum_config::Launch, cmdline: Vec<String>) -> u8 {
    let voice = launch.process.voice;
    supervise::run(launch, cmdline).unwrap_or_else(|message| {
        log::Log::new(voice, hilum_config::Verbosity::Error).fail(&message);
        supervise::CANNOT_START
    })
}

fn refuse(message: &str) -> u8 {
    say("", &format!("hilum: {message}\n"), supervise::CANNOT_START)
}

fn say(stdout: &str, stderr: &str, code: u8) -> u8 {
    use std::io::Write as _;
    let written = std::io::stdout().write_all(stdout.as_bytes()).and_then(|()| std::io::stdout().flush());
    let _ = std::io::stderr().write_all(stderr.as_bytes());
    // A help text into a closed pipe is not worth a panic, but not a success either.
    if written.is_err() && code == 0 { USAGE } else { code }
}

/// Our own words for expvar's `cmdline`: the child's arguments may hold secrets.
fn own_words(argv: &[OsString]) -> Vec<String> {
    let own = argv.iter().take_while(|word| word.as_os_str() != OsStr::new("--"));
    own.take(16).map(|word| report::cut(&word.to_string_lossy(), 256)).collect()
}
