#![no_main]
//! libFuzzer's way into [`hilum_fuzz::command_line`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::command_line(input));
