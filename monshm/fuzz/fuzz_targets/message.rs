//! libFuzzer's way into `monshm_fuzzing::message`, where the body stands.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| monshm_fuzzing::message::run(input));
