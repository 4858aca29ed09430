//! What a worker is started with and handed: our own executable, a clean environment, and what a plan says of its plugins.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hilum_config::{Allow, PluginLaunch};
use hilum_engine::Signal;
use hilum_sys::channel::Channel;
use hilum_sys::child::{self, Child, Environment, Group, Program, Spec};
use hilum_sys::crash;
use hilum_wire::{FileGrant, Grants, ToSandbox};

use crate::bundle;
use crate::listener::Listeners;

/// First descriptor handed to a worker: its channel. Listeners follow.
pub(crate) const CHANNEL_DESCRIPTOR: i32 = 3;

/// What a worker is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Answers HTTP.
    Status,
    /// Hosts plugins: the shared one, or that of one plugin.
    Sandbox(Option<u16>),
}

impl Role {
    /// The word on the worker's command line.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Status => "status",
            Role::Sandbox(_) => "sandbox",
        }
    }
}

/// Starts a worker: our own executable, a clean environment, and no descriptor but standard error, its channel and, for `status`, the
/// listeners.
pub(crate) fn spawn(
    role: Role,
    executable: BorrowedFd<'_>,
    listeners: Option<&Listeners>,
) -> Result<(Child, Channel), String> {
    let (ours, theirs) = Channel::pair().map_err(|error| format!("cannot make a channel: {error}"))?;
    let theirs = OwnedFd::from(theirs);
    let mut descriptors = vec![(theirs.as_fd(), CHANNEL_DESCRIPTOR)];
    let parent = hilum_sys::process::pid().to_string();
    let mut argv = ["hilum", "worker", role.word(), &parent].map(OsString::from).to_vec();
    if role == Role::Status
        && let Some(listeners) = listeners
    {
        for (socket, number) in listeners.descriptors().zip(CHANNEL_DESCRIPTOR + 1..) {
            descriptors.push((socket, number));
        }
        argv.push(OsString::from(listeners.descriptors().count().to_string()));
    }
    let spec = Spec {
        group: Group::Own { foreground: false },
        parent_death_signal: Signal::KILL.0,
        descriptors: &descriptors,
        close_rest: true,
        ..Spec::new(Program::Descriptor(executable), &argv, Environment::empty())
    };
    let child = child::spawn(&spec).map_err(|error| error.to_string())?;
    crash::register_group(child.pid);
    Ok((child, ours))
}

/// The frame that orders a plugin to be loaded, and the descriptors that travel with it: its file, and what it may use.
///
/// **Errors:** why it cannot be ordered, for people.
pub(crate) fn order(plugin: u16, plan: &PluginLaunch) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
    let file = match &plan.bundled {
        Some(_) => bundle::file().map_err(|error| format!("cannot open hilum's own executable: {error}"))?,
        None => hilum_sys::open::regular_file(&plan.path)
            .map_err(|error| format!("cannot open {}: {error}", plan.path.display()))?,
    };
    let (grants, roots) = grants(&plan.allow)?;
    let load = ToSandbox::Load {
        plugin,
        name: plan.name.clone(),
        sha256: plan.sha256.clone().or_else(|| plan.bundled.as_ref().map(|bundled| bundled.sha256.clone())),
        part: plan.bundled.as_ref().map(|bundled| (bundled.offset, bundled.len)),
        memory: plan.memory,
        reuse_instances: plan.reuse_instances,
        grants,
    };
    let frame = hilum_wire::encode(&load)
        .map_err(|error| format!("cannot pass on what it is allowed: {error}; allow less, or shorten the variables"))?;
    Ok((frame, std::iter::once(file).chain(roots).collect()))
}

/// What a plan allows, as the worker is told: the values of variables, and a descriptor for each file or directory.
fn grants(allow: &Allow) -> Result<(Grants, Vec<OwnedFd>), String> {
    let mut files = Vec::new();
    let mut roots = Vec::new();
    for (path, write) in &allow.files {
        let (root, rest) = hilum_sys::tree::root(path)
            .map_err(|error| format!("cannot open {}, which it may use: {error}", path.display()))?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        files.push(FileGrant { path: text(path), rest: text(&rest), write: *write });
        roots.push(root);
    }
    let value = |name: &String| {
        let value = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        (name.clone(), value)
    };
    let grants = Grants {
        connect: allow.connect.clone(),
        resolve: allow.resolve.clone(),
        files,
        env: allow.env.iter().map(value).collect(),
        exec: allow.exec.clone(),
        processes: allow.processes,
    };
    Ok((grants, roots))
}
