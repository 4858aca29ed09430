//! Everything hilum needs to start, whatever said it: a TOML plan, hilum's own command line, or that of a tool it stands in for.
//! The engine's half is a [`Plan`]; the rest is what the shell carries out.

use std::ffi::OsString;
use std::path::PathBuf;

use hilum_engine::{Plan, Span};

/// What to start. Indices agree: `services[i]` belongs to `plan.services[i]`, `services[i].probes[j]` to its probe `j`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// What the engine decides by.
    pub plan: Plan,
    /// What each service's spawn order means.
    pub services: Vec<ServiceLaunch>,
    /// Plugins the probes call.
    pub plugins: Vec<PluginLaunch>,
    /// Commands the plugins may ask for.
    pub commands: Vec<CommandLaunch>,
    /// The status sockets, if any.
    pub status: Option<StatusLaunch>,
    /// What PID 1 does with itself.
    pub process: ProcessLaunch,
}

/// What a service's spawn order means.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceLaunch {
    /// Command and arguments as typed; never empty. A command without a slash is looked up in the child's `PATH`.
    pub command: Vec<OsString>,
    /// Variables set for the child, over PID 1's own environment.
    pub env: Vec<(OsString, OsString)>,
    /// Variables taken from the child's environment.
    pub env_remove: Vec<OsString>,
    /// Where it starts; PID 1's own directory if `None`.
    pub directory: Option<PathBuf>,
    /// Whether its standard input is empty instead of PID 1's own.
    pub empty_input: bool,
    /// What its standard output and error are.
    pub output: Output,
    /// How it is separated from PID 1.
    pub group: Group,
    /// Signal the kernel sends it when PID 1 dies; 0 for none (`PR_SET_PDEATHSIG`).
    pub parent_death_signal: u8,
    /// What the plugin of each probe is told.
    pub probes: Vec<ProbeLaunch>,
    /// kapo's `Wait` as shown on the status socket.
    pub wait: Span,
    /// kapo's `TTL` as shown on the status socket.
    pub ttl: Span,
}

/// A child's standard output and error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Output {
    /// Standard streams are PID 1's own.
    #[default]
    Inherit,
    /// Lines are read from the child and passed on, each whole stream to PID 1's own of the same name; `log` turns lines
    /// into log records on standard error. `null` streams go to `/dev/null`, or a pipe nobody fills where that is missing.
    Relay {
        /// What happens to standard output.
        stdout: Relay,
        /// What happens to standard error.
        stderr: Relay,
    },
}

/// What happens to one relayed stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay {
    /// The same stream of PID 1.
    Inherit,
    /// Each line a log record.
    Log,
    /// Read and thrown away.
    Null,
}

/// How a child is separated from PID 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Group {
    /// A process group of its own. Where standard input is PID 1's controlling terminal, it is handed over: with a new session if PID 1
    /// leads the terminal's session and is process 1 (so that Ctrl-Z cannot freeze the container), else as foreground group.
    #[default]
    Own,
    /// A session of its own; takes the controlling terminal if PID 1 could give it up (dumb-init).
    Session,
    /// PID 1's own group.
    Shared,
}

/// What a probe's plugin is told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProbeLaunch {
    /// Index in [`Launch::plugins`].
    pub plugin: u16,
    /// JSON of the `with` table.
    pub settings: String,
    /// Where the plan says it, or else the probe.
    pub place: Place,
}

/// A place in the plan's text, for messages. Launches are compared without: what is to be started does not depend on it. **Units:** both from
/// 1; columns are bytes.
#[derive(Clone, Copy, Eq, Debug, Default)]
pub struct Place {
    /// Its line.
    pub line: usize,
    /// Its place in the line.
    pub column: usize,
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

/// One plugin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PluginLaunch {
    /// Its name in the plan.
    pub name: String,
    /// The precompiled component.
    pub path: PathBuf,
    /// Where in hilum's own executable it is, if it is bundled and the plan names no other place.
    pub bundled: Option<Bundled>,
    /// Pinned digest, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Cap of each instance's linear memory. **Units:** bytes.
    pub memory: u64,
    /// What it may do.
    pub allow: Allow,
    /// Whom it shares a worker process with.
    pub isolation: Isolation,
    /// Whether an instance that answered well serves further calls.
    pub reuse_instances: bool,
    /// Where the plan begins to speak of it.
    pub place: Place,
}

