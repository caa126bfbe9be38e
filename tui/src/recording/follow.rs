//! A recording file, which may still be written: whether a process writes it, reading on as it grows, and passing over what the disk
//! cannot read.
//!
//! The writer holds a lock on the open file (an open file description lock, fcntl(2)). The kernel releases it with the last
//! descriptor, so also after a kill. A reader asks for it and takes none.

use super::block::{BlockHeader, Contents, FileHeader, HEADER};
use super::disk::{self, Unreadable};
use super::index::SUMMARY;
use super::reader::OpenError;
use crate::limits;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time between two looks at a file that is followed.
pub const POLL: Duration = Duration::from_millis(200);

/// File systems whose locks may be unknown to other machines (statfs(2)): NFS, SMB, 9P, FUSE, Ceph, AFS, OCFS2, GFS2.
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

/// Whether a process writes a recording file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// One does.
    Now,
    /// None does any more.
    Over,
    /// That cannot be known: the file system has no locks, the file was written through a redirection or by an early version.
    Unknown,
}

/// Locks a file that is to be written, until it is closed. `false` if that does not show all readers that it is written: others may
/// not see the lock, or somebody else has one on the file.
pub fn lock(file: &File) -> bool {
    call(file, libc::F_OFD_SETLK, libc::F_WRLCK).is_ok() && !is_shared(file)
}

/// Whether somebody else has a lock on a file that keeps [`lock`] from taking one.
pub fn is_locked_by_another(file: &File) -> bool {
    let refused = call(file, libc::F_OFD_SETLK, libc::F_WRLCK).err();
    refused.is_some_and(|error| matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)))
}

/// Whether another process writes a recording into this file, or is about to. The lock of a reader or of another program does not
/// mean that.
///
/// # Errors
/// If the file cannot be read.
pub fn is_being_written(file: &File) -> io::Result<bool> {
    if lock_of(file).ok() != Some(Held::ByWriter) {
        return Ok(false);
    }
    match RecordingFile::open(file.try_clone()?) {
        Ok(recording) => Ok((recording.header.is_locked() || is_shared(file)) && !recording.has_summary()?),
        // The lock comes before the header.
        Err(_) => Ok(length(file)? < HEADER as u64),
    }
}

/// The lock that another open file has on this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// None, or one that the writer of a recording does not take.
    ByNoWriter,
    /// A write lock of an open file.
    ByWriter,
}

fn lock_of(file: &File) -> io::Result<Held> {
    let lock = call(file, libc::F_OFD_GETLK, libc::F_RDLCK)?;
    // A lock of a process has its id, one of an open file has none. Of a lock on another machine, the sort is not known.
    let of_file = lock.l_pid == -1 || is_shared(file);
    let writes = libc::c_int::from(lock.l_type) == libc::F_WRLCK && of_file;
    Ok(if writes { Held::ByWriter } else { Held::ByNoWriter })
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
    // Without an answer, nothing is known of its locks.
    rustix::fs::fstatfs(file).map_or(true, |found| SHARED.contains(&(found.f_type as u32)))
}

/// A recording file as it was opened. Clones share it.
#[derive(Clone, Debug)]
pub struct RecordingFile {
    file: Arc<File>,
    header: FileHeader,
    /// The largest size that was seen.
    size: u64,
}

impl RecordingFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(file: File) -> Result<RecordingFile, OpenError> {
        let header = FileHeader::read(&start_of(&file)?)?;
        let size = length(&file)?;
        Ok(RecordingFile { file: Arc::new(file), header, size })
    }

    /// The file. Its position is that of all clones.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The largest size that was seen, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The header of the file.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Whether a process writes the file.
    pub fn writing(&self) -> Writing {
        match lock_of(&self.file) {
            Ok(Held::ByWriter) => Writing::Now,
            Ok(Held::ByNoWriter) if self.header.is_locked() && !is_shared(&self.file) => Writing::Over,
            _ => Writing::Unknown,
        }
    }

    /// Reads as much as there is. What the disk cannot read is zeros, and passed to `bad` as offset and length, in bytes.
    ///
    /// # Errors
    /// If it cannot be read for another reason.
    pub fn read_at(&self, at: u64, bytes: &mut [u8], bad: &mut dyn FnMut(u64, u64)) -> io::Result<usize> {
        disk::read_at(|bytes, at| self.file.read_at(bytes, at), at, bytes, bad)
    }

    /// Bytes of the file now.
    ///
    /// # Errors
    /// If it is shorter than it was.
    fn size_now(&mut self) -> io::Result<u64> {
        let size = length(&self.file)?;
        if size < self.size {
            return Err(io::Error::other(format!("it was cut to {size} bytes while it was read")));
        }
        self.size = size;
        Ok(size)
    }

    /// Bytes of the file, once it is checked that it is the one that was opened.
    ///
    /// # Errors
    /// If it is shorter than it was, has another header, or cannot be read.
    pub fn check(&mut self) -> io::Result<u64> {
        let size = self.size_now()?;
        match FileHeader::read(&start_of(&self.file)?) {
            Ok(header) if header == self.header => Ok(size),
            _ => Err(io::Error::other("it was overwritten while it was read")),
        }
    }

    /// Where the next data begins, from an offset on; the end of the file if only a hole follows. On file systems without holes,
    /// the offset.
    pub(super) fn data_from(&self, at: u64) -> u64 {
        // Before the seek: what a writer appends afterwards is not passed over.
        let Ok(size) = length(&self.file) else { return at };
        match seek(&*self.file, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(Errno::NXIO) => size.max(at),
            Err(_) => at,
        }
    }

    /// Where the next hole begins, from an offset on: the offset in a hole, the end of the file if none follows. `None` if the file
    /// system does not say.
    pub(super) fn hole_from(&self, at: u64) -> Option<u64> {
        seek(&*self.file, SeekFrom::Hole(at)).ok()
    }

    /// Whether it ends as a recording does.
    fn has_summary(&self) -> io::Result<bool> {
        let Some(at) = self.size.checked_sub(SUMMARY as u64) else { return Ok(false) };
        let mut bytes = [0; HEADER];
        let length = self.file.read_at(&mut bytes, at)?;
        let block = BlockHeader::read(&bytes[..length], self.header.short_id());
        Ok(block.is_some_and(|block| Contents::from(block.contents) == Contents::Summary))
    }
}

