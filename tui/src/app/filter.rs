//! The display filter as the user sees it: a text made of parts, the last good one in force.

use super::edit::{History, Line};
use super::keymap::Press;
use crate::app::edit::Edited;
use crate::enrich::World;
use crate::event::Seen;
use std::fmt;
use std::ops::Range;

/// Decides which events are shown. It hides, it never stops collection.
pub trait DisplayFilter: fmt::Debug {
    /// Whether the event is shown.
    fn matches(&self, seen: &Seen<'_>) -> bool;

    /// Whether it asks for kinds: only then may it hide gap rows.
    fn names_kinds(&self) -> bool {
        false
    }
}

/// Why a text is no filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    /// Where, in bytes of the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

/// Reads a filter's text; the world knows the names of users and groups.
pub type ParseFilter = fn(&str, &World) -> Result<Box<dyn DisplayFilter>, FilterError>;

/// The filter, and the line in which it is edited.
#[derive(Debug)]
pub struct FilterState {
    parse: ParseFilter,
    parts: Vec<String>,
    applied: Option<Box<dyn DisplayFilter>>,
    error: Option<FilterError>,
    line: Option<Line>,
    /// The parts as they were before the line was opened.
    before: Vec<String>,
    history: History,
}

/// What became of the filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Another filter is in force.
    Applied,
    /// The same one is.
    None,
}

impl FilterState {
    /// No filter.
    pub fn new(parse: ParseFilter) -> FilterState {
        FilterState {
            parse,
            parts: Vec::new(),
            applied: None,
            error: None,
            line: None,
            before: Vec::new(),
            history: History::default(),
        }
    }

    /// The filter in force; `None` shows everything.
    pub fn applied(&self) -> Option<&dyn DisplayFilter> {
        self.applied.as_deref()
    }

    /// The text of the filter in force.
    pub fn text(&self) -> String {
        join(&self.parts)
    }

    /// The line that is being typed.
    pub fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    /// What is wrong with the line.
    pub fn error(&self) -> Option<&FilterError> {
        self.error.as_ref()
    }

    /// Puts this text in force.
    ///
    /// # Errors
    /// When it is no filter; then nothing changes.
    pub fn set(&mut self, text: &str, world: &World) -> Result<(), FilterError> {
        self.applied = match text.trim() {
            "" => None,
            text => Some((self.parse)(text, world)?),
        };
        self.parts = split(text);
        Ok(())
    }

    /// Adds a part, unless it is there.
    pub fn add(&mut self, part: String, world: &World) -> Result<Change, FilterError> {
        if self.parts.contains(&part) {
            return Ok(Change::None);
        }
        let mut parts = self.parts.clone();
        parts.push(part);
        self.take(parts, world)
    }

    /// Takes the newest part away.
    pub fn peel(&mut self, world: &World) -> Result<Change, FilterError> {
        let mut parts = self.parts.clone();
        match parts.pop() {
            Some(_) => self.take(parts, world),
            None => Ok(Change::None),
        }
    }

    fn take(&mut self, parts: Vec<String>, world: &World) -> Result<Change, FilterError> {
        self.set(&join(&parts), world)?;
        self.parts = parts;
        self.history.add(&self.text());
        Ok(Change::Applied)
    }

    /// Takes all parts away.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.applied = None;
        self.error = None;
        self.line = None;
    }

    /// Opens the line.
    pub fn edit(&mut self) {
        self.before = self.parts.clone();
        let text = self.text();
        let space = if text.is_empty() { "" } else { " " };
        self.line = Some(Line::new(&format!("{text}{space}")));
    }

    /// Takes a key of the line.
    pub fn key(&mut self, press: Press, world: &World) -> Change {
        let Some(line) = &mut self.line else { return Change::None };
        match line.key(press, &self.history) {
            Edited::Same => Change::None,
            Edited::Changed => self.try_line(world),
            Edited::Done => {
                if self.error.is_none() {
                    self.history.add(&self.text());
                    self.line = None;
                }
                Change::None
            }
            Edited::Cancelled => {
                self.line = None;
                self.error = None;
                let before = std::mem::take(&mut self.before);
                // It was in force before, so it is a filter.
                self.take(before, world).unwrap_or(Change::None)
            }
        }
    }

    fn try_line(&mut self, world: &World) -> Change {
        let text = self.line.as_ref().map(Line::text).unwrap_or_default();
        let before = self.text();
        match self.set(&text, world) {
            Ok(()) => {
                self.error = None;
                if self.text() == before { Change::None } else { Change::Applied }
            }
            Err(error) => {
                self.error = Some(error);
                Change::None
            }
        }
    }
}

