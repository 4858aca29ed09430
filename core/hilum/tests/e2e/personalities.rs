//! hilum under the names of the tools it stands in for, beside them, as process 1: the same end, and the same signals seen by the child.
//!
//! Command lines that start nothing, and messages, are compared elsewhere (`personality_oracles`); here is what only a process 1 can show.

use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Folder, Init, fixture, peek, tool};

/// A tool of the system and hilum by its name.
struct Pair {
    theirs: String,
    ours: String,
    _folder: Folder,
}

fn pair(name: &str) -> Result<Pair, Failure> {
    let folder = Folder::new()?;
    let ours = folder.file(name);
    std::os::unix::fs::symlink(crate::stage::hilum(), &ours)?;
    let theirs = tool(name, name)?;
    Ok(Pair { theirs, ours, _folder: folder })
}

const TOOLS: [&str; 3] = ["tini", "dumb-init", "catatonit"];

/// Starts both with these words and the fixture's.
fn both(pair: &Pair, words: &[&str], child: &[&str]) -> Result<[Init; 2], Failure> {
    let fixture = fixture()?;
    let all: Vec<&str> = words.iter().copied().chain(["--", &fixture]).chain(child.iter().copied()).collect();
    Ok([Boot::program(&pair.theirs, &all).start()?, Boot::program(&pair.ours, &all).start()?])
}

#[test]
fn ends_are_the_same() -> Check {
    for name in TOOLS {
        let pair = pair(name)?;
        for child in [
            &["exit", "0"][..],
            &["exit", "1"],
            &["exit", "255"],
            &["raise", "15"],
            &["raise", "9"],
            &["raise", "11"],
            &["raise", "1"],
            &["abort"],
        ] {
            let [theirs, ours] = both(&pair, &[], child)?;
            same(format!("code of {name} -- {child:?}"), ours.finish()?.code, theirs.finish()?.code)?;
        }
        for command in ["/no/such/file", "/etc/passwd", "/"] {
            let run = |program: &str| Boot::program(program, &["--", command]).run();
            same(format!("code of {name} -- {command}"), run(&pair.ours)?.code, run(&pair.theirs)?.code)?;
        }
    }
    Ok(())
}

#[test]
fn options_that_change_the_code_change_it_the_same() -> Check {
    let pair = pair("tini")?;
    for (words, child) in [(["-e", "143"], ["raise", "15"]), (["-e", "7"], ["exit", "7"]), (["-e", "7"], ["exit", "8"])]
    {
        let [theirs, ours] = both(&pair, &words, &child)?;
        same(format!("code of tini {words:?} -- {child:?}"), ours.finish()?.code, theirs.finish()?.code)?;
    }
    Ok(())
}

/// Sends a signal and returns what the child saw before it saw `last`, which is sent after it.
fn seen(init: &mut Init, signal: u8, last: u8) -> Result<Vec<String>, Failure> {
    init.signal(signal)?;
    init.signal(last)?;
    let mut lines = Vec::new();
    loop {
        let line = init.line()?;
        if line == format!("signal {last}") {
            return Ok(lines);
        }
        lines.push(line);
    }
}

#[test]
fn signals_reach_the_child_the_same() -> Check {
    // What each tool keeps for itself, or ends at, is not part of the table: faults, CHLD, and what cannot be caught.
    let deadly = [4, 5, 6, 7, 8, 9, 11, 17, 19, 31];
    // Real-time signals are sent last, so that they come after all others.
    const LAST: u8 = 50;
    for name in TOOLS {
        let pair = pair(name)?;
        let [mut theirs, mut ours] = both(&pair, &[], &["trap", "45:0"])?;
        theirs.line_from("ready")?;
        ours.line_from("ready")?;
        // dumb-init stops its child and itself at these: that is for terminals. 32 and 33 are the C library's.
        let apart = [20, 21, 22, 32, 33];
        for signal in (1..LAST).filter(|signal| !deadly.contains(signal) && !apart.contains(signal) && *signal != 45) {
            let wanted = seen(&mut theirs, signal, LAST).context(format!("{name}'s own, signal {signal}"))?;
            let found = seen(&mut ours, signal, LAST).context(format!("hilum as {name}, signal {signal}"))?;
            // A tool in C that forwards only what its library counts drops some; hilum drops none.
            if wanted.is_empty() {
                continue;
            }
            same(format!("what the child of {name} sees of signal {signal}"), found, wanted)?;
        }
        for init in [&mut theirs, &mut ours] {
            init.signal(45)?;
        }
        same(format!("code of {name}"), ours.wait()?, theirs.wait()?)?;
    }
    Ok(())
}

