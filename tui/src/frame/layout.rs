//! The lengths of the fixed parts of records as they were written, so that another version of tracetui can read them.
//!
//! The fixed part of a record only grows, at its end ([`tracetui_shared`]). A reader ignores the bytes after the fields
//! that it knows. A field that a shorter record lacks is `not_collected`, or zero if the field has no marks. A field
//! whose meaning changes takes a new [`VERSION`](tracetui_shared::header::VERSION), and the decoder rejects records of
//! a later version.

use super::Batch;
use super::host::{FIRST_KIND, Layout, RecordLayout};
use std::sync::LazyLock;
use tracetui_shared::header::flag;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::exec::{ExecChunk, ExecRecord};
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::fork::ForkRecord;
use tracetui_shared::record::mark::NOT_COLLECTED;
use tracetui_shared::record::open::{OpenRecord, UNKNOWN};
use zerocopy::{FromZeros, IntoBytes};

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

    /// Bytes of the fixed part of the first record of an event as this version writes it; 0 for other frames.
    pub(crate) fn fixed_of_own(kind: u16) -> usize {
        static FIXED: LazyLock<Vec<usize>> = LazyLock::new(|| {
            let own = Layout::own();
            (0..FIRST_KIND).map(|kind| own.fixed(kind, FIRST).unwrap_or_default()).collect()
        });
        FIXED.get(usize::from(kind)).copied().unwrap_or_default()
    }

    fn fixed(&self, kind: u16, part: u16) -> Option<usize> {
        let of = |record: &&RecordLayout| record.kind == kind && record.part == part;
        self.records.iter().find(of).map(|record| record.fixed.into())
    }
}

/// The fixed part of a record in which no field was written. `None` if the probes have no such record.
fn empty(kind: u16, part: u16) -> Option<Vec<u8>> {
    let not_exec = ExecRecord {
        argc: u32::MAX,
        exe_marks: NOT_COLLECTED,
        cwd_marks: NOT_COLLECTED,
        argv_marks: NOT_COLLECTED,
        filename_marks: NOT_COLLECTED,
        ..ExecRecord::default()
    };
    let not_open = OpenRecord {
        names_marks: NOT_COLLECTED,
        path_marks: NOT_COLLECTED,
        how_marks: UNKNOWN,
        ..OpenRecord::default()
    };
    let bytes = match (Kind::try_from(kind).ok()?, part) {
        (Kind::Exec, FIRST) => not_exec.as_bytes().to_vec(),
        (Kind::Exec, CONTINUATION) => ExecChunk::default().as_bytes().to_vec(),
        (Kind::Exit, FIRST) => ExitRecord::default().as_bytes().to_vec(),
        (Kind::Open, FIRST) => not_open.as_bytes().to_vec(),
        (Kind::Fork, FIRST) => ForkRecord::default().as_bytes().to_vec(),
        (Kind::Bpf, FIRST) => BpfRecord::new_zeroed().as_bytes().to_vec(),
        _ => return None,
    };
    Some(bytes)
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
