//! The release binary from outside: as real PID 1 in namespaces and in containers. The tests are those of the `hilum` package
//! (`core/hilum/tests`); this builds what they need and tells them where it is.

use std::process::Command;

use crate::arguments::Arguments;
use crate::dist;
use crate::packages::{self, Program};
use crate::plugins;
use crate::tally::{self, Tally};
use crate::target::Target;
use crate::workspace;

/// What the tests run beside hilum: container tools, the programs it stands in for, and the servers that probes ask.
pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "runc", package: "runc" },
    Program { name: "skopeo", package: "skopeo" },
    Program { name: "umoci", package: "umoci" },
    Program { name: "tini", package: "tini" },
    Program { name: "dumb-init", package: "dumb-init" },
    Program { name: "catatonit", package: "catatonit" },
    Program { name: "qemu-aarch64-static", package: "qemu-user-static" },
    Program { name: "curl", package: "curl" },
    Program { name: "systemd-socket-activate", package: "systemd" },
    Program { name: "promtool", package: "prometheus" },
    Program { name: "redis-server", package: "redis-server" },
    Program { name: "rabbitmq-server", package: "rabbitmq-server" },
    Program { name: "mariadbd", package: "mariadb-server" },
    // The server itself is in a folder of its version.
    Program { name: "pg_ctlcluster", package: "postgresql" },
    Program { name: "dnsmasq", package: "dnsmasq-base" },
];

pub(crate) fn run(mut arguments: Arguments) -> Result<(), String> {
    let name = arguments.word();
    arguments.finish()?;
    let mut cargo = prepare()?;
    if let Some(name) = name {
        cargo.arg("--").arg(name);
    }
    tally::require("e2e", &mut cargo)
}

/// CI's share.
pub(crate) fn tally() -> Result<Tally, String> {
    tally::run("e2e", &mut prepare()?)
}

/// Builds everything and gives the cargo call, up to the test's name.
fn prepare() -> Result<Command, String> {
    packages::ensure("e2e", PROGRAMS)?;
    let host = Target::host()?;
    dist::ensure(host, &["hilum", "hilum-tiny"])?;
    plugins::build(&[host])?;
    let mut cargo = workspace::cargo();
    point(&mut cargo, host)?;
    // Of the whole workspace, to share the build with the other tests; only one package has a test of this name.
    cargo.args(["test", "--locked", "--workspace", "--test", "e2e"]);
    Ok(cargo)
}

/// Tells tests where the artefacts are; the program they run as hilum's child is built here too.
pub(crate) fn point(cargo: &mut Command, host: &Target) -> Result<(), String> {
    cargo
        .env("HILUM_FIXTURE", dist::package(host, "e2e-fixture", true, "e2e-fixture")?)
        .env("HILUM_BIN", dist::path(host, "hilum"))
        .env("HILUM_TINY_BIN", dist::path(host, "hilum-tiny"))
        .env("HILUMC_BIN", dist::path(host, "hilumc"))
        .env("HILUM_PLUGINS", plugins::folder());
    Ok(())
}
