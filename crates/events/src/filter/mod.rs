//! The filter language, which `docs/FILTERS.md` describes.
//!
//! Terms side by side (or with `and`) must all hold; `or` binds weaker, `not` and `!` bind stronger. A comparison with an absent
//! field is false, but `a!=b` is `not a=b`. The names of fields, and what fits them, come from [`describe`](crate::event::describe).
//!
//! Text becomes tokens (`lex`), an expression (`ast`, `parse`), then something to evaluate (`eval`); `capture` takes
//! out what the kernel side can decide.

mod ast;
pub mod capture;
pub mod complete;
mod display;
pub mod error;
mod eval;
pub mod fields;
mod glob;
mod lex;
mod needs;
mod parse;
mod prefix;
mod quote;
mod replace;
#[cfg(test)]
mod tests;
mod time;

pub use capture::{Compiled, FilterOptions};
pub use error::FilterError;
pub use eval::Scratch;
pub use fields::{TITLES, names};
pub use glob::Glob;
pub use needs::Needs;
pub use replace::{gives_way, shows_only};

use crate::enrich::World;
use crate::event::describe::Shape;
use crate::event::{Body, EventContext};
use crate::text::time::Zone;
use ast::{Expr, Op};
use eval::{Compiler, FilterNode};
use tracetui_shared::id::Tgid;

/// The text of a filter without the names, paths and arguments that a passing event need not have: the values of terms under `not`
/// and `or`. A filter that cannot be parsed is replaced as a whole.
pub fn without_texts(text: &str) -> String {
    match parse::parse(text) {
        Ok(mut expr) => {
            let before = expr.clone();
            expr.hide_texts(true);
            if expr == before { text.to_owned() } else { expr.to_string() }
        }
        Err(_) => crate::text::REDACTED.to_owned(),
    }
}

/// Maps the names of users and groups to ids, and relative times to absolute ones, when a filter is parsed.
pub trait NameLookup {
    fn uid(&self, _name: &str) -> Option<u32> {
        None
    }
    fn gid(&self, _name: &str) -> Option<u32> {
        None
    }

    /// The time to which `-1m` is relative, in nanoseconds since 1970: now, or the end of a recording.
    fn end(&self) -> Option<i128> {
        None
    }

    /// The time zone of dates without one.
    fn zone(&self) -> Zone {
        Zone::UTC
    }
}

/// Without names: filters accept only numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl NameLookup for NoNames {}

/// The names of the recording or the host: the lowest id if several have the name.
impl NameLookup for World {
    fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().filter(|(_, known)| *known == name).map(|(uid, _)| uid.0).min()
    }
    fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().filter(|(_, known)| *known == name).map(|(gid, _)| gid.0).min()
    }
    fn end(&self) -> Option<i128> {
        self.end()
    }
    fn zone(&self) -> Zone {
        self.zone
    }
}

/// The names of a recording, then others.
impl<T: NameLookup> NameLookup for (&World, T) {
    fn uid(&self, name: &str) -> Option<u32> {
        self.0.uid(name).or_else(|| self.1.uid(name))
    }
    fn gid(&self, name: &str) -> Option<u32> {
        self.0.gid(name).or_else(|| self.1.gid(name))
    }
    fn end(&self) -> Option<i128> {
        self.0.end()
    }
    fn zone(&self) -> Zone {
        self.0.zone
    }
}

/// A filter, ready to use.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    expr: Expr,
    node: FilterNode,
    /// Whether it has a term about the kind.
    pub kind_named: bool,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            text: String::new(),
            expr: Expr::All(Vec::new()),
            node: FilterNode::All(Vec::new()),
            kind_named: false,
        }
    }
}

impl Filter {
    /// Parses an expression. An empty one matches everything.
    pub fn parse(text: &str, names: &dyn NameLookup) -> Result<Filter, FilterError> {
        let expr = parse::parse(text).map_err(|error| error.within(text))?;
        Filter::of(expr, text.to_owned(), names)
    }

    fn of(expr: Expr, text: String, names: &dyn NameLookup) -> Result<Filter, FilterError> {
        let mut compiler = Compiler::new(names);
        match compiler.node(&expr) {
            Ok(node) => Ok(Filter { text, expr, node, kind_named: compiler.kind_named }),
            Err(error) => Err(error.within(&text)),
        }
    }

