//! The filters of earlier sessions: a file of the invoking user with one filter a line.

use crate::app::prompt::line::{HISTORY, LINE};
use crate::command::user_files::{as_user, user_path};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use tracetui_host::confine::enter_user;
use tracetui_host::invoker::Invoker;

/// The variable for the directory of such files, its default below the home directory, and the file.
const PLACE: [&str; 3] = ["XDG_STATE_HOME", ".local/state", "tracetui/filters"];

/// The file is shortened to the newest lines when it is larger, in bytes.
const LARGE: u64 = 64 << 10;

/// The filters of earlier sessions, and the open file that takes those of this one. The file is opened before privileges are dropped.
#[derive(Debug, Default)]
pub(in crate::command) struct SavedFilters {
    file: Option<File>,
    /// Oldest first.
    pub(in crate::command) lines: Vec<String>,
}

impl SavedFilters {
    /// Opens the file with the ids of the user who typed sudo. If it cannot be used, filters are kept in memory only.
    pub(in crate::command) fn open(wanted: bool) -> SavedFilters {
        let opened = || {
            let invoker = Invoker::of_environment().ok().filter(|_| wanted)?;
            let path = user_path(invoker.as_ref(), PLACE, |name| std::env::var_os(name))?;
            as_user(invoker, enter_user, move || open(&path)).ok()?.ok()
        };
        opened().unwrap_or_default()
    }

    pub(in crate::command) fn append(self, added: &[String]) {
        let text: String = added.iter().map(|line| format!("{line}\n")).collect();
        // Nothing depends on it.
        let _ = self.file.map(|mut file| file.write_all(text.as_bytes()));
    }
}

fn open(path: &Path) -> io::Result<SavedFilters> {
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(Path::new("/")))?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.seek(io::SeekFrom::Start(found.len().saturating_sub(LARGE)))?;
    let mut text = Vec::new();
    Read::take(&file, LARGE).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let whole = text.lines().filter(|line| line.len() <= LINE && !line.contains(char::is_control));
    let mut lines: Vec<String> = whole.map(str::to_owned).collect();
    lines.drain(..lines.len().saturating_sub(HISTORY));
    if found.len() > LARGE {
        file.set_len(0)?;
        file.write_all((lines.join("\n") + "\n").as_bytes())?;
    }
    Ok(SavedFilters { file: Some(file), lines })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tracetui_events::synthetic::Scratch;

    #[test]
    fn filters_are_there_in_the_next_session() {
        let dir = Scratch::new("filters");
        let path = dir.join("a/b/filters");
        let session = |added: &[&str]| {
            let saved = open(&path).expect("the file");
            let lines = saved.lines.clone();
            saved.append(&added.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
            lines
        };
        assert_eq!(session(&["comm=cc1", "err"]), [""; 0]);
        assert_eq!(session(&["pid=7"]), ["comm=cc1", "err"]);
        assert_eq!(session(&[]), ["comm=cc1", "err", "pid=7"]);
        assert_eq!(path.metadata().expect("its facts").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "x\u{1b}[2J\npid=8\n").expect("a hostile line");
        assert_eq!(session(&[]), ["pid=8"]);
        std::fs::write(&path, "pid=1\n".repeat(20_000)).expect("a large file");
        assert_eq!(session(&[]).len(), HISTORY);
        assert_eq!(path.metadata().expect("its facts").len(), 6 * HISTORY as u64);
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("a link");
        assert!(open(&path).is_err());
    }
}
