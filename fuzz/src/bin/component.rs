#![no_main]
//! libFuzzer's way into [`hilum_fuzz::component`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::component(input));
