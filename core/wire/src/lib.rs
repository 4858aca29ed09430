//! The messages between PID 1 and its workers, and nothing else: what is said, how it is put into a frame, and how both sides
//! make sure they speak the same language.
//!
//! A frame is one packet on a `SOCK_SEQPACKET` pair (unix(7)) and one JSON document. The kernel keeps frames apart, so there is no
//! length to parse. Descriptors travel beside a frame as `SCM_RIGHTS`; which message carries how many is said at the message.
//!
//! **Order:** the worker speaks first, [`FromStatus::Hello`] or [`FromSandbox::Hello`]; PID 1 answers with its own hello, or closes the
//! socket on a version it does not know. Then either side may send at any time.
//!
//! Beside them stands the layout of what is bundled with an executable ([`bundle`]), which hilumc writes and hilum reads.
//!
//! This crate does no I/O and trusts no frame: an oversized, malformed or unknown one is an error value.

#![forbid(unsafe_code)]

pub mod bundle;
mod frame;
mod message;
mod report;

pub use frame::{FrameError, MAX_FRAME, decode, encode};
pub use message::{
    Answer, Ask, Ending, FileGrant, FromSandbox, FromStatus, Grants, LoadFailure, Occurrence, Octets, PluginInfo,
    Problem, Series, Subject, ToSandbox, ToStatus, VERSION,
};
pub use report::{
    ExitReport, Mode, Overview, PluginReport, PluginState, ProbeReport, RunReport, ServiceReport, WorkerReport,
};
