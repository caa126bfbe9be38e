//! Ships closed recordings in rounds.

use crate::bounded_http::ROW;
use crate::convert::{Contents, convert, start_of};
use crate::manifest::{self, Kind, Row};
use crate::mapped_body;
use crate::messages::say;
use crate::part::{Identity, Part, own_host};
use crate::spool::{Scan, Spool, Unreadable};
use crate::state::{State, Trace};
use crate::store::Store;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use tracetui_events::recording::follow::RecordingFile;
use tracetui_events::text::{counted, size};
use tracetui_export::{Options, metadata_of};

/// The most files that are remembered as settled. Others cost a request each time.
const SETTLED: usize = 100_000;

/// The most names that are tried for a part. The second is taken only if the checksums of two recordings are equal.
const NAMES: u32 = 4;

/// Ships the recordings of one directory.
pub(crate) struct Agent {
    pub(crate) spool: Spool,
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) options: Options,
    pub(crate) keep: Option<crate::cli::Keep>,
    /// The files with a row in the manifest.
    pub(crate) settled: HashMap<Identity, Part>,
    pub(crate) unreadable: HashSet<Identity>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Parts that nobody can read or ship any more.
    pub(crate) missing: u64,
    pub(crate) unreadable: u64,
    pub(crate) removed: u64,
}

impl Agent {
    /// Ships all closed parts, oldest first. Then, even after an error, bounds the spool and reports parts that were removed.
    /// Fails if a part could not be shipped now. The next round begins with it.
    pub(crate) async fn round(&mut self) -> Result<()> {
        let scan = self.spool.scan(&self.settled)?;
        let found: HashSet<_> = scan.parts.iter().map(|part| part.identity).collect();
        self.settled.retain(|identity, _| found.contains(identity));
        let shipped = self.ship_all(&scan).await;
        let removed = self.spool.bound(&scan.parts, self.keep, |identity| self.settled.contains_key(identity));
        self.counts.removed += removed.as_ref().copied().unwrap_or_default();
        let reported = self.report_ends().await;
        shipped.and(removed.map(drop)).and(reported)
    }

    /// A part that cannot be shipped holds up the later ones of its trace, and no others.
    async fn ship_all(&mut self, scan: &Scan) -> Result<()> {
        // The first part is empty until the trace has begun, and removed if it does not begin.
        let open = scan.open.iter().filter(|part| part.number > 0);
        let unsettled = |part: &&Part| !self.settled.contains_key(&part.identity);
        self.state.found(scan.parts.iter().chain(open).filter(unsettled))?;
        let mut first = None;
        for file in &scan.unreadable {
            first = first.or(self.report_unreadable(file).await.err());
        }
        let mut failed = HashSet::new();
        for part in &scan.parts {
            let next = self.state.of(&part.trace).next;
            let earlier = |open: &Part| open.trace == part.trace && (next..part.number).contains(&open.number);
            // An earlier part is being written.
            let waits = scan.open.iter().any(earlier);
            if !waits
                && !failed.contains(&part.trace)
                && !self.settled.contains_key(&part.identity)
                && let Err(error) = self.ship(part, next).await
            {
                failed.insert(&part.trace);
                first = first.or(Some(error));
            }
        }
        let fault = scan.faults.first().map(|fault| anyhow!("{fault}"));
        first.or(fault).map_or(Ok(()), Err)
    }

    /// Ships a part, unless it was shipped before or is gone.
    async fn ship(&mut self, part: &Part, next: u32) -> Result<()> {
        let Some(recording) = self.spool.reopen(part) else { return Ok(()) };
        let (of, from) = (part.clone(), recording.clone());
        // The loop handles signals meanwhile.
        let read = move || (start_of(&of, from.clone()), of.source(&from));
        let (start, source) = tokio::task::spawn_blocking(read).await?;
        let (contents, fault) = match start {
            Ok(contents) => (contents, None),
            Err(fault) => (Contents { host: own_host(), ..Contents::default() }, Some(fault)),
        };
        let mut row = Row {
            trace: part.trace.clone(),
            part: part.number,
            parts: 1,
            created_s: part.created_s(),
            recording_bytes: part.identity.bytes,
            source: source.context("cannot read the recording")?,
            contents,
            ..Row::default()
        };
        let next = if next == 0 && part.number > 0 { self.recall(&row).await? } else { next };
        let stored = fault.is_none() && self.is_stored(&mut row).await?;
        // Before the part: the gap of a part with a row is reported.
        if part.number > next && !stored {
            self.report_gap(&row, next).await?;
        }
        let fault = match fault {
            None if !stored => self.convert_and_store(&mut row, part, recording).await?.err(),
            fault => fault,
        };
        match fault {
            Some(fault) => self.unreadable_part(part, &fault).await,
            None => self.settle(part, row.contents.seen_before.saturating_add(row.contents.seen), &row.contents),
        }
    }

