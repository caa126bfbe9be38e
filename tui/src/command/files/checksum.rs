//! Checksums of files that are still those of a recording.

use crate::command::signals;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use tracetui_events::event::file_identity::changed_ns;
use tracetui_shared::record::identity::Identity;

/// The largest file that is read, in bytes: a traced program may make one of any size.
const MOST: u64 = 1 << 30;

/// The reason why a file has no checksum.
pub(super) type Why = &'static str;

/// The SHA-256 in hexadecimal digits of a file below a directory. Errors: `not_collected` if the recording does not identify the file,
/// `changed` if it is another one now or was changed since, `gone`, `too_large` above 1 GiB, and `unreadable`.
pub(super) fn sha256(root: impl AsFd, path: &[u8], recorded: Option<&Identity>) -> Result<String, Why> {
    let recorded = recorded.ok_or("not_collected")?;
    let below = path.strip_prefix(b"/").unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let unreadable = |_: io::Error| "unreadable";
    let file = openat2(root, below, flags, Mode::empty(), resolve).map_err(|error| match error {
        Errno::NOENT => "gone",
        error => unreadable(error.into()),
    })?;
    let check = |file: &File| match fstat(file) {
        Ok(found) if is_same(&found, recorded) => Ok(()),
        Ok(_) => Err("changed"),
        Err(error) => Err(unreadable(error.into())),
    };
    let mut file = File::from(file);
    check(&file)?;
    if recorded.size > MOST {
        return Err("too_large");
    }
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        if signals::asked_to_end() {
            return Err("unreadable");
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sum.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    check(&file)?;
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a file is the one that was recorded, and has not been changed since. Its device is not compared: that of stat(2) may be
/// another one than the kernel's (Btrfs), and numbers of devices change.
fn is_same(found: &Stat, recorded: &Identity) -> bool {
    let changed = i128::from(found.st_ctime) * 1_000_000_000 + i128::from(found.st_ctime_nsec);
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_ino == recorded.ino
        && u64::try_from(found.st_size) == Ok(recorded.size)
        && changed == i128::from(changed_ns(recorded))
}
