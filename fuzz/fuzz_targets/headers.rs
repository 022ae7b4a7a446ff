//! The fuzz target `headers` of `netmon::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netmon::fuzzing::run("headers", data));
