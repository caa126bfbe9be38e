//! Recordings as input: `tracetui print FILE` and `tracetui info FILE`.

use super::messages::{charset, name, paint, say};
use super::print::explain;
use super::print::unanswered::{self, Unanswered};
use super::print::{Flow, Lines, Printed};
use super::signals::{self, INTERRUPTED, Second, Signals};
use crate::cli::{self, ReportFormat};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::event::exit::Ended;
use tracetui_events::filter::{Filter, FilterOptions};
use tracetui_events::frame::host::{Label, Probe, Window};
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::Error::NoSuchRecording;
use tracetui_events::playback::remarks::{Stretch, missing};
use tracetui_events::playback::{self, AtEnd, Playback, Played, Recording, SORTS_OF_TIME, Step};
use tracetui_events::recording::follow::{self, Writing};
use tracetui_events::recording::reader::Ending;
use tracetui_events::sink::{self, FormatName, Sink as _};
use tracetui_events::text::shell;
use tracetui_events::text::time::{Moment, utc};
use tracetui_events::text::{grouped, json, without_codes};
use tracetui_host::clock;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{KINDS, Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// Prints the events of recordings, merged by time.
pub fn print(args: &cli::Print) -> Result<Printed> {
    let format = explain::format(args)?;
    let filters = FilterOptions::from(&args.trace.filters);
    let at_end = if args.follow { AtEnd::Wait } else { AtEnd::Stop };
    let budget = Budget::new(args.trace.memory().0);
    let playback = Playback::open(&args.recordings, &filters, budget, at_end);
    let mut playback = playback.map_err(with_tip)?;
    playback.between(args.from, args.to, clock::zone())?;
    if args.follow {
        Signals::take(Second::Ends(INTERRUPTED.into()), &[]).context("cannot install signal handlers")?;
    }
    let several = playback.recordings().len() > 1;
    if args.why && args.format == FormatName::Text {
        say("--why: recordings have only the reasons that events prove; a live trace looks up the others");
    }
    let mut sink = match args.why {
        true => sink::explained(format, explain::from_events(format), io::stdout(), None, several),
        false if several => sink::of_several(format, io::stdout()),
        false => sink::to_writer(format, io::stdout()),
    };
    sink.set_zone(clock::zone());
    sink.set_charset(charset());
    sink.set_paint(paint(args.color));
    let mut lines = Lines::new(sink, Box::new(|_| true), args.count);
    lines.unanswered = args.unanswered.then(|| Unanswered::new(args.follow.then_some(unanswered::LIVE_NS), budget));
    let (mut said, mut any, mut done) = (false, false, false);
    let all = loop {
        let mut take = |played: &Played<'_>| {
            any = true;
            lines.take(played.context)
        };
        match playback.step(&mut take) {
            Ok(Step::More) => {}
            Ok(Step::NotYet) => {
                lines.flush();
                say_if_unknown(&playback, &mut said);
                if wait_for_more() == Flow::Closed {
                    return Ok(Printed {
                        code: ExitCode::SUCCESS,
                        matched: lines.is_done(),
                        doubt: Some("the output ended early".to_owned()),
                    });
                }
            }
            Ok(Step::End) => break true,
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
                    doubt: Some("the output ended early".to_owned()),
                });
            }
            Flow::Done if args.follow => break false,
            Flow::Done if !std::mem::replace(&mut done, true) => playback.filter_rest(),
            _ if args.follow && signals::asked_to_end() => break false,
            _ => {}
        }
    };
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
    if all && !playback.ended_early() && !playback.goes_on() {
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

/// Prints the remarks on recordings that were read, and their account. A damaged recording is a failure.
pub(super) fn conclude(playback: &Playback) -> ExitCode {
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
    let (trace, name, pipeline) = (recording.trace(), recording.name(), recording.pipeline());
    let wanted = filters.compile(pipeline.world()).map_or(KindSet::BY_DEFAULT, |filter| filter.kinds);
    let missing: Vec<_> = (wanted & !trace.kinds()).iter().map(Kind::name).collect();
    if !missing.is_empty() {
        return Some(format!("{name} has no events of kind {}", missing.join(", ")));
    }
    if pipeline.excerpt().is_some() || !pipeline.windows().is_empty() {
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

/// Prints once that tracetui cannot tell whether a recording is still being written.
fn say_if_unknown(playback: &Playback, said: &mut bool) {
    for recording in playback.recordings().iter().filter(|recording| recording.writing() == Writing::Unknown) {
        if !std::mem::replace(said, true) {
            let name = recording.name();
            say(format_args!("{name}: cannot tell whether a process is still writing it; Ctrl-C stops waiting"));
        }
    }
}

/// The command that replays a recording, if `word` looks like the name of one.
pub fn replay_of(word: &str) -> Option<String> {
    let meant = word.ends_with(".ttr") || playback::is_recording(Path::new(word));
    meant.then(|| format!("tracetui replay {}", shell::word(word.as_bytes())))
}

/// Waits until more events may be there, or a signal comes. Returns [`Flow::Closed`] if nobody reads stdout any more.
fn wait_for_more() -> Flow {
    let timeout = Timespec::try_from(follow::POLL).ok();
    // poll is not asked for any events, so only an error of stdout ends the wait early.
    match poll(&mut [PollFd::from_borrowed_fd(stdio::stdout(), PollFlags::empty())], timeout.as_ref()) {
        Ok(1..) => Flow::Closed,
        _ => Flow::Continue,
    }
}

/// Shows the contents of each recording in turn. If one cannot be read, reports that and continues with the others.
pub fn info(args: &cli::Info) -> Result<ExitCode> {
    if let [file] = args.files.as_slice() {
        let mut stretches = Vec::new();
        let text = look(file, args.format, &mut stretches)?;
        missing(stretches).iter().for_each(say);
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut code, mut first, mut stretches) = (ExitCode::SUCCESS, true, Vec::new());
    for file in &args.files {
        match (look(file, args.format, &mut stretches), args.format) {
            (Ok(text), ReportFormat::Text) => {
                let space = if std::mem::take(&mut first) { "" } else { "\n" };
                io::stdout().write_all(format!("{space}{:9} {}\n{text}", "recording", name(file)).as_bytes())?;
            }
            (Ok(text), ReportFormat::Json) => io::stdout().write_all(text.as_bytes())?,
            (Err(error), _) => {
                say(format_args!("tracetui: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    missing(stretches).iter().for_each(say);
    Ok(code)
}

/// The report of `info` on a recording. Adds to `stretches` which events of its trace the recording has.
fn look(file: &Path, format: ReportFormat, stretches: &mut Vec<Stretch>) -> Result<String> {
    let (playback, facts) = match read(file, Way::Short)? {
        (playback, facts) if facts.agrees_with(&playback) => (playback, facts),
        _ => read(file, Way::Whole)?,
    };
    let Some(recording) = playback.recordings().first() else { return Ok(String::new()) };
    recording.damage().iter().for_each(say);
    stretches.extend(recording.stretch());
    Ok(match format {
        ReportFormat::Text => facts.text(recording),
        ReportFormat::Json => facts.json(recording),
    })
}

/// How much of a recording to decompress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The start, and everything after the last state. The whole recording if that is not possible.
    Short,
    Whole,
}

fn read(file: &Path, way: Way) -> Result<(Playback, Facts)> {
    let mut playback = Playback::look(file, Budget::new(limits::MEMORY_DEFAULT))?;
    let mut facts = Facts::default();
    let mut short = way == Way::Short;
    while playback.step(&mut |played| facts.event(played.context))? == Step::More {
        if short && facts.first_ns.is_some() {
            short = false;
            if playback.pass_to_end()? {
                facts.go_on_from(&playback);
            }
        }
    }
    Ok((playback, facts))
}

/// The start of a window, and its end if it has ended, in nanoseconds since 1970.
fn span(world: &World, window: &Window) -> (i128, Option<i128>) {
    let unix = |at: BootNanos| i128::from(at.0) + i128::from(world.clock_offset());
    (unix(window.from), Some(window.to).filter(|to| to.0 > 0).map(unix))
}

#[derive(Default)]
struct Facts {
    first_ns: Option<i128>,
    last_ns: Option<i128>,
    /// Events by kind number.
    events: [u64; KINDS],
    /// Whether the events before the last state were counted while recording, and skipped here.
    passed: bool,
}

impl Facts {
    fn event(&mut self, seen: &EventContext<'_>) -> Disposition {
        let time = seen.unix_nanos();
        self.first_ns.get_or_insert(time);
        self.last_ns = Some(time);
        self.events.get_mut(seen.event.kind() as usize).into_iter().for_each(|count| *count += 1);
        Disposition::Delivered
    }

    /// Counts the skipped events before a state, from the account of the recording.
    fn go_on_from(&mut self, playback: &Playback) {
        (self.last_ns, self.passed) = (None, true);
        let account = playback.account();
        for kind in Kind::PROBED {
            self.events.get_mut(kind as usize).into_iter().for_each(|count| *count = account.kind(kind).delivered);
        }
    }

    /// Whether the counts of a recording that was partly skipped can be trusted. Then they are not above those of the index, an event
    /// came after the skipped part, COMMAND is known and nothing is damaged.
    fn agrees_with(&self, playback: &Playback) -> bool {
        let Some(recording) = playback.recordings().first().filter(|_| self.passed) else { return true };
        let (asked, _) = recording.kinds();
        let indexed = recording.indexed().unwrap_or_default();
        let fits = |kind: Kind| indexed.get(kind as usize).is_some_and(|events| self.count(kind) <= *events);
        let known = recording.trace().command == Tgid(0) || recording.command().is_some();
        self.last_ns.is_some() && known && !recording.damaged() && (asked & KindSet::PROBED).iter().all(fits)
    }

    fn text(&self, recording: &Recording) -> String {
        let pipeline = recording.pipeline();
        let host = pipeline.world().host();
        let account = recording.account();
        let clean = |text: &str| {
            tracetui_events::text::escaped(text.as_bytes(), tracetui_events::text::Mode::Screen).into_owned()
        };
        let (version, bytes, blocks) = recording.read_so_far();
        let mut out = String::new();
        let mut line = |title: &str, text: &str| out.push_str(&format!("{title:9} {text}\n"));
        line("format", &format!("ttr {version}"));
        let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { clean(text) };
        line("host", &known(&host.name));
        line("kernel", &known(format!("{} {}", host.kernel, host.arch).trim()));
        let time = |ns: Option<i128>| ns.map_or_else(|| "-".to_owned(), utc);
        line("start", &time(self.first_ns));
        line("end", &time(self.last_ns));
        let complete = match (recording.ending(), recording.writing()) {
            (Some(Ending::Complete), _) => "yes".to_owned(),
            (_, Writing::Now) => "no: it is still being written".to_owned(),
            (Some(Ending::Early(at)), _) => format!("no: truncated at offset {at}"),
            (None, _) => "no".to_owned(),
        };
        let after = match recording.after_end() {
            0 => String::new(),
            bytes => format!("; {} bytes after the end ignored", grouped(bytes)),
        };
        line("complete", &format!("{complete}{after}"));
        if let Some(filter) = pipeline.excerpt() {
            line("excerpt", &clean(if filter.is_empty() { "of a recording" } else { filter }));
        }
        if recording.damaged() {
            let lost = if recording.lost_unknown() {
                "the number of their events is unknown"
            } else {
                "their events are lost"
            };
            line("damaged", &format!("yes: parts are unreadable, see the messages; {lost}"));
        }
        line("events", &self.events());
        if let Some((part, continues)) = recording.part() {
            let then = if continues { ", the trace continues in the next file" } else { "" };
            line("file", &format!("{} of its trace{then}", grouped(u64::from(part) + 1)));
        }
        let at_most = if account.bounded > 0 { "at most " } else { "" };
        // The options of the trace come with its first events.
        let begun = pipeline.trace().is_some();
        let lost = format!("{at_most}{}", grouped(account.sum().lost.sum()));
        line("lost", if begun { &lost } else { "unknown" });
        for window in pipeline.windows() {
            let (from, to) = span(pipeline.world(), window);
            let short = if window.short { ", starts late: --memory too small" } else { "" };
            let matches = grouped(window.matches);
            line("window", &format!("{} to {} (matches: {matches}{short})", time(Some(from)), time(to)));
        }
        let filter = clean(&recording.trace().filter);
        line(
            "filter",
            match filter.as_str() {
                _ if !begun => "unknown",
                "" => "none",
                filter => filter,
            },
        );
        if let Some((argv, ended)) = recording.command() {
            let ended = match ended {
                Some(Ended::Code(code)) => format!("exit {code}"),
                Some(ended) => format!("killed by {ended}"),
                None => "end not recorded".to_owned(),
            };
            let mut words = Vec::new();
            shell::words(argv, &mut words);
            line("command", &format!("{} ({ended})", clean(&String::from_utf8_lossy(&words))));
        }
        for Label { name, value } in &recording.trace().labels {
            line("label", &clean(&format!("{name}={value}")));
        }
        let probes = pipeline.world().probes();
        let failed: Vec<_> = probes.iter().filter(|probe| !probe.attached).map(|probe| clean(&probe.name)).collect();
        let attached = probes.len() - failed.len();
        let without = if failed.is_empty() { String::new() } else { format!("; not attached: {}", failed.join(" ")) };
        line("probes", &if probes.is_empty() { "unknown".to_owned() } else { format!("{attached} attached{without}") });
        line("size", &format!("{} bytes in {} blocks", grouped(bytes), grouped(blocks)));
        out
    }

    fn count(&self, kind: Kind) -> u64 {
        self.events.get(kind as usize).copied().unwrap_or_default()
    }

    fn events(&self) -> String {
        let kinds = Kind::PROBED.map(|kind| format!("{} {}", kind.name(), grouped(self.count(kind))));
        let sum = Kind::PROBED.iter().map(|kind| self.count(*kind)).sum();
        format!("{} ({})", grouped(sum), kinds.join(" "))
    }

    fn json(&self, recording: &Recording) -> String {
        let pipeline = recording.pipeline();
        let host = pipeline.world().host();
        let (begun, trace) = (pipeline.trace().is_some(), recording.trace());
        let of_host = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (version, bytes, blocks) = recording.read_so_far();
        let writing = match (recording.ending(), recording.writing()) {
            (Some(Ending::Complete), _) | (_, Writing::Over) => Some(false),
            (_, Writing::Now) => Some(true),
            (_, Writing::Unknown) => None,
        };
        let early = match recording.ending() {
            Some(Ending::Early(at)) => Some(at),
            _ => None,
        };
        let events = Kind::PROBED.map(|kind| (kind.name().to_owned(), self.count(kind).into()));
        let probe = |probe: &Probe| json!({ "name": probe.name, "attached": probe.attached });
        let probes: Vec<Value> = pipeline.world().probes().iter().map(probe).collect();
        let part = |(part, continues)| json!({ "number": u64::from(part) + 1, "continues": continues });
        let window = |window: &Window| {
            let (from, to) = span(pipeline.world(), window);
            json!({ "from": utc(from), "to": to.map(utc), "matches": window.matches, "short": window.short })
        };
        let object = json!({
            "file": name(recording.path()), "format": "ttr", "version": version, "host": of_host(&host.name),
            "boot_id": of_host(&host.boot_id), "kernel": of_host(&host.kernel), "arch": of_host(&host.arch),
            "start": self.first_ns.map(utc), "end": self.last_ns.map(utc),
            "complete": recording.ending() == Some(Ending::Complete), "ended_early_at": early,
            "bytes_after_end": recording.after_end(), "writing": writing, "events": Map::from_iter(events),
            "account": recording.account().object(), "probes": (!probes.is_empty()).then_some(probes),
            "filter": begun.then_some(&trace.filter), "command": recording.command_json(),
            "labels": begun.then(|| recording.labels_json()), "part": recording.part().map(part),
            "windows": pipeline.windows().iter().map(window).collect::<Value>(), "bytes": bytes, "blocks": blocks,
        });
        json::ascii(&object) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scratch, batches, write_blocks};
    use super::*;
    use std::fs;

    /// What `info` shows, and whether blocks were passed over.
    fn shown(file: &Path, way: Way) -> (String, String, bool) {
        let (playback, facts) = read(file, way).expect("a recording");
        let recording = &playback.recordings()[0];
        (facts.text(recording), facts.json(recording), facts.passed)
    }

    #[test]
    fn info_is_the_same_whether_all_is_decompressed_or_not() {
        let dir = Scratch::new("info");
        let path = dir.join("x.ttr");
        let blocks = write_blocks(&path, &batches());
        let (text, json, passed) = shown(&path, Way::Short);
        assert_eq!((shown(&path, Way::Whole), passed), ((text.clone(), json, false), true));
        let bytes = fs::read(&path).expect("there");
        for (at, contents) in &blocks {
            let mut changed = bytes.clone();
            changed[*at as usize + 70] ^= 1;
            fs::write(&path, &changed).expect("room");
            let mut stretches = Vec::new();
            let damaged = look(&path, ReportFormat::Text, &mut stretches).expect("a recording");
            assert_eq!(damaged, shown(&path, Way::Whole).0, "{contents:?} at {at}");
            assert_ne!(damaged, text, "{contents:?} at {at}: the damage is seen");
        }
    }
}
