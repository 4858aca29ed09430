//! Write a hilum plugin in Rust.
//!
//! A plugin is a type that implements [`Plugin`] and a kind such as [`Probe`], and one line that exports it. Its logic is a function of
//! settings, a request and a host, so it is tested natively, against a [`fake`] host, or against a real server through a `native` one, with
//! `cargo test`; `hilumc build` makes the component.
//!
//! ```
//! use hilum_plugin::{Description, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError};
//!
//! struct Even;
//!
//! impl Plugin for Even {
//!     type Settings = i64;
//!
//!     fn describe() -> Description {
//!         Description {
//!             name: "probe-even",
//!             version: "0.1.0",
//!             settings_schema: r#"{"type": "object", "properties": {"number": {"type": "integer"}}}"#,
//!             grants: Vec::new(),
//!         }
//!     }
//!
//!     fn read(settings: &mut Settings) -> Result<i64, SettingsError> {
//!         settings.required("number", "number = 4")?.integer(0, 100)
//!     }
//! }
//!
//! impl Probe for Even {
//!     fn check(number: &i64, _request: &Request, _host: &impl Host) -> Outcome {
//!         if number % 2 == 0 { Outcome::Pass } else { Outcome::Fail(format!("{number} is odd")) }
//!     }
//! }
//!
//! hilum_plugin::export!(Even);
//! # fn main() {
//! let request = Request { settings: r#"{"number": 3}"#.to_owned(), timeout_ms: 1000, attempt: 1 };
//! let outcome = hilum_plugin::check::<Even>(&request, &hilum_plugin::fake::FakeHost::new());
//! assert_eq!(outcome, Outcome::Fail("3 is odd".to_owned()));
//! # }
//! ```
//!
//! What each host function means, and what each answer does, is documented once, in the repository's `wit/`.

#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]

mod exchange;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
mod host;
pub mod json;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod place;
mod plugin;
mod settings;
mod text;
pub mod tls;
pub mod unit;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

pub use exchange::Exchange;
pub use host::{
    CommandError, CommandOutput, Connection, Datagrams, Ending, FileError, FileKind, FileStatus, Host, HttpRequest,
    HttpResponse, Identity, Level, NetworkError, Process, ProcessError, ProcessTable, Run, Service, TlsOptions, Trust,
    WriteMode,
};
pub use place::Place;
pub use plugin::{
    Callback, Context, Description, Event, Grant, Outcome, Plugin, Probe, Reaction, Request, check, notify, read,
};
pub use settings::{Setting, Settings, SettingsError};
pub use text::{holds, shown, shown_end};

/// Makes a type that implements [`Probe`] this component's export. Does nothing in a native build.
#[macro_export]
macro_rules! export {
    ($probe:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Plugin = $probe;
            struct Component;

            impl $crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::Guest for Component {
                $crate::describe_for!();
            }

            impl $crate::wasm::asked::Guest for Component {
                fn check(request: $crate::wasm::asked::Request) -> $crate::wasm::asked::Outcome {
                    $crate::wasm::check::<Plugin>(request)
                }
            }

            $crate::wasm::plugin_bindings::export_plugin_world!(
                Component with_types_in $crate::wasm::plugin_bindings
            );
    $crate::wasm::probe_bindings::export_probe_world!(Component with_types_in $crate::wasm::probe_bindings);
        };
    };
}

/// Makes a type that implements [`Callback`] this component's export. Does nothing in a native build.
#[macro_export]
macro_rules! export_callback {
    ($callback:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Plugin = $callback;
            struct Component;

            impl $crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::Guest for Component {
                $crate::describe_for!();
            }

            impl $crate::wasm::told::Guest for Component {
                fn notify(
                    context: $crate::wasm::told::Context,
                    event: $crate::wasm::told::Event,
                ) -> $crate::wasm::told::Reaction {
                    $crate::wasm::notify::<Plugin>(context, event)
                }
            }

            $crate::wasm::plugin_bindings::export_plugin_world!(
                Component with_types_in $crate::wasm::plugin_bindings
            );
            $crate::wasm::callback_bindings::export_callback_world!(
                Component with_types_in $crate::wasm::callback_bindings
            );
        };
    };
}
