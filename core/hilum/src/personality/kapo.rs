//! kapo: `kapo [global flags] MODE [mode flags] [--] COMMAND [ARG…]`.
//!
//! What stays as it was, because setups depend on it, and what does not, because it was a defect:
//!
//! | behaviour | original | here |
//! | --- | --- | --- |
//! | flags: `-flag` is `--flag`, `=value`, short forms, global before the mode | so | same |
//! | `KAPO_*` variables, flag before variable before default | so | same |
//! | port 6666 on all interfaces | so, IPv6 too behind IPv4's wildcard | same port, the address as written |
//! | times in whole seconds, numbers with a base prefix | so | same; negative ones are refused |
//! | `supervise` restarts after every end, after `--wait` seconds, for ever | so | same |
//! | child's input | empty | same |
//! | child's output | thrown away unless `--stdout`, `--stderr` | passed on, each stream to its own; thrown away with `--stdout=false`, `--stderr=false` |
//! | `--stdlog` | log records of the streams asked for | log records of every stream not thrown away |
//! | where the child's words begin | behind its first dash only after `--` | at the first word that is no flag |
//! | exit code of `run` | 0 | the child's; 128+n for a signal |
//! | command missing or not startable | 1 | same; in `supervise` a later start that fails is tried again |
//! | unknown mode | 2 | same |
//! | bad flag or variable | 0, in part silently | 64, and a message that names it |
//! | ports above 65535 | cut to 16 bits | refused |
//! | `KAPO_INTERFACE` empty | all interfaces | same |
//! | a flag of no argument set but empty in the environment | false | as if not set |
//! | `watch` without a name or `--pid` | accepted, finds nothing | refused |
//! | signals | die of them, child left behind | TERM, INT, QUIT stop the child, others are passed on |
//! | `--ttl` | KILL to the child | TERM to its group, ten seconds, KILL |

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hilum_config::{Launch, Listen, ProcessLaunch, Relay, StatusLaunch, StatusMode, Verbosity, Voice};
use hilum_engine::{BackoffPlan, RestartPlan, RestartPolicy, Scope, SignalPlan, Span, StopPlan, TtlPlan};

use super::{Call, Outcome};
use crate::cli::{
    DEFAULT_GRACE, DEFAULT_PORT, DEFAULT_WAIT, USAGE, Watch, all_signals_but, launch_of, only, output_of,
    parse_interface,
};

/// The code of a command that is missing.
const NO_COMMAND: u8 = 1;
/// The code of a mode that does not exist.
const NO_SUCH_MODE: u8 = 2;
/// Longest time a number of seconds may say. **Units:** seconds; ten years, as for all of hilum's durations.
const LONGEST: u64 = 10 * 365 * 86_400;

/// One flag.
#[derive(Debug)]
struct Flag {
    long: &'static str,
    short: &'static str,
    variable: &'static str,
    kind: Kind,
    /// What it does, for the help text.
    summary: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Switch,
    Text,
    Number,
}

const fn flag(
    long: &'static str,
    short: &'static str,
    variable: &'static str,
    kind: Kind,
    summary: &'static str,
) -> Flag {
    Flag { long, short, variable, kind, summary }
}

static GLOBAL: [Flag; 9] = [
    flag("port", "p", "KAPO_PORT", Kind::Number, "port of the status socket (default 6666)"),
    flag("interface", "i", "KAPO_INTERFACE", Kind::Text, "address of the status socket (default 0.0.0.0)"),
    flag("sidebind", "b", "KAPO_SIDEBIND", Kind::Switch, "listen also at the next free port above"),
    flag("socket-activation", "s", "KAPO_SOCKET_ACTIVATION", Kind::Switch, "take the listening socket from systemd"),
    flag("stdout", "S", "KAPO_STDOUT", Kind::Switch, "pass the child's output on (default true)"),
    flag("stderr", "E", "KAPO_STDERR", Kind::Switch, "pass the child's error output on (default true)"),
    flag("stdlog", "L", "KAPO_STDLOG", Kind::Switch, "make log records of what is passed on"),
    flag("help", "h", "", Kind::Switch, "show this"),
    flag("version", "v", "", Kind::Switch, "show the version"),
];

const HELP: Flag = flag("help", "h", "", Kind::Switch, "show this");

static RUN: [Flag; 3] = [
    flag("ttl", "t", "KAPO_TTL", Kind::Number, "seconds until the child is stopped (default 0: never)"),
    flag("wait", "w", "KAPO_WAIT", Kind::Number, "seconds to go on reporting after its end (default 0)"),
    HELP,
];

