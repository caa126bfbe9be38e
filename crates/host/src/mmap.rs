//! Memory that is shared with the kernel.

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A mapping of a map, a ring or a file of the kernel, until it is dropped.
#[derive(Debug)]
pub struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: concurrent access through `&Mapping` consists of atomic operations, and of reads of what the kernel does not change.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes from byte `offset` on, a multiple of the page size; to be written as well if `writable`.
    pub fn new(fd: BorrowedFd<'_>, offset: usize, len: usize, writable: bool) -> Result<Mapping, Errno> {
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: the kernel chooses the address, so the new mapping replaces no other one.
        let at = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, offset as u64) }?;
        Ok(Mapping { at: NonNull::new(at.cast()).ok_or(Errno::NOMEM)?, len })
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The word of 8 bytes at a byte offset, which is a multiple of 8. It may only be written in a writable mapping.
    ///
    /// # Panics
    /// If it is not in the mapping.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len, "there is no such word");
        // SAFETY: the word is within the mapping and aligned. The kernel writes it as one word.
        unsafe { self.at.add(offset).cast().as_ref() }
    }

    /// The half word of 4 bytes at a byte offset, which is a multiple of 4.
    ///
    /// # Panics
    /// If it is not in the mapping.
    #[inline]
    pub fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "there is no such word");
        // SAFETY: as for `word`.
        unsafe { self.at.add(offset).cast().as_ref() }
    }

    /// The bytes from `offset` on.
    ///
    /// # Panics
    /// If they are not in the mapping.
    ///
    /// # Safety
    /// The kernel must not change them while the result is in use.
    #[inline]
    pub unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset <= self.len && len <= self.len - offset, "there are no such bytes");
        // SAFETY: the bytes are within the mapping, and the caller knows that they do not change.
        unsafe { std::slice::from_raw_parts(self.at.add(offset).as_ptr(), len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped this memory, and no reference to it outlives `self`. A failure leaves it mapped.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}
