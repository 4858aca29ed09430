//! `hilum supervise`: restarts, at the right pace, told of, and the defects kapo had there.

use std::time::Instant;

use serde_json::Value;

use crate::stage::boot::eventually;
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Folder, Init, fixture, peek, program};

const USR1: u8 = 10;
const TERM: u8 = 15;

fn supervise(folder: &Folder, options: &[&str], child: &[&str]) -> Result<(Init, Client), Failure> {
    let listen = format!("unix:{}", folder.file("s"));
    let fixture = fixture()?;
    let mut words = vec!["supervise", "--listen", &listen];
    words.extend(options);
    words.extend(["--", &fixture]);
    words.extend(child);
    Ok((Boot::hilum(&words).start()?, Client::new(&listen)))
}

/// One service's object of `/status`.
fn service(client: &Client) -> Result<Value, Failure> {
    let status = client.get("/status")?.json()?;
    status.pointer("/services/0").cloned().context(format!("no service in {status}"))
}

fn number(object: &Value, key: &str) -> Result<u64, Failure> {
    object.get(key).and_then(Value::as_u64).context(format!("no number {key} in {object}"))
}

#[test]
fn every_end_leads_to_another_start() -> Check {
    let folder = Folder::new()?;
    let (mut init, client) = supervise(&folder, &["--wait", "0s"], &["trap", "10:0", "1:3", "15:5"])?;
    for signal in [USR1, 1, USR1, 9] {
        init.line_from("ready")?;
        if signal == 9 {
            let child = peek::descendants(init.pid()?).into_iter().find(|stat| stat.name == "e2e-fixture");
            hilum_sys::process::signal(hilum_sys::process::Target::Pid(child.context("no child")?.pid), 9)?;
        } else {
            init.signal(signal)?;
        }
    }
    init.line_from("ready")?;
    same("Mode", client.get("/")?.json()?.pointer("/0/Mode"), Some(&"supervise".into()))?;
    init.signal(TERM)?;
    same("code", init.wait()?, 5)
}

