//! A recording file that may still be growing: whether a process is writing it, how to follow it, and how to skip the parts that
//! the disk cannot read.
//!
//! The writer holds a lock on the open file (an open file description lock, fcntl(2)). The kernel releases it with the last
//! descriptor, even after a kill. A reader only tests the lock and takes none.

use super::block::{BlockHeader, Contents, FileHeader, HEADER, OpenError, Unsealer};
use super::disk::{self, Unreadable};
use crate::limits;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The time between two checks of a followed file.
pub const POLL: Duration = Duration::from_millis(200);

/// File systems whose locks other machines may not see (statfs(2)): NFS, SMB, 9P, FUSE, Ceph, AFS, OCFS2, GFS2.
const SHARED: [u32; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x6573_5546,
    0x00c3_6400,
    0x5346_414f,
    0x7461_636f,
    0x0116_1970,
];

/// Whether a process is writing a recording file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    Now,
    Over,
    /// Unknown: the file system has no locks, or the file was written through a redirection or by an early version.
    Unknown,
}

/// Locks a file for writing until it is closed. Returns `false` if the lock does not show all readers that the file is being
/// written: some may not see the lock, or another process holds one on the file.
pub fn lock(file: &File) -> bool {
    call(file, libc::F_OFD_SETLK, libc::F_WRLCK).is_ok() && !is_shared(file)
}

/// Whether another process holds a lock on a file that keeps [`lock`] from taking one.
pub fn is_locked_by_another(file: &File) -> bool {
    let refused = call(file, libc::F_OFD_SETLK, libc::F_WRLCK).err();
    refused.is_some_and(|error| matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)))
}

/// Whether another process is writing a recording into this file, or is about to. Locks of readers and of other programs do not
/// count.
pub fn is_being_written(file: &File) -> io::Result<bool> {
    if !has_writers_lock(file).unwrap_or(false) {
        return Ok(false);
    }
    match RecordingFile::open(file.try_clone()?) {
        Ok(recording) => Ok((recording.header.is_locked() || is_shared(file)) && recording.summary()?.is_none()),
        // A writer takes the lock before it writes the header.
        Err(_) => Ok(length(file)? < HEADER as u64),
    }
}