#[test]
fn dumb_init_rewrites_the_same() -> Check {
    let pair = pair("dumb-init")?;
    let words = ["--rewrite", "15:3", "--rewrite", "1:0", "--rewrite", "10:12"];
    let [mut theirs, mut ours] = both(&pair, &words, &["trap", "45:0"])?;
    theirs.line_from("ready")?;
    ours.line_from("ready")?;
    for signal in [15, 1, 10, 2] {
        same(format!("signal {signal}"), seen(&mut ours, signal, 50)?, seen(&mut theirs, signal, 50)?)?;
    }
    Ok(())
}

#[test]
fn groups_and_sessions_are_the_same() -> Check {
    for (name, words) in
        [("tini", &[][..]), ("tini", &["-g"]), ("dumb-init", &[]), ("dumb-init", &["-c"]), ("catatonit", &[])]
    {
        let pair = pair(name)?;
        let look = |init: &mut Init| {
            init.line_from("ready")?;
            let pid = init.pid()?;
            let child =
                peek::descendants(pid).into_iter().find(|stat| stat.name == "e2e-fixture").context("no child")?;
            let own = peek::stat(pid).context("no process 1")?;
            Ok::<_, Failure>((child.group == child.pid, child.group == own.group, child.session == own.session))
        };
        let [mut theirs, mut ours] = both(&pair, words, &["trap", "45:0"])?;
        let (wanted, found) = (look(&mut theirs)?, look(&mut ours)?);
        same(format!("{name} {words:?}: own group, shared group, shared session"), found, wanted)?;
    }
    Ok(())
}

#[test]
fn group_kill_reaches_the_same() -> Check {
    let shell = tool("sh", "dash")?;
    let fixture = fixture()?;
    let script = format!("{fixture} trap 45:0 & exec {fixture} trap 45:0");
    for (name, words, wanted) in [
        ("tini", &["-g"][..], 2),
        ("tini", &[], 1),
        ("dumb-init", &[], 2),
        ("dumb-init", &["-c"], 1),
        ("catatonit", &[], 1),
    ] {
        let pair = pair(name)?;
        for program in [&pair.theirs, &pair.ours] {
            let all: Vec<&str> = words.iter().copied().chain(["--", &shell, "-c", &script]).collect();
            let mut init = Boot::program(program, &all).start()?;
            init.line_from("ready")?;
            init.line_from("ready")?;
            init.signal(1)?;
            for _ in 0..wanted {
                init.expect_line("signal 1").context(format!("{program} {words:?}"))?;
            }
            // Whoever got HUP got it before this.
            init.signal(45)?;
            let done = init.finish()?;
            holds(
                format!("{program} {words:?} told more: {}", done.stdout),
                !done.stdout.contains("signal 1\n") && !done.stdout.ends_with("signal 1"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn orphans_are_reaped_under_every_name() -> Check {
    for name in TOOLS {
        let pair = pair(name)?;
        let mut init = Boot::program(&pair.ours, &["--", &fixture()?, "orphans", "30"]).start()?;
        init.expect_line("made 30")?;
        init.line_from("ready")?;
        crate::stage::boot::eventually("orphans are reaped", || Ok(init.children()?.len() == 1))?;
        init.signal(15)?;
        same(format!("code of {name}"), init.wait()?, 0)?;
    }
    Ok(())
}