    /// The number of the first part of a trace that has no row. It is 0 in the state of a trace that is new, or if the state was lost.
    async fn recall(&mut self, row: &Row) -> Result<u32> {
        let (hours, start) = row.earlier();
        for hour in hours {
            let mut last = None;
            for name in self.store.list(&hour, &start).await? {
                last = last.max(self.store.row(&name).await?.and_then(|row| manifest::after(&row)));
            }
            if let Some((next, seen, continues)) = last {
                self.state.settle(&row.trace, next, seen, &Contents { continues, ..row.contents.clone() })?;
                return Ok(next);
            }
        }
        Ok(0)
    }

    /// Whether a part has a row. Otherwise its row gets the first name that is not another file's.
    async fn is_stored(&self, row: &mut Row) -> Result<bool> {
        while let Some(found) = self.store.row(&row.key()).await? {
            if row.take_account(&found) {
                return Ok(true);
            }
            next_name(row)?;
        }
        Ok(false)
    }

    /// Stores a part. A fault of the recording is in the inner result.
    async fn convert_and_store(&mut self, row: &mut Row, part: &Part, recording: RecordingFile) -> Result<Result<()>> {
        let out = self.state.temporary()?;
        let (of, source, options, file) = (part.clone(), row.source.clone(), self.options, out.try_clone()?);
        let known = self.state.of(&part.trace);
        let before = if known.next == part.number { known.seen } else { 0 };
        let done = move || convert(&of, recording, &source, &file, options, before);
        match tokio::task::spawn_blocking(done).await?? {
            Ok(contents) => row.contents = contents,
            Err(fault) => return Ok(Err(fault)),
        }
        let bytes = mapped_body::map(&out).context("cannot read the converted part")?;
        while !self.create_part(row, bytes.clone()).await? {
            next_name(row)?;
        }
        self.create_row(row).await?;
        let (name, events, size) = (part.name.display(), row.contents.rows, size(bytes.len() as u64));
        say(format_args!("{name}: shipped, {}, {size}", counted(events, ["event", "events"])));
        if row.copy > 0 {
            say(format_args!("{name}: shipped under another name: {}", row.note));
        }
        self.counts.parts += 1;
        self.counts.rows += row.contents.rows;
        self.counts.bytes += bytes.len() as u64;
        Ok(Ok(()))
    }

    /// Stores a Parquet file. Returns `false` if the object exists, with the events of another recording.
    async fn create_part(&self, row: &Row, bytes: Bytes) -> Result<bool> {
        let name = row.events_key();
        if self.store.create(&name, bytes).await? {
            return Ok(true);
        }
        let end = self.store.footer(&name).await?;
        let found = end.and_then(|end| metadata_of(&end, "source").ok().flatten());
        Ok(found.as_deref() == Some(&*row.source))
    }

    fn settle(&mut self, part: &Part, seen: u64, contents: &Contents) -> Result<()> {
        if self.settled.len() < SETTLED {
            self.settled.insert(part.identity, part.clone());
        }
        self.state.settle(&part.trace, part.number.saturating_add(1), seen, contents)
    }

    async fn create_row(&self, row: &Row) -> Result<()> {
        let (key, text) = (row.key(), row.json()?);
        if text.len() as u64 >= ROW {
            bail!("the row {key} would be too long");
        }
        if !self.store.create(&key, text.into()).await? {
            let found = self.store.row(&key).await?;
            if !found.is_some_and(|found| row.clone().take_account(&found) || row.kind == Kind::Gap) {
                bail!("{key} exists, with other contents: remove it");
            }
        }
        Ok(())
    }

