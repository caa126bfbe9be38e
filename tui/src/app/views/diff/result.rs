//! The result of a comparison with a recording.

use tracetui_events::diff::{DiffLine, DiffReport};

/// The note on a run that goes on.
pub(crate) const STILL_RUNS: &str = "B is still running: what its living processes lack may come";

#[derive(Debug)]
pub struct Compared {
    /// The name of the recording, and that of the trace on the screen.
    pub a: String,
    pub b: String,
    pub report: DiffReport,
    /// What the result depends on. The last one is the result in a sentence.
    pub notes: Vec<String>,
}

impl Compared {
    pub(crate) fn line(&self, at: usize) -> Option<&DiffLine> {
        self.report.lines.get(at)
    }

    /// Says that a run that went on has ended since. Returns whether it had not ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let note = self.notes.iter_mut().find(|note| *note == STILL_RUNS);
        note.map(|note| "B has ended since: compare again for all of it".clone_into(note)).is_some()
    }

    /// The note of this number. Without one, the result in a sentence.
    pub(crate) fn note(&self, at: usize) -> &str {
        self.notes.get(at).or(self.notes.last()).map_or("", String::as_str)
    }
}
