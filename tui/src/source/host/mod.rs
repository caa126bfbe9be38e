//! Host data, apart from the probes.
pub mod bpf;
pub mod btf;
pub mod cgroup;
pub(crate) mod clock;
pub(crate) mod confine;
pub mod files;
pub(crate) mod invoker;
pub mod kallsyms;
pub(crate) mod lockdown;
pub(crate) mod lookup;
pub(crate) mod machine;
pub(crate) mod maps;
pub(crate) mod named;
pub(crate) mod own_id;
pub(crate) mod privilege;
pub(crate) mod procfs;
mod program;
pub(crate) mod users;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The first `most` bytes of a file. Files that other processes write are never read without a limit.
fn read_bounded(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text without surrounding white space, which the kernel appends to single values.
fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// Parses a decimal number.
fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
