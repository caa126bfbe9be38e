//! Formats events as lines (text, JSON and CSV).
//!
//! A [`Format`] formats a line, [`Lines`] collects lines and writes them in large pieces. Events need no allocation:
//! lines are appended to the output buffer, and values are copied aside only if they need escaping.

pub mod csv;
mod memo;
pub mod ndjson;
pub mod text;

use crate::event::EventContext;
use crate::limits;
use crate::text::Charset;
use crate::text::paint::Paint;
use crate::text::time::Zone;
use crate::why::{Answer, explains};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracetui_shared::kind::Kind;

/// Bytes that a sink collects before it writes them.
pub const FULL: usize = 64 << 10;

/// A destination of events.
pub trait Sink {
    /// Takes an event.
    /// Fails if the output cannot be written. The waiting lines are dropped.
    fn event(&mut self, seen: &EventContext<'_>) -> io::Result<()>;

    /// The line of an event, to [`put`](Self::put) later or never. `None` if the output has no lines.
    fn line(&mut self, _seen: &EventContext<'_>) -> Option<Line> {
        None
    }

    /// Takes a line of [`line`](Self::line), and the reason of the failure.
    /// Fails if the output cannot be written. The waiting lines are dropped.
    fn put(&mut self, _line: &Line, _why: Option<&Answer>) -> io::Result<()> {
        Ok(())
    }

    /// Writes the waiting lines. Call it when no event is about to follow.
    fn flush(&mut self) -> io::Result<()>;

    /// Writes the waiting lines and the end of the output.
    fn finish(&mut self) -> io::Result<()>;

    /// Sets how text looks.
    fn set_style(&mut self, _style: Style) {}

    /// Sets the facts about the recordings, by name. Only Parquet has a place for them.
    fn set_metadata(&mut self, _: Vec<(&'static str, String)>) {}

    /// The accepted events that were not written. Call it after the last write.
    fn unwritten(&mut self) -> Vec<Unwritten> {
        Vec::new()
    }
}

/// How text looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// The time zone of the reader. Only text uses it.
    pub zone: Zone,
    /// The charset of the locale's terminals. Other charsets than UTF-8 get all non-ASCII characters escaped.
    pub charset: Charset,
    /// Whether text is coloured. Other formats never are.
    pub paint: Paint,
}

/// The line of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub text: Vec<u8>,
    pub of: Unwritten,
}

/// An event whose line was not written completely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unwritten {
    pub kind: Kind,
    /// Whether a field was truncated.
    pub cut: bool,
}

impl Unwritten {
    fn of(seen: &EventContext<'_>) -> Unwritten {
        Unwritten { kind: seen.event.kind(), cut: seen.event.body.cut() }
    }
}

/// A line format.
pub trait Format {
    /// Appends the header of the output.
    fn head(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the line of an event, including the line end.
    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>);

    /// Adds to the line at the end of the output why its event failed. `None`: it did not fail. CSV has no place for it.
    fn reason(&mut self, _why: Option<&Answer>, _out: &mut Vec<u8>) {}

    /// Sets how text looks, as [`Sink::set_style`].
    fn set_style(&mut self, _style: Style) {}
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FormatName {
    /// Aligned columns.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// RFC 4180, with a header line.
    Csv,
    /// The same, with the whole event as JSON in the last column.
    CsvWithJson,
}

impl FormatName {
    /// The formats that have a name.
    pub const ALL: [(&str, FormatName); 3] =
        [("text", FormatName::Text), ("json", FormatName::Json), ("csv", FormatName::Csv)];
}

/// What lines contain beside the events, and how their writer counts.
#[derive(Default)]
pub struct LineOptions {
    /// Explains failures. CSV has no place for the reasons.
    pub explain: Option<Explain>,
    /// Whether the events are of several recordings: JSON and CSV name the host and the boot of each event.
    pub several: bool,
    /// The number of bytes that have left the queue, for a writer that only queues.
    pub written: Option<Arc<AtomicU64>>,
}

/// Explains why an event failed; `None` for other events.
pub type Explain = Box<dyn FnMut(&EventContext<'_>) -> Option<Answer>>;

/// A sink that writes lines in this format to `out`.
pub fn to_writer<'w>(format: FormatName, out: impl Write + 'w) -> Box<dyn Sink + 'w> {
    lines(format, LineOptions::default(), out)
}

