//! The switches as typed: argh makes their tables and help, nothing here knows what a value means.
//!
//! One struct is one group of switches; a command is a list of groups, so that `run` and `supervise` share `Status` without
//! repeating it. Every switch has an environment variable, its name in capitals after `HILUM_`, which each description names; a test
//! holds them to it.

use argh::{ArgsInfo, FromArgs};

/// hold the place of process 1 for one command, and nothing more: signals are passed on, orphans reaped, its exit code returned
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS] [--] COMMAND [ARG…]",
    example = "ENTRYPOINT [\"/hilum\", \"init\", \"--\", \"/app\"]",
    note = "TERM, INT and QUIT are passed on and begin the end; a second one kills. All other signals are only passed on.",
    note = "A flag beats its variable. Everything from the first word that is no option belongs to the command."
)]
pub(super) struct Init {}

/// start one command once, with its state on a status socket; ends with its exit code
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS] [--] COMMAND [ARG…]",
    example = "hilum run --port 8111 --wait 10s -- /app --verbose",
    example = "hilum run --listen unix:/run/app.status --ttl 20m..40m -- /app",
    note = "TERM, INT and QUIT are passed on and begin the end; a second one kills. All other signals are only passed on.",
    note = "A flag beats its variable. Everything from the first word that is no option belongs to the command."
)]
pub(super) struct Run {
    /// how long it may run, as "30m", or a range such as "20m..40m" to draw from; then it is stopped (HILUM_TTL, default: no end)
    #[argh(option, arg_name = "span")]
    pub(super) ttl: Option<String>,

    /// how long the status stays readable after its end, as "10s" (HILUM_WAIT, default 0s)
    #[argh(option, arg_name = "span")]
    pub(super) wait: Option<String>,
}

/// start one command again whenever it ends, with its state on a status socket
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS] [--] COMMAND [ARG…]",
    example = "hilum supervise --restart on-failure --restart-limit 5/1m -- /app",
    note = "TERM, INT and QUIT are passed on and begin the end; a second one kills. All other signals are only passed on.",
    note = "A flag beats its variable. Everything from the first word that is no option belongs to the command."
)]
pub(super) struct Supervise {
    /// which ends lead to another start: "always" or "on-failure", that is a code other than 0 or a signal (HILUM_RESTART, default
    /// always)
    #[argh(option, arg_name = "policy")]
    pub(super) restart: Option<String>,

    /// a fixed wait before every restart, as "5s", in place of a growing one (HILUM_WAIT)
    #[argh(option, arg_name = "span")]
    pub(super) wait: Option<String>,

    /// wait before the first restart (HILUM_BACKOFF_INITIAL, default 200ms)
    #[argh(option, arg_name = "span")]
    pub(super) backoff_initial: Option<String>,

    /// by how much each further wait is longer, 1 to 1000 (HILUM_BACKOFF_FACTOR, default 2)
    #[argh(option, arg_name = "number")]
    pub(super) backoff_factor: Option<String>,

    /// longest wait (HILUM_BACKOFF_CAP, default 30s)
    #[argh(option, arg_name = "span")]
    pub(super) backoff_cap: Option<String>,

    /// largest part of a wait that chance takes off, 0 to 1 (HILUM_BACKOFF_JITTER, default 0.1)
    #[argh(option, arg_name = "number")]
    pub(super) backoff_jitter: Option<String>,

    /// how long it must run for the wait to begin anew (HILUM_BACKOFF_RESET, default 1m)
    #[argh(option, arg_name = "span")]
    pub(super) backoff_reset: Option<String>,

    /// restarts allowed in a time, as "5/1m"; one more ends hilum with the last exit code (HILUM_RESTART_LIMIT, default: no limit)
    #[argh(option, arg_name = "n/span")]
    pub(super) restart_limit: Option<String>,

    /// how long one run may last, as "30m", or a range such as "20m..40m" to draw from; then it is stopped (HILUM_TTL, default: no
    /// end)
    #[argh(option, arg_name = "span")]
    pub(super) ttl: Option<String>,
}

/// show the state of processes that something else started
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS] NAME\n       hilum watch [OPTIONS] --pid N",
    example = "hilum watch --wait 1s nginx",
    note = "A flag beats its variable."
)]
pub(super) struct Watch {
    /// one process by its id, in place of all of a name (HILUM_PID)
    #[argh(option, arg_name = "n")]
    pub(super) pid: Option<String>,

    /// time between two looks at the process list, as "5s" (HILUM_WAIT, default 5s)
    #[argh(option, arg_name = "span")]
    pub(super) wait: Option<String>,
}

/// run all services of a plan
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS]",
    example = "hilum up -c /etc/hilum.toml",
    note = "Without a plan named: /etc/hilum.toml, then /hilum.toml. A flag beats its variable."
)]
pub(super) struct Up {
    /// the plan's file; the variable may also hold the plan itself (HILUM_CONFIG)
    #[argh(option, short = 'c', arg_name = "file")]
    pub(super) config: Option<String>,
}