static SUPERVISE: [Flag; 2] =
    [flag("wait", "w", "KAPO_WAIT", Kind::Number, "seconds between an end and the next start (default 5)"), HELP];

static WATCH: [Flag; 3] = [
    flag("wait", "w", "KAPO_WAIT", Kind::Number, "seconds between two looks (default 5)"),
    flag("pid", "p", "KAPO_WATCHPID", Kind::Number, "look at this process only"),
    HELP,
];

/// What comes instead of a launch.
enum Stop {
    /// What is wrong with the words or the variables.
    Wrong(String),
    /// Nothing is to be done but this.
    Say(Outcome),
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Wrong(message)
    }
}

pub(super) fn read(call: &Call<'_>) -> Outcome {
    match read_modes(call) {
        Ok(outcome) | Err(Stop::Say(outcome)) => outcome,
        Err(Stop::Wrong(message)) => {
            Outcome::fail(format!("kapo: cannot read the command line: {message}\nkapo: see kapo --help\n"), USAGE)
        }
    }
}

fn read_modes(call: &Call<'_>) -> Result<Outcome, Stop> {
    let (global, words) = Given::read(&GLOBAL, call.words, call)?;
    if global.is_on("help")? {
        return Ok(Outcome::say(help()));
    }
    if global.is_on("version")? {
        return Ok(Outcome::say(format!("kapo version {} (hilum)\n", env!("CARGO_PKG_VERSION"))));
    }
    let Some((mode, words)) = words.split_first() else {
        return Ok(Outcome::say(help()));
    };
    let mode = mode.to_string_lossy();
    let (mode, flags) = match mode.as_ref() {
        "run" | "r" => (StatusMode::Run, RUN.as_slice()),
        "supervise" | "s" => (StatusMode::Supervise, SUPERVISE.as_slice()),
        "watch" | "w" => (StatusMode::Watch, WATCH.as_slice()),
        "help" | "h" => return Ok(Outcome::say(help())),
        other => {
            return Ok(Outcome::fail(
                format!("kapo: no mode is called \"{other}\"; write run, supervise or watch\n"),
                NO_SUCH_MODE,
            ));
        }
    };
    let (given, words) = Given::read(flags, words, call)?;
    if given.is_on("help")? {
        return Ok(Outcome::say(help()));
    }
    let status = read_status(&global, mode)?;
    match mode {
        StatusMode::Watch => Ok(Outcome::Watch(Box::new(read_watch(&given, words, status)?))),
        StatusMode::Run | StatusMode::Supervise | StatusMode::Up => {
            Ok(Outcome::Start(Box::new(read_child(&global, &given, words, status)?)))
        }
    }
}

fn read_child(global: &Given, given: &Given, words: Vec<OsString>, status: StatusLaunch) -> Result<Launch, Stop> {
    if words.is_empty() {
        let message = String::from("kapo: no command to start; write it after the mode, as in kapo run -- /app\n");
        return Err(Stop::Say(Outcome::fail(message, NO_COMMAND)));
    }
    let output = output_of(read_relay(global, "stdout")?, read_relay(global, "stderr")?);
    let wait = given.seconds("wait")?;
    let ttl = given.seconds("ttl")?.filter(|ttl| *ttl > Span::ZERO).map(|ttl| TtlPlan { min: ttl, max: ttl });
    let supervise = status.mode == StatusMode::Supervise;
    let mut launch = launch_of(words);
    if !supervise {
        launch.plan.ending.linger = wait.unwrap_or(Span::ZERO);
    }
    only(&mut launch, |plan, service| {
        let bounded = supervise || ttl.is_some();
        plan.stop =
            StopPlan { signal: None, grace: bounded.then_some(DEFAULT_GRACE), scope: Scope::Group, sweep: bounded };
        plan.ttl = ttl;
        if supervise {
            let wait = wait.unwrap_or(DEFAULT_WAIT);
            let backoff = BackoffPlan { initial: wait, cap: wait, ..BackoffPlan::NONE };
            plan.restart = RestartPlan { policy: RestartPolicy::Always, backoff, limit: None };
        }
        service.empty_input = true;
        service.output = output;
        service.wait = if supervise { plan.restart.backoff.initial } else { wait.unwrap_or(Span::ZERO) };
        service.ttl = ttl.map_or(Span::ZERO, |ttl| ttl.max);
    });
    launch.plan.signals = SignalPlan { forward: all_signals_but(&[]), ..SignalPlan::default() };
    launch.status = Some(status);
    launch.process = process();
    Ok(launch)
}

