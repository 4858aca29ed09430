#![no_main]
//! libFuzzer's way into [`hilum_fuzz::wire_frames`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::wire_frames(input));
