//! The guest whose `check` reads its settings as a program of raw calls. Its text is written from `wit/` itself, so that a function that is added
//! there is called without a change here.
//!
//! Arguments go over the boundary as core values, whatever they mean: lengths that lead out of memory, text that is none, handles of another kind,
//! numbers of cases that do not exist. The script that runs first is the input's, the guest adds no sense of its own.

use std::fmt::Write;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{
    Function, LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, WasmImport, WorldId, WorldItem,
    WorldKey,
};

/// Longest program. **Units:** bytes. Where libFuzzer stops by itself.
pub(super) const MAX_INPUT: usize = 4096;

/// What the settings are around the program, which is a text in them: JSON, so that there are pieces of it to ask for.
pub(super) const SETTINGS: [&str; 2] = [r#"{"list":[1,"x",null],"table":{"a/b":true},"input":""#, r#""}"#];

/// Where a program lies in the guest's memory. What is below is described in [`text`].
const PROGRAM: u32 = 0x1000;

/// Where the texts begin that a program can name.
const TEXTS: u32 = 0x2000;

/// Where the host puts results if the program does not want them elsewhere.
const RESULT: u32 = 0x3000;

/// Where arguments are composed.
const SCRATCH: u32 = 0x4000;

/// Where that ends.
const SCRATCH_END: u32 = 0x8000;

/// Where the host has memory given to it, to the end of memory.
const GIVEN: u32 = 0x1_0000;

/// Pages at the start. What one host function returns at most is 1 MiB.
const PAGES: u32 = 32;

/// A core function that the guest imports.
pub(super) struct Import {
    module: String,
    name: String,
    parameters: Vec<WasmType>,
    results: Vec<WasmType>,
    /// Whether the last parameter is where the result is to be put.
    places_result: bool,
}

impl Import {
    /// Its interface and its name there, as in `files.write` or `connection.[resource-drop]connection`.
    pub(super) fn full_name(&self) -> String {
        let interface = self.module.rsplit('/').next().unwrap_or_default();
        format!("{}.{}", interface.split('@').next().unwrap_or_default(), self.name)
    }
}

/// The world of probes and what it imports, in the order of the files.
pub(super) struct World {
    resolve: Resolve,
    world: WorldId,
    pub(super) imports: Vec<Import>,
}

impl World {
    pub(super) fn read() -> World {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/probe");
        let (package, _) = resolve.push_path(wit).expect("cannot read wit/probe");
        let world = resolve.select_world(&[package], Some("probe-plugin")).expect("there is no world of probes");
        let mut imports = Vec::new();
        for (key, item) in &resolve.worlds[world].imports {
            let WorldItem::Interface { id, .. } = item else { panic!("{key:?} is imported and no interface") };
            let interface = &resolve.interfaces[*id];
            imports.extend(interface.functions.values().map(|function| import(&resolve, key, function)));
            for resource in interface.types.values() {
                if matches!(resolve.types[*resource].kind, TypeDefKind::Resource) {
                    let intrinsic = ResourceIntrinsic::ImportedDrop;
                    let drop = WasmImport::ResourceIntrinsic { interface: Some(key), resource: *resource, intrinsic };
                    let (module, name) = resolve.wasm_import_name(mangling(), drop);
                    let parameters = vec![WasmType::I32];
                    imports.push(Import { module, name, parameters, results: Vec::new(), places_result: false });
                }
            }
        }
        World { resolve, world, imports }
    }

    /// The guest as a component; `texts` are those that a program can name.
    pub(super) fn component(&self, texts: &[String], numbers: &[u32]) -> Vec<u8> {
        let text = self.text(texts, numbers);
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8)
            .expect("cannot add the world");
        let mut encoder = ComponentEncoder::default();
        let encoder = encoder.validate(true).module(&module).expect("cannot read the guest");
        encoder.encode().expect("cannot make a component of the guest")
    }

    /// Memory: 64 a description, 128 an outcome, 240 an empty list, 256 words of these, 512 the ring of results, 0x800 numbers, then the parts
    /// named by constants.
    fn text(&self, texts: &[String], numbers: &[u32]) -> String {
        let mut imported = String::new();
        let mut callers = String::new();
        for (index, import) in self.imports.iter().enumerate() {
            let Import { module, name, parameters, results, places_result } = import;
            let (last, plain) = match parameters.split_last() {
                Some((_, plain)) if *places_result => ("(local.tee $result (call $place))", plain),
                _ => ("", parameters.as_slice()),
            };
            let declared = |word: &str, types: &[WasmType]| {
                types.iter().fold(String::new(), |text, one| format!("{text} ({word} {})", core_type(*one)))
            };
            let (takes, gives) = (declared("param", parameters), declared("result", results));
            let _ = writeln!(imported, "(import {module:?} {name:?} (func $host{index}{takes}{gives}))");
            let arguments = plain.iter().fold(String::new(), |text, one| format!("{text} {}", argument(*one)));
            let call = format!("(call $host{index}{arguments} {last})");
            let call = match results.as_slice() {
                [] if *places_result => format!(
                    "{call} (call $keep (i32.load offset=8 (local.get $result)))
                     (call $keep (i32.load (local.get $result))) (call $keep (i32.load offset=4 (local.get $result)))"
                ),
                [] => call,
                [one] => format!("(call $keep {})", narrowed(*one, &call)),
                more => panic!("{module} {name} has {} results", more.len()),
            };
            let _ = writeln!(callers, "(func $call{index} (local $result i32) (call $count) {call})");
        }
        let functions = self.imports.len();
        let all = (0..functions).fold(String::new(), |text, index| format!("{text} $call{index}"));
        let exports = self.exports();
        let data = data(texts, numbers);
        let (texts, numbers, [before, after]) = (texts.len(), numbers.len(), SETTINGS.map(str::len));
        format!(
            r#"(module
            {imported}
            (memory (export "memory") {PAGES})
            {data}
            (data (i32.const 64) "\00\01\00\00\05\00\00\00\10\01\00\00\03\00\00\00\20\01\00\00\02\00\00\00\00\00\00\00\00\00\00\00")
            (data (i32.const 256) "guest")
            (data (i32.const 272) "1.0")
            (data (i32.const 288) "{{}}")

            (type $caller (func))
            (table funcref (elem {all} $switch))

            (global $at (mut i32) (i32.const 0))
            (global $end (mut i32) (i32.const 0))
            (global $calls (mut i32) (i32.const 0))
            (global $length (mut i32) (i32.const 0))
            (global $kept (mut i32) (i32.const 0))
            (global $scratch (mut i32) (i32.const {SCRATCH}))
            (global $given (mut i32) (i32.const {GIVEN}))
            (global $giving (mut i32) (i32.const 0))

            ;; How memory is given: well; not aligned; beyond the end; by growing; not at all; always the same; while calling; at 0.
            (func $realloc (export "cabi_realloc") (param $old i32) (param $from i32) (param $align i32) (param $size i32) (result i32)
              (local $place i32)
              (block $grows (block $well
                (block $zero (block $calling (block $same (block $none (block $beyond (block $crooked
                  (br_table $well $crooked $beyond $grows $none $same $calling $zero (global.get $giving)))
                  (return (i32.const {crooked})))
                  (return (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))))
                  (unreachable))
                  (return (i32.const {RESULT})))
                  (call $step) (br $well))
                (return (i32.const 0)))
              (local.set $place (global.get $given))
              (if (i32.gt_u (local.get $size) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (local.get $place)))
                (then (local.set $place (i32.const {GIVEN}))))
              (global.set $given (i32.and (i32.add (i32.add (local.get $place) (local.get $size)) (i32.const 7)) (i32.const -8)))
              (return (local.get $place)))
              (local.set $place (memory.size))
              (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
              (i32.mul (local.get $place) (i32.const 65536)))

            (func $switch (global.set $giving (i32.and (call $byte) (i32.const 7))))
            (func $count (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
            (func $keep (param i32)
              (global.set $kept (i32.and (i32.add (global.get $kept) (i32.const 1)) (i32.const 15)))
              (i32.store offset=512 (i32.shl (global.get $kept) (i32.const 2)) (local.get 0)))

            ;; Zeros once the program is used up.
            (func $byte (result i32)
              (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
              (global.set $at (i32.add (global.get $at) (i32.const 1)))
              (i32.load8_u (i32.sub (global.get $at) (i32.const 1))))
            (func $four (result i32)
              (i32.or
                (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
                (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
            (func $eight (result i64)
              (i64.or (i64.extend_i32_u (call $four)) (i64.shl (i64.extend_i32_u (call $four)) (i64.const 32))))

            ;; A place for so many bytes, with room for a byte's worth of words after it.
            (func $room (param $size i32) (result i32) (local $place i32)
              (if (i32.gt_u (i32.add (global.get $scratch) (local.get $size)) (i32.const {SCRATCH_END}))
                (then (global.set $scratch (i32.const {SCRATCH}))))
              (local.set $place (global.get $scratch))
              (global.set $scratch (i32.and (i32.add (i32.add (local.get $place) (local.get $size)) (i32.const 7)) (i32.const -8)))
              (local.get $place))
            ;; The program's next bytes, as many as the next one says and there are; leaves their number in $length.
            (func $bytes (result i32) (local $place i32)
              (global.set $length (call $byte))
              (local.set $place (global.get $at))
              (if (i32.gt_u (global.get $length) (i32.sub (global.get $end) (local.get $place)))
                (then (global.set $length (i32.sub (global.get $end) (local.get $place)))))
              (global.set $at (i32.add (local.get $place) (global.get $length)))
              (local.get $place))

            ;; An argument: a small number, any number, the next bytes where they are, the length of the last text, a former result, a named text
            ;; with the next bytes after it, a list of arguments, a number that is good to know.
            (func $argument (result i32) (local $place i32) (local $to i32) (local $from i32) (local $count i32)
              (block $number (block $list (block $text (block $former (block $length (block $bytes (block $any (block $small
                (br_table $small $any $bytes $length $former $text $list $number (i32.and (call $byte) (i32.const 7))))
                (return (call $byte)))
                (return (call $four)))
                (return (call $bytes)))
                (return (global.get $length)))
                (return (i32.load offset=512 (i32.shl (i32.and (i32.sub (global.get $kept) (call $byte)) (i32.const 15)) (i32.const 2)))))
                (local.set $from (i32.shl (i32.rem_u (call $byte) (i32.const {texts})) (i32.const 3)))
                (local.set $count (i32.load offset={texts_length} (local.get $from)))
                (local.set $from (i32.load offset={TEXTS} (local.get $from)))
                (local.set $to (call $bytes))
                (local.set $place (call $room (i32.add (local.get $count) (global.get $length))))
                (memory.copy (local.get $place) (local.get $from) (local.get $count))
                (memory.copy (i32.add (local.get $place) (local.get $count)) (local.get $to) (global.get $length))
                (global.set $length (i32.add (local.get $count) (global.get $length)))
                (return (local.get $place)))
                (local.set $count (call $byte))
                (local.set $place (call $room (i32.shl (local.get $count) (i32.const 2))))
                (local.set $to (local.get $place))
                (block $done (loop $next
                  (br_if $done (i32.eqz (local.get $count)))
                  (i32.store (local.get $to) (call $argument))
                  (local.set $to (i32.add (local.get $to) (i32.const 4)))
                  (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                  (br $next)))
                (return (local.get $place)))
              (i32.load offset=0x800 (i32.shl (i32.rem_u (call $byte) (i32.const {numbers})) (i32.const 2))))
            (func $wide (result i64)
              (if (i32.and (call $byte) (i32.const 1)) (then (return (call $eight))))
              (i64.extend_i32_s (call $argument)))
            (func $real (result f64)
              (if (i32.and (call $byte) (i32.const 1)) (then (return (f64.reinterpret_i64 (call $eight)))))
              (f64.convert_i32_s (call $argument)))
            ;; Where a result is to be put: mostly where there is room for it.
            (func $place (result i32)
              (if (i32.and (call $byte) (i32.const 1)) (then (return (call $argument))))
              (i32.const {RESULT}))

            {callers}
            (func $step (call_indirect (type $caller) (i32.rem_u (call $byte) (i32.const {choices}))))

            ;; Fails with the number of calls, in four digits.
            (func $run (param $settings i32) (param $length i32) (result i32) (local $from i32) (local $until i32) (local $digit i32) (local $left i32)
              ;; It may have run before.
              (global.set $at (i32.const {PROGRAM}))
              (global.set $end (i32.const {PROGRAM}))
              (global.set $calls (i32.const 0))
              ;; Two bytes of UTF-8 are one of the program.
              (local.set $from (i32.add (local.get $settings) (i32.const {before})))
              (local.set $until (i32.sub (i32.add (local.get $settings) (local.get $length)) (i32.const {after})))
              (block $decoded (loop $next
                (br_if $decoded (i32.ge_u (local.get $from) (local.get $until)))
                (i32.store8 (global.get $end)
                  (i32.or
                    (i32.shl (i32.load8_u (local.get $from)) (i32.const 6))
                    (i32.and (i32.load8_u offset=1 (local.get $from)) (i32.const 63))))
                (global.set $end (i32.add (global.get $end) (i32.const 1)))
                (local.set $from (i32.add (local.get $from) (i32.const 2)))
                (br $next)))
              (block $done (loop $next
                (br_if $done (i32.ge_u (global.get $at) (global.get $end)))
                (call $step)
                (br $next)))
              (local.set $left (global.get $calls))
              (local.set $digit (i32.const 4))
              (loop $next
                (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
                (i32.store8 offset=192 (local.get $digit) (i32.add (i32.const 48) (i32.rem_u (local.get $left) (i32.const 10))))
                (local.set $left (i32.div_u (local.get $left) (i32.const 10)))
                (br_if $next (local.get $digit)))
              (i32.store (i32.const 128) (i32.const 1))
              (i32.store (i32.const 132) (i32.const 192))
              (i32.store (i32.const 136) (i32.const 4))
              (i32.const 128))
            {exports})"#,
            crooked = GIVEN + 1,
            texts_length = TEXTS + 4,
            choices = functions + 1,
        )
    }

    /// What the host asks for.
    fn exports(&self) -> String {
        let mut text = String::new();
        for (key, item) in &self.resolve.worlds[self.world].exports {
            let WorldItem::Interface { id, .. } = item else { panic!("{key:?} is exported and no interface") };
            for function in self.resolve.interfaces[*id].functions.values() {
                let signature = self.resolve.wasm_signature(AbiVariant::GuestExport, function);
                let parameters = signature.params.iter().map(|one| core_type(*one)).collect::<Vec<_>>().join(" ");
                let body = match function.name.as_str() {
                    "check" => "(call $run (local.get 0) (local.get 1))",
                    "describe" => "(i32.const 64)",
                    "check-settings" => "(i32.const 240)",
                    name => panic!("it exports {name}, of which this guest knows nothing"),
                };
                let name = format!("{}#{}", self.resolve.name_world_key(key), function.name);
                let _ = writeln!(text, "(func (export {name:?}) (param {parameters}) (result i32) {body})");
            }
        }
        text
    }
}

const fn mangling() -> ManglingAndAbi {
    ManglingAndAbi::Legacy(LiftLowerAbi::Sync)
}

fn import(resolve: &Resolve, key: &WorldKey, function: &Function) -> Import {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let (module, name) =
        resolve.wasm_import_name(mangling(), WasmImport::Func { interface: Some(key), func: function });
    let (parameters, results) = (signature.params, signature.results);
    Import { module, name, parameters, results, places_result: signature.retptr }
}

/// Core types where memory has 32 bits.
fn core_type(of: WasmType) -> &'static str {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

/// What leaves an argument of this type.
fn argument(of: WasmType) -> &'static str {
    match core_type(of) {
        "i32" => "(call $argument)",
        "i64" => "(call $wide)",
        "f32" => "(f32.demote_f64 (call $real))",
        _ => "(call $real)",
    }
}

/// What makes a word of a result.
fn narrowed(of: WasmType, call: &str) -> String {
    match core_type(of) {
        "i32" => call.to_owned(),
        "i64" => format!("(i32.wrap_i64 {call})"),
        real => format!("(i32.trunc_sat_{real}_s {call})"),
    }
}

/// The texts after a table of where they are, and the numbers.
fn data(texts: &[String], numbers: &[u32]) -> String {
    let mut table = Vec::new();
    let mut all = Vec::new();
    for text in texts {
        let place = TEXTS as usize + texts.len() * 8 + all.len();
        table.extend([place, text.len()].map(|word| u32::try_from(word).expect("it is too long")));
        all.extend_from_slice(text.as_bytes());
    }
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let bytes = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
    let (table, numbers) = (words(&table), words(numbers));
    assert!(TEXTS as usize + table.len() + all.len() <= RESULT as usize, "the texts are too long");
    format!(
        r#"(data (i32.const {TEXTS}) "{}{}") (data (i32.const 0x800) "{}")"#,
        bytes(&table),
        bytes(&all),
        bytes(&numbers)
    )
}
