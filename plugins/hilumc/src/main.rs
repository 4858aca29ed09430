//! `hilumc`: what a plugin's author has beside an editor. Builds a plugin crate into a component, looks into a component, precompiles
//! it for the machines hilum runs on, and calls it once by hand.
//!
//! The compiler is in here so that it need not be in hilum. A file this tool precompiles loads in the hilum of the same release.
#![forbid(unsafe_code)]

mod build;
mod call;
mod check;
mod component;
mod failure;
mod toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use hilum_sandbox::engine::{Target, VERSION};

use crate::failure::Failure;

/// The plugin author's tool for hilum: build, check, compile and call components.
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
    Build(Build),
    Check(Check),
    Compile(Compile),
    Call(Call),
}

/// Build a plugin crate: NAME.wasm, the component, and NAME.TARGET.cwasm, the same precompiled.
#[derive(FromArgs)]
#[argh(subcommand, name = "build")]
struct Build {
    /// the plugin's folder, where its Cargo.toml is (default: this one)
    #[argh(positional, default = "PathBuf::from(\".\")")]
    folder: PathBuf,

    /// folder to write to (default: the crate's target/plugins)
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

/// Call a component once, as hilum would. Ends with 0 for pass, 1 for fail, 2 for unknown, 3 for a broken plugin.
#[derive(FromArgs)]
#[argh(subcommand, name = "call")]
struct Call {
    /// the component (.wasm)
    #[argh(positional)]
    file: PathBuf,

    /// settings as JSON (default: {{}})
    #[argh(option, arg_name = "json", default = "String::from(\"{}\")")]
    settings: String,

    /// host:port it may connect to, as in allow.connect; may be repeated
    #[argh(option, arg_name = "host:port")]
    connect: Vec<String>,

    /// time the call may take, in milliseconds (default: 1000)
    #[argh(option, arg_name = "ms", default = "1000")]
    timeout_ms: u64,

    /// memory it may use, in KiB (default: 4096)
    #[argh(option, arg_name = "KiB", default = "4096")]
    memory_kib: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        return print(&format!("hilumc {} (wasmtime {VERSION})\n", env!("CARGO_PKG_VERSION")));
    }
    let done = match arguments.command {
        Some(Command::Build(Build { folder, out, target })) => build::build(&folder, out.as_deref(), &target),
        Some(Command::Check(Check { file })) => check::check(&file),
        Some(Command::Compile(Compile { file, target, output })) => build::compile(&file, target, output.as_deref()),
        Some(Command::Call(Call { file, settings, connect, timeout_ms, memory_kib })) => {
            return match call::call(&file, settings, connect, timeout_ms, memory_kib) {
                Ok((report, code)) => {
                    print(&report);
                    ExitCode::from(code)
                }
                Err(failure) => refuse(&failure),
            };
        }
        None => Err(Failure::new("no command; there are build, check, compile and call (hilumc --help)")),
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
