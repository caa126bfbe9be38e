//! `tracetui-ship check`: which hosts and minutes are missing in a store.

use crate::cli;
use crate::part::hour_of;
use crate::say::say;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::process::ExitCode;
use tracetui_events::text::time::utc;
use tracetui_events::text::{Charset, counted, escaped, grouped};

/// Rows that are read at the same time.
const AT_ONCE: usize = 64;

/// The most rows of one check: they are held in memory.
const MOST: usize = 2_000_000;

/// A host without a newer part than this before the end counts as silent. Two pauses of a trace may be that far apart, too.
const SILENT_S: i64 = 900;

const DAY_S: i64 = 86_400;

/// What a check needs of a row.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
struct Row {
    kind: String,
    host: String,
    boot_id: String,
    trace: String,
    part: u32,
    created: String,
    file: Option<String>,
    events: u64,
    seen: u64,
    seen_before: u64,
    lost: u64,
    last: Option<String>,
    complete: bool,
    damaged: bool,
    note: String,
}

impl Row {
    fn created_s(&self) -> i64 {
        seconds(&self.created).unwrap_or_default()
    }

    /// The time of its last event.
    fn ended_s(&self) -> i64 {
        self.last.as_deref().and_then(seconds).unwrap_or_default().max(self.created_s())
    }
}

fn seconds(time: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(time).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(time.as_secs()).ok()
}

/// Prints what is missing.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn check(args: &cli::Check) -> Result<ExitCode> {
    let store = Store::open(&args.url)?;
    let rows = rows(&store, args).await?;
    if rows.is_empty() {
        bail!("{}: no parts of this time; is this the URL that the shipper has?", args.url);
    }
    let files = files(&store, args).await?;
    let mut report = Report::default();
    report.objects(&rows, &files);
    report.others(&rows);
    let newest = args.to.unwrap_or_else(|| rows.iter().map(Row::ended_s).max().unwrap_or_default());
    let mut hosts: BTreeMap<&str, BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == "part") {
        hosts.entry(&row.host).or_default().entry(&row.trace).or_default().push(row);
    }
    for (host, traces) in &mut hosts {
        report.names(host, traces);
        report.host(host, traces, args.from, newest);
    }
    let (parts, events): (u64, u64) = hosts
        .values()
        .flat_map(|traces| traces.values().flatten())
        .fold((0, 0), |sum, row| (sum.0 + 1, sum.1 + row.events));
    let lost: u64 = hosts.values().flat_map(|traces| traces.values().flatten()).map(|row| row.lost).sum();
    for line in report.lines.iter().chain(&report.notes) {
        print(line)?;
    }
    print(&format!(
        "{}, {}, {}, {} lost by the tracer; {} missing",
        counted(hosts.len() as u64, ["host", "hosts"]),
        counted(parts, ["part", "parts"]),
        counted(events, ["event", "events"]),
        grouped(lost),
        grouped(report.lines.len() as u64)
    ))?;
    Ok(if report.lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(line: &str) -> Result<()> {
    let line = escaped(line.as_bytes(), Charset::Ascii.mode());
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")
}

/// The directories of the requested days, or the directory of all.
fn days(name: &str, args: &cli::Check) -> Vec<String> {
    match (args.from, args.to) {
        (Some(from), Some(to)) if to > from && (to - from) / DAY_S < 400 => (from.div_euclid(DAY_S)
            ..=(to - 1).div_euclid(DAY_S))
            .map(|day| format!("{name}/{}", hour_of(day * DAY_S).split('/').next().unwrap_or_default()))
            .collect(),
        _ => vec![name.to_owned()],
    }
}

fn is_asked(args: &cli::Check, created_s: i64) -> bool {
    args.from.is_none_or(|from| created_s >= from) && args.to.is_none_or(|to| created_s < to)
}

async fn rows(store: &Store, args: &cli::Check) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for day in days("manifest", args) {
        let found = store.list(&day).map(|object| async {
            let key = store.name(&object?.location).unwrap_or_default();
            anyhow::Ok((store.row(&key).await?, key))
        });
        let mut found = found.buffer_unordered(AT_ONCE);
        while let Some((row, key)) = found.try_next().await.context("cannot read the manifest")? {
            // Removed meanwhile.
            let Some(row) = row else { continue };
            match serde_json::from_slice::<Row>(&row) {
                Ok(row) if is_asked(args, row.created_s()) => rows.push(row),
                Ok(_) => {}
                Err(error) => say(format_args!("{key}: no row of a manifest: {error}")),
            }
            if rows.len() > MOST {
                bail!("more than {} rows: check less at once, by --from and --to", grouped(MOST as u64));
            }
        }
    }
    Ok(rows)
}