/// Whom a plugin shares a worker process with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// With the others, until it uses so much of a processor that they might notice.
    #[default]
    Auto,
    /// With the others.
    Shared,
    /// With none.
    Own,
}

/// A plugin in hilum's own executable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bundled {
    /// Where it begins. **Units:** bytes.
    pub offset: u64,
    /// Its length. **Units:** bytes.
    pub len: u64,
    /// Its digest, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// What a plugin may do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allow {
    /// Where it may connect to: `host:port`, `udp:host:port`, `unix:/path`.
    pub connect: Vec<String>,
    /// Names it may look up.
    pub resolve: Vec<String>,
    /// Absolute paths it may use, and whether to write.
    pub files: Vec<(PathBuf, bool)>,
    /// Variables it may read.
    pub env: Vec<String>,
    /// Commands it may ask for.
    pub exec: Vec<String>,
    /// Whether it may see processes.
    pub processes: bool,
}

/// A command that plugins may ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLaunch {
    /// Its name in the plan.
    pub name: String,
    /// Command and arguments; never empty.
    pub run: Vec<OsString>,
    /// Variables set for it, over PID 1's own environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts; PID 1's own directory if `None`.
    pub directory: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Span,
}

/// The status sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusLaunch {
    /// Addresses to bind, each bound or the start fails.
    pub listen: Vec<Listen>,
    /// Whether to take the listening sockets systemd passed (`LISTEN_FDS`) instead; they must be there.
    pub socket_activation: bool,
    /// A further listener on this address at the next free port above.
    pub sidebind: Option<std::net::SocketAddr>,
    /// Which command this is, for kapo's `Mode`.
    pub mode: StatusMode,
}

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// TCP.
    Tcp(std::net::SocketAddr),
    /// A unix socket at a path.
    Unix(PathBuf),
}

/// kapo's `Mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusMode {
    /// `run`.
    Run,
    /// `supervise`.
    Supervise,
    /// `watch`.
    Watch,
    /// `up`.
    Up,
}

/// What PID 1 does with itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessLaunch {
    /// Whether to become a child subreaper when not PID 1.
    pub subreaper: bool,
    /// Whether to warn when orphans cannot reach this process (not PID 1 and no subreaper).
    pub warn_orphans: bool,
    /// Whether to log each orphan reaped.
    pub log_orphans: bool,
    /// Signal the kernel sends PID 1 when its own parent dies; 0 for none.
    pub parent_death_signal: u8,
    /// Time `last-resort` gives the services between TERM and KILL.
    pub last_resort_grace: Span,
    /// Name that log lines and errors begin with: `hilum`, or the tool it stands in for.
    pub voice: Voice,
    /// Least important level that is logged.
    pub verbosity: Verbosity,
    /// Whether SIGHUP means to read plugin files anew.
    pub reloads: bool,
    /// Crash on purpose when SIGUSR2 arrives, to see the crash path work where it will be needed.
    pub drill: Option<Drill>,
}

impl Default for ProcessLaunch {
    fn default() -> ProcessLaunch {
        ProcessLaunch {
            subreaper: true,
            warn_orphans: true,
            log_orphans: false,
            parent_death_signal: 0,
            last_resort_grace: Span::from_secs(10),
            voice: Voice::Hilum,
            verbosity: Verbosity::Info,
            reloads: false,
            drill: None,
        }
    }
}

/// In whose words messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Voice {
    /// logfmt and hilum's own errors.
    #[default]
    Hilum,
    /// `[WARN  tini (7)] …`
    Tini,
    /// `[dumb-init] …`
    DumbInit,
    /// catatonit's.
    Catatonit,
    /// kapo's logrus lines.
    Kapo,
}

/// Least important level that is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Verbosity {
    /// Nothing.
    Silent,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And why.
    Debug,
}

/// Ways to crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drill {
    /// A Rust panic.
    Panic,
    /// A write through a null pointer.
    Fault,
    /// `abort(3)`.
    Abort,
    /// Endless recursion.
    Overflow,
}
