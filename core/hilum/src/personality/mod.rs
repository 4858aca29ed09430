//! The tools hilum stands in for. Called by their names (argv\[0\], or `hilum as NAME …`) it takes their command lines, environment,
//! exit codes and messages, so that a symbolic link is a migration.
//!
//! Each is a pure function from words and variables to an [`Outcome`]; nothing here touches the system. What the shell later has to say
//! in a tool's words ([`spawn_failure`], [`orphan_warning`], …) is here too, as functions from facts to text. Help texts are our own; option
//! letters, exit codes and the lines that scripts read are the tools'.

mod catatonit;
mod dumb_init;
mod getopt;
mod kapo;
mod tini;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use hilum_config::{Launch, Voice};

use crate::cli::Watch;

/// The tools, by the names people know.
pub const TOOLS: [&str; 5] = ["tini", "docker-init", "dumb-init", "catatonit", "kapo"];

/// What a command line comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Start this.
    Start(Box<Launch>),
    /// Watch these.
    Watch(Box<Watch>),
    /// Print this and end.
    Print {
        /// For standard output.
        stdout: String,
        /// For standard error.
        stderr: String,
        /// The exit code.
        code: u8,
    },
}

impl Outcome {
    fn say(stdout: String) -> Outcome {
        Outcome::Print { stdout, stderr: String::new(), code: 0 }
    }

    fn fail(stderr: String, code: u8) -> Outcome {
        Outcome::Print { stdout: String::new(), stderr, code }
    }
}

/// Reads an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What a personality may want to know of the process it speaks for.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Our pid.
    pub pid: i32,
}

/// A call under a tool's name.
struct Call<'a> {
    /// The name as called, path and all; getopt(3) begins its messages with it.
    name: String,
    words: &'a [OsString],
    env: Environment<'a>,
    facts: Facts,
}

/// What `words` mean to the tool called `name`; `None` if hilum stands in for no such tool.
#[must_use]
pub fn read(name: &OsStr, words: &[OsString], env: Environment<'_>, facts: Facts) -> Option<Outcome> {
    let voice = voice_of(name)?;
    let call = Call { name: name.to_string_lossy().into_owned(), words, env, facts };
    match voice {
        Voice::Hilum => None,
        Voice::Tini => Some(tini::read(&call)),
        Voice::DumbInit => Some(dumb_init::read(&call)),
        Voice::Catatonit => Some(catatonit::read(&call)),
        Voice::Kapo => Some(kapo::read(&call)),
    }
}

/// The tool a file name means: its plain name, or one its project publishes (`tini-static-amd64`, `dumb-init_1.2.5_x86_64`,
/// `catatonit.x86_64`).
fn voice_of(name: &OsStr) -> Option<Voice> {
    let file = Path::new(name).file_name()?.to_str()?;
    let tools = [
        ("docker-init", Voice::Tini),
        ("tini", Voice::Tini),
        ("dumb-init", Voice::DumbInit),
        ("catatonit", Voice::Catatonit),
        ("kapo", Voice::Kapo),
    ];
    let is =
        |tool: &str| file.strip_prefix(tool).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']));
    tools.into_iter().find(|(tool, _)| is(tool)).map(|(_, voice)| voice)
}

/// Where a start failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnStep {
    /// No process could be made.
    Fork,
    /// One was made and could not execute the command.
    Exec,
}

/// No such file or directory, on every architecture hilum is built for.
const ENOENT: i32 = 2;
/// Permission denied, likewise.
const EACCES: i32 = 13;

/// What a tool says, behind what its log lines begin with, and the code it ends with, when its command could not be started. `None` for
/// hilum: the engine's code and log line stand.
///
/// `error` is the errno(3), `text` its description.
#[must_use]
pub fn spawn_failure(voice: Voice, step: SpawnStep, program: &OsStr, error: i32, text: &str) -> Option<(String, u8)> {
    let program = program.display();
    match (voice, step) {
        (Voice::Hilum, _) => None,
        (Voice::Tini, SpawnStep::Fork) => Some((format!("fork failed: {text}"), 1)),
        (Voice::Tini, SpawnStep::Exec) => {
            let code = match error {
                ENOENT => 127,
                EACCES => 126,
                _ => 1,
            };
            Some((format!("exec {program} failed: {text}"), code))
        }
        (Voice::DumbInit, SpawnStep::Fork) => Some((String::from("Unable to fork. Exiting."), 1)),
        (Voice::DumbInit, SpawnStep::Exec) => Some((format!("{program}: {text}"), 2)),
        (Voice::Catatonit, SpawnStep::Fork) => Some((format!("failed to fork child: {text}"), 1)),
        (Voice::Catatonit, SpawnStep::Exec) => Some((format!("failed to exec pid1: {text}"), 1)),
        (Voice::Kapo, _) => Some((format!("cannot start {program}: {text}"), 1)),
    }
}

/// Whether a file that is executable but in no known format is handed to `/bin/sh`, as execvp(3) does. hilum itself never implies a
/// shell, nor did kapo.
#[must_use]
pub fn runs_scripts_without_interpreter(voice: Voice) -> bool {
    match voice {
        Voice::Tini | Voice::DumbInit | Voice::Catatonit => true,
        Voice::Hilum | Voice::Kapo => false,
    }
}

/// The warning, behind what a log line begins with, that orphans will not reach this process; `None` for a tool that gives none.
#[must_use]
pub fn orphan_warning(voice: Voice) -> Option<&'static str> {
    match voice {
        // Scripts and people look for the first line.
        Voice::Tini => Some(
            "Tini is not running as PID 1 and isn't registered as a child subreaper.\n\
             Zombie processes will not be re-parented to Tini, so zombie reaping won't work.\n\
             To fix the problem, use the -s option or set the environment variable TINI_SUBREAPER to register Tini as a child \
             subreaper, or run Tini as PID 1.",
        ),
        Voice::Hilum => Some(
            "event=not-pid-1 message=\"orphans will not be reaped here: not process 1 and no child subreaper; leave out \
             --no-subreaper or run hilum as process 1\"",
        ),
        Voice::DumbInit | Voice::Catatonit | Voice::Kapo => None,
    }
}

/// The line about an orphan that was reaped, behind what a log line begins with.
#[must_use]
pub fn orphan_reaped(voice: Voice, pid: i32) -> String {
    match voice {
        Voice::Tini => format!("Reaped zombie process with pid={pid}"),
        Voice::Hilum | Voice::DumbInit | Voice::Catatonit | Voice::Kapo => format!("event=orphan-reaped pid={pid}"),
    }
}

#[cfg(test)]
mod tests;
