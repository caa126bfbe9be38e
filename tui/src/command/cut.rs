//! `tracetui cut`: a part of a recording as a recording.

use super::playback::{AtEnd, Playback, Played, Step};
use super::say::{name, say};
use super::signals;
use super::write::{self, Existing};
use crate::budget::Budget;
use crate::cli;
use crate::event::keys::keys_of;
use crate::filter::FilterOptions;
use crate::limits;
use crate::pipeline::excerpt::Excerpt;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::Writer;
use crate::source::host::clock;
use crate::text::grouped;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::process::ExitCode;
use tracetui_shared::kind::KindSet;

/// Writes the events of recordings of one machine that pass the filters, and what is known of their processes, into a recording.
///
/// # Errors
/// If one cannot be read, or the recording cannot be written.
pub fn run(args: &cli::Cut) -> Result<ExitCode> {
    signals::ignore_file_size();
    let filters = FilterOptions::from(&args.filters);
    let budget = Budget::new(limits::MEMORY_DEFAULT);
    let mut playback = Playback::open(&args.files, &filters, budget, AtEnd::Stop)?;
    playback.between(args.from, args.to, clock::local_offset_now_s())?;
    let mut cut = Cut::new(args, &playback, budget)?;
    let result = cut.run(&mut playback).and_then(|()| cut.end());
    if result.is_err() && !cli::is_stream(&args.output) {
        // If that fails, the file stays; the error that led here is what is said.
        let _ = write::remove(&args.output, &cut.file);
    }
    let written = result?;
    let damaged = playback.remarks();
    let none = if written.0 == 0 { ": nothing passes the filter and the times" } else { "" };
    say(format_args!("{}: {} events, {} bytes{none}", name(&args.output), grouped(written.0), grouped(written.1)));
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The recording that is written.
struct Cut {
    writer: Option<Writer<File>>,
    file: File,
    excerpt: Excerpt,
    /// Reads what is written: its states are those of the recording.
    reader: Pipeline,
    events: u64,
}

impl Cut {
    fn new(args: &cli::Cut, playback: &Playback, budget: Budget) -> Result<Cut> {
        let mut recordings = playback.recordings().iter();
        let Some(first) = recordings.next() else { bail!("no recording was named") };
        let boot = |recording: &super::playback::Recording| recording.start().host().boot_id.clone();
        if recordings.any(|other| boot(other) != boot(first)) {
            bail!("the recordings are of different machines or boots: cut each by itself");
        }
        let world = first.start();
        let kinds = playback.recordings().iter().map(super::playback::Recording::kinds);
        let kinds = kinds.fold(KindSet::NONE, |kinds, (recorded, wanted)| kinds | recorded & wanted);
        write::refuse_input(&args.files, &args.output)?;
        let existing = if args.force { Existing::Replace } else { Existing::Refuse };
        let file = write::open_output(&args.output, existing)?;
        let writer = Writer::new(file.try_clone()?, &write::header()?, keys_of).map_err(|error| {
            if !cli::is_stream(&args.output) {
                // If that fails, an empty file stays; the error that led here is what is said.
                let _ = write::remove(&args.output, &file);
            }
            anyhow!("cannot write {}: {error}", name(&args.output))
        })?;
        let mut reader = Pipeline::default();
        reader.set_budget(budget);
        Ok(Cut {
            writer: Some(writer),
            file,
            excerpt: Excerpt::new(world, kinds, &first.filter_text()).without_other_processes(),
            reader,
            events: 0,
        })
    }

    fn run(&mut self, playback: &mut Playback) -> Result<()> {
        while playback.step(&mut |played| self.take(played))? == Step::More {
            if self.excerpt.bytes() >= limits::BATCH_MIN {
                self.write()?;
            }
        }
        self.write()
    }

    fn take(&mut self, played: &Played<'_>) -> Disposition {
        self.excerpt.add(played.context, played.frame);
        self.events += u64::from(played.context.process.is_some());
        Disposition::Delivered
    }

    fn write(&mut self) -> Result<()> {
        let batch = self.excerpt.batch();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.batch(batch.bytes()).context("cannot write")?;
        self.reader.feed(batch);
        self.reader.release(&mut |_, _| Disposition::Delivered);
        if writer.state_is_due() {
            writer.state(&self.reader.state()).context("cannot write")?;
        }
        Ok(())
    }

    /// The number of events and of bytes.
    fn end(&mut self) -> Result<(u64, u64)> {
        self.reader.finish(&mut |_, _| Disposition::Delivered);
        let Some(writer) = self.writer.take() else { return Ok((0, 0)) };
        let (_, bytes) = writer.end(&self.reader.state()).context("cannot write")?;
        Ok((self.events, bytes))
    }
}
