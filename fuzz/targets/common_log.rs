#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| bursar_fuzz::decode(message));
