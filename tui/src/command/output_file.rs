//! The file of a recording or an export. It is created as the invoking user, and never over something else.

use super::messages::say;
use super::signals;
use super::usage::BadUsage;
use super::user_files::{self, Opener};
use crate::cli;
use crate::recorder::Recorder;
use crate::recorder::{Failed, RecordingFiles};
use anyhow::{Context, Result, anyhow, bail};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tracetui_events::limits;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::recording::file;
use tracetui_events::text::grouped;
use tracetui_host::clock;
use tracetui_host::confine::{FileAccess, enter_files};
use tracetui_host::invoker::Invoker;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Existing {
    /// An error. `--force` would replace it.
    Refuse,
    /// An error. There is no `--force`.
    RefuseAlways,
    /// Replaces a regular file.
    Replace,
}

/// As [`start`], while tracetui also writes events to stdout. Refuses a recording on stdout.
pub(super) fn start_beside(path: &Path) -> Result<Recorder> {
    if cli::is_stream(path) {
        let why = "-w -: stdout already has the events; write to a file, or use record -o -";
        return Err(BadUsage(why.to_owned()).into());
    }
    start(path, Existing::RefuseAlways)
}

/// Starts a recording in a file, or on stdout (`-`). Call it before privileges are dropped.
pub(super) fn start(path: &Path, existing: Existing) -> Result<Recorder> {
    let name = super::messages::name(path);
    let file = open_output(path, existing)?;
    if cli::is_stream(path) {
        // Other processes may keep the file open for longer, so it is not locked.
        let overdue = || signals::asked_to_end() && signals::time_left(limits::PATIENCE).is_zero();
        let recorder = Recorder::start_stream(file, name.clone(), &header()?, overdue);
        return recorder.with_context(|| format!("cannot write {name}"));
    }
    // A file that existed before is not removed.
    let created = existing != Existing::Replace;
    let invoker = Invoker::of_environment()?;
    let dir = directory(path).to_owned();
    let prepare = move || enter_files(invoker.as_ref(), FileAccess::Remove(&dir));
    start_in(&file, path, created, prepare).map_err(|error| {
        // The file is empty, even if it existed before. If this fails, the file remains. The first error is the one to report.
        let _ = remove(path, &file);
        anyhow!("cannot write {name}: {error}")
    })
}

/// Starts a recording in an empty file. `created`: whether it did not exist before. `prepare` runs first, on the thread that writes.
fn start_in(
    file: &File,
    path: &Path,
    created: bool,
    prepare: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<Recorder> {
    let name = super::messages::name(path);
    file::lock(file);
    let header = header()?;
    let watched = Watched::new(file.try_clone()?, name.clone());
    let files = OneFile { path: path.to_owned(), created, own: file.try_clone()?, file: Some((watched, header)) };
    Recorder::start_files(files, name, prepare)
}

/// The file of a recording. Writing and flushing fail once another program has removed or truncated it.
pub(super) struct Watched {
    pub(super) file: File,
    name: String,
    written: u64,
}

/// The message about a file that another program has removed or truncated.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lost(String);

impl Watched {
    /// `name` is for messages. The file is empty.
    pub(super) fn new(file: File, name: String) -> Watched {
        Watched { file, name, written: 0 }
    }

    fn check(&self) -> io::Result<()> {
        let found = rustix::fs::fstat(&self.file)?;
        let what = match u64::try_from(found.st_size) {
            _ if found.st_nlink == 0 => "removed",
            Ok(size) if size < self.written => "truncated",
            _ => return Ok(()),
        };
        Err(io::Error::other(Lost(format!("another program {what} {}", self.name))))
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A write after the end of a truncated file would make its size right again.
        self.check()?;
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check()
    }
}

struct OneFile {
    path: PathBuf,
    /// Whether it did not exist before.
    created: bool,
    own: File,
    file: Option<(Watched, FileHeader)>,
}

impl RecordingFiles for OneFile {
    type File = Watched;

    fn next(&mut self) -> io::Result<(Watched, FileHeader)> {
        self.file.next()
    }

    fn withdraw(&mut self) -> io::Result<bool> {
        if !self.created {
            return Ok(false);
        }
        let made = self.own.metadata()?;
        remove_if(&self.path, (made.dev(), made.ino()))
    }

    fn remarks(&self, written: u64) -> Vec<String> {
        let Ok(own) = self.own.metadata() else { return Vec::new() };
        let leads = |at: std::fs::Metadata| (at.dev(), at.ino()) == (own.dev(), own.ino());
        if std::fs::metadata(&self.path).is_ok_and(leads) || own.nlink() == 0 || own.len() != written {
            return Vec::new();
        }
        let (path, bytes) = (super::messages::name(&self.path), grouped(written));
        vec![format!("another program moved or hid {path}: the recording ({bytes} bytes) is elsewhere or gone")]
    }
}

/// Removes a file if it has this device and inode. Returns whether it did.
fn remove_if(path: &Path, (device, inode): (u64, u64)) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    let same = (found.dev(), found.ino()) == (device, inode);
    if same {
        std::fs::remove_file(path)?;
    }
    Ok(same)
}

