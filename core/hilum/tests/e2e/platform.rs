//! What plugins are given beyond being asked: judged settings, commands, files, and a successor when their file changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::plugins::{hilumc, plugin, plugin_table};
use crate::stage::boot::eventually;
use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Folder, Init, fixture, hilum, peek, program};

const HUP: u8 = 1;
const TERM: u8 = 15;

/// A service without a will of its own, and its status at a socket in `folder`.
fn service(folder: &Folder) -> Result<String, Failure> {
    let socket = folder.file("s");
    Ok(format!(
        "[status]\nlisten = [\"unix:{socket}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n",
        fixture()?
    ))
}

/// A probe of that service.
fn probe(name: &str, plugin: &str, with: &str) -> String {
    format!(
        "[service.web.probe.{name}]\nplugin = \"{plugin}\"\nkind = \"readiness\"\nperiod = \"50ms\"\ntimeout = \"2s\"\n\
         failure-threshold = 1\nwith = {with}\n"
    )
}

/// A container that runs `plan`, once its service does.
fn start(folder: &Folder, plan: &str) -> Result<(Init, Client), Failure> {
    let plan = folder.write("hilum.toml", plan)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
    init.line_from("ready")?;
    Ok((init, Client::new(&format!("unix:{}", folder.file("s")))))
}

