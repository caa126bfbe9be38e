//! The bytes of a BTF: a copy, or the kernel's own, mapped.

use crate::mmap::Mapping;
use std::ops::Deref;

pub(super) enum Bytes {
    Read(Vec<u8>),
    /// A file of sysfs, which does not change.
    Mapped(Mapping),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Read(bytes) => bytes,
            // SAFETY: the kernel never changes them.
            Bytes::Mapped(mapping) => unsafe { mapping.bytes(0, mapping.len()) },
        }
    }
}
