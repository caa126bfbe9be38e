//! `tracetui diff`: what one run did that another did not.

pub(super) mod compare;

use super::messages::{charset, name, say};
use super::usage::BadUsage;
use crate::cli::{self, ReportFormat};
use anyhow::Result;
use compare::{Memory, Side, all, compare};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracetui_events::diff::{DiffReport, Show, Status, compared_kinds};
use tracetui_events::event::noun;
use tracetui_events::filter::FilterOptions;
use tracetui_events::playback::{Playback, Recording};
use tracetui_events::text::json;
use tracetui_shared::kind::Kind;

pub fn run(args: &cli::Diff) -> Result<ExitCode> {
    let [_, .., last] = args.files.as_slice() else {
        return Err(BadUsage("missing B: name two recordings or more".into()).into());
    };
    if args.files.iter().filter(|file| cli::is_stream(file)).count() > 1 {
        return Err(BadUsage("only one of the recordings can be stdin".into()).into());
    }
    let filters = FilterOptions::from(&args.filters);
    let memory = Memory::of(args.memory.0 / args.files.len() as u64, "--memory");
    let read = |file: &PathBuf| {
        let playback = Playback::open(std::slice::from_ref(file), &filters, memory.reading)?;
        // Recordings of a COMMAND have lookups beside other kinds, and those of the dashboard forks too.
        let forks = !args.filters.kind.is_empty();
        let refused = |read: &Recording| {
            let kinds = read.kinds().1;
            let only = (kinds & compared_kinds()).is_empty();
            let kind = (kinds & !compared_kinds()).iter().find(|kind| only || forks && *kind == Kind::Fork);
            kind.filter(|_| !read.trace.is_unreadable())
        };
        if let Some(kind) = playback.recordings().iter().find_map(refused) {
            let others: Vec<_> = compared_kinds().iter().map(Kind::name).collect();
            let (file, others) = (name(file), others.join(","));
            let text = format!("{file}: {}s are not compared; select other kinds: --kind {others}", noun(kind));
            return Err(BadUsage(text).into());
        }
        Side::read(playback, name(file), memory, |_| true)
    };
    let is_filtered = filters != FilterOptions { zone: filters.zone, ..FilterOptions::default() };
    let others: Vec<_> = args.files.iter().take(args.files.len() - 1).map(|file| || read(file)).collect();
    let mut sides = all(&others, || read(last))?;
    // Compare with the good run that lacks the least.
    let mut files: Vec<&PathBuf> = args.files.iter().collect();
    let base = (0..sides.len() - 1).rev().max_by_key(|at| sides[*at].run.completeness()).unwrap_or_default();
    sides[..=base].rotate_right(1);
    files[..=base].rotate_right(1);
    let whole = sides.iter().all(Side::is_whole);
    let summary: Vec<_> = files.iter().zip(&sides).map(|(file, side)| side_json(side, file)).collect();
    let (report, mut notes) = compare(sides, &args.ignore, is_filtered, &|| true)?;
    let result = notes.pop();
    notes.iter().for_each(say);
    let show = Show { rest: args.all, noise: args.noise, slower: args.slower };
    let text = match args.format {
        ReportFormat::Text => report.text(show, charset()),
        ReportFormat::Json => report.json(show) + &summarised(&report, whole, &summary),
    };
    io::stdout().write_all(text.as_bytes())?;
    if args.format == ReportFormat::Text {
        result.iter().for_each(say);
    }
    Ok(if report.equal() && whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn side_json(side: &Side, file: &Path) -> Value {
    let gaps = &side.run.gaps;
    let (processes, files) = side.run.counts();
    let lost = Kind::PROBED.into_iter().zip(gaps.lost).map(|(kind, lost)| (kind.name().to_owned(), lost.into()));
    json!({
        "file": file.to_string_lossy(), "directory": String::from_utf8_lossy(side.run.root()), "processes": processes,
        "files": files, "lost": lost.collect::<Map<String, Value>>(), "lost_other": gaps.other,
        "ended_early": side.early, "damaged": side.damaged, "full": gaps.full,
    })
}

fn summarised(report: &DiffReport, whole: bool, sides: &[Value]) -> String {
    let [a, more @ .., b] = sides else { return String::new() };
    let summary = json!({
        "equal": report.equal() && whole, "different": report.count(Status::Different),
        "unknown": report.count(Status::Unknown), "follow": report.follow, "noise": report.count(Status::Noise),
        "a": a, "more": more, "b": b,
    });
    json::ascii(&json!({ "summary": summary })) + "\n"
}