/// check a plan as `up` would, and start nothing; all mistakes are reported at once
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "[OPTIONS]",
    example = "hilum check -c hilum.toml --print",
    note = "Without a plan named: /etc/hilum.toml, then /hilum.toml. A flag beats its variable.",
    error_code(0, "the plan can start"),
    error_code(78, "it cannot")
)]
pub(super) struct Check {
    /// the plan's file; the variable may also hold the plan itself (HILUM_CONFIG)
    #[argh(option, short = 'c', arg_name = "file")]
    pub(super) config: Option<String>,

    /// print every effective value and where it came from (HILUM_PRINT)
    #[argh(switch)]
    pub(super) print: bool,
}

/// copy this program to DEST, a file or a folder, for an image without cp
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"), usage = "DEST", example = "hilum install /shared/hilum")]
pub(super) struct Install {}

/// take the command line, variables and exit codes of another tool: tini, docker-init, dumb-init, catatonit or kapo
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    usage = "TOOL [WORD…]",
    example = "hilum as tini -s -- /app",
    note = "A symbolic link to hilum with the tool's name does the same."
)]
pub(super) struct As {}

/// how the command is started, signalled and ended
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Child {
    /// whom signals reach: "group", the command and what it starts, or "leader", the command alone (HILUM_SIGNAL_TO, default group)
    #[argh(option, arg_name = "whom")]
    pub(super) signal_to: Option<String>,

    /// time from the polite stop signal to KILL, as "10s", or "none" (HILUM_GRACE_PERIOD, default none; 10s for supervise and with --ttl)
    #[argh(option, arg_name = "span")]
    pub(super) grace_period: Option<String>,

    /// end only when every descendant has, not only the command (HILUM_WAIT_ALL)
    #[argh(switch)]
    pub(super) wait_all: bool,

    /// pass a signal on as another, as "TERM:QUIT"; 0 drops it; may be repeated (HILUM_REWRITE, separated by commas)
    #[argh(option, arg_name = "sig:sig")]
    pub(super) rewrite: Vec<String>,

    /// time between a stop signal and its passing on, in which /readiness already says no (HILUM_TERM_DELAY, default 0s)
    #[argh(option, arg_name = "span")]
    pub(super) term_delay: Option<String>,

    /// end with 0 where the code would be this one; may be repeated (HILUM_EXIT_CODE_TO_ZERO, separated by commas)
    #[argh(option, arg_name = "code")]
    pub(super) exit_code_to_zero: Vec<String>,

    /// start it in a session of its own (HILUM_SESSION)
    #[argh(switch)]
    pub(super) session: bool,

    /// start it in a process group of its own: the default (HILUM_OWN_GROUP)
    #[argh(switch)]
    pub(super) own_group: bool,

    /// start it in hilum's process group; implies --signal-to leader (HILUM_SAME_GROUP)
    #[argh(switch)]
    pub(super) same_group: bool,
}

/// what becomes of the command's output
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Streams {
    /// its standard output: "inherit", "log" each line, or "null" (HILUM_STDOUT, default inherit)
    #[argh(option, arg_name = "mode")]
    pub(super) stdout: Option<String>,

    /// its standard error: "inherit", "log" each line, or "null" (HILUM_STDERR, default inherit)
    #[argh(option, arg_name = "mode")]
    pub(super) stderr: Option<String>,
}

/// where the state can be read
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Status {
    /// port to listen at, 0 to 65535; 0 takes a free one (HILUM_PORT, default 6666)
    #[argh(option, arg_name = "n")]
    pub(super) port: Option<String>,

    /// address to listen at, IPv4 or IPv6 (HILUM_INTERFACE, default 0.0.0.0)
    #[argh(option, arg_name = "address")]
    pub(super) interface: Option<String>,

    /// listen here instead: "127.0.0.1:8111", "[::]:8111" or "unix:/path"; may be repeated (HILUM_LISTEN, separated by commas)
    #[argh(option, arg_name = "where")]
    pub(super) listen: Vec<String>,

    /// listen also at the next free port above (HILUM_SIDEBIND)
    #[argh(switch)]
    pub(super) sidebind: bool,

    /// take the listening sockets systemd passes instead of making any (HILUM_SOCKET_ACTIVATION)
    #[argh(switch)]
    pub(super) socket_activation: bool,
}

/// what hilum does as process 1, or in its place
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Reaper {
    /// do not become the parent of orphaned descendants when not process 1 (HILUM_NO_SUBREAPER)
    #[argh(switch)]
    pub(super) no_subreaper: bool,

    /// log each orphan reaped (HILUM_LOG_ORPHANS)
    #[argh(switch)]
    pub(super) log_orphans: bool,

    /// on SIGUSR2 crash, by "panic", "fault", "abort" or "overflow", to see the services stopped in order all the same (HILUM_DRILL)
    #[argh(option, arg_name = "kind")]
    pub(super) drill: Option<String>,
}

/// what hilum does with itself
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Process {
    /// signal to get when the own parent ends, as "KILL" (HILUM_PARENT_DEATH_SIGNAL)
    #[argh(option, arg_name = "sig")]
    pub(super) parent_death_signal: Option<String>,

    /// log the reasons too (HILUM_VERBOSE)
    #[argh(switch, short = 'v')]
    pub(super) verbose: bool,

    /// log errors only (HILUM_QUIET)
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
}
