//! Guests: core modules as text, with the parts that all have in common filled in, made into precompiled components.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use hilum_sandbox::compile::compile;
use hilum_sandbox::engine::Target;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guest: what it does when it is loaded, described, asked. The parts are WebAssembly text.
#[derive(Clone, Copy)]
pub(crate) struct Guest {
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// Fields beside functions and memory, such as a start function.
    pub(crate) fields: &'static str,
    /// Body of `describe`, which leaves the address of a description.
    pub(crate) describe: &'static str,
    /// Whether it is made for the packages of version 0.0.1.
    pub(crate) first: bool,
    /// Body of `check`, which leaves the address of an outcome; its parameters are `$settings`, `$len`, `$timeout`, `$attempt`.
    pub(crate) check: &'static str,
}

/// Address of a good description. Guest memory from 64 to 512 is laid out by [`Guest::text`], from 1024 on it is the guest's.
const DESCRIBE: &str = "(i32.const 64)";

/// Says pass.
pub(crate) const PASS: &str = "(i32.const 128)";

/// Says fail, with the settings as the reason: an echo.
pub(crate) const ECHO: &str = "
    (i32.store8 (i32.const 160) (i32.const 1))
    (i32.store (i32.const 164) (local.get $settings))
    (i32.store (i32.const 168) (local.get $len))
    (i32.const 160)";

/// Tries to connect to the place in the settings, `host` at port `$timeout`, and fails with the number of the answer's case.
pub(crate) const CONNECT: &str = "
    (call $connect (local.get $settings) (local.get $len) (local.get $timeout) (i32.const 192))
    (i32.store8 (i32.const 160) (i32.const 1))
    (i32.store (i32.const 164) (i32.const 224))
    (i32.store (i32.const 168) (i32.const 2))
    ;; 'c' for a connection; for an error 'e' and its case.
    (i32.store8 (i32.const 224) (select (i32.const 101) (i32.const 99) (i32.load8_u (i32.const 192))))
    (i32.store8 (i32.const 225) (i32.add (i32.const 48) (i32.load8_u (i32.const 196))))
    (i32.const 160)";

pub(crate) const SPIN: &str = "(loop $again (br $again)) (unreachable)";

impl Guest {
    /// One that is well behaved but for its `check`.
    pub(crate) const fn checking(check: &'static str) -> Guest {
        Guest { pages: 1, fields: "", describe: DESCRIBE, first: false, check }
    }

    pub(crate) const fn with_fields(self, fields: &'static str) -> Guest {
        Guest { fields, ..self }
    }

    pub(crate) const fn with_pages(self, pages: u32) -> Guest {
        Guest { pages, ..self }
    }

    /// The same for the packages of version 0.0.1.
    pub(crate) const fn of_the_first_packages(self) -> Guest {
        Guest { first: true, ..self }
    }

    pub(crate) const fn describing(describe: &'static str) -> Guest {
        Guest { pages: 1, fields: "", describe, first: false, check: PASS }
    }

    fn text(&self) -> String {
        let Guest { pages, fields, describe, first, check } = self;
        let (version, connection, plugin) = if *first {
            ("0.0.1", "tcp@0.0.1", "probe/probe@0.0.1")
        } else {
            ("0.1.0", "connection@0.1.0", "plugin/plugin@0.1.0")
        };
        // No problem with any settings, in an instance in which no guest here was asked anything else before: those use the memory from 1024 on.
        let judge = if *first {
            ""
        } else {
            r#"(func (export "hilum:plugin/plugin@0.1.0#check-settings") (param i32 i32) (result i32)
              (if (i32.load (i32.const 1024)) (then (unreachable))) (i32.const 240))"#
        };
        format!(
            r#"(module
              (import "hilum:host/log@{version}" "write" (func $log (param i32 i32 i32)))
              (import "hilum:host/clock@{version}" "remaining-ms" (func $remaining (result i32)))
              (import "hilum:host/tcp@{version}" "connect" (func $connect (param i32 i32 i32 i32)))
              (import "hilum:host/{connection}" "[method]connection.read" (func $read (param i32 i32 i32)))
              (import "hilum:host/{connection}" "[resource-drop]connection" (func $close (param i32)))
              (memory (export "memory") {pages})
              (global $free (mut i32) (i32.const 32768))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $free)
                (global.set $free (i32.and (i32.add (global.get $free) (i32.add (local.get 3) (i32.const 7))) (i32.const -8))))
              ;; name, version, settings schema, no grants
              (data (i32.const 64) "\80\00\00\00\00\00\00\00")
              (data (i32.const 64) "\00\01\00\00\05\00\00\00\10\01\00\00\03\00\00\00\20\01\00\00\02\00\00\00\00\00\00\00\00\00\00\00")
              (data (i32.const 256) "guest")
              (data (i32.const 272) "1.0")
              (data (i32.const 288) "{{}}")
              {fields}
              {judge}
              (func $describe (export "hilum:{plugin}#describe") (result i32) {describe})
              (func $check (export "hilum:probe/probe@{version}#check")
                (param $settings i32) (param $len i32) (param $timeout i32) (param $attempt i32) (result i32) {check}))"#
        )
    }

    /// The guest as a component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let folder = if self.first { "../../wit/compat/probe-0.0.1" } else { "../../wit/probe" };
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let (package, _) = resolve.push_path(wit).unwrap();
        let world = resolve.select_world(&[package], Some("probe-plugin")).unwrap();
        let mut module = wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .unwrap()
            .encode()
            .unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The guest precompiled for this machine; each only once.
    pub(crate) fn compiled(&self) -> Vec<u8> {
        static KNOWN: OnceLock<Mutex<HashMap<String, Vec<u8>>>> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        if let Some(bytes) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&self.text()) {
            return bytes.clone();
        }
        let bytes = self.compiled_for(Target::native());
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(self.text(), bytes.clone());
        bytes
    }

    pub(crate) fn compiled_for(&self, target: Target) -> Vec<u8> {
        compile(&self.component(), target).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A component from component text, precompiled for this machine.
pub(crate) fn component(text: &str) -> Vec<u8> {
    compile(&wat::parse_str(text).unwrap(), Target::native()).unwrap_or_else(|error| panic!("{error}"))
}

/// How the guests above write a case of `connection.error`: the sign as many places after '0' as it stands in the WIT file.
pub(crate) fn case(name: &str) -> char {
    let wit = include_str!("../../../../wit/host/connection.wit");
    let (_, cases) = wit.split_once("variant error {").unwrap();
    let (cases, _) = cases.split_once("\n  }").unwrap();
    let mut names = cases.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let position = names.position(|line| line.trim_end_matches(',').split('(').next() == Some(name));
    char::from(b'0' + u8::try_from(position.unwrap()).unwrap())
}
