//! The fake world: a clock that jumps, processes that misbehave, probes that answer when they like, signals from outside.
//!
//! It is honest: whatever it tells the engine is what happened in it, in the order in which it happened. What it does not do: judge. That
//! is `invariants.rs`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use hilum_engine::{
    Action, CallId, Event, Exit, Incarnation, Outcome, Pid, ProbeId, Scope, ServiceId, Signal, Span, SpawnFailure,
    Status, Supervisor, Tick, Wall,
};

pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// What the simulator drives: the engine, or one that a mutation check has tampered with.
pub(crate) trait Machine {
    fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Action>);
    fn next_deadline(&self) -> Option<Tick>;
    fn status(&self) -> Status;
}

impl Machine for Supervisor {
    fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Action>) {
        Supervisor::handle(self, now, event, out);
    }
    fn next_deadline(&self) -> Option<Tick> {
        Supervisor::next_deadline(self)
    }
    fn status(&self) -> Status {
        Supervisor::status(self)
    }
}

/// Chance, from a seed: xorshift64* (Vigna 2016). Not the engine's generator, so that the two do not move in step.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// From 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap_or(0)]
    }

    /// A span that is as often tiny as long.
    pub(crate) fn span(&mut self, most: u64) -> Span {
        let bits = u64::from(64 - most.leading_zeros());
        let cut = self.below(bits.max(1));
        Span(self.below((most >> cut).max(1)))
    }
}

/// How one process takes what happens to it.
#[derive(Clone, Copy)]
struct Temper {
    /// It shrugs off polite signals.
    stubborn: bool,
    /// How long after a polite signal it ends.
    reaction: Span,
    /// How it ends then.
    manner: Option<Exit>,
    /// How long after KILL it is gone; `None`: stuck in the kernel for good.
    death: Option<Span>,
}

/// A process that is not a leader.
struct Member {
    id: u32,
    temper: Temper,
    /// Left the group: only `SignalAll` reaches it.
    stray: bool,
}

struct Process {
    service: ServiceId,
    run: Incarnation,
    alive: bool,
    temper: Temper,
    /// Stopped by job control: does nothing but die of KILL.
    suspended: bool,
    /// How it will end as soon as it is continued.
    held: Option<Exit>,
    members: Vec<Member>,
    /// The shell was told that the leader left a group behind, and not yet that it is gone.
    group_watched: bool,
}

impl Process {
    fn group_left(&self) -> bool {
        self.members.iter().any(|member| !member.stray)
    }
}

/// What will happen.
enum Occurrence {
    /// A fact that needs no look at the world.
    Fact(Event),
    /// A spawn order is carried out.
    Spawn(ServiceId, Incarnation),
    /// A leader ends; `true` for KILL, which a suspended process feels too.
    Leader(Incarnation, ServiceId, Exit, bool),
    /// A member ends.
    Member(Incarnation, ServiceId, u32),
    /// Job control stops a leader.
    Suspend(Incarnation, ServiceId),
    /// The whole container is frozen for this long, of which the shell notices the second part.
    Freeze(Span, Span),
}

