//! The rows of the manifest: one small JSON object for each part, and for each gap between parts.

use crate::convert::Contents;
use crate::part::{hour_of, stem};
use serde_json::{Value, json};
use tracetui_events::text::time::utc;

/// How many hours may lie between two parts of a trace.
const HOURS: i64 = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A part with an object under `events/`.
    Part,
    /// Parts that were removed before they were shipped.
    Gap,
    /// A file without a readable recording. Its events are lost.
    Unreadable,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Part => "part",
            Kind::Gap => "gap",
            Kind::Unreadable => "unreadable",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) trace: String,
    /// The number of the part, or of the first one of a gap.
    pub(crate) part: u32,
    /// How many parts the row is about.
    pub(crate) parts: u32,
    /// When the part was begun (of a gap: the part after it), in seconds since 1970.
    pub(crate) created_s: i64,
    pub(crate) recording_bytes: u64,
    pub(crate) source: String,
    pub(crate) contents: Contents,
    pub(crate) note: String,
    /// Which of the names of a part: 0 is the plain one, and each other one has a suffix from the source.
    pub(crate) copy: u32,
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
        let Ok(stored) = serde_json::from_slice::<Value>(stored) else { return false };
        let text = |name| stored.get(name).and_then(Value::as_str);
        if text("kind") != Some(self.kind.name()) || text("source") != Some(&self.source) {
            return false;
        }
        let number = |name| stored.get(name).and_then(Value::as_u64).unwrap_or_default();
        (self.contents.seen, self.contents.seen_before) = (number("seen"), number("seen_before"));
        self.contents.continues = stored.get("continues").and_then(Value::as_bool).unwrap_or_default();
        true
    }

    /// The row as a line of JSON. Rows of all kinds have the same fields.
    pub(crate) fn json(&self) -> String {
        let Contents {
            host,
            boot_id,
            labels,
            bytes,
            rows,
            seen,
            filtered,
            lost,
            seen_before,
            times,
            complete,
            damaged,
            continues,
        } = &self.contents;
        let time = |ns: Option<i128>| ns.map_or(Value::Null, |ns| Value::from(utc(ns)));
        let file = (self.kind == Kind::Part).then(|| self.events_key());
        let mut row = json!({
            "kind": self.kind.name(), "host": host, "boot_id": boot_id, "labels": labels, "trace": self.trace, "part": self.part,
            "parts": self.parts, "created": utc(i128::from(self.created_s) * 1_000_000_000), "file": file,
            "bytes": bytes, "recording_bytes": self.recording_bytes, "source": self.source, "events": rows, "seen": seen,
            "filtered": filtered, "lost": lost, "seen_before": seen_before, "first": time(times.map(|times| times.0)),
            "last": time(times.map(|times| times.1)), "complete": complete, "damaged": damaged, "continues": continues, "note": self.note,
        });
        // Objects have the order of their members here, but rows are sorted by name.
        row.sort_all_objects();
        format!("{row}\n")
    }
}

/// The number of the part after a stored row, of the events seen before that part, and whether the trace has it.
pub(crate) fn after(row: &[u8]) -> Option<(u32, u64, bool)> {
    let row = serde_json::from_slice::<Value>(row).ok()?;
    let number = |name| row.get(name).and_then(Value::as_u64);
    let next = number("part")?.checked_add(number("parts")?)?;
    let continues = row.get("continues").and_then(Value::as_bool)?;
    Some((u32::try_from(next).ok()?, number("seen_before")?.saturating_add(number("seen")?), continues))
}

fn sum(text: &str) -> u32 {
    crc32fast::hash(text.as_bytes())
}
