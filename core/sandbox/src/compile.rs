//! Components to precompiled files, under the very configuration that hilum loads them with. For `hilumc` and tests; a build of hilum
//! has neither this module nor the compiler behind it.

use std::fmt;
use std::sync::Arc;

use wasmtime::{Engine, OptLevel};

use crate::code::Code;
use crate::engine::{Target, config};
use crate::host::Host;
use crate::load::{LoadError, Order, Plugin};
use crate::uplink::Uplink;

/// Why a component could not be compiled.
#[derive(Debug)]
pub enum CompileError {
    /// wasmtime does not compile for this target.
    Target(Target, wasmtime::Error),
    /// It is no component, or one that uses what hilum does not run.
    Component(wasmtime::Error),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Target(target, error) => write!(f, "cannot compile for {target}: {error:#}"),
            CompileError::Component(error) => write!(f, "cannot compile component: {error:#}"),
        }
    }
}

impl std::error::Error for CompileError {}

fn engine(target: Target) -> Result<Engine, CompileError> {
    let wrong = |error| CompileError::Target(target, error);
    let mut config = config(Some(target)).map_err(wrong)?;
    config.cranelift_opt_level(OptLevel::SpeedAndSize);
    Engine::new(&config).map_err(wrong)
}

/// The precompiled form of `component`, the same bytes each time.
///
/// **Errors:** [`CompileError`].
pub fn compile(component: &[u8], target: Target) -> Result<Vec<u8>, CompileError> {
    engine(target)?.precompile_component(component).map_err(CompileError::Component)
}

/// A plugin straight from bytes that [`compile`] returned to this process.
///
/// **Errors:** [`LoadError`].
pub fn plugin(
    host: &Host,
    order: Order,
    compiled: &Compiled,
    uplink: Arc<dyn Uplink>,
) -> Result<Arc<Plugin>, LoadError> {
    let name = order.name.clone();
    Code::new(host, &compiled.0)
        .and_then(|code| Plugin::new(host, order, Arc::new(code), uplink))
        .map(Arc::new)
        .map_err(|cause| LoadError { plugin: name, cause })
}

/// Code that this process compiled itself and may therefore run unread.
#[derive(Debug)]
pub struct Compiled(Vec<u8>);

impl Compiled {
    /// Compiles `component` for `target`.
    ///
    /// **Errors:** [`CompileError`].
    pub fn new(component: &[u8], target: Target) -> Result<Compiled, CompileError> {
        compile(component, target).map(Compiled)
    }

    /// The precompiled file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
