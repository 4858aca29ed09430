//! All contestants at once, left alone: how often they wake up, and the memory they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Bench;
use super::contestant::{Contestant, IDLING, WATCH_NAME};
use super::rig::{PATIENCE, Rig};
use super::sample::Samples;
use super::table::{Goal, Measure, Row, Unit};
use crate::process;

/// How long everybody has to finish starting, workers included.
const SETTLE: Duration = Duration::from_secs(3);

/// One contestant's processes at one moment.
#[derive(Debug, Default)]
struct Footprint {
    /// Context switches of every thread, by process: a process wakes up as often as it went to sleep.
    switches: BTreeMap<u32, u64>,
    /// Of process 1.
    first: Memory,
    /// Of all.
    all: Memory,
}

/// **Units:** kB, as smaps_rollup has them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    rss: u64,
    pub(super) pss: u64,
    pub(super) dirty: u64,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Measure>, String> {
    process::say(&format!("bench: {} contestants idle for {} s", IDLING.len(), bench.idle.as_secs()));
    let mut rigs = Vec::new();
    for contestant in IDLING {
        let start = contestant.prepare(bench, "hold")?;
        let mut rig = Rig::start(bench, &start)?;
        if contestant.has_child() {
            rig.child('s', PATIENCE)?.ok_or_else(|| rig.complain("the child did not start"))?;
        }
        rigs.push(rig);
    }
    thread::sleep(SETTLE);
    let before = look(bench, &rigs)?;
    thread::sleep(bench.idle);
    let after = look(bench, &rigs)?;
    for (contestant, rig) in IDLING.iter().zip(&mut rigs) {
        if !rig.is_running() {
            return Err(rig.complain(&format!("{} ended while it was watched", contestant.name)));
        }
    }
    let wakeups = IDLING.iter().zip(before.iter().zip(&after)).map(|(contestant, (before, after))| {
        let row = Row::of(contestant, Samples::exactly(float(woken(before, after))));
        if contestant.name == WATCH_NAME.name { row.noted("looks at the process list every 5 s") } else { row }
    });
    let wakeups = wakeups.collect();
    let memory = |name, goal, pick: fn(&Footprint) -> u64| {
        let row = |(contestant, footprint): (&Contestant, &Footprint)| {
            Row::of(contestant, Samples::exactly(float(pick(footprint))))
        };
        Measure::new(name, Unit::Kilobytes, IDLING.iter().zip(&after).map(row).collect(), goal)
    };
    let small = Goal::RowAtMost { who: "hilum init", most: 100.0 };
    Ok(vec![
        Measure::new("idle wake-ups", Unit::Wakeups, wakeups, Goal::AtMost { most: 0.0, except: WATCH_NAME.name }),
        memory("RSS, process 1", Goal::None, |footprint| footprint.first.rss),
        memory("PSS, process 1", Goal::None, |footprint| footprint.first.pss),
        memory("private dirty, process 1", small, |footprint| footprint.first.dirty),
        memory("PSS, all its processes", Goal::None, |footprint| footprint.all.pss),
        memory("private dirty, all its processes", Goal::None, |footprint| footprint.all.dirty),
    ])
}

/// Wake-ups from one look to the next. A process that came or went counts with all it did: nobody asked for one.
fn woken(before: &Footprint, after: &Footprint) -> u64 {
    let known = |pid: &u32| before.switches.get(pid).copied().unwrap_or(0);
    let gone = before.switches.keys().filter(|pid| !after.switches.contains_key(pid)).count();
    let sum: u64 = after.switches.iter().map(|(pid, count)| count.saturating_sub(known(pid))).sum();
    sum.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX))
}

fn look(bench: &Bench, rigs: &[Rig]) -> Result<Vec<Footprint>, String> {
    let parents = parents()?;
    rigs.iter().map(|rig| footprint(bench, &parents, rig)).collect()
}

/// Every process's parent.
fn parents() -> Result<BTreeMap<u32, u32>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that is gone by the time it is read is none of ours.
    Ok(pids.filter_map(|pid| Some((pid, parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect())
}

/// The fourth field; the second, in parentheses, may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

fn footprint(bench: &Bench, parents: &BTreeMap<u32, u32>, rig: &Rig) -> Result<Footprint, String> {
    let mut footprint = Footprint::default();
    for pid in family(parents, rig.pid) {
        let is_child = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == bench.child);
        if is_child {
            continue;
        }
        let gone = |error: String| rig.complain(&error);
        let memory = memory_of(pid).map_err(gone)?;
        footprint.all.rss += memory.rss;
        footprint.all.pss += memory.pss;
        footprint.all.dirty += memory.dirty;
        if pid == rig.pid {
            footprint.first = memory;
        }
        footprint.switches.insert(pid, switches(pid).map_err(gone)?);
    }
    Ok(footprint)
}

/// A process and all that descend from it.
fn family(parents: &BTreeMap<u32, u32>, first: u32) -> Vec<u32> {
    let mut family = vec![first];
    let mut at = 0;
    while let Some(pid) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// Context switches of all threads of a process so far.
fn switches(pid: u32) -> Result<u64, String> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).map_err(|error| format!("cannot read {folder}: {error}"))?;
    let mut sum = 0;
    for thread in threads.flatten() {
        sum += count_switches(&read(&thread.path().join("status").display().to_string())?);
    }
    Ok(sum)
}

fn count_switches(status: &str) -> u64 {
    ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].iter().map(|key| field(status, key)).sum()
}

/// What one process holds.
pub(super) fn memory_of(pid: u32) -> Result<Memory, String> {
    Ok(memory(&read(&format!("/proc/{pid}/smaps_rollup"))?))
}

fn memory(rollup: &str) -> Memory {
    Memory { rss: field(rollup, "Rss:"), pss: field(rollup, "Pss:"), dirty: field(rollup, "Private_Dirty:") }
}

/// The number behind a key at the start of a line.
fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"))
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes and wake-ups stay far below 2^53")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// Processor time of a process tree so far. **Units:** nanoseconds.
pub(super) fn processor_time(pid: u32) -> Result<u64, String> {
    let mut sum = 0;
    for pid in family(&parents()?, pid) {
        // The first number is the time on a processor; a thread that ended is not in it, and ours do not end.
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let schedstat = read(&thread.path().join("schedstat").display().to_string())?;
            sum += schedstat.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let rollup = "5565-7ffc ---p 00000000 00:00 0    [rollup]\nRss:    1234 kB\nPss:     900 kB\nPss_Dirty:  7 kB\nPrivate_Dirty:     84 kB\n";
        assert_eq!(memory(rollup), Memory { rss: 1234, pss: 900, dirty: 84 });
        assert_eq!(count_switches("Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t2\n"), 9);
        assert_eq!(parent("12 (a ) b) S 3 12 12 0"), Some(3));
    }

    #[test]
    fn a_family_is_the_tree_below_one() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (9, 1)]);
        assert_eq!(family(&parents, 2), [2, 3, 4]);
    }

    #[test]
    fn a_process_that_came_or_went_is_a_wakeup() {
        let before = Footprint { switches: BTreeMap::from([(1, 10), (2, 5)]), ..Footprint::default() };
        let after = Footprint { switches: BTreeMap::from([(1, 11), (3, 2)]), ..Footprint::default() };
        assert_eq!(woken(&before, &before), 0);
        assert_eq!(woken(&before, &after), 4);
    }
}
