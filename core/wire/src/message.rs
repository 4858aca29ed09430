//! Who says what: one enum per direction.

use serde::{Deserialize, Serialize};

use crate::report::{Overview, ServiceReport};

/// The protocol. Both ends are the same file, so a mismatch means that the file was replaced under a running PID 1; the worker is
/// then refused with both numbers in the log. Raise it with every change to this module or to `report`.
pub const VERSION: u32 = 1;

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
#[serde(rename_all = "kebab-case")]
pub struct Grants {
    /// `host:port` pairs it may connect to over TCP; the host as written in the plan, an address or a name; `*` for any host
    /// or any port.
    pub connect: Vec<String>,
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
    /// Load a plugin. Carries one descriptor: the precompiled component, open for reading. Answered by `Loaded` or `LoadFailed`.
    Load {
        /// Index in the plan; names the plugin from now on.
        plugin: u16,
        /// Its name in the plan, for messages.
        name: String,
        /// The digest the plan pins, 64 lower-case hexadecimal digits; the bytes that are loaded are the bytes that are hashed. `None`: the
        /// descriptor's file must belong to root and be writable by no one else.
        sha256: Option<String>,
        /// Cap of each instance's linear memory. **Units:** bytes.
        memory: u64,
        /// What it may do.
        grants: Grants,
    },
    /// Call a probe plugin. Answered by `Answered` with the same id, unless cancelled. **Idempotent:** repeated once if the worker is
    /// lost before it answers.
    Call {
        /// Number of the call.
        id: u64,
        /// Which plugin.
        plugin: u16,
        /// JSON of the plan's `with` table.
        settings: String,
        /// Time the call may take. **Units:** milliseconds.
        timeout_ms: u64,
        /// Calls of this probe in this life of the service, this one included.
        attempt: u32,
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
        /// How long it took. **Units:** microseconds.
        took_us: u64,
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
}

/// Why a plugin cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoadFailure {
    /// `io`, `digest`, `untrusted`, `incompatible`, `import`, `too-large` or `describe`.
    pub kind: String,
    /// The whole story for people, with the way out.
    pub message: String,
}

/// What came of a probe call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The plugin said pass.
    Pass,
    /// The plugin said fail, and why.
    Fail(String),
    /// The plugin could not tell, and why.
    Unknown(String),
    /// The plugin itself failed: it trapped, ran out of time, memory or stack. Three in a row quarantine it.
    Broken {
        /// `trap`, `deadline`, `memory` or `stack`.
        kind: String,
        /// The story for people.
        message: String,
    },
}
