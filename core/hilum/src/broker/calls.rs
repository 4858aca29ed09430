//! Calls: from the engine's question to the answer it gets, whatever became of the worker in between.

use std::collections::VecDeque;

use hilum_engine::{CallId, Event, Incarnation, Outcome, ProbeId, Span};
use hilum_wire::{Answer, Ask, PluginState, Subject, ToSandbox};

use super::{Broker, Call, Context};

/// Extra time for an answer beyond the call's own timeout before the worker counts as hung and is killed. **Units:** nanoseconds.
/// Shorter than the engine's own slack, so that the loss is noticed here first and blamed on the right plugin.
const CALL_SLACK: Span = Span::from_millis(500);

impl Broker {
    /// Makes a probe call; the answer comes as an event.
    pub(crate) fn call(
        &mut self,
        cx: &mut Context<'_>,
        probe: ProbeId,
        run: Incarnation,
        call: CallId,
        timeout: Span,
        attempt: u32,
    ) {
        let target = cx
            .launch
            .services
            .get(usize::from(probe.service.0))
            .and_then(|service| service.probes.get(usize::from(probe.index)));
        let Some(target) = target else {
            return answer(cx.events, probe, run, call, Outcome::Unknown("bug: no such probe".to_owned()), Span::ZERO);
        };
        let Some(plugin) = self.plugins.get(usize::from(target.plugin)) else {
            return answer(cx.events, probe, run, call, Outcome::Unknown("bug: no such plugin".to_owned()), Span::ZERO);
        };
        let name = cx.plugin_name(target.plugin);
        let refused = match plugin.state {
            PluginState::Refused => Some(format!("plugin {name} cannot be used: {}", plugin.message)),
            PluginState::Quarantined => Some(format!("plugin {name} is quarantined: {}", plugin.message)),
            PluginState::Loading | PluginState::Ready => None,
        };
        if let Some(message) = refused {
            return answer(cx.events, probe, run, call, Outcome::Unknown(message), Span::ZERO);
        }
        self.calls.insert(
            call,
            Call {
                probe,
                run,
                plugin: target.plugin,
                settings: target.settings.clone(),
                timeout,
                attempt,
                since: cx.now,
                overdue_at: cx.now.after(timeout).after(CALL_SLACK),
                sent: None,
                repeated: false,
            },
        );
        self.send_calls(target.plugin, cx);
    }

