//! The file of a recording or an export: created as the invoking user, never over something else.

use super::say::say;
use crate::cli;
use crate::event::keys::keys_of;
use crate::pipeline::Pipeline;
use crate::recording::Recorder;
use crate::recording::block::FileHeader;
use crate::recording::recorder::Failed;
use crate::source::host::clock;
use crate::source::host::invoker::Invoker;
use crate::text::grouped;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Whether a file may be replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Existing {
    /// An error.
    Refuse,
    /// A regular file is replaced.
    Replace,
}

/// Starts a recording in a file, or on stdout (`-`). Before privileges are dropped.
///
/// # Errors
/// If the file exists or cannot be created, or stdout is to be replaced.
pub(super) fn start(path: &Path, existing: Existing) -> Result<Recorder> {
    let header = FileHeader::new(random_id().context("cannot read random bytes")?, clock::now_real_ns());
    let name = super::say::name(path);
    let file = match (cli::is_stream(path), existing) {
        (true, Existing::Replace) => bail!("--force: stdout is not a file"),
        (true, Existing::Refuse) => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        (false, _) => create(path, existing)?,
    };
    Recorder::start(file, name.clone(), &header, keys_of).with_context(|| format!("cannot write {name}"))
}

/// The name of a recording that was given none: `HOST-YYYYmmddTHHMMSSZ.ttr`.
pub(super) fn default_name(host: &str, real_ns: i64) -> PathBuf {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect();
    let stamp = crate::text::time::compact_utc(real_ns);
    let host = host.trim_start_matches(['-', '.']);
    format!("{}-{stamp}.ttr", if host.is_empty() { "host" } else { host }).into()
}

fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}

/// Creates the file with the file-system ids of the user who invoked sudo, in a thread of its own: they are those of a thread,
/// and root's capabilities on files go with them.
pub(super) fn create(path: &Path, existing: Existing) -> Result<File> {
    let (path, name) = (path.to_owned(), super::say::name(path));
    as_invoker(move || open(&path, existing))?.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{name} exists; --force replaces it"),
        _ => anyhow!("cannot create {name}: {error}"),
    })
}

/// Empties a file that [`create`] made, and removes it if it still has its name.
pub(super) fn remove(path: &Path, file: &File) -> Result<()> {
    file.set_len(0)?;
    let (path, made) = (path.to_owned(), file.metadata()?);
    as_invoker(move || {
        let found = std::fs::symlink_metadata(&path)?;
        match (found.dev(), found.ino()) == (made.dev(), made.ino()) {
            true => std::fs::remove_file(&path),
            false => Ok(()),
        }
    })??;
    Ok(())
}

fn as_invoker<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<io::Result<T>> {
    let invoker = Invoker::of_environment()?;
    let thread = std::thread::Builder::new().spawn(move || -> io::Result<T> {
        if let Some(invoker) = invoker {
            invoker.take_file_ids()?;
        }
        act()
    });
    thread.context("cannot start a thread")?.join().map_err(|_| anyhow!("the thread panicked"))
}

fn open(path: &Path, existing: Existing) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    if existing == Existing::Replace {
        match options.clone().open(path) {
            Ok(file) => return replaced(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    options.create_new(true).open(path)
}

/// An existing file, emptied, if it is a regular one.
fn replaced(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        return Err(io::Error::other("only a regular file without other links is replaced"));
    }
    file.set_len(0)?;
    Ok(file)
}

/// Ends a recording, and says how large it is; whether it is whole.
pub(super) async fn end(recorder: Recorder, pipeline: &Pipeline) -> bool {
    let name = recorder.name().to_owned();
    match recorder.end(pipeline).await {
        Ok(written) => say(format_args!("{name}: {} bytes", grouped(written))),
        Err(failed) => {
            say_failed(&name, &failed);
            return false;
        }
    }
    true
}

/// Says that a recording stopped.
pub(super) fn say_failed(name: &str, failed: &Failed) {
    say(format_args!("tracetui: cannot write {name}: {failed}; what was written before can be read"));
}
