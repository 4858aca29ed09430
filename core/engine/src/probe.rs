//! One probe of one service: when it is called, how answers are counted, and what they come to.

use alloc::string::String;

use crate::event::Outcome;
use crate::id::CallId;
use crate::plan::ProbePlan;
use crate::status::ProbeStatus;
use crate::tick::{Span, Tick};

/// How much longer than the probe's own timeout the engine waits for an answer. The sandbox enforces the timeout; this bounds a sandbox that
/// does not answer at all. **Units:** nanoseconds. Doubled, a hung worker keeps a verdict back for two seconds instead of one.
pub(crate) const ANSWER_SLACK: Span = Span::from_secs(1);

/// When the next call is, or which one is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Schedule {
    /// Not probed: the service is not up, or this probe has no say at the moment.
    Idle,
    /// The next call.
    Waiting {
        /// When.
        at: Tick,
    },
    /// A call was ordered.
    InFlight {
        /// Its number.
        call: CallId,
        /// When.
        since: Tick,
        /// When its answer counts as lost.
        give_up_at: Tick,
    },
}

/// A threshold crossed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crossing {
    /// It passes now and did not before.
    Passing,
    /// It fails now and did not before.
    Failing,
}

/// One probe's state in the service's current life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    pub(crate) schedule: Schedule,
    /// Calls ordered in this life.
    pub(crate) attempts: u32,
    passing: Option<bool>,
    passes: u32,
    failures: u32,
    unknowns: u32,
    last: &'static str,
    message: String,
    took: Span,
    answered: u64,
}

impl Probe {
    pub(crate) fn new() -> Probe {
        Probe {
            schedule: Schedule::Idle,
            attempts: 0,
            passing: None,
            passes: 0,
            failures: 0,
            unknowns: 0,
            last: "",
            message: String::new(),
            took: Span::ZERO,
            answered: 0,
        }
    }

    /// Forgets the life before; keeps what is counted over all lives. Returns the call in flight, if any.
    pub(crate) fn reset(&mut self) -> Option<CallId> {
        let call = self.silence();
        *self = Probe { answered: self.answered, ..Probe::new() };
        call
    }

    /// Stops calling; keeps the verdict. Returns the call in flight, if any.
    pub(crate) fn silence(&mut self) -> Option<CallId> {
        let call = match self.schedule {
            Schedule::InFlight { call, .. } => Some(call),
            Schedule::Idle | Schedule::Waiting { .. } => None,
        };
        self.schedule = Schedule::Idle;
        call
    }

    pub(crate) fn is_passing(&self) -> bool {
        self.passing == Some(true)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// When something is to be done about this probe.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self.schedule {
            Schedule::Idle => None,
            Schedule::Waiting { at } => Some(at),
            Schedule::InFlight { give_up_at, .. } => Some(give_up_at),
        }
    }

    /// Moves the deadline by `gap`.
    pub(crate) fn shift(&mut self, gap: Span) {
        match &mut self.schedule {
            Schedule::Idle => {}
            Schedule::Waiting { at } => *at = at.after(gap),
            Schedule::InFlight { since, give_up_at, .. } => {
                *since = since.after(gap);
                *give_up_at = give_up_at.after(gap);
            }
        }
    }

    /// Counts an answer to the call in flight, plans the next call, and says which threshold was crossed.
    pub(crate) fn answer(&mut self, plan: &ProbePlan, now: Tick, outcome: Outcome, took: Span) -> Option<Crossing> {
        let since = match self.schedule {
            Schedule::InFlight { since, .. } => since,
            Schedule::Idle | Schedule::Waiting { .. } => now,
        };
        self.schedule = Schedule::Waiting { at: since.after(plan.period).max(now) };
        self.took = took;
        self.answered = self.answered.saturating_add(1);
        let verdict = match outcome {
            Outcome::Pass => {
                self.passes = self.passes.saturating_add(1);
                self.failures = 0;
                self.unknowns = 0;
                self.last = "pass";
                self.message.clear();
                (self.passes >= plan.success_threshold).then_some(true)
            }
            Outcome::Fail(message) => {
                self.failures = self.failures.saturating_add(1);
                self.passes = 0;
                self.unknowns = 0;
                self.last = "fail";
                self.message = message;
                (self.failures >= plan.failure_threshold).then_some(false)
            }
            // Neither a pass nor a failure: it breaks no row of either.
            Outcome::Unknown(message) => {
                self.unknowns = self.unknowns.saturating_add(1);
                self.last = "unknown";
                self.message = message;
                let failing = plan.unknown_threshold.is_some_and(|limit| self.unknowns >= limit);
                if failing {
                    // Now it does count as a failure, so the way back is as long as after one.
                    self.passes = 0;
                }
                failing.then_some(false)
            }
        };
        let passing = verdict?;
        if self.passing == Some(passing) {
            return None;
        }
        self.passing = Some(passing);
        Some(if passing { Crossing::Passing } else { Crossing::Failing })
    }

    pub(crate) fn status(&self, plan: &ProbePlan) -> ProbeStatus {
        ProbeStatus {
            kind: plan.kind,
            passing: self.passing,
            passes: self.passes,
            failures: self.failures,
            unknowns: self.unknowns,
            last: self.last,
            message: self.message.clone(),
            took: self.took,
            answered: self.answered,
        }
    }
}
