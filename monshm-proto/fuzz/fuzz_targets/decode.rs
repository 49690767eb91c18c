//! libFuzzer's way into `monshm_fuzzing::decode`, where the body stands.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| monshm_fuzzing::decode::run(input));
