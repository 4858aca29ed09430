//! hilum's own command line: words and variables in, a [`Command`] out.
//!
//! Pure: it reads no file, opens no socket and looks nothing up, so that `hilum check` and a test see exactly what a start would. What
//! was typed ([`options`]) is kept apart from what it means (here). It does not read plans, that is `hilum_config`'s, nor other tools'
//! command lines, that is [`personality`](crate::personality)'s.

mod line;
mod options;

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hilum_config::{
    Drill, Group as ChildGroup, Launch, Listen, Output, ProcessLaunch, Relay, ServiceLaunch, StatusLaunch, StatusMode,
    Verbosity, parse_duration, parse_signal,
};
use hilum_engine::{
    BackoffPlan, EndingPlan, LimitAction, Plan, RestartLimit, RestartPlan, RestartPolicy, Scope, ServicePlan, Signal,
    SignalPlan, SignalSet, Span, StopPlan, TtlPlan,
};

use crate::personality::{self, Environment, Facts, Outcome};
use line::{Group, Line, Split};

/// The exit code of a command line that cannot be understood.
pub(crate) const USAGE: u8 = 64;

/// The port of `run`, `supervise` and `watch` unless they are told another; kapo's.
pub(crate) const DEFAULT_PORT: u16 = 6666;

/// From the polite signal to KILL where something depends on the end coming: a restart, a time to live. Container engines wait as long.
pub(crate) const DEFAULT_GRACE: Span = Span::from_secs(10);

/// Between two looks at the process list, and between kapo's restarts.
pub(crate) const DEFAULT_WAIT: Span = Span::from_secs(5);

/// The signals of job control, sent by terminals.
pub(crate) const JOB_CONTROL: [Signal; 3] = [Signal(20), Signal(21), Signal(22)];

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `init`, `run`, `supervise`, or a tool that starts one command.
    Start(Box<Launch>),
    /// `watch`.
    Watch(Box<Watch>),
    /// `up`.
    Up(UpOptions),
    /// `check`.
    Check(CheckOptions),
    /// `install`: copy this program there.
    Install(PathBuf),
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

impl From<Outcome> for Command {
    fn from(outcome: Outcome) -> Command {
        match outcome {
            Outcome::Start(launch) => Command::Start(launch),
            Outcome::Watch(watch) => Command::Watch(watch),
            Outcome::Print { stdout, stderr, code } => Command::Print { stdout, stderr, code },
        }
    }
}

/// What `watch` shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// The name to look for; only shown if there is a `pid`.
    pub name: OsString,
    /// The one process to look at. At least 1.
    pub pid: Option<i32>,
    /// From one look to the next. Never zero.
    pub period: Span,
    /// Where to show it.
    pub status: StatusLaunch,
    /// What hilum does with itself.
    pub process: ProcessLaunch,
}

/// Where a plan is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanSource {
    /// In this file.
    File(PathBuf),
    /// Here: the variable held TOML.
    Inline(String),
    /// In the first of [`PLAN_FILES`] that exists.
    Search,
}

/// Where a plan is looked for, in this order, when nothing names one.
pub const PLAN_FILES: [&str; 2] = ["/etc/hilum.toml", "/hilum.toml"];

/// `hilum up`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpOptions {
    /// The plan.
    pub plan: PlanSource,
    /// Whether nothing was typed at all: where no plan is found, [`overview`] is what to show.
    pub implied: bool,
    /// What the command line says about hilum itself, over what the plan says.
    pub process: ProcessOptions,
}

/// `hilum check`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// The plan.
    pub plan: PlanSource,
    /// Whether to print every effective value.
    pub print: bool,
}

/// What the command line says about hilum itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessOptions {
    no_subreaper: bool,
    parent_death_signal: Option<Signal>,
    log_orphans: bool,
    verbosity: Option<Verbosity>,
    drill: Option<Drill>,
}

