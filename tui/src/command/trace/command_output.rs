//! COMMAND's output in a recording.

use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{CommandOutput, HostFrame};
use tracetui_events::limits;
use tracetui_host::clock;

#[derive(Debug, Default)]
pub(in crate::command) struct RecordedOutput {
    /// Columns and rows of the terminal.
    pub(in crate::command) window: (u16, u16),
    bytes: u64,
    /// Bytes that were not recorded, and that no frame has reported yet.
    missing: u64,
    /// Whether the message about missing bytes was printed; `None` until bytes are missing.
    reported: Option<bool>,
}

impl RecordedOutput {
    /// The frames for a piece of COMMAND's output. Missing bytes are reported now and then, and when `bytes` is empty.
    pub(in crate::command) fn frames(&mut self, bytes: &[u8]) -> Batch {
        let room = limits::OUTPUT_RECORDED.saturating_sub(self.bytes);
        let (kept, missing) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        self.bytes += kept.len() as u64;
        self.missing += missing.len() as u64;
        let (time, (columns, rows), mut batch) = (clock::now_boot(), self.window, Batch::default());
        let mut push = |bytes: &[u8], missing| {
            HostFrame::CommandOutput(CommandOutput { columns, rows, bytes: bytes.to_vec(), missing })
                .push(time, &mut batch);
        };
        kept.chunks(limits::OUTPUT_FRAME).for_each(|part| push(part, 0));
        if self.missing >= limits::OUTPUT_FRAME as u64
            || self.missing > 0 && (bytes.is_empty() || self.reported.is_none())
        {
            push(&[], std::mem::take(&mut self.missing));
            self.reported.get_or_insert(false);
        }
        batch
    }

    /// The message that the limit is reached; only once.
    pub(in crate::command) fn remark(&mut self) -> Option<String> {
        let said = self.reported.as_mut().filter(|said| !**said)?;
        *said = true;
        Some(format!("stopped recording COMMAND's output: the limit is {} MiB", limits::OUTPUT_RECORDED >> 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_recorded_up_to_a_limit_and_what_is_missing_is_counted() {
        let mut output = RecordedOutput { window: (80, 24), ..RecordedOutput::default() };
        let mut recorded = (0, 0);
        let mut add = |batch: Batch| {
            for frame in batch.frames() {
                let Some(HostFrame::CommandOutput(part)) = HostFrame::decode(&frame) else { panic!("another frame") };
                assert!(part.bytes.len() <= limits::OUTPUT_FRAME && (part.columns, part.rows) == (80, 24));
                recorded = (recorded.0 + part.bytes.len() as u64, recorded.1 + part.missing);
            }
        };
        output.bytes = limits::OUTPUT_RECORDED - 100_000;
        add(output.frames(&[b'x'; 90_000]));
        assert_eq!(output.remark(), None);
        add(output.frames(&[b'x'; 11_000]));
        assert!(output.remark().is_some_and(|text| text.contains("64 MiB")) && output.remark().is_none(), "once");
        for _ in 0..100 {
            add(output.frames(&[b'x'; 999]));
        }
        add(output.frames(b""));
        add(output.frames(b""));
        assert_eq!(recorded, (100_000, 1000 + 99_900));
    }
}
