//! The fuzz target `settings` of `netmon::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netmon::fuzzing::run("settings", data));