impl ProcessOptions {
    /// Changes `process` where the command line said something.
    pub fn apply(self, process: &mut ProcessLaunch) {
        process.subreaper &= !self.no_subreaper;
        process.log_orphans |= self.log_orphans;
        if let Some(signal) = self.parent_death_signal {
            process.parent_death_signal = signal.0;
        }
        if let Some(verbosity) = self.verbosity {
            process.verbosity = verbosity;
        }
        process.drill = self.drill.or(process.drill);
    }
}

/// What `argv`, its first word included, asks for. The first word may be the name of a tool hilum stands in for.
#[must_use]
pub fn read(argv: &[OsString], env: Environment<'_>, facts: Facts) -> Command {
    let (name, words) =
        argv.split_first().map_or((OsStr::new("hilum"), argv), |(name, words)| (name.as_os_str(), words));
    match personality::read(name, words, env, facts) {
        Some(outcome) => Command::from(outcome),
        None => read_own(words, env, facts),
    }
}

/// What hilum can do, for people.
#[must_use]
pub fn overview() -> String {
    let mut text = String::from(
        "Usage: hilum COMMAND [OPTIONS] …\n\nPID 1 and supervisor for minimal container images.\n\nCommands:\n",
    );
    for (name, summary) in [
        ("init", "PID 1 for one command, and nothing more"),
        ("run", "one command, with its state on a status socket"),
        ("supervise", "the same, started again whenever it ends"),
        ("watch", "the state of processes that something else started"),
        ("up", "all services of a plan; what hilum does when it is told nothing and finds a plan"),
        ("check", "everything up does before it starts the first service"),
        ("install", "copy this program somewhere, for images without cp"),
        ("as", "take the command line of tini, docker-init, dumb-init, catatonit or kapo"),
    ] {
        text.push_str(&format!("  {name:<11}{summary}\n"));
    }
    text.push_str("\nOptions:\n  -h, --help     show this, or the options of a command: hilum run --help\n  --version      show the version\n");
    text.push_str(
        "\nExit codes: the command's own; 128+n if signal n ended it; 64 wrong command line; 70 hilum crashed and\n",
    );
    text.push_str("stopped the services in order; 78 bad plan; 126 cannot execute; 127 not found.\n");
    text
}

fn read_own(words: &[OsString], env: Environment<'_>, facts: Facts) -> Command {
    let Some((name, words)) = words.split_first() else {
        return finish("up", read_up(words, env, true));
    };
    match name.to_string_lossy().as_ref() {
        "--help" | "-h" | "help" => print(overview()),
        "--version" | "-V" | "version" => print(format!("hilum {}\n", env!("CARGO_PKG_VERSION"))),
        "init" => finish("init", read_init(words, env)),
        "run" => finish("run", read_run(words, env)),
        "supervise" => finish("supervise", read_supervise(words, env)),
        "watch" => finish("watch", read_watch(words, env)),
        "up" => finish("up", read_up(words, env, false)),
        "check" => finish("check", read_check(words, env)),
        "install" => finish("install", read_install(words, env)),
        "as" => finish("as", read_as(words, env, facts)),
        "--" => refuse("", "no command is named before \"--\"; for one command as PID 1 write hilum init -- COMMAND"),
        other if other.starts_with('-') => {
            refuse("", &format!("the first word must be a command, but it is \"{other}\"; the options come after it"))
        }
        other => refuse(
            "",
            &format!("no command is called \"{other}\"; for a program of that name write hilum init -- {other}"),
        ),
    }
}

/// Why a command line comes to nothing.
enum Stop {
    /// It asked for the help text.
    Help(String),
    /// It is wrong.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Wrong(message)
    }
}

type Reading = Result<Command, Stop>;

fn finish(command: &str, reading: Reading) -> Command {
    match reading {
        Ok(command) => command,
        Err(Stop::Help(text)) => print(text),
        Err(Stop::Wrong(message)) => refuse(command, &message),
    }
}

fn print(stdout: String) -> Command {
    Command::Print { stdout, stderr: String::new(), code: 0 }
}

fn refuse(command: &str, message: &str) -> Command {
    let space = if command.is_empty() { "" } else { " " };
    let stderr = format!("hilum: cannot read the command line: {message}\nhilum: see hilum{space}{command} --help\n");
    Command::Print { stdout: String::new(), stderr, code: USAGE }
}

