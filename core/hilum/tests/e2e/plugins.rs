//! Plans whose probes are components: what a probe finds is acted on, and a plugin that means harm is contained and named.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stage::failure::{Context as _, Failure, holds, same};
use crate::stage::{Boot, Check, Client, Folder, Init, fail, fixture, peek, program};
use crate::status_load::{is_within_twice, median};

const HUP: u8 = 1;
const TERM: u8 = 15;

/// A precompiled plugin of the project: from the folder `HILUM_PLUGINS` names, or where xtask leaves it.
pub(crate) fn plugin(name: &str) -> Result<PathBuf, Failure> {
    let folder =
        std::env::var("HILUM_PLUGINS").map_or_else(|_| program::root().join("target/dist/plugins"), PathBuf::from);
    let file = folder.join(format!("{name}.{}.cwasm", std::env::consts::ARCH));
    holds(format!("cannot find {}: run cargo xtask plugins", file.display()), file.is_file())?;
    Ok(file)
}

/// The plugin author's tool: `HILUMC_BIN`, or where xtask leaves it.
pub(crate) fn hilumc() -> PathBuf {
    std::env::var("HILUMC_BIN").map_or_else(
        |_| program::root().join(format!("target/dist/{}-unknown-linux-musl/hilumc", std::env::consts::ARCH)),
        PathBuf::from,
    )
}

/// A service behind an HTTP probe.
pub(crate) struct Probed {
    pub(crate) init: Init,
    pub(crate) client: Client,
    service: Client,
    _folder: Folder,
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The plan's part about a plugin.
pub(crate) fn plugin_table(name: &str, file: &Path, extra: &str) -> String {
    format!("[plugin.{name}]\npath = \"{}\"\nsha256 = \"{}\"\n{extra}\n", file.display(), digest(file))
}

fn digest(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split(' ').next().unwrap_or_default().to_owned()
}

impl Probed {
    pub(crate) fn start(kind: &str, period: &str) -> Result<Probed, Failure> {
        let folder = Folder::new()?;
        let port = free_port()?;
        let file = plugin("probe-http")?;
        let text = format!(
            "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"serve\", \"127.0.0.1:{port}\"]\n\
             restart = \"always\"\nbackoff = {{ initial = \"20ms\", cap = \"50ms\" }}\n\
             [service.web.probe.http]\nplugin = \"probe-http\"\nkind = \"{kind}\"\nperiod = \"{period}\"\ntimeout = \"2s\"\n\
             failure-threshold = 3\nwith = {{ url = \"http://127.0.0.1:{port}/healthz\" }}\n{}",
            folder.file("s"),
            fixture()?,
            plugin_table("probe-http", &file, &format!("allow = {{ connect = [\"127.0.0.1:{port}\"] }}")),
        );
        let plan = folder.write("hilum.toml", &text)?;
        let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
        init.line_from("serving")?;
        let client = Client::new(&format!("unix:{}", folder.file("s")));
        client.wait_for("/readiness", 200)?;
        Ok(Probed { init, client, service: Client::new(&format!("127.0.0.1:{port}")), _folder: folder })
    }

