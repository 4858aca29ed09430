#![no_main]
//! libFuzzer's way into [`hilum_fuzz::engine_events`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::engine_events(input));
