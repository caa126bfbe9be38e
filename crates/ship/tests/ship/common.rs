//! What the tests share: a spool of parts, and the program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tracetui_events::recording::block::{FileHeader, HEADER};
use tracetui_events::synthetic::Scratch;
use zerocopy::IntoBytes as _;

/// The trace of the parts.
pub(crate) const RUN: [u8; 8] = [0xab, 1, 2, 3, 4, 5, 6, 7];

/// A recording of one file, with 551 events.
pub(crate) fn recording() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/failed-build.ttr")).expect("the asset")
}

/// The recording as a part of a trace.
pub(crate) fn part(run: [u8; 8], number: u32) -> Vec<u8> {
    let mut bytes = recording();
    let header = FileHeader::read(&bytes).expect("a header").part_of(run, number);
    bytes[..HEADER].copy_from_slice(header.as_bytes());
    bytes
}

/// A directory that is removed at the end.
pub(crate) struct Place(pub(crate) Scratch);

impl Place {
    pub(crate) fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Scratch::new(&format!("ship-{number}"));
        fs::create_dir(path.join("spool")).expect("a directory");
        Place(path)
    }

    /// With parts that have these numbers.
    pub(crate) fn with_parts(numbers: impl IntoIterator<Item = u32>) -> Place {
        let place = Place::new();
        numbers.into_iter().for_each(|number| place.put(&format!("h.{:06}.ttr", number + 1), &part(RUN, number)));
        place
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.spool().join(name), bytes).expect("written");
    }

    /// Makes a file of the spool an hour old.
    pub(crate) fn age(&self, name: &str) {
        let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        let file = File::options().append(true).open(self.spool().join(name)).expect("it");
        file.set_modified(hour_ago).expect("set");
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn command(&self, to: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui-ship"));
        command.arg("--spool").arg(self.spool()).args(["--to", to]).args(more).env("RUST_BACKTRACE", "0");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.store().display())
    }

    /// Ships to the directory, once.
    pub(crate) fn ship(&self, more: &[&str]) -> Output {
        self.command(&self.url(), &[&["--once"], more].concat()).output().expect("it runs")
    }

    pub(crate) fn start(&self) -> Child {
        self.command(&self.url(), &[]).spawn().expect("it runs")
    }

    /// Whether all rows are of parts that are complete and stored.
    pub(crate) fn is_whole(&self) -> bool {
        let is_stored =
            |row: &serde_json::Value| row["file"].as_str().is_some_and(|file| self.store().join(file).is_file());
        self.rows().iter().all(|row| row["complete"] == true && is_stored(row))
    }

    /// The names of the stored objects with this end, below the store.
    pub(crate) fn objects(&self, end: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.store(), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(end));
        found.sort();
        found
    }

    pub(crate) fn rows(&self) -> Vec<serde_json::Value> {
        let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).expect("a row")).expect("JSON");
        self.objects(".json").iter().map(read).collect()
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