    fn end(mut self) -> Check {
        self.init.signal(TERM)?;
        same("code", self.init.wait()?, 143)
    }
}

fn run_of(client: &Client) -> Result<Option<u64>, Failure> {
    Ok(client.get("/status")?.json()?.pointer("/services/0/run").and_then(Value::as_u64))
}

#[test]
fn readiness_goes_and_comes_back_and_restarts_nothing() -> Check {
    let probed = Probed::start("readiness", "50ms")?;
    for _ in 0..3 {
        probed.service.get("/break")?;
        probed.client.wait_for("/readiness", 503)?;
        same("liveness", probed.client.get("/liveness")?.status, 200)?;
        probed.service.get("/heal")?;
        probed.client.wait_for("/readiness", 200)?;
    }
    same("run", run_of(&probed.client)?, Some(1))?;
    probed.end()
}

#[test]
fn a_liveness_failure_restarts_the_service() -> Check {
    let mut probed = Probed::start("liveness", "50ms")?;
    for run in 1..4 {
        same("run", run_of(&probed.client)?, Some(run))?;
        probed.service.get("/break")?;
        probed.init.line_from("serving").context("no restart")?;
        probed.client.wait_for("/readiness", 200)?;
    }
    let line = probed.init.error_line_with("event=stopping")?;
    holds(format!("the reason is not told: {line}"), line.contains("reason=\"probe http\""))?;
    probed.end()
}

#[test]
fn a_plugin_that_is_not_the_file_the_plan_pins_is_refused() -> Check {
    let folder = Folder::new()?;
    let file = folder.path().join("changed.cwasm");
    let mut bytes = std::fs::read(plugin("probe-http")?)?;
    let pinned = plugin_table("probe-http", &plugin("probe-http")?, "");
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    std::fs::write(&file, bytes)?;
    let text = format!(
        "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n\
         [service.web.probe.http]\nplugin = \"probe-http\"\nkind = \"liveness\"\nperiod = \"50ms\"\nfailure-threshold = 1\n\
         with = {{ url = \"http://127.0.0.1:1/\" }}\n{}",
        folder.file("s"),
        fixture()?,
        pinned.replace(&plugin("probe-http")?.display().to_string(), &file.display().to_string()),
    );
    let plan = folder.write("hilum.toml", &text)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
    let line = init.error_line_with("event=plugin-refused")?;
    holds(
        format!("plugin or digest are not named: {line}"),
        line.contains("plugin=probe-http") && line.contains("sha256 is "),
    )?;
    // What cannot tell is no failure: the service is not judged by it.
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    let document = client.wait_until("/status", "the refusal and its consequence are shown", |document| {
        let plugin = document.pointer("/plugins/0").map(Value::to_string).unwrap_or_default();
        document.pointer("/services/0/probes/0/last") == Some(&"unknown".into()) && plugin.contains("sha256 is ")
    })?;
    same("run", document.pointer("/services/0/run"), Some(&1.into()))?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

/// Guests that mean harm, as core modules in WebAssembly's text: the body of `check`, and fields beside it.
const HOSTILE: [(&str, &str, &str); 4] = [
    ("spin", "(loop $again (br $again)) (unreachable)", ""),
    ("memory", "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)", ""),
    (
        "stack",
        "(call $deep (i32.const 0))",
        "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
    ),
    ("trap", "(unreachable)", ""),
];

/// A component that describes itself well and does what is given when it is asked, harm in most cases; precompiled by hilumc.
fn hostile(folder: &Folder, name: &str, check: &str, fields: &str) -> Result<PathBuf, Failure> {
    let text = format!(
        r#"(module
          (memory (export "memory") 1)
          (global $free (mut i32) (i32.const 32768))
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.and (i32.add (global.get $free) (i32.add (local.get 3) (i32.const 7))) (i32.const -8))))
          (data (i32.const 64) "\00\01\00\00\05\00\00\00\10\01\00\00\03\00\00\00\20\01\00\00\02\00\00\00\00\00\00\00\00\00\00\00")
          (data (i32.const 256) "guest")
          (data (i32.const 272) "1.0")
          (data (i32.const 288) "{{}}")
          {fields}
          (func (export "hilum:plugin/plugin@0.1.0#describe") (result i32) (i32.const 64))
          (func (export "hilum:plugin/plugin@0.1.0#check-settings") (param i32 i32) (result i32) (i32.const 240))
          (func (export "hilum:probe/probe@0.1.0#check") (param i32 i32 i32 i32) (result i32) {check}))"#
    );
    let mut module = wat::parse_str(text)?;
    let mut resolve = wit_parser::Resolve::default();
    let named = |error: &dyn std::fmt::Debug| format!("cannot make the guest {name}: {error:?}");
    let Ok((package, _)) = resolve.push_path(program::root().join("wit/probe")) else {
        return fail(named(&"wit/probe"));
    };
    let world = resolve.select_world(&[package], Some("probe-plugin")).or_else(|error| fail(named(&error)))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
        .or_else(|error| fail(named(&error)))?;
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoder = encoder.validate(true).module(&module).or_else(|error| fail(named(&error)))?;
    let component = encoder.encode().or_else(|error| fail(named(&error)))?;
    let source = folder.file(&format!("{name}.wasm"));
    std::fs::write(&source, component)?;
    let compiled = folder.path().join(format!("{name}.cwasm"));
    let hilumc = hilumc();
    let output = Command::new(&hilumc)
        .args(["compile", &source, "-o"])
        .arg(&compiled)
        .output()
        .context(format!("cannot start {}: run cargo xtask dist", hilumc.display()))?;
    holds(format!("hilumc: {}", String::from_utf8_lossy(&output.stderr)), output.status.success())?;
    Ok(compiled)
}

