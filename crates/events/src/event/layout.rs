//! The lengths of the fixed parts of records at the time of writing, so that other versions of tracetui can read them.
//!
//! The fixed part of a record only grows, at its end ([`tracetui_shared`]). A reader ignores the bytes after the fields
//! that it knows. A field that a shorter record lacks is `not_collected`, or zero if the field has no marks. A field
//! whose meaning changes takes a new [`VERSION`](tracetui_shared::header::VERSION), and the decoder rejects records of
//! a later version.

use super::unwritten;
use crate::frame::Batch;
use crate::frame::host::{Layout, RecordLayout};
use tracetui_shared::header::flag;
use tracetui_shared::kind::Kind;

/// The first record of an event, as [`RecordLayout`] numbers the parts.
const FIRST: u16 = 0;
/// A continuation ([`flag::CONTINUES`]).
const CONTINUATION: u16 = 1;

impl Layout {
    /// The layout that this version writes.
    pub fn own() -> Layout {
        let records = Kind::PROBED.into_iter().flat_map(|kind| [(kind as u16, FIRST), (kind as u16, CONTINUATION)]);
        let record = |(kind, part)| Some(RecordLayout { kind, part, fixed: empty(kind, part)?.len() as u16 });
        Layout { records: records.filter_map(record).collect() }
    }

    /// Converts the frames of a batch to the layout of this version. Host frames stay unchanged: their payload may end
    /// early.
    pub(crate) fn translate(&self, batch: &Batch) -> Batch {
        let mut translated = Batch::with_capacity(batch.len());
        for frame in batch.frames() {
            let part = if frame.header.has(flag::CONTINUES) { CONTINUATION } else { FIRST };
            let written = self.fixed(frame.header.kind, part);
            match (empty(frame.header.kind, part), written) {
                (Some(mut fixed), Some(written)) if written != fixed.len() => {
                    let Some((known, rest)) = frame.payload.split_at_checked(written) else {
                        // The payload is too short. The decoder rejects the frame.
                        translated.push(frame.header, &[]);
                        continue;
                    };
                    fixed.iter_mut().zip(known).for_each(|(to, from)| *to = *from);
                    let grown = (fixed.len() as u32).wrapping_sub(written as u32);
                    fixed.extend_from_slice(rest);
                    if frame.header.has(flag::TOLD)
                        && let Some(length) = fixed.last_chunk_mut()
                    {
                        // The length of the record, after the state (docs/RECORDING.md).
                        *length = u32::from_le_bytes(*length).wrapping_add(grown).to_le_bytes();
                    }
                    translated.push(frame.header, &fixed);
                }
                _ => translated.push(frame.header, frame.payload),
            }
        }
        translated
    }

    fn fixed(&self, kind: u16, part: u16) -> Option<usize> {
        let of = |record: &&RecordLayout| record.kind == kind && record.part == part;
        self.records.iter().find(of).map(|record| record.fixed.into())
    }
}

/// The fixed part of a record with no field written. `None` if the probes have no such record.
fn empty(kind: u16, part: u16) -> Option<Vec<u8>> {
    let mut parts = unwritten(Kind::try_from(kind).ok()?);
    (usize::from(part) < parts.len()).then(|| parts.swap_remove(part.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_the_probes_has_its_first_record() {
        let own = Layout::own();
        assert!(Kind::PROBED.into_iter().all(|kind| own.fixed(kind as u16, FIRST).is_some()), "{own:?}");
    }
}
