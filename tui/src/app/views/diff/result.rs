//! The result of a comparison with a recording.

use tracetui_events::diff::DiffReport;

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
    /// The note of this number. Without one, the result in a sentence.
    pub(crate) fn note(&self, at: usize) -> &str {
        self.notes.get(at).or(self.notes.last()).map_or("", String::as_str)
    }
}
