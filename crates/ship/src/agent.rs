//! Ships what is closed, again and again.

use crate::convert::{Contents, convert, start_of};
use crate::manifest::{self, Kind, Row};
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
use tracetui_events::text::{counted, size};

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
        let (contents, fault) = match start_of(part, recording.clone()) {
            Ok(contents) => (contents, None),
            Err(fault) => (Contents { host: own_host(), ..Contents::default() }, Some(fault)),
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
            copy: 0,
        };
        let next = if next == 0 && part.number > 0 { self.recall(&row).await? } else { next };
        if let Some(fault) = fault {
            if part.number > next {
                self.report_gap(&row, next).await?;
            }
            return self.unreadable_part(part, &fault).await;
        }
        // A settled recording is not read again after each start.
        let is_settled = part.number < next
            && self.store.row(&row.key()).await?.is_some_and(|found| row.take_account(&found, &part.source_start()));
        if !is_settled {
            row.source = part.source(&recording).context("cannot read the recording")?;
            if !self.is_stored(&mut row).await? {
                // Before the part: the gap of a part with a row is reported.
                if part.number > next {
                    self.report_gap(&row, next).await?;
                }
                if let Err(fault) = self.convert_and_store(&mut row, part, recording).await? {
                    return self.unreadable_part(part, &fault).await;
                }
            }
        }
        self.settle(part, row.contents.seen_before.saturating_add(row.contents.seen))
    }

    /// The number of the first part of a trace that has no row. It is 0 in the state of a trace that is new, or if the state was lost.
    async fn recall(&mut self, row: &Row) -> Result<u32> {
        let (hours, start) = row.earlier();
        for hour in hours {
            let mut last = None;
            for name in self.store.names(&hour, &start).await? {
                last = last.max(self.store.row(&name).await?.and_then(|row| manifest::after(&row)));
            }
            if let Some((next, seen)) = last {
                self.state.settle(&row.trace, next, seen)?;
                return Ok(next);
            }
        }
        Ok(0)
    }

    /// Whether a part has a row. Otherwise its row gets the first name that is not another file's.
    async fn is_stored(&self, row: &mut Row) -> Result<bool> {
        while let Some(found) = self.store.row(&row.key()).await? {
            let source = row.source.clone();
            if row.take_account(&found, &source) {
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
        // The loop handles signals meanwhile.
        let done = tokio::task::spawn_blocking(move || convert(&of, recording, &source, &file, options)).await??;
        match done {
            Ok(contents) => row.contents = contents,
            Err(fault) => return Ok(Err(fault)),
        }
        let bytes = mapped::map(&out).context("cannot read the converted part")?;
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
        if self.store.create(&name, bytes).await? == Created::Now {
            return Ok(true);
        }
        let found = footer::source(&self.store.footer(&name).await?)?;
        Ok(found.as_deref() == Some(&*row.source))
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
        let seen_before = self.state.seen(&after.trace);
        let before = after.contents.seen_before.max(seen_before);
        let seen = before - seen_before;
        let contents = Contents { seen, lost: seen, seen_before, ..after.contents.clone() };
        let gap = Row { kind: Kind::Gap, part: next, parts, recording_bytes: 0, note, contents, ..after.clone() };
        self.create_row(&gap).await?;
        let parts_were = counted(parts.into(), ["part was", "parts were"]);
        say(format_args!("{parts_were} removed before being shipped, of the trace {}", gap.trace));
        self.counts.missing += u64::from(parts);
        self.state.settle(&after.trace, after.part, before)
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
            copy: 0,
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
    row.note =
        "another recording has the name of this part: a machine was cloned, or a recording was copied".to_owned();
    Ok(())
}

/// Where the state is: beside the recordings, unless it is given.
pub(crate) fn state_directory(args: &crate::cli::Ship) -> PathBuf {
    args.state.clone().unwrap_or_else(|| args.spool.join(".tracetui-ship"))
}
