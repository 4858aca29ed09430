//! Which process is whose: the one place that turns a pid into a service's life and back.
//!
//! A leader is in the table from its spawn to its reaping, so its pid cannot mean another process. Its group may outlive it; a group
//! is kept until it has no member left.

use hilum_engine::{Incarnation, ServiceId, Signal};
use hilum_sys::process::{self, Target};
use hilum_sys::{child::Child, crash};

/// A leader that has not been reaped.
#[derive(Debug)]
struct Leader {
    service: ServiceId,
    run: Incarnation,
    child: Child,
    /// It leads a process group of its own, of the same number.
    own_group: bool,
}

/// A group whose leader has been reaped.
#[derive(Debug)]
struct Leftover {
    service: ServiceId,
    run: Incarnation,
    group: i32,
}

/// Leaders and what they left.
#[derive(Debug, Default)]
pub(crate) struct RunTable {
    leaders: Vec<Leader>,
    leftovers: Vec<Leftover>,
}

impl RunTable {
    /// Notes a spawned leader.
    pub(crate) fn insert(&mut self, service: ServiceId, run: Incarnation, child: Child, own_group: bool) {
        crash::register_group(child.pid);
        self.leaders.push(Leader { service, run, child, own_group });
    }

    /// Whose leader a pid is.
    #[must_use]
    pub(crate) fn leader(&self, pid: i32) -> Option<(ServiceId, Incarnation)> {
        self.leaders.iter().find(|leader| leader.child.pid == pid).map(|leader| (leader.service, leader.run))
    }

    /// The leader's pid of a run that has not ended.
    #[must_use]
    pub(crate) fn pid(&self, service: ServiceId, run: Incarnation) -> Option<i32> {
        let leader = self.leaders.iter().find(|leader| leader.service == service && leader.run == run);
        leader.map(|leader| leader.child.pid)
    }

    /// Forgets a leader that was just reaped. Returns whose it was and whether its group goes on without it.
    pub(crate) fn remove(&mut self, pid: i32) -> Option<(ServiceId, Incarnation, bool)> {
        let at = self.leaders.iter().position(|leader| leader.child.pid == pid)?;
        let leader = self.leaders.swap_remove(at);
        let group_left = leader.own_group && process::group_exists(pid);
        if group_left {
            self.leftovers.push(Leftover { service: leader.service, run: leader.run, group: pid });
        } else {
            crash::unregister_group(pid);
        }
        Some((leader.service, leader.run, group_left))
    }

    /// Forgets groups that have no member left and returns whose they were.
    pub(crate) fn sweep(&mut self) -> Vec<(ServiceId, Incarnation)> {
        let mut gone = Vec::new();
        self.leftovers.retain(|leftover| {
            let there = process::group_exists(leftover.group);
            if !there {
                crash::unregister_group(leftover.group);
                gone.push((leftover.service, leftover.run));
            }
            there
        });
        gone
    }

    /// Signals a run's leader. One that was reaped is left alone.
    pub(crate) fn signal_leader(&self, service: ServiceId, run: Incarnation, signal: Signal) -> std::io::Result<()> {
        match self.leaders.iter().find(|leader| leader.service == service && leader.run == run) {
            Some(leader) => leader.child.signal(signal.0),
            None => Ok(()),
        }
    }

    /// Signals a run's group; only the leader where it shares PID 1's own.
    pub(crate) fn signal_group(&self, service: ServiceId, run: Incarnation, signal: Signal) -> std::io::Result<()> {
        let leader = self.leaders.iter().find(|leader| leader.service == service && leader.run == run);
        let leftover = self.leftovers.iter().find(|left| left.service == service && left.run == run);
        match (leader, leftover) {
            (Some(leader), _) if leader.own_group => process::signal(Target::Group(leader.child.pid), signal.0),
            (Some(_), _) => self.signal_leader(service, run, signal),
            (None, Some(leftover)) => process::signal(Target::Group(leftover.group), signal.0),
            (None, None) => Ok(()),
        }
    }

    /// Every group and lone leader there is, for a signal to all where `kill(-1)` would reach strangers.
    pub(crate) fn signal_every(&self, signal: Signal) {
        for leader in &self.leaders {
            let _ = self.signal_group(leader.service, leader.run, signal);
        }
        for leftover in &self.leftovers {
            let _ = process::signal(Target::Group(leftover.group), signal.0);
        }
    }
}
