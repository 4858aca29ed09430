//! hilum beside the inits and supervisors it replaces, in one run and one table: medians, 95th percentiles, ratios, and the goals
//! with what became of them.
//!
//! Every sample is a fresh start by `rig` (`xtask/bench/rig.c`), process 1 of a pid namespace of its own, with the same few
//! variables and the same child, which takes the time with its first instruction. Contestants take turns, sample by sample, so
//! that whatever else the machine does meets all of them. A goal that is missed is printed as missed; it is no failure.
//!
//! The plugin host is measured alone too (`--only plugins`): there `broker` (`xtask/bench/broker.c`) stands in PID 1's place, starts a
//! worker as hilum does and takes the times of its frames.

mod broker;
mod contestant;
mod guest;
mod http;
mod idle;
mod plugins;
mod probe;
mod rig;
mod sample;
mod table;
mod turn;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::dist;
use crate::packages::{self, Program};
use crate::process;
use crate::target::Target;
use crate::workspace;
use table::Measure;

/// Who runs beside us, and what builds the floor.
const PROGRAMS: &[Program] = &[
    Program { name: "gcc", package: "gcc" },
    // Headers and the static C library; this is the one program that comes with them.
    Program { name: "gencat", package: "libc6-dev" },
    Program { name: "tini", package: "tini" },
    Program { name: "tini-static", package: "tini" },
    Program { name: "dumb-init", package: "dumb-init" },
    Program { name: "catatonit", package: "catatonit" },
    Program { name: "s6-svscan", package: "s6" },
    Program { name: "runsvdir", package: "runit" },
    Program { name: "supervisord", package: "supervisor" },
    Program { name: "curl", package: "curl" },
];

/// Samples of each contestant before those that count: they fill caches and find the files.
const WARM_UP: usize = 5;

/// What all measurements share.
#[derive(Debug)]
struct Bench {
    /// Where every start has its folder.
    folder: PathBuf,
    rig: PathBuf,
    /// PID 1's place, for the workers that are measured alone.
    broker: PathBuf,
    pong: PathBuf,
    floor: PathBuf,
    child: PathBuf,
    hilum: PathBuf,
    /// The precompiled HTTP probe, if it has been built.
    plugin: Option<PathBuf>,
    /// The processor all of it is bound to, if any.
    cpu: Option<String>,
    /// Whether it runs before everything of ordinary priority, so that a busy machine does not come between.
    first: bool,
    rounds: usize,
    /// The only one of [`PARTS`] to measure, if any.
    only: Option<String>,
    /// Orphans left at once.
    orphans: u32,
    /// How long the idle ones are watched.
    idle: Duration,
}

/// What is measured, in the table's order.
const PARTS: [(&str, Part); 8] = [
    ("start", |bench| Ok(turn::starts(bench))),
    ("stop", |bench| turn::stops(bench).map(|measure| vec![measure])),
    ("restart", |bench| turn::restarts(bench).map(|measure| vec![measure])),
    ("orphans", |bench| turn::orphans(bench).map(|measure| vec![measure])),
    ("idle", idle::measure),
    ("size", |bench| contestant::sizes(bench).map(|measure| vec![measure])),
    ("probe", probe::measure),
    ("plugins", plugins::measure),
];

/// Measures one thing on all that can do it.
type Part = fn(&Bench) -> Result<Vec<Measure>, String>;

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let quick = arguments.switch("--quick");
    let markdown = arguments.switch("--markdown");
    let rounds = number(&mut arguments, "--rounds")?.unwrap_or(if quick { 20 } else { 200 });
    let cpu = number(&mut arguments, "--cpu")?.map(|cpu| cpu.to_string());
    let ordinary = arguments.switch("--ordinary");
    let own = arguments.value("--hilum")?.map(PathBuf::from);
    let only = arguments.value("--only")?;
    if let Some(only) = &only
        && !PARTS.iter().any(|(name, _)| name == only)
    {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is nothing called \"{only}\" to measure; there are {}", names.join(", ")));
    }
    arguments.finish()?;
    if rounds == 0 {
        return Err(String::from("--rounds is 0; give at least 1"));
    }
    packages::ensure("bench", PROGRAMS)?;
    let host = Target::host()?;
    let hilum = match own {
        Some(path) => fs::canonicalize(&path).map_err(|error| format!("cannot find {}: {error}", path.display()))?,
        None => {
            dist::ensure(host, &["hilum"])?;
            crate::plugins::build(&[host])?;
            dist::path(host, "hilum")
        }
    };
    // In memory where possible, so that a line of log costs no disk. Not in the checkout: a socket's path may have 107 bytes.
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { env::temp_dir() };
    let folder = place.join(format!("hilum-bench-{}", std::process::id()));
    let bench = Bench {
        rig: compile("rig", &[])?,
        broker: compile("broker", &[])?,
        pong: compile("pong", BARE)?,
        floor: compile("floor", BARE)?,
        child: compile("child", BARE)?,
        hilum,
        plugin: Some(crate::plugins::precompiled("probe-http", host)).filter(|path| path.is_file()),
        cpu,
        // Where it is allowed: not in every container.
        first: !ordinary && process::ask(Command::new("chrt").args(["--rr", "1", "true"])).is_ok(),
        rounds,
        only,
        orphans: 10_000,
        idle: Duration::from_secs(if quick { 5 } else { 60 }),
        folder,
    };
    let measured = bench.measure();
    workspace::clear(&bench.folder)?;
    print!("{}", table::render(&measured?, &bench.heading(), markdown));
    Ok(())
}

impl Bench {
    fn measure(&self) -> Result<Vec<Measure>, String> {
        // What was just written counts as dirty memory of whoever maps it, until it is on disk.
        fs::File::open(&self.hilum)
            .and_then(|file| file.sync_all())
            .map_err(|error| format!("cannot sync {}: {error}", workspace::shorten(&self.hilum)))?;
        let mut measures = Vec::new();
        for (name, measure) in PARTS {
            if self.only.as_ref().is_none_or(|only| only == name) {
                measures.extend(measure(self)?);
            }
        }
        Ok(measures)
    }

    /// What the numbers depend on.
    fn heading(&self) -> String {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split(": ").nth(1));
            found.unwrap_or("unknown processor").to_owned()
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let mut bound = self.cpu.as_ref().map_or(String::new(), |cpu| format!(", bound to processor {cpu}"));
        if self.first {
            bound.push_str(", before everything of ordinary priority");
        }
        format!(
            "{} x {}{bound}, Linux {}; {} rounds, {} s idle, load {}",
            cpus,
            line("/proc/cpuinfo", "model name"),
            kernel.trim(),
            self.rounds,
            self.idle.as_secs(),
            load()
        )
    }
}

/// The load average at the end of the run: a high one says what the numbers are worth.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// A text as TOML writes it; JSON's strings are TOML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How programs without a C library are compiled.
const BARE: &[&str] = &["-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"];

/// Compiles one of the programs in `xtask/bench`.
fn compile(name: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let place = workspace::target().join("bench").join(name);
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", workspace::shorten(folder)))?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-static", "-s"]).args(flags);
    gcc.arg("-o").arg(&place).arg(workspace::root().join("xtask/bench").join(format!("{name}.c")));
    process::run(&format!("compile {name}"), &mut gcc)?;
    Ok(place)
}

fn number(arguments: &mut Arguments, name: &str) -> Result<Option<usize>, String> {
    let Some(text) = arguments.value(name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name} is \"{text}\"; give a number"))
}