/// The names of the objects with events.
async fn files(store: &Store, args: &cli::Check) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    for day in days("events", args) {
        let mut found = store.list(&day);
        while let Some(object) = found.try_next().await.context("cannot list the events")? {
            names.extend(store.name(&object.location).filter(|name| name.ends_with(".parquet")));
            if names.len() > MOST {
                bail!("more than {} objects: check less at once, by --from and --to", grouped(MOST as u64));
            }
        }
    }
    Ok(names)
}

/// What is missing, a line each.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    /// Hosts with one name. Nothing is missing for that.
    notes: Vec<String>,
}

impl Report {
    /// Rows without their object. An object without a row is one whose shipper was killed; its next start writes the row.
    fn objects(&mut self, rows: &[Row], files: &HashSet<String>) {
        let gone = rows.iter().filter_map(|row| row.file.as_ref()).filter(|file| !files.contains(*file));
        self.lines.extend(gone.map(|file| format!("{file}: in the manifest, but not in the store")));
    }

    /// Machines that share a name: a part exists twice, or two boots overlap. A clock may have jumped by a minute.
    fn names(&mut self, host: &str, traces: &BTreeMap<&str, Vec<&Row>>) {
        let mut boots: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        let (mut numbers, mut twice) = (HashSet::new(), 0u64);
        for row in traces.values().flatten() {
            let span = boots.entry(&row.boot_id).or_insert((i64::MAX, i64::MIN));
            *span = (span.0.min(row.created_s()), span.1.max(row.ended_s()));
            twice += u64::from(!numbers.insert((&row.trace, row.part)));
        }
        let name = "several machines have this name, or recordings were copied";
        if twice > 0 {
            self.notes.push(format!("{host}: {name}: {} parts exist more than once, each is stored", grouped(twice)));
        }
        let mut spans: Vec<_> = boots.into_values().collect();
        spans.sort_unstable();
        let overlap = spans.windows(2).find(|pair| matches!(pair, [(_, end), (start, _)] if end - start > 60));
        if let Some([(_, end), (start, last)]) = overlap {
            let time = span(*start, *end.min(last));
            self.notes.push(format!("{host}: {time}: several machines have this name: their boots overlap"));
        }
    }

    /// Files that could not be shipped, and damage.
    fn others(&mut self, rows: &[Row]) {
        for row in rows {
            match &*row.kind {
                "unreadable" => self.lines.push(format!("{}: unreadable: {}", row.host, row.note)),
                _ if row.damaged => {
                    let file = row.file.as_deref().unwrap_or_default();
                    self.lines.push(format!("{file}: from a damaged recording, of which some events are missing"));
                }
                _ => {}
            }
        }
    }

    /// The gaps of a host: numbers that are missing in a trace, and times without a trace.
    fn host(&mut self, host: &str, traces: &mut BTreeMap<&str, Vec<&Row>>, from: Option<i64>, newest: i64) {
        let mut times = Vec::new();
        for (trace, parts) in traces {
            parts.sort_by_key(|row| row.part);
            self.trace(host, trace, parts, from.is_some());
            let (first, last) = (parts.first(), parts.last());
            times.extend(first.zip(last).map(|(first, last)| (first.created_s(), last.ended_s())));
        }
        times.sort_unstable();
        let mut reached = times.first().map_or(newest, |(start, _)| *start);
        for (start, end) in times.into_iter().chain([(newest, newest)]) {
            if start - reached > SILENT_S {
                self.lines.push(format!("{host}: {}: no recording", span(reached, start)));
            }
            reached = reached.max(end);
        }
    }

    fn trace(&mut self, host: &str, trace: &str, parts: &[&Row], starts_later: bool) {
        let mut before: Option<&Row> = None;
        for row in parts {
            let next = before.map_or(0, |before| before.part.saturating_add(1));
            // The first parts may be earlier than the requested time.
            if row.part > next && !(before.is_none() && starts_later) {
                let seen = before.map_or(0, |before| before.seen_before.saturating_add(before.seen));
                let events = counted(row.seen_before.saturating_sub(seen), ["event", "events"]);
                let time = before.map_or_else(
                    || format!("until {}", minute(row.created_s())),
                    |b| span(b.ended_s(), row.created_s()),
                );
                let parts = match row.part - 1 {
                    last if last == next => format!("part {last} of the trace {trace} is"),
                    last => format!("parts {next} to {last} of the trace {trace} are"),
                };
                self.lines.push(format!("{host}: {time}: {parts} missing, with {events}"));
            }
            if !row.complete && !row.damaged {
                self.lines.push(format!(
                    "{host}: from {}: part {} of the trace {trace} ends early: its recorder was killed, or the file was cut",
                    minute(row.ended_s()),
                    row.part
                ));
            }
            before = Some(row);
        }
    }
}

fn span(from_s: i64, to_s: i64) -> String {
    format!("{} to {}", minute(from_s), minute(to_s))
}

/// A time to the minute: `2026-11-23 18:04`.
fn minute(unix_s: i64) -> String {
    let text = utc(i128::from(unix_s) * 1_000_000_000);
    text.get(..16).unwrap_or_default().replace('T', " ")
}