#[test]
fn hostile_plugins_are_contained_and_named() -> Check {
    let folder = Folder::new()?;
    let mut text = format!(
        "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n",
        folder.file("s"),
        fixture()?
    );
    for (name, check, fields) in HOSTILE {
        let file = hostile(&folder, name, check, fields)?;
        text.push_str(&format!(
            "[service.web.probe.{name}]\nplugin = \"{name}\"\nkind = \"liveness\"\nperiod = \"100ms\"\ntimeout = \"50ms\"\nfailure-threshold = 1\n{}",
            plugin_table(name, &file, "")
        ));
    }
    let plan = folder.write("hilum.toml", &text)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    let mut status = Value::Null;
    client.wait_until("/status", "every probe has an answer", |document| {
        status = document.clone();
        let probes = document.pointer("/services/0/probes").and_then(Value::as_array).cloned().unwrap_or_default();
        probes.len() == HOSTILE.len() && probes.iter().all(|probe| probe.get("last") == Some(&"unknown".into()))
    })?;
    for (name, ..) in HOSTILE {
        init.error_line_with(&format!("plugin={name}")).context(format!("{name} is not named in the log"))?;
    }
    same("liveness", client.get("/liveness")?.status, 200)?;
    same("unknown alone restarts nothing: run", run_of(&client)?, Some(1))?;
    let pid = init.pid()?;
    holds("process 1 is gone", peek::stat(pid).is_some())?;
    init.signal(TERM)?;
    init.line_from("signal 15")?;
    same("code", init.wait()?, 0)
}

/// Fails in the first call of an instance, and passes in its further ones.
const AGAIN: &str = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 160) (i32.le_u (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 164) (i32.const 256))
    (i32.store (i32.const 168) (i32.const 5))
    (i32.const 160)";

#[test]
fn only_the_instances_of_plugins_whose_plan_says_so_are_reused() -> Check {
    let folder = Folder::new()?;
    // One file for both, and so code that they have together.
    let file = hostile(&folder, "again", AGAIN, "(global $calls (mut i32) (i32.const 0))")?;
    let mut text = format!(
        "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n",
        folder.file("s"),
        fixture()?
    );
    for (name, extra) in [("fresh", ""), ("reused", "reuse-instances = true")] {
        text.push_str(&format!(
            "[service.web.probe.{name}]\nplugin = \"{name}\"\nkind = \"readiness\"\nperiod = \"20ms\"\n{}",
            plugin_table(name, &file, extra)
        ));
    }
    let plan = folder.write("hilum.toml", &text)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    client.wait_until("/status", "one fails and one passes, again and again", |document| {
        let probe = |place: usize, key: &str| document.pointer(&format!("/services/0/probes/{place}/{key}")).cloned();
        let answered =
            |place| probe(place, "answered").and_then(|count| count.as_u64()).is_some_and(|count| count > 10);
        let last = [probe(0, "last"), probe(1, "last")];
        answered(0) && answered(1) && last == [Some("fail".into()), Some("pass".into())]
    })?;
    init.signal(TERM)?;
    same("code", init.wait()?, 0)
}

/// Some ten milliseconds of work, and a pass.
const BUSY: &str = "(local $left i32) (local.set $left (i32.const 20000000))
    (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 128)";

/// Roles and processes of the workers for plugins, in the eyes of process 1.
fn sandboxes(document: &Value) -> Vec<(String, u64)> {
    let workers = document.pointer("/workers").and_then(Value::as_array).cloned().unwrap_or_default();
    let told = workers.iter().filter_map(|worker| {
        let role = worker.get("role").and_then(Value::as_str).filter(|role| role.starts_with("sandbox"))?;
        Some((role.to_owned(), worker.get("pid").and_then(Value::as_u64)?))
    });
    told.collect()
}

/// A service with one probe of each of several plugins.
struct Crowd {
    init: Init,
    client: Client,
    size: usize,
    _folder: Folder,
}

impl Crowd {
    /// `quick`; `busy`, which needs much of a processor; `stays`, which does too and may not be set apart; and `alone`.
    fn start() -> Result<Crowd, Failure> {
        let folder = Folder::new()?;
        let busy = hostile(&folder, "busy", BUSY, "")?;
        let quick = hostile(&folder, "quick", "(i32.const 128)", "")?;
        let mut text = format!(
            "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n",
            folder.file("s"),
            fixture()?
        );
        let plugins = [
            ("quick", &quick, ""),
            ("busy", &busy, ""),
            ("stays", &busy, "isolation = \"shared\""),
            ("alone", &quick, "isolation = \"own\""),
        ];
        for (name, file, isolation) in plugins {
            text.push_str(&format!(
                "[service.web.probe.{name}]\nplugin = \"{name}\"\nkind = \"readiness\"\nperiod = \"50ms\"\ntimeout = \"5s\"\n{}",
                plugin_table(name, file, isolation)
            ));
        }
        let plan = folder.write("hilum.toml", &text)?;
        let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
        init.line_from("ready")?;
        let client = Client::new(&format!("unix:{}", folder.file("s")));
        Ok(Crowd { init, client, size: plugins.len(), _folder: folder })
    }

