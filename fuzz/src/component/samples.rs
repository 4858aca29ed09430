//! Small components to begin with: plugins that behave, plugins that do not, and what is none.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// One that says what it is, takes any settings, and does more with these parts.
struct Plugin {
    /// Imports and fields of its module.
    fields: &'static str,
    /// What `describe` does before.
    describe: &'static str,
    /// What leaves the address of a list of problems.
    judge: &'static str,
}

impl Plugin {
    const PLAIN: Plugin = Plugin { fields: "", describe: "", judge: "(i32.const 240)" };

    fn component(&self) -> Vec<u8> {
        let Plugin { fields, describe, judge } = self;
        let text = format!(
            r#"(module
              {fields}
              (memory (export "memory") 1)
              (global $free (mut i32) (i32.const 4096))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $free)
                (global.set $free (i32.and (i32.add (global.get $free) (i32.add (local.get 3) (i32.const 7))) (i32.const -8))))
              (data (i32.const 64) "\00\01\00\00\05\00\00\00\10\01\00\00\03\00\00\00\20\01\00\00\02\00\00\00\00\00\00\00\00\00\00\00")
              (data (i32.const 256) "guest")
              (data (i32.const 272) "1.0")
              (data (i32.const 288) "{{}}")
              (func (export "hilum:plugin/plugin@0.1.0#describe") (result i32) {describe} (i32.const 64))
              (func (export "hilum:plugin/plugin@0.1.0#check-settings") (param i32 i32) (result i32) {judge})
              (func (export "hilum:probe/probe@0.1.0#check") (param i32 i32 i32 i32) (result i32) (i32.const 128)))"#
        );
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/probe");
        let (package, _) = resolve.push_path(wit).expect("cannot read wit/probe");
        let world = resolve.select_world(&[package], Some("probe-plugin")).expect("there is no world of probes");
        let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("cannot add the world");
        let mut encoder = ComponentEncoder::default();
        let encoder = encoder.module(&module).expect("cannot read the module");
        encoder.encode().expect("cannot make a component")
    }
}

/// Plugins that can be asked, by name.
pub fn plugins() -> Vec<(&'static str, Vec<u8>)> {
    let plugins = [
        ("plain", Plugin::PLAIN),
        (
            "logging",
            Plugin {
                fields: r#"(import "hilum:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))
                    (import "hilum:host/udp@0.1.0" "[resource-drop]socket" (func (param i32)))"#,
                describe: "(call $log (i32.const 1) (i32.const 256) (i32.const 5))",
                judge: "(call $log (i32.const 2) (local.get 0) (local.get 1)) (i32.const 240)",
            },
        ),
        (
            "judging",
            // One problem: the guest's name as the path, its version as the message.
            Plugin {
                fields: r#"(data (i32.const 320) "\00\01\00\00\05\00\00\00\10\01\00\00\03\00\00\00\40\01\00\00\01\00\00\00")"#,
                judge: "(i32.const 336)",
                ..Plugin::PLAIN
            },
        ),
        (
            "starting",
            Plugin {
                fields: "(func $start (drop (memory.grow (i32.const 100)))) (start $start) (table 10 funcref)
                    (func $deep (call $deep))",
                judge: "(call $deep) (i32.const 240)",
                ..Plugin::PLAIN
            },
        ),
        ("spinning", Plugin { judge: "(loop $again (br $again)) (i32.const 240)", ..Plugin::PLAIN }),
    ];
    plugins.into_iter().map(|(name, plugin)| (name, plugin.component())).collect()
}

/// What is no plugin, by name.
pub fn others() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        ("module", "(module (memory 1) (func (export \"f\") (result i32) (i32.const 1)))"),
        ("nothing", "(component)"),
        (
            "wasi",
            r#"(component (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64))))))"#,
        ),
        (
            "nested",
            r#"(component
              (component $inner
                (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
                (core instance $i (instantiate $m))
                (func (export "f") (param "a" u8) (result s8) (canon lift (core func $i "f"))))
              (instance $one (instantiate $inner))
              (export "f" (func $one "f")))"#,
        ),
        (
            "types",
            r#"(component
              (type $resource (resource (rep i32)))
              (type (record (field "a" (list string)) (field "b" (option f64))))
              (type (variant (case "a" u64) (case "b")))
              (core func $new (canon resource.new $resource))
              (core func $drop (canon resource.drop $resource)))"#,
        ),
    ];
    texts
        .into_iter()
        .map(|(name, text)| (name, wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))))
        .collect()
}
