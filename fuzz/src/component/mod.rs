//! Files that are said to be components: what `hilumc check` does with any, and what hilum does with one that is not compiled.
//!
//! What it does not do: hand changed native code to hilum. A precompiled file is trusted by contract, which is why its digest is pinned; nothing
//! that begins as one gets here to where it would be loaded. Changed components are compiled here and run.

pub mod samples;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hilum_sandbox::call;
use hilum_sandbox::compile::{Compiled, plugin};
use hilum_sandbox::engine::Target;
use hilum_sandbox::host::Host;
use hilum_sandbox::load::{self, LoadCause, Order};
use hilum_sandbox::uplink::{Ran, Running, Uplink};
use hilum_wire::{Answer, Ask, Ending, Series};

/// Memory a call has. **Units:** bytes.
const MEMORY: u64 = 4 << 20;

/// Time a call has. hilum itself gives a plugin longer to say what it is; one that takes longer than this is given up, as it would be then.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Hears nothing, runs nothing.
struct Nobody;

impl Uplink for Nobody {
    fn log(&self, _: &'static str, _: String) {}

    fn keep(&self, _: &str, _: Option<&[u8]>) {}

    fn show(&self, _: Series) {}

    fn run(&self, _: &str) -> Running {
        let ending = Ending::Refused("nothing is run here".to_owned());
        Box::pin(std::future::ready(Ran { ending, stdout: Vec::new(), stderr: Vec::new(), cut: false }))
    }
}

fn host() -> Arc<Host> {
    static HOST: OnceLock<Arc<Host>> = OnceLock::new();
    Arc::clone(HOST.get_or_init(|| Arc::new(Host::new().expect("no host"))))
}

fn order() -> Order {
    Order { name: "any".to_owned(), memory: MEMORY, ..Order::default() }
}

/// Treats `input` as the file of a plugin.
pub fn component(input: &[u8]) {
    load_as_it_is(input);
    compile_and_ask(input);
}

/// Loads it where a precompiled file belongs, with a pin that is its own.
fn load_as_it_is(input: &[u8]) {
    // Precompiled: see above.
    if Target::of(input).is_some() {
        return;
    }
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = file.get_or_insert_with(|| nameless().expect("no temporary file"));
    file.set_len(0).and_then(|()| file.write_all_at(input, 0)).expect("cannot write the temporary file");
    let file = file.try_clone().expect("no descriptor");
    let order = Order { sha256: Some(load::digest(input)), ..order() };
    let loaded = hilum_sandbox::run(load::load(host(), order, Some(file), Arc::new(Nobody))).expect("no loop");
    match loaded.map_err(|error| error.cause) {
        Err(LoadCause::NotCompiled) => assert!(input.starts_with(b"\0asm")),
        Err(LoadCause::NotAComponent) => assert!(!input.starts_with(b"\0asm")),
        other => panic!("a file that is not compiled ends in {other:?}"),
    }
}

/// A file that is gone with the process.
fn nameless() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("hilum-fuzz-component-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Compiles it, and if it is a plugin asks what it is and what it says to settings. Returns whether it was asked.
pub fn compile_and_ask(input: &[u8]) -> bool {
    let compiled = match Compiled::new(input, Target::native()) {
        Ok(compiled) => compiled,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert_eq!(Target::of(compiled.bytes()), Some(Target::native()));
    let plugin = match plugin(&host(), order(), &compiled, Arc::new(Nobody)) {
        Ok(plugin) => plugin,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let asked = hilum_sandbox::run(async {
        if let Ok(Ok(description)) = tokio::time::timeout(TIMEOUT, call::describe(&plugin)).await {
            let info = load::info(&plugin, &description);
            assert!(info.name.len() <= 128 && info.version.len() <= 128 && !info.kinds.is_empty(), "{info:?}");
        }
        let timeout_ms = u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        call::ask(&plugin, Ask::CheckSettings { settings: "{}".to_owned() }, timeout_ms, None).await
    });
    match asked.expect("no loop").answer {
        Answer::Judged(problems) => assert!(problems.len() <= 32),
        // What waits by WASI when its time is over is no broken plugin.
        Answer::Fail(_) | Answer::Broken { .. } => {}
        other => panic!("settings are judged by {other:?}"),
    }
    true
}
