//! The fuzz target `types` of `netmon::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netmon::fuzzing::run("types", data));
