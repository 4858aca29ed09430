#![no_main]
//! libFuzzer's way into [`hilum_fuzz::activation`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::activation(input));
