//! What the tests of several crates share.

use std::io;

/// Reports what the running test does not check on this machine, and why. The message bypasses the output capture of
/// the harness.
pub fn not_checked(why: &str) {
    let thread = std::thread::current();
    let line = format!("not checked: {}: {why}\n", thread.name().unwrap_or("a thread"));
    let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
}