fn read_init(words: &[OsString], env: Environment<'_>) -> Reading {
    let groups = [Group::of::<options::Init>(""), child_group(), reaper_group(), process_group()];
    let line = split("init", &groups, words, env)?;
    let launch = read_child(&line, &ChildDefaults { grace: None, verbosity: Verbosity::Warn })?;
    Ok(Command::Start(Box::new(launch)))
}

fn read_run(words: &[OsString], env: Environment<'_>) -> Reading {
    let groups = [
        Group::of::<options::Run>(""),
        status_group(),
        child_group(),
        streams_group(),
        reaper_group(),
        process_group(),
    ];
    let line = split("run", &groups, words, env)?;
    let typed = line.take::<options::Run>()?;
    let ttl = value(&line, "--ttl", typed.ttl.as_deref(), parse_ttl)?;
    let grace = ttl.map(|_| DEFAULT_GRACE);
    let mut launch = read_child(&line, &ChildDefaults { grace, verbosity: Verbosity::Info })?;
    launch.plan.ending.linger = value(&line, "--wait", typed.wait.as_deref(), parse_span)?.unwrap_or(Span::ZERO);
    let wait = launch.plan.ending.linger;
    only(&mut launch, |plan, service| {
        plan.ttl = ttl;
        plan.stop.sweep = ttl.is_some();
        service.wait = wait;
    });
    finish_launch(&line, launch, StatusMode::Run)
}

fn read_supervise(words: &[OsString], env: Environment<'_>) -> Reading {
    let groups = [
        Group::of::<options::Supervise>(""),
        status_group(),
        child_group(),
        streams_group(),
        reaper_group(),
        process_group(),
    ];
    let line = split("supervise", &groups, words, env)?;
    let typed = line.take::<options::Supervise>()?;
    let defaults = ChildDefaults { grace: Some(DEFAULT_GRACE), verbosity: Verbosity::Info };
    let mut launch = read_child(&line, &defaults)?;
    let restart = read_restart(&line, &typed)?;
    let ttl = value(&line, "--ttl", typed.ttl.as_deref(), parse_ttl)?;
    only(&mut launch, |plan, service| {
        service.wait = restart.backoff.initial;
        plan.restart = restart;
        plan.ttl = ttl;
        plan.stop.sweep = true;
    });
    finish_launch(&line, launch, StatusMode::Supervise)
}

fn read_restart(line: &Line, typed: &options::Supervise) -> Result<RestartPlan, String> {
    let policies = [("always", RestartPolicy::Always), ("on-failure", RestartPolicy::OnFailure)];
    let policy = value(line, "--restart", typed.restart.as_deref(), |text| choose(text, &policies))?;
    let fixed = value(line, "--wait", typed.wait.as_deref(), parse_span)?;
    let initial = value(line, "--backoff-initial", typed.backoff_initial.as_deref(), parse_span)?;
    let factor = value(line, "--backoff-factor", typed.backoff_factor.as_deref(), |text| {
        parse_thousandths(text, 1000, 1_000_000)
    })?;
    let cap = value(line, "--backoff-cap", typed.backoff_cap.as_deref(), parse_span)?;
    let jitter =
        value(line, "--backoff-jitter", typed.backoff_jitter.as_deref(), |text| parse_thousandths(text, 0, 1000))?;
    let reset_after = value(line, "--backoff-reset", typed.backoff_reset.as_deref(), parse_span)?;
    let growing = [
        ("--backoff-initial", initial.is_some()),
        ("--backoff-factor", factor.is_some()),
        ("--backoff-cap", cap.is_some()),
        ("--backoff-jitter", jitter.is_some()),
        ("--backoff-reset", reset_after.is_some()),
    ];
    let backoff = match (fixed, growing.iter().find(|(_, given)| *given)) {
        (Some(_), Some((other, _))) => {
            return Err(format!(
                "{} fixes the wait and {} shapes a growing one; give one of them",
                line.place("--wait"),
                line.place(other)
            ));
        }
        (Some(wait), None) => BackoffPlan { initial: wait, cap: wait, ..BackoffPlan::NONE },
        (None, _) => {
            let initial = initial.unwrap_or(Span::from_millis(200));
            let cap = cap.unwrap_or(Span::from_secs(30).max(initial));
            if cap < initial {
                return Err(format!(
                    "{} is shorter than the first wait, {}; make it at least as long",
                    line.place("--backoff-cap"),
                    hilum_config::format_duration(initial)
                ));
            }
            BackoffPlan {
                initial,
                factor: factor.unwrap_or(2000),
                cap,
                jitter: jitter.unwrap_or(100),
                reset_after: reset_after.unwrap_or(Span::from_secs(60)),
            }
        }
    };
    let limit = value(line, "--restart-limit", typed.restart_limit.as_deref(), parse_limit)?;
    Ok(RestartPlan { policy: policy.unwrap_or(RestartPolicy::Always), backoff, limit })
}

