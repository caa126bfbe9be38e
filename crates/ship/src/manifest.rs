//! The rows of the manifest: one small JSON object for each part.

use crate::convert::Contents;
use crate::part::{Part, hour_of, stem};
use serde::{Serialize, Serializer};
use tracetui_events::text::time::utc;

/// Hex digits of the checksum in the name of a part. Whoever writes recordings could choose equal ones of fewer digits.
const SUM: usize = 16;

/// A part with an object under `events/`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    trace: String,
    part: u32,
    /// When the part was begun, in seconds since 1970.
    #[serde(rename = "created", serialize_with = "time")]
    created_s: i64,
    recording_bytes: u64,
    /// What identifies the recording: id, size, and checksum.
    pub(crate) source: String,
    #[serde(flatten)]
    pub(crate) contents: Contents,
}

/// Seconds since 1970 as a text.
fn time<S: Serializer>(time_s: &i64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&utc(i128::from(*time_s) * 1_000_000_000))
}

impl Row {
    pub(crate) fn new(part: &Part, source: String, contents: Contents) -> Row {
        let (trace, number) = (part.trace.clone(), part.number);
        Row { trace, part: number, created_s: part.created_s(), recording_bytes: part.identity.bytes, source, contents }
    }

    /// The name of the row's objects, without a directory and an extension. Recordings with other contents have other names.
    fn name(&self) -> String {
        let sum = self.source.rsplit('/').next().and_then(|sum| sum.get(..SUM)).unwrap_or_default();
        format!("{}-{:06}-{sum}", stem(&self.contents.host, &self.contents.boot_id, &self.trace), self.part)
    }

    /// The name of the part's Parquet file, below the URL of the store.
    pub(crate) fn events_key(&self) -> String {
        format!("events/{}/{}.parquet", hour_of(self.created_s), self.name())
    }

    /// The name of the row's own object.
    pub(crate) fn key(&self) -> String {
        format!("manifest/{}/{}.json", hour_of(self.created_s), self.name())
    }

    /// The row as a line of JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let mut row = serde_json::to_value(self)?;
        row["file"] = self.events_key().into();
        // Objects have the order of their members here, but rows are sorted by name.
        row.sort_all_objects();
        Ok(format!("{row}\n"))
    }
}
