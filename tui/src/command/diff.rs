//! `tracetui diff`: what one run did that another did not.

use super::say::{charset, name, say};
use super::usage::BadUsage;
use crate::cli::{self, ReportFormat};
use anyhow::{Result, anyhow};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::ScopedJoinHandle;
use tracetui_events::budget::Budget;
use tracetui_events::diff::{self, DiffReport, Gaps, Run, Show, Status};
use tracetui_events::filter::FilterOptions;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{AtEnd, Playback, Played, Step};
use tracetui_events::text::{counted, json};
use tracetui_shared::kind::Kind;

/// Compares recordings.
pub fn run(args: &cli::Diff) -> Result<ExitCode> {
    if args.files.len() < 2 {
        return Err(BadUsage("missing B: name two recordings or more".into()).into());
    }
    if args.files.iter().filter(|file| cli::is_stream(file)).count() > 1 {
        return Err(BadUsage("only one of the recordings can be stdin".into()).into());
    }
    let filters = FilterOptions::from(&args.filters);
    let share = args.memory.0 / args.files.len() as u64;
    // Read the others on threads of their own, since reading takes most of the time.
    let sides = std::thread::scope(|scope| {
        let read = |file: &PathBuf| read(file, &filters, share);
        let start = |file| (file, std::thread::Builder::new().spawn_scoped(scope, move || read(file)));
        let threads: Vec<_> = args.files.iter().skip(1).map(start).collect();
        let first = args.files.iter().take(1).map(|file| Ok(read(file))).collect::<Vec<_>>();
        // Where no thread can be started, read one after the other.
        let join = |(file, thread): (_, io::Result<_>)| thread.map_or_else(|_| Ok(read(file)), ScopedJoinHandle::join);
        first.into_iter().chain(threads.into_iter().map(join)).collect::<Vec<_>>()
    });
    let whole = |(file, side): (&PathBuf, std::thread::Result<_>)| {
        side.map_err(|_| anyhow!("the thread reading {} failed", name(file)))?
    };
    let mut sides = args.files.iter().zip(sides).map(whole).collect::<Result<Vec<Side>>>()?;
    // Compare with the good run that lacks the least.
    let mut files: Vec<&PathBuf> = args.files.iter().collect();
    let base = (0..sides.len() - 1).rev().max_by_key(|at| sides[*at].run.completeness()).unwrap_or_default();
    sides[..=base].rotate_right(1);
    files[..=base].rotate_right(1);
    let incomplete = sides.iter().fold(false, |any, side| side.say() | any);
    if sides.iter().any(|side| side.filter != sides[0].filter) {
        say("the recordings were made with different filters");
    }
    let lacks_opens = |side: &Side| Kind::Open.place().is_some_and(|at| side.run.gaps.absent[at]);
    let filtered =
        filters != FilterOptions::default() || sides.iter().any(|side| lacks_opens(side) || !side.filter.is_empty());
    let whole = sides.iter().all(|side| !side.run.gaps.incomplete && !side.run.gaps.full);
    let summary: Vec<_> = files.iter().zip(&sides).map(|(file, side)| side.json(file)).collect();
    let mut runs: Vec<Run> = sides.into_iter().map(|side| side.run).collect();
    let (Some(b), a) = (runs.pop(), runs.remove(0)) else { return Err(anyhow!("no recordings")) };
    let report = diff::compare(a, runs, b, &args.ignore);
    for (here, there) in &report.directories {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        say(format_args!("treated as the same directory: {} in A, {} in B", text(here), text(there)));
    }
    if filtered && !report.equal() {
        say("a filter may reject opens, which show random names: some differences may only be such names");
    }
    let show = Show { rest: args.all, noise: args.noise };
    let text = match args.format {
        ReportFormat::Text => report.text(show, charset()),
        ReportFormat::Json => report.json(show) + &summarised(&report, whole, &summary),
    };
    io::stdout().write_all(text.as_bytes())?;
    if args.format == ReportFormat::Text {
        say(sentence(&report, whole, incomplete));
    }
    Ok(if report.equal() && whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Side {
    run: Run,
    file: String,
    filter: String,
    damaged: bool,
    early: bool,
    counts: (u64, u64),
}

/// Reads a recording, with this share of the memory in bytes.
fn read(file: &Path, filters: &FilterOptions, share: u64) -> Result<Side> {
    // A quarter is for reading, and an eighth for the comparison.
    let mut playback = Playback::open(&[file.to_owned()], filters, Budget::new(share / 4), AtEnd::Stop)?;
    let mut run = Run::new(usize::try_from(share / 8 * 5).unwrap_or(usize::MAX));
    let mut take = |played: &Played<'_>| {
        run.take(played.context);
        Disposition::Delivered
    };
    while playback.step(&mut take)? == Step::More {}
    run.close();
    playback.remarks().iter().for_each(say);
    let damaged = playback.damaged();
    let early = playback.ended_early();
    // The trace has events in other files, or blocks of this one are missing.
    let partial = playback.goes_on() || playback.account().not_read > 0 || playback.is_wrong();
    let mut filter = String::new();
    if let Some(recording) = playback.recordings().first() {
        filter.clone_from(&recording.trace().filter);
        let world = recording.pipeline().world();
        let (recorded, wanted) = recording.kinds();
        let working = |kind: Kind| {
            let mut probes = world.probes().iter().filter(|probe| probe.kinds.contains(&(kind as u16))).peekable();
            probes.peek().is_none() || probes.any(|probe| probe.attached)
        };
        for (kind, absent) in Kind::PROBED.into_iter().zip(&mut run.gaps.absent) {
            *absent = !recorded.contains(kind) || !wanted.contains(kind) || !working(kind);
        }
    }
    note_losses(&playback, &mut run.gaps);
    run.gaps.incomplete |= damaged || early || partial;
    let counts = run.counts();
    Ok(Side { run, file: name(file), filter, damaged, early, counts })
}

/// Takes the losses from the account. A filter may have rejected their rows.
fn note_losses(playback: &Playback, gaps: &mut Gaps) {
    let account = playback.account();
    for (kind, lost) in Kind::PROBED.into_iter().zip(&mut gaps.lost) {
        *lost = (*lost).max(account.kind(kind).lost.sum());
    }
    let shortage = account.shortage.processes;
    let others = account.unattributed_skips.saturating_add(account.bookkeeping_lost).saturating_add(shortage);
    gaps.other = gaps.other.max(others);
}

impl Side {
    /// Prints which events may be missing, and returns whether any may.
    fn say(&self) -> bool {
        let gaps = &self.run.gaps;
        let lost = gaps.sum();
        if lost > 0 {
            say(format_args!(
                "{}: lost {}: differences that they may explain are reported as unknown",
                self.file,
                counted(lost, ["record", "records"])
            ));
        }
        if gaps.full {
            say(format_args!("{}: exceeds --memory: the rest is not compared", self.file));
        }
        lost > 0 || gaps.full || gaps.incomplete
    }

    fn json(&self, file: &Path) -> String {
        let gaps = &self.run.gaps;
        let kinds = Kind::PROBED.into_iter().zip(gaps.lost).map(|(kind, lost)| format!("\"{}\":{lost}", kind.name()));
        format!(
            "{{\"file\":{},\"directory\":{},\"processes\":{},\"files\":{},\"lost\":{{{}}},\"lost_other\":{},\"ended_early\":{},\
             \"damaged\":{},\"full\":{}}}",
            json::ascii(&file.to_string_lossy()),
            json::ascii(&String::from_utf8_lossy(self.run.root())),
            self.counts.0,
            self.counts.1,
            kinds.collect::<Vec<_>>().join(","),
            gaps.other,
            self.early,
            self.damaged,
            gaps.full,
        )
    }
}

fn summarised(report: &DiffReport, whole: bool, sides: &[String]) -> String {
    let text = |bytes: &[u8]| json::ascii(&String::from_utf8_lossy(bytes));
    let directories: Vec<_> = report.directories.iter().map(|(a, b)| format!("[{},{}]", text(a), text(b))).collect();
    let follow: Vec<_> = report.follow.iter().map(|(kind, count)| format!("\"{kind}\":{count}")).collect();
    let (a, more, b) = match sides {
        [a, more @ .., b] => (a, more, b),
        _ => return String::new(),
    };
    format!(
        "{{\"summary\":{{\"equal\":{},\"different\":{},\"unknown\":{},\"follow\":{{{}}},\"noise\":{},\"directories\":[{}],\"a\":{a},\
         \"more\":[{}],\"b\":{b}}}}}\n",
        report.equal() && whole,
        report.count(Status::Different),
        report.count(Status::Unknown),
        follow.join(","),
        report.noise.len(),
        directories.join(","),
        more.join(","),
    )
}

fn sentence(report: &DiffReport, whole: bool, gaps: bool) -> String {
    match (report.equal(), gaps) {
        (true, true) if !whole => "the runs may differ: a part of them is not compared".into(),
        (true, false) if !report.noise.is_empty() => "no differences but noise".into(),
        (true, false) => "no differences".into(),
        (true, true) => "no differences in the recorded events".into(),
        (false, _) if report.count(Status::Different) == 0 => "the runs may differ: all differences are unknown".into(),
        (false, _) => "the runs differ".into(),
    }
}
