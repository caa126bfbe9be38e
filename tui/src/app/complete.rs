//! What completes the text in the filter's line: names of fields, and values that are known or were seen.

use crate::enrich::World;
use crate::event::Tables;
use crate::event::describe::{self, Shape, Value};
use crate::filter::complete::{self, Ending, FieldName, Of};
use crate::store::Store;
use rustc_hash::FxHashMap;
use tracetui_shared::id::{Gid, Uid};

/// The newest kept events whose values are offered.
const EVENTS: u64 = 20_000;

/// The different values among which the offered ones are chosen.
const VALUES: usize = 4_000;

/// The maximum of what is offered.
const OFFERED: usize = 100;

/// The longest value in bytes.
const LONGEST: usize = 1_024;

/// The texts that may stand at the end of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// Where they begin, in bytes.
    pub(crate) start: usize,
    /// What was typed there.
    pub(crate) typed: String,
    /// The texts, never empty.
    pub(crate) offers: Vec<Offer>,
    /// The one that is chosen.
    pub(crate) chosen: Option<usize>,
}

/// A text that may stand at the end of a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Offer {
    /// The text.
    pub(crate) text: String,
    /// What it denotes, raw: the command of a process.
    pub(crate) note: Vec<u8>,
}

/// Values with how often they were seen, and what they denote.
type Counts = FxHashMap<Vec<u8>, (u32, Vec<u8>)>;

impl Completion {
    /// What may follow a text; `None` if nothing is known.
    pub(crate) fn of(text: &str, store: &Store, world: &World) -> Option<Completion> {
        let Ending { start, typed, of } = complete::ending(text)?;
        let offers = match of {
            Of::Field => {
                let terms = complete::field_terms(std::str::from_utf8(&typed).ok()?);
                terms.into_iter().map(|text| Offer { text, note: Vec::new() }).collect()
            }
            Of::Value(field) => values(&field, &typed, store, world),
        };
        let typed = text[start..].to_owned();
        (!offers.is_empty()).then_some(Completion { start, typed, offers, chosen: None })
    }

    /// The text with which all offers begin.
    pub(crate) fn common(&self) -> &str {
        let mut texts = self.offers.iter().map(|offer| offer.text.as_str());
        let first = texts.next().unwrap_or_default();
        texts.fold(first, |common, text| {
            let differ = common.char_indices().zip(text.chars()).find(|((_, one), other)| one != other);
            let end = differ.map_or(common.len().min(text.len()), |((at, _), _)| at);
            &common[..end]
        })
    }

    /// Chooses the next offer or the previous one; after the last one, the first.
    pub(crate) fn step(&mut self, next: bool) {
        let (all, last) = (self.offers.len(), self.offers.len() - 1);
        self.chosen = Some(match (self.chosen, next) {
            (None, true) => 0,
            (None, false) => last,
            (Some(at), true) => (at + 1) % all,
            (Some(at), false) => (at + last) % all,
        });
    }

    /// The text that stands there now.
    pub(crate) fn text(&self) -> &str {
        match self.chosen.and_then(|at| self.offers.get(at)) {
            Some(offer) => &offer.text,
            None if begins(self.common().as_bytes(), self.typed.as_bytes()) => self.common(),
            None => &self.typed,
        }
    }
}

/// The values of a field that begin with a text: those of the newest events, the most frequent first, then others that are known.
fn values(field: &FieldName, typed: &[u8], store: &Store, world: &World) -> Vec<Offer> {
    let mut counts = Counts::default();
    count_events(field, typed, store, world, &mut counts);
    let mut known = |value: &[u8], note: &[u8]| count(value, note, 0, typed, &mut counts);
    field.words().into_iter().for_each(|word| known(word.as_bytes(), b""));
    match (field.shape(), field.name()) {
        (Shape::User, _) => world.user_names().for_each(|name| known(name.as_bytes(), b"")),
        (Shape::Group, _) => world.group_names().for_each(|name| known(name.as_bytes(), b"")),
        (_, "comm") => world.processes.entries().for_each(|entry| known(&entry.process.comm, b"")),
        (_, "pid" | "tree") => {
            for entry in world.processes.entries() {
                known(entry.process.key.tgid.0.to_string().as_bytes(), &entry.process.comm);
            }
        }
        _ => {}
    }
    let mut values: Vec<_> = counts.into_iter().collect();
    // Numbers in their order.
    let length = |value: &[u8]| if field.shape() == Shape::Number { value.len() } else { 0 };
    values
        .sort_by(|(one, (often, _)), (other, (less, _))| (less, length(one), one).cmp(&(often, length(other), other)));
    values.truncate(OFFERED);
    values.into_iter().map(|(value, (_, note))| Offer { text: field.written(&value), note }).collect()
}

fn count_events(field: &FieldName, typed: &[u8], store: &Store, world: &World, counts: &mut Counts) {
    if field.shape() == Shape::Duration {
        return;
    }
    let first = store.first_id().max(store.next_id().saturating_sub(EVENTS));
    for stored in (first..store.next_id()).rev().filter_map(|id| store.get(id)) {
        stored.with(world, |seen| {
            let note: &[u8] = if field.name() == "pid" { seen.event.header.comm() } else { b"" };
            let mut add = |value: &[u8]| count(value, note, 1, typed, counts);
            for value in field.values(seen) {
                match &value {
                    // A term on a list is about its elements.
                    Value::Args(area) | Value::SomeArgs(area, _) => describe::args(area).for_each(&mut add),
                    Value::Words(words) => words.iter().for_each(|word| add(word.as_bytes())),
                    Value::Time(ns) => add(ns.to_string().as_bytes()),
                    value => match name(field.shape(), value, world) {
                        Some(name) => add(name.as_bytes()),
                        None => add(&value.text().unwrap_or_default()),
                    },
                }
            }
        });
    }
}

/// The name of a user or group.
fn name<'w>(shape: Shape, value: &Value<'_>, world: &'w World) -> Option<&'w str> {
    let id = || value.number().and_then(|number| u32::try_from(number).ok());
    match shape {
        Shape::User => world.user(Uid(id()?)),
        Shape::Group => world.group(Gid(id()?)),
        _ => None,
    }
}

/// Counts a value that begins with what was typed.
fn count(value: &[u8], note: &[u8], by: u32, typed: &[u8], counts: &mut Counts) {
    if value.is_empty() || value.len() > LONGEST || !begins(value, typed) {
        return;
    }
    if let Some((often, _)) = counts.get_mut(value) {
        *often = often.saturating_add(by);
    } else if counts.len() < VALUES {
        counts.insert(value.to_vec(), (by, note.to_vec()));
    }
}

/// Whether a value begins with what was typed, in upper or lower case.
fn begins(value: &[u8], typed: &[u8]) -> bool {
    value.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(typed))
}
