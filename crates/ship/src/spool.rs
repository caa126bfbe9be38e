//! The directory with the recordings. What is in it may change at any time, and may be hostile.

use crate::cli::Keep;
use crate::part::{Identity, MOST, Part};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, DirEntry, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracetui_events::recording::file::{RecordingFile, is_being_written};
use tracetui_events::text::{grouped, size};

/// The most files of the directory that are read. A trace keeps far fewer.
const FILES: usize = 100_000;

/// After how long a file without an end counts as closed, and one without a header as unreadable.
const QUIET: Duration = Duration::from_secs(600);

/// No links, and no wait for a FIFO.
const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(crate) struct Spool(OwnedFd);

/// A file without a readable header.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) name: OsString,
    pub(crate) identity: Identity,
    pub(crate) fault: String,
}

/// The files of the directory at one time.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Closed recordings: by trace, the oldest first, and in it by number.
    pub(crate) parts: Vec<Part>,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Messages about files that cannot be opened now.
    pub(crate) faults: Vec<String>,
}

impl Spool {
    pub(crate) fn open(path: &Path) -> Result<Spool> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        Ok(Spool(opened.with_context(|| format!("cannot open the spool {}", path.display()))?))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads the directory. Files in `settled` are not opened again.
    pub(crate) fn scan(&self, settled: &HashMap<Identity, Part>) -> Result<Scan> {
        let mut scan = Scan::default();
        let entries = Dir::read_from(&self.0).context("cannot read the spool")?;
        let recording = |entry: &Result<DirEntry, Errno>| {
            entry.as_ref().map_or(true, |entry| entry.file_name().to_bytes().ends_with(b".ttr"))
        };
        for (number, entry) in entries.filter(recording).enumerate() {
            let entry = entry.context("cannot read the spool")?;
            if number == FILES {
                scan.faults
                    .push(format!("the spool has more than {} recordings: the others wait", grouped(FILES as u64)));
                break;
            }
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            self.look(name, settled, &mut scan);
        }
        let mut begun: HashMap<String, i64> = HashMap::new();
        for part in &scan.parts {
            let first = begun.entry(part.trace.clone()).or_insert(i64::MAX);
            *first = part.created_s().min(*first);
        }
        scan.parts.sort_by_cached_key(|part| (begun.get(&part.trace).copied(), part.trace.clone(), part.number));
        Ok(scan)
    }

    /// Adds a file to what it is: nothing if it is no recording, or none yet.
    fn look(&self, name: &OsStr, settled: &HashMap<Identity, Part>, scan: &mut Scan) {
        let file = match openat(&self.0, name, OPEN, Mode::empty()) {
            Ok(file) => File::from(file),
            // Removed meanwhile, or a link.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return,
            Err(error) => {
                let remedy = "; its user or group needs to be the shipper's (record --group-read)";
                return scan.faults.push(format!("cannot open {}: {error}{remedy}", name.display()));
            }
        };
        let identity = match Identity::of(&file) {
            Ok(Some(identity)) => identity,
            Ok(None) => return,
            Err(error) => return scan.faults.push(format!("cannot read {}: {error}", name.display())),
        };
        let unreadable = |fault| Unreadable { name: name.to_owned(), identity, fault };
        if identity.bytes > MOST {
            return scan.unreadable.push(unreadable(format!("larger than {}", size(MOST))));
        }
        if let Some(part) = settled.get(&identity) {
            return scan.parts.push(Part { name: name.to_owned(), ..part.clone() });
        }
        if is_being_written(&file).unwrap_or(false) {
            return;
        }
        match RecordingFile::open(file) {
            // The file system may not show who writes it.
            Ok(recording) if !recording.is_complete().unwrap_or(false) && !is_quiet(&identity) => {}
            Ok(recording) => scan.parts.push(Part::new(name.to_owned(), identity, recording.header)),
            Err(_) if !is_quiet(&identity) => {}
            Err(error) => scan.unreadable.push(unreadable(error.to_string())),
        }
    }

    /// Opens a part again. `None` if it is gone, or another file has its name.
    pub(crate) fn reopen(&self, part: &Part) -> Option<RecordingFile> {
        let recording = RecordingFile::open(self.same(&part.name, &part.identity)?).ok()?;
        (recording.header == part.header).then_some(recording)
    }

    fn same(&self, name: &OsStr, identity: &Identity) -> Option<File> {
        let file = File::from(openat(&self.0, name, OPEN, Mode::empty()).ok()?);
        (Identity::of(&file).ok()? == Some(*identity)).then_some(file)
    }

    /// Removes a file if it is still the same one. Returns `false` if it is another one, or gone.
    pub(crate) fn remove(&self, name: &OsStr, identity: &Identity) -> Result<bool> {
        if self.same(name, identity).is_none() {
            return Ok(false);
        }
        unlinkat(&self.0, name, AtFlags::empty()).context("cannot remove a recording from the spool")?;
        Ok(true)
    }

    /// Removes closed parts above the bound: shipped ones first, then others, each time the oldest first. Returns the number removed.
    pub(crate) fn bound(
        &self,
        parts: &[Part],
        keep: Option<Keep>,
        is_shipped: impl Fn(&Identity) -> bool,
    ) -> Result<u64> {
        let Some(keep) = keep else { return Ok(0) };
        let mut bytes: u64 = parts.iter().map(|part| part.identity.bytes).sum();
        let mut removed = 0;
        for shipped in [true, false] {
            for part in parts.iter().filter(|part| is_shipped(&part.identity) == shipped) {
                let above = match keep {
                    Keep::Bytes(most) => bytes > most,
                    Keep::Age(most) => now_s().saturating_sub(part.identity.modified.0) > most.as_secs().cast_signed(),
                };
                if above && self.remove(&part.name, &part.identity)? {
                    bytes -= part.identity.bytes;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

/// Whether nobody has written to the file for [`QUIET`].
fn is_quiet(identity: &Identity) -> bool {
    // A time in the future does not keep a file open for ever.
    now_s().abs_diff(identity.modified.0) >= QUIET.as_secs()
}

/// Seconds since 1970.
fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
