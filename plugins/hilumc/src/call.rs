//! `hilumc call`: one call under the very limits and grants that hilum would use.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hilum_sandbox::call;
use hilum_sandbox::compile;
use hilum_sandbox::engine::Target;
use hilum_sandbox::host::{Host, LogSink};
use hilum_sandbox::load::Order;
use hilum_sandbox::run;
use hilum_wire::Answer;

use crate::component;
use crate::failure::Failure;

/// Calls the component in `file` once. The report, and the code to end with.
pub(crate) fn call(
    file: &Path,
    settings: String,
    connect: Vec<String>,
    timeout_ms: u64,
    memory_kib: u64,
) -> Result<(String, u8), Failure> {
    let compiled = component::compile(file, &component::read(file)?, Target::native())?;
    let host = Host::new().map_err(|error| Failure::of(&error))?;
    let order =
        Order { name: file.display().to_string(), sha256: None, memory: memory_kib.saturating_mul(1024), connect };
    let plugin = compile::plugin(&Arc::new(host), order, &compiled).map_err(|error| Failure::new(error.to_string()))?;
    let (answer, took) = run(async {
        let began = Instant::now();
        (call::check(&plugin, call::request(settings, timeout_ms, 1), log()).await, began.elapsed())
    })
    .map_err(|error| Failure::new(error.to_string()))?;
    let (word, why, code) = match answer {
        Answer::Pass => ("pass", String::new(), 0),
        Answer::Fail(why) => ("fail", why, 1),
        Answer::Unknown(why) => ("unknown", why, 2),
        Answer::Broken { kind, message } => ("broken", format!("{kind}: {message}"), 3),
    };
    let why = if why.is_empty() { why } else { format!(": {why}") };
    Ok((format!("{word}{why} ({:.3} ms)\n", took.as_secs_f64() * 1000.0), code))
}

/// A plugin's log lines, on standard error.
pub(crate) fn log() -> LogSink {
    Arc::new(|level, line| eprintln!("{level}: {line}"))
}
