//! Probe: an AMQP 0-9-1 broker lets one log in.
#![forbid(unsafe_code)]