fn read_watch(words: &[OsString], env: Environment<'_>) -> Reading {
    let groups = [Group::of::<options::Watch>(""), status_group(), process_group()];
    let line = split("watch", &groups, words, env)?;
    let typed = line.take::<options::Watch>()?;
    let pid = value(&line, "--pid", typed.pid.as_deref(), parse_pid)?;
    let name = match (line.rest.as_slice(), pid) {
        ([name], None) if !name.is_empty() => name.clone(),
        ([], Some(_)) => OsString::new(),
        ([], None) => return Err(Stop::Wrong(String::from("nothing to watch; name a process, or give --pid"))),
        ([_], None) => {
            return Err(Stop::Wrong(String::from("the name to watch is empty; name a process, or give --pid")));
        }
        ([name, ..], Some(_)) => {
            let text =
                format!("both {} and the name \"{}\" are given; give one of them", line.place("--pid"), name.display());
            return Err(Stop::Wrong(text));
        }
        ([_, extra, ..], None) => {
            return Err(Stop::Wrong(format!(
                "\"{}\" is one word too many; options come before the name",
                extra.display()
            )));
        }
    };
    let period = value(&line, "--wait", typed.wait.as_deref(), parse_positive_span)?.unwrap_or(DEFAULT_WAIT);
    let status = read_status(&line, StatusMode::Watch)?;
    let mut process = ProcessLaunch { subreaper: false, warn_orphans: false, ..ProcessLaunch::default() };
    read_process(&line)?.apply(&mut process);
    Ok(Command::Watch(Box::new(Watch { name, pid, period, status, process })))
}

fn read_up(words: &[OsString], env: Environment<'_>, implied: bool) -> Reading {
    let groups = [Group::of::<options::Up>(""), reaper_group(), process_group()];
    let line = split("up", &groups, words, env)?;
    let typed = line.take::<options::Up>()?;
    refuse_rest(&line, 0)?;
    let plan = read_source(&line, typed.config);
    Ok(Command::Up(UpOptions { plan, implied, process: read_process(&line)? }))
}

fn read_check(words: &[OsString], env: Environment<'_>) -> Reading {
    let line = split("check", &[Group::of::<options::Check>("")], words, env)?;
    let typed = line.take::<options::Check>()?;
    refuse_rest(&line, 0)?;
    Ok(Command::Check(CheckOptions { plan: read_source(&line, typed.config), print: typed.print }))
}

/// The flag names a file; the variable a file or, where it holds a line break or an equals sign, as every plan does, the plan itself.
fn read_source(line: &Line, config: Option<String>) -> PlanSource {
    match config {
        Some(text) if line.place("--config") != "--config" && text.contains(['\n', '=']) => PlanSource::Inline(text),
        Some(text) => PlanSource::File(PathBuf::from(text)),
        None => PlanSource::Search,
    }
}

fn read_install(words: &[OsString], env: Environment<'_>) -> Reading {
    let line = split("install", &[Group::of::<options::Install>("")], words, env)?;
    refuse_rest(&line, 1)?;
    match line.rest.first() {
        Some(place) if !place.is_empty() => Ok(Command::Install(PathBuf::from(place))),
        _ => Err(Stop::Wrong(String::from("no destination; name a file or a folder"))),
    }
}

