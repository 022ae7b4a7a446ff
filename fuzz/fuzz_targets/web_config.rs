//! The fuzz target `web_config` of `netmon::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netmon::fuzzing::run("web_config", data));
