//! Who takes part, and how each is told to run the child and nothing else.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::rig::{Start, folder, put};
use super::sample::Samples;
use super::table::{Goal, Measure, Role, Row, Unit};
use super::{Bench, quoted};
use crate::workspace;

/// How one is set up.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// `floor WORD CHILD`.
    Floor(&'static str),
    /// `hilum WORDS… -- CHILD`, its status, where it has one, on a socket in its folder.
    Hilum { command: &'static str, status: bool, more: &'static [&'static str] },
    /// `hilum watch`, of this xtask by its pid or of rig by its name.
    Watch { by_name: bool },
    /// `hilum up`, of a plan with one service and no probe.
    Up,
    /// `NAME -- CHILD`.
    Init,
    /// `NAME FOLDER` with the service in FOLDER.
    Service,
    /// `NAME FOLDER` with the service in a folder below it.
    Services,
    /// supervisord with a file of settings.
    Supervisord,
}

/// One that takes part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contestant {
    /// As in the table.
    pub(super) name: &'static str,
    pub(super) role: Role,
    way: Way,
    /// The programs it runs, the first one first.
    programs: &'static [&'static str],
}

impl Contestant {
    const fn of(name: &'static str, role: Role, way: Way, programs: &'static [&'static str]) -> Contestant {
        Contestant { name, role, way, programs }
    }
}

const FLOOR: Contestant = Contestant::of("floor", Role::Floor, Way::Floor("spawn"), &["floor"]);
const FLOOR_FORWARD: Contestant = Contestant::of("floor", Role::Floor, Way::Floor("forward"), &["floor"]);
const FLOOR_RESPAWN: Contestant = Contestant::of("floor", Role::Floor, Way::Floor("respawn"), &["floor"]);
const INIT: Contestant =
    Contestant::of("hilum init", Role::Hilum, Way::Hilum { command: "init", status: false, more: &[] }, &["hilum"]);
const RUN: Contestant =
    Contestant::of("hilum run", Role::Hilum, Way::Hilum { command: "run", status: true, more: &[] }, &["hilum"]);
const SUPERVISE: Contestant = Contestant::of(
    "hilum supervise",
    Role::Hilum,
    Way::Hilum { command: "supervise", status: true, more: &["--wait", "0s"] },
    &["hilum"],
);
pub(super) const UP: Contestant = Contestant::of("hilum up", Role::Hilum, Way::Up, &["hilum"]);
const WATCH_PID: Contestant =
    Contestant::of("hilum watch --pid", Role::Hilum, Way::Watch { by_name: false }, &["hilum"]);
pub(super) const WATCH_NAME: Contestant =
    Contestant::of("hilum watch NAME", Role::Hilum, Way::Watch { by_name: true }, &["hilum"]);
const TINI: Contestant = Contestant::of("tini", Role::Init, Way::Init, &["tini"]);
const TINI_STATIC: Contestant = Contestant::of("tini-static", Role::Init, Way::Init, &["tini-static"]);
const DUMB_INIT: Contestant = Contestant::of("dumb-init", Role::Init, Way::Init, &["dumb-init"]);
const CATATONIT: Contestant = Contestant::of("catatonit", Role::Init, Way::Init, &["catatonit"]);
const S6_SUPERVISE: Contestant = Contestant::of("s6-supervise", Role::Peer, Way::Service, &["s6-supervise"]);
const S6_SVSCAN: Contestant = Contestant::of("s6-svscan", Role::Peer, Way::Services, &["s6-svscan", "s6-supervise"]);
const RUNSV: Contestant = Contestant::of("runsv", Role::Peer, Way::Service, &["runsv"]);
const RUNSVDIR: Contestant = Contestant::of("runsvdir", Role::Peer, Way::Services, &["runsvdir", "runsv"]);
const SUPERVISORD: Contestant = Contestant::of("supervisord", Role::Peer, Way::Supervisord, &["supervisord"]);

/// Those that start a child and end with it.
pub(super) const ENDING: &[Contestant] = &[FLOOR, INIT, RUN, TINI, TINI_STATIC, DUMB_INIT, CATATONIT];

/// Those that start a child.
pub(super) const STARTING: &[Contestant] = &[
    FLOOR,
    INIT,
    RUN,
    SUPERVISE,
    TINI,
    TINI_STATIC,
    DUMB_INIT,
    CATATONIT,
    S6_SUPERVISE,
    S6_SVSCAN,
    RUNSV,
    RUNSVDIR,
    SUPERVISORD,
];

/// Those that pass TERM on to it. runsvdir ends on TERM and leaves its services as they are.
pub(super) const FORWARDING: &[Contestant] = &[
    FLOOR_FORWARD,
    INIT,
    RUN,
    SUPERVISE,
    TINI,
    TINI_STATIC,
    DUMB_INIT,
    CATATONIT,
    S6_SUPERVISE,
    S6_SVSCAN,
    RUNSV,
    SUPERVISORD,
];

/// Those that start it again.
pub(super) const RESTARTING: &[Contestant] =
    &[FLOOR_RESPAWN, SUPERVISE, S6_SUPERVISE, S6_SVSCAN, RUNSV, RUNSVDIR, SUPERVISORD];

/// Those meant to be process 1.
pub(super) const REAPING: &[Contestant] =
    &[FLOOR, INIT, RUN, SUPERVISE, UP, TINI, TINI_STATIC, DUMB_INIT, CATATONIT, S6_SVSCAN, RUNSVDIR, SUPERVISORD];

/// All of them, to be left alone.
pub(super) const IDLING: &[Contestant] = &[
    FLOOR,
    INIT,
    RUN,
    SUPERVISE,
    UP,
    WATCH_PID,
    WATCH_NAME,
    TINI,
    TINI_STATIC,
    DUMB_INIT,
    CATATONIT,
    S6_SUPERVISE,
    S6_SVSCAN,
    RUNSV,
    RUNSVDIR,
    SUPERVISORD,
];

const SIZED: &[Contestant] = &[
    FLOOR,
    Contestant::of("hilum", Role::Hilum, INIT.way, &["hilum"]),
    TINI,
    TINI_STATIC,
    DUMB_INIT,
    CATATONIT,
    S6_SVSCAN,
    RUNSVDIR,
    SUPERVISORD,
];

impl Contestant {
    /// Whether it starts a child that reports; the watchers do not.
    pub(super) fn has_child(&self) -> bool {
        !matches!(self.way, Way::Watch { .. })
    }

