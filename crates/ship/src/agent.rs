//! Ships closed recordings in rounds.

use crate::convert::{convert, start_of};
use crate::manifest::Row;
use crate::mapped_body;
use crate::messages::say;
use crate::part::{Identity, Part};
use crate::spool::Spool;
use crate::store::Store;
use crate::work::WorkDirectory;
use anyhow::{Context, Result, anyhow};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use tracetui_events::recording::file::RecordingFile;
use tracetui_events::text::{counted, size};
use tracetui_export::Options;

/// The most files that are remembered as settled. Others cost a request each time.
const SETTLED: usize = 100_000;

/// The most traces of which the number of events is remembered. A boot has few.
const TRACES: usize = 1_000;

/// Ships the recordings of one directory.
pub(crate) struct Agent {
    pub(crate) spool: Spool,
    pub(crate) store: Store,
    pub(crate) work: WorkDirectory,
    pub(crate) options: Options,
    pub(crate) keep: Option<crate::cli::Keep>,
    /// The files that were stored or cannot be.
    pub(crate) settled: HashMap<Identity, Part>,
    pub(crate) unreadable: HashSet<Identity>,
    /// By trace: the number of the part after the last one that was converted, and the events of the trace before it.
    pub(crate) seen: HashMap<String, (u32, u64)>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) unreadable: u64,
    pub(crate) removed: u64,
}

impl Agent {
    /// Ships all closed parts, oldest first. Then, even after an error, bounds the spool.
    /// Fails if a part could not be shipped now. The next round begins with it.
    pub(crate) async fn round(&mut self) -> Result<()> {
        let scan = self.spool.scan(&self.settled)?;
        let found: HashSet<_> = scan.parts.iter().map(|part| part.identity).collect();
        self.settled.retain(|identity, _| found.contains(identity));
        for file in &scan.unreadable {
            self.report_unreadable(&file.name, file.identity, &file.fault);
        }
        // A part that cannot be shipped holds up the later ones of its trace, and no others.
        let (mut failed, mut first) = (HashSet::new(), None);
        for part in &scan.parts {
            if !failed.contains(&part.trace)
                && !self.settled.contains_key(&part.identity)
                && let Err(error) = self.ship(part).await
            {
                failed.insert(&part.trace);
                first = first.or(Some(error));
            }
        }
        let removed = self.spool.bound(&scan.parts, self.keep, |identity| self.settled.contains_key(identity));
        self.counts.removed += removed.as_ref().copied().unwrap_or_default();
        let fault = scan.faults.first().map(|fault| anyhow!("{fault}"));
        first.or(fault).map_or(Ok(()), Err).and(removed.map(drop))
    }

    /// Ships a part, unless it was shipped before or is gone.
    async fn ship(&mut self, part: &Part) -> Result<()> {
        let Some(recording) = self.spool.reopen(part) else { return Ok(()) };
        let (of, from) = (part.clone(), recording.clone());
        // The loop handles signals meanwhile.
        let read = move || (start_of(&of, from.clone()), of.source(&from));
        let (start, source) = tokio::task::spawn_blocking(read).await?;
        let read = start.and_then(|contents| Ok((contents, source.context("cannot read the recording")?)));
        let shipped = match read {
            Ok((contents, source)) => self.store_part(Row::new(part, source, contents), part, recording).await?,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = shipped {
            self.report_unreadable(&part.name, part.identity, &format!("{fault:#}"));
        }
        if self.settled.len() < SETTLED {
            self.settled.insert(part.identity, part.clone());
        }
        Ok(())
    }

    /// Stores a part and its row, unless it has a row. A fault of the recording is in the inner result.
    async fn store_part(&mut self, mut row: Row, part: &Part, recording: RecordingFile) -> Result<Result<()>> {
        if self.store.exists(&row.key()).await? {
            return Ok(Ok(()));
        }
        let out = self.work.temporary()?;
        let (of, source, options, file) = (part.clone(), row.source.clone(), self.options, out.try_clone()?);
        let known = self.seen.get(&part.trace).filter(|(next, _)| *next == part.number);
        let before = known.map_or(0, |(_, seen)| *seen);
        let done = move || convert(&of, recording, &source, &file, options, before);
        match tokio::task::spawn_blocking(done).await?? {
            Ok(contents) => row.contents = contents,
            Err(fault) => return Ok(Err(fault)),
        }
        let bytes = mapped_body::map(&out).context("cannot read the converted part")?;
        let length = bytes.len() as u64;
        self.store.create(&row.events_key(), bytes).await?;
        self.store.create(&row.key(), row.json()?.into()).await?;
        let (name, events) = (part.name.display(), row.contents.rows);
        say(format_args!("{name}: shipped, {}, {}", counted(events, ["event", "events"]), size(length)));
        if self.seen.len() >= TRACES {
            self.seen.clear();
        }
        let seen = row.contents.seen_before.saturating_add(row.contents.seen);
        self.seen.insert(part.trace.clone(), (part.number.saturating_add(1), seen));
        self.counts.parts += 1;
        self.counts.rows += events;
        self.counts.bytes += length;
        Ok(Ok(()))
    }

    /// Reports a file without a readable recording, once.
    fn report_unreadable(&mut self, name: &OsStr, identity: Identity, fault: &str) {
        if self.unreadable.len() < SETTLED && self.unreadable.insert(identity) {
            say(format_args!("not shipped: {}: {fault}", name.display()));
            self.counts.unreadable += 1;
        }
    }
}