    /// Gives up on a call.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let Some(gone) = self.calls.remove(&call) else { return };
        if let Some(slot) = gone.sent {
            self.send(slot, &ToSandbox::Cancel { id: call.0 }, Vec::new());
            self.dismiss_if_done(slot);
        }
    }

    /// Sends the calls of a plugin that are waiting, if it can take them.
    pub(super) fn send_calls(&mut self, plugin: u16, cx: &Context<'_>) {
        let Some(state) = self.plugins.get(usize::from(plugin)) else { return };
        if state.state != PluginState::Ready {
            return;
        }
        let slot = state.slot;
        let waiting: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.plugin == plugin && call.sent.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = Some(slot);
            let spent = cx.now.since(call.since);
            let left = Span(call.timeout.0.saturating_sub(spent.0));
            let service = call.probe.service;
            let plan = cx.launch.plan.services.get(usize::from(service.0));
            let subject = Subject {
                name: plan.map(|plan| plan.name.clone()).unwrap_or_default(),
                run: u32::try_from(call.run.0).unwrap_or(u32::MAX),
                pid: cx.runs.pid(service, call.run).and_then(|pid| u32::try_from(pid).ok()),
                starts: cx.starts.ages(service, cx.now),
            };
            let message = ToSandbox::Call {
                id: id.0,
                plugin,
                ask: Ask::Check { settings: call.settings.clone(), attempt: call.attempt },
                timeout_ms: left.as_millis_ceil().max(1),
                service: Some(subject),
            };
            self.send(slot, &message, Vec::new());
        }
    }

    /// A call came back.
    pub(super) fn on_answered(
        &mut self,
        slot: usize,
        id: u64,
        what: Answer,
        denied: u32,
        [took, used]: [Span; 2],
        cx: &mut Context<'_>,
    ) {
        let id = CallId(id);
        if self.calls.get(&id).is_none_or(|call| call.sent != Some(slot)) {
            return;
        }
        let Some(call) = self.calls.remove(&id) else { return };
        self.dismiss_if_done(slot);
        let index = usize::from(call.plugin);
        if let Some(plugin) = self.plugins.get_mut(index) {
            plugin.calls = plugin.calls.saturating_add(1);
            plugin.denied = plugin.denied.saturating_add(denied.into());
        }
        let outcome = match what {
            Answer::Pass => Outcome::Pass,
            Answer::Fail(message) => Outcome::Fail(message),
            Answer::Unknown(message) => Outcome::Unknown(message),
            Answer::Done(_) | Answer::Retry { .. } | Answer::Failed(_) | Answer::Judged(_) => {
                Outcome::Unknown("bug: the answer to another question".to_owned())
            }
            Answer::Broken { kind, message } => {
                let name = cx.plugin_name(call.plugin);
                let message = format!("plugin {name} broke ({kind}): {message}");
                self.strike(index, &message, false, cx);
                Outcome::Unknown(message)
            }
        };
        if !matches!(outcome, Outcome::Unknown(_))
            && let Some(plugin) = self.plugins.get_mut(index)
        {
            plugin.strikes = 0;
            plugin.quarantines = 0;
        }
        answer(cx.events, call.probe, call.run, id, outcome, took);
        self.on_used(call.plugin, used, cx);
    }

    /// Answers the calls whose worker does not, and gives the worker up.
    pub(super) fn calls_due(&mut self, cx: &mut Context<'_>) {
        let overdue: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.overdue_at <= cx.now).map(|(id, _)| *id).collect();
        for id in overdue {
            let Some(call) = self.calls.remove(&id) else { continue };
            let message = "the plugin's worker did not answer in time".to_owned();
            answer(cx.events, call.probe, call.run, id, Outcome::Unknown(message), cx.now.since(call.since));
            let plugin = usize::from(call.plugin);
            if let Some(slot) = call.sent {
                self.strike(plugin, "a call overstayed its deadline", false, cx);
                self.abandon(slot, "a call overstayed its deadline", cx);
            }
        }
    }

    /// Repeats calls that were lost with their worker once, and then answers them `unknown`.
    pub(super) fn repeat(&mut self, lost: Vec<CallId>, cx: &mut Context<'_>) {
        for id in lost {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sent = None;
            let quarantined = self
                .plugins
                .get(usize::from(call.plugin))
                .is_some_and(|plugin| plugin.state == PluginState::Quarantined);
            if call.repeated || quarantined {
                let (probe, run, since) = (call.probe, call.run, call.since);
                self.calls.remove(&id);
                let message = "the plugin's worker died during the call".to_owned();
                answer(cx.events, probe, run, id, Outcome::Unknown(message), cx.now.since(since));
            } else {
                call.repeated = true;
                let plugin = call.plugin;
                // Where a successor serves already.
                self.send_calls(plugin, cx);
            }
        }
    }

    /// Answers every call of a plugin that is not in its worker's hands with `unknown`.
    pub(super) fn resolve_calls(&mut self, plugin: u16, message: &str, cx: &mut Context<'_>) {
        let waiting: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.plugin == plugin).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(call) = self.calls.remove(&id) {
                let outcome = Outcome::Unknown(message.to_owned());
                answer(cx.events, call.probe, call.run, id, outcome, cx.now.since(call.since));
            }
        }
    }
}

fn answer(events: &mut VecDeque<Event>, probe: ProbeId, run: Incarnation, call: CallId, outcome: Outcome, took: Span) {
    events.push_back(Event::ProbeAnswered { probe, run, call, outcome, took });
}