    async fn report_gap(&mut self, after: &Row, next: u32) -> Result<()> {
        let parts = after.part - next;
        let note = "removed before they were shipped".to_owned();
        let seen_before = self.state.of(&after.trace).seen;
        let before = after.contents.seen_before.max(seen_before);
        let seen = before - seen_before;
        let contents = Contents { seen, lost: seen, seen_before, ..after.contents.clone() };
        let gap = Row { kind: Kind::Gap, part: next, parts, recording_bytes: 0, note, contents, ..after.clone() };
        self.create_row(&gap).await?;
        self.say_missing(&gap);
        self.state.settle(&after.trace, after.part, before, &Contents { continues: true, ..after.contents.clone() })
    }

    /// Reports the parts at the end of traces that have no file any more. Files may be created and removed while the directory is read,
    /// so it is read twice.
    async fn report_ends(&mut self) -> Result<()> {
        let mut gone = self.state.unsettled();
        for _ in 0..2 {
            if gone.is_empty() {
                return Ok(());
            }
            let scan = self.spool.scan(&self.settled)?;
            let left: HashSet<_> = scan.parts.iter().chain(&scan.open).map(|part| &part.trace).collect();
            // A file that cannot be opened may be of any trace.
            gone.retain(|trace| scan.faults.is_empty() && !left.contains(&trace.trace));
        }
        for Trace { trace, next, seen, known, created_s, host, boot_id } in gone {
            let host = if host.is_empty() { own_host() } else { host };
            let contents = Contents { host, boot_id, seen_before: seen, ..Contents::default() };
            let row = Row {
                kind: Kind::Gap,
                trace,
                part: next,
                parts: known - next,
                created_s,
                contents,
                note: "removed before they were shipped, at the end of the trace: it may have had more, and how many events is unknown"
                    .to_owned(),
                ..Row::default()
            };
            self.create_row(&row).await?;
            self.say_missing(&row);
            self.state.settle(&row.trace, known, seen, &row.contents)?;
        }
        Ok(())
    }

    fn say_missing(&mut self, gap: &Row) {
        let parts_were = counted(gap.parts.into(), ["part was", "parts were"]);
        say(format_args!("{parts_were} removed before being shipped, of the trace {}", gap.trace));
        self.counts.missing += u64::from(gap.parts);
    }

    async fn unreadable_part(&mut self, part: &Part, fault: &anyhow::Error) -> Result<()> {
        let file = Unreadable { name: part.name.clone(), identity: part.identity, fault: format!("{fault:#}") };
        self.report_unreadable(&file).await?;
        let Trace { seen, host, boot_id, .. } = self.state.of(&part.trace);
        self.settle(part, seen, &Contents { host, boot_id, ..Contents::default() })
    }

    /// Reports a file that is no readable recording, once.
    async fn report_unreadable(&mut self, file: &Unreadable) -> Result<()> {
        if self.unreadable.contains(&file.identity) {
            return Ok(());
        }
        let Identity { inode, bytes, modified, .. } = file.identity;
        let row = Row {
            kind: Kind::Unreadable,
            trace: "0".repeat(16),
            parts: 1,
            created_s: modified.0,
            recording_bytes: bytes,
            source: format!("{inode}/{bytes}/{}", modified.0),
            contents: Contents { host: own_host(), ..Contents::default() },
            note: format!("{}: {}", file.name.display(), file.fault),
            ..Row::default()
        };
        self.create_row(&row).await?;
        say(format_args!("not shipped: {}", row.note));
        self.counts.unreadable += 1;
        if self.unreadable.len() < SETTLED {
            self.unreadable.insert(file.identity);
        }
        Ok(())
    }
}

/// Gives a part another name, from its contents: another machine with the same host name, boot and trace has the one before.
fn next_name(row: &mut Row) -> Result<()> {
    if row.copy == NAMES {
        bail!("{} and other objects with its name exist, with other contents: remove them", row.events_key());
    }
    row.copy += 1;
    row.note = "another object has the name of this part: a machine was cloned, or a recording was copied".to_owned();
    Ok(())
}
