//! Filter errors: the message, its place in the expression, and a hint.

use crate::text::{self, is_hostile, width};
use std::ops::Range;
use unicode_width::UnicodeWidthChar;

/// The most terminal cells of the expression that an error shows.
const SHOWN: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// The place in [`text`](Self::text), in bytes. May be empty, and may be at the end.
    pub at: Range<usize>,
    /// The message: one line, safe to show on a terminal.
    pub message: String,
    /// The correction: one line, safe to show on a terminal.
    pub hint: Option<String>,
    /// The expression, or the value of the option, as typed. It may contain any bytes: show it with
    /// [`render`](Self::render).
    pub text: String,
    /// The option whose value it is; `None` for an expression.
    pub option: Option<&'static str>,
}

impl FilterError {
    pub(super) fn new(at: Range<usize>, message: impl AsRef<str>) -> FilterError {
        FilterError { at, message: escape(message.as_ref()), hint: None, text: String::new(), option: None }
    }

    pub(super) fn hint(mut self, hint: impl AsRef<str>) -> FilterError {
        self.hint = Some(escape(hint.as_ref())).filter(|hint| !hint.is_empty());
        self
    }

    pub(super) fn within(mut self, text: &str) -> FilterError {
        self.text = text.to_owned();
        self
    }

    /// The whole report, safe to show on a terminal: the message, the expression with carets under the place, and the
    /// hint. Without a newline at the end.
    pub fn render(&self) -> String {
        let (line, before, under) = excerpt(&self.text, &self.at);
        let mut out = format!("{}: {}\n", self.option.unwrap_or("filter"), self.message);
        out.push_str(&format!("    {line}\n    {}{}", " ".repeat(before), "^".repeat(under)));
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\nhint: {hint}"));
        }
        out
    }
}

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// The part of an expression around a place, the cells before the place, and the cells of the place (at least one).
pub fn excerpt(text: &str, at: &Range<usize>) -> (String, usize, usize) {
    let start = text.floor_char_boundary(at.start);
    let end = text.floor_char_boundary(at.end).max(start);
    let before = escape(&text[..start]);
    let place = escape(&text[start..end]);
    let after = escape(&text[end..]);
    let head = tail_cells(&before, SHOWN / 2);
    let under = text::head(&place, SHOWN - width(head));
    let rest = if under.len() < place.len() { "" } else { text::head(&after, SHOWN - width(head) - width(under)) };
    let dots_before = if head.len() < before.len() { "..." } else { "" };
    let dots_after = if under.len() < place.len() || rest.len() < after.len() { "..." } else { "" };
    let line = format!("{dots_before}{head}{under}{rest}{dots_after}");
    (line, dots_before.len() + width(head), width(under).max(1))
}

/// Like [`text::head`], but for the end. A combining mark may come first.
fn tail_cells(text: &str, most: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().rev().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > most
    });
    end.and_then(|(i, c)| text.get(i + c.len_utf8()..)).unwrap_or(text)
}

/// "did you mean `a`?": the name nearest to the written one; empty if none is near.
pub fn did_you_mean<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> String {
    // Longer names are not typing mistakes, and the cost of a distance is the product of the lengths.
    if written.len() > 64 {
        return String::new();
    }
    let lower = written.to_lowercase();
    let most = if lower.len() <= 3 { 1 } else { 2 };
    let near = names.map(|name| (nearness(&lower, &name.to_lowercase()), name)).filter(|(edits, _)| *edits <= most);
    near.min().map(|(_, name)| format!("did you mean `{name}`?")).unwrap_or_default()
}

/// The edits between a written text and a name. The beginning of a name counts as near it.
fn nearness(written: &str, name: &str) -> usize {
    // Insert, delete, replace, swap neighbours.
    let edits = strsim::osa_distance(written, name);
    if written.len() >= 3 && name.starts_with(written) { edits.min(1) } else { edits }
}
