//! Terminals: the child is in the foreground, keys reach it, Ctrl-Z suspends where somebody can continue it and nowhere else, and the shell gets
//! its terminal back.

use std::fs::File;

use crate::stage::boot::{Place, eventually};
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::pty::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, Pty};
use crate::stage::{Boot, Check, Init, fixture, hilum, peek, tool};

/// hilum with a terminal as its standard streams, in a session of its own that the terminal controls: as a container runtime starts it.
fn contained(pty: &Pty, place: Place, options: &[&str], child: &[&str]) -> Result<Init, Failure> {
    let setsid = tool("setsid", "util-linux")?;
    let fixture = fixture()?;
    let words: Vec<&str> =
        ["init"].iter().chain(options).copied().chain(["--", &fixture]).chain(child.iter().copied()).collect();
    let end = || pty.open().map(std::process::Stdio::from);
    let boot = Boot::hilum(&words).through(&[&setsid, "--ctty", "--wait"]).at(place);
    boot.stdin(end()?).stdout(end()?).stderr(end()?).start()
}

/// The fixture below a process, once it says it is there.
fn child(pty: &mut Pty) -> Check {
    pty.shows("ready").map(|_| ())
}

fn fixture_below(init: &Init) -> Result<peek::Stat, Failure> {
    let all = peek::descendants(init.outer()?);
    all.into_iter().find(|stat| stat.name == "e2e-fixture").context("no child")
}

#[test]
fn the_keys_reach_the_child_in_a_container() -> Check {
    let mut pty = Pty::new()?;
    let mut init = contained(&pty, Place::First, &[], &["trap", "3:9"])?;
    child(&mut pty)?;
    same("foreground group", pty.foreground()?, fixture_below(&init)?.group)?;
    pty.type_in(CTRL_C)?;
    pty.shows("signal 2")?;
    pty.type_in(CTRL_BACKSLASH)?;
    pty.shows("signal 3")?;
    same("code", init.wait()?, 9)
}

#[test]
fn a_new_size_reaches_the_child() -> Check {
    let mut pty = Pty::new()?;
    let mut init = contained(&pty, Place::First, &[], &["trap", "2:0"])?;
    child(&mut pty)?;
    pty.resize(50, 132)?;
    pty.shows("signal 28")?;
    pty.type_in(CTRL_C)?;
    same("code", init.wait()?, 0)
}

#[test]
fn ctrl_z_does_not_freeze_a_container() -> Check {
    let mut pty = Pty::new()?;
    let mut init = contained(&pty, Place::First, &[], &["hold"])?;
    child(&mut pty)?;
    pty.type_in(CTRL_Z)?;
    // There is no shell that could continue it, so it must go on: Ctrl-C still ends it.
    let stopped = fixture_below(&init)?.state;
    pty.type_in(CTRL_C)?;
    same(format!("code, the child was {stopped}"), init.wait()?, 130)
}

#[test]
fn a_terminal_that_hangs_up_ends_the_child() -> Check {
    let mut pty = Pty::new()?;
    let mut init = contained(&pty, Place::First, &[], &["hold"])?;
    child(&mut pty)?;
    drop(pty);
    let code = init.wait()?;
    holds(format!("code {code}"), code == 129 || code == 143)
}

#[test]
fn the_childs_input_is_the_terminal() -> Check {
    let mut pty = Pty::new()?;
    let setsid = tool("setsid", "util-linux")?;
    let shell = tool("sh", "dash")?;
    let words = ["init", "--", shell.as_str(), "-c", "echo asking; read line && echo \"got <$line>\"; exit 3"];
    let boot = Boot::hilum(&words).through(&[&setsid, "--ctty", "--wait"]);
    let mut init = boot.stdin(pty.open()?).stdout(pty.open()?).stderr(pty.open()?).start()?;
    pty.shows("asking")?;
    pty.type_in(b"words typed\n")?;
    same("echo", pty.shows("got <")?.as_str(), "words typed>")?;
    same("code", init.wait()?, 3)
}

/// An interactive shell on a terminal, with hilum to be started from its prompt.
struct Prompt {
    pty: Pty,
    shell: Init,
}

impl Prompt {
    fn open() -> Result<Prompt, Failure> {
        let mut pty = Pty::new()?;
        let (setsid, bash) = (tool("setsid", "util-linux")?, tool("bash", "bash")?);
        let end = |pty: &Pty| -> Result<File, Failure> { pty.open() };
        let boot = Boot::program(&setsid, &["--ctty", "--wait", &bash, "--norc", "--noprofile", "-i"]).ordinary();
        let boot = boot.variable("PS1", "prompt> ").variable("TERM", "dumb");
        let shell = boot.stdin(end(&pty)?).stdout(end(&pty)?).stderr(end(&pty)?).start()?;
        pty.type_in(b"echo open-$((40+2))\n")?;
        pty.shows("open-42")?;
        Ok(Prompt { pty, shell })
    }

