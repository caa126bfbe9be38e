//! Files that no event may open or execute: `print --expect-no-open`.

use crate::command::messages::name;
use crate::command::usage::BadUsage;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use tracetui_events::event::{EventContext, Takes, takes};
use tracetui_events::text::counted;
use tracetui_host::clock;
use tracetui_host::confine::Spawner;
use tracetui_host::mounts::HeldFile;
use tracetui_shared::time::BootNanos;

/// How many files are held. A name can lead to a new file each time.
const MOST: usize = 256;

#[derive(Debug)]
pub(super) struct Unwanted {
    names: Vec<PathBuf>,
    /// Each file that had one of the names.
    held: Vec<HeldFile>,
    /// When the names were looked up.
    looked_up: BootNanos,
    /// The mount namespace of the names.
    mounts: Option<u32>,
    /// Opened files without device and inode.
    unidentified: u64,
    failure: Option<String>,
    lookups: Spawner,
}

pub(super) fn find(names: &[PathBuf]) -> Result<Vec<HeldFile>, BadUsage> {
    let find = |path: &PathBuf| match HeldFile::open(path, &[]) {
        Ok(Some(held)) if held.is_directory => {
            Some(Err(BadUsage(format!("--expect-no-open {}: is a directory; name the files in it", name(path)))))
        }
        Ok(held) => held.map(Ok),
        Err(error) => Some(Err(BadUsage(format!("--expect-no-open {}: {error}", name(path))))),
    };
    names.iter().filter_map(find).collect()
}

impl Unwanted {
    /// `held` is what [`find`] found. `lookups` starts threads that may read all directories.
    pub(super) fn new(names: &[PathBuf], held: Vec<HeldFile>, lookups: Spawner) -> Unwanted {
        let mounts = fs::metadata("/proc/self/ns/mnt").ok().map(|ns| ns.ino() as u32);
        let (names, looked) = (names.to_vec(), BootNanos(0));
        Unwanted { names, held, looked_up: looked, mounts, unidentified: 0, failure: None, lookups }
    }

    /// Whether an event opened or executed one of the files.
    pub(super) fn meets(&mut self, seen: &EventContext<'_>) -> bool {
        let uses = takes(seen.event.kind()) != Takes::Nothing && !seen.event.failed();
        let Some(file) = seen.event.body.file().filter(|_| uses) else { return false };
        let mut path = Vec::new();
        file.write(&mut path);
        if seen.event.header.time >= self.looked_up {
            self.look();
        }
        let found = seen.event.body.identity().and_then(Result::ok);
        self.unidentified += u64::from(found.is_none());
        let same_mounts = self.mounts == Some(seen.event.header.mnt_ns.0);
        self.held.iter().any(|held| {
            found.is_some_and(|found| (found.device, found.ino) == (held.device, held.ino))
                || same_mounts && held.path == path
        })
    }

    /// Notes the files that have the names now.
    fn look(&mut self) {
        self.looked_up = clock::now_boot();
        let (names, known): (_, Vec<_>) = (self.names.clone(), self.held.iter().map(|held| held.stat).collect());
        let open = move |path: &PathBuf| match HeldFile::open(path, &known) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            held => held.map_err(|error| format!("{}: {error}", name(path))),
        };
        let found = self.lookups.ask("names", move || Ok(names.iter().map(open).collect::<Vec<_>>()));
        for found in found.unwrap_or_else(|error| vec![Err(error.to_string())]) {
            match found {
                Ok(Some(_)) if self.held.len() >= MOST => {
                    self.failure = Some("the file was replaced too often".to_owned())
                }
                Ok(found) => self.held.extend(found),
                Err(why) => self.failure = Some(why),
            }
        }
    }

    /// Why another event may have opened one of the files.
    pub(super) fn doubt(&self) -> Option<String> {
        let unidentified = (self.unidentified > 0).then(|| {
            format!("{} no device and inode", counted(self.unidentified, ["opened file has", "opened files have"]))
        });
        self.failure.clone().or(unidentified)
    }
}
