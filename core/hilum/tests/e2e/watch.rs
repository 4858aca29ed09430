//! `hilum watch`: processes that something else started.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Folder, Init, fixture, program};

const TERM: u8 = 15;

fn watch(folder: &Folder, words: &[&str]) -> Result<(Init, Client), Failure> {
    let listen = format!("unix:{}", folder.file("s"));
    let all: Vec<&str> = ["watch", "--listen", &listen, "--wait", "20ms"].iter().chain(words).copied().collect();
    let mut init = Boot::hilum(&all).ordinary().start()?;
    crate::run_mode::address(&mut init)?;
    Ok((init, Client::new(&listen)))
}

/// A process of a name of its own, ended when dropped.
struct Subject(std::process::Child);

impl Subject {
    fn start(folder: &Folder, name: &str) -> Result<Subject, Failure> {
        let path = folder.file(name);
        program::copy(fixture()?, &path)?;
        let child =
            Command::new(&path).arg("hold").stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut subject = Subject(child);
        let mut line = String::new();
        let stdout = subject.0.stdout.as_mut().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        same("first line", line.as_str(), "ready\n")?;
        Ok(subject)
    }

    fn end(&mut self) -> Check {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ended = self.end();
    }
}

fn is(document: &Value, status: &str) -> bool {
    document.pointer("/0/Status").and_then(Value::as_str) == Some(status)
}

fn end(mut init: Init) -> Check {
    init.signal(TERM)?;
    same("code", init.wait()?, 143)
}

#[test]
fn kapo_defect_17_a_long_name_is_matched_and_a_zombie_has_stopped() -> Check {
    let folder = Folder::new()?;
    let name = format!("a-name-longer-than-15-bytes-{}", std::process::id());
    let mut subject = Subject::start(&folder, &name)?;
    let (init, client) = watch(&folder, &[&name])?;
    let document = client.wait_until("/", "it is seen", |document| is(document, "running"))?;
    same(
        "Mode, Arguments",
        (document.pointer("/0/Mode"), document.pointer("/0/Arguments")),
        (Some(&"watch".into()), Some(&Value::Null)),
    )?;
    // Ended, and not waited for.
    subject.0.kill()?;
    client.wait_until("/", "a zombie has stopped", |document| is(document, "stopped"))?;
    client.wait_for("/readiness", 503)?;
    subject.0.wait()?;
    let _again = Subject::start(&folder, &format!("{name}-other"))?;
    holds("another name matches", is(&client.get("/")?.json()?, "stopped"))?;
    let _again = Subject::start(&folder, &name)?;
    client.wait_until("/", "it is seen again", |document| is(document, "running"))?;
    end(init)
}

#[test]
fn every_process_of_a_name_is_shown() -> Check {
    let folder = Folder::new()?;
    let name = format!("several-{}", std::process::id());
    let first = Subject::start(&folder, &name)?;
    let (init, client) = watch(&folder, &[&name])?;
    client.wait_until("/", "one", |document| {
        document.as_array().is_some_and(|all| all.len() == 1) && is(document, "running")
    })?;
    let second = {
        let child = Command::new(folder.file(&name)).arg("hold").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Subject(child)
    };
    client.wait_until("/", "two", |document| document.as_array().is_some_and(|all| all.len() == 2))?;
    drop(first);
    client.wait_until("/", "one again", |document| {
        document.as_array().is_some_and(|all| all.len() == 1) && is(document, "running")
    })?;
    drop(second);
    client.wait_until("/", "none", |document| is(document, "stopped"))?;
    end(init)
}

#[test]
fn kapo_defect_17_a_pid_is_one_process_and_its_start_is_right() -> Check {
    let folder = Folder::new()?;
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let mut subject = Subject::start(&folder, &format!("held-{}", std::process::id()))?;
    let (init, client) = watch(&folder, &["--pid", &subject.0.id().to_string()])?;
    let document = client.wait_until("/", "it is seen", |document| is(document, "running"))?;
    let start = document.pointer("/0/StartTime").and_then(Value::as_str).unwrap_or_default();
    let date = crate::stage::tool("date", "coreutils")?;
    let seconds = Command::new(date).args(["-d", start, "+%s"]).output()?;
    let seconds =
        String::from_utf8_lossy(&seconds.stdout).trim().parse::<u64>().context(format!("StartTime is {start}"))?;
    holds(format!("it started at {seconds}, not {before}"), seconds.abs_diff(before) <= 3)?;
    let again = client.get("/")?.json()?;
    same("StartTime", again.pointer("/0/StartTime"), document.pointer("/0/StartTime"))?;
    subject.end()?;
    client.wait_until("/", "it has stopped", |document| is(document, "stopped"))?;
    end(init)
}

#[test]
fn kapo_defects_14_and_16_the_first_document_is_whole_and_the_side_port_right() -> Check {
    let fixture_less = format!("no-such-process-{}", std::process::id());
    let words = ["watch", "--interface", "127.0.0.1", "--port", "0", "--wait", "1h", &fixture_less];
    let mut init = Boot::hilum(&words).ordinary().start()?;
    let address = crate::run_mode::address(&mut init)?;
    let document = Client::new(&address).get("/")?.json()?;
    holds(format!("the first document: {document}"), is(&document, "stopped"))?;
    end(init)?;
    let base = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let words = ["watch", "--listen", &base, "--sidebind", "--wait", "1h", &fixture_less];
    let mut init = Boot::hilum(&words).ordinary().start()?;
    let (_, side) = (crate::run_mode::address(&mut init)?, crate::run_mode::address(&mut init)?);
    let document = Client::new(&side).get("/")?.json()?;
    let port = document.pointer("/0/SidebindPort").and_then(Value::as_u64).unwrap_or(0);
    holds(format!("SidebindPort {port} at {side}"), side.ends_with(&format!(":{port}")))?;
    end(init)
}

#[test]
fn it_does_not_find_itself() -> Check {
    let folder = Folder::new()?;
    let hilum = folder.file("hilum-watching-itself");
    program::copy(crate::stage::hilum(), &hilum)?;
    let listen = format!("unix:{}", folder.file("s"));
    let words = ["watch", "--listen", &listen, "--wait", "20ms", "hilum-watching-itself"];
    let mut init = Boot::program(&hilum, &words).ordinary().start()?;
    crate::run_mode::address(&mut init)?;
    let document = Client::new(&listen).get("/")?.json()?;
    holds(format!("it found {document}"), is(&document, "stopped"))?;
    end(init)
}