fn read_as(words: &[OsString], env: Environment<'_>, facts: Facts) -> Reading {
    let line = split("as", &[Group::of::<options::As>("")], words, env)?;
    let Some((tool, words)) = line.rest.split_first() else {
        return Err(Stop::Wrong(format!("no tool is named; name one of {}", personality::TOOLS.join(", "))));
    };
    match personality::read(tool, words, env, facts) {
        Some(outcome) => Ok(Command::from(outcome)),
        None => Err(Stop::Wrong(format!(
            "hilum does not stand in for \"{}\", only for {}",
            tool.display(),
            personality::TOOLS.join(", ")
        ))),
    }
}

fn refuse_rest(line: &Line, most: usize) -> Result<(), String> {
    line.rest.get(most).map_or(Ok(()), |word| Err(format!("\"{}\" is one word too many", word.display())))
}

fn child_group() -> Group {
    Group::of::<options::Child>("Command")
}

fn streams_group() -> Group {
    Group::of::<options::Streams>("Output")
}

fn status_group() -> Group {
    Group::of::<options::Status>("Status")
}

fn reaper_group() -> Group {
    Group::of::<options::Reaper>("Hilum as process 1")
}

fn process_group() -> Group {
    Group::of::<options::Process>("Hilum itself")
}

fn split(command: &str, groups: &[Group], words: &[OsString], env: Environment<'_>) -> Result<Line, Stop> {
    match Line::split(groups, words, env)? {
        Split::Help => Err(Stop::Help(line::describe(command, groups))),
        Split::Line(line) => Ok(line),
    }
}

/// Reads the value of a switch, if it has one; an error names the switch, or the variable the value came from.
fn value<T, E: ToString>(
    line: &Line,
    long: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    text.map(|text| parse(text).map_err(|error| complain(line, long, text, &error.to_string()))).transpose()
}

fn complain(line: &Line, long: &str, text: &str, error: &str) -> String {
    let place = line.place(long);
    // Kubernetes sets NAME_PORT=tcp://… for each Service, and one may be called hilum.
    let hint = if place.starts_with("HILUM_") && text.contains("://") {
        "; where Kubernetes sets it for a Service of that name, set enableServiceLinks: false or give the flag"
    } else {
        ""
    };
    format!("{place}: {error}{hint}")
}

struct ChildDefaults {
    grace: Option<Span>,
    verbosity: Verbosity,
}

/// What `init`, `run` and `supervise` have in common: one service, not restarted, no status socket.
fn read_child(line: &Line, defaults: &ChildDefaults) -> Result<Launch, String> {
    let typed = line.take::<options::Child>()?;
    let command = line.rest.clone();
    if command.is_empty() {
        return Err(String::from("no command to start; write it after the options, as in -- /app --its-option"));
    }
    let group = match (typed.session, typed.own_group, typed.same_group) {
        (false, _, false) => ChildGroup::Own,
        (true, false, false) => ChildGroup::Session,
        (false, false, true) => ChildGroup::Shared,
        _ => return Err(String::from("--session, --own-group and --same-group exclude each other; give one of them")),
    };
    let scopes = [("group", Scope::Group), ("leader", Scope::Leader)];
    let scope = match (value(line, "--signal-to", typed.signal_to.as_deref(), |text| choose(text, &scopes))?, group) {
        (Some(Scope::Group), ChildGroup::Shared) => {
            return Err(format!(
                "{} group and {} exclude each other: hilum would signal itself",
                line.place("--signal-to"),
                line.place("--same-group")
            ));
        }
        (_, ChildGroup::Shared) => Scope::Leader,
        (scope, ChildGroup::Own | ChildGroup::Session) => scope.unwrap_or(Scope::Group),
    };
    let grace = value(line, "--grace-period", typed.grace_period.as_deref(), parse_grace)?.unwrap_or(defaults.grace);
    let mut rewrite = Vec::new();
    for text in &typed.rewrite {
        let pair: (Signal, Signal) = parse_rewrite(text).map_err(|error| complain(line, "--rewrite", text, &error))?;
        if rewrite.iter().any(|(from, _)| *from == pair.0) {
            return Err(complain(
                line,
                "--rewrite",
                text,
                &format!("\"{text}\" rewrites a signal for the second time"),
            ));
        }
        rewrite.push(pair);
    }
    let mut codes_to_zero = Vec::new();
    for text in &typed.exit_code_to_zero {
        codes_to_zero.push(parse_code(text).map_err(|error| complain(line, "--exit-code-to-zero", text, &error))?);
    }
    let delay = value(line, "--term-delay", typed.term_delay.as_deref(), parse_span)?.unwrap_or(Span::ZERO);

    let mut launch = launch_of(command);
    only(&mut launch, |plan, service| {
        plan.stop = StopPlan { signal: None, grace, scope, sweep: false };
        service.group = group;
    });
    launch.plan.signals = SignalPlan { delay, ..signals_for(group, rewrite) };
    launch.plan.ending = EndingPlan { wait_for_descendants: typed.wait_all, codes_to_zero, ..EndingPlan::default() };
    launch.process.verbosity = defaults.verbosity;
    launch.process.last_resort_grace = grace.unwrap_or(DEFAULT_GRACE);
    read_process(line)?.apply(&mut launch.process);
    launch.process.warn_orphans = launch.process.verbosity >= Verbosity::Warn;
    Ok(launch)
}