#[test]
fn kapo_defect_11_the_last_end_stays_visible_and_starts_are_counted() -> Check {
    let folder = Folder::new()?;
    let (mut init, client) = supervise(&folder, &["--wait", "0s"], &["trap", "10:7", "15:0"])?;
    for _ in 0..3 {
        init.line_from("ready")?;
        init.signal(USR1)?;
    }
    init.line_from("ready")?;
    let mut object = Value::Null;
    eventually("three restarts are shown", || {
        object = service(&client)?;
        Ok(number(&object, "restarts")? == 3 && object.get("pid").is_some_and(Value::is_u64))
    })?;
    holds(format!("the last end is not shown in {object}"), object.pointer("/last_exit/code") == Some(&7.into()))?;
    let history = object.get("history").and_then(Value::as_array).map(Vec::len);
    same(format!("ends in {object}"), history, Some(3))?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_11_on_failure_a_success_is_the_end() -> Check {
    let folder = Folder::new()?;
    let codes = folder.write("codes", "3\n4\n0\n")?;
    let (mut init, _) = supervise(&folder, &["--restart", "on-failure", "--wait", "0s"], &["run-for-file", &codes])?;
    for code in ["3", "4", "0"] {
        init.expect_line(&format!("run {code}"))?;
    }
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_12_a_command_that_is_gone_is_tried_again() -> Check {
    let folder = Folder::new()?;
    let listen = format!("unix:{}", folder.file("s"));
    let service = folder.file("service");
    program::copy(fixture()?, &service)?;
    let words = ["supervise", "--listen", &listen, "--wait", "10ms", "--", &service, "trap", "10:1", "15:0"];
    let mut init = Boot::hilum(&words).start()?;
    init.line_from("ready")?;
    std::fs::rename(&service, folder.file("away"))?;
    init.signal(USR1)?;
    let line = init.error_line_with("event=spawn-failed")?;
    holds(format!("{service} is not named in {line}"), line.contains(&service))?;
    let client = Client::new(&listen);
    same("liveness", client.get("/liveness")?.status, 200)?;
    std::fs::rename(folder.file("away"), &service)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn kapo_defect_13_no_document_is_torn() -> Check {
    let folder = Folder::new()?;
    let codes = folder.write("codes", &"1\n2\n3\n4\n".repeat(100))?;
    let (mut init, client) = supervise(&folder, &["--wait", "0s"], &["run-for-file", &codes])?;
    let mut last = 0;
    let mut looks = 0;
    while !init.line()?.starts_with("ready") {
        let object = service(&client)?;
        let (run, restarts) = (number(&object, "run")?, number(&object, "restarts")?);
        let ends = object.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        holds(format!("run {run} after {last}"), run >= last)?;
        last = run;
        looks += 1;
        holds(format!("{restarts} restarts in run {run}"), restarts + 1 == run || restarts == run)?;
        let newest = ends.last().map(|end| number(end, "run")).transpose()?.unwrap_or(0);
        let up = object.get("pid").is_some_and(Value::is_u64);
        holds(format!("a run that goes on has ended in {object}"), if up { newest < run } else { newest <= run })?;
        for end in &ends {
            let (run, code) = (number(end, "run")?, end.pointer("/exit/code").and_then(Value::as_u64));
            same(format!("code of run {run} in {object}"), code, Some((run - 1) % 4 + 1))?;
        }
    }
    holds(format!("only {looks} looks"), looks > 50)?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn the_wait_grows_up_to_its_cap() -> Check {
    let folder = Folder::new()?;
    let options =
        ["--backoff-initial", "50ms", "--backoff-factor", "2", "--backoff-cap", "200ms", "--backoff-jitter", "0"];
    let (mut init, _) = supervise(&folder, &options, &["exit", "1"])?;
    for wanted in ["50ms", "100ms", "200ms", "200ms"] {
        let line = init.error_line_with("event=exited")?;
        holds(format!("in={wanted} is not in {line}"), line.ends_with(&format!("in={wanted}")))?;
    }
    init.signal(TERM)?;
    let code = init.wait()?;
    holds(format!("code {code}"), [1, 143].contains(&code))
}

#[test]
fn restarts_are_never_sooner_than_the_wait() -> Check {
    let folder = Folder::new()?;
    let (mut init, _) = supervise(&folder, &["--wait", "100ms"], &["print", "run\\n", ""])?;
    let start = Instant::now();
    for _ in 0..6 {
        init.expect_line("run")?;
    }
    let took = start.elapsed().as_millis();
    holds(format!("five waits in {took} ms"), took >= 500)?;
    init.signal(TERM)?;
    // It comes between two runs or ends one.
    let code = init.wait()?;
    holds(format!("code {code}"), [0, 143].contains(&code))
}

#[test]
fn a_restart_limit_ends_it_with_the_last_code() -> Check {
    let folder = Folder::new()?;
    let (mut init, _) = supervise(&folder, &["--wait", "0s", "--restart-limit", "3/1m"], &["exit", "9"])?;
    let code = init.wait()?;
    same(format!("code: {}", init.stderr()), code, 9)?;
    let (starts, limits) =
        (init.stderr().matches("event=started").count(), init.stderr().matches("event=restart-limit-reached").count());
    same("starts, limits", (starts, limits), (4, 1))
}

#[test]
fn a_stop_during_the_wait_ends_at_once() -> Check {
    let folder = Folder::new()?;
    let (mut init, client) = supervise(&folder, &["--wait", "1h"], &["exit", "3"])?;
    init.error_line_with("event=exited")?;
    client.wait_for("/readiness", 503)?;
    let object = client.get("/")?.json()?;
    same(
        "Status, ExitCode",
        (object.pointer("/0/Status"), object.pointer("/0/ExitCode")),
        (Some(&"stopped".into()), Some(&3.into())),
    )?;
    init.signal(TERM)?;
    same("code", init.wait()?, 3)
}

#[test]
fn a_ttl_restarts_and_what_is_left_of_the_group_is_gone_before() -> Check {
    let folder = Folder::new()?;
    let shell = crate::stage::tool("sh", "dash")?;
    let fixture = fixture()?;
    let listen = format!("unix:{}", folder.file("s"));
    let script = format!("{fixture} stubborn & exec {fixture} trap 15:0");
    let words = [
        "supervise",
        "--listen",
        &listen,
        "--ttl",
        "300ms",
        "--grace-period",
        "200ms",
        "--wait",
        "0s",
        "--",
        &shell,
        "-c",
        &script,
    ];
    let mut init = Boot::hilum(&words).start()?;
    for _ in 0..3 {
        init.line_from("signal 15")?;
        // The stubborn one says no pid.
        init.line_from("ready ")?;
        let there = peek::descendants(init.pid()?).iter().filter(|stat| stat.name == "e2e-fixture").count();
        holds(format!("{there} processes of two runs"), there <= 2)?;
    }
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn a_thousand_restarts_leak_nothing() -> Check {
    let folder = Folder::new()?;
    let codes = folder.write("codes", &"1\n".repeat(1_000))?;
    let options = ["--wait", "0s", "--quiet", "--stdout", "inherit", "--stderr", "log"];
    let (mut init, client) = supervise(&folder, &options, &["run-for-file", &codes])?;
    init.expect_line("run 1")?;
    let descriptors = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
    let pid = init.pid()?;
    client.wait_for("/liveness", 200)?;
    let before = (descriptors(pid)?, peek::memory(pid)?);
    init.line_from("ready")?;
    let after = (descriptors(pid)?, peek::memory(pid)?);
    // The first look may have been between two runs: a run has a pidfd and a pipe.
    holds(
        format!("descriptors, kB: {before:?}, then {after:?}"),
        after.0 <= before.0 + 4 && after.1 <= before.1 + 300,
    )?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}
