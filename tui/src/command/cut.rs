//! `tracetui cut`: a part of a recording as a recording.

use super::playback::{AtEnd, Playback, Played, Step};
use super::say::{name, say};
use super::session::BadUsage;
use super::signals;
use super::write::{self, Existing};
use crate::budget::Budget;
use crate::cli;
use crate::event::keys::keys_of;
use crate::filter::{self, FilterOptions};
use crate::limits;
use crate::pipeline::excerpt::Excerpt;
use crate::pipeline::redact::Redact;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::Writer;
use crate::source::host::clock;
use crate::text::{grouped, shell};
use anyhow::{Context, Result, anyhow, bail};
use regex::bytes::Regex;
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
    let redact = redact(&args.redact)?;
    let budget = Budget::new(limits::MEMORY_DEFAULT);
    let mut playback = Playback::open(&args.files, &filters, budget, AtEnd::Stop)?;
    playback.between(args.from, args.to, clock::local_offset_now_s())?;
    let mut cut = Cut::new(args, &playback, budget, redact)?;
    let result = cut.run(&mut playback).and_then(|()| cut.end());
    if result.is_err() && !cli::is_stream(&args.output) {
        // If that fails, the file stays; the error that led here is what is said.
        let _ = write::remove(&args.output, &cut.file);
    }
    let written = result?;
    let damaged = playback.remarks();
    let none = if written.0 == 0 { ": nothing passes the filter and the times" } else { "" };
    let (events, bytes) = (grouped(written.0), grouped(written.1));
    let replaced = match args.redact.is_empty() {
        true => String::new(),
        false => format!("; replacements: {}", grouped(cut.excerpt.replacements())),
    };
    say(format_args!("{}: {events} events, {bytes} bytes{none}{replaced}", name(&args.output)));
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The regexes of `--redact`.
fn redact(patterns: &[String]) -> Result<Option<Redact>> {
    let regex = |pattern: &String| {
        Regex::new(pattern).map_err(|error| BadUsage(format!("--redact {}: {error}", shell::word(pattern.as_bytes()))))
    };
    let patterns = patterns.iter().map(regex).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(patterns).filter(|patterns| !patterns.is_empty()).map(Redact::new))
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
    fn new(args: &cli::Cut, playback: &Playback, budget: Budget, redact: Option<Redact>) -> Result<Cut> {
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
        let filter = filter::without_texts(&first.filter_text());
        let excerpt = Excerpt::new(world, kinds, &filter).only_shown();
        Ok(Cut {
            writer: Some(writer),
            file,
            excerpt: match redact {
                Some(redact) => excerpt.redacted(redact),
                None => excerpt,
            },
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
