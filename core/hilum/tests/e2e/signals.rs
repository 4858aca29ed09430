//! Signals reach whom they should, as what they should, and none is lost.

use std::io::Write as _;
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use crate::stage::boot::{Place, ended, eventually, pass};
use crate::stage::failure::{Context as _, holds, same};
use crate::stage::{Boot, Check, DEADLINE, Failure, Init, fail, fixture, tool};
use crate::stage::{peek, program};

const HUP: u8 = 1;
const INT: u8 = 2;
const QUIT: u8 = 3;
const ABRT: u8 = 6;
const KILL: u8 = 9;
const USR1: u8 = 10;
const USR2: u8 = 12;
const TERM: u8 = 15;
const CHLD: u8 = 17;
const CONT: u8 = 18;
const STOP: u8 = 19;
const JOB_CONTROL: [u8; 3] = [20, 21, 22];
/// Their default is to end a process, and no process that runs our fixture can wait for them: they are read off its end.
const FAULTS: [u8; 7] = [4, 5, ABRT, 7, 8, 11, 31];
const RTMIN: u8 = 34;

/// hilum with a child that reports every signal and ends at USR2, with code 99.
fn trap(place: Place, options: &[&str]) -> Result<Init, Failure> {
    let fixture = fixture()?;
    let words: Vec<&str> = ["init"].iter().chain(options).copied().chain(["--", &fixture, "trap", "12:99"]).collect();
    let mut init = Boot::hilum(&words).at(place).start()?;
    init.line_from("ready")?;
    Ok(init)
}

fn end(init: &mut Init) -> Check {
    init.signal(USR2)?;
    same("exit code", init.wait()?, 99)
}

#[test]
fn every_signal_is_forwarded() -> Check {
    for place in [Place::First, Place::Ordinary] {
        let mut init = trap(place, &[])?;
        // CHLD is about hilum's own children; TERM, INT and QUIT end it and have their own tests; job control stops, and has its own too.
        let mut apart = vec![KILL, STOP, CHLD, TERM, INT, QUIT, USR2];
        apart.extend(FAULTS);
        apart.extend(JOB_CONTROL);
        for number in (1..=64).filter(|number| !apart.contains(number)) {
            init.signal(number)?;
            init.expect_line(&format!("signal {number}")).context(format!("{place:?}"))?;
        }
        init.signal(USR2)?;
        let done = init.finish()?;
        same("code, lines left", (done.code, done.stdout.as_str()), (99, "signal 12"))?;
    }
    Ok(())
}

#[test]
fn the_first_stop_signal_is_passed_on_as_it_is() -> Check {
    for number in [TERM, INT, QUIT] {
        let rule = format!("{number}:5");
        let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap", &rule]).start()?;
        init.line_from("ready")?;
        init.signal(number)?;
        init.expect_line(&format!("signal {number}"))?;
        same("exit code", init.wait()?, 5)?;
    }
    Ok(())
}

#[test]
fn a_fault_signal_from_outside_is_forwarded_and_no_crash() -> Check {
    for place in [Place::First, Place::Ordinary] {
        for number in FAULTS {
            let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap"]).at(place).start()?;
            init.line_from("ready")?;
            init.signal(number)?;
            let code = init.wait()?;
            same(format!("exit code after {number}, {place:?}: {}", init.stderr()), code, 128 + i32::from(number))?;
        }
    }
    Ok(())
}

#[test]
fn every_signal_can_be_rewritten() -> Check {
    // Each number goes to another one the child reports.
    let numbers: Vec<u8> = (1..=64).filter(|number| ![KILL, STOP, CHLD].contains(number)).collect();
    let target = |number: u8| if number == HUP { USR1 } else { HUP };
    let pairs: Vec<String> = numbers.iter().map(|number| format!("{number}:{}", target(*number))).collect();
    let options: Vec<&str> = pairs.iter().flat_map(|pair| ["--rewrite", pair.as_str()]).collect();
    let fixture = fixture()?;
    for number in numbers.iter().copied() {
        if JOB_CONTROL.contains(&number) || [TERM, INT, QUIT].contains(&number) {
            continue;
        }
        let rule = format!("{}:42", target(number));
        let words: Vec<&str> =
            ["init"].iter().chain(&options).copied().chain(["--", &fixture, "trap", &rule]).collect();
        let mut init = Boot::hilum(&words).start()?;
        init.line_from("ready")?;
        init.signal(number)?;
        init.expect_line(&format!("signal {}", target(number))).context(format!("signal {number}"))?;
        same("exit code", init.wait()?, 42)?;
    }
    for number in [TERM, INT, QUIT] {
        let pair = format!("{number}:USR1");
        let mut init = Boot::hilum(&["init", "--rewrite", &pair, "--", &fixture, "trap", "10:42"]).start()?;
        init.line_from("ready")?;
        init.signal(number)?;
        init.expect_line("signal 10")?;
        same("exit code", init.wait()?, 42)?;
    }
    Ok(())
}

