//! dumb-init 1.2.5.
//!
//! The child leads a session of its own and every signal goes to its whole group, rewritten where `-r` says so; the group also gets a
//! TERM when the child has ended. With `-c` or `DUMB_INIT_SETSID=0` the child stays in the group it was born in and alone gets the
//! signals. Either way the signals of job control stop the supervisor too. Where the original takes numbers too large for an int for
//! other numbers, this refuses them.

use std::ffi::{OsStr, OsString};

use hilum_config::{Group, Launch, Verbosity, Voice};
use hilum_engine::{EndingPlan, Scope, Signal, SignalPlan, SignalSet, StopPlan};

use super::getopt::Table;
use super::{Call, Outcome};
use crate::cli::{JOB_CONTROL, all_signals_but, launch_of, only};

const TABLE: Table = Table {
    short: &[(b'h', false), (b'v', false), (b'V', false), (b'c', false), (b'r', true)],
    long: &[("help", b'h'), ("single-child", b'c'), ("rewrite", b'r'), ("verbose", b'v'), ("version", b'V')],
    permute: false,
};

/// The last signal it can rewrite.
const LAST: u8 = 31;

pub(super) fn read(call: &Call<'_>) -> Outcome {
    let found = TABLE.read(call.words, false);
    let mut verbose = is(call, "DUMB_INIT_DEBUG", "1");
    let mut session = !is(call, "DUMB_INIT_SETSID", "0");
    let mut rewrite = Vec::new();
    for (letter, value) in found.options {
        match letter {
            // Both go to standard error, as the original has it.
            b'h' => return Outcome::Print { stdout: String::new(), stderr: usage(&call.name), code: 0 },
            b'V' => return Outcome::Print { stdout: String::new(), stderr: version(), code: 0 },
            b'v' => verbose = true,
            b'c' => session = false,
            _ => match parse_rewrite(&value.unwrap_or_default()) {
                Some((from, to)) => {
                    rewrite.retain(|(known, _)| *known != from);
                    rewrite.push((from, to));
                }
                None => return Outcome::fail(rewrite_usage(), 1),
            },
        }
    }
    match found.words {
        Err(mistake) => Outcome::fail(format!("{}: {}\n", call.name, mistake.message), 1),
        Ok(command) if command.is_empty() => Outcome::fail(
            format!("Usage: {name} [option] program [args]\nTry {name} --help for full usage.\n", name = call.name),
            1,
        ),
        Ok(command) => Outcome::Start(Box::new(launch(command, session, verbose, rewrite))),
    }
}

fn launch(command: Vec<OsString>, session: bool, verbose: bool, mut rewrite: Vec<(Signal, Signal)>) -> Launch {
    // The last words go through the rewriting like any other.
    let term = rewrite.iter().find(|(from, _)| *from == Signal::TERM).map_or(Signal::TERM, |(_, to)| *to);
    let parting_signal = (session && term != Signal(0)).then_some(term);
    for signal in JOB_CONTROL {
        // Passed on as STOP in a session of its own, where the kernel would drop them, and as they are elsewhere.
        if !rewrite.iter().any(|(from, _)| *from == signal) {
            rewrite.push((signal, if session { Signal::STOP } else { signal }));
        }
    }
    let mut launch = launch_of(command);
    let (scope, group) = if session { (Scope::Group, Group::Session) } else { (Scope::Leader, Group::Shared) };
    only(&mut launch, |plan, service| {
        plan.stop = StopPlan { scope, ..StopPlan::default() };
        service.group = group;
    });
    launch.plan.signals = SignalPlan {
        stop: SignalSet::EMPTY,
        forward: all_signals_but(&[]),
        rewrite,
        suspend: SignalSet::of(&JOB_CONTROL),
        ..SignalPlan::default()
    };
    launch.plan.ending = EndingPlan { parting_signal, ..EndingPlan::default() };
    launch.process.subreaper = false;
    launch.process.warn_orphans = false;
    launch.process.voice = Voice::DumbInit;
    launch.process.verbosity = if verbose { Verbosity::Debug } else { Verbosity::Error };
    launch
}

fn is(call: &Call<'_>, name: &str, value: &str) -> bool {
    (call.env)(name).is_some_and(|found| found == value)
}

/// A pair as sscanf(3) reads `%d:%d`: white space before a number and anything behind the pair are skipped.
fn parse_rewrite(value: &OsStr) -> Option<(Signal, Signal)> {
    let text = value.to_string_lossy();
    let (from, rest) = leading_number(&text)?;
    let (to, _) = leading_number(rest.strip_prefix(':')?)?;
    let from = u8::try_from(from).ok().filter(|from| (1..=LAST).contains(from))?;
    let to = u8::try_from(to).ok().filter(|to| (0..=LAST).contains(to))?;
    Some((Signal(from), Signal(to)))
}

fn leading_number(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let signed = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = signed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(signed.len());
    let (number, rest) = text.split_at_checked(text.len() - signed.len() + digits)?;
    Some((number.parse().ok()?, rest))
}

fn rewrite_usage() -> String {
    format!(
        "Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and {LAST}.\n\
         It may be repeated; a second number of 0 drops the signal.\nUse --help for full usage.\n"
    )
}

fn version() -> String {
    format!("dumb-init v1.2.5 (hilum {})\n", env!("CARGO_PKG_VERSION"))
}

fn usage(name: &str) -> String {
    format!(
        "{}Usage: {name} [option] command [[arg] ...]\n\n\
         Starts the command in a session of its own, passes signals on to all of it, reaps orphans, and ends with its exit code.\n\n\
         Options:\n   \
         -c, --single-child   pass signals to the command alone, and leave it in this session\n   \
         -r, --rewrite s:r    pass signal s on as r, both numbers; 0 drops it; may be repeated\n   \
         -v, --verbose        say what happens on standard error\n   \
         -h, --help           show this\n   \
         -V, --version        show the version\n\n\
         Environment:\n   \
         DUMB_INIT_DEBUG=1    as -v\n   \
         DUMB_INIT_SETSID=0   as -c\n",
        version()
    )
}
