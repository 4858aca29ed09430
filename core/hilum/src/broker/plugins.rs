//! Plugins: loading them into their worker, striking and quarantining those that break, and what they ask of PID 1 between calls.

use std::collections::BTreeMap;

use hilum_engine::{CallId, Span, Tick};
use hilum_wire::{Ending, Octets, PluginInfo, PluginState, Series, ToSandbox};

use super::meter::LONG;
use super::{Broker, Context, LOAD_DEADLINE, Stage};
use crate::errand::{self, Asker};
use crate::log::{Level, pair};
use crate::worker;

/// Broken calls in a row that quarantine a plugin.
const STRIKES: u32 = 3;
/// First quarantine; doubles each time up to [`QUARANTINE_CAP`]. **Units:** nanoseconds.
const QUARANTINE: Span = Span::from_secs(10);
/// See [`QUARANTINE`]. **Units:** nanoseconds.
const QUARANTINE_CAP: Span = Span::from_secs(600);

/// What one plugin may have kept, keys and values together. **Units:** bytes. Its worker counts too; this is for one that does not.
const KEPT: usize = 32 * 1024;

/// Series of one plugin, likewise.
const SERIES: usize = 64;

impl Broker {
    /// Hands a worker all plugins it is to load, and tells it that these are all.
    pub(super) fn load_all(&mut self, slot: usize, cx: &mut Context<'_>) {
        for index in 0..self.plugins.len() {
            let here = self.belongs(slot, u16::try_from(index).unwrap_or(u16::MAX));
            if here && self.plugins.get(index).is_some_and(|plugin| plugin.free_at.is_none()) {
                self.load(slot, index, cx);
            }
        }
        self.send(slot, &ToSandbox::Seal, Vec::new());
    }

