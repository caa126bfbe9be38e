//! Ships what is closed, again and again.

use crate::convert::{Contents, convert, start_of};
use crate::manifest::{Kind, Row};
use crate::mapped;
use crate::part::{Identity, Part, own_host};
use crate::say::say;
use crate::spool::{Scan, Spool, Unreadable};
use crate::state::State;
use crate::store::{Created, Store};
use crate::{footer, keep};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use tracetui_events::recording::follow::RecordingFile;
use tracetui_events::sink::parquet::Options;

/// The most files that are remembered as settled. Others cost a request each time.
const SETTLED: usize = 100_000;

/// Ships the recordings of one directory.
pub(crate) struct Agent {
    pub(crate) spool: Spool,
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) options: Options,
    pub(crate) keep: Option<crate::cli::Keep>,
    /// The files with a row in the manifest.
    settled: HashMap<Identity, Part>,
    unreadable: HashSet<Identity>,
    pub(crate) counts: Counts,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Parts that nobody can read or ship any more.
    pub(crate) missing: u64,
    pub(crate) unreadable: u64,
    pub(crate) conflicts: u64,
    pub(crate) removed: u64,
}

impl Agent {
    pub(crate) fn new(
        spool: Spool,
        store: Store,
        state: State,
        options: Options,
        keep: Option<crate::cli::Keep>,
    ) -> Agent {
        let (settled, unreadable) = (HashMap::new(), HashSet::new());
        Agent { spool, store, state, options, keep, settled, unreadable, counts: Counts::default() }
    }

    /// Ships all closed parts, oldest first, then bounds the spool even if that failed.
    ///
    /// # Errors
    /// If a part could not be shipped now. The next round begins with it.
    pub(crate) async fn round(&mut self) -> Result<()> {
        let scan = self.spool.scan(&self.settled)?;
        self.settled.retain(|identity, _| scan.parts.iter().any(|part| part.identity == *identity));
        let shipped = self.ship_all(&scan).await;
        let removed = keep::bound(&self.spool, &scan.parts, self.keep, |identity| self.settled.contains_key(identity));
        self.counts.removed += removed.as_ref().copied().unwrap_or_default();
        shipped.and(removed.map(drop))
    }

