//! The Rust side of the WIT packages, generated. One place, so that a later major version of a package can be generated beside it.

wasmtime::component::bindgen!({
    path: "../../wit/probe",
    world: "hilum:probe/probe-plugin",
    imports: {
        "hilum:host/tcp": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: { "hilum:host/tcp.connection": crate::host::tcp::Connection },
});

pub(crate) use hilum::host::{clock, log, tcp};

/// What a probe plugin answers, as `wit/probe/probe.wit` documents it.
pub mod probe {
    pub use super::exports::hilum::probe::probe::{Description, Grant, Outcome, Request};
}
