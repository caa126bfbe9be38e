//! Prints recordings: `tracetui print FILE`.

use super::explain::{self, Reasons};
use super::unanswered::Unanswered;
use super::{Flow, Lines, Printed};
use crate::cli::{self};
use crate::command::messages::{say, style};
use anyhow::{Result, anyhow};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracetui_events::budget::Budget;
use tracetui_events::filter::{Filter, FilterOptions};
use tracetui_events::limits;
use tracetui_events::playback::Error::NoSuchRecording;
use tracetui_events::playback::{self, Playback, Played, Recording, SORTS_OF_TIME, Step};
use tracetui_events::sink::{self, FormatName, LineOptions};
use tracetui_events::text::shell;
use tracetui_events::text::time::Moment;
use tracetui_events::text::without_codes;
use tracetui_host::clock;
use tracetui_shared::kind::{Kind, KindSet};

/// Prints the events of recordings, merged by time.
pub fn print(args: &cli::Print) -> Result<Printed> {
    let format = explain::format(args)?;
    let filters = FilterOptions::from(&args.trace.filters);
    let budget = Budget::new(args.trace.memory().0);
    let playback = Playback::open(&args.recordings, &filters, budget);
    let mut playback = playback.map_err(with_tip)?;
    playback.between(args.from, args.to, clock::zone())?;
    let several = playback.recordings().len() > 1;
    if args.why && args.format == FormatName::Text {
        say("--why: recordings have only the reasons that events prove; a live trace looks up the others");
    }
    let reasons = args.why.then(|| Reasons::of_recording(format));
    let explain = reasons.clone().filter(|_| !args.unanswered).map(Reasons::explain);
    let mut sink = sink::lines(format, LineOptions { explain, several, written: None }, io::stdout());
    sink.set_style(style(args.color));
    let mut lines = Lines::new(sink, Box::new(|_| true), args.count);
    let texts = (format == FormatName::Text).then(|| style(args.color).charset);
    let unanswered = || Unanswered::new(None, budget, texts, reasons);
    lines.unanswered = args.unanswered.then(unanswered);
    let early = "the output ended early";
    let (mut any, mut done) = (false, false);
    loop {
        let mut take = |played: &Played<'_>| {
            any = true;
            lines.queue_line(played.context)
        };
        match playback.step(&mut take) {
            Ok(Step::More) => {}
            Ok(Step::End) => break,
            Err(error) => {
                lines.finish();
                return Err(error.into());
            }
        }
        match lines.outcome()? {
            Flow::Closed => {
                return Ok(Printed {
                    code: ExitCode::SUCCESS,
                    matched: lines.is_done(),
                    doubt: Some(early.to_owned()),
                });
            }
            Flow::Done if !std::mem::replace(&mut done, true) => playback.filter_rest(),
            _ => {}
        }
    }
    lines.finish();
    lines.outcome()?;
    let times = [args.from, args.to];
    if !any && times.iter().any(Option::is_some) {
        // The user may have meant a time of day where tracetui read a time since the start.
        let minutes = |time: &Moment| matches!(time.since(), Some(60_000_000_000..));
        match times.iter().flatten().any(minutes) {
            true => say(format_args!("no event in this time span passes the filter ({SORTS_OF_TIME})")),
            false => say("no event in this time span passes the filter"),
        }
    }
    playback.remarks().iter().for_each(say);
    let damaged = playback.damaged();
    if !playback.ended_early() && !playback.goes_on() {
        let mut account = playback.account();
        account.filter(&lines.answered);
        match args.format {
            FormatName::Json => say(account.json()),
            _ => say(account.line()),
        }
    }
    let code = if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let doubt = args.expect_none.as_ref().and_then(|_| doubt(&playback, &filters));
    Ok(Printed { code, matched: lines.is_done(), doubt })
}

/// Opens recordings to read a time span of them.
pub(in crate::command) fn open_span(files: &[PathBuf], filters: &FilterOptions, span: &cli::Span) -> Result<Playback> {
    let mut playback = Playback::open(files, filters, Budget::new(limits::MEMORY_DEFAULT))?;
    playback.between(span.from, span.to, clock::zone())?;
    Ok(playback)
}

/// Prints the remarks on recordings that were read, and their account. A damaged recording is a failure.
pub(in crate::command) fn conclude(playback: &Playback) -> ExitCode {
    playback.remarks().iter().for_each(say);
    if !playback.ended_early() && !playback.goes_on() {
        say(playback.account().line());
    }
    if playback.damaged() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why the filter may match an event that is in none of the recordings; `None` if it cannot.
fn doubt(playback: &Playback, filters: &FilterOptions) -> Option<String> {
    if playback.damaged() || playback.ended_early() || playback.goes_on() {
        return Some("events are missing".to_owned());
    }
    let doubt = playback.account().doubt().map(str::to_owned);
    doubt.or_else(|| playback.recordings().iter().find_map(|recording| unrecorded(recording, filters)))
}

/// Why a recording may lack events that the filter means: its kinds or its filter.
fn unrecorded(recording: &Recording, filters: &FilterOptions) -> Option<String> {
    let (trace, name, pipeline) = (&recording.trace, recording.name(), &recording.pipeline);
    let wanted = filters.compile(pipeline.world()).map_or(KindSet::BY_DEFAULT, |filter| filter.kinds);
    let missing: Vec<_> = (wanted & !trace.kinds()).iter().map(Kind::name).collect();
    if !missing.is_empty() {
        return Some(format!("{name} has no events of kind {}", missing.join(", ")));
    }
    if pipeline.excerpt().is_some() || !pipeline.windows.is_empty() {
        return Some(format!("{name} is an excerpt"));
    }
    let all = Filter::parse(&trace.filter, pipeline.world()).is_ok_and(|filter| filter.is_of_kinds(pipeline.world()));
    (!all).then(|| format!("{name} has only events that passed the filter {}", without_codes(&trace.filter)))
}

/// Adds a tip to the error that there is no such recording: `print make` may be meant as `print -- make`.
fn with_tip(error: playback::Error) -> anyhow::Error {
    match &error {
        NoSuchRecording(name) if !name.ends_with(".ttr") => {
            anyhow!("{error}; to trace a command, write -- before it: -- {name}")
        }
        _ => error.into(),
    }
}

/// The command that replays a recording, if `word` looks like the name of one.
pub fn replay_of(word: &str) -> Option<String> {
    let meant = word.ends_with(".ttr") || playback::is_recording(Path::new(word));
    meant.then(|| format!("tracetui replay {}", shell::word(word.as_bytes())))
}