/// A launch of one essential service, started once, and nothing else.
pub(crate) fn launch_of(command: Vec<OsString>) -> Launch {
    let name = service_name(&command);
    Launch {
        plan: Plan { services: vec![ServicePlan::once(&name)], ..Plan::default() },
        services: vec![ServiceLaunch { command, ..ServiceLaunch::default() }],
        plugins: Vec::new(),
        commands: Vec::new(),
        status: None,
        process: ProcessLaunch::default(),
    }
}

/// Changes the only service of a launch.
pub(crate) fn only(launch: &mut Launch, change: impl FnOnce(&mut ServicePlan, &mut ServiceLaunch)) {
    if let (Some(plan), Some(service)) = (launch.plan.services.first_mut(), launch.services.first_mut()) {
        change(plan, service);
    }
}

/// Every signal is passed on, whatever it is rewritten to. Those of job control also stop hilum itself where the terminal stops it, or
/// cannot reach the child.
fn signals_for(group: ChildGroup, mut rewrite: Vec<(Signal, Signal)>) -> SignalPlan {
    let suspend = match group {
        ChildGroup::Own => SignalSet::EMPTY,
        // Passed on as STOP: the kernel drops the others for a group that no member of its session waits for.
        ChildGroup::Session => SignalSet::of(&JOB_CONTROL),
        ChildGroup::Shared => {
            for signal in JOB_CONTROL {
                if !rewrite.iter().any(|(from, _)| *from == signal) {
                    rewrite.push((signal, signal));
                }
            }
            SignalSet::of(&JOB_CONTROL)
        }
    };
    SignalPlan { forward: all_signals_but(&[]), rewrite, suspend, ..SignalPlan::default() }
}

/// All signals that can reach a process, without `those`, and without CHLD, which is about its own children.
pub(crate) fn all_signals_but(those: &[Signal]) -> SignalSet {
    let never = SignalSet::of(&[Signal::KILL, Signal::STOP, Signal(17)]);
    SignalSet(!(never.0 | SignalSet::of(those).0))
}

/// What log lines and the status call the service: its program's name, made of letters, digits and `._-`.
fn service_name(command: &[OsString]) -> String {
    let name = command.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
    let name: String = name
        .to_string_lossy()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' })
        .collect();
    if name.is_empty() { String::from("command") } else { name }
}

