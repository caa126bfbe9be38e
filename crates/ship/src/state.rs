//! Which parts of which trace were settled: shipped, or reported in the manifest. One small file, replaced at once.
//!
//! Losing it only costs requests: a part whose object exists is not stored again.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The most traces that are remembered. A boot has few.
const TRACES: usize = 1_000;

/// The most bytes of the file that are read: a line has fewer than 100.
const BYTES: u64 = 100 * TRACES as u64;

/// What is settled of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Settled {
    /// The number of the next part.
    next: u32,
    /// The number of events that the trace had seen before that part.
    seen: u64,
    /// When it was settled: the newest has the highest number.
    touched: u64,
}

/// What is settled, by trace.
#[derive(Debug, Default)]
pub(crate) struct State {
    directory: PathBuf,
    traces: HashMap<String, Settled>,
    touched: u64,
}

impl State {
    /// Reads the file. A damaged line is ignored.
    ///
    /// # Errors
    /// If the directory cannot be made, or the file cannot be read.
    pub(crate) fn open(directory: &Path) -> Result<State> {
        let fault = || format!("cannot read the state in {}", directory.display());
        fs::create_dir_all(directory).with_context(fault)?;
        let mut state = State { directory: directory.to_owned(), ..State::default() };
        let mut text = String::new();
        match File::open(state.file()) {
            Ok(file) => _ = file.take(BYTES).read_to_string(&mut text).with_context(fault)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(fault),
        }
        for line in text.lines() {
            let mut words = line.split(' ');
            if let (Some(trace), Some(next), Some(seen)) = (words.next(), words.next(), words.next())
                && trace.len() == 16
                && let (Ok(next), Ok(seen)) = (next.parse(), seen.parse())
            {
                state.put(trace, next, seen);
            }
        }
        Ok(state)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("shipped")
    }

    /// The number of the first part of a trace that is not settled.
    pub(crate) fn next(&self, trace: &str) -> u32 {
        self.traces.get(trace).map_or(0, |settled| settled.next)
    }

    /// How many events a trace had seen before that part.
    pub(crate) fn seen(&self, trace: &str) -> u64 {
        self.traces.get(trace).map_or(0, |settled| settled.seen)
    }

    /// Records that all parts before `next` are settled, and the number of events that the trace had seen before `next`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn settle(&mut self, trace: &str, next: u32, seen: u64) -> Result<()> {
        if next <= self.next(trace) {
            return Ok(());
        }
        self.put(trace, next, seen);
        self.write().with_context(|| format!("cannot write the state in {}", self.directory.display()))
    }

    fn put(&mut self, trace: &str, next: u32, seen: u64) {
        self.touched += 1;
        self.traces.insert(trace.to_owned(), Settled { next, seen, touched: self.touched });
        if self.traces.len() > TRACES
            && let Some(oldest) = self.traces.iter().min_by_key(|(_, of)| of.touched).map(|(trace, _)| trace.clone())
        {
            self.traces.remove(&oldest);
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let mut lines: Vec<_> = self.traces.iter().collect();
        lines.sort_by_key(|(_, of)| of.touched);
        let text: String = lines.iter().map(|(trace, of)| format!("{trace} {} {}\n", of.next, of.seen)).collect();
        let new = self.directory.join("shipped.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(new, self.file())
    }

    /// Creates the file for a conversion. It has no name, so a kill leaves nothing.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn temporary(&self) -> Result<File> {
        let path = self.directory.join("converting");
        let create = || {
            // One that a killed process left.
            let _ = fs::remove_file(&path);
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            Ok::<_, std::io::Error>(file)
        };
        create().with_context(|| format!("cannot create {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_damage_and_stays_small() {
        let directory = std::env::temp_dir().join(format!("tracetui-ship-state-{}", std::process::id()));
        let mut state = State::open(&directory).expect("state");
        state.settle("00112233aabbccdd", 7, 70).expect("written");
        state.settle("00112233aabbccdd", 3, 30).expect("written");
        assert_eq!(State::open(&directory).expect("state").next("00112233aabbccdd"), 7);
        fs::write(directory.join("shipped"), "junk\n00112233aabbccdd x\n0011 3\n00112233aabbccde 4 9")
            .expect("written");
        let mut state = State::open(&directory).expect("state");
        assert_eq!((state.next("00112233aabbccdd"), state.next("00112233aabbccde")), (0, 4));
        (0..2 * TRACES).for_each(|trace| state.put(&format!("{trace:016x}"), 1, 1));
        assert_eq!(state.traces.len(), TRACES);
        fs::remove_dir_all(directory).expect("removed");
    }
}
