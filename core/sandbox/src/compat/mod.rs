//! Older majors of the WIT packages, each served by translating it to the one this hilum is written for.

pub(crate) mod v0_0_1;
