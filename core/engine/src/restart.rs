//! Whether and how soon a service runs again: policy, backoff, limit.

use alloc::collections::VecDeque;

use crate::event::Exit;
use crate::plan::{BackoffPlan, LimitAction, RestartPlan, RestartPolicy};
use crate::rng::Rng;
use crate::tick::{Span, Tick};

/// How a run ended, as far as a restart hangs on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// By itself.
    Exit(Exit),
    /// Because its time to live was over: a restart of the plan's own making, not counted against the service.
    Ttl,
    /// Because a probe failed, whatever its exit code was.
    Unhealthy,
    /// It never began.
    SpawnFailed,
}

/// What comes after an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Run again after this wait.
    Restart(Span),
    /// Nothing: the policy says so.
    End,
    /// Nothing: the limit is reached.
    GiveUp,
    /// The container ends: the limit is reached.
    EndContainer,
}

/// The memory restart decisions need, over all lives of a service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct History {
    /// Restarts in a row that came of short runs.
    attempt: u32,
    /// When the restarts inside the limit's window were decided, oldest first; never longer than the limit's count.
    recent: VecDeque<Tick>,
}

impl History {
    /// Moves the window by `gap`: frozen time counts for nothing, or a thaw would forgive every crash before it.
    pub(crate) fn shift(&mut self, gap: Span) {
        for at in &mut self.recent {
            *at = at.after(gap);
        }
    }

    /// Decides what comes after a run that lasted `lasted` and ended as `end`.
    pub(crate) fn judge(&mut self, plan: &RestartPlan, now: Tick, end: End, lasted: Span, rng: &mut Rng) -> Verdict {
        let wanted = match (plan.policy, end) {
            (RestartPolicy::Never, _) => false,
            (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, End::Ttl | End::Unhealthy | End::SpawnFailed) => {
                true
            }
            (RestartPolicy::OnFailure, End::Exit(exit)) => exit != Exit::Code(0),
        };
        if !wanted {
            return Verdict::End;
        }
        if end == End::Ttl {
            self.attempt = 0;
            return Verdict::Restart(Span::ZERO);
        }
        if let Some(limit) = plan.limit {
            while self.recent.front().is_some_and(|&at| now.since(at) >= limit.within) {
                self.recent.pop_front();
            }
            if u32::try_from(self.recent.len()).unwrap_or(u32::MAX) >= limit.count {
                return match limit.then {
                    LimitAction::GiveUp => Verdict::GiveUp,
                    LimitAction::EndContainer => Verdict::EndContainer,
                };
            }
            self.recent.push_back(now);
        }
        if end != End::SpawnFailed && lasted >= plan.backoff.reset_after {
            self.attempt = 0;
        }
        let wait = wait(&plan.backoff, self.attempt, rng);
        self.attempt = self.attempt.saturating_add(1);
        Verdict::Restart(wait)
    }
}

/// The wait before restart number `attempt` (from 0) in a row.
fn wait(plan: &BackoffPlan, attempt: u32, rng: &mut Rng) -> Span {
    let cap = plan.cap.max(plan.initial).0;
    let mut full = plan.initial.0;
    // Ends early: a wait that no longer grows, at the cap or rounded down to itself, stays where it is.
    for _ in 0..attempt {
        let longer = scale(full, plan.factor).min(cap);
        if longer <= full {
            break;
        }
        full = longer;
    }
    let longest_cut = scale(full, plan.jitter.min(1000));
    Span(full.saturating_sub(rng.up_to(longest_cut)))
}

/// `value` times `thousandths` / 1000, saturating.
fn scale(value: u64, thousandths: u32) -> u64 {
    let product = u128::from(value) * u128::from(thousandths) / 1000;
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{End, History, Verdict, wait};
    use crate::event::Exit;
    use crate::plan::{BackoffPlan, LimitAction, RestartLimit, RestartPlan, RestartPolicy};
    use crate::rng::Rng;
    use crate::tick::{Span, Tick};

    const BACKOFF: BackoffPlan = BackoffPlan {
        initial: Span::from_millis(200),
        factor: 2000,
        cap: Span::from_secs(30),
        jitter: 0,
        reset_after: Span::from_secs(60),
    };
    const FAILED: End = End::Exit(Exit::Code(1));

    fn plan(policy: RestartPolicy, limit: Option<RestartLimit>) -> RestartPlan {
        RestartPlan { policy, backoff: BACKOFF, limit }
    }

    #[test]
    fn doubles_up_to_the_cap() {
        let mut rng = Rng::new(1);
        for (attempt, millis) in (0..).zip([200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]) {
            assert_eq!(wait(&BACKOFF, attempt, &mut rng), Span::from_millis(millis));
        }
        assert_eq!(wait(&BACKOFF, u32::MAX, &mut rng), Span::from_secs(30));
    }

    #[test]
    fn jitter_only_shortens() {
        let mut rng = Rng::new(2);
        let jittered = BackoffPlan { jitter: 250, ..BACKOFF };
        for _ in 0..1000 {
            let got = wait(&jittered, 1, &mut rng).0;
            assert!((300_000_000..=400_000_000).contains(&got), "{got}");
        }
    }

    #[test]
    fn a_long_run_resets_the_wait() {
        let mut history = History::default();
        let mut rng = Rng::new(3);
        let plan = plan(RestartPolicy::Always, None);
        let mut judge = |lasted| history.judge(&plan, Tick(0), FAILED, lasted, &mut rng);
        assert_eq!(judge(Span::ZERO), Verdict::Restart(Span::from_millis(200)));
        assert_eq!(judge(Span::ZERO), Verdict::Restart(Span::from_millis(400)));
        assert_eq!(judge(Span::from_secs(60)), Verdict::Restart(Span::from_millis(200)));
    }

    #[test]
    fn policies() {
        let mut rng = Rng::new(4);
        let mut judge = |policy, end| {
            !matches!(History::default().judge(&plan(policy, None), Tick(0), end, Span::ZERO, &mut rng), Verdict::End)
        };
        for end in [FAILED, End::Exit(Exit::Code(0)), End::Ttl, End::Unhealthy, End::SpawnFailed] {
            assert!(!judge(RestartPolicy::Never, end));
            assert!(judge(RestartPolicy::Always, end));
            assert_eq!(judge(RestartPolicy::OnFailure, end), end != End::Exit(Exit::Code(0)));
        }
    }

    #[test]
    fn the_limit_slides() {
        let mut history = History::default();
        let mut rng = Rng::new(5);
        let limit = RestartLimit { count: 2, within: Span::from_secs(10), then: LimitAction::GiveUp };
        let plan = plan(RestartPolicy::Always, Some(limit));
        let mut judge = |seconds| {
            let now = Tick(0).after(Span::from_secs(seconds));
            history.judge(&plan, now, FAILED, Span::ZERO, &mut rng)
        };
        assert!(matches!(judge(0), Verdict::Restart(_)));
        assert!(matches!(judge(5), Verdict::Restart(_)));
        assert_eq!(judge(9), Verdict::GiveUp);
        assert!(matches!(judge(10), Verdict::Restart(_)), "the first restart has left the window");
        assert_eq!(judge(11), Verdict::GiveUp);
    }
}
