//! Probe: a Redis server answers a command.
#![forbid(unsafe_code)]
