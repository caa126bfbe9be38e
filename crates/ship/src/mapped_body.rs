//! A file as the contents of a request, without a copy in memory.

use bytes::Bytes;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::ptr::NonNull;

/// Maps a file that has no name any more and that nobody will write to.
/// Fails if there is not enough address space.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is new, so it overlaps no other memory.
    let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
    let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("a mapping at address 0"))?;
    Ok(Bytes::from_owner(Mapped { start, length }))
}

struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: nobody writes to the memory, and it belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping has this length until the drop. The file has no name, and this process does not write to it or
        // shorten it after its conversion.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it is left. It fails only for a range that is not mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
