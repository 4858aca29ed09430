//! Orphans are reaped at once, and nobody's end is lost among them.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::stage::boot::{Place, eventually, pass};
use crate::stage::failure::{Context as _, holds, same};
use crate::stage::{Boot, Check, DEADLINE, Failure, Init, fixture, peek, tool};

const TERM: u8 = 15;

#[test]
fn ten_thousand_orphans_leave_at_most_five_zombies_to_see() -> Check {
    for place in [Place::First, Place::Ordinary] {
        // Of a few rounds the best counts: what else the machine does only ever adds.
        let mut best = usize::MAX;
        for _ in 0..3 {
            best = best.min(most_zombies(place)?);
            if best <= 5 {
                break;
            }
        }
        holds(format!("{best} zombies at once, {place:?}"), best <= 5)?;
    }
    Ok(())
}

/// What runs hilum, but not its children, before all others where they share a processor: what is measured is not the scheduler, nor what else
/// the machine does. Where that may not be asked for, nothing.
fn before_others() -> Result<Vec<String>, Failure> {
    let words = [&tool("chrt", "util-linux")?, "--reset-on-fork", "--fifo", "1"].map(str::to_owned);
    let [chrt, options @ ..] = &words;
    let allowed = Command::new(chrt).args(options).arg("true").output()?.status.success();
    Ok(if allowed { words.to_vec() } else { Vec::new() })
}

/// Ten thousand orphans under hilum, and the most zombies among them at any moment that was looked at.
fn most_zombies(place: Place) -> Result<usize, Failure> {
    let first = before_others()?;
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let mut init = Boot::hilum(&["init", "--", &fixture()?, "orphans", "10000"]).through(&first).at(place).start()?;
    init.be_patient(DEADLINE * 4);
    // The first line comes when all are made, so the pid is found while they are being made.
    let mut pid = None;
    eventually("hilum starts its child", || {
        pid = init.pid().ok().filter(|pid| !peek::children(*pid).is_empty());
        Ok(pid.is_some())
    })?;
    let pid = pid.context("no pid")?;
    let done = AtomicBool::new(false);
    let (most, samples) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(peek::zombies(pid), Ordering::Relaxed);
                samples.fetch_add(1, Ordering::Relaxed);
                // Looking without a pause would take a processor away from those that are looked at.
                let _passed = pass(Duration::from_micros(500));
            }
        });
        let made = init.expect_line("made 10000");
        done.store(true, Ordering::Relaxed);
        made
    })?;
    let (most, samples) = (most.into_inner(), samples.into_inner());
    println!("{place:?}: {samples} samples, at most {most} zombies");
    holds(format!("only {samples} samples"), samples > 100)?;
    eventually("all orphans are reaped", || Ok(peek::children(pid).len() == 1))?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("exit code", init.wait()?, 0)?;
    Ok(most)
}

#[test]
fn orphans_that_all_end_in_one_moment_are_all_reaped() -> Check {
    let mut init = Boot::hilum(&["init", "--", &fixture()?, "orphans", "1000", "released"]).start()?;
    init.expect_line("holding 1000")?;
    init.expect_line("released 1000")?;
    init.line_from("ready")?;
    let start = Instant::now();
    eventually("all orphans are reaped", || Ok(init.children()?.len() == 1))?;
    println!("gone {:?} after the last one closed its pipe", start.elapsed());
    init.signal(TERM)?;
    same("exit code", init.wait()?, 0)
}

#[test]
fn orphans_of_orphans_are_reaped() -> Check {
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    let script = format!("{fixture} orphans-of-orphans 5 4; exec {fixture} trap 15:0");
    for place in [Place::First, Place::Ordinary] {
        let mut init = Boot::hilum(&["init", "--", &shell, "-c", &script]).at(place).start()?;
        init.line_from("ready")?;
        eventually("all generations are reaped", || Ok(init.children()?.len() == 1))?;
        init.signal(TERM)?;
        same("exit code", init.wait()?, 0)?;
    }
    Ok(())
}

