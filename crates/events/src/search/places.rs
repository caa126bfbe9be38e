//! The search that a kept event belongs to: the calls around it of the same process and kind for the same name.

use super::{common_name, place};
use crate::event::Body;
use crate::limits;
use crate::store::{Id, Store, Stored};
use crate::text::command::leaf;
use crate::why::{SearchDir, start_of};
use foldhash::HashSet;
use tracetui_shared::kind::Kind;

/// A search: calls of one process with one last name that failed, up to the call that found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Searched {
    /// The last name, as in the selected call or in the call that found it.
    pub name: Vec<u8>,
    pub places: usize,
    /// The first directories, in order: at most [`limits::SEARCH_DIRECTORIES`].
    pub first: Vec<SearchDir>,
    pub found: Option<Vec<u8>>,
    /// Whether the search found the name, or the process continued without it.
    pub ended: bool,
}

/// Directories that programs search.
pub(super) const SEARCHED: [&[u8]; 7] = [b"bin", b"etc", b"include", b"lib", b"lib64", b"sbin", b"share"];

impl Searched {
    /// The name that the program asked for, with the directories that all places end with: `lookup/config.h`.
    pub fn asked(&self) -> Vec<u8> {
        let mut name = self.name.clone();
        let mut dirs: Vec<&[u8]> = self.first.iter().map(|place| place.dir.as_slice()).collect();
        while let Some(last) =
            dirs.first().map(|dir| leaf(dir)).filter(|last| !last.is_empty() && !SEARCHED.contains(last))
        {
            if !dirs.iter().all(|dir| leaf(dir) == last) {
                break;
            }
            name = [last, b"/", &name].concat();
            dirs.iter_mut().for_each(|dir| *dir = dir[..dir.len() - last.len()].strip_suffix(b"/").unwrap_or_default());
        }
        name
    }
}

/// The target of an open or an exec, as in [`place`], with the directory at which that of the target starts.
pub fn place_of<'a>(stored: &Stored<'a>) -> Option<(SearchDir, &'a [u8])> {
    search_dir(&stored.event().ok()?.body)
}

/// The same for a call.
pub fn search_dir<'a>(body: &Body<'a>) -> Option<(SearchDir, &'a [u8])> {
    let (dir, name) = place(body)?;
    let start = if dir.starts_with(b"/") { None } else { start_of(body.dir()) };
    Some((SearchDir { dir: dir.to_vec(), start }, name))
}

/// How another event continues the search of an event.
enum Step<'a> {
    /// It belongs to another process or kind, or failed for another name.
    Apart,
    /// It did not find the name, in this directory.
    Missed(SearchDir),
    /// It found the name, in this directory, with this last name.
    Found(SearchDir, &'a [u8]),
    /// It succeeded for another name.
    Other,
    /// The process ended, or runs another program.
    End,
}

fn step<'a>(of: &Stored<'_>, name: &[u8], other: &Stored<'a>) -> Step<'a> {
    if other.process.map(|process| process.key) != of.process.map(|process| process.key) {
        return Step::Apart;
    }
    if other.kind == of.kind {
        let same = other.event().is_ok_and(|event| common_name(&event.body) == Some(name));
        match (place_of(other).filter(|_| same), other.failed) {
            (Some((place, _)), true) => return Step::Missed(place),
            (Some((place, last)), false) => return Step::Found(place, last),
            (None, _) => {}
        }
    }
    match other.kind {
        Kind::Exit => Step::End,
        Kind::Exec if !other.failed => Step::End,
        kind if kind == of.kind && !other.failed => Step::Other,
        _ => Step::Apart,
    }
}

/// The result of the search of an answered call: the event, and the directory.
pub fn found_later(store: &Store, id: Id) -> Option<(Id, Vec<u8>)> {
    let stored = store.get(id).filter(|stored| stored.answered)?;
    let body = stored.event().ok()?.body;
    let name = common_name(&body)?;
    for next in store.range(id + 1..store.next_id().min(id.saturating_add(limits::SEARCH_AHEAD))) {
        match step(&stored, name, &next) {
            Step::Found(place, _) => return Some((next.id, place.dir)),
            Step::End => return None,
            _ => {}
        }
    }
    None
}

/// The places of a search without repetition, in the order of the calls.
#[derive(Default)]
struct Places {
    known: HashSet<SearchDir>,
    all: Vec<SearchDir>,
}

impl Places {
    fn add(&mut self, place: SearchDir) {
        if self.known.insert(place.clone()) {
            self.all.push(place);
        }
    }
}

/// The search that an event belongs to, if the search has more than one place.
pub fn searched(store: &Store, id: Id) -> Option<Searched> {
    let stored = store.get(id)?;
    stored.process?;
    let body = stored.event().ok()?.body;
    let name = common_name(&body)?;
    let (own, last) = place_of(&stored)?;
    let mut places = Places::default();
    places.add(own.clone());
    for before in store.range(store.first_id().max(id.saturating_sub(limits::SEARCH_AROUND))..id).rev() {
        match step(&stored, name, &before) {
            Step::Missed(place) => places.add(place),
            Step::Found(..) | Step::End => break,
            Step::Apart | Step::Other => {}
        }
    }
    places.all.reverse();
    let until = store.next_id().min(id.saturating_add(limits::SEARCH_AROUND));
    let mut found = (!stored.failed).then_some((own.dir, last));
    let mut ended = found.is_some() || until < store.next_id();
    for after in store.range(if found.is_some() { id..id } else { id + 1..until }) {
        match step(&stored, name, &after) {
            Step::Missed(place) => places.add(place),
            Step::Found(place, last) => {
                places.add(place.clone());
                (found, ended) = (Some((place.dir, last)), true);
                break;
            }
            Step::Other => ended = true,
            Step::End => {
                ended = true;
                break;
            }
            Step::Apart => {}
        }
    }
    let mut first = places.all;
    let all = first.len();
    first.truncate(limits::SEARCH_DIRECTORIES);
    let name = found.as_ref().map_or(last, |(_, last)| last).to_vec();
    (all > 1).then_some(Searched { name, places: all, first, found: found.map(|(dir, _)| dir), ended })
}