    /// Waits until each probe has been answered `times` more. What the status page said then.
    fn goes_on(&self, times: u64) -> Result<Value, Failure> {
        let answered = |document: &Value| -> Vec<u64> {
            let probes = document.pointer("/services/0/probes").and_then(Value::as_array).cloned().unwrap_or_default();
            probes.iter().filter_map(|probe| probe.get("answered").and_then(Value::as_u64)).collect()
        };
        let first = answered(&self.client.get("/status")?.json()?);
        self.client.wait_until("/status", "all probes are answered, again and again", |document| {
            let now = answered(document);
            now.len() == self.size && now.iter().zip(&first).all(|(now, first)| *now >= first + times)
        })
    }

    /// Waits until there is one worker that is shared, one of the plugin that is alone, and one of the one that was set apart.
    fn is_settled(&self) -> Check {
        self.client.wait_until("/status", "three workers are left", |document| {
            let mut roles: Vec<String> = sandboxes(document).into_iter().map(|(role, _)| role).collect();
            roles.sort();
            roles == ["sandbox", "sandbox alone", "sandbox busy"]
        })?;
        Ok(())
    }

    /// The processes of the workers for plugins, in our eyes.
    fn workers(&mut self) -> Result<Vec<i32>, Failure> {
        let is = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("worker\0sandbox")
        };
        Ok(self.init.children()?.into_iter().filter(is).collect())
    }

    fn end(mut self) -> Check {
        same("run", run_of(&self.client)?, Some(1))?;
        self.init.signal(TERM)?;
        self.init.line_from("signal 15")?;
        same("code", self.init.wait()?, 0)
    }
}

#[test]
fn a_plugin_that_needs_much_of_a_processor_is_set_apart_from_the_others() -> Check {
    let mut crowd = Crowd::start()?;
    let shared = |document: &Value| sandboxes(document).into_iter().find(|(role, _)| role == "sandbox");
    let there = |document: &Value| shared(document).is_some();
    let before = shared(&crowd.client.wait_until("/status", "the shared worker is there", there)?);
    let line = crowd.init.error_line_with("event=plugin-set-apart")?;
    holds(format!("another one was set apart: {line}"), line.contains("plugin=busy"))?;
    let document = crowd.goes_on(4)?;
    crowd.is_settled()?;
    same("the shared worker", shared(&document), before)?;
    let used = document.pointer("/plugins/1/cpu_us").and_then(Value::as_u64);
    holds(format!("its processor time is {used:?}"), used.is_some_and(|used| used > 50_000))?;

    // It stays apart when its worker dies, and when all plugins are loaded anew.
    for pid in crowd.workers()? {
        hilum_sys::process::signal(hilum_sys::process::Target::Pid(pid), 9)?;
    }
    for _ in 0..3 {
        crowd.init.error_line_with("event=worker-lost")?;
    }
    crowd.goes_on(4)?;
    crowd.is_settled()?;
    crowd.init.signal(HUP)?;
    for _ in 0..crowd.size {
        crowd.init.error_line_with("event=plugin-swapped")?;
    }
    crowd.goes_on(4)?;
    crowd.is_settled()?;
    crowd.end()
}

#[test]
fn workers_die_and_are_replaced_in_any_order_while_a_plugin_is_set_apart() -> Check {
    let mut crowd = Crowd::start()?;
    let mut chance: u32 = 0x9e37_79b9;
    for _ in 0..60 {
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let workers = crowd.workers()?;
        let place = usize::try_from(chance >> 8)? % (workers.len() + 1);
        match workers.get(place) {
            // It may have gone meanwhile, as old ones do.
            Some(pid) => drop(hilum_sys::process::signal(hilum_sys::process::Target::Pid(*pid), 9)),
            None => crowd.init.signal(HUP)?,
        }
        // Else a plugin whose worker dies thrice in its calls is switched off, as it should be.
        crowd.goes_on(u64::from(chance % 3))?;
    }
    // One whose own worker died on its way stays with the others for a while, or until this.
    crowd.init.signal(HUP)?;
    crowd.goes_on(4)?;
    crowd.is_settled()?;
    crowd.end()
}

