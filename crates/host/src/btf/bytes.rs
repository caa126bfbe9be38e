//! The bytes of a BTF: a copy, or the kernel's own, mapped.

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::ops::Deref;

pub(super) enum Bytes {
    Read(Vec<u8>),
    Mapped(Mapped),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Read(bytes) => bytes,
            // SAFETY: the kernel maps this number of bytes for reading, until `self` is dropped. It never changes them.
            Bytes::Mapped(mapped) => unsafe { std::slice::from_raw_parts(mapped.at.cast(), mapped.len) },
        }
    }
}

/// The kernel's own BTF, mapped into memory.
pub(super) struct Mapped {
    at: *mut libc::c_void,
    len: usize,
}

// SAFETY: the memory is only read, and unmapped by the last owner.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps [`RUNNING`](super::RUNNING), of `len` bytes (6.16+,
    /// [`btf_sysfs_vmlinux_mmap`](https://elixir.bootlin.com/linux/v6.16/source/kernel/bpf/sysfs_btf.c)).
    ///
    /// # Safety
    /// The file must be in sysfs. Any other file may become shorter, or change.
    pub(super) unsafe fn new(file: &File, len: usize) -> io::Result<Mapped> {
        // SAFETY: a new mapping touches no other memory.
        let at = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        Ok(Mapped { at, len })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: `new` mapped this memory, and nothing else has its address. A failure leaves it mapped.
        let _ = unsafe { munmap(self.at, self.len) };
    }
}
