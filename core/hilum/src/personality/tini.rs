//! tini 0.19, and Docker's `docker-init`, which is the same program.
//!
//! Signals are merely passed on, to the child or with `-g` to its group; no signal has a meaning of its own and nothing is killed.
//! Options are looked for behind the program's name too, as glibc's getopt(3) does and as the usage line of the original asks for
//! (`PROGRAM -- [ARGS]`); builds for musl stop at the program, as this does where `POSIXLY_CORRECT` is set.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use hilum_config::{Group, Launch, Verbosity, Voice, parse_signal};
use hilum_engine::{EndingPlan, Scope, Signal, SignalPlan, SignalSet, StopPlan};

use super::getopt::Table;
use super::{Call, Outcome};
use crate::cli::{all_signals_but, launch_of, only};

const TABLE: Table = Table {
    short: &[
        (b'p', true),
        (b'h', false),
        (b'v', false),
        (b'w', false),
        (b'g', false),
        (b'l', false),
        (b'e', true),
        (b's', false),
    ],
    long: &[],
    permute: true,
};

/// The signals it leaves alone: those that say the process itself is at fault, and the terminal's.
const NOT_FORWARDED: [Signal; 9] =
    [Signal(4), Signal(5), Signal(6), Signal(7), Signal(8), Signal(11), Signal(31), Signal(21), Signal(22)];

/// Signals it does not know by name.
const UNNAMED: [&str; 8] = ["SIGIOT", "SIGSTKFLT", "SIGCLD", "SIGIO", "SIGPOLL", "SIGPWR", "SIGUNUSED", "SIG"];

pub(super) fn read(call: &Call<'_>) -> Outcome {
    let tool = Path::new(&call.name).file_name().unwrap_or(OsStr::new("tini")).to_string_lossy();
    // The original knows this word only where it is the only one.
    if let [word] = call.words
        && word == "--version"
    {
        return Outcome::say(version());
    }
    let found = TABLE.read(call.words, (call.env)("POSIXLY_CORRECT").is_some());
    let mut settings = Settings::default();
    for (letter, value) in found.options {
        let value = value.unwrap_or_default();
        match letter {
            b'h' => return Outcome::say(usage(&tool)),
            b'l' => return Outcome::say(license()),
            b's' => settings.subreaper = true,
            b'g' => settings.group = true,
            b'w' => settings.warn_on_reap = true,
            b'v' => settings.verbosity += 1,
            b'p' => match parse_named_signal(&value) {
                Some(signal) => settings.parent_death_signal = signal.0,
                None => return invalid(call, 'p', &value),
            },
            _ => match parse_code(&value) {
                Some(code) => settings.codes_to_zero.push(code),
                None => return invalid(call, 'e', &value),
            },
        }
    }
    let command = match found.words {
        Ok(command) => command,
        Err(mistake) => {
            let hint = if mistake.behind_program {
                format!("\n{tool}: to pass that option to the program, write -- before the program\n")
            } else {
                String::new()
            };
            return Outcome::fail(format!("{}: {}\n{}{hint}", call.name, mistake.message, usage(&tool)), 1);
        }
    };
    if command.is_empty() {
        return Outcome::fail(usage(&tool), 1);
    }
    settings.subreaper |= (call.env)("TINI_SUBREAPER").is_some();
    settings.group |= (call.env)("TINI_KILL_PROCESS_GROUP").is_some();
    if let Some(verbosity) = (call.env)("TINI_VERBOSITY") {
        settings.verbosity = leading_number(&verbosity);
    }
    Outcome::Start(Box::new(settings.launch(command)))
}

/// What the options and variables said.
struct Settings {
    subreaper: bool,
    group: bool,
    warn_on_reap: bool,
    verbosity: i64,
    parent_death_signal: u8,
    codes_to_zero: Vec<u8>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            subreaper: false,
            group: false,
            warn_on_reap: false,
            verbosity: 1,
            parent_death_signal: 0,
            codes_to_zero: Vec::new(),
        }
    }
}

