//! The probe world in plain Rust types, the same natively and in a component.

use crate::host::Host;

/// A question about a service. See `wit/probe/probe.wit`.
pub trait Probe {
    /// Says what the plugin is; the same each time.
    fn describe() -> Description;

    /// Asks. Must be idempotent: a call may be repeated.
    fn check(request: &Request, host: &dyn Host) -> Outcome;
}

/// What a plugin says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Its name, such as `probe-http`.
    pub name: &'static str,
    /// Its version; usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// A JSON Schema (2020-12) of its settings.
    pub settings_schema: &'static str,
    /// What it needs the plan to allow.
    pub grants: Vec<Grant>,
}

/// Something the plugin needs the plan to allow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The key under `allow`, such as `connect`.
    pub kind: &'static str,
    /// What to write there; `None` when it depends on the settings.
    pub value: Option<&'static str>,
    /// What it is for.
    pub reason: &'static str,
}

/// One question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// JSON of the plan's `with` table.
    pub settings: String,
    /// Time the call may take. **Units:** milliseconds.
    pub timeout_ms: u32,
    /// Which call in this life of the service, from 1.
    pub attempt: u32,
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The service is well.
    Pass,
    /// It is not, and this is why.
    Fail(String),
    /// The plugin could not tell, and this is why.
    Unknown(String),
}