#[test]
fn a_signal_rewritten_to_0_is_dropped_even_if_it_would_stop() -> Check {
    let mut init = trap(Place::First, &["--rewrite", "TERM:0", "--rewrite", "HUP:0", "--rewrite", "RTMIN+5:0"])?;
    for number in [TERM, HUP, RTMIN + 5, TERM, TERM] {
        init.signal(number)?;
    }
    // What comes through a stream in order came after all of them.
    init.signal(USR1)?;
    init.expect_line("signal 10")?;
    end(&mut init)
}

#[test]
fn the_second_stop_signal_kills() -> Check {
    for (first, second) in [(TERM, TERM), (INT, TERM), (QUIT, INT)] {
        let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap"]).start()?;
        init.line_from("ready")?;
        init.signal(first)?;
        init.expect_line(&format!("signal {first}"))?;
        init.signal(second)?;
        same("exit code", init.wait()?, 137)?;
    }
    Ok(())
}

/// A shell with hilum as its child, as timeout(1) has it: it runs the script with hilum's pid in `$!`, and each `read` in it waits for a line
/// from here.
fn parent(script: &str) -> Result<(Init, ChildStdin), Failure> {
    let script = format!("\"$@\" & read go; {script}; wait $!");
    let (hilum, fixture) = (program::hilum(), fixture()?);
    let words = ["-c", &script, "sh", &hilum, "init", "--", &fixture, "trap", "12:99"];
    let mut shell = Boot::program(&tool("sh", "dash")?, &words).ordinary().stdin(Stdio::piped()).start()?;
    let mut keyboard = shell.stdin().context("standard input is a pipe")?;
    shell.line_from("ready")?;
    writeln!(keyboard)?;
    Ok((shell, keyboard))
}

#[test]
fn what_timeout_sends_twice_is_one_stop() -> Check {
    let (mut shell, mut keyboard) = parent("kill -TERM $!; kill -TERM $!; read go; kill -USR2 $!")?;
    shell.expect_line("signal 15")?;
    writeln!(keyboard)?;
    shell.expect_line("signal 12")?;
    same("exit code", shell.wait()?, 99)
}

#[test]
fn a_parent_s_second_stop_signal_kills_too() -> Check {
    let (mut shell, mut keyboard) = parent("kill -TERM $!; read go; kill -TERM $!")?;
    shell.expect_line("signal 15")?;
    // Longer than timeout(1) takes between its two.
    pass(Duration::from_millis(50))?;
    writeln!(keyboard)?;
    same("exit code", shell.wait()?, 137)
}

#[test]
fn the_grace_period_ends_with_a_kill() -> Check {
    let mut init = Boot::hilum(&["init", "--grace-period", "300ms", "--", &fixture()?, "trap"]).start()?;
    init.line_from("ready")?;
    let start = Instant::now();
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    same("exit code", init.wait()?, 137)?;
    let took = start.elapsed().as_millis();
    holds(format!("killed after {took} ms, not 300"), (300..5_000).contains(&took))
}

#[test]
fn without_a_grace_period_nothing_is_killed() -> Check {
    let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap", "12:9"]).start()?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    // It still passes signals on while it waits.
    init.signal(USR1)?;
    init.expect_line("signal 10")?;
    init.signal(USR2)?;
    same("exit code", init.wait()?, 9)
}

#[test]
fn a_delay_holds_the_stop_signal_back_and_no_other() -> Check {
    let mut init = Boot::hilum(&["init", "--term-delay", "500ms", "--", &fixture()?, "trap", "15:3"]).start()?;
    init.line_from("ready")?;
    let start = Instant::now();
    init.signal(TERM)?;
    init.signal(USR1)?;
    init.expect_line("signal 10")?;
    init.expect_line("signal 15")?;
    let took = start.elapsed().as_millis();
    same("exit code", init.wait()?, 3)?;
    holds(format!("passed on after {took} ms, not 500"), (500..5_000).contains(&took))
}

