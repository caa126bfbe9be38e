//! `tracetui export`: recordings as files for other programs.

use super::messages::{charset, name, say};
use super::output_file::{self, Existing};
use super::print::explain::JSON_COLUMN;
use super::print::recordings;
use super::print::{Flow, Lines};
use super::signals::{self, INTERRUPTED, Second, Signals};
use super::usage::BadUsage;
use crate::cli::{self, ExportFormat};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use tracetui_events::filter::FilterOptions;
use tracetui_events::playback::{Playback, Played, Step};
use tracetui_events::sink::{self, FormatName, LineOptions, Sink, Style};
use tracetui_export::perfetto::Perfetto;
use tracetui_export::{Options, Parquet};

/// Converts recordings. On failure, removes the files it created.
pub fn run(args: &cli::Export) -> Result<ExitCode> {
    if args.json_column && args.format != ExportFormat::Csv {
        return Err(BadUsage(JSON_COLUMN.to_owned()).into());
    }
    let filters = FilterOptions::from(&args.filters);
    let mut playback = recordings::open_span(&args.recordings, &filters, &args.span)?;
    let _signals = Signals::install(Second::Ends(INTERRUPTED.into()), &[]).context("cannot install signal handlers")?;
    signals::ignore_file_size();
    let out = Output::new(args)?;
    match convert(args, &mut playback, &out) {
        Ok(code) => Ok(code),
        Err(error) => {
            out.remove();
            Err(error)
        }
    }
}

fn convert(args: &cli::Export, playback: &mut Playback, out: &Output) -> Result<ExitCode> {
    let mut sink = sink(args, playback.recordings().len() > 1, out)?;
    sink.set_style(Style { charset: charset(), ..Style::default() });
    let mut lines = Lines::new(sink, Box::new(|_| true), None);
    let mut times: Option<(i128, i128)> = None;
    let mut take = |played: &Played<'_>, lines: &mut Lines<'_>| {
        let now = played.context.unix_nanos();
        times = Some(times.map_or((now, now), |(first, last)| (first.min(now), last.max(now))));
        lines.queue_line(played.context)
    };
    while playback.step(&mut |played| take(played, &mut lines))? == Step::More {
        if lines.outcome().with_context(|| out.cannot_write())? == Flow::Closed {
            return Ok(ExitCode::SUCCESS);
        }
        if signals::asked_to_end() {
            out.remove();
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    if args.format == ExportFormat::Parquet {
        lines.sink.set_metadata(playback.metadata(times));
    }
    lines.finish();
    lines.outcome().with_context(|| out.cannot_write())?;
    Ok(recordings::conclude(playback))
}

fn sink(args: &cli::Export, several: bool, out: &Output) -> Result<Box<dyn Sink>> {
    Ok(match args.format {
        ExportFormat::Json => lines_of(FormatName::Json, several, out)?,
        ExportFormat::Csv if args.json_column => lines_of(FormatName::CsvWithJson, several, out)?,
        ExportFormat::Csv => lines_of(FormatName::Csv, several, out)?,
        ExportFormat::Parquet => {
            Box::new(Parquet::new(out.file()?, Options::default()).with_context(|| out.cannot_write())?)
        }
        ExportFormat::Perfetto => Box::new(Perfetto::new(Box::new(out.file()?))),
    })
}

fn lines_of(format: FormatName, several: bool, out: &Output) -> Result<Box<dyn Sink>> {
    Ok(sink::lines(format, LineOptions { several, ..LineOptions::default() }, out.file()?))
}

struct Output {
    path: PathBuf,
    /// `None` for stdout.
    created: Option<File>,
}

impl Output {
    fn new(args: &cli::Export) -> Result<Output> {
        let existing = if args.force { Existing::Replace } else { Existing::Refuse };
        let path = args.output.clone();
        if cli::is_stream(&path) {
            if args.force {
                bail!("--force: stdout is not a file");
            }
            let binary = matches!(args.format, ExportFormat::Perfetto | ExportFormat::Parquet);
            if binary && io::stdout().is_terminal() {
                bail!("cannot write binary data to a terminal; write it to a file: -o FILE");
            }
            return Ok(Output { path, created: None });
        }
        // The recordings must not be replaced.
        output_file::refuse_input(&args.recordings, &path)?;
        let created = Some(output_file::create(&path, existing)?);
        Ok(Output { path, created })
    }

    fn file(&self) -> Result<File> {
        let file = match &self.created {
            Some(file) => file.try_clone(),
            None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        };
        file.with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", name(&self.path))
    }

    fn remove(&self) {
        if let Some(file) = &self.created
            && let Err(error) = output_file::remove(&self.path, file)
        {
            say(format_args!("cannot remove {}: {error:#}", name(&self.path)));
        }
    }
}