    /// Opens a plugin's file and what it may use, and hands it to a worker, with what it wanted kept.
    pub(super) fn load(&mut self, slot: usize, index: usize, cx: &mut Context<'_>) {
        let (Some(plugin), Some(plan)) = (self.plugins.get(index), cx.launch.plugins.get(index)) else { return };
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        let kept = plugin.kept.iter();
        let kept: Vec<_> = kept
            .map(|(key, value)| ToSandbox::Restore { plugin: id, key: key.clone(), value: Octets(value.clone()) })
            .collect();
        match worker::order(id, plan) {
            Ok((frame, descriptors)) => {
                for message in kept {
                    self.send(slot, &message, Vec::new());
                }
                self.send_frame(slot, frame, descriptors);
                if let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) {
                    live.handed.insert(id);
                    live.loading.insert(id, cx.now.after(LOAD_DEADLINE));
                }
            }
            Err(message) => self.on_loaded(slot, id, Err(message), cx),
        }
    }

    /// A plugin was loaded, or cannot be.
    pub(super) fn on_loaded(
        &mut self,
        slot: usize,
        plugin: u16,
        outcome: Result<PluginInfo, String>,
        cx: &mut Context<'_>,
    ) {
        let index = usize::from(plugin);
        let Some(place) = self.slots.get_mut(slot) else { return };
        if let Some(live) = &mut place.live {
            live.loading.remove(&plugin);
        }
        if let Stage::Succeeding { loaded, .. } = &mut place.stage {
            loaded.insert(plugin, outcome);
            return;
        }
        // It was set apart while this process loaded it.
        if self.plugins.get(index).is_none_or(|plugin| plugin.slot != slot) {
            return;
        }
        match outcome {
            Ok(info) => {
                self.ready(index, &info, "plugin-loaded", cx);
                self.send_calls(plugin, cx);
            }
            Err(message) => self.refuse(index, &message, cx),
        }
    }

    /// A plugin can be called.
    pub(super) fn ready(&mut self, index: usize, info: &PluginInfo, event: &str, cx: &mut Context<'_>) {
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        plugin.loaded = true;
        plugin.kinds.clone_from(&info.kinds);
        if plugin.state != PluginState::Quarantined {
            plugin.state = PluginState::Ready;
            plugin.message = format!("{} {}", info.name, info.version);
        }
        self.stale = true;
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(u16::try_from(index).unwrap_or(u16::MAX)));
        pair(&mut pairs, "event", event);
        pair(&mut pairs, "name", &info.name);
        pair(&mut pairs, "version", &info.version);
        cx.log.say(Level::Info, &pairs);
    }

    pub(super) fn refuse(&mut self, index: usize, message: &str, cx: &mut Context<'_>) {
        let id = u16::try_from(index).unwrap_or(u16::MAX);
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.loaded = false;
            plugin.state = PluginState::Refused;
            plugin.message = message.to_owned();
        }
        self.stale = true;
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(id));
        pair(&mut pairs, "event", "plugin-refused");
        pair(&mut pairs, "error", message);
        cx.log.say(Level::Error, &pairs);
        self.resolve_calls(id, &format!("plugin {} cannot be used: {message}", cx.plugin_name(id)), cx);
    }

    /// Counts a broken call against a plugin; `fatal` ones took a worker down.
    pub(super) fn strike(&mut self, index: usize, message: &str, fatal: bool, cx: &mut Context<'_>) {
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        plugin.broken = plugin.broken.saturating_add(1);
        plugin.strikes = plugin.strikes.saturating_add(1);
        plugin.message = message.to_owned();
        self.stale = true;
        if plugin.strikes < STRIKES || plugin.state == PluginState::Quarantined {
            return;
        }
        let factor = 1u64 << plugin.quarantines.min(16);
        let time = Span(QUARANTINE.0.saturating_mul(factor)).min(QUARANTINE_CAP);
        plugin.quarantines = plugin.quarantines.saturating_add(1);
        plugin.state = PluginState::Quarantined;
        plugin.free_at = Some(cx.now.after(time));
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.launch.plugins.get(index).map_or("?", |plugin| plugin.name.as_str()));
        pair(&mut pairs, "event", "plugin-quarantined");
        pair(&mut pairs, "for", &format!("{}s", time.as_secs()));
        pair(&mut pairs, "error", message);
        if fatal {
            pair(&mut pairs, "worker", "lost");
        }
        cx.log.say(Level::Error, &pairs);
    }

    /// Ends the quarantines that are over, and gives up workers that do not finish loading.
    pub(super) fn plugins_due(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.plugins.len() {
            let Some(plugin) = self.plugins.get_mut(index) else { continue };
            if plugin.free_at.is_some_and(|at| at <= cx.now) {
                plugin.free_at = None;
                plugin.strikes = 0;
                plugin.state = if plugin.loaded { PluginState::Ready } else { PluginState::Loading };
                let (slot, loaded) = (plugin.slot, plugin.loaded);
                if !loaded && self.is_greeted(slot) {
                    self.succeed(slot, cx);
                }
                self.stale = true;
            }
        }
        for slot in 0..self.slots.len() {
            let Some(live) = self.slots.get_mut(slot).and_then(|slot| slot.live.as_mut()) else { continue };
            let (late, loading): (BTreeMap<_, _>, _) =
                std::mem::take(&mut live.loading).into_iter().partition(|(_, at)| *at <= cx.now);
            live.loading = loading;
            for plugin in late.keys() {
                self.strike(usize::from(*plugin), "it does not finish loading", true, cx);
            }
            if !late.is_empty() {
                self.abandon(slot, "a load overstayed its time", cx);
            }
        }
    }

    /// The calls and loads that went down with a sandbox: blamed, repeated once, or answered `unknown`.
    pub(super) fn on_sandbox_lost(&mut self, slot: usize, loading: &BTreeMap<u16, Tick>, cx: &mut Context<'_>) {
        let lost: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.sent == Some(slot)).map(|(id, _)| *id).collect();
        let mut blamed: Vec<u16> = lost.iter().filter_map(|id| self.calls.get(id)).map(|call| call.plugin).collect();
        blamed.extend(loading.keys());
        blamed.sort_unstable();
        blamed.dedup();
        for plugin in blamed {
            self.strike(usize::from(plugin), "its worker died during a call", true, cx);
        }
        for plugin in self.plugins.iter_mut().filter(|plugin| plugin.slot == slot) {
            plugin.loaded = false;
            if plugin.state == PluginState::Ready {
                plugin.state = PluginState::Loading;
            }
        }
        self.repeat(lost, cx);
    }

    /// A plugin has used that much of a processor. One that uses too much for a shared worker is set apart.
    pub(super) fn on_used(&mut self, plugin: u16, used: Span, cx: &mut Context<'_>) {
        let Some(state) = self.plugins.get_mut(usize::from(plugin)) else { return };
        state.used = Span(state.used.0.saturating_add(used.0));
        if used >= LONG && state.meter.add(used, cx.now) {
            self.set_apart(plugin, cx);
        }
    }

    /// Keeps a value of a plugin, or with none forgets it.
    pub(super) fn keep(&mut self, plugin: u16, key: String, value: Option<Octets>) {
        let Some(plugin) = self.plugins.get_mut(usize::from(plugin)) else { return };
        plugin.kept.remove(&key);
        if let Some(Octets(value)) = value {
            let others: usize = plugin.kept.iter().map(|(key, value)| key.len() + value.len()).sum();
            if others.saturating_add(key.len()).saturating_add(value.len()) <= KEPT {
                plugin.kept.insert(key, value);
            }
        }
    }

    /// Runs a command for a plugin.
    pub(super) fn run(&mut self, asker: Asker, plugin: u16, name: &str, cx: &mut Context<'_>) {
        let granted =
            cx.launch.plugins.get(usize::from(plugin)).is_some_and(|plan| plan.allow.exec.iter().any(|it| it == name));
        let command = cx.launch.commands.iter().find(|command| granted && command.name == name);
        let started = match command {
            Some(command) => self.errands.start(asker, plugin, command, cx.hidden, cx.now),
            None => Err(format!("the plan does not let this plugin run {name:?}")),
        };
        let mut pairs = String::new();
        pair(&mut pairs, "plugin", cx.plugin_name(plugin));
        pair(&mut pairs, "command", name);
        match started {
            Ok(ends) => {
                pair(&mut pairs, "event", "command-started");
                cx.log.say(Level::Debug, &pairs);
                self.send(asker.slot, &ToSandbox::Started { id: asker.id }, ends.into());
            }
            Err(why) => {
                pair(&mut pairs, "event", "command-not-started");
                pair(&mut pairs, "error", &why);
                cx.log.say(Level::Warn, &pairs);
                self.send(asker.slot, &ToSandbox::Ran { id: asker.id, ending: Ending::Refused(why) }, Vec::new());
            }
        }
    }

    /// Tells whoever asked how a command ended.
    pub(super) fn say_ran(&mut self, asker: Asker, ending: Ending, cx: &mut Context<'_>) {
        let mut pairs = String::new();
        pair(&mut pairs, "event", "command-ended");
        pair(&mut pairs, "how", &errand::describe(&ending));
        cx.log.say(Level::Debug, &pairs);
        self.send(asker.slot, &ToSandbox::Ran { id: asker.id, ending }, Vec::new());
    }

    /// Takes the value of a series, if there is room.
    pub(super) fn measure(&mut self, plugin: u16, series: Series) {
        let Some(plugin) = self.plugins.get_mut(usize::from(plugin)) else { return };
        let room = plugin.series.len() < SERIES;
        match plugin.series.iter_mut().find(|known| known.name == series.name && known.labels == series.labels) {
            Some(known) => *known = series,
            None if room => plugin.series.push(series),
            None => {}
        }
        plugin.series_stale = true;
    }
}
