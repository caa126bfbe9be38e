//! The rows of the manifest, as far as a check needs them.

use crate::cli;
use crate::convert::{Contents, clipped};
use crate::manifest::{Kind, Row as Stored, seconds};
use crate::messages::say;
use crate::part::{hour_of, stem};
use crate::store::Store;
use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{BTreeMap, HashSet};

/// Rows that are read at the same time.
const AT_ONCE: usize = 64;

/// The most bytes of a host's name and of a note that are kept.
const HOST: usize = 255;
const NOTE: usize = 1 << 10;

/// Rows that begin this long before the requested time are read too. They say which hosts and parts came before.
pub(super) const BEFORE_S: i64 = 86_400;

/// The fields of a row that the report needs.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// A checksum of the boot id.
    pub(super) boot: u32,
    /// The number of the part, or of the first one of a gap.
    pub(super) part: u32,
    pub(super) parts: u32,
    pub(super) created_s: i64,
    /// The time of its last event.
    pub(super) ended_s: i64,
    /// The name of its objects, without a directory and an extension.
    pub(super) name: String,
    pub(super) events: u64,
    pub(super) seen: u64,
    pub(super) seen_before: u64,
    pub(super) lost: u64,
    pub(super) complete: bool,
    pub(super) damaged: bool,
    /// Why a file is unreadable.
    pub(super) note: String,
}

impl Row {
    pub(super) fn file(&self) -> String {
        format!("events/{}.parquet", self.name)
    }

    /// The number of the part after the row.
    pub(super) fn next(&self) -> u64 {
        u64::from(self.part) + u64::from(self.parts)
    }

    pub(super) fn seen_until(&self) -> u64 {
        self.seen_before.saturating_add(self.seen)
    }
}

/// The rows by host and trace.
pub(super) type Hosts = BTreeMap<String, BTreeMap<String, Vec<Row>>>;

/// The name of the objects of a row, if the key is the one that its fields give.
fn name_of(row: &Stored, key: &str) -> Option<String> {
    let name = key.strip_prefix("manifest/")?.strip_suffix(".json")?;
    let start = format!("{}/{}-", hour_of(row.created_s), stem(&row.contents.host, &row.contents.boot_id, &row.trace));
    let end = name.strip_prefix(&start)?;
    // Another recording with the name has a checksum behind the number.
    let is_sum = |end: &str| end.strip_prefix('-').is_some_and(|sum| sum.len() == 8 && is_hex(sum));
    let is_its = match row.kind {
        Kind::Part => {
            let end = end.strip_prefix(&format!("{:06}", row.part))?;
            row.parts == 1 && (end.is_empty() || is_sum(end))
        }
        Kind::Gap | Kind::Unreadable => row.parts > 0,
    };
    let file = (row.kind == Kind::Part).then(|| format!("events/{name}.parquet"));
    (is_its && is_hex(&row.trace) && row.trace.len() == 16 && row.file == file).then(|| name.to_owned())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads the rows of the requested time, and those shortly before.
pub(super) async fn read(store: &Store, args: &cli::Check) -> Result<Hosts> {
    let from = args.from.map(|from| from.saturating_sub(BEFORE_S));
    let is_asked =
        |row: &Row| from.is_none_or(|from| row.created_s >= from) && args.to.is_none_or(|to| row.created_s < to);
    let mut found = stream::iter(list(store, "manifest", from, args.to).await?)
        .map(async |key| anyhow::Ok((store.row(&key).await?, key)))
        .buffer_unordered(AT_ONCE);
    let mut hosts = Hosts::new();
    while let Some((row, key)) = found.try_next().await.context("cannot read the manifest")? {
        // Removed meanwhile.
        let Some(row) = row else { continue };
        match parse(&row, &key) {
            Ok((host, trace, row)) if is_asked(&row) => {
                hosts.entry(host).or_default().entry(trace).or_default().push(row);
            }
            Ok(_) => {}
            Err(error) => say(format_args!("{key}: no row of a manifest: {error}")),
        }
    }
    Ok(hosts)
}

/// The names of the objects with the events of the requested time.
pub(super) async fn files(store: &Store, args: &cli::Check) -> Result<HashSet<String>> {
    Ok(list(store, "events", args.from, args.to).await?.into_iter().collect())
}

async fn list(store: &Store, directory: &str, from: Option<i64>, to: Option<i64>) -> Result<Vec<String>> {
    let name = |time_s| format!("{directory}/{}", hour_of(time_s));
    let first = from.map_or_else(|| directory.to_owned(), name);
    let last = to.map_or_else(|| directory.to_owned(), |to| name(to.saturating_sub(1)));
    // After all names in the last directory.
    store.list(directory, &first, &format!("{last}~")).await
}

/// The host, the trace and the row.
fn parse(row: &[u8], key: &str) -> Result<(String, String, Row)> {
    let row: Stored = serde_json::from_slice(row)?;
    let name = name_of(&row, key).context("its fields do not give this name")?;
    let Stored { kind, trace, part, parts, created_s, contents, .. } = row;
    let Contents { host, boot_id, rows: events, seen, seen_before, lost, last, complete, damaged, .. } = contents;
    let ended_s = last.as_deref().and_then(seconds).unwrap_or_default().max(created_s);
    let boot = crc32fast::hash(boot_id.as_bytes());
    let note = if kind == Kind::Unreadable { clipped(&row.note, NOTE) } else { String::new() };
    let row = Row {
        kind,
        boot,
        part,
        parts,
        created_s,
        ended_s,
        name,
        events,
        seen,
        seen_before,
        lost,
        complete,
        damaged,
        note,
    };
    Ok((clipped(&host, HOST), trace, row))
}
