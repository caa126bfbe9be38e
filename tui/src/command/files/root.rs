//! A file system whose symbolic links stay below its root.

use crate::command::signals;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tracetui_events::event::file_identity::changed_ns;
use tracetui_events::text::json::hex_text;
use tracetui_shared::record::identity::Identity;

/// The maximum size of all files of dpkg. The list of all packages has about 1 KB for each, and the lists of files of a
/// large installation have 50 MiB. It also limits what rpm prints.
pub(super) const MOST: u64 = 256 << 20;

/// The maximum size of a file with a checksum. A traced program may make a file of any size.
const MOST_SUMMED: u64 = 1 << 30;

pub(super) struct Root<'a> {
    pub(super) path: &'a Path,
    dir: OwnedFd,
    /// How many bytes [`Root::read`] may still read.
    bytes_left: Cell<u64>,
}

impl Root<'_> {
    pub(super) fn new(path: &Path) -> io::Result<Root<'_>> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let dir = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::empty())?;
        Ok(Root { path, dir, bytes_left: Cell::new(MOST) })
    }

    /// A regular file; `None` if it does not exist. Others are not opened, since that may change a device.
    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let place =
            File::from(match openat2(&self.dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                opened => opened.map_err(|error| failed(path, &io::Error::from(error).to_string()))?,
            });
        if !place.metadata()?.is_file() {
            return Err(failed(path, "not a regular file"));
        }
        File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map(Some)
    }

    /// The contents of a file of dpkg; `None` if it does not exist.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        let (path, mut bytes) = (path.as_ref(), Vec::new());
        let Some(file) = self.open(path)? else { return Ok(None) };
        file.take(self.bytes_left.get() + 1).read_to_end(&mut bytes)?;
        let left = self.bytes_left.get().checked_sub(bytes.len() as u64);
        self.bytes_left.set(left.ok_or_else(|| failed(path, "the files of dpkg are too large"))?);
        Ok(Some(bytes))
    }

    /// The SHA-256 of a file in hexadecimal digits, or the reason why it has none. No process can set the change time: a file that has the
    /// recorded one after the read was not written since, except by stores to a mapping, which may leave the time. Devices are not
    /// compared: stat(2) may show another one than the kernel's (Btrfs), and their numbers change.
    pub(super) fn sha256(&self, path: &[u8], recorded: &Identity) -> Result<String, &'static str> {
        if recorded.size > MOST_SUMMED {
            return Err("too_large");
        }
        let file = self.open(OsStr::from_bytes(path).as_ref()).map_err(|_| "unreadable")?.ok_or("gone")?;
        let is_same = || {
            let found = file.metadata().map_err(|_| "unreadable")?;
            let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
            let recorded = (recorded.ino, recorded.size, i128::from(changed_ns(recorded)));
            if (found.ino(), found.len(), changed) == recorded { Ok(()) } else { Err("changed") }
        };
        is_same()?;
        let (mut sum, mut reader) = (Sha256::new(), BufReader::new((&file).take(recorded.size)));
        // After a signal, no sum is printed.
        while !signals::asked_to_end()
            && let bytes @ [_, ..] = reader.fill_buf().map_err(|_| "unreadable")?
        {
            sum.update(bytes);
            let read = bytes.len();
            reader.consume(read);
        }
        is_same()?;
        Ok(hex_text(&sum.finalize()))
    }
}

fn failed(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("/{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tracetui_events::synthetic::Scratch;

    #[test]
    fn the_files_of_dpkg_are_bounded_together() {
        let dir = Scratch::new("lists");
        fs::write(dir.join("list"), [b'x'; 60]).expect("written");
        std::os::unix::fs::symlink("list", dir.join("same")).expect("a link");
        let root = Root { bytes_left: Cell::new(120), ..Root::new(&dir).expect("a directory") };
        let read = |name: &str| root.read(name).map(|bytes| bytes.map_or(0, |bytes| bytes.len()));
        let said = |error: io::Error| error.to_string();
        assert_eq!(["list", "same", "none"].map(|name| read(name).map_err(said)), [Ok(60), Ok(60), Ok(0)]);
        assert_eq!(read("list").map_err(said), Err("/list: the files of dpkg are too large".to_owned()));
    }

    #[test]
    fn only_the_recorded_file_has_a_checksum() {
        let dir = Scratch::new("sums");
        fs::write(dir.join("file"), "abc").expect("written");
        let file = fs::metadata(dir.join("file")).expect("it is there");
        let changed_ns = u32::try_from(file.ctime_nsec()).expect("below a second");
        let recorded = Identity { ino: file.ino(), size: 3, changed: file.ctime(), changed_ns, device: 0 };
        let root = Root::new(&dir).expect("a directory");
        let sum = |path: &str, recorded| root.sha256(path.as_bytes(), &recorded);
        // Of "abc" (FIPS 180-2, B.1).
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum("/file", recorded), Ok(abc.to_owned()));
        let others = [
            Identity { ino: recorded.ino + 1, ..recorded },
            Identity { size: 4, ..recorded },
            Identity { changed: recorded.changed - 1, ..recorded },
            Identity { changed_ns: recorded.changed_ns ^ 1, ..recorded },
        ];
        assert_eq!(others.map(|other| sum("/file", other)), [const { Err("changed") }; 4]);
        assert_eq!((sum("/gone", recorded), sum("/file/x", recorded)), (Err("gone"), Err("gone")));
        assert_eq!(sum("/", recorded), Err("unreadable"));
        assert_eq!(sum("/file", Identity { size: MOST_SUMMED + 1, ..recorded }), Err("too_large"));
    }
}