    async fn ship_all(&mut self, scan: &Scan) -> Result<()> {
        for file in &scan.unreadable {
            self.report_unreadable(file).await?;
        }
        for part in &scan.parts {
            if self.settled.contains_key(&part.identity) {
                continue;
            }
            let next = self.state.next(&part.trace);
            let earlier =
                |(trace, number): &(String, u32)| *trace == part.trace && (next..part.number).contains(number);
            let waits = scan.open.iter().any(earlier);
            // An earlier part is being written.
            if !waits {
                self.ship(part, next).await?;
            }
        }
        // They do not hold up the others.
        match scan.faults.first() {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// Ships a part, unless it was shipped before or is gone.
    async fn ship(&mut self, part: &Part, next: u32) -> Result<()> {
        let Some(recording) = self.spool.reopen(part) else { return Ok(()) };
        let contents = match start_of(part, recording.clone()) {
            Ok(contents) => contents,
            Err(fault) => return self.unreadable_part(part, &fault).await,
        };
        let mut row = Row {
            kind: Kind::Part,
            trace: part.trace.clone(),
            part: part.number,
            parts: 1,
            created_s: part.created_s(),
            recording_bytes: part.identity.bytes,
            source: String::new(),
            contents,
            note: String::new(),
        };
        match self.store.row(&row.key()).await? {
            Some(found) => {
                row.contents.seen = number_in(&found, "seen");
                row.contents.seen_before = number_in(&found, "seen_before");
                if !is_of(&found, part) {
                    self.report_conflict(&row, part, &recording).await?;
                }
            }
            None => self.store_part(&mut row, part, recording).await?,
        }
        // A shipper that was killed before this finds the row of the part, and comes here again.
        if part.number > next {
            self.report_gap(&row, next).await?;
        }
        self.settle(part, row.contents.seen_before.saturating_add(row.contents.seen))
    }

    async fn store_part(&mut self, row: &mut Row, part: &Part, recording: RecordingFile) -> Result<()> {
        row.source = part.source(&recording).context("cannot read the recording")?;
        let out = self.state.temporary()?;
        let (of, source, options) = (part.clone(), row.source.clone(), self.options);
        let (file, kept) = (out.try_clone()?, recording.clone());
        // The loop handles signals meanwhile.
        let done = tokio::task::spawn_blocking(move || convert(&of, recording, &source, &file, options)).await??;
        match done {
            Ok(contents) => row.contents = contents,
            Err(fault) => return self.unreadable_part(part, &fault).await,
        }
        let bytes = mapped::map(&out).context("cannot read the converted part")?;
        let length = bytes.len() as u64;
        if self.store.create(&row.events_key(), bytes).await? == Created::Before {
            let found = footer::source(&self.store.footer(&row.events_key()).await?)?;
            if found.as_deref() != Some(&*row.source) {
                return self.report_conflict(row, part, &kept).await;
            }
        }
        self.create_row(row).await?;
        self.counts.parts += 1;
        self.counts.rows += row.contents.rows;
        self.counts.bytes += length;
        Ok(())
    }

    fn settle(&mut self, part: &Part, seen: u64) -> Result<()> {
        if self.settled.len() < SETTLED {
            self.settled.insert(part.identity, part.clone());
        }
        self.state.settle(&part.trace, part.number.saturating_add(1), seen)
    }

    async fn create_row(&self, row: &Row) -> Result<()> {
        let created = self.store.create(&row.key(), Bytes::from(row.json())).await?;
        if created == Created::Before && self.store.row(&row.key()).await?.is_none() {
            bail!("the server says that {} exists, and then that it does not", row.key());
        }
        Ok(())
    }

    async fn report_gap(&mut self, after: &Row, next: u32) -> Result<()> {
        let parts = after.part - next;
        let note = "removed before they were shipped".to_owned();
        let (before, seen_before) = (after.contents.seen_before, self.state.seen(&after.trace));
        let seen = before.saturating_sub(seen_before);
        let contents = Contents { seen, lost: seen, seen_before, ..after.contents.clone() };
        let gap = Row { kind: Kind::Gap, part: next, parts, recording_bytes: 0, note, contents, ..after.clone() };
        self.create_row(&gap).await?;
        say(format_args!("{parts} parts of the trace {} were removed before they were shipped", gap.trace));
        self.counts.missing += u64::from(parts);
        self.state.settle(&after.trace, after.part, before)
    }

    async fn report_conflict(&mut self, row: &Row, part: &Part, recording: &RecordingFile) -> Result<()> {
        let source = part.source(recording).context("cannot read the recording")?;
        let note = "another file was shipped as this part".to_owned();
        let row = Row { kind: Kind::Conflict, source, note, ..row.clone() };
        self.create_row(&row).await?;
        say(format_args!("{}: not shipped: {}", part.name.display(), row.note));
        self.counts.conflicts += 1;
        Ok(())
    }

    async fn unreadable_part(&mut self, part: &Part, fault: &anyhow::Error) -> Result<()> {
        let file = Unreadable { name: part.name.clone(), identity: part.identity, fault: format!("{fault:#}") };
        self.report_unreadable(&file).await?;
        self.settle(part, self.state.seen(&part.trace))
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
            part: 0,
            parts: 1,
            created_s: modified.0,
            recording_bytes: bytes,
            source: format!("{inode}/{bytes}/{}", modified.0),
            contents: Contents { host: own_host(), ..Contents::default() },
            note: format!("{}: {}", file.name.display(), file.fault),
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

/// Whether a row of the manifest is about this part: the same id and size of the recording.
fn is_of(row: &[u8], part: &Part) -> bool {
    let row: Option<serde_json::Value> = serde_json::from_slice(row).ok();
    let source = row.as_ref().and_then(|row| row.get("source")?.as_str());
    source.is_some_and(|source| source.starts_with(&part.source_start()))
}

fn number_in(row: &[u8], name: &str) -> u64 {
    let row: Option<serde_json::Value> = serde_json::from_slice(row).ok();
    row.as_ref().and_then(|row| row.get(name)?.as_u64()).unwrap_or_default()
}

/// Where the state is: beside the recordings, unless it is given.
pub(crate) fn state_directory(args: &crate::cli::Ship) -> PathBuf {
    args.state.clone().unwrap_or_else(|| args.spool.join(".tracetui-ship"))
}
