//! A closed recording as a Parquet file.

use crate::part::Part;
use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use tracetui_events::budget::Budget;
use tracetui_events::filter::FilterOptions;
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{Playback, Step};
use tracetui_events::recording::file::RecordingFile;
use tracetui_events::sink::Sink as _;
use tracetui_events::text::time::utc;
use tracetui_export::{Options, Parquet};

/// The largest object that S3 takes in one request, in bytes. A part may become larger only if somebody made it for that.
const MOST: u64 = 5 << 30;

/// What a converted part contains.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Contents {
    pub(crate) host: String,
    pub(crate) boot_id: String,
    /// Of `record --label`: `site=fra1,role=web`.
    pub(crate) labels: String,
    /// Bytes of the Parquet file.
    pub(crate) bytes: u64,
    #[serde(rename = "events")]
    pub(crate) rows: u64,
    pub(crate) seen: u64,
    pub(crate) filtered: u64,
    pub(crate) lost: u64,
    /// Events that the trace had seen before this part.
    pub(crate) seen_before: u64,
    /// The times of the first and the last event.
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
    pub(crate) complete: bool,
    pub(crate) damaged: bool,
    /// Whether the trace has another part.
    pub(crate) continues: bool,
}

impl Contents {
    /// Makes the account of a damaged part add up. `before`: the events of the trace before it, or 0 if that is not known. The state at
    /// its start, or the last counters, may be damaged. The rest counts as lost.
    fn balance(&mut self, before: u64) {
        self.seen = self.seen.saturating_sub(before.saturating_sub(self.seen_before)).max(self.rows);
        self.seen_before = self.seen_before.max(before);
        self.filtered = self.filtered.min(self.seen - self.rows);
        self.lost = self.seen - self.rows - self.filtered;
    }
}

/// Writes the events of a part to `out`. `before`: the events of the trace before it, or 0 if that is not known. A fault of the
/// recording itself is in the inner result.
pub(crate) fn convert(
    part: &Part,
    recording: RecordingFile,
    source: &str,
    out: &File,
    options: Options,
    before: u64,
) -> Result<Result<Contents>> {
    let mut failed = None;
    let limited = Limited { file: out, written: 0, failed: &mut failed };
    let done = catch_unwind(AssertUnwindSafe(|| write(part, recording, source, limited, options)));
    if let Some(error) = failed {
        return Err(error).context("cannot write the converted part");
    }
    // The message of the panic was printed. The next part is not affected.
    let mut contents = match done.unwrap_or_else(|_| Err(anyhow!("a bug in the conversion; please report it"))) {
        Ok(contents) => contents,
        Err(fault) => return Ok(Err(fault)),
    };
    if contents.damaged {
        contents.balance(before);
    }
    contents.bytes = out.metadata().context("cannot read the size of the converted part")?.len();
    Ok(Ok(contents))
}

/// What the start of a recording says: the host, the boot id, and the number of events seen before.
/// Fails if it is no readable recording.
pub(crate) fn start_of(part: &Part, recording: RecordingFile) -> Result<Contents> {
    let read = || -> Result<Contents> {
        let mut playback = open(part, recording)?;
        // The first step reads the state, with the counts of the events before it.
        playback.step(&mut |_| Disposition::Delivered)?;
        Ok(of_start(&playback))
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(anyhow!("a bug; please report it")))
}

fn open(part: &Part, recording: RecordingFile) -> Result<Playback> {
    let files = [(PathBuf::from(&part.name), recording)];
    Ok(Playback::of(&files, &FilterOptions::default(), Budget::new(limits::MEMORY_DEFAULT))?)
}

fn of_start(playback: &Playback) -> Contents {
    let Some(recording) = playback.recordings().first() else { return Contents::default() };
    let (host, seen_before) = (&recording.start.host, recording.seen_before());
    let labels: Vec<_> = recording.trace.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    Contents {
        host: clipped(&host.name, 255),
        boot_id: clipped(&host.boot_id, 64),
        labels: clipped(&labels.join(","), 4096),
        seen_before,
        ..Contents::default()
    }
}

fn write(part: &Part, recording: RecordingFile, source: &str, out: Limited<'_>, options: Options) -> Result<Contents> {
    let mut playback = open(part, recording)?;
    let mut sink = Parquet::new(out, options)?;
    let (mut times, mut rows, mut fault) = (None::<(i128, i128)>, 0u64, None);
    let mut step = Step::More;
    while step == Step::More && fault.is_none() {
        step = playback.step(&mut |played| {
            let now = played.context.unix_nanos();
            times = Some(times.map_or((now, now), |(first, last)| (first.min(now), last.max(now))));
            rows += 1;
            fault = fault.take().or_else(|| sink.event(played.context).err());
            Disposition::Delivered
        })?;
    }
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    sink.set_metadata(playback.metadata(times));
    sink.set_metadata(vec![("source", source.to_owned())]);
    sink.finish()?;
    let sum = playback.account().sum();
    Ok(Contents {
        rows,
        seen: sum.seen,
        filtered: sum.filtered,
        lost: sum.lost.sum(),
        first: times.map(|(first, _)| utc(first)),
        last: times.map(|(_, last)| utc(last)),
        complete: playback.is_complete(),
        damaged: playback.damaged(),
        continues: playback.goes_on(),
        ..of_start(&playback)
    })
}

/// The first `most` bytes of a text, or fewer, so that no character is cut.
fn clipped(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default().to_owned()
}

/// A file of at most [`MOST`] bytes.
struct Limited<'f> {
    file: &'f File,
    written: u64,
    /// An error of the file, as opposed to one of the recording.
    failed: &'f mut Option<io::Error>,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.saturating_add(bytes.len() as u64) > MOST {
            return Err(io::Error::other("it would be larger than 5 GiB as Parquet"));
        }
        let mut file = self.file;
        match file.write(bytes) {
            Ok(written) => {
                self.written += written as u64;
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed.get_or_insert(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
