//! The Rust side of the WIT packages, generated. One place, so that a later major version of a package can be generated beside it.
//!
//! What plugins import is generated once, in `host`; what each kind exports has a module of its own, which takes the host's types from there.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/plugin",
        world: "hilum:plugin/any-plugin",
        imports: {
            "hilum:host/clock.sleep": async | trappable,
            "hilum:host/connection": async | trappable,
            "hilum:host/tcp": async | trappable,
            "hilum:host/unix": async | trappable,
            "hilum:host/tls.wrap": async | trappable,
            "hilum:host/udp": async | trappable,
            "hilum:host/dns": async | trappable,
            "hilum:host/http": async | trappable,
            "hilum:host/files": async | trappable,
            "hilum:host/command": async | trappable,
            "hilum:host/processes": async | trappable,
            "hilum:host/state.set": async | trappable,
            "hilum:host/state.compare-and-set": async | trappable,
            "hilum:host/metrics": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "hilum:host/connection.connection": crate::host::network::Connection,
            "hilum:host/udp.socket": crate::host::network::udp::Socket,
        },
    });
}

mod probing {
    wasmtime::component::bindgen!({
        inline: "package hilum:serving; world probing { export hilum:probe/probe@0.1.0; }",
        path: "../../wit/probe",
        world: "hilum:serving/probing",
        exports: { default: async },
    });
}

mod calling {
    wasmtime::component::bindgen!({
        inline: "package hilum:serving; world calling { export hilum:callback/callback@0.1.0; }",
        path: "../../wit/callback",
        world: "hilum:serving/calling",
        exports: { default: async },
    });
}

pub(crate) use calling::CallingIndices;
pub(crate) use generated::AnyPluginIndices;
pub(crate) use generated::hilum::host;
pub(crate) use probing::ProbingIndices;

/// What every plugin says of itself, as `wit/plugin/plugin.wit` documents it.
pub mod plugin {
    pub use super::generated::exports::hilum::plugin::plugin::{Description, Grant, Problem};
}

/// What a probe is asked and answers, as `wit/probe/probe.wit` documents it.
pub(crate) mod probe {
    pub(crate) use super::probing::exports::hilum::probe::probe::{Outcome, Request};
}

/// What a callback is told and answers, as `wit/callback/callback.wit` documents it.
pub(crate) mod callback {
    pub(crate) use super::calling::exports::hilum::callback::callback::{Context, Event, Reaction};
}
