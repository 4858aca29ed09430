//! The kinds of plugins in plain Rust types, the same natively and in a component.

use crate::host::Host;
use crate::settings::{Settings, SettingsError};

/// What every plugin is, whatever its kind. See `wit/plugin/plugin.wit`.
pub trait Plugin {
    /// What the settings mean.
    type Settings;

    /// Says what the plugin is; the same each time.
    fn describe() -> Description;

    /// Reads the settings: every key the plugin knows is asked for; one that is left over is a mistake, found by the caller. It judges form,
    /// not reachability: this is also what `hilum check` asks.
    ///
    /// **Errors:** the first mistake.
    fn read(settings: &mut Settings) -> Result<Self::Settings, SettingsError>;
}

/// A question about a service. See `wit/probe/probe.wit`.
pub trait Probe: Plugin {
    /// Asks. Must be idempotent: a call may be repeated.
    fn check(settings: &Self::Settings, request: &Request, host: &impl Host) -> Outcome;
}

/// Telling somebody that something happened. See `wit/callback/callback.wit`.
pub trait Callback: Plugin {
    /// Tells. Must be idempotent for one event: a call may be repeated.
    fn notify(settings: &Self::Settings, event: &Event, context: &Context, host: &impl Host) -> Reaction;
}

/// Settings from their JSON.
///
/// **Errors:** the first mistake.
pub fn read<P: Plugin>(json: &str) -> Result<P::Settings, SettingsError> {
    let mut settings = Settings::parse(json)?;
    let read = P::read(&mut settings)?;
    settings.finish()?;
    Ok(read)
}

/// A call of a probe as the host makes it: settings that cannot be read are an unknown.
pub fn check<P: Probe>(request: &Request, host: &impl Host) -> Outcome {
    match read::<P>(&request.settings) {
        Ok(settings) => P::check(&settings, request, host),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// A call of a callback as the host makes it: settings that cannot be read are a failure.
pub fn notify<C: Callback>(event: &Event, context: &Context, host: &impl Host) -> Reaction {
    match read::<C>(&context.settings) {
        Ok(settings) => C::notify(&settings, event, context, host),
        Err(error) => Reaction::Failed(error.to_string()),
    }
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

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// What: `service.ready` and so on.
    pub name: String,
    /// The same for every try and no other event.
    pub id: String,
    /// When. **Units:** nanoseconds since 1970.
    pub at: u64,
    /// The service it is about, if it is about one.
    pub service: Option<String>,
    /// A JSON object with the rest.
    pub body: String,
}

/// What goes with the telling.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// JSON of the plan's `with` table.
    pub settings: String,
    /// Time the call may take. **Units:** milliseconds.
    pub timeout_ms: u32,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// It was told and taken; what was answered.
    Done(String),
    /// Not yet.
    Retry {
        /// Why.
        why: String,
        /// How long to wait at least, where the receiver said so. **Units:** milliseconds.
        after_ms: Option<u32>,
    },
    /// No, and why.
    Failed(String),
}

impl Reaction {
    /// Not yet, and the receiver did not say when.
    #[must_use]
    pub fn retry(why: String) -> Reaction {
        Reaction::Retry { why, after_ms: None }
    }
}