/// A recording file from an offset on. Clones of a file share their position, so it has one of its own. What the disk cannot read
/// is read as zeros, which are no block.
///
/// A file that becomes shorter or gets another header while it is read is an error. At the end of one that is followed, reading
/// gives [`ErrorKind::WouldBlock`] for as long as it may grow.
#[derive(Debug)]
pub struct FileFrom {
    file: RecordingFile,
    at: Arc<AtomicU64>,
    follows: bool,
    /// It may have been changed since it was looked at.
    waited: bool,
    /// The bytes that were read last, at most [`LAST`], if it is followed, and where they end.
    last: Vec<u8>,
    last_end: u64,
    /// Bytes in a row that could not be read.
    row: u64,
    unreadable: Unreadable,
}

/// The place of a [`FileFrom`], which its reader moves over holes.
#[derive(Debug)]
pub struct Sparse {
    file: RecordingFile,
    at: Arc<AtomicU64>,
    /// Where the next hole begins.
    hole: u64,
}

impl Sparse {
    /// Moves over the hole at this place; its bytes.
    pub(super) fn pass(&mut self) -> u64 {
        let at = self.at.load(Ordering::Relaxed);
        let data = self.file.data_from(at);
        self.at.store(data, Ordering::Relaxed);
        data - at
    }

    /// Bytes of data before the next hole, as far as the file system says.
    pub(super) fn data(&mut self) -> u64 {
        let at = self.at.load(Ordering::Relaxed);
        if self.hole <= at {
            self.hole = self.file.hole_from(at).unwrap_or(u64::MAX);
        }
        self.hole.saturating_sub(at)
    }
}

/// Bytes that are read again after a wait. A file that was cut and written on has zeros there, also if it is longer than before.
const LAST: usize = 64;

impl FileFrom {
    /// Reads from an offset on, in bytes.
    pub fn new(file: RecordingFile, at: u64, unreadable: Unreadable) -> FileFrom {
        let (at, last) = (Arc::new(at.into()), Vec::new());
        FileFrom { file, at, follows: false, waited: false, last, last_end: 0, row: 0, unreadable }
    }

    /// A way to move it over the holes of a sparse file.
    pub fn holes(&self) -> Sparse {
        Sparse { file: self.file.clone(), at: Arc::clone(&self.at), hole: 0 }
    }

    /// Waits for more at the end.
    pub fn following(self) -> FileFrom {
        FileFrom { follows: true, ..self }
    }

    fn read_on(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // A page that the disk cannot read is no longer than the file.
        let at = self.at.load(Ordering::Relaxed);
        let left = self.file.size_now()?.saturating_sub(at);
        let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = bytes.get_mut(..most).unwrap_or_default();
        let mut bad = 0;
        let read = self.file.read_at(at, bytes, &mut |offset, length| {
            self.unreadable.add(offset, length);
            bad += length;
        })?;
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

    /// Checks that it is the file that was read so far.
    fn check(&mut self) -> io::Result<()> {
        self.file.check()?;
        let (mut bytes, mut whole) = ([0; LAST], true);
        let bytes = bytes.get_mut(..self.last.len()).unwrap_or_default();
        let from = self.last_end.saturating_sub(bytes.len() as u64);
        self.file.read_at(from, bytes, &mut |_, _| whole = false)?;
        match whole && *bytes != *self.last {
            true => Err(io::Error::other("it was cut or overwritten while it was read")),
            false => Ok(()),
        }
    }
}

/// Bytes of a file or a block device.
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
            Writing::Unknown => !self.file.has_summary()?,
        };
        if self.waited {
            return Err(ErrorKind::WouldBlock.into());
        }
        // What was written until the writer ended.
        self.read_on(bytes)
    }
}
