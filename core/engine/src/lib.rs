#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]
//! The supervision machine: facts in, orders out.
//!
//! A [`Supervisor`] is made from a [`Plan`] and a seed. The shell feeds it [`Event`]s, each with the time it happened, and carries out the
//! [`Action`]s it answers with. Between events it asks [`Supervisor::next_deadline`] how long it may sleep, and [`Supervisor::status`] what to
//! show. That is the whole interface.
//!
//! # A service's life
//! ```text
//!            spawn ordered          spawned               asked to stop         grace over
//!   Down ───────────────► Starting ────────► Up ───────────────────► Stopping ───────────► Killed
//!                             │               │ exited                   │ exited             │ exited
//!               spawn failed  │               ▼                          ▼                    ▼
//!                             │        group left: Sweeping ◄────────────┴────────────────────┘
//!                             ▼               │ group gone
//!   Starting ◄──────── BackingOff / Ended ◄───┘
//! ```
//! Whether an end leads to `BackingOff` or `Ended` is the restart policy's to say, until the container stops: then it is always
//! `Ended`.
//!
//! # The container's end
//! An essential service that ended for good, the last service's end, or a stop signal begins it. Then: every service is stopped; with
//! `wait_for_descendants`, every other descendant is waited for; with `linger`, the status stays readable a while; [`Action::Exit`].
//!
//! # Rules
//! - It performs no I/O, reads no clock, never panics on input, and depends on nothing: `no_std` makes the compiler the reviewer.
//! - Every run has an [`Incarnation`] and every probe call a [`CallId`]. An answer with an old one is logged and dropped.
//! - A deadline lives in the state that waits for it and dies with that state.
//! - An impossible event is logged as a bug and changes nothing.

extern crate alloc;

mod action;
mod event;
mod id;
mod log;
mod plan;
mod probe;
mod restart;
mod rng;
mod service;
mod status;
mod supervisor;
mod tick;

pub use action::Action;
pub use event::{Event, Exit, Outcome, SpawnFailure};
pub use id::{CallId, Incarnation, Pid, ProbeId, ServiceId, Signal, SignalSet};
pub use log::{Entry, Next, Record, StopReason};
pub use plan::{
    BackoffPlan, EndingPlan, LimitAction, Plan, ProbeKind, ProbePlan, RestartLimit, RestartPlan, RestartPolicy, Scope,
    ServicePlan, SignalPlan, StopPlan, TtlPlan,
};
pub use status::{Phase, ProbeStatus, ServiceStatus, StateName, Status};
pub use supervisor::Supervisor;
pub use tick::{Span, Tick, Wall};
