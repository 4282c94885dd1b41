#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynamo_lock_fuzz::answers::check(data));
