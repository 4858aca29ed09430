#![no_main]
//! libFuzzer's way into [`hilum_fuzz::http_head`].

libfuzzer_sys::fuzz_target!(|input: &[u8]| hilum_fuzz::http_head(input));
