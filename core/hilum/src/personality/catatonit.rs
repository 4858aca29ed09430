//! catatonit 0.1.7, which podman also runs as its pause process.
//!
//! Always a child subreaper; signals are merely passed on, to the child or with `-g` to its group, and those of job control are
//! swallowed. With `-P` there is no child: it stays until INT or TERM and ends with 0, which is a launch without services.

use hilum_config::{Group, Launch, ProcessLaunch, Verbosity, Voice};
use hilum_engine::{Plan, Scope, Signal, SignalPlan, SignalSet, StopPlan};

use super::getopt::Table;
use super::{Call, Outcome, tini};
use crate::cli::{JOB_CONTROL, all_signals_but, launch_of, only};

const TABLE: Table = Table {
    short: &[(b'g', false), (b'h', false), (b'L', false), (b'P', false), (b'V', false)],
    long: &[("version", b'V')],
    permute: true,
};

/// The signals that say the process itself is at fault.
const FAULTS: [Signal; 7] = [Signal(4), Signal(5), Signal(6), Signal(7), Signal(8), Signal(11), Signal(31)];

pub(super) fn read(call: &Call<'_>) -> Outcome {
    let error = |text: &str| format!("ERROR (catatonit:{}): {text}\n", call.facts.pid);
    if (call.env)("CATATONIT_LOG").is_some() {
        return Outcome::fail(error("CATATONIT_LOG is reserved for future use"), 1);
    }
    let found = TABLE.read(call.words, (call.env)("POSIXLY_CORRECT").is_some());
    let (mut group, mut pause) = (false, false);
    for (letter, _) in found.options {
        match letter {
            b'h' => return Outcome::Print { stdout: String::new(), stderr: usage(&call.name), code: 0 },
            b'L' => return Outcome::say(tini::license()),
            b'V' => return Outcome::say(version()),
            b'g' => group = true,
            _ => pause = true,
        }
    }
    let command = match found.words {
        Ok(command) => command,
        Err(mistake) => {
            let hint = if mistake.behind_program {
                format!("to pass that option to the program, write: {} [OPTIONS] -- PROGRAM\n", file_name(&call.name))
            } else {
                String::new()
            };
            return Outcome::fail(format!("{}: {}\n{}{hint}", call.name, mistake.message, usage_line(&call.name)), 1);
        }
    };
    if command.is_empty() && !pause {
        return Outcome::fail(format!("{}{}", error("missing program name"), usage_line(&call.name)), 1);
    }
    let mut launch = if pause { launch_without_service() } else { launch_of(command) };
    let scope = if group { Scope::Group } else { Scope::Leader };
    only(&mut launch, |plan, service| {
        plan.stop = StopPlan { scope, ..StopPlan::default() };
        service.group = Group::Own;
    });
    let swallowed: Vec<Signal> = FAULTS.into_iter().chain(JOB_CONTROL).collect();
    launch.plan.signals = SignalPlan {
        stop: if pause { SignalSet::of(&[Signal::INT, Signal::TERM]) } else { SignalSet::EMPTY },
        forward: all_signals_but(&swallowed),
        ..SignalPlan::default()
    };
    launch.process.subreaper = true;
    launch.process.warn_orphans = false;
    launch.process.voice = Voice::Catatonit;
    launch.process.verbosity =
        if (call.env)("CATATONIT_DEBUG").is_some() { Verbosity::Debug } else { Verbosity::Error };
    Outcome::Start(Box::new(launch))
}

fn launch_without_service() -> Launch {
    Launch {
        plan: Plan::default(),
        services: Vec::new(),
        plugins: Vec::new(),
        commands: Vec::new(),
        status: None,
        process: ProcessLaunch::default(),
    }
}

fn file_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, file)| file)
}

/// It gives itself out as tini, because Docker asks its init for that version.
fn version() -> String {
    format!("tini version 0.1.7_catatonit - hilum {}\n", env!("CARGO_PKG_VERSION"))
}

fn usage_line(name: &str) -> String {
    format!("usage: {} [-ghLPV] [--] <progname> [<arguments>...]\n", file_name(name))
}

fn usage(name: &str) -> String {
    format!(
        "{}\nStarts the program, passes signals on to it, reaps orphans, and ends with its exit code.\n\n\
         options:\n  \
         -g             pass signals to the program's process group\n  \
         -h             show this\n  \
         -L             show the licence\n  \
         -P             start nothing, and end on SIGINT or SIGTERM\n  \
         -V, --version  show the version\n\n\
         CATATONIT_DEBUG in the environment: say what happens on standard error\n",
        usage_line(name)
    )
}
