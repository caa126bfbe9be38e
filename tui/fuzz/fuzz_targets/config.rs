#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tracetui::fuzz::config(data));