/// A value as a filter writes it: quoted when it has to be.
pub fn quoted(value: &[u8]) -> String {
    let text = std::str::from_utf8(value).ok();
    let plain = text.filter(|text| !text.is_empty() && !text.contains(special) && !starts_as_operator(text));
    if let Some(plain) = plain {
        return plain.to_owned();
    }
    let mut out = String::from("\"");
    for byte in value {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// Characters that end a value, or that mean something in one.
fn special(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || !letter.is_ascii() || matches!(letter, '"' | '\\' | '(' | ')')
}

fn starts_as_operator(text: &str) -> bool {
    text.starts_with(['=', '~', '<', '>', '!', '('])
}

/// The term that a text field is this value and nothing else. What would mean something in a glob becomes a regex.
pub fn equals(field: &str, value: &[u8]) -> String {
    if !value.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\')) {
        return format!("{field}={}", quoted(value));
    }
    let mut regex = String::from("^");
    for byte in value {
        match byte {
            b' '..=b'~' => regex.push_str(&regex::escape(char::from(*byte).encode_utf8(&mut [0; 4]))),
            _ => regex.push_str(&format!("(?-u:\\x{byte:02x})")),
        }
    }
    regex.push('$');
    format!("{field}~{}", quoted(regex.as_bytes()))
}

/// The parts as one text: all of them have to hold.
fn join(parts: &[String]) -> String {
    match parts {
        [one] => one.clone(),
        several => several.iter().map(|part| enclosed(part)).collect::<Vec<_>>().join(" "),
    }
}

/// A part as it stands among others.
fn enclosed(part: &str) -> String {
    if words(part).iter().any(|word| word.eq_ignore_ascii_case("or")) { format!("({part})") } else { part.to_owned() }
}

/// A text's parts: what stands side by side in it, unless there is an `or` between.
fn split(text: &str) -> Vec<String> {
    let words = words(text);
    if words.iter().any(|word| word == "or") {
        return vec![text.trim().to_owned()];
    }
    let mut parts: Vec<String> = Vec::new();
    let mut open = false;
    for word in words.into_iter().filter(|word| word != "and") {
        let operator = word.starts_with(['=', '~', '<', '>']) || word.starts_with("!=") || word.starts_with("!~");
        let ends_open = word == "not" || word.ends_with(['=', '~', '<', '>', '!']);
        match parts.last_mut() {
            Some(last) if open || operator => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => parts.push(word),
        }
        open = ends_open;
    }
    parts
}

/// What white space outside of quotes and parentheses separates.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped, mut depth) = (false, false, 0u32);
    for letter in text.chars() {
        let ends = letter.is_whitespace() && !quoted && depth == 0;
        match letter {
            '"' if !escaped => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = quoted && letter == '\\' && !escaped;
        match words.last_mut() {
            Some(word) if !ends => word.push(letter),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_split(text: &str, parts: &[&str]) {
        assert_eq!(split(text), parts, "{text}");
    }

    #[test]
    fn a_text_falls_into_the_parts_that_all_have_to_hold() {
        check_split("", &[]);
        check_split(" comm=cc1  path~\\.h$ ", &["comm=cc1", "path~\\.h$"]);
        check_split("not comm=bash and pid=3", &["not comm=bash", "pid=3"]);
        check_split("pid = 3 comm = x", &["pid = 3", "comm = x"]);
        check_split("comm=\"a b\" (err=1 or err=2) x", &["comm=\"a b\"", "(err=1 or err=2)", "x"]);
        check_split("pid=1 or pid=2", &["pid=1 or pid=2"]);
        check_split("comm=\"a \\\" or b\" x", &["comm=\"a \\\" or b\"", "x"]);
    }

    #[test]
    fn alternatives_stand_in_parentheses_among_other_parts() {
        assert_eq!(join(&["pid=1 or pid=2".to_owned(), "comm=x".to_owned()]), "(pid=1 or pid=2) comm=x");
        assert_eq!(join(&["pid=1 or pid=2".to_owned()]), "pid=1 or pid=2");
    }

    #[test]
    fn values_are_quoted_when_they_have_to_be() {
        assert_eq!(quoted(b"cc1"), "cc1");
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted(b"a b"), "\"a b\"");
        assert_eq!(quoted(b"=x"), "\"=x\"");
        assert_eq!(quoted(b"(sd-pam)"), "\"(sd-pam)\"");
        assert_eq!(quoted(b"a\"\\\x1b\xff"), "\"a\\\"\\\\\\x1b\\xff\"");
        assert_eq!(equals("comm", b"a b"), "comm=\"a b\"");
        assert_eq!(equals("comm", b"a*"), "comm~\"^a\\\\*$\"");
    }
}