    /// What a reader should know about its restarts.
    pub(super) fn pace(&self) -> &'static str {
        match self.way {
            Way::Supervisord => "looks at its programs once a second",
            Way::Service | Way::Services if self.name.starts_with("s6") => {
                "waits a second after every end, by its own rule"
            }
            Way::Service | Way::Services => "at once after a run of a second or more",
            _ => "",
        }
    }

    /// Those that need a second to start: runsvdir looks at its folder when the clock's second changes, supervisord is in Python.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.way, Way::Supervisord) || self.name == RUNSVDIR.name
    }

    /// Makes its folder and tells how it is started.
    pub(super) fn prepare(&self, bench: &Bench, child: &'static str) -> Result<Start, String> {
        let folder = folder(bench, &format!("{}-{child}", self.name.replace(' ', "-")))?;
        let program = self.program(bench, self.programs.first().copied().unwrap_or_default())?;
        let mut command = vec![OsString::from(program)];
        let mut host = false;
        let socket = format!("unix:{}", folder.join("status").display());
        match self.way {
            Way::Floor(word) => command.extend([OsString::from(word), bench.child.clone().into()]),
            Way::Hilum { command: word, status, more } => {
                command.push(word.into());
                if status {
                    command.extend(["--listen".into(), socket.into()]);
                }
                command.extend(more.iter().map(OsString::from));
                command.extend(["--".into(), bench.child.clone().into()]);
            }
            Way::Watch { by_name } => {
                host = true;
                command.extend(["watch".into(), "--listen".into(), socket.into()]);
                if by_name {
                    command.push("rig".into());
                } else {
                    command.extend(["--pid".into(), std::process::id().to_string().into()]);
                }
            }
            Way::Up => {
                let (socket, child) = (quoted(&socket), quoted(&bench.child.display().to_string()));
                let plan = format!("[status]\nlisten = [{socket}]\n[service.child]\ncommand = [{child}]\n");
                put(&folder.join("hilum.toml"), &plan, 0o644)?;
                command.extend(["up".into(), "-c".into(), folder.join("hilum.toml").into()]);
            }
            Way::Init => command.extend(["--".into(), bench.child.clone().into()]),
            Way::Service => command.push(service(bench, &folder, "service")?.into()),
            Way::Services => {
                service(bench, &folder, "services/child")?;
                command.push(folder.join("services").into());
            }
            Way::Supervisord => {
                let place = folder.display();
                let settings = format!(
                    "[supervisord]\nnodaemon=true\nuser=root\nlogfile={place}/supervisord.log\npidfile={place}/pid\nchildlogdir={place}\n\
                     [program:child]\ncommand={}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n",
                    bench.child.display()
                );
                put(&folder.join("supervisord.conf"), &settings, 0o644)?;
                command.extend(["-c".into(), folder.join("supervisord.conf").into()]);
            }
        }
        Ok(Start { folder, command, child, host })
    }

    /// Where a program is.
    fn program(&self, bench: &Bench, name: &str) -> Result<PathBuf, String> {
        match name {
            "floor" => Ok(bench.floor.clone()),
            "hilum" => Ok(bench.hilum.clone()),
            name => workspace::find_on_path(name).ok_or_else(|| format!("cannot find {name} though it is installed")),
        }
    }
}

/// A service of s6 and runit: a folder with a program called `run`, here the child itself.
fn service(bench: &Bench, folder: &Path, name: &str) -> Result<PathBuf, String> {
    let place = folder.join(name);
    fs::create_dir_all(&place)
        .and_then(|()| symlink(&bench.child, place.join("run")))
        .map_err(|error| format!("cannot make the service {}: {error}", place.display()))?;
    Ok(place)
}

/// The files.
pub(super) fn sizes(bench: &Bench) -> Result<Measure, String> {
    let mut rows = Vec::new();
    for contestant in SIZED {
        let mut bytes = 0;
        let (mut scripts, mut shared) = (false, false);
        for program in contestant.programs {
            let file = workspace::read(&contestant.program(bench, program)?)?;
            bytes += file.len();
            scripts |= file.starts_with(b"#!");
            shared |= file.windows(LOADER.len()).any(|window| window == LOADER);
        }
        #[expect(clippy::cast_precision_loss, reason = "a file of 2^53 bytes is not among them")]
        let size = Samples::exactly(bytes as f64 / 1000.0);
        rows.push(match (scripts, shared) {
            (true, _) => Row::none(contestant, "a script; Python and its library are beside it"),
            (false, true) => Row::of(contestant, size).noted("and the C library"),
            (false, false) => Row::of(contestant, size),
        });
    }
    Ok(Measure::new("file size", Unit::Kilobytes, rows, Goal::None))
}

/// What asks for a dynamic loader, in every such program's header.
const LOADER: &[u8] = b"/ld-linux";
