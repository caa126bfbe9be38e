//! `tracetui-ship check`: which hosts and minutes are missing in a store.

mod rows;

use crate::cli;
use crate::manifest::Kind;
use crate::store::Store;
use anyhow::{Context as _, Result, bail};
use rows::Row;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;
use tracetui_events::text::time::utc;
use tracetui_events::text::{Charset, counted, escaped, grouped};

/// A host without a newer part than this before the end counts as silent. Two pauses of a trace may be that far apart, too.
const SILENT_S: i64 = 900;

/// How far a clock may be ahead.
const AHEAD_S: i64 = 3_600;

type Traces = BTreeMap<String, Vec<Row>>;

pub(crate) async fn check(args: &cli::Check) -> Result<ExitCode> {
    let store = Store::open(&args.url)?;
    let mut hosts = rows::read(&store, args).await?;
    if hosts.is_empty() {
        bail!("{}: no parts of this time; is this the URL that the shipper has?", args.url);
    }
    let files = rows::files(&store, args).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    let now = i64::try_from(now.as_secs())?;
    let end = args.to.map_or(now, |to| to.min(now));
    let mut report = Report { from: args.from, end, latest: now + AHEAD_S, ..Report::default() };
    for (host, traces) in &mut hosts {
        report.host(host, traces, &files)?;
    }
    print(&format!(
        "{}, {}, {}, {} lost by the tracer; {} missing",
        counted(hosts.len() as u64, ["host", "hosts"]),
        counted(report.parts, ["part", "parts"]),
        counted(report.events, ["event", "events"]),
        grouped(report.lost),
        grouped(report.missing)
    ))?;
    Ok(if report.missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(line: &str) -> Result<()> {
    let line = escaped(line.as_bytes(), Charset::Ascii.mode());
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")
}

/// Prints what is missing, a line each, and counts.
#[derive(Default)]
struct Report {
    /// The start of the requested time. Lines about an earlier time are left out.
    from: Option<i64>,
    end: i64,
    /// A row with a later time has it from a clock that was ahead.
    latest: i64,
    missing: u64,
    parts: u64,
    events: u64,
    lost: u64,
}

impl Report {
    fn missing(&mut self, line: &str) -> Result<()> {
        self.missing += 1;
        print(line)
    }

    fn is_asked(&self, time_s: i64) -> bool {
        self.from.is_none_or(|from| time_s >= from)
    }

    fn is_ahead(&self, row: &Row) -> bool {
        row.ended_s > self.latest
    }

    fn host(&mut self, host: &str, traces: &mut Traces, files: &HashSet<String>) -> Result<()> {
        for (trace, rows) in &mut *traces {
            rows.sort_by_key(|row| row.part);
            for row in &*rows {
                self.row(host, trace, row, files)?;
            }
            self.trace(host, trace, rows)?;
        }
        self.silences(host, traces)?;
        self.names(host, traces)?;
        let ahead = || traces.values().flatten().filter(|row| self.is_ahead(row));
        if let Some(first) = ahead().map(|row| row.ended_s).min() {
            let (rows, time) = (counted(ahead().count() as u64, ["row is", "rows are"]), minute(first));
            print(&format!("{host}: {rows} later than now, from {time} on: its clock was ahead"))?;
        }
        Ok(())
    }

    /// Counts a row. Reports damage, and a part without its object. An object without a row is one whose shipper was killed; its
    /// next start writes the row, unless the recording is gone.
    fn row(&mut self, host: &str, trace: &str, row: &Row, files: &HashSet<String>) -> Result<()> {
        if row.kind == Kind::Gap || !self.is_asked(row.created_s) {
            return Ok(());
        }
        if row.kind == Kind::Unreadable {
            return self.missing(&format!("{host}: unreadable: {}", row.note));
        }
        self.parts += 1;
        self.events = self.events.saturating_add(row.events);
        self.lost = self.lost.saturating_add(row.lost);
        let file = row.file();
        if !files.contains(&file) {
            self.missing(&format!("{file}: in the manifest, but not in the store"))?;
        }
        if row.damaged {
            self.missing(&format!("{file}: from a damaged recording, of which some events are missing"))?;
        } else if !row.complete {
            let (time, part) = (minute(row.ended_s), row.part);
            self.missing(&format!(
                "{host}: from {time}: part {part} of the trace {trace} ends early: its recorder was killed, or the file was cut"
            ))?;
        }
        Ok(())
    }

    /// The parts that are missing in a trace, by the numbers of others and by the rows of gaps.
    fn trace(&mut self, host: &str, trace: &str, rows: &[Row]) -> Result<()> {
        // Of the gaps since the part before, the first one and the one that reaches furthest.
        let (mut before, mut gaps) = (None::<&Row>, None::<(&Row, &Row)>);
        for row in rows {
            match row.kind {
                Kind::Part => {
                    self.hole(host, trace, before, gaps, Some(row))?;
                    gaps = gaps.filter(|(_, last)| last.next() > row.next());
                    before = Some(row);
                }
                Kind::Gap if before.is_none_or(|before| row.next() > before.next()) => {
                    let (first, last) = gaps.unwrap_or((row, row));
                    gaps = Some((first, if row.next() > last.next() { row } else { last }));
                }
                Kind::Gap | Kind::Unreadable => {}
            }
        }
        self.hole(host, trace, before, gaps, None)
    }

    /// The parts between two others. Before the first one and after the last one, there may be gaps.
    fn hole(
        &mut self,
        host: &str,
        trace: &str,
        before: Option<&Row>,
        gaps: Option<(&Row, &Row)>,
        after: Option<&Row>,
    ) -> Result<()> {
        let (first, seen_before) = match (before, gaps) {
            (Some(before), _) => (before.next(), before.seen_until()),
            (None, None) if self.from.is_none() => (0, 0),
            (None, Some(_)) if self.from.is_none() && after.is_some() => (0, 0),
            (None, Some((gap, _))) => (gap.part.into(), gap.seen_before),
            // The first parts may be earlier than the requested time.
            (None, None) => return Ok(()),
        };
        let (next, seen, end_s) = match (after, gaps) {
            (Some(after), _) => (after.part.into(), Some(after.seen_before), after.created_s),
            (None, Some((gap, last))) => {
                let seen = (gap.seen > 0 && last.seen > 0).then(|| last.seen_until());
                (last.next(), seen, last.created_s)
            }
            (None, None) => return Ok(()),
        };
        if first >= next || !self.is_asked(end_s) {
            return Ok(());
        }
        let events = match seen.map(|seen| seen.saturating_sub(seen_before)) {
            Some(events) => counted(events, ["event", "events"]),
            None => "an unknown number of events".to_owned(),
        };
        let time = match (before, after) {
            (Some(before), Some(after)) => span(before.ended_s, after.created_s),
            (None, Some(after)) => format!("until {}", minute(after.created_s)),
            (before, None) => format!("from {}", minute(before.map_or(end_s, |before| before.ended_s))),
        };
        let parts = match next - 1 {
            last if last == first => format!("part {last} of the trace {trace} is"),
            last => format!("parts {first} to {last} of the trace {trace} are"),
        };
        self.missing(&format!("{host}: {time}: {parts} missing, with {events}"))
    }

    /// The times without a trace, until the end.
    fn silences(&mut self, host: &str, traces: &Traces) -> Result<()> {
        let (mut times, mut longest) = (Vec::new(), 0);
        for rows in traces.values() {
            let mut whole = None::<(i64, i64)>;
            for row in rows.iter().filter(|row| !self.is_ahead(row)) {
                let time = (row.created_s, row.ended_s);
                longest = longest.max(row.ended_s - row.created_s);
                match row.kind {
                    // They are of several traces.
                    Kind::Unreadable => times.push(time),
                    _ => whole = Some(whole.map_or(time, |whole| (whole.0.min(time.0), whole.1.max(time.1)))),
                }
            }
            times.extend(whole);
        }
        times.sort_unstable();
        let Some((first, _)) = times.first().copied() else { return Ok(()) };
        // A host is new if its first part is number 0. Another one recorded before the time that was read.
        let is_new = || !traces.values().flatten().any(|row| row.created_s == first && row.next() > 1);
        let mut reached = self.from.filter(|from| *from < first && !is_new()).unwrap_or(first);
        for (start, end) in times {
            if start - reached > SILENT_S && self.is_asked(start) {
                self.missing(&format!("{host}: {}: no recording", span(reached, start)))?;
            }
            reached = reached.max(end);
        }
        // The part that is being written may become as long as the others.
        if self.end - reached > SILENT_S.saturating_add(longest) {
            self.missing(&format!("{host}: no recording since {}", minute(reached)))?;
        }
        Ok(())
    }

    /// Machines that share a name: a part exists twice, or two boots overlap. A clock may have jumped by a minute.
    fn names(&self, host: &str, traces: &Traces) -> Result<()> {
        let (mut boots, mut twice) = (HashMap::<u32, (i64, i64)>::new(), 0);
        for rows in traces.values() {
            let mut before = None;
            for row in rows.iter().filter(|row| row.kind == Kind::Part) {
                if !self.is_ahead(row) {
                    let span = boots.entry(row.boot).or_insert((i64::MAX, i64::MIN));
                    *span = (span.0.min(row.created_s), span.1.max(row.ended_s));
                }
                twice += u64::from(before.replace(row.part) == Some(row.part) && self.is_asked(row.created_s));
            }
        }
        let name = "several machines have this name, or recordings were copied";
        if twice > 0 {
            print(&format!("{host}: {name}: {} parts exist more than once, each is stored", grouped(twice)))?;
        }
        let mut spans: Vec<_> = boots.into_values().collect();
        spans.sort_unstable();
        let is_overlap = |a: (i64, i64), b: (i64, i64)| a.1 - b.0 > 60 && self.is_asked(a.1.min(b.1));
        if let Some([a, b]) = spans.windows(2).find(|pair| matches!(pair, [a, b] if is_overlap(*a, *b))) {
            let time = span(b.0, a.1.min(b.1));
            print(&format!("{host}: {time}: several machines have this name: their boots overlap"))?;
        }
        Ok(())
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