fn finish_launch(line: &Line, mut launch: Launch, mode: StatusMode) -> Reading {
    let typed = line.take::<options::Streams>()?;
    let modes = [("inherit", Relay::Inherit), ("log", Relay::Log), ("null", Relay::Null)];
    let stdout = value(line, "--stdout", typed.stdout.as_deref(), |text| choose(text, &modes))?;
    let stderr = value(line, "--stderr", typed.stderr.as_deref(), |text| choose(text, &modes))?;
    let output = output_of(stdout.unwrap_or(Relay::Inherit), stderr.unwrap_or(Relay::Inherit));
    only(&mut launch, |plan, service| {
        service.output = output;
        service.ttl = plan.ttl.map_or(Span::ZERO, |ttl| ttl.max);
    });
    launch.status = Some(read_status(line, mode)?);
    Ok(Command::Start(Box::new(launch)))
}

/// No pipe is made where nothing is to be done with the lines.
pub(crate) fn output_of(stdout: Relay, stderr: Relay) -> Output {
    match (stdout, stderr) {
        (Relay::Inherit, Relay::Inherit) => Output::Inherit,
        (stdout, stderr) => Output::Relay { stdout, stderr },
    }
}

fn read_status(line: &Line, mode: StatusMode) -> Result<StatusLaunch, String> {
    let typed = line.take::<options::Status>()?;
    let port = value(line, "--port", typed.port.as_deref(), parse_port)?;
    let interface = value(line, "--interface", typed.interface.as_deref(), parse_interface)?;
    let mut listen = Vec::new();
    for text in &typed.listen {
        listen.push(parse_listen(text).map_err(|error| complain(line, "--listen", text, &error))?);
    }
    let base = SocketAddr::new(interface.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port.unwrap_or(DEFAULT_PORT));
    if !listen.is_empty() {
        let other = [
            ("--port", port.is_some()),
            ("--interface", interface.is_some()),
            ("--socket-activation", typed.socket_activation),
        ];
        if let Some((other, _)) = other.iter().find(|(_, given)| *given) {
            return Err(format!(
                "{} says where to listen, and so does {}; give one of them",
                line.place("--listen"),
                line.place(other)
            ));
        }
    } else if !typed.socket_activation {
        listen.push(Listen::Tcp(base));
    }
    let sidebind = match (typed.sidebind, listen.iter().find_map(tcp_address)) {
        (false, _) => None,
        (true, Some(first)) => Some(first),
        (true, None) if typed.socket_activation => Some(base),
        (true, None) => {
            return Err(format!("{} needs a port to count from, but --listen names none", line.place("--sidebind")));
        }
    };
    if sidebind.is_some_and(|address| address.port() == 0) {
        return Err(format!("{} needs a port to count from, but the port is 0", line.place("--sidebind")));
    }
    Ok(StatusLaunch { listen, socket_activation: typed.socket_activation, sidebind, mode })
}

fn tcp_address(listen: &Listen) -> Option<SocketAddr> {
    match listen {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    }
}

/// The groups `Reaper`, where the command has it, and `Process`.
fn read_process(line: &Line) -> Result<ProcessOptions, String> {
    let reaper = line.take::<options::Reaper>()?;
    let process = line.take::<options::Process>()?;
    let verbosity = match (process.verbose, process.quiet) {
        (true, true) => {
            return Err(format!("{} and {} exclude each other", line.place("--verbose"), line.place("--quiet")));
        }
        (true, false) => Some(Verbosity::Debug),
        (false, true) => Some(Verbosity::Error),
        (false, false) => None,
    };
    let signal = process.parent_death_signal.as_deref();
    let parent_death_signal = value(line, "--parent-death-signal", signal, parse_signal)?;
    let drills =
        [("panic", Drill::Panic), ("fault", Drill::Fault), ("abort", Drill::Abort), ("overflow", Drill::Overflow)];
    let drill = value(line, "--drill", reaper.drill.as_deref(), |text| choose(text, &drills))?;
    Ok(ProcessOptions {
        no_subreaper: reaper.no_subreaper,
        parent_death_signal,
        log_orphans: reaper.log_orphans,
        verbosity,
        drill,
    })
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("\"{text}\" is not one of {}", names.join(", "))
    })
}

fn parse_span(text: &str) -> Result<Span, String> {
    parse_duration(text).map_err(|mistake| mistake.to_string())
}

