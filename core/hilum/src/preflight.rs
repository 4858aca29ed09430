//! What `hilum check` and the start of `hilum up` ask plugins before anything is started: whether they load, and whether the settings the plan
//! gives them suit them. A sandbox is started for it and ended again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hilum_config::{Launch, Place};
use hilum_engine::Signal;
use hilum_sys::channel::Channel;
use hilum_sys::child::Child;
use hilum_sys::pages::Pages;
use hilum_sys::poll::{self, Slot};
use hilum_sys::{crash, executable, reap};
use hilum_wire::{Answer, Ask, FromSandbox, MAX_FRAME, ToSandbox, VERSION};

use crate::worker::{self, Role};

/// Time for all of it. A plugin has two seconds to say what it is; a machine that needs longer for all of them is frozen to a crawl.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time for one judgement of settings. **Units:** milliseconds.
const JUDGEMENT_MS: u64 = 2_000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Settings that do not suit their plugin: where, what, and the story. They are mistakes in the plan.
    pub(crate) settings: Vec<(Place, String)>,
    /// Plugins that cannot be used: they may be there later.
    pub(crate) plugins: Vec<(Place, String)>,
}

/// Asks the plugins of `launch`.
///
/// **Errors:** they could not be asked, and why.
pub(crate) fn ask(launch: &Launch) -> Result<Findings, String> {
    if launch.plugins.is_empty() {
        return Ok(Findings::default());
    }
    let executable = executable::open().map_err(|error| format!("cannot open hilum's own executable: {error}"))?;
    let (child, channel) = worker::spawn(Role::Sandbox(None), executable.as_fd(), None)?;
    let mut asking = Asking { channel, until: Instant::now() + PATIENCE, findings: Findings::default() };
    let done = asking.all(launch);
    end(&child);
    done.map(|()| asking.findings)
}

/// Ends the worker and takes it: nobody else knows of it.
fn end(child: &Child) {
    // It cannot fail but by being gone already.
    let _ = child.signal(Signal::KILL.0);
    let _ = reap::reap_now(child.pid);
    crash::unregister_group(child.pid);
}

struct Asking {
    channel: Channel,
    until: Instant,
    findings: Findings,
}

impl Asking {
    fn all(&mut self, launch: &Launch) -> Result<(), String> {
        match self.receive()? {
            FromSandbox::Hello { version: VERSION, .. } => {}
            other => return Err(format!("bug: the sandbox began with {other:?}")),
        }
        self.send(&ToSandbox::Hello { version: VERSION })?;
        for (index, plan) in (0u16..).zip(&launch.plugins) {
            match worker::order(index, plan) {
                Ok((frame, descriptors)) => {
                    self.send_frame(&frame, &descriptors)?;
                    self.loaded(plan.place, index, launch)?;
                }
                Err(why) => self.findings.plugins.push((plan.place, format!("plugin.{}: {why}", plan.name))),
            }
        }
        Ok(())
    }

    /// Waits for a plugin to be loaded, then has it judge the settings of every probe that calls it.
    fn loaded(&mut self, place: Place, plugin: u16, launch: &Launch) -> Result<(), String> {
        let name = launch.plugins.get(usize::from(plugin)).map_or("?", |plugin| plugin.name.as_str());
        match self.receive()? {
            FromSandbox::Loaded { info, .. } if info.kinds.iter().any(|kind| kind == "probe") => {}
            FromSandbox::Loaded { info, .. } => {
                let story = format!("plugin.{name}: it is no probe but {}; name another file", info.kinds.join(", "));
                self.findings.plugins.push((place, story));
                return Ok(());
            }
            FromSandbox::LoadFailed { failure, .. } => {
                self.findings.plugins.push((place, format!("plugin.{name}: {}", failure.message)));
                return Ok(());
            }
            other => return Err(format!("bug: the sandbox said {other:?}")),
        }
        for (service, plan) in launch.services.iter().zip(&launch.plan.services) {
            for (probe, probe_plan) in service.probes.iter().zip(&plan.probes) {
                if probe.plugin == plugin {
                    let settings = probe.settings.clone();
                    let (ask, timeout_ms) = (Ask::CheckSettings { settings }, JUDGEMENT_MS);
                    self.send(&ToSandbox::Call { id: 0, plugin, ask, timeout_ms, service: None })?;
                    let path = format!("service.{}.probe.{}.with", plan.name, probe_plan.name);
                    self.judged(probe.place, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Takes one judgement.
    fn judged(&mut self, place: Place, path: &str) -> Result<(), String> {
        match self.receive()? {
            FromSandbox::Answered { answer: Answer::Judged(problems), .. } => {
                for problem in problems {
                    let story = format!("{path}{}: {}", problem.path.replace('/', "."), problem.message);
                    self.findings.settings.push((place, story));
                }
            }
            FromSandbox::Answered { answer: Answer::Broken { kind, message }, .. } => {
                let story = format!("{path}: the plugin broke over these settings ({kind}): {message}");
                self.findings.settings.push((place, story));
            }
            other => return Err(format!("bug: the sandbox said {other:?}")),
        }
        Ok(())
    }

    fn send(&mut self, message: &ToSandbox) -> Result<(), String> {
        let frame = hilum_wire::encode(message).map_err(|error| format!("bug: {error}"))?;
        self.send_frame(&frame, &[])
    }

    fn send_frame(&mut self, frame: &[u8], descriptors: &[OwnedFd]) -> Result<(), String> {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        loop {
            match self.channel.send(frame, &borrowed) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(true)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot speak to the sandbox: {error}")),
            }
        }
    }

    /// The next answer. What a plugin has to say here, it says again when it runs, and what it uses of the processor has no consequences yet.
    fn receive(&mut self) -> Result<FromSandbox, String> {
        let mut buffer = Pages::new(MAX_FRAME).map_err(|error| format!("cannot speak to the sandbox: {error}"))?;
        loop {
            match self.channel.receive(&mut buffer) {
                Ok(packet) if packet.len == 0 => return Err("the sandbox died".to_owned()),
                Ok(packet) => {
                    let frame = buffer.get(..packet.len).unwrap_or_default();
                    match hilum_wire::decode(frame).map_err(|error| error.to_string())? {
                        FromSandbox::Log { .. } | FromSandbox::Used { .. } => {}
                        message => return Ok(message),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(false)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot hear the sandbox: {error}")),
            }
        }
    }

    fn wait(&self, to_write: bool) -> Result<(), String> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("the sandbox did not answer within {} s", PATIENCE.as_secs()));
        }
        let mut slots = [Slot::new(self.channel.as_fd(), !to_write, to_write)];
        // A signal that interrupts it, or time that is up, is seen above.
        let _ = poll::wait(&mut slots, Some(left));
        Ok(())
    }
}
