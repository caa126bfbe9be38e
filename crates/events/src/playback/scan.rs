//! Finds the parts of a recording that may contain wanted events: by its index, and then by scans of its blocks on all processors.
//!
//! The names, paths and arguments in an event are in a frame or state since the last state before it, byte for byte.

use crate::event::split;
use crate::filter::Needs;
use crate::frame::Frames;
use crate::limits;
use crate::recording::Map;
use crate::recording::block::{Contents, ThreadReader, Unsealer};
use crate::recording::index::IndexEntry;
use foldhash::HashMap;
use regex::bytes::Regex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use tracetui_shared::header::flag;
use tracetui_shared::id::Tid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exec::ExecChunk;

/// A part of a recording that may contain wanted events, in bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// The offset of the last state before it. If it is `None`, a reader must begin at the start of the file.
    pub(super) state: Option<u64>,
    /// The offset of its end. `u64::MAX`: the end of the recording.
    pub(super) until: u64,
}

pub(super) enum Next {
    Part(Candidate),
    /// None yet, up to a time (CLOCK_BOOTTIME, ns).
    Nothing(u64),
}

pub(super) struct Scan {
    map: Map,
    needs: Needs,
    /// The offsets of the unread index blocks, the next one last.
    index: Vec<u64>,
    /// The number of blocks before them.
    blocks: u64,
    /// The offset at which the search starts. Earlier blocks are ignored. The first block after it is always found, whatever it
    /// contains, because of the events that wait in the state.
    start: Option<u64>,
    /// The segment being read from the index.
    segment: Segment,
    found: VecDeque<Candidate>,
    /// The part after everything found: the last block of frames, because it contains the end of the trace. If the index is damaged,
    /// everything that it does not describe.
    last: Option<Candidate>,
    scanners: Vec<Scanner>,
}

/// A state and the blocks after it up to the next state, or a part of them. The first segment of a file has no state.
#[derive(Debug, Default)]
struct Segment {
    state: Option<u64>,
    blocks: Vec<IndexEntry>,
    /// Whether blocks of the state are not in it.
    continues: bool,
    /// Whether its first block is found, whatever it contains.
    begins: bool,
}

/// The upper limit of how far records are out of order.
const DISORDER_NS: u64 = 10_000_000_000;

/// The segments that each processor scans before the results are used.
const SEGMENTS: usize = 8;

impl Scan {
    /// A search for parts of a recording from a time on (CLOCK_BOOTTIME, ns). `None` if the index does not describe the whole
    /// recording, or cannot be read.
    pub(super) fn new(map: Map, needs: Needs, from_ns: u64) -> Option<Scan> {
        if !map.complete || !map.rest.is_empty() {
            return None;
        }
        let start = map.state_before(from_ns).ok()?;
        let mut index = map.spine().ok()?;
        let before = start.map_or(0, |start| index.partition_point(|(at, _)| *at < start));
        index.drain(..before);
        let blocks = if before == 0 { 0 } else { index.first().map_or(0, |(_, before)| before.blocks) };
        let index = index.into_iter().rev().map(|(at, _)| at).collect();
        let processors = thread::available_parallelism().map_or(1, usize::from).min(limits::SCANNERS);
        let scanners = (0..processors).map(|_| Scanner::new(&map)).collect();
        let segment = Segment { begins: start.is_some(), ..Segment::default() };
        Some(Scan { map, needs, index, blocks, start, segment, found: VecDeque::new(), last: None, scanners })
    }

    /// The next part. `None` at the end.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.found.is_empty() {
            let segments = self.segments();
            let Some(reached) = segments.iter().flat_map(|segment| &segment.blocks).map(|entry| entry.last_ns).max()
            else {
                return self.last.take().map(Next::Part);
            };
            self.scan(&segments);
            if self.found.is_empty() {
                return Some(Next::Nothing(reached.saturating_sub(DISORDER_NS)));
            }
        }
        self.found.pop_front().map(Next::Part)
    }

    /// The next segments. None at the end.
    fn segments(&mut self) -> Vec<Segment> {
        let (mut segments, mut blocks) = (Vec::new(), 0);
        while segments.len() < SEGMENTS * self.scanners.len() && (blocks < limits::SCANNED || segments.is_empty()) {
            let Some(at) = self.index.pop() else { break };
            let Some(entries) = self.entries(at) else {
                self.index.clear();
                self.last = Some(Candidate { state: self.segment.state, until: u64::MAX });
                break;
            };
            blocks += entries.len();
            entries.into_iter().for_each(|entry| segments.extend(self.add(entry)));
        }
        if self.index.is_empty() {
            segments.push(std::mem::take(&mut self.segment));
        }
        segments.retain(|segment| !segment.blocks.is_empty());
        segments
    }

    /// Adds a block to the segment. Returns the segment before, if another one begins here.
    fn add(&mut self, entry: IndexEntry) -> Option<Segment> {
        if self.start.is_some_and(|start| entry.offset < start) {
            return None;
        }
        let segment = &mut self.segment;
        let (is_state, is_full) = (!is_frames(&entry) && entry.part == 0, segment.blocks.len() >= limits::SCANNED);
        let before = (is_state || is_full).then(|| {
            let next = Segment {
                state: if is_state { Some(entry.offset) } else { segment.state },
                blocks: Vec::new(),
                continues: !is_state,
                begins: segment.begins && !segment.blocks.iter().any(is_frames),
            };
            std::mem::replace(segment, next)
        });
        if is_frames(&entry) {
            self.last = Some(Candidate { state: self.segment.state, until: end(&entry) });
        }
        self.segment.blocks.push(entry);
        before
    }

    /// The entries of an index block. `None` if it is damaged or does not describe the blocks after the last one.
    fn entries(&mut self, at: u64) -> Option<Vec<IndexEntry>> {
        let block = self.map.index_block(at).ok()??;
        let follows = block.before.blocks == self.blocks;
        self.blocks += block.entries.len() as u64;
        follows.then_some(block.entries)
    }

    /// Adds the wanted parts of segments, in their order.
    fn scan(&mut self, segments: &[Segment]) {
        let Scan { map, needs, scanners, .. } = self;
        let (map, needs, next) = (&*map, &*needs, AtomicUsize::new(0));
        let tasks: Vec<_> = segments.iter().map(|segment| (segment, AtomicU64::new(0))).collect();
        let work = |scanner: &mut Scanner| {
            while let Some((segment, end)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                end.store(scanner.scan(map, needs, segment).unwrap_or(0), Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let mut scanners = scanners.iter_mut().take(segments.len());
            let own = scanners.next();
            for scanner in scanners {
                // Without the thread, the others do its work.
                let _ = thread::Builder::new().name("scan".into()).spawn_scoped(scope, || work(scanner));
            }
            own.into_iter().for_each(work);
        });
        let found = tasks.into_iter().map(|(segment, end)| (segment.state, end.into_inner()));
        let found = found.filter(|(_, until)| *until > 0);
        self.found.extend(found.map(|(state, until)| Candidate { state, until }));
    }
}

