#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tracetui::fuzz::inspector(data).lines().for_each(|line| {
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    });
});
