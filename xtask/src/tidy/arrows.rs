//! Who may know whom. The crates are the walls of the house: this is the plan they are built by. Dependencies of tests are
//! free.

use serde_json::Value;

use crate::process;
use crate::workspace;

/// Our crates, and which of ours each may know.
const OURS: &[(&str, &[&str])] = &[
    ("hilum-engine", &[]),
    ("hilum-wire", &[]),
    ("hilum-sys", &[]),
    ("hilum-config", &["hilum-engine"]),
    ("hilum-sandbox", &["hilum-wire", "hilum-sys"]),
    ("hilum-status", &["hilum-wire", "hilum-sys"]),
    ("hilum", &["hilum-engine", "hilum-config", "hilum-wire", "hilum-sys", "hilum-sandbox", "hilum-status"]),
    ("hilum-plugin", &[]),
    ("attacks", &["hilum-plugin"]),
    ("attacks-wasi", &["hilum-plugin"]),
    ("callback-events", &["hilum-plugin"]),
    ("callback-webhook", &["hilum-plugin"]),
    ("probe-amqp", &["hilum-plugin"]),
    ("probe-dns", &["hilum-plugin"]),
    ("probe-grpc", &["hilum-plugin"]),
    ("probe-env", &["hilum-plugin"]),
    ("probe-exec", &["hilum-plugin"]),
    ("probe-file", &["hilum-plugin"]),
    ("probe-heartbeat", &["hilum-plugin"]),
    ("probe-http", &["hilum-plugin"]),
    ("probe-process", &["hilum-plugin"]),
    ("probe-redis", &["hilum-plugin"]),
    ("probe-sql", &["hilum-plugin"]),
    ("probe-tcp", &["hilum-plugin"]),
    ("probe-unix", &["hilum-plugin"]),
    // What a call answers is said in the wire's words; what it may use is opened as PID 1 opens it.
    ("hilumc", &["hilum-sandbox", "hilum-sys", "hilum-wire"]),
    ("e2e-fixture", &["hilum-sys"]),
    ("demo-app", &[]),
    ("xtask", &[]),
];

/// Crates of others that belong behind one wall, and behind which.
const THEIRS: &[(&str, &[&str])] = &[
    ("wasmtime", &["hilum-sandbox"]),
    ("tokio", &["hilum-sandbox", "hilum-status"]),
    ("tiny_http", &["hilum-status"]),
    ("toml", &["hilum-config", "hilumc", "xtask"]),
    ("libc", &["hilum-sys"]),
    ("rustix", &["hilum-sys", "e2e-fixture"]),
    ("argh", &["hilum", "hilumc"]),
    ("wit-bindgen", &["hilum-plugin"]),
    ("wit-component", &["hilumc"]),
];

/// Has no dependency at all, so that the compiler proves it pure.
const PURE: &str = "hilum-engine";

pub(super) fn check() -> Result<Vec<String>, String> {
    let mut cargo = workspace::cargo();
    let text = process::ask(cargo.args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    let mut breaches = Vec::new();
    for package in list(&metadata, "packages") {
        let name = word(package, "name");
        let dependencies: Vec<&str> = list(package, "dependencies")
            .iter()
            .filter(|dependency| dependency.get("kind").is_none_or(Value::is_null))
            .map(|dependency| word(dependency, "name"))
            .collect();
        breaches.extend(judge(name, &dependencies));
    }
    Ok(breaches)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn judge(name: &str, dependencies: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = OURS.iter().find(|(ours, _)| *ours == name) else {
        return vec![format!("{name}: a crate tidy does not know; draw its arrows in xtask/src/tidy/arrows.rs")];
    };
    let mut breaches = Vec::new();
    for dependency in dependencies {
        if OURS.iter().any(|(ours, _)| ours == dependency) && !allowed.contains(dependency) {
            breaches.push(format!("{name}: may not depend on {dependency}; it may on [{}]", allowed.join(", ")));
        }
        if let Some((_, walls)) = THEIRS.iter().find(|(theirs, walls)| theirs == dependency && !walls.contains(&name)) {
            breaches.push(format!("{name}: may not depend on {dependency}, which belongs to {}", walls.join(", ")));
        }
    }
    if name == PURE && !dependencies.is_empty() {
        breaches.push(format!("{name}: may have no dependency; it has {}", dependencies.join(", ")));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_one_way() {
        assert!(judge("hilum", &["hilum-engine", "hilum-sys", "argh"]).is_empty());
        assert_eq!(judge("hilum-sys", &["hilum-engine", "libc"]).len(), 1);
        assert_eq!(judge("hilum", &["tokio"]).len(), 1);
        assert_eq!(judge("hilum-engine", &["fxhash"]).len(), 1);
        assert_eq!(judge("hilum-new", &[]).len(), 1);
    }
}
