//! Workers may die at any moment: nobody who connects is refused, and no service notices.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hilum_sys::process::{Target, signal};
use serde_json::Value;

use crate::stage::boot::eventually;
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Init, fixture, peek};
use crate::{plugins, run_mode};

const USR1: u8 = 10;
const KILL: u8 = 9;
const TERM: u8 = 15;
const STOP: u8 = 19;
const CONT: u8 = 18;

/// The pid of a worker of this role.
pub(crate) fn worker(init: &mut Init, role: &str) -> Result<Option<i32>, Failure> {
    let is = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&format!("worker\0{role}"))
    };
    Ok(init.children()?.into_iter().find(is))
}

/// Kills a worker a hundred times while clients ask. What a killed worker was answering is lost, but every connection is accepted and the next
/// request answered.
fn kill_a_hundred_times(init: &mut Init, client: &Client, role: &str) -> Check {
    let done = AtomicBool::new(false);
    let (answers, lost) = (AtomicU32::new(0), AtomicU32::new(0));
    let killed = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // A connection that is refused is an error here; one that breaks off is a lost answer.
                let mut stream = client.connect()?;
                let mut bytes = Vec::new();
                let sent = stream.write_all(b"GET /liveness HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
                let whole = sent.and_then(|()| stream.read_to_end(&mut bytes)).is_ok() && !bytes.is_empty();
                if whole { &answers } else { &lost }.fetch_add(1, Ordering::Relaxed);
            }
            Check::Ok(())
        });
        let mut kill = || {
            let mut last = 0;
            for round in 0..100 {
                let mut next = None;
                eventually("a new worker", || {
                    next = worker(init, role)?.filter(|pid| *pid != last);
                    Ok(next.is_some())
                })
                .context(format!("kill {round} of {role}"))?;
                last = next.context("no worker")?;
                // Not a process that merely exists but one that serves.
                let before = answers.load(Ordering::Relaxed);
                eventually("an answer", || Ok(answers.load(Ordering::Relaxed) > before || poller.is_finished()))?;
                signal(Target::Pid(last), KILL)?;
            }
            Check::Ok(())
        };
        let killed = kill();
        done.store(true, Ordering::Relaxed);
        match poller.join() {
            Ok(polled) => polled.and(killed),
            Err(_) => crate::stage::fail("the poller panicked"),
        }
    });
    println!("{role}: {answers:?} answers, {lost:?} lost");
    killed
}

fn runs(client: &Client) -> Result<Option<u64>, Failure> {
    Ok(client.get("/status")?.json()?.pointer("/services/0/run").and_then(Value::as_u64))
}

#[test]
fn the_status_worker_killed_a_hundred_times_refuses_nobody() -> Check {
    let fixture = fixture()?;
    let mut init = Boot::hilum(&["supervise", "--listen", "127.0.0.1:0", "--", &fixture, "trap", "15:0"]).start()?;
    let client = Client::new(&run_mode::address(&mut init)?);
    let child = init.line_from("ready")?;
    client.wait_for("/readiness", 200)?;
    kill_a_hundred_times(&mut init, &client, "status")?;
    client.wait_for("/readiness", 200)?;
    same("runs", runs(&client)?, Some(1))?;
    // The service was told nothing and is the same.
    init.signal(USR1)?;
    init.expect_line("signal 10").context(format!("child {child}"))?;
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    same("code", init.wait()?, 0)
}

#[test]
fn the_sandbox_worker_killed_a_hundred_times_restarts_nothing() -> Check {
    let plan = plugins::Probed::start("liveness", "50ms")?;
    let (mut init, client) = (plan.init, plan.client);
    kill_a_hundred_times(&mut init, &client, "sandbox")?;
    client.wait_for("/liveness", 200)?;
    same("runs", runs(&client)?, Some(1))?;
    init.signal(TERM)?;
    same("code", init.wait()?, 143)
}

#[test]
fn a_stopped_status_worker_holds_process_1_not_up() -> Check {
    let fixture = fixture()?;
    let words = ["supervise", "--listen", "127.0.0.1:0", "--wait", "0s", "--", &fixture, "trap", "10:1", "15:0"];
    let mut init = Boot::hilum(&words).start()?;
    let client = Client::new(&run_mode::address(&mut init)?);
    init.line_from("ready")?;
    client.wait_for("/readiness", 200)?;
    let pid = worker(&mut init, "status")?.context("no status worker")?;
    signal(Target::Pid(pid), STOP)?;
    // Far more news than its channel holds.
    for _ in 0..500 {
        init.signal(USR1)?;
        init.line_from("ready")?;
    }
    signal(Target::Pid(pid), CONT)?;
    client.wait_for("/readiness", 200)?;
    eventually("the news is the newest", || Ok(runs(&client)? == Some(501)))?;
    init.signal(TERM)?;
    init.line_from("signal 15")?;
    same("code", init.wait()?, 0)
}

#[test]
fn a_stopped_process_1_is_not_alive() -> Check {
    let fixture = fixture()?;
    let mut init = Boot::hilum(&["run", "--listen", "127.0.0.1:0", "--", &fixture, "trap", "15:0"]).start()?;
    let client = Client::new(&run_mode::address(&mut init)?);
    init.line_from("ready")?;
    client.wait_for("/liveness", 200)?;
    let pid = init.pid()?;
    init.signal(STOP)?;
    eventually("process 1 stops", || Ok(peek::stat(pid).is_some_and(|stat| stat.state == 'T')))?;
    // An answer is fresh for a moment; then its silence shows.
    client.wait_for("/liveness", 503)?;
    init.signal(CONT)?;
    client.wait_for("/liveness", 200)?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

#[test]
fn workers_hold_no_privilege_and_end_with_process_1() -> Check {
    let fixture = fixture()?;
    let mut init = Boot::hilum(&["run", "--listen", "127.0.0.1:0", "--", &fixture, "trap", "15:0"]).start()?;
    let client = Client::new(&run_mode::address(&mut init)?);
    init.line_from("ready")?;
    client.wait_for("/liveness", 200)?;
    let worker = worker(&mut init, "status")?.context("no status worker")?;
    let status = peek::status(worker)?;
    let value = |key: &str| status.get(key).map(String::as_str);
    same("capabilities", value("CapEff"), Some("0000000000000000"))?;
    same("no_new_privs", value("NoNewPrivs"), Some("1"))?;
    init.signal(KILL)?;
    holds("the worker outlives process 1", crate::stage::boot::ended(worker, crate::stage::DEADLINE)?)?;
    init.wait()?;
    Ok(())
}
