//! `tracetui cut`: writes part of a recording as a new recording.

use super::messages::{name, say};
use super::output_file::{self, Existing};
use super::print::recordings::open_span;
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
use tracetui_events::playback::{Playback, Recording, Step};
use tracetui_events::recording::Writer;
use tracetui_events::text::{counted, grouped, shell};
use tracetui_shared::kind::KindSet;

/// Writes a recording of the events that pass the filters, and of their processes. The inputs are recordings of one machine.
pub fn run(args: &cli::Cut) -> Result<ExitCode> {
    signals::ignore_file_size();
    let filters = FilterOptions::from(&args.filters);
    let redact = redact(&args.redact)?;
    let mut playback = open_span(&args.files, &filters, &args.span)?;
    let Some(first) = playback.recordings().first() else { bail!("no recording was given") };
    if !playback.is_of_one_boot() {
        bail!("the recordings are from different machines or boots: cut each one separately");
    }
    output_file::refuse_input(&args.files, &args.output)?;
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let file = output_file::open_output(&args.output, existing)?;
    let kinds = playback.recordings().iter().map(Recording::kinds);
    let kinds = kinds.fold(KindSet::NONE, |kinds, (recorded, wanted)| kinds | recorded & wanted);
    let mut excerpt = Excerpt::new(&first.start, kinds, &filter::without_texts(&first.filter_text())).only_shown();
    if let Some(redact) = redact {
        excerpt = excerpt.redacted(redact);
    }
    let writer = file.try_clone().map_err(anyhow::Error::from).and_then(|file| {
        let writer = Writer::new(file, &output_file::header()?);
        writer.map_err(|error| anyhow!("cannot write {}: {error}", name(&args.output)))
    });
    let reader = Pipeline::new(Budget::new(limits::MEMORY_DEFAULT));
    let result = writer.and_then(|writer| Cut { writer, excerpt, reader }.run(&mut playback));
    if result.is_err() && !cli::is_stream(&args.output) {
        // If this fails, the file remains. The first error is the one to report.
        let _ = output_file::remove(&args.output, &file);
    }
    let (events, bytes, replacements) = result?;
    playback.remarks().iter().for_each(say);
    let damaged = playback.damaged();
    let none = if events == 0 { ": no event passes, or none could be read" } else { "" };
    let (events, bytes) = (counted(events, ["event", "events"]), grouped(bytes));
    let replaced = match args.redact.is_empty() {
        true => String::new(),
        false => format!("; replacements: {}", grouped(replacements)),
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
    writer: Writer<File>,
    excerpt: Excerpt,
    /// Reads the written frames. States in the recording come from this pipeline.
    reader: Pipeline,
}

impl Cut {
    /// Writes the recording. Returns the number of its events, its bytes, and the number of replacements.
    fn run(mut self, playback: &mut Playback) -> Result<(u64, u64, u64)> {
        let (mut events, mut step) = (0, Step::More);
        while step == Step::More {
            step = playback.step(&mut |played| {
                self.excerpt.add(played.context, played.frame);
                events += u64::from(played.context.process.is_some());
                Disposition::Delivered
            })?;
            if step != Step::More || self.excerpt.bytes() >= limits::BATCH_MIN {
                self.write()?;
            }
        }
        self.reader.end();
        self.reader.next(None, &mut |_, _| Disposition::Delivered);
        let (_, bytes) = self.writer.end(&self.reader.state()).context("cannot write the new recording")?;
        Ok((events, bytes, self.excerpt.replacements()))
    }

    fn write(&mut self) -> Result<()> {
        let batch = self.excerpt.batch();
        self.writer.batch(batch.bytes()).context("cannot write the new recording")?;
        self.reader.feed(batch);
        self.reader.next(None, &mut |_, _| Disposition::Delivered);
        if self.writer.state_is_due() {
            self.writer.state(&self.reader.state()).context("cannot write the new recording")?;
        }
        Ok(())
    }
}
