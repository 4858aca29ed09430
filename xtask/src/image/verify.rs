//! Other people's tools as judges of a finished layout: skopeo reads it, umoci unpacks it, the binaries in it run.

use std::path::Path;
use std::process::Command;

use crate::dist;
use crate::process;
use crate::target::Target;
use crate::workspace;

/// Checks each platform of the layout in `out`; one result each.
pub(crate) fn check(out: &Path, targets: &[&Target]) -> Vec<Result<(), String>> {
    targets.iter().map(|target| check_platform(out, target)).collect()
}

fn check_platform(out: &Path, target: &Target) -> Result<(), String> {
    let mut parts = target.platform.split('/').skip(1);
    let (architecture, variant) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let tag = env!("CARGO_PKG_VERSION");
    let skopeo = || {
        let mut skopeo = Command::new("skopeo");
        // The policy is about who signed what; these images are ours, just made.
        skopeo.args(["--insecure-policy", "--override-os", "linux", "--override-arch", architecture]);
        if !variant.is_empty() {
            skopeo.args(["--override-variant", variant]);
        }
        skopeo
    };
    let source = format!("oci:{}:{tag}", out.display());
    let seen = process::ask(skopeo().args(["inspect", &source]))?;
    let seen: serde_json::Value =
        serde_json::from_str(&seen).map_err(|error| format!("cannot read what skopeo inspect printed: {error}"))?;
    if seen.get("Architecture").and_then(|name| name.as_str()) != Some(architecture) {
        return Err(format!("skopeo sees {seen} where {architecture} was wanted"));
    }

    let folder = workspace::target().join("images").join("unpacked").join(target.triple);
    workspace::clear(&folder)?;
    // umoci takes no index of several platforms, so it gets one of them.
    let single = folder.join("layout");
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    process::ask(skopeo().args(["copy", "--quiet", &source, &format!("oci:{}:{tag}", single.display())]))?;
    let bundle = folder.join("bundle");
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--rootless", "--image"]).arg(format!("{}:{tag}", single.display())).arg(&bundle);
    process::ask(&mut umoci)?;
    let hilum = bundle.join("rootfs/hilum");
    if workspace::read(&hilum)? != workspace::read(&dist::path(target, "hilum"))? {
        return Err(format!("{} is not the hilum that was built", hilum.display()));
    }

    let host = target == Target::host()?;
    let run = || {
        if host {
            return Command::new(&hilum);
        }
        let mut qemu = Command::new(format!("qemu-{}-static", target.short()));
        qemu.arg(&hilum);
        qemu
    };
    let version = process::ask(run().arg("--version"))?;
    if !version.contains(tag) {
        return Err(format!("{} --version printed {version:?}", target.triple));
    }
    // A program of this machine as the child: the emulator's spawn ends in the kernel's own execve(2).
    let ended = run().args(["init", "--", "sh", "-c", "kill -TERM $PPID; exec sleep 60"]).status();
    let ended = ended.map_err(|error| format!("cannot run {}: {error}", target.triple))?;
    if ended.code() == Some(128 + 15) {
        return Ok(());
    }
    Err(format!("{}: a child that has its parent sent TERM should end with 143, and ended with {ended}", target.triple))
}
