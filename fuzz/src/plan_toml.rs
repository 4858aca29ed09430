//! Plans as TOML. What is refused is refused with reasons and places; what is taken is in range, and printing it gives the same launch.

use std::ffi::OsString;
use std::path::Path;

use hilum_config::{format_duration, format_size, load, parse_duration, parse_size};

/// Loads `input` as a plan, and its words as durations and sizes.
pub fn plan_toml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let origin = Path::new("/etc/hilum.toml");
    let environment = |name: &str| match name {
        "EMPTY" => Some(OsString::new()),
        "NAME" => Some(OsString::from("value")),
        _ => None,
    };
    match load(text, origin, &environment) {
        Ok(resolved) => {
            let launch = &resolved.launch;
            assert_eq!(launch.plan.services.len(), launch.services.len());
            for (plan, start) in launch.plan.services.iter().zip(&launch.services) {
                assert!(!start.command.is_empty(), "service {:?} has no command", plan.name);
                assert_eq!(plan.probes.len(), start.probes.len());
                assert!(plan.restart.backoff.factor >= 1000 && plan.restart.backoff.jitter <= 1000);
                for (probe, call) in plan.probes.iter().zip(&start.probes) {
                    assert!(probe.period.0 > 0 && probe.failure_threshold > 0 && probe.success_threshold > 0);
                    assert!(usize::from(call.plugin) < launch.plugins.len(), "probe {:?} calls no plugin", probe.name);
                }
            }
            let printed = resolved.print();
            match load(&printed, origin, &environment) {
                Ok(again) => assert_eq!(again.launch, resolved.launch, "printed:\n{printed}"),
                Err(mistakes) => panic!("printed plan is refused: {mistakes:?}\n{printed}"),
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            for mistake in mistakes {
                assert!(!mistake.to_string().is_empty());
            }
        }
    }
    for word in text.split_whitespace().take(64) {
        if let Ok(span) = parse_duration(word) {
            assert_eq!(parse_duration(&format_duration(span)).ok(), Some(span), "{word}");
        }
        if let Ok(bytes) = parse_size(word) {
            assert_eq!(parse_size(&format_size(bytes)).ok(), Some(bytes), "{word}");
        }
    }
}
