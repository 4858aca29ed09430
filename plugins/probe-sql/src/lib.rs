//! Probe: a MySQL or PostgreSQL server answers a query.
#![forbid(unsafe_code)]
