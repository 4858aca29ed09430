//! Debian packages that a verb needs: installed where that is allowed, named where it is not.

use std::fs;
use std::process::Command;

use crate::process;
use crate::workspace;

/// A program, and the package that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// Makes sure the programs are there.
///
/// **Idempotent:** yes; does nothing when all are found.
///
/// **Errors:** what to run by hand, where xtask may not install.
pub(crate) fn ensure(purpose: &str, programs: &[Program]) -> Result<(), String> {
    let missing = |programs: &[Program]| -> Vec<Program> {
        programs.iter().copied().filter(|program| !workspace::on_path(program.name)).collect()
    };
    let wanted = missing(programs);
    if wanted.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = wanted.iter().map(|program| program.package).collect();
    if !may_install() {
        return Err(format!(
            "{purpose} needs {}; as root on Debian xtask installs them, elsewhere run the like of: {}",
            names(&wanted),
            by_hand(&packages)
        ));
    }
    install(purpose, &packages)?;
    let still = missing(&wanted);
    if still.is_empty() {
        return Ok(());
    }
    Err(format!("{purpose} needs {}, which the packages {} did not bring", names(&still), packages.join(" ")))
}

fn names(programs: &[Program]) -> String {
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    names.join(", ")
}

/// What someone who may install should type.
pub(crate) fn by_hand(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Whether this is root on a system with apt.
pub(crate) fn may_install() -> bool {
    let root = fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    });
    root && workspace::on_path("apt-get")
}

/// Installs packages; another apt at work is waited for.
pub(crate) fn install(purpose: &str, packages: &[&str]) -> Result<(), String> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.args(["-o", "DPkg::Lock::Timeout=300", "-q", "-y"]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // A list that one of several sources did not give up is good enough if the packages are in the others.
    let updated = process::watch("apt-get update", apt().arg("update"))?;
    let title = format!("apt-get install {}, for {purpose}", packages.join(" "));
    process::run(&title, apt().args(["install", "--no-install-recommends"]).args(packages))
        .map(drop)
        .map_err(|error| if updated.success { error } else { format!("{error}\n{}", updated.complaint) })
}
