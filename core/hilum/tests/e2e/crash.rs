//! PID 1 itself crashes, and the services still end in order: 70, with what they had to keep on the disk.

use std::time::Instant;

use crate::stage::boot::{Place, ended};
use crate::stage::bundle::fill_root;
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, DEADLINE, Folder, fixture, peek, tool};

const USR2: u8 = 12;
const DRILLS: [&str; 4] = ["panic", "fault", "abort", "overflow"];

fn flushed(path: &str) -> Check {
    let text = std::fs::read_to_string(path).context(format!("cannot read {path}"))?;
    same("what the service kept", text.as_str(), "flushed\n")
}

/// hilum crashes by a drill; its service must flush, and hilum end with 70.
fn drill(place: Place, mode: &[&str], kind: &str) -> Check {
    let folder = Folder::new()?;
    let (file, fixture) = (folder.file("state"), fixture()?);
    let words: Vec<&str> = mode.iter().copied().chain(["--drill", kind, "--", &fixture, "flush", &file]).collect();
    let mut init = Boot::hilum(&words).at(place).start()?;
    init.line_from("ready")?;
    let service = first_fixture(init.pid()?)?;
    init.signal(USR2)?;
    init.expect_line("flushed").context(format!("{kind}, {place:?}"))?;
    let code = init.wait()?;
    same(format!("exit code, {kind}, {place:?}: {}", init.stderr()), code, 70)?;
    flushed(&file)?;
    holds("the service outlives hilum", ended(service, DEADLINE)?)?;
    init.error_line_with("crashed").context("the crash is not told of").map(|_| ())
}

fn first_fixture(pid: i32) -> Result<i32, Failure> {
    let fixtures =
        peek::descendants(pid).into_iter().filter(|stat| ["e2e-fixture", "fixture"].contains(&stat.name.as_str()));
    fixtures.map(|stat| stat.pid).next().context("no service")
}

#[test]
fn every_drill_as_process_1_ends_in_order() -> Check {
    DRILLS.iter().try_for_each(|kind| drill(Place::First, &["init"], kind))
}

#[test]
fn every_drill_as_an_ordinary_process_ends_in_order() -> Check {
    DRILLS.iter().try_for_each(|kind| drill(Place::Ordinary, &["init"], kind))
}

#[test]
fn a_supervisor_with_workers_ends_in_order_too() -> Check {
    for place in [Place::First, Place::Ordinary] {
        for kind in DRILLS {
            drill(place, &["supervise", "--listen", "127.0.0.1:0"], kind)?;
        }
    }
    Ok(())
}

#[test]
fn a_service_in_a_session_of_its_own_is_stopped_too() -> Check {
    drill(Place::Ordinary, &["init", "--session"], "fault")?;
    drill(Place::Ordinary, &["init", "--same-group"], "panic")
}

#[test]
fn a_crash_needs_no_proc_and_no_dev() -> Check {
    for kind in DRILLS {
        let folder = Folder::new()?;
        fill_root(folder.path())?;
        let root = folder.path().display().to_string();
        let words = ["init", "--drill", kind, "--", "/fixture", "flush", "/state"];
        let mut init = Boot::program("/hilum", &words).root(&root).start()?;
        init.line_from("ready")?;
        init.signal(USR2)?;
        init.expect_line("flushed").context(kind)?;
        let code = init.wait()?;
        same(format!("exit code, {kind}: {}", init.stderr()), code, 70)?;
        flushed(&folder.file("state"))?;
    }
    Ok(())
}

#[test]
fn a_stubborn_service_is_killed_after_the_grace_period() -> Check {
    for place in [Place::First, Place::Ordinary] {
        let words = ["init", "--grace-period", "300ms", "--drill", "fault", "--", &fixture()?, "trap"];
        let mut init = Boot::hilum(&words).at(place).start()?;
        init.line_from("ready")?;
        let service = first_fixture(init.pid()?)?;
        let start = Instant::now();
        init.signal(USR2)?;
        init.expect_line("signal 15")?;
        same("exit code", init.wait()?, 70)?;
        let took = start.elapsed().as_millis();
        holds(format!("ended after {took} ms, not 300"), (300..5_000).contains(&took))?;
        holds("the service outlives hilum", ended(service, DEADLINE)?)?;
    }
    Ok(())
}

#[test]
fn a_stop_signal_after_the_crash_kills_at_once() -> Check {
    let words = ["init", "--grace-period", "1h", "--drill", "panic", "--", &fixture()?, "trap"];
    let mut init = Boot::hilum(&words).start()?;
    init.line_from("ready")?;
    init.signal(USR2)?;
    init.expect_line("signal 15")?;
    init.signal(15)?;
    same("exit code", init.wait()?, 70)
}

#[test]
fn orphans_and_daemons_are_stopped_after_a_crash_of_process_1() -> Check {
    let folder = Folder::new()?;
    let file = folder.file("state");
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    let script = format!("{fixture} daemonise flush {file}; exec {fixture} trap 15:0");
    let mut init = Boot::hilum(&["init", "--drill", "abort", "--", &shell, "-c", &script]).start()?;
    init.line_from("ready")?;
    init.line_from("ready")?;
    init.signal(USR2)?;
    same("exit code", init.wait()?, 70)?;
    flushed(&file)
}

#[test]
fn a_drill_is_off_unless_asked_for() -> Check {
    let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap", "12:4"]).start()?;
    init.line_from("ready")?;
    init.signal(USR2)?;
    init.expect_line("signal 12")?;
    same("exit code", init.wait()?, 4)
}
