//! `tracetui info`: what a recording contains.

use super::messages::{name, say};
use crate::cli::{self, ReportFormat};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::event::exit::Ended;
use tracetui_events::frame::host::{Label, Probe, Window};
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{Playback, Recording, Step};
use tracetui_events::recording::reader::Ending;
use tracetui_events::text::shell;
use tracetui_events::text::time::utc;
use tracetui_events::text::{grouped, json};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{KINDS, Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// Shows the contents of each recording in turn. If one cannot be read, reports that and continues with the others.
pub fn info(args: &cli::Info) -> Result<ExitCode> {
    let (mut code, mut first) = (ExitCode::SUCCESS, true);
    let several = args.files.len() > 1;
    for file in &args.files {
        match look(file, args.format) {
            Ok(text) if several && args.format == ReportFormat::Text => {
                let space = if std::mem::take(&mut first) { "" } else { "\n" };
                io::stdout().write_all(format!("{space}{:9} {}\n{text}", "recording", name(file)).as_bytes())?;
            }
            Ok(text) => io::stdout().write_all(text.as_bytes())?,
            Err(error) if !several => return Err(error),
            Err(error) => {
                say(format_args!("tracetui: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The report of `info` on a recording.
fn look(file: &Path, format: ReportFormat) -> Result<String> {
    let (playback, facts) = match read(file, Way::Short)? {
        (playback, facts) if facts.agrees_with(&playback) => (playback, facts),
        _ => read(file, Way::Whole)?,
    };
    let Some(recording) = playback.recordings().first() else { return Ok(String::new()) };
    recording.damage().iter().for_each(say);
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
    let unix = |at: BootNanos| i128::from(at.0) + i128::from(world.clock_offset);
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
        self.last_ns = None;
        self.passed = true;
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
        let known = recording.trace.command == Tgid(0) || recording.command().is_some();
        self.last_ns.is_some() && known && !recording.damaged() && (asked & KindSet::PROBED).iter().all(fits)
    }

    fn text(&self, recording: &Recording) -> String {
        let pipeline = &recording.pipeline;
        let host = &pipeline.world().host;
        let account = recording.account();
        let clean = |text: &str| {
            tracetui_events::text::escaped(text.as_bytes(), tracetui_events::text::Charset::Utf8.mode()).into_owned()
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
        let complete = match (recording.ending(), recording.is_written()) {
            (Some(Ending::Complete), _) => "yes".to_owned(),
            (_, true) => "no: it is still being written".to_owned(),
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
        let at_most = if account.sum().bounded > 0 { "at most " } else { "" };
        // The options of the trace come with its first events.
        let begun = pipeline.trace().is_some();
        let lost = format!("{at_most}{}", grouped(account.sum().lost.sum()));
        line("lost", if begun { &lost } else { "unknown" });
        for window in &pipeline.windows {
            let (from, to) = span(pipeline.world(), window);
            let short = if window.short { ", starts late: --memory too small" } else { "" };
            let matches = grouped(window.matches);
            line("window", &format!("{} to {} (matches: {matches}{short})", time(Some(from)), time(to)));
        }
        let filter = clean(&recording.trace.filter);
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
        for Label { name, value } in &recording.trace.labels {
            line("label", &clean(&format!("{name}={value}")));
        }
        let probes = &pipeline.world().probes;
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
        let pipeline = &recording.pipeline;
        let host = &pipeline.world().host;
        let (begun, trace) = (pipeline.trace().is_some(), &recording.trace);
        let of_host = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (version, bytes, blocks) = recording.read_so_far();
        let early = match recording.ending() {
            Some(Ending::Early(at)) => Some(at),
            _ => None,
        };
        let events = Kind::PROBED.map(|kind| (kind.name().to_owned(), self.count(kind).into()));
        let probe = |probe: &Probe| json!({ "name": probe.name, "attached": probe.attached });
        let probes: Vec<Value> = pipeline.world().probes.iter().map(probe).collect();
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
            "bytes_after_end": recording.after_end(), "events": Map::from_iter(events),
            "account": recording.account().object(), "probes": (!probes.is_empty()).then_some(probes),
            "filter": begun.then_some(&trace.filter), "command": recording.command_json(),
            "labels": begun.then(|| recording.labels_json()), "part": recording.part().map(part),
            "windows": pipeline.windows.iter().map(window).collect::<Value>(), "bytes": bytes, "blocks": blocks,
        });
        json::ascii(&object) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scratch, batches, write_blocks};
    use super::*;
    use std::fs;
    use tracetui_events::recording::block::Contents;

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
        // The last block has no payload.
        for (at, contents) in blocks.iter().filter(|(_, contents)| *contents != Contents::Summary) {
            let mut changed = bytes.clone();
            changed[*at as usize + 70] ^= 1;
            fs::write(&path, &changed).expect("room");
            let damaged = look(&path, ReportFormat::Text).expect("a recording");
            assert_eq!(damaged, shown(&path, Way::Whole).0, "{contents:?} at {at}");
            assert_ne!(damaged, text, "{contents:?} at {at}: the damage is seen");
        }
    }
}
