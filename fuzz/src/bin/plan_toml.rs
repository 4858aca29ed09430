#![no_main]
//! libFuzzer's way into [`hilum_fuzz::plan_toml`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::plan_toml(input));