/// Like [`to_writer`], with these options.
pub fn lines<'w>(format: FormatName, options: LineOptions, out: impl Write + 'w) -> Box<dyn Sink + 'w> {
    let LineOptions { explain, several, written } = options;
    match format {
        FormatName::Text => Box::new(Lines { written, explain, ..Lines::new(text::Text::default(), out) }),
        FormatName::Json => Box::new(Lines { written, explain, ..Lines::new(ndjson::Json::with(several), out) }),
        FormatName::Csv | FormatName::CsvWithJson => {
            let csv = csv::Csv::default().with(several, format == FormatName::CsvWithJson);
            Box::new(Lines { written, ..Lines::new(csv, out) })
        }
    }
}

/// A sink that writes lines to a writer.
pub struct Lines<F, W> {
    format: F,
    explain: Option<Explain>,
    out: W,
    buffer: Vec<u8>,
    /// Bytes that the writer accepted.
    taken: u64,
    /// Bytes that were written, if the writer only queues.
    written: Option<Arc<AtomicU64>>,
    /// The lines that may be unwritten, each with its end as an offset in the output.
    lines: VecDeque<(u64, Unwritten)>,
}

impl<F: Format, W: Write> Lines<F, W> {
    /// Creates the sink. `out` needs no buffer.
    pub fn new(mut format: F, out: W) -> Lines<F, W> {
        let mut buffer = Vec::with_capacity(FULL + FULL / 4);
        format.head(&mut buffer);
        Lines { format, explain: None, out, buffer, taken: 0, written: None, lines: VecDeque::new() }
    }

    /// Notes a line in the buffer.
    fn added(&mut self, line: Unwritten) -> io::Result<()> {
        if line.kind != Kind::Lost {
            self.lines.push_back((self.taken + self.buffer.len() as u64, line));
        }
        if self.buffer.len() < FULL { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.hand_over();
        self.buffer.clear();
        self.buffer.shrink_to(limits::SCRATCH);
        self.forget_written();
        written
    }

    /// Writes the buffer, and counts the bytes that the writer accepts: an error can occur in the middle of a line.
    fn hand_over(&mut self) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = self.buffer.get(done..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    done += written;
                    self.taken += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn forget_written(&mut self) {
        let written = self.written.as_ref().map_or(self.taken, |written| written.load(Ordering::Acquire));
        let done = self.lines.partition_point(|(end, _)| *end <= written);
        self.lines.drain(..done);
    }
}

impl<F: Format, W: Write> Sink for Lines<F, W> {
    fn event(&mut self, seen: &EventContext<'_>) -> io::Result<()> {
        self.format.line(seen, &mut self.buffer);
        if let Some(explain) = self.explain.as_mut().filter(|_| explains(&seen.event.body)) {
            self.format.reason(explain(seen).as_ref(), &mut self.buffer);
        }
        self.added(Unwritten::of(seen))
    }

    fn line(&mut self, seen: &EventContext<'_>) -> Option<Line> {
        let mut text = Vec::new();
        self.format.line(seen, &mut text);
        Some(Line { text, of: Unwritten::of(seen) })
    }

    fn put(&mut self, line: &Line, why: Option<&Answer>) -> io::Result<()> {
        self.buffer.extend_from_slice(&line.text);
        if why.is_some() {
            self.format.reason(why, &mut self.buffer);
        }
        self.added(line.of)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.write()?;
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    fn set_style(&mut self, style: Style) {
        self.format.set_style(style);
    }

    fn unwritten(&mut self) -> Vec<Unwritten> {
        self.forget_written();
        self.lines.drain(..).map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
pub(crate) mod testing;
