//! Why a process could not be started, for people and for decisions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fmt, io};

use super::order::{Failure, Order};
use super::{Program, Spec};

/// Part of a spawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The request itself cannot be put to the kernel.
    Prepare,
    /// clone(2).
    Create,
    /// setpgid(2) or setsid(2).
    Group,
    /// tcsetpgrp(3).
    Terminal,
    /// chdir(2).
    Directory,
    /// dup2(2), close_range(2).
    Descriptors,
    /// setrlimit(2).
    Limits,
    /// setgroups(2), setresgid(2), setresuid(2).
    Identity,
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges,
    /// `PR_SET_PDEATHSIG`.
    DeathSignal,
    /// execve(2).
    Execute,
}

impl Step {
    const ALL: [Step; 11] = [
        Step::Prepare,
        Step::Create,
        Step::Group,
        Step::Terminal,
        Step::Directory,
        Step::Descriptors,
        Step::Limits,
        Step::Identity,
        Step::NoNewPrivileges,
        Step::DeathSignal,
        Step::Execute,
    ];

    pub(super) const fn index(self) -> u8 {
        self as u8
    }

    pub(super) fn from_index(index: u8) -> Step {
        Step::ALL.get(usize::from(index)).copied().unwrap_or(Step::Execute)
    }
}

/// What a decision may hang on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// There is no such program: a shell's 127.
    NotFound,
    /// It, or what was asked for with it, cannot be had: a shell's 126.
    NotExecutable,
    /// Processes, memory or descriptors are used up; later it may work.
    Resources,
}

/// A process could not be started.
#[derive(Debug)]
pub struct SpawnError {
    /// What failed.
    pub step: Step,
    /// About what: a path, a directory, a descriptor, a limit, an identity.
    pub object: String,
    /// How.
    pub error: io::Error,
    /// The way out, where there is one to tell.
    hint: &'static str,
}

impl SpawnError {
    /// An error on our side of the clone.
    pub(super) fn at(step: Step, spec: &Spec<'_>, error: io::Error) -> SpawnError {
        SpawnError::with_hint(step, command(spec), error, false)
    }

    /// An error on the child's side.
    pub(super) fn of(failure: Failure, spec: &Spec<'_>, order: &Order) -> SpawnError {
        let path = order.candidate(failure.index).map(|path| Path::new(OsStr::from_bytes(path.to_bytes())));
        let missing = failure.error == rustix::io::Errno::NOENT;
        let searched = matches!(spec.program, Program::Search(name) if !name.as_bytes().contains(&b'/'));
        let object = match (failure.step, path) {
            (Step::Execute, Some(path)) if !(missing && searched) => path.display().to_string(),
            (Step::Directory, _) => spec.directory.unwrap_or(Path::new("")).display().to_string(),
            (Step::Descriptors, _) => match spec.descriptors.get(failure.index) {
                Some((_, number)) => format!("descriptor {number} to {}", command(spec)),
                None => format!("descriptors to {}", command(spec)),
            },
            (Step::Limits, _) => match spec.limits.get(failure.index) {
                Some((resource, soft, hard)) => format!("limit {resource:?} to {soft}:{hard} for {}", command(spec)),
                None => format!("limit Descriptors back for {}", command(spec)),
            },
            (Step::Identity, _) => match (&spec.user, failure.index) {
                (Some(user), 0) => format!("groups {:?} for {}", user.groups, command(spec)),
                (Some(user), 1) => format!("group {} for {}", user.gid, command(spec)),
                (Some(user), _) => format!("user {} for {}", user.uid, command(spec)),
                (None, _) => command(spec),
            },
            _ => command(spec),
        };
        let present = missing && path.is_some_and(|path| path.is_absolute() && path.exists());
        SpawnError::with_hint(failure.step, object, io::Error::from(failure.error), present)
    }

    fn with_hint(step: Step, object: String, error: io::Error, file_present: bool) -> SpawnError {
        let hint = match (step, error.raw_os_error()) {
            (Step::Execute, Some(libc::ENOENT)) if file_present => {
                "; the file is there, but not the interpreter it names (a #! line, or the loader of a dynamically linked program): copy \
                 that into the image too, or link the program statically"
            }
            (Step::Execute, Some(libc::ENOEXEC)) => {
                "; this is no program for this machine, or a script without a #! line"
            }
            (Step::Execute, Some(libc::EACCES)) => {
                "; it needs execute permission for this user on a file system that is not mounted noexec"
            }
            (Step::Execute, Some(libc::E2BIG)) => "; arguments and environment together are too long",
            (Step::Create | Step::Execute, Some(libc::EAGAIN)) => {
                "; the limit of processes is reached: raise the cgroup's pids.max or RLIMIT_NPROC"
            }
            (Step::Identity, Some(libc::EPERM)) => "; that needs CAP_SETUID and CAP_SETGID",
            (Step::Limits, Some(libc::EPERM)) => "; raising a hard limit needs CAP_SYS_RESOURCE",
            _ => "",
        };
        SpawnError { step, object, error, hint }
    }

    /// What a decision may hang on.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.step, self.error.raw_os_error()) {
            (_, Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)) => Kind::Resources,
            (Step::Execute, Some(libc::ENOENT | libc::ENOTDIR)) => Kind::NotFound,
            _ => Kind::NotExecutable,
        }
    }
}

fn command(spec: &Spec<'_>) -> String {
    match spec.program {
        Program::Search(program) => Path::new(program).display().to_string(),
        Program::Descriptor(_) => {
            spec.argv.first().map_or_else(String::new, |name| Path::new(name).display().to_string())
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.step {
            Step::Prepare => "prepare",
            Step::Create => "create a process for",
            Step::Group => "create a process group for",
            Step::Terminal => "hand the terminal to",
            Step::Directory => "enter directory",
            Step::Descriptors => "pass",
            Step::Limits | Step::Identity => "set",
            Step::NoNewPrivileges => "take away privileges from",
            Step::DeathSignal => "set the parent-death signal of",
            Step::Execute => "execute",
        };
        let object = if self.object.is_empty() { "\"\"" } else { &self.object };
        write!(f, "cannot {verb} {object}: {}{}", self.error, self.hint)
    }
}

impl std::error::Error for SpawnError {}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn steps_travel_as_numbers() {
        for step in Step::ALL {
            assert_eq!(Step::from_index(step.index()), step);
        }
    }
}