#[test]
fn a_plugin_that_cannot_be_set_apart_stays_with_the_others() -> Check {
    let folder = Folder::new()?;
    let busy = hostile(&folder, "busy", BUSY, "")?;
    let quick = hostile(&folder, "quick", "(i32.const 128)", "")?;
    // Loaded at once, and called when its file has gone.
    let probe = |name: &str, file: &Path, delay: &str| {
        format!(
            "[service.web.probe.{name}]\nplugin = \"{name}\"\nkind = \"readiness\"\nperiod = \"50ms\"\ntimeout = \"5s\"\n\
             initial-delay = \"{delay}\"\n{}",
            plugin_table(name, file, "")
        )
    };
    let text = format!(
        "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{}\", \"trap\", \"15:0\"]\n{}{}",
        folder.file("s"),
        fixture()?,
        probe("busy", &busy, "2s"),
        probe("quick", &quick, "0s"),
    );
    let plan = folder.write("hilum.toml", &text)?;
    let mut init = Boot::hilum(&["up", "-c", &plan]).start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("s")));
    let ready = |document: &Value| document.pointer("/plugins/0/state") == Some(&"ready".into());
    client.wait_until("/status", "it is loaded", ready)?;
    std::fs::remove_file(&busy)?;
    let line = init.error_line_with("event=plugin-not-set-apart")?;
    holds(format!("neither which nor why: {line}"), line.contains("plugin=busy") && line.contains("busy.cwasm"))?;
    let document = client.wait_until("/status", "it is called again and again", |document| {
        let answered = document.pointer("/services/0/probes/0/answered").and_then(Value::as_u64);
        answered.is_some_and(|answered| answered > 20)
    })?;
    same("its state", ready(&document), true)?;
    same("workers", sandboxes(&document).len(), 1)?;
    let tried = init.stderr().matches("event=plugin-not-set-apart").count();
    same("times it was tried", tried, 1)?;
    init.signal(TERM)?;
    init.line_from("signal 15")?;
    same("code", init.wait()?, 0)
}

/// What the scheduler makes anyone wait for a processor that others want too, and a tenth of what waiting for the plugin would cost: its
/// deadline is 50 ms.
const SLICE: Duration = Duration::from_millis(5);

#[test]
fn spinning_plugins_do_not_slow_a_stop_or_the_reaping_down() -> Check {
    let folder = Folder::new()?;
    let [(name, check, fields), ..] = HOSTILE;
    let file = hostile(&folder, name, check, fields)?;
    let fixture = fixture()?;
    let service = format!(
        "[status]\nlisten = [\"unix:{}\"]\n[service.web]\ncommand = [\"{fixture}\", \"trap\", \"15:0\"]\nrestart = \"always\"\n\
         backoff = {{ initial = \"0s\", cap = \"0s\" }}\n",
        folder.file("s")
    );
    let probe = format!(
        "[service.web.probe.spin]\nplugin = \"spin\"\nkind = \"readiness\"\nperiod = \"60ms\"\ntimeout = \"50ms\"\n{}",
        plugin_table(name, &file, "")
    );
    let idle = folder.write("idle.toml", &service)?;
    let spinning = folder.write("spinning.toml", &format!("{service}{probe}"))?;
    // Both are measured side by side; of a few rounds the best counts, for what else the machine does only ever adds.
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let (quiet, busy) = (latencies(&idle)?, latencies(&spinning)?);
        println!("stop, reaping: idle {quiet:?}, beside a spinning plugin {busy:?}");
        let fast = |busy: Duration, quiet: Duration| is_within_twice(busy, quiet) || busy <= SLICE;
        if fast(busy.0, quiet.0) && fast(busy.1, quiet.1) {
            return Ok(());
        }
        rounds.push((quiet, busy));
    }
    fail(format!("stop, reaping: idle and beside a spinning plugin, {rounds:?}"))
}

/// Medians of the time a stop signal needs to the service, and of that from the death of a service to its reaping.
fn latencies(plan: &str) -> Result<(Duration, Duration), Failure> {
    let (mut stops, mut reapings) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let mut init = Boot::hilum(&["up", "-c", plan]).start()?;
        init.line_from("ready")?;
        for _ in 0..9 {
            let below = peek::descendants(init.pid()?);
            let service = below.into_iter().find(|stat| stat.name == "e2e-fixture").context("no service")?;
            let start = Instant::now();
            hilum_sys::process::signal(hilum_sys::process::Target::Pid(service.pid), 9)?;
            // Said once it is reaped.
            init.error_line_with("event=exited")?;
            reapings.push(start.elapsed());
            init.line_from("ready")?;
        }
        let start = Instant::now();
        init.signal(TERM)?;
        init.line_from("signal 15")?;
        stops.push(start.elapsed());
        same("code", init.wait()?, 0)?;
    }
    Ok((median(stops).context("no stops")?, median(reapings).context("no reapings")?))
}
