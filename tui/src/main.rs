//! The `tracetui` binary.
fn main() {}
