//! Commands of the plan that PID 1 runs because a plugin asked for them, by name. The plugin's worker reads what they write and is told how
//! they ended; it never says what is run.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use hilum_config::{CommandLaunch, signal_name};
use hilum_engine::{Signal, Span, Tick};
use hilum_sys::child::{self, Child, Environment, Group, Program, Spec};
use hilum_sys::process::{self, Target};
use hilum_sys::{crash, pipe};
use hilum_wire::Ending;

/// Commands that run at once for one plugin. The plugin's own worker counts too; this is for one that does not.
const MOST_OF_A_PLUGIN: usize = 4;

/// Commands that run at once for all of them.
const MOST: usize = 32;

/// Who asked: a worker's place, and its number for the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    /// The worker's place.
    pub(crate) slot: usize,
    /// Its number for the run.
    pub(crate) id: u64,
}

/// A command that runs.
#[derive(Debug)]
struct Errand {
    asker: Asker,
    plugin: u16,
    child: Child,
    /// When it is killed.
    until: Tick,
    /// It was killed because its time was up.
    timed_out: bool,
}

/// All that run.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    running: HashMap<i32, Errand>,
}

/// What a run ended with, and for whom.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) asker: Asker,
    pub(crate) ending: Ending,
}

impl Errands {
    /// Starts a command. Returns the reading ends of its standard output and error.
    ///
    /// **Errors:** why not, for people.
    pub(crate) fn start(
        &mut self,
        asker: Asker,
        plugin: u16,
        command: &CommandLaunch,
        hidden: &[&str],
        now: Tick,
    ) -> Result<[OwnedFd; 2], String> {
        let of_plugin = self.running.values().filter(|errand| errand.plugin == plugin).count();
        if of_plugin >= MOST_OF_A_PLUGIN || self.running.len() >= MOST {
            return Err(format!(
                "too many commands run already ({of_plugin} of this plugin, {} in all); give it a longer period",
                self.running.len()
            ));
        }
        let cannot = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
        let mut environment = Environment::inherit();
        for name in hidden {
            environment.remove(name);
        }
        for (name, value) in &command.env {
            environment.set(name, value);
        }
        let program = command.run.first().ok_or("bug: the command is empty")?;
        // End of file at once, without a /dev/null that may not be there.
        let (input, _) = pipe::pair().map_err(|error| cannot("open a pipe", &error))?;
        let (stdout, stdout_end) = pipe::pair().map_err(|error| cannot("open a pipe", &error))?;
        let (stderr, stderr_end) = pipe::pair().map_err(|error| cannot("open a pipe", &error))?;
        let descriptors = [(input.as_fd(), 0), (stdout_end.as_fd(), 1), (stderr_end.as_fd(), 2)];
        let spec = Spec {
            directory: command.directory.as_deref(),
            descriptors: &descriptors,
            group: Group::Own { foreground: false },
            ..Spec::new(Program::Search(program), &command.run, environment)
        };
        let child = child::spawn(&spec).map_err(|error| error.to_string())?;
        crash::register_group(child.pid);
        let until = now.after(command.timeout);
        self.running.insert(child.pid, Errand { asker, plugin, child, until, timed_out: false });
        Ok([stdout, stderr])
    }

    /// Whether a pid is a command's.
    pub(crate) fn is_errand(&self, pid: i32) -> bool {
        self.running.contains_key(&pid)
    }

    /// A command was reaped. What it left of its group is killed.
    pub(crate) fn on_exited(&mut self, pid: i32, code: Result<u8, Signal>) -> Option<Ended> {
        let errand = self.running.remove(&pid)?;
        kill_group(pid);
        crash::unregister_group(pid);
        let ending = match code {
            _ if errand.timed_out => Ending::TimedOut,
            Ok(code) => Ending::Exited(code),
            Err(signal) => Ending::Signaled(signal.0),
        };
        Some(Ended { asker: errand.asker, ending })
    }

    /// Kills the run a worker does not want any more.
    pub(crate) fn stop(&mut self, asker: Asker) {
        for errand in self.running.values().filter(|errand| errand.asker == asker) {
            errand.kill();
        }
    }

    /// Kills the runs of a worker that is gone.
    pub(crate) fn stop_all_of(&mut self, slot: usize) {
        for errand in self.running.values().filter(|errand| errand.asker.slot == slot) {
            errand.kill();
        }
    }

    /// Kills all.
    pub(crate) fn stop_all(&mut self) {
        self.running.values().for_each(Errand::kill);
    }

    /// When the next one is killed.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.running.values().filter(|errand| !errand.timed_out).map(|errand| errand.until).min()
    }

    /// Kills those whose time is up.
    pub(crate) fn on_due(&mut self, now: Tick) {
        for errand in self.running.values_mut().filter(|errand| !errand.timed_out && errand.until <= now) {
            errand.timed_out = true;
            errand.kill();
        }
    }

    /// Moves all deadlines by `gap`.
    pub(crate) fn shift(&mut self, gap: Span) {
        for errand in self.running.values_mut() {
            errand.until = errand.until.after(gap);
        }
    }
}

impl Errand {
    fn kill(&self) {
        // The group first: the leader's end is seen, and then the group's number is nobody's any more.
        kill_group(self.child.pid);
        let _ = self.child.signal(Signal::KILL.0);
    }
}

/// The group may be gone; then there is nothing to do.
fn kill_group(group: i32) {
    let _ = process::signal(Target::Group(group), Signal::KILL.0);
}

/// How a run ended, for the log.
pub(crate) fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exit {code}"),
        Ending::Signaled(signal) => signal_name(Signal(*signal)),
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Refused(why) => why.clone(),
    }
}
