//! Lines in parts, with a cache of the parts of equal events. Programs open the same files again and again.

use crate::event::EventContext;
use crate::event::describe::{Field, props};
use crate::limits;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::mem::offset_of;
use tracetui_shared::header::FrameHeader;
use zerocopy::IntoBytes as _;

/// The cached parts of an event with one source: at most one of the line, and one of an object in it.
const PARTS: usize = 2;

/// What decides a part of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// More than the others.
    Event,
    /// The fields of the thread: those of the header from the start time on, the pid namespace of tracetui, and the cgroup
    /// with its container.
    Thread,
    /// [`Body::decisive`](crate::event::Body::decisive).
    Kind,
}

impl Source {
    /// The source of a common field.
    pub(super) fn of(field: &Field) -> Source {
        if field.has(props::THREAD) { Source::Thread } else { Source::Event }
    }
}

/// Joins consecutive items with the same source into parts.
pub(super) fn parts<T>(items: impl IntoIterator<Item = (Source, T)>) -> Vec<(Source, Vec<T>)> {
    let mut parts: Vec<(Source, Vec<T>)> = Vec::new();
    for (source, item) in items {
        match parts.last_mut() {
            Some((last, part)) if *last == source => part.push(item),
            _ => parts.push((source, vec![item])),
        }
    }
    parts
}

/// The bytes that decide a part.
type Key<'k> = [&'k [u8]; 3];

/// Caches of parts, by their source.
#[derive(Debug)]
pub(super) struct Memo {
    threads: Table,
    kinds: Table,
    hasher: RandomState,
}

impl Default for Memo {
    fn default() -> Memo {
        Memo {
            threads: Table {
                places: Vec::new(),
                count: limits::FORMATTED_THREADS,
                most: limits::FORMATTED_THREAD_BYTES,
            },
            kinds: Table { places: Vec::new(), count: limits::FORMATTED, most: limits::FORMATTED_BYTES },
            hasher: RandomState::default(),
        }
    }
}

impl Memo {
    /// Begins the line of an event.
    pub(super) fn line(&mut self, seen: &EventContext<'_>) -> CachedLine<'_> {
        let of_kind = seen.event.body.decisive().map(|key| {
            let mut hasher = self.hasher.build_hasher();
            key.iter().for_each(|part| hasher.write(part));
            self.kinds.texts(hasher.finish() as usize, &key)
        });
        CachedLine { of_thread: of_thread(seen, &mut self.threads), of_kind }
    }
}

/// The texts of a thread. `None` if they have other sources too: there is no process, or only its id is known.
fn of_thread<'m>(seen: &EventContext<'_>, threads: &'m mut Table) -> Option<Texts<'m>> {
    let process = seen.process.filter(|_| !seen.event.body.is_made())?;
    let header = &seen.event.header;
    let cgroup = seen.world.cgroup(header.cgroup, process);
    let known = u8::from(cgroup.is_some()) << 1 | u8::from(seen.world.knows_cgroups());
    let mut others = [known; 9];
    others[..8].copy_from_slice(&seen.world.cgroups_told().to_le_bytes());
    let from_start = header.as_bytes().get(offset_of!(FrameHeader, start)..)?;
    Some(threads.texts(header.tid.0 as usize, &[from_start, &others, cgroup.unwrap_or_default()]))
}

/// The cached texts for a line.
pub(super) struct CachedLine<'m> {
    of_thread: Option<Texts<'m>>,
    of_kind: Option<Texts<'m>>,
}

impl CachedLine<'_> {
    /// Appends parts, in the same order for every event of a kind. `write` appends a part that is not cached.
    pub(super) fn write<P>(
        &mut self,
        parts: &[(Source, P)],
        out: &mut Vec<u8>,
        mut write: impl FnMut(&P, &mut Vec<u8>),
    ) {
        for (source, part) in parts {
            let texts = match source {
                Source::Event => None,
                Source::Thread => self.of_thread.as_mut(),
                Source::Kind => self.of_kind.as_mut(),
            };
            match texts {
                Some(texts) => texts.next(out, |out| write(part, out)),
                None => write(part, out),
            }
        }
    }
}

/// Texts by the bytes that decide them. Each key has one place; keys that share a place replace each other, so a chosen key costs one
/// text at most.
#[derive(Debug)]
struct Table {
    places: Vec<Entry>,
    count: usize,
    /// The most bytes of an entry. Each has so many from its first use on: a longer text allocates nothing.
    most: usize,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// The parts of the key, then the texts.
    bytes: Vec<u8>,
    /// The lengths of the parts.
    key: [usize; 3],
    /// The ends of the texts so far.
    ends: [usize; PARTS],
    texts: usize,
}