#[test]
fn a_second_stop_signal_ends_the_delay() -> Check {
    let mut init = Boot::hilum(&["init", "--term-delay", "1h", "--", &fixture()?, "trap"]).start()?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    // Another one, since a second TERM could become one with the first.
    init.signal(INT)?;
    same("exit code", init.wait()?, 137)
}

#[test]
fn a_stop_signal_during_the_start_is_not_lost() -> Check {
    // The signal is sent as soon as there is a process: before, while or after it starts the child.
    let (mut early, mut late) = (0, 0);
    for _ in 0..50 {
        let mut init = Boot::hilum(&["init", "--", &fixture()?, "hold"]).ordinary().start()?;
        // A program that has not blocked its signals yet may only be ended by them. hilum catches ABRT right after it has; what it blocks
        // cannot be seen while it waits for just that (sigtimedwait(2) lifts the mask).
        let pid = init.pid()?;
        eventually("hilum blocks TERM", || {
            let status = peek::status(pid)?;
            let caught = status.get("SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
            Ok(caught & (1 << (ABRT - 1)) != 0)
        })?;
        if peek::children(pid).is_empty() {
            early += 1
        } else {
            late += 1
        }
        init.signal(TERM)?;
        same("exit code", init.wait()?, 143)?;
    }
    println!("{early} before the child, {late} after");
    Ok(())
}

#[test]
fn a_signal_reaches_the_whole_group_or_only_the_leader() -> Check {
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    let script = format!("{fixture} trap 10:0 & exec {fixture} trap 10:7");
    for (whom, wanted) in [("group", 2), ("leader", 1)] {
        let mut init =
            Boot::hilum(&["init", "--wait-all", "--signal-to", whom, "--", &shell, "-c", &script]).start()?;
        init.line_from("ready")?;
        init.line_from("ready")?;
        init.signal(HUP)?;
        for _ in 0..wanted {
            init.expect_line("signal 1")?;
        }
        let pid = init.pid()?;
        let children = peek::descendants(pid);
        for child in children.iter().filter(|child| child.pid != pid) {
            hilum_sys::process::signal(hilum_sys::process::Target::Pid(child.pid), USR1)?;
        }
        let done = init.finish()?;
        same("exit code", done.code, 7)?;
        same(
            format!("reports for {whom}: {}", done.stdout),
            done.stdout.matches("signal 1\n").count() + usize::from(done.stdout.ends_with("signal 1")),
            0,
        )?;
    }
    Ok(())
}

#[test]
fn job_control_signals_stop_and_continue_the_child() -> Check {
    for number in JOB_CONTROL {
        let mut init = trap(Place::First, &[])?;
        let child = *init.children()?.first().context("no child")?;
        init.signal(number)?;
        // Passed on as it is, to a child that traps it.
        init.expect_line(&format!("signal {number}"))?;
        init.signal(CONT)?;
        init.expect_line("signal 18")?;
        holds("the child is gone", peek::stat(child).is_some())?;
        end(&mut init)?;
    }
    Ok(())
}

#[test]
fn a_burst_of_real_time_signals_arrives_whole() -> Check {
    const BURST: usize = 10_000;
    for number in [RTMIN, RTMIN + 7, 64] {
        let mut init = trap(Place::First, &[])?;
        for _ in 0..BURST {
            init.signal(number)?;
        }
        let wanted = format!("signal {number}");
        for _ in 0..BURST {
            init.expect_line(&wanted)?;
        }
        end(&mut init)?;
    }
    Ok(())
}

#[test]
fn a_burst_of_ordinary_signals_loses_nothing_but_repetitions() -> Check {
    let mut init = trap(Place::First, &[])?;
    for _ in 0..10_000 {
        init.signal(USR1)?;
    }
    init.signal(HUP)?;
    let mut reports = 0;
    loop {
        match init.line()?.as_str() {
            "signal 10" => reports += 1,
            "signal 1" => break,
            other => return fail(format!("the child said {other:?}")),
        }
    }
    holds(format!("{reports} of 10,000 arrived"), (1..=10_000).contains(&reports))?;
    end(&mut init)
}

#[test]
fn a_child_starts_with_an_empty_mask_and_default_dispositions() -> Check {
    let cat = tool("cat", "coreutils")?;
    for place in [Place::First, Place::Ordinary] {
        for mode in ["init", "run", "supervise"] {
            let listen = ["--listen", "127.0.0.1:0"];
            let limit = ["--restart", "on-failure"];
            let mut words = vec![mode];
            words.extend(listen.iter().filter(|_| mode != "init"));
            words.extend(limit.iter().filter(|_| mode == "supervise"));
            words.extend(["--", &cat, "/proc/self/status"]);
            // A parent that ignores and blocks as much as it can.
            let nohup = tool("nohup", "coreutils")?;
            let done = Boot::hilum(&words).at(place).through(&[&nohup]).run()?;
            same(format!("exit code, {mode}: {}", done.stderr), done.code, 0)?;
            let status = peek::pairs(&done.stdout);
            for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
                let value = status.get(key).map(String::as_str);
                same(format!("{key}, {mode}, {place:?}"), value, Some("0000000000000000"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_child_gets_its_streams_and_no_other_descriptor() -> Check {
    let ls = tool("ls", "coreutils")?;
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    for mode in ["init", "run", "supervise"] {
        let mut words = vec![mode];
        if mode != "init" {
            words.extend(["--listen", "127.0.0.1:0"]);
        }
        if mode == "supervise" {
            words.extend(["--restart", "on-failure"]);
        }
        words.push("--");
        words.extend([ls.as_str(), "/proc/self/fd"]);
        let done = Boot::hilum(&words).run()?;
        // Whatever the tests themselves were started with is there too.
        let without = Boot::program(&ls, &["/proc/self/fd"]).run()?;
        same(format!("descriptors, {mode}"), done.stdout, without.stdout)?;
    }
    // One that hilum itself was given is the child's too: it may be what the child is for (a FIFO, a lock, a socket).
    let script = "exec 9</dev/null; exec \"$@\"";
    let words = [shell.as_str(), "-c", script, "sh"];
    let done = Boot::hilum(&["init", "--", &fixture, "environment"]).through(&words).run()?;
    let free = done.stdout.lines().find_map(|line| line.strip_prefix("free-descriptors ")).unwrap_or_default();
    holds(format!("free: {free}"), free.starts_with("3,") && !free.split(',').any(|number| number == "9"))
}

#[test]
fn a_child_has_a_group_of_its_own_or_what_it_is_told() -> Check {
    let fixture = fixture()?;
    let look = |option: &[&str]| {
        let words: Vec<&str> = ["init"].iter().chain(option).copied().chain(["--", &fixture, "environment"]).collect();
        let done = Boot::hilum(&words).run()?;
        let value = |key: &str| {
            let line = done.stdout.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().parse::<i32>().context(format!("no {key} in {}", done.stdout))
        };
        Ok::<_, Failure>((value("pid ")?, value("group ")?, value("session ")?))
    };
    let (pid, group, session) = look(&[])?;
    same("default: group, session", (group, session), (pid, 0))?;
    let (pid, group, _) = look(&["--own-group"])?;
    same("--own-group", group, pid)?;
    let (pid, group, session) = look(&["--session"])?;
    same("--session", (group, session), (pid, pid))?;
    let (pid, group, session) = look(&["--same-group"])?;
    holds(format!("--same-group: {group} {session}"), group != pid && group == 0 && session == 0)
}

#[test]
fn the_death_of_the_parent_is_passed_on() -> Check {
    let shell = tool("sh", "dash")?;
    let hilum = crate::stage::hilum();
    let script = format!("{hilum} init --parent-death-signal TERM -- {} trap 15:0 & read line", fixture()?);
    let mut shell = Boot::program(&shell, &["-c", &script]).ordinary().stdin(Stdio::piped()).start()?;
    shell.line_from("ready")?;
    let below = peek::descendants(shell.pid()?);
    let init = below.iter().find(|stat| stat.name == "hilum").map(|stat| stat.pid).context("no hilum")?;
    drop(shell.stdin());
    shell.expect_line("signal 15")?;
    holds("hilum outlives its parent", ended(init, DEADLINE)?)
}

#[test]
fn a_stop_signal_to_a_child_that_has_just_ended_ends_hilum() -> Check {
    for _ in 0..100 {
        let mut init = Boot::hilum(&["init", "--", &fixture()?, "trap", "10:4"]).ordinary().start()?;
        init.line_from("ready")?;
        init.signal(USR1)?;
        init.signal(TERM)?;
        let code = init.wait()?;
        holds(format!("exit code {code}"), [4].contains(&code))?;
    }
    Ok(())
}