fn end(mut init: Init) -> Check {
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

/// What the probe of this name said last, and in which words.
fn last(document: &Value, name: &str) -> (String, String) {
    let probes = document.pointer("/services/0/probes").and_then(Value::as_array);
    let found = probes.into_iter().flatten().find(|probe| probe.get("name") == Some(&name.into()));
    let text = |key| found.and_then(|probe| probe.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("last"), text("message"))
}

fn wait_for(client: &Client, name: &str, outcome: &str, said: &str) -> Check {
    let document = client.wait_until("/status", &format!("{name} says {outcome}"), |document| {
        last(document, name).0 == outcome && last(document, name).1.contains(said)
    });
    document.map(drop)
}

#[test]
fn settings_are_judged_by_their_plugin_before_anything_is_started() -> Check {
    let folder = Folder::new()?;
    let table = plugin_table("probe-http", &plugin("probe-http")?, "");
    let wrong = format!(
        "{}{}{}{table}",
        service(&folder)?,
        probe("a", "probe-http", "{ url = \"http://127.0.0.1:1/\", expect-status = [99] }"),
        probe("b", "probe-http", "{ urll = \"http://127.0.0.1:1/\" }"),
    );
    let plan = folder.write("hilum.toml", &wrong)?;
    for verb in ["check", "up"] {
        let finished = Boot::hilum(&[verb, "-c", &plan]).run()?;
        same(format!("code of {verb}"), finished.code, 78)?;
        for said in [
            "hilum.toml:11:1: service.web.probe.a.with.expect-status",
            "hilum.toml:18:1: service.web.probe.b.with.url: missing",
        ] {
            holds(format!("{verb} does not say {said}: {}", finished.stderr), finished.stderr.contains(said))?;
        }
    }
    let missing = format!(
        "{}{}[plugin.probe-http]\npath = \"/nonexistent.cwasm\"\n",
        service(&folder)?,
        probe("a", "probe-http", "{ url = \"http://127.0.0.1:1/\" }"),
    );
    let plan = folder.write("missing.toml", &missing)?;
    let finished = Boot::hilum(&["check", "-c", &plan]).run()?;
    same("code", finished.code, 78)?;
    let said = "missing.toml:12:9: plugin.probe-http: cannot open /nonexistent.cwasm";
    holds(format!("not said: {said}: {}", finished.stderr), finished.stderr.contains(said))
}

#[test]
fn commands_run_by_name_and_leave_nothing_behind() -> Check {
    let folder = Folder::new()?;
    let exec = plugin("probe-exec")?;
    let plan = format!(
        "{}{}{}{}{}{}[command.flag]\nrun = [\"/bin/sh\", \"-c\", \"echo out; echo err >&2; sleep 300 & exit 3\"]\n\
         [command.slow]\nrun = [\"/bin/sleep\", \"301\"]\ntimeout = \"100ms\"\n[command.none]\nrun = [\"/nonexistent/program\"]\n\
         [command.other]\nrun = [\"/bin/true\"]\n",
        service(&folder)?,
        probe("flag", "probe-exec", "{ command = \"flag\", expect-exit = [3], expect-output = \"out\" }"),
        probe("slow", "probe-exec", "{ command = \"slow\" }"),
        probe("none", "probe-exec", "{ command = \"none\" }"),
        probe("other", "probe-exec", "{ command = \"other\" }"),
        plugin_table("probe-exec", &exec, "allow.exec = [\"flag\", \"slow\", \"none\"]"),
    );
    let (mut init, client) = start(&folder, &plan)?;
    wait_for(&client, "flag", "pass", "")?;
    wait_for(&client, "slow", "fail", "timed out")?;
    wait_for(&client, "none", "unknown", "/nonexistent/program")?;
    wait_for(&client, "other", "unknown", "allow.exec")?;
    // Each run's sleep is killed with its group; at most those of a run under way are there.
    let pid = init.pid()?;
    eventually("no sleep is left of runs that ended", || {
        let below = peek::descendants(pid);
        Ok(below.iter().filter(|stat| stat.name == "sleep").count() <= 2)
    })?;
    let denied = client.wait_until("/status", "denials are counted", |document| {
        document.pointer("/plugins/0/denied").and_then(Value::as_u64).is_some_and(|count| count > 0)
    })?;
    same("kinds", denied.pointer("/plugins/0/kinds/0"), Some(&"probe".into()))?;
    end(init)
}

#[test]
fn files_are_seen_as_they_are_now_and_only_those_granted() -> Check {
    let folder = Folder::new()?;
    let file = plugin("probe-file")?;
    let open = folder.path().join("open");
    fs::create_dir(&open)?;
    let [there, out] = ["there", "out"].map(|name| open.join(name).display().to_string());
    std::os::unix::fs::symlink("/etc/hostname", &out)?;
    let plan = format!(
        "{}{}{}{}{}",
        service(&folder)?,
        probe("there", "probe-file", &format!("{{ path = \"{there}\" }}")),
        probe("out", "probe-file", &format!("{{ path = \"{out}\" }}")),
        probe("beside", "probe-file", &format!("{{ path = \"{}\" }}", folder.file("hilum.toml"))),
        plugin_table("probe-file", &file, &format!("allow.files = [\"{}:ro\"]", open.display())),
    );
    let (init, client) = start(&folder, &plan)?;
    wait_for(&client, "there", "fail", "")?;
    wait_for(&client, "out", "unknown", "leads out")?;
    wait_for(&client, "beside", "unknown", "allow.files")?;
    for _ in 0..3 {
        fs::write(open.join("aside"), "x")?;
        fs::rename(open.join("aside"), &there)?;
        wait_for(&client, "there", "pass", "")?;
        fs::remove_file(&there)?;
        wait_for(&client, "there", "fail", "")?;
    }
    end(init)
}

#[test]
fn a_bundle_is_executable_plan_and_plugins_in_one_file() -> Check {
    let folder = Folder::new()?;
    let plan = format!(
        "{}{}[plugin.env]\nallow.env = [\"HILUM_E2E\"]\n",
        service(&folder)?,
        probe("p", "env", "{ name = \"HILUM_E2E\", equals = \"yes\" }"),
    );
    let plan = folder.write("hilum.toml", &plan)?;
    let bundle = folder.file("app");
    let made = Command::new(hilumc())
        .args(["bundle", "--hilum", &hilum(), "--plan", &plan, "-o", &bundle])
        .arg(format!("env={}", plugin("probe-env")?.display()))
        .output()?;
    holds(format!("hilumc bundle: {}", String::from_utf8_lossy(&made.stderr)), made.status.success())?;
    fs::remove_file(&plan)?;
    let mut init = Boot::program(&bundle, &[]).variable("HILUM_E2E", "yes").start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    wait_for(&client, "p", "pass", "")?;
    end(init)?;
    // Other commands of the same file work, and one that is cut off says so.
    let checked = Boot::program(&bundle, &["check", "--print"]).variable("HILUM_E2E", "yes").run()?;
    same("code", checked.code, 0)?;
    let mut bytes = fs::read(&bundle)?;
    let at = bytes.len().saturating_sub(20);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = b'?';
    }
    fs::write(folder.file("written"), bytes)?;
    fs::set_permissions(folder.file("written"), fs::metadata(&bundle)?.permissions())?;
    program::copy(folder.file("written"), folder.file("damaged"))?;
    let damaged = Boot::program(&folder.file("damaged"), &["check"]).run()?;
    holds(
        format!("{}: {}", damaged.code, damaged.stderr),
        damaged.code == 78 && damaged.stderr.contains("bundle is damaged"),
    )
}

