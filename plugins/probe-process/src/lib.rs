//! Probe: how often the service was started lately, or how many processes of a kind there are and how much memory they use.
//!
//! Two questions, one at a time; which, the settings show. What each setting means is said in the README. Only the second needs a grant.
#![forbid(unsafe_code)]

mod settings;

use hilum_plugin::unit::{format_duration, format_size};
use hilum_plugin::{Description, Grant, Host, Outcome, Plugin, Probe, Process, Request, Settings, SettingsError};

pub use settings::Question;
use settings::{Limits, Pattern};

/// The plugin.
#[derive(Debug)]
pub struct ProbeProcess;

impl Plugin for ProbeProcess {
    type Settings = Question;

    fn describe() -> Description {
        Description {
            name: "probe-process",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant {
                kind: "processes",
                value: Some("true"),
                reason: "name and command of the settings; not needed for max-starts",
            }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Question, SettingsError> {
        Question::read(settings)
    }
}

impl Probe for ProbeProcess {
    fn check(question: &Question, _: &Request, host: &impl Host) -> Outcome {
        match question {
            Question::Starts { most, within } => starts(*most, *within, host),
            Question::Table { pattern, limits } => match host.processes() {
                Ok(found) if found.cut => {
                    Outcome::Unknown(format!("cannot look for {pattern}: there are more processes than can be listed"))
                }
                Ok(found) => table(pattern, limits, &found.processes),
                Err(why) => Outcome::Unknown(format!("cannot look for {pattern}: {why}")),
            },
        }
    }
}

hilum_plugin::export!(ProbeProcess);

/// Whether the service was started at most so often, `within` milliseconds.
fn starts(most: usize, within: u64, host: &impl Host) -> Outcome {
    let Some(service) = host.service() else {
        return Outcome::Unknown("cannot count starts: the call is about no service".to_owned());
    };
    let name = &service.name;
    // The last one first, so it is the first that is not within.
    let counted = service.starts.iter().take_while(|age| **age <= within).count();
    if counted <= most {
        return Outcome::Pass;
    }
    let last = service.starts.first().copied().unwrap_or_default();
    Outcome::Fail(format!(
        "{name} was started {counted} times within {}, more than {most}, the last time {} ago; its log says why it ended",
        format_duration(within),
        format_duration(last)
    ))
}

/// Whether the processes that match are as many, and use as much, as they may.
fn table(pattern: &Pattern, limits: &Limits, processes: &[Process]) -> Outcome {
    let matching = || processes.iter().filter(|process| pattern.covers(process));
    let alive = || matching().filter(|process| !is_dead(process));
    let count = alive().count();
    if count < limits.min {
        // Their command lines are gone with them, so there may be more.
        let dead = matching().count() - count;
        let dead = if dead == 0 { String::new() } else { format!("; {dead} more ended and nobody waited for them") };
        return Outcome::Fail(format!("found {}, fewer than {}{dead}", many(count, pattern), limits.min));
    }
    if let Some(max) = limits.max
        && count > max
    {
        return Outcome::Fail(format!("found {}, more than {max}: {}", many(count, pattern), pids(alive())));
    }
    let memory = alive().fold(0_u64, |sum, process| sum.saturating_add(process.memory));
    match limits.memory {
        Some(most) if memory > most => {
            let largest = alive().max_by_key(|process| process.memory).filter(|_| count > 1);
            let largest = largest.map_or_else(String::new, |process| {
                format!("; the largest part, {}, is of pid {}", format_size(process.memory), process.pid)
            });
            Outcome::Fail(format!(
                "the memory of {} is {}, more than {}{largest}",
                many(count, pattern),
                format_size(memory),
                format_size(most)
            ))
        }
        _ => Outcome::Pass,
    }
}

fn many(count: usize, pattern: &Pattern) -> String {
    format!("{count} process{} with {pattern}", if count == 1 { "" } else { "es" })
}

/// Whether it has ended, and only its entry is left. **Source:** proc_pid_stat(5).
fn is_dead(process: &Process) -> bool {
    matches!(process.state.as_str(), "Z" | "X" | "x")
}

/// Process numbers that are told. Who looks further has a list of processes.
const SHOWN: usize = 10;

fn pids<'a>(processes: impl Iterator<Item = &'a Process>) -> String {
    let mut numbers: Vec<String> = processes.take(SHOWN + 1).map(|process| process.pid.to_string()).collect();
    let more = numbers.len() > SHOWN;
    numbers.truncate(SHOWN);
    format!("pids {}{}", numbers.join(", "), if more { ", …" } else { "" })
}