#[test]
fn without_wait_all_the_end_of_the_child_is_the_end() -> Check {
    let shell = tool("sh", "dash")?;
    let script = format!("{} daemonise stubborn; exit 6", fixture()?);
    let mut init = Boot::hilum(&["init", "--", &shell, "-c", &script]).start()?;
    same("exit code", init.wait()?, 6)
}

/// Waits until hilum's shell has ended and what it left behind is hilum's child, whose pid it returns.
fn only_the_daemon_is_left(init: &mut Init) -> Result<i32, Failure> {
    let mut left = Vec::new();
    eventually("the leader ends", || {
        left = init.children()?.into_iter().filter_map(peek::stat).collect();
        Ok(matches!(left.as_slice(), [only] if only.name == "e2e-fixture"))
    })?;
    left.first().map(|stat: &peek::Stat| stat.pid).context("no daemon")
}

#[test]
fn wait_all_waits_for_the_last_descendant_and_keeps_the_code() -> Check {
    let shell = tool("sh", "dash")?;
    let script = format!("{} daemonise trap 10:0; exit 6", fixture()?);
    let mut init = Boot::hilum(&["init", "--wait-all", "--", &shell, "-c", &script]).start()?;
    init.line_from("ready")?;
    let daemon = only_the_daemon_is_left(&mut init)?;
    holds("hilum ended too early", !init.has_ended()?)?;
    hilum_sys::process::signal(hilum_sys::process::Target::Pid(daemon), 10)?;
    same("exit code", init.wait()?, 6)
}

#[test]
fn a_stop_reaches_descendants_that_are_waited_for() -> Check {
    let shell = tool("sh", "dash")?;
    let script = format!("{} daemonise trap 15:0; exit 6", fixture()?);
    let mut init = Boot::hilum(&["init", "--wait-all", "--", &shell, "-c", &script]).start()?;
    init.line_from("ready")?;
    only_the_daemon_is_left(&mut init)?;
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    same("exit code", init.wait()?, 6)
}

#[test]
fn a_stubborn_descendant_is_killed_after_the_grace_period() -> Check {
    let shell = tool("sh", "dash")?;
    let script = format!("{} daemonise stubborn; exit 6", fixture()?);
    let words = ["init", "--wait-all", "--grace-period", "200ms", "--", &shell, "-c", &script];
    let mut init = Boot::hilum(&words).start()?;
    init.line_from("ready")?;
    only_the_daemon_is_left(&mut init)?;
    init.signal(TERM)?;
    same("exit code", init.wait()?, 6)
}

#[test]
fn not_process_1_it_adopts_orphans_unless_told_not_to() -> Check {
    let shell = tool("sh", "dash")?;
    let script = format!("{} daemonise trap 10:0; read line; exit 0", fixture()?);
    for (option, adopted) in [(None, true), (Some("--no-subreaper"), false)] {
        let mut words = vec!["init"];
        words.extend(option);
        words.extend(["--", &shell, "-c", &script]);
        let mut init = Boot::hilum(&words).ordinary().stdin(std::process::Stdio::piped()).start()?;
        let daemon = init.line_from("ready")?.parse::<i32>()?;
        let hilum = init.pid()?;
        // It is ready before its first parent has ended.
        let mut parent = 0;
        eventually("the daemon is an orphan", || {
            parent = peek::stat(daemon).context("the daemon is gone")?.parent;
            Ok(peek::stat(parent).is_none_or(|stat| stat.name != "e2e-fixture"))
        })?;
        same(format!("adopted, {option:?}"), parent == hilum, adopted)?;
        let warned = init.stderr().contains("not-pid-1");
        same(format!("warned, {option:?}: {}", init.stderr()), warned, !adopted)?;
        hilum_sys::process::signal(hilum_sys::process::Target::Pid(daemon), 10)?;
        drop(init.stdin());
        same("exit code", init.wait()?, 0)?;
    }
    Ok(())
}

#[test]
fn process_1_needs_no_subreaper_and_does_not_warn() -> Check {
    let done = Boot::hilum(&["init", "--no-subreaper", "--", &fixture()?, "exit", "0"]).run()?;
    same("code, stderr", (done.code, done.stderr.as_str()), (0, ""))
}