struct Planned {
    at: Tick,
    order: u64,
    what: Occurrence,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Planned) -> Ordering {
        // The heap yields its greatest.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// How hard this world is on its processes. Chances are one in so many.
#[derive(Clone, Copy)]
pub(crate) struct Climate {
    pub(crate) stubborn: u64,
    pub(crate) stuck: u64,
    pub(crate) spawn_failure: u64,
    pub(crate) job_control: u64,
    pub(crate) early_death: u64,
    pub(crate) lost_answer: u64,
    pub(crate) late_answer: u64,
    pub(crate) double_answer: u64,
    pub(crate) answer_after_cancel: u64,
    pub(crate) members: u64,
    /// Longest life of a leader that ends by itself.
    pub(crate) life: u64,
}

/// The world.
pub(crate) struct World {
    pub(crate) now: Tick,
    chance: Chance,
    climate: Climate,
    agenda: BinaryHeap<Planned>,
    order: u64,
    processes: Vec<Process>,
    next_pid: i32,
    next_member: u32,
    /// The mood of each probe: 0 well, 1 failing, 2 cannot tell, 3 anything.
    moods: Vec<(ProbeId, u64)>,
    awaiting_descendants: bool,
    /// Frozen time the shell has not noticed, all in all.
    pub(crate) unnoticed: Span,
}

impl World {
    pub(crate) fn new(chance: Chance, climate: Climate, now: Tick) -> World {
        World {
            now,
            chance,
            climate,
            agenda: BinaryHeap::new(),
            order: 0,
            processes: Vec::new(),
            next_pid: 100,
            next_member: 0,
            moods: Vec::new(),
            awaiting_descendants: false,
            unnoticed: Span::ZERO,
        }
    }

    pub(crate) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    fn plan(&mut self, wait: Span, what: Occurrence) {
        self.order += 1;
        self.agenda.push(Planned { at: self.now.after(wait), order: self.order, what });
    }

    /// A signal from outside, this much later.
    pub(crate) fn send(&mut self, wait: Span, signal: Signal) {
        self.plan(wait, Occurrence::Fact(Event::SignalArrived { signal }));
    }

    /// A freeze of the container, this much later.
    pub(crate) fn freeze(&mut self, wait: Span, whole: Span, noticed: Span) {
        self.plan(wait, Occurrence::Freeze(whole, noticed));
    }

    /// A timer that fires although nothing is due, this much later.
    pub(crate) fn fire_early(&mut self, wait: Span) {
        self.plan(wait, Occurrence::Fact(Event::Due));
    }

    /// When the next thing happens by itself.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.agenda.peek().map(|planned| planned.at)
    }

    fn wall(&self) -> Wall {
        Wall(self.now.0.wrapping_add(1_700_000_000 * SECOND))
    }

    /// Lets the next thing happen. `None`: it was nothing the shell would notice.
    pub(crate) fn advance(&mut self) -> Option<Event> {
        let planned = self.agenda.pop()?;
        self.now = self.now.max(planned.at);
        match planned.what {
            Occurrence::Fact(event) => Some(event),
            Occurrence::Spawn(service, run) => Some(self.spawn(service, run)),
            Occurrence::Leader(run, service, exit, by_kill) => self.end_leader(service, run, exit, by_kill),
            Occurrence::Member(run, service, id) => {
                self.end_member(service, run, id);
                None
            }
            Occurrence::Suspend(run, service) => {
                let process = self.process(service, run).filter(|process| process.alive)?;
                process.suspended = true;
                Some(Event::Stopped { service, run })
            }
            Occurrence::Freeze(whole, noticed) => {
                self.now = self.now.after(whole);
                self.unnoticed.0 += whole.0.saturating_sub(noticed.0);
                let agenda = std::mem::take(&mut self.agenda);
                let later = |planned: Planned| Planned { at: planned.at.after(whole), ..planned };
                self.agenda = agenda.into_iter().map(later).collect();
                Some(Event::Thawed { gap: noticed })
            }
        }
    }

    fn process(&mut self, service: ServiceId, run: Incarnation) -> Option<&mut Process> {
        // The wanted one is nearly always among the newest.
        self.processes.iter_mut().rev().find(|process| process.service == service && process.run == run)
    }

    fn temper(&mut self) -> Temper {
        let reaction = Span(self.chance.span(4 * SECOND).0.max(MILLI));
        let code = self.any_code();
        let death = if self.chance.one_in(self.climate.stuck) {
            if self.chance.one_in(2) { None } else { Some(self.chance.span(12 * SECOND)) }
        } else {
            Some(self.chance.span(2 * MILLI))
        };
        Temper {
            stubborn: self.chance.one_in(self.climate.stubborn),
            reaction,
            manner: if self.chance.one_in(2) { Some(Exit::Code(code)) } else { None },
            death,
        }
    }

    fn any_code(&mut self) -> u8 {
        let any = u8::try_from(self.chance.below(256)).unwrap_or(0);
        self.chance.pick(&[0, 0, 1, 2, 42, 143, any])
    }

    fn spawn(&mut self, service: ServiceId, run: Incarnation) -> Event {
        let at = self.wall();
        if self.chance.one_in(self.climate.spawn_failure) {
            let code = self.chance.pick(&[127, 126, 126]);
            return Event::SpawnFailed { service, run, reason: SpawnFailure { code, message: "no".to_owned() }, at };
        }
        let temper = self.temper();
        let mut members = Vec::new();
        for _ in 0..self.chance.below(self.climate.members) {
            let temper = self.temper();
            self.next_member += 1;
            let stray = self.chance.one_in(4);
            members.push(Member { id: self.next_member, temper, stray });
            if self.chance.one_in(2) {
                let life = self.chance.span(self.climate.life);
                self.plan(life, Occurrence::Member(run, service, self.next_member));
            }
        }
        self.processes.push(Process {
            service,
            run,
            alive: true,
            temper,
            suspended: false,
            held: None,
            members,
            group_watched: false,
        });
        if !self.chance.one_in(4) {
            let most = if self.chance.one_in(self.climate.early_death) { SECOND } else { self.climate.life };
            // Now and then dead before anybody looks; not always, or a crash loop would take for ever in no time.
            let least = if self.chance.one_in(8) { 0 } else { 5 * MILLI };
            let life = Span(self.chance.span(most).0.max(least));
            let code = self.any_code();
            let exit = if self.chance.one_in(4) { Exit::Signaled(Signal(11)) } else { Exit::Code(code) };
            self.plan(life, Occurrence::Leader(run, service, exit, false));
        }
        if self.chance.one_in(self.climate.job_control) {
            let wait = self.chance.span(self.climate.life);
            self.plan(wait, Occurrence::Suspend(run, service));
        }
        self.next_pid += 1;
        Event::Spawned { service, run, pid: Pid(self.next_pid), at }
    }

    fn end_leader(&mut self, service: ServiceId, run: Incarnation, exit: Exit, by_kill: bool) -> Option<Event> {
        let at = self.wall();
        // Some of a group notices that its leader is gone and goes too, unseen.
        let goes_too = self.chance.one_in(2);
        let process = self.process(service, run).filter(|process| process.alive)?;
        if process.suspended && !by_kill {
            process.held = Some(exit);
            return None;
        }
        process.alive = false;
        if goes_too {
            process.members.retain(|member| member.stray || member.temper.stubborn);
        }
        let group_left = process.group_left();
        process.group_watched = group_left;
        self.look_for_descendants();
        Some(Event::Exited { service, run, exit, group_left, at })
    }

    fn end_member(&mut self, service: ServiceId, run: Incarnation, id: u32) {
        let notice = self.chance.span(20 * MILLI);
        let Some(process) = self.process(service, run) else { return };
        process.members.retain(|member| member.id != id);
        if process.group_watched && !process.group_left() {
            process.group_watched = false;
            self.plan(notice, Occurrence::Fact(Event::GroupGone { service, run }));
        }
        self.look_for_descendants();
    }

    fn look_for_descendants(&mut self) {
        let nobody = self.processes.iter().all(|process| !process.alive && process.members.is_empty());
        if self.awaiting_descendants && nobody {
            self.awaiting_descendants = false;
            self.plan(Span::ZERO, Occurrence::Fact(Event::DescendantsGone));
        }
    }

    /// Carries out one order.
    pub(crate) fn perform(&mut self, action: &Action) {
        match action {
            Action::Spawn { service, run } => {
                let wait = if self.chance.one_in(3) { self.chance.span(30 * MILLI) } else { Span::ZERO };
                self.plan(wait, Occurrence::Spawn(*service, *run));
            }
            Action::Signal { service, run, signal, scope } => self.signal(*service, *run, *signal, *scope),
            Action::SignalAll { signal } => {
                let all: Vec<_> = self.processes.iter().map(|process| (process.service, process.run)).collect();
                for (service, run) in all {
                    self.signal_leader(service, run, *signal);
                    self.signal_members(service, run, *signal, true);
                }
            }
            Action::AwaitDescendants => {
                self.awaiting_descendants = true;
                self.look_for_descendants();
            }
            Action::RunProbe { probe, run, call, timeout, .. } => self.call(*probe, *run, *call, *timeout),
            Action::CancelProbe { call, .. } => {
                if !self.chance.one_in(self.climate.answer_after_cancel) {
                    let is_answer = |what: &Occurrence| match what {
                        Occurrence::Fact(Event::ProbeAnswered { call: answered, .. }) => answered == call,
                        _ => false,
                    };
                    self.agenda.retain(|planned| !is_answer(&planned.what));
                }
            }
            Action::Suspend | Action::Publish | Action::Log(_) | Action::Exit { .. } => {}
        }
    }

    fn signal(&mut self, service: ServiceId, run: Incarnation, signal: Signal, scope: Scope) {
        self.signal_leader(service, run, signal);
        if scope == Scope::Group {
            self.signal_members(service, run, signal, false);
        }
    }

    fn signal_leader(&mut self, service: ServiceId, run: Incarnation, signal: Signal) {
        let spare = self.chance.one_in(2);
        let Some(process) = self.process(service, run).filter(|process| process.alive) else { return };
        let temper = process.temper;
        let killed = Exit::Signaled(signal);
        match signal {
            Signal::KILL => {
                if let Some(death) = temper.death {
                    self.plan(death, Occurrence::Leader(run, service, killed, true));
                }
            }
            Signal::CONT => {
                process.suspended = false;
                if let Some(exit) = process.held.take() {
                    self.plan(Span::ZERO, Occurrence::Leader(run, service, exit, false));
                }
            }
            Signal(19..=22) => self.plan(Span::ZERO, Occurrence::Suspend(run, service)),
            _ if temper.stubborn => {}
            // USR1 and the like have a handler, most of the time.
            Signal(1 | 10 | 12 | 28) if spare => {}
            _ => {
                let exit = temper.manner.unwrap_or(killed);
                self.plan(temper.reaction, Occurrence::Leader(run, service, exit, false));
            }
        }
    }

    fn signal_members(&mut self, service: ServiceId, run: Incarnation, signal: Signal, strays: bool) {
        let Some(process) = self.process(service, run) else { return };
        let mut deaths = Vec::new();
        for member in process.members.iter().filter(|member| strays || !member.stray) {
            let death = match signal {
                Signal::KILL => member.temper.death,
                Signal(1 | 10 | 12 | 18..=22 | 28) => None,
                _ if member.temper.stubborn => None,
                _ => Some(member.temper.reaction),
            };
            deaths.extend(death.map(|wait| (wait, member.id)));
        }
        for (wait, id) in deaths {
            self.plan(wait, Occurrence::Member(run, service, id));
        }
    }

    fn call(&mut self, probe: ProbeId, run: Incarnation, call: CallId, timeout: Span) {
        let turn = self.chance.one_in(8).then(|| self.chance.below(4));
        let mood = match self.moods.iter_mut().find(|(of, _)| *of == probe) {
            Some((_, mood)) => {
                *mood = turn.unwrap_or(*mood);
                *mood
            }
            None => {
                self.moods.push((probe, turn.unwrap_or(0)));
                turn.unwrap_or(0)
            }
        };
        let mood = if mood == 3 { self.chance.below(3) } else { mood };
        let outcome = match mood {
            0 => Outcome::Pass,
            1 => Outcome::Fail("500".to_owned()),
            _ => Outcome::Unknown("trap".to_owned()),
        };
        if self.chance.one_in(self.climate.lost_answer) {
            return;
        }
        let took = if self.chance.one_in(self.climate.late_answer) {
            Span(timeout.0.saturating_add(self.chance.below(3 * SECOND)))
        } else {
            self.chance.span(timeout.0.saturating_add(1))
        };
        let answer = Event::ProbeAnswered { probe, run, call, outcome, took };
        if self.chance.one_in(self.climate.double_answer) {
            let later = Span(took.0.saturating_add(self.chance.below(SECOND)));
            self.plan(later, Occurrence::Fact(answer.clone()));
        }
        self.plan(took, Occurrence::Fact(answer));
    }
}
