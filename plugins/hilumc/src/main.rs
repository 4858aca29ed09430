//! `hilumc`: what a plugin's author has beside an editor and the tools of a language. Begins a plugin, builds it into a component, looks
//! into a component, precompiles it for the machines hilum runs on, and calls it once by hand.
//!
//! The compiler is in here so that it need not be in hilum. A file this tool precompiles loads in the hilum of the same release.
#![forbid(unsafe_code)]

mod build;
mod bundle;
mod call;
mod check;
mod component;
mod failure;
mod manifest;
mod new;
mod toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use hilum_sandbox::engine::{Target, VERSION};

use crate::failure::Failure;
use crate::manifest::Language;

/// The plugin author's tool for hilum: begin, build, check, compile and call components.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Option<Command>,

    /// print the version and the wasmtime that precompiled files are for
    #[argh(switch)]
    version: bool,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    New(New),
    Build(Build),
    Check(Check),
    Compile(Compile),
    Call(Call),
    Bundle(Bundle),
}

/// Begin a plugin: a folder NAME with a probe that works, its tests, and all of hilum that it is built with.
#[derive(FromArgs)]
#[argh(subcommand, name = "new")]
struct New {
    /// the plugin's name: lower case letters, digits and hyphens
    #[argh(positional)]
    name: String,

    /// language to write it in: rust, c, js or python
    #[argh(option, arg_name = "language")]
    lang: Language,

    /// kind of plugin: probe (default)
    #[argh(option, arg_name = "kind", default = "String::from(\"probe\")")]
    kind: String,
}

/// Build a plugin: NAME.wasm, the component, and NAME.TARGET.cwasm, the same precompiled.
#[derive(FromArgs)]
#[argh(subcommand, name = "build")]
struct Build {
    /// the plugin's folder, where its plugin.toml or Cargo.toml is (default: this one), or a core module that carries its component type
    #[argh(positional, default = "PathBuf::from(\".\")")]
    source: PathBuf,

    /// folder to write to (default: target/plugins there; of a crate in a workspace, the workspace's)
    #[argh(option, arg_name = "dir")]
    out: Option<PathBuf>,

    /// machine to precompile for: x86_64, aarch64, pulley32 or pulley64; may be repeated (default: this machine)
    #[argh(option, arg_name = "target")]
    target: Vec<Target>,
}

/// Say what a component is, needs and would be granted, and whether hilum would take it.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// the component (.wasm)
    #[argh(positional)]
    file: PathBuf,
}

/// Precompile a component for one machine, with the baseline of its CPU.
#[derive(FromArgs)]
#[argh(subcommand, name = "compile")]
struct Compile {
    /// the component (.wasm)
    #[argh(positional)]
    file: PathBuf,

    /// machine to precompile for: x86_64, aarch64, pulley32 or pulley64 (default: this machine)
    #[argh(option, arg_name = "target", default = "Target::native()")]
    target: Target,

    /// file to write (default: FILE with the extension TARGET.cwasm)
    #[argh(option, short = 'o', arg_name = "file")]
    output: Option<PathBuf>,
}

/// Call a component once, as hilum would. Ends with 0 for pass or done, 1 for fail, retry or failed, 2 for unknown, 3 for a broken plugin.
#[derive(FromArgs)]
#[argh(subcommand, name = "call")]
struct Call {
    /// the component (.wasm)
    #[argh(positional)]
    component: PathBuf,

    /// settings as JSON (default: {})
    #[argh(option, arg_name = "json", default = "String::from(\"{}\")")]
    settings: String,

    /// where it may connect to, as in allow.connect: host:port, udp:host:port, unix:/path; may be repeated
    #[argh(option, arg_name = "place")]
    connect: Vec<String>,

    /// name it may look up, as in allow.resolve; may be repeated
    #[argh(option, arg_name = "name")]
    resolve: Vec<String>,

