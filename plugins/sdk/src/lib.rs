//! Write a hilum plugin in Rust.
//!
//! A plugin is a type that implements [`Probe`] and one line that exports it. Its logic is a function of a request and a host, so it
//! is tested natively, against a [`fake`] host, or against a real server through a `native` one, with `cargo test`; `hilumc build` makes the
//! component.
//!
//! ```
//! use hilum_plugin::{Description, Host, Outcome, Probe, Request, Settings};
//!
//! struct Even;
//!
//! impl Probe for Even {
//!     fn describe() -> Description {
//!         Description {
//!             name: "probe-even",
//!             version: "0.1.0",
//!             settings_schema: r#"{"type": "object", "properties": {"number": {"type": "integer"}}}"#,
//!             grants: Vec::new(),
//!         }
//!     }
//!
//!     fn check(request: &Request, _host: &dyn Host) -> Outcome {
//!         let number = match Settings::parse(&request.settings).and_then(|mut settings| {
//!             let number = settings.required("number", "number = 4")?.integer(0, 100)?;
//!             settings.finish()?;
//!             Ok(number)
//!         }) {
//!             Ok(number) => number,
//!             Err(error) => return Outcome::Unknown(error.to_string()),
//!         };
//!         if number % 2 == 0 { Outcome::Pass } else { Outcome::Fail(format!("{number} is odd")) }
//!     }
//! }
//!
//! hilum_plugin::export!(Even);
//! # fn main() {
//! let request = Request { settings: r#"{"number": 3}"#.to_owned(), timeout_ms: 1000, attempt: 1 };
//! assert_eq!(Even::check(&request, &hilum_plugin::fake::FakeHost::new()), Outcome::Fail("3 is odd".to_owned()));
//! # }
//! ```
//!
//! What each host function means, and what each answer does, is documented once, in the repository's `wit/`.

#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]

pub mod fake;
mod host;
mod json;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod place;
mod probe;
mod settings;
mod text;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

pub use host::{Connection, Host, Level, TcpError};
pub use place::Place;
pub use probe::{Description, Grant, Outcome, Probe, Request};
pub use settings::{Setting, Settings, SettingsError};
pub use text::shown;

/// Makes a type that implements [`Probe`] this component's export. Does nothing in a native build.
#[macro_export]
macro_rules! export {
    ($probe:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::wasm::Guest for Component {
                fn describe() -> $crate::wasm::Description {
                    $crate::wasm::describe::<$probe>()
                }

                fn check(request: $crate::wasm::Request) -> $crate::wasm::Outcome {
                    $crate::wasm::check::<$probe>(request)
                }
            }

    $crate::wasm::bindings::export_probe!(Component with_types_in $crate::wasm::bindings);
        };
    };
}
