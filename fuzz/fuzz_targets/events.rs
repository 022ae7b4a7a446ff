//! The fuzz target `events` of `netmon::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netmon::fuzzing::run("events", data));
