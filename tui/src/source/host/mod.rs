//! Host data, apart from the probes.
pub mod btf;
pub mod cgroup;
pub(crate) mod clock;
pub(crate) mod confine;
pub mod files;
pub(crate) mod invoker;
pub(crate) mod lockdown;
pub(crate) mod machine;
pub(crate) mod maps;
pub(crate) mod own_id;
pub(crate) mod privilege;
pub(crate) mod procfs;
mod program;
pub(crate) mod users;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file's first `most` bytes. Files that others write are never read without a bound.
fn read_bounded(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text without the white space around it: how the kernel writes single values.
fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// A decimal number; anything else is none.
fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
