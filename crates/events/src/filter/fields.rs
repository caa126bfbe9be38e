//! The fields that a name in a filter denotes. The names come from the tables of [`describe`],
//! except for the aliases and the titles of columns.

use super::error::{FilterError, did_you_mean};
use crate::event::EventContext;
use crate::event::describe::{self, Field, Shape, Value, props};
use std::collections::BTreeMap;
use std::ops::Range;
use tracetui_shared::kind::{Kind, KindSet};

pub(super) type Get = for<'a> fn(&EventContext<'a>) -> Value<'a>;

/// Appends the content of a column to a buffer.
pub(super) type Write = for<'a> fn(&EventContext<'a>, &mut Vec<u8>);

/// A field that only filters have: the process is this one or a descendant of it.
pub(super) const TREE: &str = "tree";

/// The length of an array indexed by kind. Kinds are numbered from 1.
const KINDS: usize = Kind::ALL.len() + 1;

/// The fields that a name denotes, by kind.
#[derive(Clone, Debug)]
pub(super) struct Appearance {
    pub(super) shape: Shape,
    /// A term holds if it holds for any of them. If there are none, the kind has no such field.
    by_kind: [Vec<Get>; KINDS],
}

impl Appearance {
    pub(super) fn of(&self, kind: Kind) -> &[Get] {
        self.by_kind.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn kinds(&self) -> KindSet {
        Kind::ALL.into_iter().filter(|kind| !self.of(*kind).is_empty()).collect()
    }
}

/// Whether a field with this name has one of the [`describe::props`].
pub(super) fn has(name: &str, prop: u16) -> bool {
    Kind::ALL.into_iter().flat_map(describe::fields).any(|field| field.name == name && field.has(prop))
}

/// The fields of a kind that a name denotes.
fn named_in(kind: Kind, name: &str) -> Vec<&'static Field> {
    match name {
        // The file as passed, and as opened or loaded.
        "path" => describe::fields(kind).filter(|field| field.has(props::LEAF)).collect(),
        "process" => describe::PROCESS_NAMES.iter().collect(),
        "arg" => named_in(kind, "argv"),
        "dur" => named_in(kind, "dur_ns"),
        "prog" => named_in(kind, "prog.name"),
        "container" => ["container.name", "container.id"].iter().filter_map(|name| field(kind, name)).collect(),
        "pod" => named_in(kind, "pod.name"),
        _ => field(kind, name).into_iter().collect(),
    }
}

/// Names in addition to those of the tables.
const ALIASES: [(&str, Shape); 3] = [("arg", Shape::List), ("dur", Shape::Duration), (TREE, Shape::Number)];

/// The column titles that are not field names, and the field that each column shows.
pub const TITLES: [(&str, &str); 7] = [
    ("user", "uid"),
    ("file", "path"),
    ("exit", "exit_code"),
    ("name", "comm"),
    ("errno", "err"),
    ("command", "arg"),
    ("lived", "dur"),
];

/// The columns that show more than one field. Comparisons treat them as text.
const COLUMNS: [(&str, Write); 2] =
    [("result", |seen, out| seen.result(out)), ("detail", |seen, out| seen.detail(out))];

/// The content of a column that shows more than one field.
pub(super) fn column(name: &str) -> Option<Write> {
    COLUMNS.iter().find(|(title, _)| *title == name).map(|(_, write)| *write)
}

/// The field that a written name denotes: the field of this name, or the one that a column with this title shows. Upper case is
/// accepted because titles are shown that way.
pub fn field_named(written: &str) -> Option<String> {
    let name = written.to_ascii_lowercase();
    let name = TITLES.iter().find(|(title, _)| *title == name).map_or(name, |(_, field)| (*field).to_owned());
    known(&name).then_some(name)
}

/// Of a name such as `env.CPATH`: the field with the list of variables, and the name of the variable.
pub(super) fn of_variable(name: &str) -> Option<(&'static str, &str)> {
    Some(("env.set", name.strip_prefix("env.").filter(|variable| !variable.is_empty())?))
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
        let fields = named_in(kind, name);
        shape = shape.or(fields.first().map(|field| field.shape));
        if let Some(slot) = by_kind.get_mut(kind as usize) {
            *slot = fields.into_iter().map(|field| field.get).collect();
        }
    }
    shape.map(|shape| Appearance { shape, by_kind })
}

/// Whether the values of a field are texts from outside: names, paths, arguments.
pub(super) fn is_outside(name: &str) -> bool {
    let word = ["kind", "err", "signal", "role", "outcome", "end"].contains(&name);
    !word
        && names().get(name).is_none_or(|shape| {
            matches!(shape, Shape::Text | Shape::List | Shape::Address | Shape::User | Shape::Group)
        })
}

/// Whether a filter may use it.
pub(super) fn known(name: &str) -> bool {
    name == TREE || column(name).is_some() || Kind::ALL.into_iter().any(|kind| !named_in(kind, name).is_empty())
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
    names.extend(["prog", "container", "pod"].map(|name| (name.to_owned(), Shape::Text)));
    names.extend(COLUMNS.iter().map(|(title, _)| ((*title).to_owned(), Shape::Text)));
    let titles = TITLES.iter().filter_map(|(title, field)| Some(((*title).to_owned(), *names.get(*field)?)));
    names.extend(titles.collect::<Vec<_>>());
    names
}

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

/// Refuses the name of an object. The error names its fields.
pub(super) fn object(name: &str, at: Range<usize>) -> FilterError {
    let prefix = format!("{name}.");
    let inner: Vec<String> = names().into_keys().filter(|field| field.starts_with(&prefix)).collect();
    FilterError::new(at, format!("`{name}` is a group of fields")).hint(format!("use one of {}", inner.join(" ")))
}
