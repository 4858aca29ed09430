//! The same beside the whole of hilum: a plan with both plugins, called as fast as a plan may ask for, and times as the status page tells them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hilum_sandbox::load::digest;
use hilum_sys::process::{Target, signal};
use serde_json::Value;

use crate::guest::{ECHO, Guest};
use crate::toolchain::attacks;

/// How long a run is left alone first: whoever is to be set apart is, and the calls that were under way have ended.
const SETTLING: Duration = Duration::from_secs(1);

/// How long it is measured then.
const RUN: Duration = Duration::from_millis(1500);

/// How often the page is asked: it has the last 32 calls of each probe, which are 320 ms.
const GLANCE: Duration = Duration::from_millis(150);

const TERM: u8 = 15;

/// What a plan needs.
pub(crate) struct Whole {
    hilum: PathBuf,
    folder: PathBuf,
    plugins: String,
}

/// What a run showed.
pub(crate) struct Run {
    /// How long calls of the one that means well took. **Units:** microseconds.
    pub(crate) took: Vec<u64>,
    /// Whether the other one had a worker of its own in the end.
    pub(crate) apart: bool,
}

impl Whole {
    /// Makes ready for runs of the program `hilum`, with `readable` granted to the attacker.
    pub(crate) fn new(hilum: &Path, folder: &Path, readable: &str) -> Whole {
        let plugin = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).unwrap();
            format!("[plugin.{name}]\npath = {path:?}\nsha256 = \"{}\"\n", digest(bytes))
        };
        let plugins = format!(
            "{}{}memory = \"256MiB\"\nallow = {{ connect = [\"127.0.0.1:*\"], exec = [\"brief\", \"flood\"], files = [\"{readable}:ro\"] }}\n\
             [command.brief]\nrun = [\"/bin/sh\", \"-c\", \"echo brief\"]\n[command.flood]\nrun = [\"/bin/sh\", \"-c\", \"yes & exec yes >&2\"]\n",
            plugin("echo", &Guest::checking(ECHO).compiled()),
            plugin("attacks", attacks()),
        );
        Whole { hilum: hilum.to_owned(), folder: folder.to_owned(), plugins }
    }

    /// One run, with an attack or quiet.
    pub(crate) fn run(&self, attack: Option<&Value>) -> Run {
        let socket = self.folder.join("status");
        let mut plan = format!(
            "[status]\nlisten = [\"unix:{}\"]\n[service.s]\ncommand = [\"/bin/sleep\", \"1000\"]\n",
            socket.display()
        );
        let mut probe = |name: &str, plugin: &str, timeout: &str, with: &str| {
            let _infallible = writeln!(
                plan,
                "[service.s.probe.{name}]\nkind = \"readiness\"\nplugin = \"{plugin}\"\nperiod = \"10ms\"\ntimeout = \"{timeout}\"\n{with}"
            );
        };
        for number in 0..4 {
            probe(&format!("echo{number}"), "echo", "5s", "");
            if let Some(attack) = attack {
                probe(&format!("attack{number}"), "attacks", "300ms", &format!("with = {}", toml(attack)));
            }
        }
        // A plugin that nobody calls is not loaded.
        plan.push_str(&self.plugins);
        let file = self.folder.join("hilum.toml");
        fs::write(&file, plan).unwrap();
        let _none = fs::remove_file(&socket);
        let mut hilum = Command::new(&self.hilum);
        let mut hilum =
            hilum.args(["up", "-c"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let run = watch(&socket, &mut hilum);
        signal(Target::Pid(i32::try_from(hilum.id()).unwrap()), TERM).unwrap();
        hilum.wait().unwrap();
        run
    }
}

/// Takes what the page tells for [`RUN`]; the first look takes in what was a third of a second before.
fn watch(socket: &Path, hilum: &mut Child) -> Run {
    std::thread::sleep(SETTLING);
    let began = Instant::now();
    let (mut took, mut apart) = (HashMap::new(), false);
    while began.elapsed() < RUN {
        assert!(hilum.try_wait().unwrap().is_none(), "hilum has ended; try hilum check on its plan");
        let Some(page) = page(socket) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let list = |path: &str| page.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        apart = list("/workers").iter().any(|worker| worker.get("role") == Some(&"sandbox attacks".into()));
        for probe in list("/services/0/probes").iter().filter(|probe| probe.get("plugin") == Some(&"echo".into())) {
            let name = probe.get("name").map(Value::to_string).unwrap_or_default();
            for call in probe.get("history").and_then(Value::as_array).into_iter().flatten() {
                let at = call.get("at").map(Value::to_string).unwrap_or_default();
                took.insert((name.clone(), at), call.get("duration_us").and_then(Value::as_u64).unwrap());
            }
        }
        std::thread::sleep(GLANCE);
    }
    Run { took: took.into_values().collect(), apart }
}

fn page(socket: &Path) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

/// A value in TOML, on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{} = {}", Value::from(key.as_str()), toml(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}
