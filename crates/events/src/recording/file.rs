//! A recording file: whether a process is writing it, and its blocks.
//!
//! The writer holds a lock on the open file (an open file description lock, fcntl(2)). The kernel releases it with the last
//! descriptor, even after a kill. A reader only tests the lock and takes none.

use super::block::{BlockHeader, Contents, FileHeader, HEADER, OpenError, Unsealer};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::{Arc, OnceLock};

/// Locks a file for writing until it is closed. Returns `false` if another process holds a lock on it, or the file system has none.
pub fn lock(file: &File) -> bool {
    call(file, libc::F_OFD_SETLK, libc::F_WRLCK).is_ok()
}

/// Whether another process is writing a recording into this file, or is about to. Locks of readers and of other programs do not
/// count. A lock on another machine may be unknown here.
pub fn is_being_written(file: &File) -> io::Result<bool> {
    // The lock of a process has the id of the process, the lock of an open file has none.
    let locked = call(file, libc::F_OFD_GETLK, libc::F_RDLCK)
        .is_ok_and(|lock| libc::c_int::from(lock.l_type) == libc::F_WRLCK && lock.l_pid == -1);
    if !locked {
        return Ok(false);
    }
    match RecordingFile::open(file.try_clone()?) {
        Ok(recording) => Ok(!recording.is_complete()?),
        // A writer takes the lock before it writes the header.
        Err(_) => Ok(length(file)? < HEADER as u64),
    }
}

fn call(file: &File, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::flock> {
    // The whole file, however long it becomes. SAFETY: flock is plain integers, for which zero is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and both commands take a pointer to a flock, which outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock),
    }
}

/// Reads some bytes. A page that the disk cannot read becomes zeros, which are never a block: it counts as damaged.
fn read_some(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    /// The unit in which the kernel reads.
    const PAGE: u64 = 4096;
    const OF_DISK: [Errno; 6] = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO, Errno::UCLEAN, Errno::BADMSG];
    let is_of_disk = |error: &io::Error| OF_DISK.iter().any(|of| error.raw_os_error() == Some(of.raw_os_error()));
    let page = bytes.len().min((PAGE - at % PAGE) as usize);
    match file.read_at(bytes, at) {
        Err(error) if is_of_disk(&error) => match file.read_at(&mut bytes[..page], at) {
            Err(error) if is_of_disk(&error) => {
                bytes[..page].fill(0);
                Ok(page)
            }
            read => read,
        },
        read => read,
    }
}

/// An open recording file. Clones share it.
#[derive(Clone, Debug)]
pub struct RecordingFile {
    /// All clones share its position.
    pub file: Arc<File>,
    pub header: FileHeader,
    /// Its size when it was opened, in bytes.
    pub size: u64,
    /// The frames of the first block.
    first: Arc<OnceLock<Vec<u8>>>,
}

impl RecordingFile {
    pub fn open(file: File) -> Result<RecordingFile, OpenError> {
        let mut start = [0; HEADER];
        let read = file.read_at(&mut start, 0)?;
        let header = FileHeader::read(&start[..read])?;
        let size = length(&file)?;
        Ok(RecordingFile { file: Arc::new(file), header, size, first: Arc::default() })
    }

    /// Reads as many bytes as there are.
    pub fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match read_some(&self.file, rest, at.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The header of the block at an offset. `None` if there is none.
    pub(super) fn block_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let mut bytes = [0; HEADER];
        let length = self.read_at(at, &mut bytes)?;
        Ok(BlockHeader::read(&bytes[..length], self.header.short_id()))
    }

    /// The contents of the block at an offset, with this header. `None` if `unsealer` cannot read it.
    pub(super) fn contents(
        &self,
        at: u64,
        header: &BlockHeader,
        unsealer: &mut Unsealer,
    ) -> io::Result<Option<Vec<u8>>> {
        let (payload, mut contents) = (self.payload(at, header)?, Vec::new());
        Ok(unsealer.frames(header, &payload, &mut contents).is_ok().then_some(contents))
    }

    /// The payload of the block at an offset, with this header; less if the file ends in it.
    pub(super) fn payload(&self, at: u64, header: &BlockHeader) -> io::Result<Vec<u8>> {
        let mut payload = vec![0; header.stored as usize];
        let length = self.read_at(at + HEADER as u64, &mut payload)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// An unsealer for the blocks from an offset on, states among them.
    pub fn unsealer_at(&self, at: u64) -> Unsealer {
        let (first, mut unsealer) = (HEADER as u64, Unsealer::default());
        let read = || {
            let header = self.block_header(first).ok()??;
            self.contents(first, &header, &mut Unsealer::default()).ok()?
        };
        if at > first {
            unsealer.begin(self.first.get_or_init(|| read().unwrap_or_default()));
        }
        unsealer
    }

    /// The header of the last block of a recording that ended properly, if the file ends with it.
    pub(super) fn summary(&self) -> io::Result<Option<BlockHeader>> {
        let Some(at) = self.size.checked_sub(HEADER as u64) else { return Ok(None) };
        let block = self.block_header(at)?;
        Ok(block.filter(|block| block.contents == Contents::Summary as u16))
    }

    /// Whether the file ends with the end of the recording.
    pub fn is_complete(&self) -> io::Result<bool> {
        Ok(self.summary()?.is_some())
    }
}

/// Reads a recording file from an offset on. Clones of a file share their position, so this reader keeps its own.
pub struct FileFrom {
    file: RecordingFile,
    at: u64,
}

impl FileFrom {
    /// Reads from an offset on, in bytes.
    pub fn new(file: RecordingFile, at: u64) -> FileFrom {
        FileFrom { file, at }
    }
}

impl Read for FileFrom {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = read_some(&self.file.file, bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The size of a file or a block device, in bytes.
fn length(file: &File) -> io::Result<u64> {
    let found = file.metadata()?;
    match found.file_type().is_block_device() {
        true => Ok(seek(file, SeekFrom::End(0))?),
        false => Ok(found.len()),
    }
}
