//! What the status sockets show, as PID 1 tells it to the `status` worker. Times are wall-clock nanoseconds since 1970.

use serde::{Deserialize, Serialize};

/// Which command this is: kapo's `Mode` key, and whether a process list is watched instead of children.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `hilum run`.
    #[default]
    Run,
    /// `hilum supervise`.
    Supervise,
    /// `hilum watch`.
    Watch,
    /// `hilum up`.
    Up,
}

/// Everything that is not about one service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Overview {
    /// Which command this is.
    pub mode: Mode,
    /// hilum's version.
    pub version: String,
    /// PID 1's own argv, for expvar's `cmdline`: the words up to the child's own, which may hold secrets.
    pub cmdline: Vec<String>,
    /// `running`, `stopping`, `lingering` or `done`.
    pub phase: String,
    /// What `/readiness` says.
    pub ready: bool,
    /// What `/startup` says.
    pub started: bool,
    /// What `/liveness` says, while PID 1 answers at all.
    pub alive: bool,
    /// kapo's `SidebindPort`; 0 without one.
    pub sidebind_port: u16,
    /// When PID 1 began.
    pub since: u64,
    /// How many services there are; index 0 to this number.
    pub services: u16,
    /// Whether kapo's array is empty of services because there is none to show, never because none was looked at yet.
    pub complete: bool,
    /// Plugins, in the order of the plan.
    pub plugins: Vec<PluginReport>,
    /// Workers by role.
    pub workers: Vec<WorkerReport>,
    /// Log lines dropped because stderr stalled.
    pub log_dropped: u64,
    /// Orphans reaped: processes that were no one's but PID 1's to wait for.
    pub orphans_reaped: u64,
}

/// One service, or, in `watch`, one process.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// The command as typed, not resolved.
    pub command: String,
    /// Its arguments; `None` in `watch`.
    pub arguments: Option<Vec<String>>,
    /// The state's name: `down`, `starting`, `up`, `stopping`, `killed`, `sweeping`, `backing-off` or `ended`.
    pub state: String,
    /// Whether its process runs: kapo's `running` and `stopped`.
    pub running: bool,
    /// The number of its life.
    pub run: u64,
    /// The process, while there is one.
    pub pid: Option<i32>,
    /// Whether it takes work.
    pub ready: bool,
    /// When the current or last run began.
    pub started_at: Option<u64>,
    /// When the last run that ended did.
    pub ended_at: Option<u64>,
    /// How the last run that ended did.
    pub last_exit: Option<ExitReport>,
    /// Runs begun after the first.
    pub restarts: u64,
    /// When the next run begins, while one is waited for.
    pub restart_at: Option<u64>,
    /// Why the last spawn failed, if the last one did.
    pub spawn_failure: Option<String>,
    /// kapo's `TTL`. **Units:** seconds.
    pub ttl_s: u64,
    /// kapo's `Wait`. **Units:** nanoseconds.
    pub wait_ns: u64,
    /// Its probes.
    pub probes: Vec<ProbeReport>,
    /// The last runs that ended, newest last; at most 16.
    pub history: Vec<RunReport>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ExitReport {
    /// The code, or 128 + n for a signal.
    pub code: u8,
    /// The signal, as `TERM`.
    pub signal: Option<String>,
    /// Why the supervisor had ordered the stop, if it had: `shutdown`, `ttl` or `probe NAME`.
    pub cause: Option<String>,
}

/// A run that ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RunReport {
    /// The number of its life.
    pub run: u64,
    /// When it began.
    pub started_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// How it ended.
    pub exit: ExitReport,
}

/// One probe.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ProbeReport {
    /// Its name.
    pub name: String,
    /// `startup`, `readiness` or `liveness`.
    pub kind: String,
    /// The plugin it calls.
    pub plugin: String,
    /// Whether it passes; `None` before it first crossed a threshold in this life.
    pub passing: Option<bool>,
    /// `pass`, `fail`, `unknown`, or empty before the first answer.
    pub last: String,
    /// What it last said.
    pub message: String,
    /// Passes in a row.
    pub passes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Unknowns in a row.
    pub unknowns: u32,
    /// How long the last call took. **Units:** microseconds.
    pub took_us: u64,
    /// Calls answered.
    pub answered: u64,
}

/// Whether a plugin can be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// Its worker has not answered yet.
    #[default]
    Loading,
    /// It can be called.
    Ready,
    /// It could not be loaded; its probes answer `unknown`.
    Refused,
    /// It failed three calls in a row and is switched off for a while; its probes answer `unknown`.
    Quarantined,
}

/// One plugin.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PluginReport {
    /// Its name in the plan.
    pub name: String,
    /// Whether it can be called.
    pub state: PluginState,
    /// Why not, or its own name and version.
    pub message: String,
    /// Calls answered.
    pub calls: u64,
    /// Calls that ended in a trap, a missed deadline or a lost worker.
    pub broken: u64,
    /// Times it asked for what the plan does not grant.
    pub denied: u64,
    /// Processor time of its calls. **Units:** microseconds.
    pub cpu_us: u64,
    /// What it can be asked: `probe`, `callback` and so on.
    pub kinds: Vec<String>,
}

/// One worker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WorkerReport {
    /// Its role.
    pub role: String,
    /// Its process, while there is one.
    pub pid: Option<i32>,
    /// Times it was replaced.
    pub replaced: u64,
    /// What it could not give up of its rights, and why.
    pub refused: Vec<String>,
}