fn read_watch(given: &Given, words: Vec<OsString>, status: StatusLaunch) -> Result<Watch, Stop> {
    let pid = match given.number("pid")? {
        None | Some((0, _)) => None,
        Some((pid, place)) => Some(
            i32::try_from(pid).map_err(|_| format!("{place}: {pid} is not a process id; write a smaller number"))?,
        ),
    };
    let mut words = words.into_iter();
    let name = words.next().unwrap_or_default();
    if pid.is_none() && name.is_empty() {
        return Err(Stop::Wrong(String::from("nothing to watch; name a process, or give --pid")));
    }
    if let Some(extra) = words.next() {
        return Err(Stop::Wrong(format!("\"{}\" is one word too many; flags come before the name", extra.display())));
    }
    let period = given.seconds("wait")?.unwrap_or(DEFAULT_WAIT);
    if period == Span::ZERO {
        return Err(Stop::Wrong(format!(
            "{}: 0 would look at the processes without a pause; write at least 1",
            given.place("wait")
        )));
    }
    let process = ProcessLaunch { subreaper: false, ..process() };
    Ok(Watch { name, pid, period, status, process })
}

fn process() -> ProcessLaunch {
    ProcessLaunch { warn_orphans: false, voice: Voice::Kapo, verbosity: Verbosity::Info, ..ProcessLaunch::default() }
}

fn read_relay(global: &Given, stream: &str) -> Result<Relay, Stop> {
    Ok(match (global.switch(stream)?, global.is_on("stdlog")?) {
        (Some(false), _) => Relay::Null,
        (_, true) => Relay::Log,
        (_, false) => Relay::Inherit,
    })
}

fn read_status(global: &Given, mode: StatusMode) -> Result<StatusLaunch, Stop> {
    let port = match global.number("port")? {
        None => DEFAULT_PORT,
        Some((port, place)) => {
            u16::try_from(port).map_err(|_| format!("{place}: {port} is not a port; write a number from 0 to 65535"))?
        }
    };
    let address = match global.text("interface") {
        None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(text) => parse_interface(text).map_err(|error| format!("{}: {error}", global.place("interface")))?,
    };
    let base = SocketAddr::new(address, port);
    let sidebind = global.is_on("sidebind")?.then_some(base);
    if sidebind.is_some() && port == 0 {
        return Err(Stop::Wrong(String::from("--sidebind needs a port to count from, but the port is 0")));
    }
    let socket_activation = global.is_on("socket-activation")?;
    let listen = if socket_activation { Vec::new() } else { vec![Listen::Tcp(base)] };
    Ok(StatusLaunch { listen, socket_activation, sidebind, mode })
}

/// Flags with their values, from the words or the environment.
struct Given {
    values: Vec<Value>,
}

struct Value {
    flag: &'static Flag,
    text: String,
    /// What to call it in a message.
    place: String,
}

impl Given {
    /// Reads flags up to the first word that is none, then what the environment adds. Returns the other words.
    fn read(flags: &'static [Flag], words: &[OsString], call: &Call<'_>) -> Result<(Given, Vec<OsString>), String> {
        let mut given = Given { values: Vec::new() };
        let mut rest = words.iter();
        let mut behind = Vec::new();
        while let Some(word) = rest.next() {
            if word == "--" {
                break;
            }
            if !word.as_encoded_bytes().starts_with(b"-") || word == "-" {
                behind.push(word.clone());
                break;
            }
            let text = word.to_str().ok_or_else(|| format!("the flag \"{}\" is not UTF-8", word.display()))?;
            let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or(text);
            let (name, attached) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
            let flag = flags
                .iter()
                .find(|flag| flag.long == name || flag.short == name)
                .ok_or_else(|| format!("no flag is called {text}"))?;
            let value = match (flag.kind, attached) {
                (_, Some(value)) => String::from(value),
                (Kind::Switch, None) => String::from("true"),
                (Kind::Text | Kind::Number, None) => {
                    let next = rest.next().ok_or_else(|| format!("{text} needs a value"))?;
                    String::from(next.to_str().ok_or_else(|| format!("{text}: \"{}\" is not UTF-8", next.display()))?)
                }
            };
            let place = format!("{}{name}", if name.len() == 1 { "-" } else { "--" });
            if given.values.iter().any(|other| other.flag.long == flag.long && other.place != place) {
                return Err(format!("both --{} and -{} are given; give one of them", flag.long, flag.short));
            }
            // Of the same one given twice, the last counts.
            given.values.retain(|other| other.flag.long != flag.long);
            given.values.push(Value { flag, text: value, place });
        }
        behind.extend(rest.cloned());
        for flag in flags.iter().filter(|flag| !flag.variable.is_empty()) {
            if !given.values.iter().any(|value| value.flag.long == flag.long) {
                given.add_variable(flag, call)?;
            }
        }
        Ok((given, behind))
    }