/// Whether another open file has a write lock on this one, as the writer of a recording takes it.
fn has_writers_lock(file: &File) -> io::Result<bool> {
    let lock = call(file, libc::F_OFD_GETLK, libc::F_RDLCK)?;
    // The lock of a process has the id of the process, the lock of an open file has none. The sort of a lock on another machine is
    // unknown.
    let of_file = lock.l_pid == -1 || is_shared(file);
    Ok(libc::c_int::from(lock.l_type) == libc::F_WRLCK && of_file)
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

fn is_shared(file: &File) -> bool {
    // If the call fails, the locks of the file system are unknown.
    rustix::fs::fstatfs(file).map_or(true, |found| SHARED.contains(&(found.f_type as u32)))
}

/// An open recording file. Clones share it.
#[derive(Clone, Debug)]
pub struct RecordingFile {
    /// All clones share its position.
    pub file: Arc<File>,
    pub header: FileHeader,
    /// The largest size seen, in bytes.
    pub size: u64,
    /// The frames of the first block.
    first: Arc<OnceLock<Vec<u8>>>,
}

impl RecordingFile {
    pub fn open(file: File) -> Result<RecordingFile, OpenError> {
        let header = FileHeader::read(&start_of(&file)?)?;
        let size = length(&file)?;
        Ok(RecordingFile { file: Arc::new(file), header, size, first: Arc::default() })
    }

    pub fn writing(&self) -> Writing {
        match has_writers_lock(&self.file) {
            Ok(true) => Writing::Now,
            Ok(false) if self.header.is_locked() && !is_shared(&self.file) => Writing::Over,
            _ => Writing::Unknown,
        }
    }

    /// Reads as many bytes as there are. Unreadable parts become zeros, and their offset and length in bytes are passed to `bad`.
    /// Fails if the file cannot be read for another reason.
    pub fn read_at(&self, at: u64, bytes: &mut [u8], bad: &mut dyn FnMut(u64, u64)) -> io::Result<usize> {
        disk::read_at(|bytes, at| self.file.read_at(bytes, at), at, bytes, bad)
    }

    /// The header of the block at an offset. `None` if there is none.
    pub(super) fn block_header(&self, at: u64) -> io::Result<Option<BlockHeader>> {
        let mut bytes = [0; HEADER];
        let length = self.read_at(at, &mut bytes, &mut |_, _| {})?;
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
        let length = self.read_at(at + HEADER as u64, &mut payload, &mut |_, _| {})?;
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

    /// The current size of the file in bytes.
    /// Fails if the file is shorter than before.
    fn size_now(&mut self) -> io::Result<u64> {
        let size = length(&self.file)?;
        if size < self.size {
            return Err(io::Error::other(format!("the file was truncated to {size} bytes while being read")));
        }
        self.size = size;
        Ok(size)
    }

    /// The current size of the file in bytes, after a check that it is still the file that was opened.
    /// Fails if the file is shorter than before, has another header, or cannot be read.
    pub fn check(&mut self) -> io::Result<u64> {
        let size = self.size_now()?;
        match FileHeader::read(&start_of(&self.file)?) {
            Ok(header) if header == self.header => Ok(size),
            _ => Err(io::Error::other("the file was overwritten while being read")),
        }
    }

    /// The offset of the next data at or after an offset, or the end of the file if only a hole follows. On file systems without
    /// holes, the offset itself.
    pub(super) fn data_from(&self, at: u64) -> u64 {
        // Read before the seek, so that data appended later is not skipped.
        let Ok(size) = length(&self.file) else { return at };
        match seek(&*self.file, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(Errno::NXIO) => size.max(at),
            Err(_) => at,
        }
    }

    /// The offset of the next hole at or after an offset: the offset itself if it is in a hole, the end of the file if no hole
    /// follows. `None` if the file system does not report holes.
    pub(super) fn hole_from(&self, at: u64) -> Option<u64> {
        seek(&*self.file, SeekFrom::Hole(at)).ok()
    }

    /// The header of the last block of a recording that ended properly, if the file ends with it.
    pub(super) fn summary(&self) -> io::Result<Option<BlockHeader>> {
        let Some(at) = self.size.checked_sub(HEADER as u64) else { return Ok(None) };
        let block = self.block_header(at)?;
        Ok(block.filter(|block| block.contents == Contents::Summary as u16))
    }
}

/// A recording file from an offset on. Clones of a file share their position, so this reader keeps its own. Unreadable parts are
/// read as zeros, which are never a block.
///
/// It is an error if the file becomes shorter or gets another header during the reading. At the end of a followed file, a read
/// fails with [`ErrorKind::WouldBlock`] while the file may still grow.
pub struct FileFrom {
    file: RecordingFile,
    at: Arc<AtomicU64>,
    follows: bool,
    /// Whether the file may have changed since the last check.
    waited: bool,
    /// The last bytes read, at most [`LAST`], and the offset of their end. Kept only if the file is followed.
    last: Vec<u8>,
    last_end: u64,
    /// The offset of the next hole, if known. Anything after it is unknown.
    hole: u64,
    /// The number of consecutive unreadable bytes.
    row: u64,
    unreadable: Unreadable,
}

/// The position of a [`FileFrom`]. Its reader moves it over holes.
pub struct Sparse {
    file: RecordingFile,
    at: Arc<AtomicU64>,
    /// The offset of the next hole.
    hole: u64,
}

impl Sparse {
    /// Moves over the hole at this position. Returns its size in bytes.
    pub(super) fn pass(&mut self) -> u64 {
        let at = self.at.load(Ordering::Relaxed);
        let data = self.file.data_from(at);
        self.at.store(data, Ordering::Relaxed);
        data - at
    }

    /// The bytes of data before the next hole, according to the file system.
    pub(super) fn data(&mut self) -> u64 {
        let at = self.at.load(Ordering::Relaxed);
        if self.hole <= at {
            self.hole = self.file.hole_from(at).unwrap_or(u64::MAX);
        }
        self.hole.saturating_sub(at)
    }
}

/// How many bytes are read again after a wait. A file that was truncated and rewritten has zeros there, even if it is longer than
/// before. No block has so many consecutive zeros: an index has up to 400.
const LAST: usize = 512;

impl FileFrom {
    /// Reads from an offset on, in bytes.
    pub fn new(file: RecordingFile, at: u64, unreadable: Unreadable) -> FileFrom {
        let (at, last) = (Arc::new(at.into()), Vec::new());
        FileFrom { file, at, follows: false, waited: false, last, last_end: 0, hole: 0, row: 0, unreadable }
    }

    /// A handle that moves the position over the holes of a sparse file.
    pub fn holes(&self) -> Sparse {
        Sparse { file: self.file.clone(), at: Arc::clone(&self.at), hole: 0 }
    }

    /// Makes the reader wait for more at the end.
    pub fn following(self) -> FileFrom {
        FileFrom { follows: true, ..self }
    }

    fn read_on(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // Limits an unreadable page to the size of the file.
        let at = self.at.load(Ordering::Relaxed);
        let left = self.file.size_now()?.saturating_sub(at);
        let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (zeros, most) = self.stretch(at, most);
        let bytes = bytes.get_mut(..most).unwrap_or_default();
        let mut bad = 0;
        let read = if zeros {
            bytes.fill(0);
            most
        } else {
            self.file.read_at(at, bytes, &mut |offset, length| {
                self.unreadable.add(offset, length);
                bad += length;
            })?
        };
        self.row = if bad == read as u64 { self.row + bad } else { bad };
        if self.row > limits::UNREADABLE {
            return Err(Errno::IO.into());
        }
        self.at.store(at + read as u64, Ordering::Relaxed);
        if self.follows {
            self.last_end = at + read as u64;
            self.last.extend_from_slice(bytes.get(read.saturating_sub(LAST)..read).unwrap_or_default());
            self.last.drain(..self.last.len().saturating_sub(LAST));
        }
        Ok(read)
    }

    /// Whether a hole is at an offset, and how many of `most` bytes lie in it, or before the next one. The kernel would fill its
    /// cache with zeros if the hole were read.
    fn stretch(&mut self, at: u64, most: usize) -> (bool, usize) {
        let until = |end: u64| most.min(usize::try_from(end - at).unwrap_or(usize::MAX));
        if at >= self.hole {
            let data = self.file.data_from(at);
            if data > at {
                return (true, until(data));
            }
            // Without holes, the data extends to the current end of the file.
            self.hole = self.file.hole_from(at).filter(|hole| *hole > at).unwrap_or(u64::MAX);
        }
        (false, until(self.hole))
    }

    /// Checks that the file is still the one read so far.
    fn check(&mut self) -> io::Result<()> {
        self.file.check()?;
        let (mut bytes, mut whole) = ([0; LAST], true);
        let bytes = bytes.get_mut(..self.last.len()).unwrap_or_default();
        let from = self.last_end.saturating_sub(bytes.len() as u64);
        self.file.read_at(from, bytes, &mut |_, _| whole = false)?;
        match whole && *bytes != *self.last {
            true => Err(io::Error::other("the file was truncated or overwritten while being read")),
            false => Ok(()),
        }
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

fn start_of(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

impl Read for FileFrom {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.waited) {
            self.check()?;
        }
        let read = self.read_on(bytes)?;
        if read > 0 || bytes.is_empty() {
            return Ok(read);
        }
        self.file.check()?;
        if !self.follows {
            return Ok(0);
        }
        self.waited = match self.file.writing() {
            Writing::Now => true,
            Writing::Over => false,
            Writing::Unknown => self.file.summary()?.is_none(),
        };
        if self.waited {
            return Err(ErrorKind::WouldBlock.into());
        }
        // The data written before the writer ended.
        self.read_on(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes as _;

    #[test]
    fn holes_are_zeros_that_are_not_read() {
        let path = std::env::temp_dir().join(format!("tracetui-holes-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("room");
        let header = FileHeader::new([7; 16], 0);
        file.write_all_at(header.as_bytes(), 0).expect("room");
        for at in [1 << 20, 3 << 20] {
            file.write_all_at(b"data", at).expect("room");
        }
        file.set_len(4 << 20).expect("room");
        let whole = std::fs::read(&path).expect("there");
        std::fs::remove_file(&path).expect("ours");
        let recording = RecordingFile::open(file).expect("a recording");
        let mut reader = FileFrom::new(recording.clone(), 0, Unreadable::default());
        if recording.hole_from(0).is_some_and(|hole| hole < 1 << 20) {
            assert_eq!(reader.stretch(512 << 10, 1 << 20), (true, 512 << 10));
        }
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("readable");
        assert!(read == whole);
    }
}
