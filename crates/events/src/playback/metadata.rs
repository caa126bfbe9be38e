//! What a Parquet file says about the recordings that it comes from.

use super::{Playback, Recording};
use crate::text::json;
use crate::text::time::utc;

impl Playback {
    /// The metadata of a Parquet file (`docs/EXPORT.md`), once the recordings were read to their end. `times` are those of the first
    /// and the last event, in nanoseconds since 1970. Values that differ between recordings are separated by commas.
    pub fn metadata(&self, times: Option<(i128, i128)>) -> Vec<(&'static str, String)> {
        let each = |value: &dyn Fn(&Recording) -> String| {
            let mut values: Vec<String> = self.recordings().iter().map(value).collect();
            values.sort();
            values.dedup();
            values.join(",")
        };
        let time = |ns: Option<i128>| ns.map(utc).unwrap_or_default();
        vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("host", each(&|recording| recording.start.host.name.clone())),
            ("boot_id", each(&|recording| recording.start.host.boot_id.clone())),
            ("complete", self.is_complete().to_string()),
            ("account", json::ascii(&self.account().object())),
            ("filter", each(&Recording::filter_text)),
            ("start", time(times.map(|(first, _)| first))),
            ("end", time(times.map(|(_, last)| last))),
            ("command", each(&|recording| json::ascii(&recording.command_json()))),
            ("labels", each(&|recording| json::ascii(&recording.labels_json()))),
        ]
    }
}
