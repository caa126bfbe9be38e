//! Remarks about the unreadable and missing parts of recordings.

use super::Playback;
use super::files::Part;
use super::recording::Recording;
use crate::recording::block::Damage;
use crate::recording::holes::{Hole, Holes};
use crate::recording::reader::Ending;
use crate::text::{counted, grouped};

impl Playback {
    /// The unreadable and missing parts of all recordings.
    pub fn remarks(&self) -> Vec<String> {
        self.recordings.iter().flat_map(Recording::remarks).collect()
    }
}

impl Recording {
    fn remarks(&self) -> Vec<String> {
        let earlier = |part: &Part| {
            let (name, events) = (&part.name, grouped(part.elsewhere));
            format!("{name}: {events} earlier events of the trace are in files that were not read")
        };
        let parts = self.input.parts.iter().filter(|part| part.elsewhere > 0);
        let mut remarks: Vec<_> = parts.map(earlier).collect();
        remarks.extend(self.damage());
        let continues = || format!("{}: the trace continues in the next file", self.input.part().name);
        remarks.extend(self.pipeline.continues.then(continues));
        remarks
    }

    /// The unreadable parts.
    pub fn damage(&self) -> Vec<String> {
        let of_trace = |is_so: bool, text: &str| is_so.then(|| format!("{}: {text}", self.name()));
        let odd = "cannot parse the filter of the recording: all events are counted";
        let mut remarks: Vec<_> = of_trace(self.odd_filter, odd).into_iter().collect();
        for part in &self.input.parts {
            let (name, reader) = (&part.name, &part.frames.reader);
            remarks.extend(of_holes(name, &part.frames.holes));
            if let Some(Ending::Early(at)) = reader.ending {
                remarks.push(format!("{name}: ends early, at offset {at}: {}", part.why_early()));
            }
            if reader.after_end() > 0 {
                let bytes = counted(reader.after_end(), ["byte", "bytes"]);
                remarks.push(format!("{name}: ignored {bytes} after the end of the recording"));
            }
        }
        let unknown = "the number of events in the damaged parts is unknown";
        remarks.extend(of_trace(self.lost_unknown(), unknown));
        // This can happen without damage: whole blocks may be missing.
        let wrong =
            "the account does not add up: blocks are missing, duplicated or reordered, or their contents are wrong";
        remarks.extend(of_trace(self.is_wrong(), wrong));
        remarks
    }
}

/// The remarks on the unreadable parts of a file.
pub fn of_holes(name: &str, holes: &Holes) -> Vec<String> {
    let of_hole = |Hole { offset, bytes, why, .. }: &Hole| match why {
        Damage::StateTooLarge => format!("{name}: at offset {offset}: {why}"),
        _ => format!("{name}: cannot read {} at offset {offset}: {why}", counted(*bytes, ["byte", "bytes"])),
    };
    let others = || format!("{name}: cannot read {}", counted(holes.others, ["further part", "further parts"]));
    holes.first.iter().map(of_hole).chain((holes.others > 0).then(others)).collect()
}
