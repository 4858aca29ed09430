//! Who says what: one enum per direction.

use serde::{Deserialize, Serialize};

use crate::report::{Overview, ServiceReport};

/// The protocol. Both ends are the same file, so a mismatch means that the file was replaced under a running PID 1; the worker is
/// then refused with both numbers in the log. Raise it with every change to this module or to `report`.
pub const VERSION: u32 = 4;

/// From PID 1 to the `status` worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToStatus {
    /// Answer to the worker's hello.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
    },
    /// Everything that is not about one service. Sent on change; replaces the last one. A `services` count below what the worker
    /// holds drops the services beyond it.
    Overview(Box<Overview>),
    /// One service. Sent on change; replaces the last one of that index.
    Service {
        /// Position in the plan.
        index: u16,
        /// What there is to say.
        report: Box<ServiceReport>,
    },
    /// What a plugin measured. Sent on change; replaces the last one of that index.
    Measured {
        /// Position in the overview's plugins.
        index: u16,
        /// All of it.
        series: Vec<Series>,
    },
    /// Answer to a ping: PID 1's loop turns, and all reports sent before this one are current.
    Pong {
        /// The number of the ping.
        nonce: u64,
    },
}

/// From the `status` worker to PID 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromStatus {
    /// First message. Every version can read the version out of it.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// What it could not give up of its rights, and why, for people.
        #[serde(default)]
        refused: Vec<String>,
    },
    /// Asks for a [`ToStatus::Pong`]; the worker sends at most ten a second. **Idempotent.**
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
}

/// What a plugin may do. Nothing is allowed unless listed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Grants {
    /// Where it may connect to: `host:port` over TCP, `udp:host:port`, `unix:/path`; the host as written in the plan, an address or a
    /// name; `*` for any host or any port.
    pub connect: Vec<String>,
    /// Names it may look up; `*.` before one is everything below it, `*` is everything.
    pub resolve: Vec<String>,
    /// Files and directories it may use. The `Load` carries a descriptor for each, after the component's.
    pub files: Vec<FileGrant>,
    /// Variables it may read, with their values where they are set.
    pub env: Vec<(String, Option<String>)>,
    /// Commands it may have run.
    pub exec: Vec<String>,
    /// Whether it may see processes.
    pub processes: bool,
}

/// A file or directory a plugin may use. Its descriptor, of `O_PATH`, is of the deepest directory on the way that was there when it was
/// opened, or of the directory or file itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileGrant {
    /// The absolute path, as the plan writes it.
    pub path: String,
    /// What of it is below the descriptor; empty if the descriptor is the thing itself.
    pub rest: String,
    /// Whether it may be written.
    pub write: bool,
}

/// The service a call is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Number of the life it is in, from 1.
    pub run: u32,
    /// Its process; none between two lives.
    pub pid: Option<u32>,
    /// How long ago it was started, the last time first. **Units:** milliseconds.
    pub starts: Vec<u64>,
}

/// What a plugin is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How a service is. Answered by `Pass`, `Fail` or `Unknown`.
    Check {
        /// JSON of the plan's `with` table.
        settings: String,
        /// Calls of this probe in this life of the service, this one included.
        attempt: u32,
    },
    /// To tell that something happened. Answered by `Done`, `Retry` or `Failed`.
    Notify {
        /// JSON of the plan's `with` table.
        settings: String,
        /// Tries of this event, this one included.
        attempt: u32,
        /// What happened.
        event: Occurrence,
    },
    /// Whether settings suit it. Answered by `Judged`.
    CheckSettings {
        /// JSON of the plan's `with` table.
        settings: String,
    },
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Occurrence {
    /// What: `service.ready`, `container.stopping` and so on.
    pub name: String,
    /// The same for every try and no other event.
    pub id: String,
    /// When. **Units:** nanoseconds since 1970.
    pub at: u64,
    /// The service it is about, if any.
    pub service: Option<String>,
    /// A JSON object with the rest.
    pub body: String,
}

/// From PID 1 to a `sandbox` worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToSandbox {
    /// Answer to the worker's hello.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
    },
    /// Something a plugin wanted kept, from before this worker. Before its `Load`.
    Restore {
        /// Index in the plan.
        plugin: u16,
        /// Under this key.
        key: String,
        /// The value.
        value: Octets,
    },
    /// Load a plugin. Carries descriptors: the precompiled component, open for reading, and one for each of `grants.files`. Answered by
    /// `Loaded` or `LoadFailed`; not after `Seal`.
    Load {
        /// Index in the plan; names the plugin from now on.
        plugin: u16,
        /// Its name in the plan, for messages.
        name: String,
        /// The digest the plan pins, 64 lower-case hexadecimal digits; the bytes that are loaded are the bytes that are hashed. `None`: the
        /// descriptor's file must belong to root and be writable by no one else.
        sha256: Option<String>,
        /// Where in the file it is, if it is not the whole file: offset and length.
        part: Option<(u64, u64)>,
        /// Cap of each instance's linear memory. **Units:** bytes.
        memory: u64,
        /// Whether an instance that answered well serves further calls.
        reuse_instances: bool,
        /// What it may do.
        grants: Grants,
    },
    /// All plugins have been ordered: once they are loaded, the worker gives up what only loading needs. Answered by `Sealed`.
    Seal,
    /// Call a plugin. Answered by `Answered` with the same id, unless cancelled. **Idempotent:** repeated once if the worker is
    /// lost before it answers.
    Call {
        /// Number of the call.
        id: u64,
        /// Which plugin.
        plugin: u16,
        /// What it is asked.
        ask: Ask,
        /// Time the call may take. **Units:** milliseconds.
        timeout_ms: u64,
        /// The service it is about, if any.
        service: Option<Subject>,
    },
    /// A command that was asked for was started. Carries two descriptors: the reading ends of its standard output and standard error.
    Started {
        /// Number of the run.
        id: u64,
    },
    /// A command that was asked for has ended, or was not started.
    Ran {
        /// Number of the run.
        id: u64,
        /// How.
        ending: Ending,
    },
    /// The answer to this call is no longer wanted; none comes.
    Cancel {
        /// Number of the call.
        id: u64,
    },
}