fn parse_positive_span(text: &str) -> Result<Span, String> {
    match parse_span(text)? {
        Span::ZERO => Err(format!("\"{text}\" is no time at all; write at least \"1ms\"")),
        span => Ok(span),
    }
}

fn parse_grace(text: &str) -> Result<Option<Span>, String> {
    if text == "none" { Ok(None) } else { parse_span(text).map(Some) }
}

fn parse_ttl(text: &str) -> Result<TtlPlan, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let ttl = TtlPlan { min: parse_positive_span(min)?, max: parse_positive_span(max)? };
    if ttl.min > ttl.max {
        return Err(format!("\"{text}\" ends before it begins; write the shorter time first"));
    }
    Ok(ttl)
}

fn parse_limit(text: &str) -> Result<RestartLimit, String> {
    let (count, within) = text
        .split_once('/')
        .ok_or_else(|| format!("\"{text}\" is not a number of restarts in a time; write it as \"5/1m\""))?;
    let count = parse_digits(count)
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| format!("\"{count}\" is not a number of restarts; write it as \"5/1m\""))?;
    Ok(RestartLimit { count, within: parse_positive_span(within)?, then: LimitAction::EndContainer })
}

/// A decimal number as thousandths, between `least` and `most` of them.
fn parse_thousandths(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let number = parse_digits(whole).filter(|_| fraction.len() <= 3).and_then(|whole| {
        let parts = parse_digits(&format!("{fraction:0<3}"))?;
        u32::try_from(whole.checked_mul(1000)?.checked_add(parts)?).ok()
    });
    number.filter(|_| !fraction.is_empty()).filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let (least, most) = (least / 1000, most / 1000);
        format!("\"{text}\" is not a number from {least} to {most} with at most three decimals")
    })
}

fn parse_rewrite(text: &str) -> Result<(Signal, Signal), String> {
    let (from, to) = text
        .split_once(':')
        .ok_or_else(|| format!("\"{text}\" is not a pair of signals; write it as \"TERM:QUIT\""))?;
    let from = parse_signal(from).map_err(|mistake| mistake.to_string())?;
    if !all_signals_but(&[]).contains(from) {
        return Err(format!("\"{text}\" rewrites a signal that is never passed on"));
    }
    let to = if to == "0" { Signal(0) } else { parse_signal(to).map_err(|mistake| mistake.to_string())? };
    Ok((from, to))
}

fn parse_code(text: &str) -> Result<u8, String> {
    parse_digits(text)
        .and_then(|code| u8::try_from(code).ok())
        .ok_or_else(|| format!("\"{text}\" is not an exit code; write a number from 0 to 255"))
}

fn parse_pid(text: &str) -> Result<i32, String> {
    parse_digits(text)
        .and_then(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| format!("\"{text}\" is not a process id; write a number from 1"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    parse_digits(text)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| format!("\"{text}\" is not a port; write a number from 0 to 65535"))
}

/// Digits only: `u64::from_str` alone would take a plus sign.
fn parse_digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// An address; IPv6 with or without brackets. Names are not looked up, but for the one that needs no looking up.
pub(crate) fn parse_interface(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|bare| bare.contains(':'));
    match bare.unwrap_or(text) {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        bare => bare.parse().map_err(|_| {
            format!("\"{text}\" is not an address; write one as \"127.0.0.1\" or \"::1\" (names are not looked up)")
        }),
    }
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(format!("\"{text}\" names no path; write it as \"unix:/run/status.sock\"")),
            path => Ok(Listen::Unix(PathBuf::from(path))),
        };
    }
    let place =
        || format!("\"{text}\" is no place to listen; write \"127.0.0.1:8111\", \"[::1]:8111\" or \"unix:/path\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(place)?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("\"{text}\" does not say where its address ends; write \"[{host}]:{port}\""));
    }
    Ok(Listen::Tcp(SocketAddr::new(parse_interface(host).map_err(|_| place())?, parse_port(port)?)))
}

#[cfg(test)]
mod tests;
