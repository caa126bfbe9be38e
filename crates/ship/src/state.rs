//! Which parts of which trace were settled: shipped, or reported in the manifest. One small file, replaced at once.
//!
//! If it is lost, no part is stored again, but parts that were removed may be reported as a gap.

use crate::convert::Contents;
use crate::part::Part;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The most traces that are remembered. A boot has few.
const TRACES: usize = 1_000;

/// The most bytes of the file that are read: a line has fewer than 1,000.
const BYTES: u64 = 1_000 * TRACES as u64;

/// The directory of the state in the spool, if no other one is given.
const IN_SPOOL: &str = ".tracetui-ship";

const FILE: &str = "shipped";
const NEW: &str = "shipped.new";
const CONVERTING: &str = "converting";

/// The progress of one trace, and one JSON line of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trace {
    /// 16 hex digits.
    pub(crate) trace: String,
    /// The number of the first part that is not settled.
    pub(crate) next: u32,
    /// The number of events that the trace had seen before that part.
    pub(crate) seen: u64,
    /// How many parts the trace has had, as far as its files said.
    pub(crate) known: u32,
    /// When the newest of its files was begun, in seconds since 1970.
    pub(crate) created_s: i64,
    pub(crate) host: String,
    pub(crate) boot_id: String,
}

/// What is settled.
#[derive(Debug)]
pub(crate) struct State {
    place: PathBuf,
    directory: OwnedFd,
    /// The one that changed last is the last one.
    traces: Vec<Trace>,
}

impl State {
    /// Opens the directory, and reads the file. A damaged line is ignored. Whoever can write to the spool has no influence on it.
    /// Fails if the directory cannot be made or belongs to others, or the file cannot be read.
    pub(crate) fn open(given: Option<&Path>, spool: BorrowedFd<'_>) -> Result<State> {
        let place = given.unwrap_or(Path::new(IN_SPOOL)).to_owned();
        let fault = || format!("cannot open the state in {}", place.display());
        let directory = directory(given, spool).with_context(fault)?;
        let stat = fstat(&directory).with_context(fault)?;
        let own = [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
        if !own || stat.st_mode & 0o022 != 0 {
            bail!("{}: others can write to the state: use another directory, by --state DIR", place.display());
        }
        if flock(&directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            bail!("{}: another tracetui-ship uses this state: give each one its own, by --state DIR", place.display());
        }
        let mut state = State { place: place.clone(), directory, traces: Vec::new() };
        let mut text = Vec::new();
        match state.file(FILE, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) if file.metadata().is_ok_and(|file| file.is_file()) => {
                _ = file.take(BYTES).read_to_end(&mut text).with_context(fault)?;
            }
            Ok(_) => bail!("{}/{FILE} is no file: remove it", place.display()),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(fault),
        }
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Trace>(line).ok());
        let hex = |trace: &Trace| trace.trace.len() == 16 && trace.trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        lines.filter(hex).for_each(|trace| state.put(trace));
        Ok(state)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// A new file. One that a killed process left is removed.
    fn create(&self, name: &str, flags: OFlags) -> Result<File, Errno> {
        let _ = unlinkat(&self.directory, name, AtFlags::empty());
        self.file(name, flags | OFlags::CREATE | OFlags::EXCL)
    }

    /// The progress of a trace.
    pub(crate) fn of(&self, trace: &str) -> Trace {
        let known = self.traces.iter().find(|known| known.trace == trace);
        known.cloned().unwrap_or_else(|| Trace { trace: trace.to_owned(), ..Trace::default() })
    }

    /// The traces with parts that are not settled.
    pub(crate) fn unsettled(&self) -> Vec<Trace> {
        self.traces.iter().filter(|trace| trace.next < trace.known).cloned().collect()
    }