    /// Whether it is about the kind alone, or empty.
    pub fn is_of_kinds(&self, names: &dyn NameLookup) -> bool {
        self.is_empty() || capture::kinds_of(&self.expr, names).is_some()
    }

    /// Whether it says which events to show, and not only which ones to hide.
    pub fn asks(&self) -> bool {
        self.expr.clone().into_parts().iter().any(|part| !part.hides())
    }

    /// Whether it compares one of these fields.
    pub fn compares(&self, names: &[&str]) -> bool {
        let mut found = false;
        self.expr.clone().change_tests(&mut |test| found |= names.contains(&&*test.field));
        found
    }

    /// Whether it only compares fields. It then has no words and no trees. Trees depend on earlier events.
    pub fn compares_fields(&self) -> bool {
        self.expr.compares_fields() && self.roots().is_empty()
    }

    /// The source text. Parsing it again gives the same filter.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with ids in place of the names of users and groups, for readers that do not know these names.
    pub fn text_with_ids(&self, names: &dyn NameLookup) -> String {
        let mut expr = self.expr.clone();
        expr.change_tests(&mut |test| {
            let shape = fields::look(&test.field).map(|look| look.shape);
            let id = match (std::str::from_utf8(&test.value), shape) {
                // A number is an id, as in the evaluation of filters.
                (Ok(name), Some(Shape::User)) if eval::number(test).is_err() => names.uid(name),
                (Ok(name), Some(Shape::Group)) if eval::number(test).is_err() => names.gid(name),
                _ => None,
            };
            test.value = id.map_or_else(|| std::mem::take(&mut test.value), |id| id.to_string().into_bytes());
        });
        expr.to_string()
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        matches!(&self.expr, Expr::All(parts) if parts.is_empty())
    }

    /// The parts joined by AND at the top level, each as text. Joined by blanks, they are the filter again.
    pub fn parts(&self) -> Vec<String> {
        let text = |part: Expr| if matches!(part, Expr::Any(_)) { format!("({part})") } else { part.to_string() };
        match self.expr.clone().into_parts() {
            mut one if one.len() == 1 => one.pop().map(|part| part.to_string()).into_iter().collect(),
            parts => parts.into_iter().map(text).collect(),
        }
    }

    /// The ids in its `tree=ID` terms.
    pub fn roots(&self) -> Vec<Tgid> {
        let mut roots = Vec::new();
        self.node.roots(&mut roots);
        roots
    }

    /// Whether an event matches. The process table maps the ids in `tree=ID` to processes
    /// ([`ProcessTable::follow`](crate::enrich::process::ProcessTable::follow)).
    ///
    /// A `lost` row matches, unless the filter names kinds and excludes it for all possible missing events: `comm=x`
    /// and `kind!=fork comm=x` show it, `kind=open` hides it.
    pub fn matches(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        if self.is_empty() {
            return true;
        }
        scratch.begin();
        match seen.event.body {
            Body::Lost(_) => !self.kind_named || self.node.may(seen, scratch).0,
            _ => self.node.holds(seen, scratch),
        }
    }

    /// Whether an event matches. A `lost` row matches only if it does so whatever the missing events are: as `kind=lost` does.
    pub fn surely_matches(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        scratch.begin();
        match seen.event.body {
            Body::Lost(_) => self.kind_named && self.node.may(seen, scratch) == (true, false),
            _ => self.node.holds(seen, scratch),
        }
    }
}

/// The text of a term that matches exactly this value, for filters made from an event.
pub fn exactly(field: &str, value: &[u8]) -> String {
    let text = fields::look(field).is_some_and(|look| matches!(look.shape, Shape::Text | Shape::List));
    let value = if text { glob::escape(value) } else { value.to_vec() };
    format!("{field}={}", display::value_text(Op::Eq, &value))
}

/// The text of a term that matches paths whose last component is this name. A `*` in the name is any text.
pub fn ends_in(name: &[u8]) -> String {
    let name = regex::escape(&String::from_utf8_lossy(name)).replace(r"\*", "[^/]*");
    path_like(&format!("(^|/){name}$"))
}

/// The text of a term that matches the paths directly in a directory.
pub fn directly_in(directory: &[u8]) -> String {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path_like(&format!("^{}/[^/]*$", regex::escape(&String::from_utf8_lossy(directory))))
}

fn path_like(pattern: &str) -> String {
    format!("path~{}", display::value_text(Op::Like, pattern.as_bytes()))
}
