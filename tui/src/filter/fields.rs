//! The fields that a name in a filter denotes. The names come from the tables of [`describe`](crate::event::describe),
//! except for the aliases and the titles of columns.

use super::error::{FilterError, did_you_mean};
use crate::event::EventContext;
use crate::event::describe::{self, Field, Shape, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use tracetui_shared::kind::{Kind, KindSet};

/// Takes a value from an event.
pub(super) type Get = for<'a> fn(&EventContext<'a>) -> Value<'a>;

/// Appends the content of a column to a buffer.
pub(super) type Write = for<'a> fn(&EventContext<'a>, &mut Vec<u8>);

/// A field that only filters have: the process is this one or descends from it.
pub(super) const TREE: &str = "tree";

/// How many slots an array by kind needs: kinds are numbered from 1.
const KINDS: usize = Kind::ALL.len() + 1;

/// The fields that a name denotes, by kind.
#[derive(Clone, Debug)]
pub(super) struct Appearance {
    pub(super) shape: Shape,
    /// A term holds if it holds for any of them; none: the kind has no such field.
    by_kind: [Vec<Get>; KINDS],
}

impl Appearance {
    pub(super) fn of(&self, kind: Kind) -> &[Get] {
        self.by_kind.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    /// The kinds that have the field.
    pub(super) fn kinds(&self) -> KindSet {
        Kind::ALL.into_iter().filter(|kind| !self.of(*kind).is_empty()).collect()
    }
}

/// Paths whose last component is a key in the index of a recording ([`crate::event::keys`]).
pub(super) const IN_INDEX: [&str; 5] = ["path", "abs_path", "fs_path", "filename", "exe"];

/// What a name means for a kind, where that is not the field of the same name.
fn meaning(name: &str, kind: Kind) -> Option<&'static [&'static str]> {
    Some(match (name, kind) {
        // Of an exec: the file as loaded, or as asked. Of an open: as asked, or as opened.
        ("path", Kind::Exec) => &["exe", "filename", "fs_path"],
        ("path", Kind::Open) => &["path", "abs_path", "fs_path"],
        ("arg", _) => &["argv"],
        ("dur", _) => &["dur_ns"],
        ("prog", _) => &["prog.name"],
        _ => return None,
    })
}

/// Names beside those of the tables.
const ALIASES: [(&str, Shape); 3] = [("arg", Shape::List), ("dur", Shape::Duration), (TREE, Shape::Number)];

/// The titles of columns that are no field names, and the field that each shows.
pub const TITLES: [(&str, &str); 4] = [("user", "uid"), ("file", "path"), ("exit", "exit_code"), ("name", "comm")];

/// The columns that show more than one field: they are compared as text.
const COLUMNS: [(&str, Write); 2] =
    [("result", |seen, out| seen.result(out)), ("detail", |seen, out| seen.detail(out))];

/// The content of a column that shows more than one field.
pub(super) fn column(name: &str) -> Option<Write> {
    COLUMNS.iter().find(|(title, _)| *title == name).map(|(_, write)| *write)
}

/// The field that a written name denotes: the field of this name, or the one that a column of this title shows. Upper
/// case is accepted: titles are shown that way.
pub(super) fn named(written: &str) -> Option<String> {
    let name = written.to_ascii_lowercase();
    let name = TITLES.iter().find(|(title, _)| *title == name).map_or(name, |(_, field)| (*field).to_owned());
    known(&name).then_some(name)
}

fn field(kind: Kind, name: &str) -> Option<&'static Field> {
    match name.split_once('.') {
        Some((outer, inner)) => field(kind, outer)?.sub.iter().find(|field| field.name == inner),
        None => describe::fields(kind).find(|field| field.name == name),
    }
}

/// The fields that a name denotes; `None` if no kind has it.
pub(super) fn look(name: &str) -> Option<Appearance> {
    let mut by_kind = [const { Vec::new() }; KINDS];
    let mut shape = None;
    for kind in Kind::ALL {
        let names = meaning(name, kind).unwrap_or(std::slice::from_ref(&name));
        let fields: Vec<&Field> = names.iter().filter_map(|name| field(kind, name)).collect();
        shape = shape.or(fields.first().map(|field| field.shape));
        if let Some(slot) = by_kind.get_mut(kind as usize) {
            *slot = fields.into_iter().map(|field| field.get).collect();
        }
    }
    shape.map(|shape| Appearance { shape, by_kind })
}

/// Whether the values of a field are texts from outside: names, paths, arguments.
pub(super) fn is_outside(name: &str) -> bool {
    let word = ["kind", "err", "signal"].contains(&name);
    !word
        && names().get(name).is_none_or(|shape| matches!(shape, Shape::Text | Shape::List | Shape::User | Shape::Group))
}

/// Whether a filter may name it.
pub(super) fn known(name: &str) -> bool {
    name == TREE
        || column(name).is_some()
        || Kind::ALL.into_iter().any(|kind| {
            meaning(name, kind).unwrap_or(std::slice::from_ref(&name)).iter().any(|name| field(kind, name).is_some())
        })
}

/// All names of fields and columns, with their types, for completion and suggestions.
pub fn names() -> BTreeMap<String, Shape> {
    let mut names: BTreeMap<String, Shape> = ALIASES.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect();
    for field in Kind::ALL.into_iter().flat_map(describe::fields) {
        if field.shape != Shape::Object {
            names.insert(field.name.to_owned(), field.shape);
        }
        for sub in field.sub {
            names.insert(format!("{}.{}", field.name, sub.name), sub.shape);
        }
    }
    names.insert("prog".to_owned(), Shape::Text);
    names.extend(COLUMNS.iter().map(|(title, _)| ((*title).to_owned(), Shape::Text)));
    let titles = TITLES.iter().filter_map(|(title, field)| Some(((*title).to_owned(), *names.get(*field)?)));
    names.extend(titles.collect::<Vec<_>>());
    names
}

/// Refuses a name.
pub(super) fn unknown(name: &str, at: Range<usize>) -> FilterError {
    let names = names();
    let near = did_you_mean(name, names.keys().map(String::as_str));
    let quoted = "to search for the text, put it in double quotes";
    FilterError::new(at, format!("unknown field `{name}`")).hint(if near.is_empty() {
        quoted.to_owned()
    } else {
        format!("{near} {quoted}")
    })
}

/// Refuses the name of an object, naming what is in it.
pub(super) fn object(name: &str, at: Range<usize>) -> FilterError {
    let prefix = format!("{name}.");
    let inner: Vec<String> = names().into_keys().filter(|field| field.starts_with(&prefix)).collect();
    FilterError::new(at, format!("`{name}` is a group of fields")).hint(format!("use one of {}", inner.join(" ")))
}