impl Settings {
    fn launch(self, command: Vec<OsString>) -> Launch {
        let mut launch = launch_of(command);
        let scope = if self.group { Scope::Group } else { Scope::Leader };
        only(&mut launch, |plan, service| {
            plan.stop = StopPlan { scope, ..StopPlan::default() };
            service.group = Group::Own;
        });
        launch.plan.signals =
            SignalPlan { stop: SignalSet::EMPTY, forward: all_signals_but(&NOT_FORWARDED), ..SignalPlan::default() };
        launch.plan.ending = EndingPlan { codes_to_zero: self.codes_to_zero, ..EndingPlan::default() };
        let verbosity = match self.verbosity {
            ..=0 => Verbosity::Error,
            1 => Verbosity::Warn,
            2 => Verbosity::Info,
            3.. => Verbosity::Debug,
        };
        launch.process.subreaper = self.subreaper;
        launch.process.warn_orphans = verbosity >= Verbosity::Warn;
        launch.process.log_orphans = self.warn_on_reap && verbosity >= Verbosity::Warn;
        launch.process.parent_death_signal = self.parent_death_signal;
        launch.process.voice = Voice::Tini;
        launch.process.verbosity = verbosity;
        launch
    }
}

fn invalid(call: &Call<'_>, letter: char, value: &OsStr) -> Outcome {
    let pid = call.facts.pid;
    Outcome::fail(format!("[FATAL tini ({pid})] Not a valid option for -{letter}: {}\n", value.display()), 1)
}

/// The signal of a full name in capitals; the original takes no other form.
fn parse_named_signal(value: &OsStr) -> Option<Signal> {
    let text = value.to_str()?;
    let name = text.strip_prefix("SIG")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let signal = parse_signal(text).ok().filter(|signal| signal.0 < 32)?;
    (plain && !UNNAMED.contains(&text)).then_some(signal)
}

/// An exit code as strtol(3) reads a whole word; an empty one is 0.
fn parse_code(value: &OsStr) -> Option<u8> {
    let text = value.to_str()?;
    if text.is_empty() {
        return Some(0);
    }
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    text.parse::<i64>().ok().and_then(|code| u8::try_from(code).ok())
}

/// The number a word begins with, as atoi(3) reads it; 0 if there is none.
fn leading_number(value: &OsStr) -> i64 {
    let text = value.to_string_lossy();
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..end).unwrap_or_default();
    if digits.is_empty() { 0 } else { sign * digits.parse::<i64>().unwrap_or(i64::MAX) }
}

/// Docker reads the version from between `tini version ` and ` - `.
fn version() -> String {
    format!("tini version 0.19.0 - hilum {}\n", env!("CARGO_PKG_VERSION"))
}

fn usage(tool: &str) -> String {
    format!(
        "{tool} ({})\n\
         Usage: {tool} [OPTIONS] PROGRAM -- [ARGS] | --version\n\n\
         Starts PROGRAM, passes signals on to it, reaps orphans, and ends with its exit code.\n\n\
         Options:\n  \
         -s         become a child subreaper, where this is not process 1\n  \
         -g         pass signals to the program's process group, not only to the program\n  \
         -p SIGNAL  get SIGNAL when the own parent ends, as in -p SIGKILL\n  \
         -e CODE    end with 0 where the program's exit code is CODE (0 to 255); may be repeated\n  \
         -w         warn of each orphan reaped\n  \
         -v         say more; up to three times\n  \
         -l         show the licence\n  \
         -h         show this\n  \
         --version  show the version\n\n\
         Environment:\n  \
         TINI_SUBREAPER           as -s\n  \
         TINI_KILL_PROCESS_GROUP  as -g\n  \
         TINI_VERBOSITY           0 to 4, default 1\n",
        version().trim_end()
    )
}

/// What the tools with an option for it show: this is hilum, under its own terms.
pub(super) fn license() -> String {
    String::from(
        "hilum is free software: you may use it under the MIT licence or the Apache licence 2.0, as you prefer.\n",
    )
}