impl Table {
    /// The texts of a key, in its place. Afterwards the place belongs to this key.
    fn texts(&mut self, place: usize, key: &Key<'_>) -> Texts<'_> {
        if self.places.is_empty() {
            self.places.resize(self.count, Entry::default());
        }
        let entry = &mut self.places[place % self.count];
        if !entry.has(key) {
            entry.begin(key, self.most);
        }
        let from = entry.key.iter().sum();
        Texts { entry, at: 0, from }
    }
}

impl Entry {
    fn has(&self, key: &Key<'_>) -> bool {
        let mut rest = self.bytes.as_slice();
        self.texts > 0
            && key.iter().zip(self.key).all(|(part, len)| {
                let after = rest.strip_prefix(*part).filter(|_| part.len() == len);
                rest = after.unwrap_or_default();
                after.is_some()
            })
    }

    fn begin(&mut self, key: &Key<'_>, most: usize) {
        self.bytes.clear();
        self.bytes.reserve_exact(most);
        self.texts = 0;
        self.key = key.map(<[u8]>::len);
        if self.key.iter().sum::<usize>() < most {
            key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
    }
}

/// The texts of an entry, one after another.
struct Texts<'m> {
    entry: &'m mut Entry,
    /// The number of the next text, and where it begins.
    at: usize,
    from: usize,
}

impl Texts<'_> {
    /// Appends the next text. `write` appends it if it is not cached. It is then cached, unless the entry becomes too long.
    fn next(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let Texts { entry, at, from } = self;
        let number = std::mem::replace(at, *at + 1);
        if number < entry.texts {
            let end = std::mem::replace(from, entry.ends[number]);
            return out.extend_from_slice(entry.bytes.get(end..*from).unwrap_or_default());
        }
        let start = out.len();
        write(out);
        let text = out.get(start..).unwrap_or_default();
        let fits = number == entry.texts && entry.bytes.len() + text.len() <= entry.bytes.capacity();
        if let Some(end) = entry.ends.get_mut(number).filter(|_| fits && entry.bytes.len() == *from) {
            entry.bytes.extend_from_slice(text);
            *end = entry.bytes.len();
            (*from, entry.texts) = (*end, number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table { places: Vec::new(), count: 1, most: limits::FORMATTED_BYTES }
    }

    /// Passes texts through the only place of a table. Returns them, and how many were cached.
    fn pass(table: &mut Table, key: &Key<'_>, texts: &[&[u8]]) -> (Vec<u8>, usize) {
        let (mut out, mut written) = (Vec::new(), 0);
        let mut cached = table.texts(7, key);
        for text in texts {
            cached.next(&mut out, |out| {
                out.extend_from_slice(text);
                written += 1;
            });
        }
        (out, texts.len() - written)
    }

    #[test]
    fn texts_belong_to_their_whole_key_and_long_ones_are_not_cached() {
        let mut table = table();
        let keys =
            [[&b"ab"[..], b"c", b""], [b"a", b"bc", b""], [b"ab", b"", b"c"], [b"ab", b"c", b"o"], [b"", b"", b""]];
        for key in keys {
            for cached in [0, 2, 2] {
                assert_eq!(pass(&mut table, &key, &[b"one", b"two"]), (b"onetwo".to_vec(), cached), "{key:?}");
            }
        }
        // Long texts are not cached, and no text allocates.
        let mut table = self::table();
        let long = [b'x'; limits::FORMATTED_BYTES];
        let key: Key<'_> = [b"ab", b"c", b""];
        pass(&mut table, &key, &[b"one"]);
        let allocated = table.places[0].bytes.as_ptr();
        for (texts, cached) in [([&long[..], b"two"], [0, 0]), ([b"one", &long], [0, 1]), ([b"", &long[3..]], [0, 2])] {
            for (cached, round) in cached.into_iter().zip(0..) {
                let key = [key[0], &[texts[0].len() as u8], key[2]];
                assert_eq!(pass(&mut table, &key, &texts), (texts.concat(), cached), "{round}");
            }
        }
        assert_eq!(pass(&mut table, &[&long, b"", b""], &[b"one"]), (b"one".to_vec(), 0));
        assert_eq!(pass(&mut table, &[&long, b"", b""], &[b"one"]), (b"one".to_vec(), 0));
        assert_eq!(table.places[0].bytes.as_ptr(), allocated);
    }
}
