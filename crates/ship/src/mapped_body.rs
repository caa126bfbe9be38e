//! A file as the contents of a request, without a copy in memory.

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use tracetui_host::mmap::Mapping;

/// Maps a file that has no name any more and that nobody will write to.
/// Fails if there is not enough address space.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    match usize::try_from(file.metadata()?.len()).map_err(io::Error::other)? {
        0 => Ok(Bytes::new()),
        length => Ok(Bytes::from_owner(Mapped(Mapping::new(file.as_fd(), 0, length, false)?))),
    }
}

struct Mapped(Mapping);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the file has no name, and this process does not write to it or shorten it after its conversion.
        unsafe { self.0.bytes(0, self.0.len()) }
    }
}
