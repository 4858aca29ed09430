//! Successors: a sandbox loads its plugins once and then gives up the right to load more. So whatever changes what is loaded, a reload or
//! the end of a quarantine, starts a process that loads everything anew; it takes over when it is ready, and the old one ends with its
//! last call.

use std::collections::BTreeMap;

use super::{Broker, Context, Slot, Stage, kill};
use crate::log::{Level, pair};
use crate::worker::Role;

impl Broker {
    /// Loads all plugins anew, from the files as they are now. Those whose new file cannot be used keep the old one.
    pub(crate) fn reload(&mut self, cx: &mut Context<'_>) {
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
            if matches!(slot.stage, Stage::Succeeding { place: other, .. } if other == place) {
                slot.stage = Stage::Draining;
                slot.kill();
            }
        }
        let vacant = self.slots.iter().position(|slot| slot.stage == Stage::Vacant && slot.live.is_none());
        let index = vacant.unwrap_or(self.slots.len());
        let slot = Slot { stage: Stage::Succeeding { place, loaded: BTreeMap::new() }, ..Slot::new(role) };
        match self.slots.get_mut(index) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        self.start(index, cx);
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
            return self.say_not_succeeded(old, &message, cx);
        }
        place.stage = Stage::Serving;
        if let Some(replaced) = self.slots.get(old).map(|old| old.replaced)
            && let Some(place) = self.slots.get_mut(slot)
        {
            place.replaced = replaced;
        }
        if let Some(old) = self.slots.get_mut(old) {
            old.stage = Stage::Draining;
            old.start_at = None;
        }
        for plugin in self.plugins.iter_mut().filter(|plugin| plugin.slot == old) {
            plugin.slot = slot;
            plugin.loaded = false;
        }
        for (plugin, outcome) in loaded {
            let index = usize::from(plugin);
            match outcome {
                Ok(info) => {
                    self.ready(index, &info, "plugin-swapped", cx);
                    self.send_calls(plugin, cx);
                }
                Err(message) => self.refuse(index, &message, cx),
            }
        }
        self.dismiss_if_done(old);
    }

    /// Says that a successor did not take over; the process it was for serves on.
    pub(super) fn say_not_succeeded(&mut self, place: usize, why: &str, cx: &mut Context<'_>) {
        let mut pairs = String::new();
        pair(&mut pairs, "role", self.slots.get(place).map_or("?", |slot| slot.role.word()));
        pair(&mut pairs, "event", "plugins-not-swapped");
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