pub(super) fn header() -> io::Result<FileHeader> {
    Ok(FileHeader::new(random_id()?, clock::now_real_ns()))
}

/// Opens a new file as the user who invoked sudo, or stdout (`-`).
pub(super) fn open_output(path: &Path, existing: Existing) -> Result<File> {
    match (cli::is_stream(path), existing) {
        (true, Existing::Replace) => bail!("--force: stdout is not a file"),
        (true, Existing::Refuse | Existing::RefuseAlways) => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        (false, _) => create(path, existing),
    }
}

/// The path itself, or `NAME-2.ttr`, `NAME-3.ttr` and so on if such a file exists.
pub(super) fn free(first: PathBuf) -> PathBuf {
    let is_free = |name: &PathBuf| name.symlink_metadata().is_err();
    if is_free(&first) {
        return first;
    }
    let stem = first.with_extension("").into_os_string();
    let numbered = |number: u32| {
        let mut name = stem.clone();
        name.push(format!("-{number}.ttr"));
        PathBuf::from(name)
    };
    // After this many, the error is that the first one exists.
    (2..100).map(numbered).find(is_free).unwrap_or(first)
}

/// The default name of a recording: `HOST-YYYYmmddTHHMMSSZ.ttr`.
pub(super) fn default_name(host: &str, real_ns: i64) -> PathBuf {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect();
    let stamp = tracetui_events::text::time::compact_utc(real_ns);
    let host = host.trim_start_matches(['-', '.']);
    format!("{}-{stamp}.ttr", if host.is_empty() { "host" } else { host }).into()
}

pub(super) fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id));
    read.map_err(|error| io::Error::other(format!("cannot read random bytes: {error}")))?;
    Ok(id)
}

/// Creates the file with the file-system ids of the user who invoked sudo.
pub(super) fn create(path: &Path, existing: Existing) -> Result<File> {
    let (path, name) = (path.to_owned(), super::messages::name(path));
    let opened = as_user(move || open(&path, existing).map_err(|error| (not_replaced(&path), error)))?;
    opened.map_err(|(what, error)| match (what, error.kind()) {
        (Some(what), _) => anyhow!("{name} {what}"),
        (None, ErrorKind::AlreadyExists) if existing == Existing::RefuseAlways => {
            anyhow!("{name} already exists: choose another name")
        }
        (None, ErrorKind::AlreadyExists) => anyhow!("{name} already exists; --force replaces it"),
        (None, _) => anyhow!("cannot create {name}: {error}"),
    })
}

fn not_replaced(path: &Path) -> Option<&'static str> {
    let found = std::fs::symlink_metadata(path).ok()?;
    match found.file_type() {
        kind if kind.is_symlink() => Some("is a symbolic link, which is not followed: give its target"),
        kind if kind.is_dir() => Some("is a directory: add a file name"),
        kind if !kind.is_file() => Some("is not a regular file: choose another name"),
        _ if found.nlink() > 1 => Some("has other hard links, and is not replaced: choose another name"),
        _ => None,
    }
}

/// Refuses an output that is also one of the input recordings.
pub(super) fn refuse_input(inputs: &[PathBuf], path: &Path) -> Result<()> {
    match inputs.iter().any(|input| is_same(input, path)) {
        true => bail!("{} is also an input: choose another file", super::messages::name(path)),
        false => Ok(()),
    }
}

