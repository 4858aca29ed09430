//! What is said of plugins and workers, and how the status worker hears what is to be published.

use hilum_config::Launch;
use hilum_wire::{Overview, PluginReport, ServiceReport, ToStatus, WorkerReport};

use super::{Broker, Slot, Stage};
use crate::worker::Role;

impl Broker {
    /// What is to be said of plugins and workers.
    #[must_use]
    pub(crate) fn reports(&self, launch: &Launch) -> (Vec<PluginReport>, Vec<WorkerReport>) {
        let plugins = self.plugins.iter().zip(&launch.plugins).map(|(plugin, launch)| PluginReport {
            name: launch.name.clone(),
            state: plugin.state,
            message: crate::report::cut(&plugin.message, 512),
            calls: plugin.calls,
            broken: plugin.broken,
            denied: plugin.denied,
            cpu_us: plugin.used.0 / 1000,
            kinds: plugin.kinds.clone(),
        });
        let workers = self.slots.iter().filter(|slot| slot.stage != Stage::Vacant).map(|slot| WorkerReport {
            role: match slot.role {
                Role::Status => "status".to_owned(),
                Role::Sandbox(None) => "sandbox".to_owned(),
                Role::Sandbox(Some(plugin)) => {
                    let name = launch.plugins.get(usize::from(plugin)).map_or("?", |plugin| plugin.name.as_str());
                    format!("sandbox {name}")
                }
            },
            pid: slot.live.as_ref().map(|live| live.child.pid),
            replaced: slot.replaced,
            refused: slot.refused.clone(),
        });
        (plugins.collect(), workers.collect())
    }

    /// Notes that there is something new to publish.
    pub(crate) fn publish(&mut self) {
        self.stale = true;
    }

    /// Whether a status worker waits for news.
    #[must_use]
    pub(crate) fn wants_reports(&self) -> bool {
        let reachable = |slot: &Slot| {
            slot.role == Role::Status && slot.live.as_ref().is_some_and(|live| live.greeted && live.outbox.is_empty())
        };
        let measured = self.plugins.iter().any(|plugin| plugin.series_stale);
        (self.stale || measured || !self.pongs.is_empty()) && self.slots.iter().any(reachable)
    }

    /// Tells the status worker what changed since it was told last, then answers its pings.
    pub(crate) fn tell(&mut self, overview: Overview, services: impl Iterator<Item = ServiceReport>) {
        let Some(slot) = self.slots.iter().position(|slot| slot.role == Role::Status) else { return };
        self.stale = false;
        self.sent_services.truncate(usize::from(overview.services));
        for (index, report) in (0u16..).zip(services) {
            let at = usize::from(index);
            if self.sent_services.len() <= at {
                self.sent_services.resize(at.saturating_add(1), None);
            }
            let Some(sent) = self.sent_services.get_mut(at) else { continue };
            if sent.as_ref() != Some(&report) {
                *sent = Some(report.clone());
                self.send(slot, &ToStatus::Service { index, report: Box::new(report) }, Vec::new());
            }
        }
        if self.sent_overview.as_ref() != Some(&overview) {
            self.sent_overview = Some(overview.clone());
            self.send(slot, &ToStatus::Overview(Box::new(overview)), Vec::new());
        }
        for index in 0..self.plugins.len() {
            let Some(plugin) = self.plugins.get_mut(index).filter(|plugin| plugin.series_stale) else { continue };
            plugin.series_stale = false;
            let series = plugin.series.clone();
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            self.send(slot, &ToStatus::Measured { index, series }, Vec::new());
        }
        for nonce in std::mem::take(&mut self.pongs) {
            self.send(slot, &ToStatus::Pong { nonce }, Vec::new());
        }
    }
}