fn is_frames(entry: &IndexEntry) -> bool {
    entry.contents == Contents::Frames as u16
}

fn end(entry: &IndexEntry) -> u64 {
    entry.offset.saturating_add(entry.bytes.into())
}

/// The bytes of arguments on each side of the place where one frame ends and the next one continues it.
const SEAM: usize = 256;

struct Scanner {
    threads: ThreadReader,
    frames: Unsealer,
    /// By thread: the end of the last frame that may be continued.
    ends: HashMap<Tid, Vec<u8>>,
}

impl Scanner {
    fn new(map: &Map) -> Scanner {
        let (threads, frames) = (ThreadReader::default(), map.file.unsealer_at(u64::MAX));
        Scanner { threads, frames, ends: HashMap::default() }
    }

    /// The end of the last block that may contain a wanted event.
    fn scan(&mut self, map: &Map, needs: &Needs, segment: &Segment) -> Option<u64> {
        let mut wanted = vec![false; segment.blocks.len()];
        let may_be = |entry: &IndexEntry| is_frames(entry) && needs.may_be(entry, None, None);
        let until = segment.blocks.iter().rposition(may_be).map_or(0, |last| last + 1);
        for (at, entry) in segment.blocks[..until].iter().enumerate().filter(|(_, entry)| is_frames(entry)) {
            let mut read = || map.threads(entry, &mut self.threads).ok().flatten();
            let threads = if needs.has_threads() { read() } else { None };
            wanted[at] = needs.may_be(entry, threads.as_deref(), None);
        }
        let last = wanted.iter().rposition(|wanted| *wanted);
        let found = last.and_then(|last| self.with_texts(map, needs, segment, &wanted[..=last]));
        let first = segment.blocks.iter().find(|entry| segment.begins && is_frames(entry)).map(end);
        found.max(first)
    }

    /// The end of the last wanted block in which, or before which, the wanted texts are.
    fn with_texts(&mut self, map: &Map, needs: &Needs, segment: &Segment, wanted: &[bool]) -> Option<u64> {
        let mut found = vec![segment.continues; needs.texts.len()];
        let mut until = None;
        self.ends.clear();
        for (entry, wanted) in segment.blocks.iter().zip(wanted) {
            if !found.iter().all(|found| *found) {
                match map.frames(entry, &mut self.frames) {
                    Ok(Some(frames)) if self.search(&frames, &needs.texts, &mut found) => {}
                    _ => found.fill(true),
                }
            }
            if *wanted && needs.may_be(entry, None, Some(&found)) {
                until = Some(end(entry));
            }
        }
        until
    }

    /// Searches a block. `false` if the arguments that a frame continues are not known.
    fn search(&mut self, frames: &[u8], texts: &[Regex], found: &mut [bool]) -> bool {
        let mut look = |bytes: &[u8]| {
            texts.iter().zip(&mut *found).for_each(|(text, found)| *found = *found || text.is_match(bytes));
        };
        look(frames);
        for frame in Frames::of(frames).filter(|frame| frame.header.kind == Kind::Exec as u16) {
            let Some((record, _)) = split(&frame) else { return false };
            let mut end = record.get(record.len().saturating_sub(SEAM)..).unwrap_or_default().to_vec();
            if frame.header.has(flag::CONTINUES) {
                let arguments = frame.payload.get(size_of::<ExecChunk>()..).unwrap_or_default();
                let Some(mut seam) = self.ends.remove(&frame.header.tid) else { return false };
                seam.extend_from_slice(arguments.get(..SEAM).unwrap_or(arguments));
                look(&seam);
                end = seam.split_off(seam.len().saturating_sub(SEAM));
                if arguments.len() > SEAM {
                    end = arguments[arguments.len() - SEAM..].to_vec();
                }
            }
            self.ends.insert(frame.header.tid, end);
        }
        true
    }
}