fn is_same(input: &Path, path: &Path) -> bool {
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let found = |path: &Path| match cli::is_stream(path) {
        // A regular file may be behind it.
        true => {
            io::stdin().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata()).map(place).ok()
        }
        false => path.metadata().map(place).ok(),
    };
    !cli::is_stream(path) && found(path).is_some_and(|this| found(input) == Some(this))
}

/// Empties a file that [`create`] made, and removes it if it still has its name.
pub(super) fn remove(path: &Path, file: &File) -> Result<()> {
    file.set_len(0)?;
    let (path, made) = (path.to_owned(), file.metadata()?);
    as_user(move || remove_if(&path, (made.dev(), made.ino())))??;
    Ok(())
}

fn as_user<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    user_files::as_user(Invoker::of_environment()?, Invoker::take_file_ids, act)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open(path: &Path, existing: Existing) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    if existing == Existing::Replace {
        match options.clone().read(true).open(path) {
            Ok(file) => {
                if let Some(file) = replaced(path, file)? {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    options.create_new(true).open(path)
}

/// Empties an existing regular file. Returns `None` if it removed the file instead, so that a new one takes its place.
fn replaced(path: &Path, file: File) -> io::Result<Option<File>> {
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        return Err(io::Error::other("only a regular file with a single link is replaced"));
    }
    if !file::lock(&file) {
        // Never replace a file while another process is writing it.
        if file::is_being_written(&file)? {
            return Err(io::Error::other("another process is writing it"));
        }
        // While another program has a lock on the file, the next writer could not tell that this one writes it. So the file is removed,
        // or emptied if that fails.
        if remove_if(path, (found.dev(), found.ino())).unwrap_or(false) {
            return Ok(None);
        }
    }
    file.set_len(0)?;
    Ok(Some(file))
}

/// Passes on the result of starting a trace. If it is an error, removes the file of the recording, unless it replaced one.
pub(super) async fn or_withdraw<T>(started: Result<T>, recorder: Option<&Recorder>) -> Result<T> {
    if let (Err(_), Some(recorder)) = (&started, recorder) {
        recorder.withdraw().await;
    }
    started
}

/// Prints the size of a finished recording, or the remarks on its files.
pub(super) fn say_written(recorder: &Recorder, bytes: u64) {
    match recorder.remarks() {
        remarks if remarks.is_empty() => say(format_args!("{}: {} bytes", recorder.name(), grouped(bytes))),
        remarks => remarks.iter().for_each(say),
    }
}

pub(super) fn failed_text(recorder: &Recorder, failed: &Failed) -> String {
    let name = recorder.name();
    let text = match failed {
        Failed::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Lost>()) => {
            format!("tracetui: the recording is lost: {error}")
        }
        failed => format!(
            "tracetui: cannot write {name}: {failed}; the recording is truncated: everything written before is readable"
        ),
    };
    [vec![text], recorder.remarks()].concat().join("\n")
}

/// Starts a recording in a new file with a [`path`](Opener::path) of the opener.
pub(super) async fn start_with(opener: &Opener, path: &Path) -> io::Result<Recorder> {
    let own = path.to_owned();
    let file = opener.act(move || open(&own, Existing::Refuse)).await?;
    let found = file.metadata()?;
    let recorder = start_in(&file, path, false, || Ok(()));
    if recorder.is_err() {
        // The file is empty. If this fails, it remains. The first error is the one to report.
        let (own, made) = (path.to_owned(), (found.dev(), found.ino()));
        let _ = opener.act(move || remove_if(&own, made)).await;
    }
    recorder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Scratch;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_never_replaced_is_named_and_names_of_the_same_second_differ() {
        let dir = Scratch::new("write-named");
        let path = |name: &str| dir.join(name);
        fs::write(path("file"), "old").expect("room");
        symlink(path("file"), path("link")).expect("room");
        symlink(path("nowhere"), path("dangling")).expect("room");
        fs::write(path("one"), "old").expect("room");
        fs::hard_link(path("one"), path("two")).expect("room");
        let refused = |path: &Path, existing| create(path, existing).expect_err("it is there").to_string();
        for existing in [Existing::Refuse, Existing::RefuseAlways, Existing::Replace] {
            for (other, part) in [
                (path("link"), "is a symbolic link, which is not followed: give its target"),
                (path("dangling"), "is a symbolic link"),
                (path("one"), "has other hard links"),
                (dir.to_path_buf(), "is a directory"),
                (PathBuf::from("/dev/full"), "/dev/full is not a regular file: choose another name"),
            ] {
                let said = refused(&other, existing);
                assert!(said.contains(part) && !said.contains("--force"), "{existing:?}: {said}");
            }
        }
        assert!(refused(&path("file"), Existing::Refuse).ends_with("exists; --force replaces it"));
        assert!(refused(&path("file"), Existing::RefuseAlways).ends_with("already exists: choose another name"));
        assert_eq!(fs::read(path("file")).expect("there"), b"old");
        // Recordings of the same second have different names.
        let dir = Scratch::new("write-second");
        let names = [(); 3].map(|()| {
            let path = free(dir.join(default_name("a.b", 0)));
            fs::write(&path, "").expect("room");
            path.file_name().expect("a name").to_owned()
        });
        assert_eq!(names, ["a.b-19700101T000000Z.ttr", "a.b-19700101T000000Z-2.ttr", "a.b-19700101T000000Z-3.ttr"]);
    }

    #[test]
    fn a_file_that_another_program_locks_or_removes_ends_the_recording_or_is_replaced() {
        let dir = Scratch::new("write-locked");
        let path = dir.join("a.ttr");
        fs::write(&path, "x".repeat(100)).expect("room");
        let other = File::options().read(true).write(true).open(&path).expect("there");
        assert!(file::lock(&other), "the file system has locks");
        let own = create(&path, Existing::Replace).expect("it is no recording that is written");
        assert!(file::lock(&own));
        // The third one sees that it is written.
        let third = create(&path, Existing::Replace).expect_err("it is written");
        assert!(third.to_string().contains("another process is writing it"), "{third}");
        assert_eq!(other.metadata().expect("open").nlink(), 0);
        // A file that another program removes or truncates ends the recording.
        let dir = Scratch::new("write-watched");
        let path = dir.join("a.ttr");
        let written = |name: &str, act: &dyn Fn()| {
            let mut watched = Watched::new(create(&path, Existing::RefuseAlways).expect("room"), name.to_owned());
            watched.write_all(&[b'x'; 1000]).and_then(|()| watched.flush()).expect("room");
            act();
            let idle = watched.flush().map_err(|error| error.to_string());
            assert_eq!(idle, watched.write_all(b"y").map_err(|error| error.to_string()));
            let _ = fs::remove_file(&path);
            idle
        };
        let said = |what: &str| Err(format!("another program {what} a.ttr"));
        let truncate = |size: u64| File::options().write(true).open(&path).and_then(|file| file.set_len(size));
        assert_eq!(written("a.ttr", &|| {}), Ok(()));
        assert_eq!(written("a.ttr", &|| fs::remove_file(&path).expect("there")), said("removed"));
        let replaced = || drop(fs::write(dir.join("b"), "").and_then(|()| fs::rename(dir.join("b"), &path)));
        assert_eq!(written("a.ttr", &replaced), said("removed"));
        assert_eq!(written("a.ttr", &|| fs::write(&path, "").expect("there")), said("truncated"));
        assert_eq!(written("a.ttr", &|| truncate(999).expect("there")), said("truncated"));
        // It is still the recording.
        let own = File::create(dir.join("e")).expect("room");
        let file = OneFile { path: dir.join("e"), created: true, own, file: None };
        assert!(file.remarks(0).is_empty());
        fs::rename(dir.join("e"), dir.join("f")).expect("there");
        assert!(file.remarks(0)[0].starts_with("another program moved or hid "), "{:?}", file.remarks(0));
        assert_eq!(written("a.ttr", &|| fs::rename(&path, dir.join("c")).expect("there")), Ok(()));
        let moved = || drop(fs::hard_link(&path, dir.join("d")).and_then(|()| fs::remove_file(&path)));
        assert_eq!(written("a.ttr", &moved), Ok(()));
    }
}
