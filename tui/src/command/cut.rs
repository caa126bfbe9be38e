//! `tracetui cut`: writes part of a recording as a new recording.

use super::messages::{name, say};
use super::output_file::{self, Existing};
use super::signals;
use super::usage::BadUsage;
use crate::cli;
use anyhow::{Context, Result, anyhow, bail};
use regex::bytes::Regex;
use std::fs::File;
use std::process::ExitCode;
use tracetui_events::budget::Budget;
use tracetui_events::event::redact::Redact;
use tracetui_events::filter::{self, FilterOptions};
use tracetui_events::limits;
use tracetui_events::pipeline::excerpt::Excerpt;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::playback::{AtEnd, Playback, Played, Recording, Step};
use tracetui_events::recording::Writer;
use tracetui_events::text::{counted, grouped, shell};
use tracetui_host::clock;
use tracetui_shared::kind::KindSet;

/// Writes a recording of the events that pass the filters, and of their processes. The inputs are recordings of one machine.
pub fn run(args: &cli::Cut) -> Result<ExitCode> {
    signals::ignore_file_size();
    let filters = FilterOptions::from(&args.filters);
    let redact = redact(&args.redact)?;
    let budget = Budget::new(limits::MEMORY_DEFAULT);
    let mut playback = Playback::open(&args.files, &filters, budget, AtEnd::Stop)?;
    playback.between(args.span.from, args.span.to, clock::zone())?;
    let mut cut = Cut::new(args, &playback, budget, redact)?;
    let result = cut.run(&mut playback).and_then(|()| cut.end());
    if result.is_err() && !cli::is_stream(&args.output) {
        // If this fails, the file remains. The first error is the one to report.
        let _ = output_file::remove(&args.output, &cut.file);
    }
    let written = result?;
    playback.remarks().iter().for_each(say);
    let damaged = playback.damaged();
    let none = if written.0 == 0 { ": no event passes, or none could be read" } else { "" };
    let (events, bytes) = (counted(written.0, ["event", "events"]), grouped(written.1));
    let replaced = match args.redact.is_empty() {
        true => String::new(),
        false => format!("; replacements: {}", grouped(cut.excerpt.replacements())),
    };
    say(format_args!("{}: {events}, {bytes} bytes{none}{replaced}", name(&args.output)));
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn redact(patterns: &[String]) -> Result<Option<Redact>> {
    let regex = |pattern: &String| {
        Regex::new(pattern).map_err(|error| BadUsage(format!("--redact {}: {error}", shell::word(pattern.as_bytes()))))
    };
    let patterns = patterns.iter().map(regex).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(patterns).filter(|patterns| !patterns.is_empty()).map(Redact::new))
}

struct Cut {
    writer: Option<Writer<File>>,
    file: File,
    excerpt: Excerpt,
    /// Reads the written frames. States in the recording come from this pipeline.
    reader: Pipeline,
    events: u64,
}

impl Cut {
    fn new(args: &cli::Cut, playback: &Playback, budget: Budget, redact: Option<Redact>) -> Result<Cut> {
        let Some(first) = playback.recordings().first() else { bail!("no recording was given") };
        if !playback.is_of_one_boot() {
            bail!("the recordings are from different machines or boots: cut each one separately");
        }
        let world = &first.start;
        let kinds = playback.recordings().iter().map(Recording::kinds);
        let kinds = kinds.fold(KindSet::NONE, |kinds, (recorded, wanted)| kinds | recorded & wanted);
        output_file::refuse_input(&args.files, &args.output)?;
        let existing = if args.force { Existing::Replace } else { Existing::Refuse };
        let file = output_file::open_output(&args.output, existing)?;
        let writer = Writer::new(file.try_clone()?, &output_file::header()?).map_err(|error| {
            if !cli::is_stream(&args.output) {
                // If this fails, an empty file remains. The first error is the one to report.
                let _ = output_file::remove(&args.output, &file);
            }
            anyhow!("cannot write {}: {error}", name(&args.output))
        })?;
        let reader = Pipeline::new(budget);
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
        writer.batch(batch.bytes()).context("cannot write the new recording")?;
        self.reader.feed(batch);
        self.reader.next(None, &mut |_, _| Disposition::Delivered);
        if writer.state_is_due() {
            writer.state(&self.reader.state()).context("cannot write the new recording")?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(u64, u64)> {
        self.reader.end();
        self.reader.next(None, &mut |_, _| Disposition::Delivered);
        let Some(writer) = self.writer.take() else { return Ok((0, 0)) };
        let (_, bytes) = writer.end(&self.reader.state()).context("cannot write the new recording")?;
        Ok((self.events, bytes))
    }
}