    /// Records that traces have these parts.
    pub(crate) fn found<'p>(&mut self, parts: impl Iterator<Item = &'p Part>) -> Result<()> {
        let mut any = false;
        for part in parts {
            let known = self.of(&part.trace);
            if part.number >= known.known {
                any = true;
                self.put(Trace { known: part.number.saturating_add(1), created_s: part.created_s(), ..known });
            }
        }
        if any { self.write() } else { Ok(()) }
    }

    /// Records that all parts before `next` are settled, and the number of events that the trace had seen before `next`.
    pub(crate) fn settle(&mut self, trace: &str, next: u32, seen: u64, contents: &Contents) -> Result<()> {
        let known = self.of(trace);
        if next <= known.next {
            return Ok(());
        }
        let (host, boot_id) = (contents.host.clone(), contents.boot_id.clone());
        let parts = next.saturating_add(contents.continues.into()).max(known.known);
        self.put(Trace { next, seen, known: parts, host, boot_id, ..known });
        self.write()
    }

    fn put(&mut self, trace: Trace) {
        self.traces.retain(|known| known.trace != trace.trace);
        self.traces.push(trace);
        self.traces.drain(..self.traces.len().saturating_sub(TRACES));
    }

    fn write(&self) -> Result<()> {
        let lines = self.traces.iter().map(serde_json::to_string);
        let text: String = lines.map(|line| line.map(|line| line + "\n")).collect::<Result<_, _>>()?;
        let replace = || {
            let mut file = self.create(NEW, OFlags::WRONLY)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            Ok::<_, std::io::Error>(renameat(&self.directory, NEW, &self.directory, FILE)?)
        };
        replace().with_context(|| format!("cannot write the state in {}", self.place.display()))
    }

    /// Creates the file for a conversion. It has no name, so a kill leaves nothing.
    pub(crate) fn temporary(&self) -> Result<File> {
        let create = || {
            let file = self.create(CONVERTING, OFlags::RDWR)?;
            unlinkat(&self.directory, CONVERTING, AtFlags::empty())?;
            Ok::<_, Errno>(file)
        };
        create().with_context(|| format!("cannot create {}/{CONVERTING}", self.place.display()))
    }
}

/// Opens the directory, and makes it if it does not exist. In the spool, links are not followed.
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
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use tracetui_events::synthetic::Scratch;

    struct Spool(Scratch, OwnedFd);

    impl Spool {
        fn new(name: &str) -> Spool {
            let path = Scratch::new(&format!("ship-{name}"));
            let directory = File::open(&*path).expect("there").into();
            Spool(path, directory)
        }

        fn state(&self) -> Result<State> {
            State::open(None, self.1.as_fd())
        }
    }

    #[test]
    fn a_state_survives_damage_and_stays_small() {
        let spool = Spool::new("state");
        let (trace, contents) = ("00112233aabbccdd", Contents { continues: true, ..Contents::default() });
        let mut state = spool.state().expect("state");
        state.settle(trace, 7, 70, &contents).expect("written");
        state.settle(trace, 3, 30, &contents).expect("written");
        assert!(spool.state().is_err(), "another one uses it");
        drop(state);
        let state = spool.state().expect("state");
        assert_eq!((state.of(trace).next, state.of(trace).known, state.unsettled().len()), (7, 8, 1));
        let file = spool.0.join(IN_SPOOL).join(FILE);
        let mut text = fs::read(&file).expect("there");
        text.extend(b"junk \xff\n{\"trace\": \"../../../../etc/\"}\n{}");
        fs::write(&file, text).expect("written");
        drop(state);
        let mut state = spool.state().expect("state");
        assert_eq!((state.of(trace).next, state.traces.len()), (7, 1));
        (0..2 * TRACES).for_each(|trace| state.put(Trace { trace: format!("{trace:016x}"), ..Trace::default() }));
        assert_eq!(state.traces.len(), TRACES);
        // Whoever writes to the spool has no influence on it.
        let spool = Spool::new("hostile");
        let (place, victim) = (spool.0.join(IN_SPOOL), spool.0.join("victim"));
        fs::write(&victim, "precious").expect("room");
        symlink("/", &place).expect("room");
        assert!(spool.state().is_err());
        fs::remove_file(&place).expect("ours");
        let mut state = spool.state().expect("state");
        for name in [FILE, NEW, CONVERTING] {
            symlink(&victim, place.join(name)).expect("room");
        }
        state.settle("00112233aabbccdd", 7, 0, &Contents::default()).expect("written");
        state.temporary().expect("room").write_all(b"x").expect("room");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
        drop(state);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("ours");
        assert!(spool.state().is_err());
    }
}
