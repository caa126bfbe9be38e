//! `tracetui export`: recordings as files for other programs.

use super::messages::{charset, name, say};
use super::output_file::{self, Existing};
use super::print::explain::JSON_COLUMN;
use super::print::recordings;
use super::print::{Flow, Lines};
use super::signals::{self, INTERRUPTED, Second, Signals};
use super::usage::BadUsage;
use crate::cli::{self, ExportFormat};
use anyhow::{Context, Result, anyhow, bail};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracetui_events::filter::FilterOptions;
use tracetui_events::playback::{Playback, Played, Step};
use tracetui_events::sink::perfetto::{Perfetto, Room};
use tracetui_events::sink::{self, FormatName, LineOptions, Sink, Style};
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

fn convert(args: &cli::Export, playback: &mut Playback, out: &Output<'_>) -> Result<ExitCode> {
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
    drop(lines);
    out.report();
    Ok(recordings::conclude(playback))
}

fn sink<'o>(args: &cli::Export, several: bool, out: &'o Output<'_>) -> Result<Box<dyn Sink + 'o>> {
    Ok(match args.format {
        ExportFormat::Json => lines_of(FormatName::Json, several, out)?,
        ExportFormat::Csv if args.json_column => lines_of(FormatName::CsvWithJson, several, out)?,
        ExportFormat::Csv => lines_of(FormatName::Csv, several, out)?,
        ExportFormat::Parquet => {
            Box::new(Parquet::new(out.file(0)?, Options::default()).with_context(|| out.cannot_write())?)
        }
        ExportFormat::Perfetto => {
            let room = if out.is_stdout() { Room::ALL } else { Room::OF_UI };
            // Do this before reading anything, so that an existing file is an error at once.
            let mut first = Some(out.file(0)?);
            let files = move |number| -> io::Result<Box<dyn Write>> {
                Ok(Box::new(match first.take() {
                    Some(first) => first,
                    None => out.file(number).map_err(io::Error::other)?,
                }))
            };
            Box::new(Perfetto::new(Box::new(files), room))
        }
    })
}

fn lines_of<'o>(format: FormatName, several: bool, out: &'o Output<'_>) -> Result<Box<dyn Sink + 'o>> {
    Ok(sink::lines(format, LineOptions { several, ..LineOptions::default() }, out.file(0)?))
}

struct Output<'a> {
    path: &'a Path,
    existing: Existing,
    /// The recordings must not be replaced.
    inputs: &'a [PathBuf],
    created: RefCell<Vec<(PathBuf, File)>>,
}

impl Output<'_> {
    fn new(args: &cli::Export) -> Result<Output<'_>> {
        let existing = if args.force { Existing::Replace } else { Existing::Refuse };
        let out = Output { path: &args.output, existing, inputs: &args.recordings, created: RefCell::default() };
        let binary = matches!(args.format, ExportFormat::Perfetto | ExportFormat::Parquet);
        if out.is_stdout() && args.force {
            bail!("--force: stdout is not a file");
        }
        if out.is_stdout() && binary && io::stdout().is_terminal() {
            bail!("cannot write binary data to a terminal; write it to a file: -o FILE");
        }
        Ok(out)
    }

    fn is_stdout(&self) -> bool {
        cli::is_stream(self.path)
    }

    fn file(&self, number: u32) -> Result<File> {
        if self.is_stdout() {
            if number > 0 {
                bail!("the trace has too many processes for one file; -o FILE writes several");
            }
            let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot write to stdout")?;
            return Ok(File::from(stdout));
        }
        let path = numbered(self.path, number);
        output_file::refuse_input(self.inputs, &path)?;
        let file = output_file::create(&path, self.existing)?;
        let writer = file.try_clone().map_err(|error| anyhow!("cannot write {}: {error}", name(&path)));
        self.created.borrow_mut().push((path, file));
        writer
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", name(self.path))
    }

    /// Prints that there is more than one file.
    fn report(&self) {
        let made = self.created.borrow();
        if let [_, .., (last, _)] = made.as_slice() {
            say(format_args!("{} files: {} to {}", made.len(), name(self.path), name(last)));
        }
    }

    fn remove(&self) {
        for (path, file) in self.created.borrow_mut().drain(..) {
            if let Err(error) = output_file::remove(&path, &file) {
                say(format_args!("cannot remove {}: {error:#}", name(&path)));
            }
        }
    }
}

/// The name of a further file: `x.1.pftrace` after `x.pftrace`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_files_have_their_number_before_the_extension() {
        let check = |path: &str, number, expected: &str| {
            assert_eq!(numbered(Path::new(path), number), Path::new(expected));
        };
        check("build.pftrace", 0, "build.pftrace");
        check("a.b/build.pftrace", 1, "a.b/build.1.pftrace");
        check("build.tar.pftrace", 12, "build.tar.12.pftrace");
        check("a.b/build", 2, "a.b/build.2");
        check(".hidden", 1, ".hidden.1");
    }
}