/// From a `sandbox` worker to PID 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromSandbox {
    /// First message. Every version can read the version out of it.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// What it could not give up of its rights, and why, for people.
        #[serde(default)]
        refused: Vec<String>,
    },
    /// A plugin is ready for calls.
    Loaded {
        /// Which.
        plugin: u16,
        /// What it says of itself.
        info: PluginInfo,
    },
    /// A plugin cannot be used.
    LoadFailed {
        /// Which.
        plugin: u16,
        /// Why.
        failure: LoadFailure,
    },
    /// A call ended.
    Answered {
        /// Number of the call.
        id: u64,
        /// What came of it.
        answer: Answer,
        /// How often it asked for what the plan does not grant.
        denied: u32,
        /// How long it took. **Units:** microseconds.
        took_us: u64,
        /// Processor time it used, less what `Used` told. **Units:** microseconds.
        used_us: u64,
    },
    /// A call that goes on has used this much more of the processor, the worker's own work for it included.
    Used {
        /// Which plugin's.
        plugin: u16,
        /// **Units:** microseconds.
        us: u64,
    },
    /// All plugins are loaded and the worker has given up what only loading needs.
    Sealed {
        /// What it could not give up, and why, for people.
        refused: Vec<String>,
    },
    /// A plugin wants something kept, or with no value forgotten.
    Keep {
        /// Which.
        plugin: u16,
        /// Under this key.
        key: String,
        /// The value.
        value: Option<Octets>,
    },
    /// A plugin measured something: the whole value of a series.
    Measured {
        /// Which.
        plugin: u16,
        /// What.
        series: Series,
    },
    /// A plugin wants a command run. Answered by `Started` and `Ran`, or by `Ran` alone.
    Run {
        /// Number of the run.
        id: u64,
        /// Which plugin.
        plugin: u16,
        /// Name of the command in the plan.
        command: String,
    },
    /// The run is no longer wanted; it is killed. `Ran` comes all the same.
    StopRun {
        /// Number of the run.
        id: u64,
    },
    /// A plugin had something to say.
    Log {
        /// Which.
        plugin: u16,
        /// `debug`, `info`, `warn` or `error`.
        level: String,
        /// The line, without control characters, at most 1,024 bytes.
        message: String,
    },
}

/// What a plugin says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// Its own name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it can be asked: `probe`, `callback` and so on.
    pub kinds: Vec<String>,
}

/// Why a plugin cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoadFailure {
    /// `io`, `digest`, `untrusted`, `incompatible`, `import`, `grant`, `too-large`, `sealed` or `describe`.
    pub kind: String,
    /// The whole story for people, with the way out.
    pub message: String,
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
    /// Its own time was up and it was killed.
    TimedOut,
    /// Not granted, not declared, or not startable: why, for people.
    Refused(String),
}

/// A series of numbers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Series {
    /// Its name, legal for Prometheus, without prefix.
    pub name: String,
    /// Names and values, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Whether it only grows.
    pub counter: bool,
    /// Its value; finite.
    pub value: f64,
}

/// Bytes, in a frame two hexadecimal digits each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Octets(pub Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
        match bytes {
            Some(bytes) if rest.is_empty() => Ok(Octets(bytes)),
            _ => Err(serde::de::Error::custom("not pairs of hexadecimal digits")),
        }
    }
}

/// A mistake in settings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Where: a JSON Pointer into the settings.
    pub path: String,
    /// What is wrong, for people.
    pub message: String,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The plugin said pass.
    Pass,
    /// The plugin said fail, and why.
    Fail(String),
    /// The plugin could not tell, and why.
    Unknown(String),
    /// A callback: it was told and taken; what the receiver answered.
    Done(String),
    /// A callback: not yet.
    Retry {
        /// Why, for people.
        why: String,
        /// How long to wait at least, if the receiver said so. **Units:** milliseconds.
        after_ms: Option<u32>,
    },
    /// A callback: no, and why.
    Failed(String),
    /// Settings: every mistake in them.
    Judged(Vec<Problem>),
    /// The plugin itself failed: it trapped, ran out of time, memory or stack. Three in a row quarantine it.
    Broken {
        /// `trap`, `deadline`, `memory` or `stack`.
        kind: String,
        /// The story for people.
        message: String,
    },
}
