//! Events as lines: text for people and grep, JSON and CSV for programs.
//!
//! A [`Format`] makes a line, [`Lines`] collects lines and writes them in large pieces. Nothing is allocated for an
//! event: a line is made at the end of the buffer that is written, values are put there as they are and only put aside
//! when they hold something to escape.

pub mod csv;
pub mod ndjson;
pub mod text;

use crate::event::Seen;
use crate::limits;
use std::io::{self, Write};

/// Bytes that are collected before they are written.
const FULL: usize = 64 << 10;

/// Where events go to.
pub trait Sink {
    /// Takes an event.
    ///
    /// # Errors
    /// When the output cannot be written. The lines that waited for it are gone then.
    fn event(&mut self, seen: &Seen<'_>) -> io::Result<()>;

    /// Writes what waits: to be called when no event is about to follow.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn flush(&mut self) -> io::Result<()>;

    /// Writes what waits and what ends the output.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finish(&mut self) -> io::Result<()>;

    /// Says how many seconds the reader's wall clock is ahead of UTC from now on. Only text cares.
    fn set_zone(&mut self, _seconds: i32) {}
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn event(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        (**self).event(seen)
    }
    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }
    fn set_zone(&mut self, seconds: i32) {
        (**self).set_zone(seconds);
    }
}

/// A way to write an event as a line.
pub trait Format {
    /// Appends what stands before all lines.
    fn head(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the event's line, its end included.
    fn line(&mut self, seen: &Seen<'_>, out: &mut Vec<u8>);

    /// See [`Sink::set_zone`].
    fn set_zone(&mut self, _seconds: i32) {}
}

/// The formats that users can name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, clap::ValueEnum)]
pub enum FormatName {
    /// Aligned columns, for people and grep.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// RFC 4180, with a header line.
    Csv,
}

/// A sink that writes lines of a format to `out`.
pub fn to_writer<'w>(format: FormatName, out: impl Write + 'w) -> Box<dyn Sink + 'w> {
    match format {
        FormatName::Text => Box::new(Lines::new(text::Text::default(), out)),
        FormatName::Json => Box::new(Lines::new(ndjson::Json::new(), out)),
        FormatName::Csv => Box::new(Lines::new(csv::Csv::new(), out)),
    }
}

/// Lines of a format on their way to a writer.
#[derive(Debug)]
pub struct Lines<F, W> {
    format: F,
    out: W,
    buffer: Vec<u8>,
}

impl<F: Format, W: Write> Lines<F, W> {
    /// Lines of `format` to `out`, which needs no buffer of its own.
    pub fn new(mut format: F, out: W) -> Lines<F, W> {
        let mut buffer = Vec::with_capacity(FULL + FULL / 4);
        format.head(&mut buffer);
        Lines { format, out, buffer }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(limits::SCRATCH);
        written
    }
}

impl<F: Format, W: Write> Sink for Lines<F, W> {
    fn event(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        self.format.line(seen, &mut self.buffer);
        if self.buffer.len() < FULL { Ok(()) } else { self.write() }
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

    fn set_zone(&mut self, seconds: i32) {
        self.format.set_zone(seconds);
    }
}

/// Appends an integer.
fn integer(n: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

#[cfg(test)]
pub(crate) mod sample;