    fn add_variable(&mut self, flag: &'static Flag, call: &Call<'_>) -> Result<(), String> {
        let Some(value) = (call.env)(flag.variable) else { return Ok(()) };
        let text = value.to_str().ok_or_else(|| format!("{}: \"{}\" is not UTF-8", flag.variable, value.display()))?;
        match (flag.kind, text) {
            (Kind::Switch, "") => return Ok(()),
            (Kind::Number, "") => {
                return Err(format!("{} is set but empty; unset it or give it a number", flag.variable));
            }
            _ => {}
        }
        self.values.push(Value { flag, text: String::from(text), place: String::from(flag.variable) });
        Ok(())
    }

    fn find(&self, long: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.flag.long == long)
    }

    fn place(&self, long: &str) -> String {
        self.find(long).map_or_else(|| format!("--{long}"), |value| value.place.clone())
    }

    fn text(&self, long: &str) -> Option<&str> {
        self.find(long).map(|value| value.text.as_str())
    }

    /// The words of Go's strconv.ParseBool.
    fn switch(&self, long: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.find(long) else { return Ok(None) };
        match value.text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            other => Err(format!("{}: \"{other}\" is neither true nor false", value.place)),
        }
    }

    fn is_on(&self, long: &str) -> Result<bool, String> {
        Ok(self.switch(long)?.unwrap_or(false))
    }

    /// A number, with the place it came from.
    fn number(&self, long: &str) -> Result<Option<(u64, &str)>, String> {
        let Some(value) = self.find(long) else { return Ok(None) };
        match parse_number(&value.text) {
            Some(number) => Ok(Some((number, &value.place))),
            None => Err(format!("{}: \"{}\" is not a whole number of zero or more", value.place, value.text)),
        }
    }

    fn seconds(&self, long: &str) -> Result<Option<Span>, String> {
        match self.number(long)? {
            Some((number, place)) if number > LONGEST => {
                Err(format!("{place}: {number} seconds are longer than ten years"))
            }
            Some((number, _)) => Ok(Some(Span::from_secs(number))),
            None => Ok(None),
        }
    }
}

/// A number as Go's strconv.ParseInt reads it with base 0: `0x`, `0o`, `0b`, a leading 0 for octal, single underscores between digits
/// where there is a prefix or the base is ten.
fn parse_number(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let (base, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if let Some(digits) = lower.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        (8, digits)
    } else {
        (10, lower.as_str())
    };
    // An underscore may follow a prefix, and the leading 0 of an octal number is one.
    let digits = if base == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    if digits.split('_').any(|part| part.is_empty() || !part.chars().all(|letter| letter.is_digit(base))) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), base).ok()
}

fn help() -> String {
    let mut text = String::from(
        "Usage: kapo [FLAGS] MODE [MODE FLAGS] [--] COMMAND [ARG…]\n\n\
         hilum in place of kapo: one command behind a status socket.\n\n\
         Modes:\n  run, r        start it once; end with its exit code\n  supervise, s  start it again whenever it ends\n  \
         watch, w      show processes that something else started\n",
    );
    for (title, flags) in [
        ("Flags", GLOBAL.as_slice()),
        ("run", RUN.as_slice()),
        ("supervise", SUPERVISE.as_slice()),
        ("watch", WATCH.as_slice()),
    ] {
        text.push_str(&format!("\n{title}:\n"));
        for flag in flags.iter().filter(|flag| title == "Flags" || flag.long != "help") {
            let names = format!("--{}, -{}", flag.long, flag.short);
            let variable = if flag.variable.is_empty() { String::new() } else { format!(" [{}]", flag.variable) };
            text.push_str(&format!("  {names:<24}{}{variable}\n", flag.summary));
        }
    }
    text
}
