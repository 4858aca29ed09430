//! Every system call hilum makes, and nearly all of its unsafe code.
//!
//! Thin: each function is one thing the kernel does, with typed descriptors, errors as values and the traps written down. It decides
//! nothing and knows none of hilum's other crates. There is no thread anywhere, and nothing here blocks except where its name says
//! so (`poll::wait`, `signal::SignalFd::wait`, `timer::Timer::wait`) and for the moment `child::spawn` needs.
//!
//! Deliberately missing: anything asynchronous, a trait to mock it (tests use the kernel), and wrappers nobody calls.

pub mod channel;
pub mod child;
pub mod clock;
pub mod confine;
pub mod crash;
pub mod executable;
pub mod inherit;
pub mod listen;
pub mod open;
pub mod output;
pub mod pages;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod random;
pub mod reap;
pub mod signal;
mod streams;
pub mod terminal;
pub mod timer;
pub mod tree;
