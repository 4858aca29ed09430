#![no_main]
//! libFuzzer's way into [`hilum_fuzz::host_calls`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::host_calls(input));
