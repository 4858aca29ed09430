//! Code that can be called: from bytes that are trusted to what is instantiated for each call.

use wasmtime::component::{Component, InstancePre};

use crate::bindings::{AnyPluginIndices, CallingIndices, ProbingIndices};
use crate::compat::v0_0_1;
use crate::engine::Target;
use crate::host::{Backend, Host, INTERFACES, State};
use crate::load::LoadCause;
use crate::text::clean;

/// The interface every plugin exports.
pub(crate) const PLUGIN: &str = "hilum:plugin/plugin@0.1.0";

/// The kinds of plugins, and the interface each exports.
pub(crate) const KINDS: [(&str, &str); 6] = [
    ("probe", "hilum:probe/probe@0.1.0"),
    ("callback", "hilum:callback/callback@0.1.0"),
    ("trigger", "hilum:callback/trigger@0.1.0"),
    ("discovery", "hilum:discovery/discovery@0.1.0"),
    ("sensor", "hilum:sensor/sensor@0.1.0"),
    ("lease", "hilum:lease/store@0.1.0"),
];

/// What makes two orders mean the same code.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Bytes with this digest.
    Pinned(String),
    /// A file that only root can write, as it is since it was changed last, or a part of it.
    File { device: u64, inode: u64, changed: (i64, i64), part: Option<(u64, u64)> },
}

/// A component that is linked. Plugins that differ only in what the plan gives them have it together: it is most of their memory.
pub(crate) struct Code {
    pub(crate) pre: InstancePre<State>,
    pub(crate) speaks: Speaks,
    /// Whether it imports WASI.
    #[cfg(feature = "full")]
    pub(crate) wasi: bool,
}

/// What a plugin exports.
pub(crate) enum Speaks {
    /// Today's packages.
    Current {
        /// What it says of itself.
        plugin: AnyPluginIndices,
        /// That it is a probe.
        probe: Option<ProbingIndices>,
        /// That it is a callback.
        callback: Option<CallingIndices>,
    },
    /// The first probe there was.
    V0_0_1(v0_0_1::ProbePluginIndices),
}

impl Code {
    /// Links code.
    ///
    /// **Order:** only with bytes that were pinned, that only root could have written, or that this process compiled itself.
    pub(crate) fn new(host: &Host, bytes: &[u8]) -> Result<Code, LoadCause> {
        if bytes.starts_with(b"\0asm") {
            return Err(LoadCause::NotCompiled);
        }
        let found = Target::of(bytes).ok_or(LoadCause::NotAComponent)?;
        let backend = host.backend(found).map_err(LoadCause::NoInterpreter)?.ok_or(LoadCause::Machine { found })?;
        let component = deserialize(backend, bytes).map_err(LoadCause::Incompatible)?;
        let types = component.component_type();
        let names: Vec<String> = types.imports(&backend.engine).map(|(name, _)| name.to_owned()).collect();
        #[cfg(feature = "full")]
        let wasi = names.iter().any(|name| is_wasi(name));
        let missing = names.iter().filter(|name| !is_known(name)).map(|name| clean(name, 256)).collect::<Vec<_>>();
        #[cfg(feature = "full")]
        let linker = if wasi { backend.with_wasi().map_err(LoadCause::ImportMismatch)? } else { &backend.linker };
        #[cfg(not(feature = "full"))]
        let linker = &backend.linker;
        let pre = match linker.instantiate_pre(&component) {
            Ok(pre) => pre,
            Err(_) if !missing.is_empty() => return Err(LoadCause::MissingImports(missing)),
            Err(error) => return Err(LoadCause::ImportMismatch(error)),
        };
        let speaks = speaks(&pre)?;
        let code = Code {
            pre,
            speaks,
            #[cfg(feature = "full")]
            wasi,
        };
        if code.kinds().is_empty() {
            return Err(LoadCause::NoKind(code.exports().iter().map(|name| clean(name, 128)).collect()));
        }
        Ok(code)
    }

    /// Names of the interfaces it imports.
    pub(crate) fn imports(&self) -> Vec<String> {
        let component = self.pre.component();
        component.component_type().imports(self.pre.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// Names of what it exports.
    pub(crate) fn exports(&self) -> Vec<String> {
        let component = self.pre.component();
        component.component_type().exports(self.pre.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// What it can be asked.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let exports = self.exports();
        let exported = |interface: &str| exports.iter().any(|export| export == interface);
        if matches!(self.speaks, Speaks::V0_0_1(_)) {
            return vec!["probe"];
        }
        KINDS.into_iter().filter(|(_, interface)| exported(interface)).map(|(kind, _)| kind).collect()
    }
}

/// Whether an import is of WASI 0.2 as far as it is served.
fn is_wasi(name: &str) -> bool {
    let served = ["cli", "clocks", "random", "io", "filesystem", "sockets", "http"];
    name.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')).is_some_and(|(package, interface)| {
        served.contains(&package) && interface.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
    })
}

/// Whether there is something behind an import.
fn is_known(name: &str) -> bool {
    INTERFACES.contains(&name) || v0_0_1::INTERFACES.contains(&name) || cfg!(feature = "full") && is_wasi(name)
}

/// What a component exports, as its types say.
fn speaks(pre: &InstancePre<State>) -> Result<Speaks, LoadCause> {
    let types = pre.component().component_type();
    let exports = |name: &str| types.exports(pre.engine()).any(|(export, _)| export == name);
    if !exports(PLUGIN) && exports(v0_0_1::PROBE) {
        return v0_0_1::ProbePluginIndices::new(pre).map(Speaks::V0_0_1).map_err(LoadCause::MissingExport);
    }
    let plugin = AnyPluginIndices::new(pre).map_err(LoadCause::MissingExport)?;
    let [(_, probe), (_, callback), ..] = KINDS;
    let probe = exports(probe).then(|| ProbingIndices::new(pre)).transpose().map_err(LoadCause::MissingExport)?;
    let callback = exports(callback).then(|| CallingIndices::new(pre)).transpose().map_err(LoadCause::MissingExport)?;
    Ok(Speaks::Current { plugin, probe, callback })
}

#[expect(unsafe_code, reason = "the one place where precompiled code becomes code")]
fn deserialize(backend: &Backend, bytes: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` requires bytes that `Engine::precompile_component` made and nobody changed. Those of a file
    // come from `load::read_trusted`: the plan pins their digest, or only root could have written them, who could as well replace hilum.
    unsafe { Component::deserialize(&backend.engine, bytes) }
}
