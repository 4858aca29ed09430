//! Successors: a sandbox loads its plugins once and then gives up the right to load more. So whatever changes what is loaded, a reload or
//! the end of a quarantine, starts a process that loads everything anew; it takes over when it is ready, and the old one ends with its
//! last call.
//!
//! A plugin that uses too much of a processor for a shared worker is set apart in the same way: a process with this one plugin takes over its part
//! of the shared one's work. Its calls that are under way end where they began.

use std::collections::BTreeMap;

use hilum_config::Isolation;
use hilum_engine::Span;
use hilum_wire::PluginState;

use super::{Broker, Context, Slot, Stage, kill};
use crate::log::{Level, pair};
use crate::worker::Role;

/// How long a plugin that could not be set apart stays with the others. **Units:** nanoseconds.
const AGAIN: Span = Span::from_secs(60);

impl Broker {
    /// Loads all plugins anew, from the files as they are now. Those whose new file cannot be used keep the old one.
    pub(crate) fn reload(&mut self, cx: &mut Context<'_>) {
        for plugin in &mut self.plugins {
            plugin.stays_until = None;
        }
        for place in 0..self.slots.len() {
            let serves = |slot: &Slot| slot.stage == Stage::Serving && slot.role != Role::Status;
            if self.slots.get(place).is_some_and(serves) {
                self.succeed(place, cx);
            }
        }
    }

    /// Starts a successor for the process in `place`. One that is on its way already is given up: it may have read what has changed since.
    pub(super) fn succeed(&mut self, place: usize, cx: &mut Context<'_>) {
        let Some(role) = self.slots.get(place).map(|slot| slot.role) else { return };
        for slot in &mut self.slots {
            if slot.succeeds(place) {
                slot.stage = Stage::Draining;
                slot.kill();
            }
        }
        self.start_successor(place, role, cx);
    }

    /// Gives a plugin that shares a worker one of its own, unless the plan has it stay or it is alone there already.
    pub(super) fn set_apart(&mut self, plugin: u16, cx: &mut Context<'_>) {
        let index = usize::from(plugin);
        let (Some(state), Some(plan)) = (self.plugins.get(index), cx.launch.plugins.get(index)) else { return };
        let place = state.slot;
        let shared = self.slots.get(place).is_some_and(|slot| slot.role == Role::Sandbox(None));
        let others = self.plugins.iter().filter(|plugin| plugin.slot == place).count() > 1;
        let changing = self.slots.iter().any(|slot| slot.succeeds(place));
        let may = plan.isolation == Isolation::Auto && state.state == PluginState::Ready;
        let stays = state.stays_until.is_some_and(|until| until > cx.now);
        if may && !stays && shared && others && !changing {
            self.start_successor(place, Role::Sandbox(Some(plugin)), cx);
        }
    }

    fn start_successor(&mut self, place: usize, role: Role, cx: &mut Context<'_>) {
        let vacant = self.slots.iter().position(|slot| slot.stage == Stage::Vacant && slot.live.is_none());
        let index = vacant.unwrap_or(self.slots.len());
        let slot = Slot { stage: Stage::Succeeding { place, loaded: BTreeMap::new() }, ..Slot::new(role) };
        match self.slots.get_mut(index) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        self.start(index, cx);
    }

    /// Whether the process in `slot` is to have `plugin`: the one it is for, or each that shares.
    pub(super) fn belongs(&self, slot: usize, plugin: u16) -> bool {
        let role = |slot: usize| self.slots.get(slot).map(|slot| slot.role);
        match role(slot) {
            Some(Role::Sandbox(Some(own))) => own == plugin,
            Some(Role::Sandbox(None)) => {
                let place = self.plugins.get(usize::from(plugin)).map(|plugin| plugin.slot);
                place.and_then(role) == Some(Role::Sandbox(None))
            }
            Some(Role::Status) | None => false,
        }
    }

    /// A worker has loaded what it was told to. A successor takes over, unless a plugin that can be called now could then not be.
    pub(super) fn on_sealed(&mut self, slot: usize, refused: Vec<String>, cx: &mut Context<'_>) {
        self.say_refused(slot, refused, cx);
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Stage::Succeeding { place: old, loaded } = &mut place.stage else { return };
        let (old, loaded) = (*old, std::mem::take(loaded));
        let lost = loaded.iter().find_map(|(plugin, outcome)| {
            let usable = self.plugins.get(usize::from(*plugin)).is_some_and(|plugin| plugin.loaded);
            outcome.as_ref().err().filter(|_| usable)
        });
        if let Some(message) = lost {
            let message = message.clone();
            place.stage = Stage::Draining;
            place.kill();
            return self.say_not_succeeded(slot, old, &message, cx);
        }
        place.stage = Stage::Serving;
        let roles = [slot, old].map(|slot| self.slots.get(slot).map(|slot| (slot.role, slot.replaced)));
        let [Some((role, _)), Some((old_role, replaced))] = roles else { return };
        let event = if role == old_role { "plugin-swapped" } else { "plugin-set-apart" };
        if role == old_role
            && let Some(place) = self.slots.get_mut(slot)
        {
            place.replaced = replaced;
        }
        for index in 0..self.plugins.len() {
            let moves = self.belongs(slot, u16::try_from(index).unwrap_or(u16::MAX));
            if let Some(plugin) = self.plugins.get_mut(index)
                && plugin.slot == old
                && moves
            {
                plugin.slot = slot;
                plugin.loaded = false;
            }
        }
        if !self.plugins.iter().any(|plugin| plugin.slot == old)
            && let Some(old) = self.slots.get_mut(old)
        {
            old.stage = Stage::Draining;
            old.start_at = None;
        }
        for (plugin, outcome) in loaded {
            let index = usize::from(plugin);
            match outcome {
                Ok(info) => {
                    self.ready(index, &info, event, cx);
                    self.send_calls(plugin, cx);
                }
                Err(message) => self.refuse(index, &message, cx),
            }
        }
        self.dismiss_if_done(old);
    }

    /// The successor in `slot` does not take over; the process it was for serves on.
    pub(super) fn say_not_succeeded(&mut self, slot: usize, place: usize, why: &str, cx: &mut Context<'_>) {
        let [role, old_role] = [slot, place].map(|slot| self.slots.get(slot).map(|slot| slot.role));
        let mut pairs = String::new();
        pair(&mut pairs, "role", old_role.map_or("?", Role::word));
        match role {
            Some(Role::Sandbox(Some(plugin))) if role != old_role => {
                if let Some(state) = self.plugins.get_mut(usize::from(plugin)) {
                    state.stays_until = Some(cx.now.after(AGAIN));
                }
                pair(&mut pairs, "event", "plugin-not-set-apart");
                pair(&mut pairs, "plugin", cx.plugin_name(plugin));
            }
            _ => pair(&mut pairs, "event", "plugins-not-swapped"),
        }
        pair(&mut pairs, "error", why);
        pair(&mut pairs, "next", "keep");
        cx.log.say(Level::Error, &pairs);
    }

    /// Ends a process that has no call left and gets none.
    pub(super) fn dismiss_if_done(&mut self, slot: usize) {
        let busy = self.calls.values().any(|call| call.sent == Some(slot));
        if let Some(place) = self.slots.get_mut(slot)
            && place.stage == Stage::Draining
            && !busy
        {
            match &place.live {
                Some(live) => kill(live),
                None => place.stage = Stage::Vacant,
            }
        }
    }
}
