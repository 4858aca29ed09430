//! That the first inputs of `wire_frames` are frames, of every kind there is.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use hilum_fuzz::wire_frames::samples;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Names of all variants of an enum, as serde lists them for one that is none.
fn all<T: DeserializeOwned + Debug>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({ "no such thing": 1 })).unwrap_err().to_string();
    let (_, list) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The variant of each of them.
fn found<T: Serialize>(messages: &[T]) -> BTreeSet<String> {
    messages.iter().map(|message| name(&serde_json::to_value(message).unwrap())).collect()
}

fn name(value: &Value) -> String {
    match value {
        Value::String(name) => name.clone(),
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => panic!("{other}"),
    }
}

#[test]
fn there_is_a_frame_of_every_kind() {
    assert_eq!(found(&samples::to_status()), all::<hilum_wire::ToStatus>());
    assert_eq!(found(&samples::from_status()), all::<hilum_wire::FromStatus>());
    assert_eq!(found(&samples::to_sandbox()), all::<hilum_wire::ToSandbox>());
    assert_eq!(found(&samples::from_sandbox()), all::<hilum_wire::FromSandbox>());
}

#[test]
fn the_first_inputs_are_the_frames_of_today() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/wire_frames");
    for (name, frame) in samples::samples() {
        let kept = fs::read(corpus.join(format!("first-{name}"))).unwrap_or_default();
        assert!(
            kept == frame,
            "{name} is another frame now; run: cargo run --no-default-features --example first_inputs"
        );
    }
}
