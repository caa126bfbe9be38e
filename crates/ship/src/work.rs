//! The directory for the file that is being converted.

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The directory in the spool, if no other one is given.
const IN_SPOOL: &str = ".tracetui-ship";

const CONVERTING: &str = "converting";

#[derive(Debug)]
pub(crate) struct WorkDirectory(OwnedFd);

impl WorkDirectory {
    /// Opens the directory, and makes it if it does not exist. In the spool, links are not followed.
    pub(crate) fn open(given: Option<&Path>, spool: BorrowedFd<'_>) -> Result<WorkDirectory> {
        let place = given.unwrap_or(Path::new(IN_SPOOL));
        Ok(WorkDirectory(directory(given, spool).with_context(|| format!("cannot open {}", place.display()))?))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Creates the file for a conversion. It has no name, so a kill leaves nothing. One that was killed before is removed.
    pub(crate) fn temporary(&self) -> Result<File> {
        let create = || {
            let _ = unlinkat(&self.0, CONVERTING, AtFlags::empty());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&self.0, CONVERTING, flags, Mode::RUSR | Mode::WUSR)?;
            unlinkat(&self.0, CONVERTING, AtFlags::empty())?;
            Ok::<_, Errno>(File::from(file))
        };
        create().with_context(|| format!("cannot create the file {CONVERTING}"))
    }
}

fn directory(given: Option<&Path>, spool: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let Some(path) = given else {
        match mkdirat(spool, IN_SPOOL, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        return Ok(openat(spool, IN_SPOOL, flags | OFlags::NOFOLLOW, Mode::empty())?);
    };
    std::fs::create_dir_all(path)?;
    Ok(open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use tracetui_events::synthetic::Scratch;

    #[test]
    fn links_in_the_spool_are_not_followed() {
        let path = Scratch::new("ship-work");
        let spool = File::open(&*path).expect("there");
        let (place, victim) = (path.join(IN_SPOOL), path.join("victim"));
        fs::write(&victim, "precious").expect("room");
        symlink("/", &place).expect("room");
        assert!(WorkDirectory::open(None, spool.as_fd()).is_err());
        fs::remove_file(&place).expect("ours");
        let work = WorkDirectory::open(None, spool.as_fd()).expect("a directory");
        symlink(&victim, place.join(CONVERTING)).expect("room");
        work.temporary().expect("room").write_all(b"x").expect("room");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
        assert_eq!(fs::read_dir(&place).expect("there").count(), 0);
    }
}