    /// Runs a command line and waits for the prompt after it; the exit status.
    fn status(&mut self) -> Result<String, Failure> {
        self.pty.type_in(b"echo status=$?=\n")?;
        loop {
            let rest = self.pty.shows("status=")?;
            // What was typed is echoed, twice if it was typed before the prompt.
            if !rest.starts_with("$?") {
                return Ok(rest);
            }
        }
    }

    fn start(&mut self, options: &str, child: &str) -> Check {
        let line = format!("{} init {options} -- {} {child}\n", hilum(), fixture()?);
        self.pty.type_in(line.as_bytes())?;
        self.pty.shows("ready").map(|_| ())
    }
}

#[test]
fn from_a_shell_ctrl_c_reaches_the_child_and_the_terminal_comes_back() -> Check {
    let mut prompt = Prompt::open()?;
    prompt.start("", "trap 2:7")?;
    let child = fixture_below(&prompt.shell)?;
    same("foreground group", prompt.pty.foreground()?, child.group)?;
    prompt.pty.type_in(CTRL_C)?;
    prompt.pty.shows("signal 2")?;
    same("status", prompt.status()?.trim_end_matches('='), "7")?;
    prompt.pty.type_in(b"exit 0\n")?;
    same("the shell's code", prompt.shell.wait()?, 0)
}

#[test]
fn from_a_shell_ctrl_z_suspends_and_fg_resumes() -> Check {
    let mut prompt = Prompt::open()?;
    prompt.start("", "hold")?;
    for round in 0..3 {
        prompt.pty.type_in(CTRL_Z)?;
        // The shell has its terminal again and says so; 128 + SIGTSTP or SIGSTOP.
        let status = prompt.status().context(format!("round {round}"))?;
        holds(format!("status {status}"), ["148=", "147="].contains(&status.as_str()))?;
        same("the child", fixture_below(&prompt.shell)?.state, 'T')?;
        prompt.pty.type_in(b"fg\n")?;
        prompt.pty.shows("init")?;
        eventually("the child goes on in the foreground", || {
            let child = fixture_below(&prompt.shell)?;
            Ok(child.state != 'T' && prompt.pty.foreground()? == child.group)
        })?;
    }
    prompt.pty.type_in(CTRL_C)?;
    same("status", prompt.status()?.trim_end_matches('='), "130")?;
    prompt.pty.type_in(b"exit 0\n")?;
    same("the shell's code", prompt.shell.wait()?, 0)
}

#[test]
fn from_a_shell_in_the_background_the_terminal_is_left_alone() -> Check {
    let mut prompt = Prompt::open()?;
    let line = format!("{} init -- {} trap 15:5 & wait $!\n", hilum(), fixture()?);
    prompt.pty.type_in(line.as_bytes())?;
    prompt.pty.shows("ready")?;
    let child = fixture_below(&prompt.shell)?;
    holds("the child took the terminal from the shell", prompt.pty.foreground()? != child.group)?;
    hilum_sys::process::signal(hilum_sys::process::Target::Pid(child.parent), 15)?;
    same("status", prompt.status()?.trim_end_matches('='), "5")?;
    prompt.pty.type_in(b"exit 0\n")?;
    same("the shell's code", prompt.shell.wait()?, 0)
}

#[test]
fn after_a_crash_the_shell_has_its_terminal() -> Check {
    let mut prompt = Prompt::open()?;
    prompt.start("--drill fault", "trap 15:0")?;
    let child = fixture_below(&prompt.shell)?;
    hilum_sys::process::signal(hilum_sys::process::Target::Pid(child.parent), 12)?;
    prompt.pty.shows("signal 15")?;
    same("status", prompt.status()?.trim_end_matches('='), "70")?;
    prompt.pty.type_in(b"exit 0\n")?;
    same("the shell's code", prompt.shell.wait()?, 0)
}

#[test]
fn a_session_of_its_own_in_a_container_has_the_terminal() -> Check {
    let mut pty = Pty::new()?;
    let mut init = contained(&pty, Place::First, &["--session"], &["trap", "2:4"])?;
    child(&mut pty)?;
    let child = fixture_below(&init)?;
    same("session leader, foreground", (child.session, pty.foreground()?), (child.pid, child.pid))?;
    pty.type_in(CTRL_C)?;
    pty.shows("signal 2")?;
    same(format!("code; {}", pty.screen()), init.wait()?, 4)
}
