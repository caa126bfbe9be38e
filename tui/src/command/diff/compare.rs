//! Reads two runs and compares them, for `tracetui diff` and for the dashboard.

use anyhow::{Result, anyhow, bail};
use tracetui_events::account::Account;
use tracetui_events::budget::Budget;
use tracetui_events::diff::{self, DiffReport, Run, Status};
use tracetui_events::enrich::World;
use tracetui_events::event::{Takes, taking};
use tracetui_events::filter::Glob;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{Playback, Played, Step};
use tracetui_events::text::counted;
use tracetui_shared::kind::{Kind, KindSet};

/// The memory for a run.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) struct Memory {
    pub(in crate::command) reading: Budget,
    pub(in crate::command) data: usize,
    /// The name of the limit.
    pub(in crate::command) limit: &'static str,
}

impl Memory {
    /// The share of a run in bytes. A quarter is for reading, and an eighth for the comparison.
    pub(in crate::command) fn of(share: u64, limit: &'static str) -> Memory {
        let data = usize::try_from(share / 8 * 5).unwrap_or(usize::MAX);
        Memory { reading: Budget::new(share / 4), data, limit }
    }
}

/// One of two runs, and what may be missing in it.
pub(in crate::command) struct Side {
    pub(in crate::command) run: Run,
    pub(in crate::command) name: String,
    /// The filter of the recording.
    pub(in crate::command) filter: String,
    pub(in crate::command) damaged: bool,
    pub(in crate::command) early: bool,
    /// Notes on the unreadable and missing parts.
    remarks: Vec<String>,
}

/// The results, that of `last` at the end. The others are read on threads of their own, since reading takes most of the time.
pub(in crate::command) fn all(
    others: &[impl Fn() -> Result<Side> + Sync],
    last: impl FnOnce() -> Result<Side>,
) -> Result<Vec<Side>> {
    std::thread::scope(|scope| {
        let threads = others.iter().map(|read| (read, std::thread::Builder::new().spawn_scoped(scope, read)));
        let threads: Vec<_> = threads.collect();
        let last = last();
        let others = threads.into_iter().map(|(read, thread)| match thread {
            Ok(thread) => thread.join().map_err(|_| anyhow!("a thread that reads failed"))?,
            // Where no thread can be started, read one after the other.
            Err(_) => read(),
        });
        others.chain([last]).collect()
    })
}

impl Side {
    /// Reads a recording. `goes_on` is called after each batch, and may stop the reading; the result is then useless.
    pub(in crate::command) fn read(
        mut playback: Playback,
        name: String,
        memory: Memory,
        mut goes_on: impl FnMut(&Playback) -> bool,
    ) -> Result<Side> {
        let mut run = Run::new(memory.data);
        let mut take = |played: &Played<'_>| {
            run.add_event(played.context);
            Disposition::Delivered
        };
        while goes_on(&playback) && playback.step(&mut take)? == Step::More {}
        let mut remarks = playback.remarks();
        let (damaged, early) = (playback.damaged(), playback.ended_early());
        // The trace has events in other files, or blocks of this one are missing.
        let partial = playback.goes_on() || playback.account().not_read > 0 || playback.is_wrong();
        let mut filter = String::new();
        if let Some(recording) = playback.recordings().first() {
            filter.clone_from(&recording.trace.filter);
            let (recorded, wanted) = recording.kinds();
            note_absent(&mut run, recorded & wanted, recording.pipeline.world());
        }
        run.gaps.incomplete |= damaged || early || partial;
        remarks.extend(close(&mut run, &playback.account(), &name, memory.limit));
        Ok(Side { run, name, filter, damaged, early, remarks })
    }

    /// A trace on the screen, from its kept events. `missing` says why events may be missing, `runs` whether more may come.
    pub(in crate::command) fn of_kept(
        mut run: Run,
        world: &World,
        (name, filter): (String, String),
        (account, kinds, limit): (&Account, KindSet, &str),
        (missing, runs): (Option<String>, bool),
    ) -> Side {
        note_absent(&mut run, kinds, world);
        run.gaps.incomplete |= missing.is_some();
        run.gaps.running = runs;
        let running =
            runs.then(|| "B was still running: what its living processes lack may have come since".to_owned());
        let mut remarks: Vec<String> = running.into_iter().chain(missing).collect();
        remarks.extend(close(&mut run, account, &name, limit));
        Side { run, name, filter, damaged: false, early: false, remarks }
    }

    /// Whether events may be missing.
    fn has_gaps(&self) -> bool {
        let gaps = &self.run.gaps;
        gaps.sum() > 0 || gaps.full || gaps.incomplete || gaps.running
    }

    /// Whether all of it is compared, beside what was lost.
    pub(in crate::command) fn is_whole(&self) -> bool {
        let gaps = &self.run.gaps;
        !gaps.incomplete && !gaps.full && !gaps.running
    }
}