    /// file or directory it may use, PATH:ro or PATH:rw; may be repeated
    #[argh(option, arg_name = "path:mode")]
    file: Vec<String>,

    /// variable of this environment it may read; may be repeated
    #[argh(option, arg_name = "name")]
    env: Vec<String>,

    /// command it may have run, NAME=COMMAND, split at spaces; may be repeated
    #[argh(option, arg_name = "name=command")]
    exec: Vec<String>,

    /// it may see processes
    #[argh(switch)]
    processes: bool,

    /// name of the service the call is about
    #[argh(option, arg_name = "name")]
    service: Option<String>,

    /// for a callback: what happened, NAME or NAME=JSON
    #[argh(option, arg_name = "name=json")]
    event: Option<String>,

    /// time the call may take, in milliseconds (default: 1000)
    #[argh(option, arg_name = "ms", default = "1000")]
    timeout_ms: u64,

    /// memory it may use, in KiB (default: 4096)
    #[argh(option, arg_name = "KiB", default = "4096")]
    memory_kib: u64,

    /// calls to make in a row; the report then says how their times spread (default: 1)
    #[argh(option, arg_name = "count", default = "1")]
    repeat: u32,

    /// reuse instances for further calls, as reuse-instances of the plan does; the report then says for how many
    #[argh(switch)]
    reuse_instances: bool,
}

/// Put hilum, a plan and its plugins together as one executable file, all that a scratch image needs.
#[derive(FromArgs)]
#[argh(subcommand, name = "bundle")]
struct Bundle {
    /// precompiled plugins, FILE or NAME=FILE; NAME is that of [plugin.NAME], by default the file's up to its first dot
    #[argh(positional)]
    plugin: Vec<String>,

    /// the hilum to put them behind
    #[argh(option, arg_name = "file")]
    hilum: PathBuf,

    /// the plan
    #[argh(option, arg_name = "file")]
    plan: PathBuf,

    /// file to write
    #[argh(option, short = 'o', arg_name = "file")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        return print(&format!("hilumc {} (wasmtime {VERSION})\n", env!("CARGO_PKG_VERSION")));
    }
    let done = match arguments.command {
        Some(Command::New(New { name, lang, kind })) => new::new(lang, &kind, &name),
        Some(Command::Build(Build { source, out, target })) => build::build(&source, out.as_deref(), &target),
        Some(Command::Check(Check { file })) => check::check(&file),
        Some(Command::Compile(Compile { file, target, output })) => build::compile(&file, target, output.as_deref()),
        Some(Command::Call(Call {
            component,
            settings,
            connect,
            resolve,
            file: files,
            env,
            exec,
            processes,
            service,
            event,
            timeout_ms,
            memory_kib,
            repeat,
            reuse_instances,
        })) => {
            let terms = call::Terms {
                settings,
                connect,
                resolve,
                files,
                env,
                exec,
                processes,
                service,
                event,
                timeout_ms,
                memory_kib,
                repeat,
                reuse_instances,
            };
            return match call::call(&component, &terms) {
                Ok((report, code)) => {
                    print(&report);
                    ExitCode::from(code)
                }
                Err(failure) => refuse(&failure),
            };
        }
        Some(Command::Bundle(Bundle { plugin, hilum, plan, output })) => {
            bundle::bundle(&hilum, &plan, &plugin, &output)
        }
        None => Err(Failure::new("no command; there are new, build, check, compile, call and bundle (hilumc --help)")),
    };
    match done {
        Ok(report) => print(&report),
        Err(failure) => refuse(&failure),
    }
}

/// Code of a call that could not even be made, and of every other command that failed.
const REFUSED: u8 = 64;

fn refuse(failure: &Failure) -> ExitCode {
    eprintln!("hilumc: {failure}");
    ExitCode::from(REFUSED)
}

/// Writes a report; a reader that went away early is no failure.
fn print(report: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(report.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            refuse(&Failure::new(format!("cannot write: {error}")))
        }
        _ => ExitCode::SUCCESS,
    }
}
