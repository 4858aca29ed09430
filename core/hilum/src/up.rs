//! Finding and reading the plan for `up` and `check`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hilum_config::{Launch, Place, PluginLaunch, Resolved, default_plugin_path};

use crate::bundle::Bundle;
use crate::cli::{self, CheckOptions, PLAN_FILES, PlanSource};
use crate::preflight;

/// Exit code of a plan that cannot be used.
const BAD_PLAN: u8 = 78;

/// Largest plan file. **Units:** bytes. A plan of a thousand services is a few hundred KiB.
const LARGEST: u64 = 8 << 20;

/// What to print instead of starting.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: u8,
}

/// The launch the plan describes. Settings that do not suit their plugin are mistakes in it; a plugin that cannot be used may be there later,
/// and is told when it is needed.
pub(crate) fn load(source: &PlanSource, implied: bool) -> Result<Launch, Stop> {
    let (resolved, origin) = read(source, implied)?;
    // Signals that come meanwhile wait for the loop: PID 1 would ignore them.
    let _ = hilum_sys::signal::block();
    match preflight::ask(&resolved.launch) {
        Ok(findings) if findings.settings.is_empty() => Ok(resolved.launch),
        Ok(findings) => Err(bad_plan(&origin, findings.settings)),
        // The same will be met, told and tried again once services run.
        Err(_) => Ok(resolved.launch),
    }
}

/// `hilum check`: says what is wrong with a plan and its plugins, or prints what it comes to.
pub(crate) fn check(options: &CheckOptions) -> u8 {
    let checked = read(&options.plan, false).and_then(|(resolved, origin)| {
        let text = if options.print { resolved.print() } else { String::new() };
        match preflight::ask(&resolved.launch) {
            Ok(preflight::Findings { settings, plugins }) if settings.is_empty() && plugins.is_empty() => Ok(text),
            Ok(preflight::Findings { settings, plugins }) => {
                let mut all: Vec<_> = plugins.into_iter().chain(settings).collect();
                all.sort_by_key(|(place, _)| (place.line, place.column));
                Err(Stop { stdout: text, ..bad_plan(&origin, all) })
            }
            Err(why) => {
                let stderr = format!("hilum: cannot check the plugins of the plan: {why}\n");
                Err(Stop { stdout: text, stderr, code: BAD_PLAN })
            }
        }
    });
    match checked {
        Ok(text) => crate::say(&text, "", 0),
        Err(stop) => crate::say(&stop.stdout, &stop.stderr, stop.code),
    }
}

/// What is wrong with a plan that reads well.
fn bad_plan(origin: &Path, findings: Vec<(Place, String)>) -> Stop {
    let line = |(Place { line, column }, story): (Place, String)| {
        format!("hilum: cannot load plan: {}:{line}:{column}: {story}\n", origin.display())
    };
    Stop { stdout: String::new(), stderr: findings.into_iter().map(line).collect(), code: BAD_PLAN }
}

fn read(source: &PlanSource, implied: bool) -> Result<(Resolved, PathBuf), Stop> {
    let (text, origin) = match source {
        PlanSource::Inline(text) => (text.clone(), PathBuf::from("$HILUM_CONFIG")),
        PlanSource::File(path) => (read_file(path).map_err(|error| cannot_read(path, &error))?, path.clone()),
        PlanSource::Search => search(implied)?,
    };
    let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let bundle = Bundle::open().map_err(|error| cannot_read(Path::new(BUNDLED), &error))?;
    let loaded = hilum_config::load(&text, &origin, &environment).map_err(|diagnostics| {
        let lines = diagnostics.iter().map(|diagnostic| format!("hilum: cannot load plan: {diagnostic}\n"));
        Stop { stdout: String::new(), stderr: lines.collect(), code: BAD_PLAN }
    });
    let mut resolved = loaded?;
    let by_default = |plugin: &&mut PluginLaunch| plugin.path == Path::new(&default_plugin_path(&plugin.name));
    for plugin in resolved.launch.plugins.iter_mut().filter(by_default) {
        plugin.bundled = bundle.as_ref().and_then(|bundle| bundle.plugin(&plugin.name));
    }
    Ok((resolved, origin))
}

/// How the plan in our own executable is called in messages.
const BUNDLED: &str = "(bundled)";

/// The bundled plan, or else the first that exists. One that exists and cannot be read is an error, not a reason to look further.
fn search(implied: bool) -> Result<(String, PathBuf), Stop> {
    let bundled = Bundle::open().and_then(|bundle| bundle.map(|bundle| bundle.plan()).transpose());
    if let Some(text) = bundled.map_err(|error| cannot_read(Path::new(BUNDLED), &error))? {
        return Ok((text, PathBuf::from(BUNDLED)));
    }
    for path in PLAN_FILES.map(Path::new) {
        match read_file(path) {
            Ok(text) => return Ok((text, path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_read(path, &error)),
        }
    }
    if implied {
        return Err(Stop { stdout: String::new(), stderr: cli::overview(), code: crate::USAGE });
    }
    let stderr = format!(
        "hilum: cannot find a plan: neither $HILUM_CONFIG nor {} is there; name one with -c FILE\n",
        PLAN_FILES.join(" nor ")
    );
    Err(Stop { stdout: String::new(), stderr, code: BAD_PLAN })
}

fn read_file(path: &Path) -> io::Result<String> {
    let file = fs::File::from(hilum_sys::open::regular_file(path)?);
    let length = file.metadata()?.len();
    if length > LARGEST {
        return Err(io::Error::other(format!("it is {length} bytes long; a plan has at most {LARGEST}")));
    }
    io::read_to_string(file)
}

fn cannot_read(path: &Path, error: &io::Error) -> Stop {
    let stderr = format!("hilum: cannot read plan {}: {error}\n", path.display());
    Stop { stdout: String::new(), stderr, code: BAD_PLAN }
}
