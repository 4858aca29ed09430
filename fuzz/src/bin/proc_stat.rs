#![no_main]
//! libFuzzer's way into [`hilum_fuzz::proc_stat`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::proc_stat(input));