/// Puts a copy of `from` where `to` is, as an upgrade does: written aside and renamed.
fn upgrade(from: &Path, to: &Path) -> Check {
    let aside = to.with_extension("new");
    fs::copy(from, &aside)?;
    Ok(fs::rename(aside, to)?)
}

#[test]
fn a_changed_plugin_is_taken_over_on_reload_and_a_bad_one_is_not() -> Check {
    let folder = Folder::new()?;
    let file = folder.path().join("p.cwasm");
    upgrade(&plugin("probe-env")?, &file)?;
    let plan = format!(
        "{}{}[plugin.p]\npath = \"{}\"\nallow.env = [\"HILUM_E2E\"]\n",
        service(&folder)?,
        probe("p", "p", "{ name = \"HILUM_E2E\", equals = \"yes\" }"),
        file.display(),
    );
    let plan = folder.write("hilum.toml", &plan)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).variable("HILUM_E2E", "yes").start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    wait_for(&client, "p", "pass", "")?;
    let worker = |document: &Value| {
        let workers = document.pointer("/workers").and_then(Value::as_array).cloned().unwrap_or_default();
        let sandboxes: Vec<u64> = workers
            .iter()
            .filter(|worker| worker.get("role") == Some(&"sandbox".into()))
            .filter_map(|worker| worker.get("pid").and_then(Value::as_u64))
            .collect();
        sandboxes
    };
    let mut before = worker(&client.get("/status")?.json()?);
    for _ in 0..3 {
        upgrade(&plugin("probe-env")?, &file)?;
        init.signal(HUP)?;
        init.error_line_with("event=plugin-swapped")?;
        let after = client.wait_until("/status", "one new sandbox is left", |document| {
            let now = worker(document);
            now.len() == 1 && now != before
        })?;
        before = worker(&after);
    }
    // One that is no plugin, and one that is gone: the old one serves on.
    fs::write(file.with_extension("new"), "no plugin")?;
    fs::rename(file.with_extension("new"), &file)?;
    init.signal(HUP)?;
    init.error_line_with("event=plugins-not-swapped").context("a file that is no plugin")?;
    fs::remove_file(&file)?;
    init.signal(HUP)?;
    init.error_line_with("event=plugins-not-swapped").context("no file")?;
    let document = client.get("/status")?.json()?;
    same("state", document.pointer("/plugins/0/state"), Some(&"ready".into()))?;
    let answered = document.pointer("/services/0/probes/0/answered").and_then(Value::as_u64).unwrap_or_default();
    let document = client.wait_until("/status", "the old one still answers", |document| {
        document.pointer("/services/0/probes/0/answered").and_then(Value::as_u64).is_some_and(|now| now > answered + 2)
    })?;
    same("outcome", last(&document, "p").0.as_str(), "pass")?;
    // Killed, it cannot be loaded again; that is told, and no failure of the service.
    upgrade(&plugin("probe-env")?, &file)?;
    init.signal(HUP)?;
    init.error_line_with("event=plugin-swapped").context("after the mishaps")?;
    end(init)
}