/// Notes the kinds without a working probe, and those that are not read.
fn note_absent(run: &mut Run, kinds: KindSet, world: &World) {
    let working = |kind: Kind| {
        let mut probes = world.probes.iter().filter(|probe| probe.kinds.contains(&(kind as u16))).peekable();
        probes.peek().is_none() || probes.any(|probe| probe.attached)
    };
    run.gaps.absent = Kind::PROBED.into_iter().filter(|kind| !kinds.contains(*kind) || !working(*kind)).collect();
}

/// Takes the losses from the account, since a filter may have rejected their rows. Returns notes on them.
fn close(run: &mut Run, account: &Account, name: &str, limit: &str) -> Vec<String> {
    run.close();
    let gaps = &mut run.gaps;
    for (kind, lost) in Kind::PROBED.into_iter().zip(&mut gaps.lost) {
        *lost = (*lost).max(account.kind(kind).lost.sum());
    }
    let shortage = account.shortage.processes;
    let others = account.unattributed_skips.saturating_add(account.bookkeeping_lost).saturating_add(shortage);
    gaps.other = gaps.other.max(others);
    let lost = (gaps.sum() > 0).then(|| {
        let records = counted(gaps.sum(), ["record", "records"]);
        format!("{name}: lost {records}: differences that they may explain are reported as unknown")
    });
    let full = gaps.full.then(|| format!("{name}: exceeds {limit}: the rest is not compared"));
    lost.into_iter().chain(full).collect()
}

/// The note on events that were evicted from memory.
pub(in crate::command) fn evicted_text(name: &str, events: u64) -> String {
    let events = counted(events, ["event was", "events were"]);
    format!("{name}: {events} evicted from memory: differences that they may explain are reported as unknown")
}

/// The differences between the last run and the others, and notes on what they depend on. `filtered`: a filter of this reading applies
/// to all. It fails if it does not go on.
pub(in crate::command) fn compare(
    sides: Vec<Side>,
    ignored: &[Glob],
    filtered: bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<(DiffReport, Vec<String>)> {
    let mut notes: Vec<String> = sides.iter().flat_map(|side| side.remarks.clone()).collect();
    if sides.iter().any(|side| side.filter != sides[0].filter) {
        notes.push("the recordings were made with different filters".to_owned());
    }
    let filtered =
        filtered || sides.iter().any(|side| side.run.gaps.lacks(taking(Takes::Contents)) || !side.filter.is_empty());
    let (whole, gaps) = (sides.iter().all(Side::is_whole), sides.iter().any(Side::has_gaps));
    let mut runs: Vec<Run> = sides.into_iter().map(|side| side.run).collect();
    let values = runs.iter().all(Run::has_values);
    let (Some(b), a) = (runs.pop(), runs.remove(0)) else { bail!("no recordings") };
    let Some(report) = diff::compare_while(a, runs, b, ignored, goes_on) else { bail!("the comparison was stopped") };
    if !values && !report.equal() {
        notes.push("the values of environment variables are not compared: record both runs with --env diff".to_owned());
    }
    if filtered && !report.equal() {
        notes.push(
            "a filter may reject opens, which show random names: some differences may only be such names".to_owned(),
        );
    }
    notes.push(sentence(&report, whole, gaps).to_owned());
    Ok((report, notes))
}

/// The result in a sentence.
fn sentence(report: &DiffReport, whole: bool, gaps: bool) -> &'static str {
    match (report.equal(), gaps) {
        (true, true) if !whole => "the runs may differ: a part of them is not compared",
        (true, false) if report.count(Status::Noise) > 0 => "no differences but noise",
        (true, false) => "no differences",
        (true, true) => "no differences in the recorded events",
        (false, _) if report.count(Status::Different) == 0 => "the runs may differ: all differences are unknown",
        (false, _) => "the runs differ",
    }
}
