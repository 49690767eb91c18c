//! libFuzzer's way into `monshm_fuzzing::ring_ends`, where the body is.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| monshm_fuzzing::ring_ends::run(input));
