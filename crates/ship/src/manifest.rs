//! The rows of the manifest: one small JSON object for each part, and for each gap between parts.

use crate::convert::Contents;
use crate::part::{hour_of, stem};
use serde::{Deserialize, Serialize, Serializer};
use tracetui_events::text::time::utc;

/// How many hours may lie between two parts of a trace.
const HOURS: i64 = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A part with an object under `events/`.
    #[default]
    Part,
    /// Parts that were removed before they were shipped.
    Gap,
    /// A file without a readable recording. Its events are lost.
    Unreadable,
}

/// One object of JSON, written and read. A reader does without the fields with a default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) trace: String,
    /// The number of the part, or of the first one of a gap.
    pub(crate) part: u32,
    /// How many parts the row is about.
    pub(crate) parts: u32,
    /// When the part was begun (of a gap: the part after it), in seconds since 1970.
    #[serde(rename = "created", serialize_with = "time", skip_deserializing)]
    pub(crate) created_s: i64,
    /// The name of the object of a part. It is set when the row is written.
    pub(crate) file: Option<String>,
    #[serde(default)]
    pub(crate) recording_bytes: u64,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(flatten)]
    pub(crate) contents: Contents,
    pub(crate) note: String,
    /// Which of the names of a part: 0 is the plain one, and each other one has a suffix from the source.
    #[serde(skip)]
    pub(crate) copy: u32,
}

/// Seconds since 1970 as a text.
fn time<S: Serializer>(time_s: &i64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&utc(i128::from(*time_s) * 1_000_000_000))
}

impl Row {
    /// The name of the row's objects, without a directory and an extension.
    fn name(&self) -> String {
        let stem = stem(&self.contents.host, &self.contents.boot_id, &self.trace);
        match self.kind {
            Kind::Part if self.copy == 0 => format!("{stem}-{:06}", self.part),
            Kind::Part => format!("{stem}-{:06}-{:08x}", self.part, sum(&format!("{} {}", self.source, self.copy))),
            // The number of the part after the gap, and of the events before it. A repetition has the same name even if the state was
            // lost, and the gap of a cloned machine another one.
            Kind::Gap => {
                let seen = self.contents.seen_before.saturating_add(self.contents.seen);
                format!("{stem}-{:06}-gap-{seen}", self.part.saturating_add(self.parts))
            }
            Kind::Unreadable => format!("{stem}-{:06}-unreadable-{:08x}", self.part, sum(&self.source)),
        }
    }

    /// The name of the part's Parquet file, below the URL of the store.
    pub(crate) fn events_key(&self) -> String {
        format!("events/{}/{}.parquet", hour_of(self.created_s), self.name())
    }

    /// The name of the row's own object.
    pub(crate) fn key(&self) -> String {
        format!("manifest/{}/{}.json", hour_of(self.created_s), self.name())
    }

    /// The hours of the rows before this one, the latest first, as directories; and how the names of its trace begin.
    pub(crate) fn earlier(&self) -> (impl Iterator<Item = String>, String) {
        let created_s = self.created_s;
        let hours = (0..=HOURS).map(move |hour| format!("manifest/{}", hour_of(created_s - hour * 3600)));
        (hours, format!("{}-", stem(&self.contents.host, &self.contents.boot_id, &self.trace)))
    }

    /// Takes what a stored row says about the part's events, if it is about the same recording.
    pub(crate) fn take_account(&mut self, stored: &[u8]) -> bool {
        let Ok(stored) = serde_json::from_slice::<Row>(stored) else { return false };
        let same = stored.kind == self.kind && stored.source == self.source;
        if same {
            let Contents { seen, seen_before, continues, .. } = stored.contents;
            (self.contents.seen, self.contents.seen_before, self.contents.continues) = (seen, seen_before, continues);
        }
        same
    }

    /// The row as a line of JSON. Rows of all kinds have the same fields.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let file = (self.kind == Kind::Part).then(|| self.events_key());
        let mut row = serde_json::to_value(Row { file, ..self.clone() })?;
        // Objects have the order of their members here, but rows are sorted by name.
        row.sort_all_objects();
        Ok(format!("{row}\n"))
    }
}

/// The number of the part after a stored row, of the events seen before that part, and whether the trace has it.
pub(crate) fn after(row: &[u8]) -> Option<(u32, u64, bool)> {
    let Row { part, parts, contents, .. } = serde_json::from_slice(row).ok()?;
    Some((part.checked_add(parts)?, contents.seen_before.saturating_add(contents.seen), contents.continues))
}

fn sum(text: &str) -> u32 {
    crc32fast::hash(text.as_bytes())
}
