//! A line of text that is being typed, and the history of earlier lines.

use crate::app::keys::device::KeyCode;
use crate::app::keys::keymap::Press;

/// The maximum number of lines in the history.
const HISTORY: usize = 100;

/// The maximum length of a line in bytes.
const LINE: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text left of the cursor.
    before: String,
    /// The text right of the cursor.
    after: String,
    /// The position of the recalled line in the history, counted from the newest, which is 1; 0 if none was recalled.
    back: usize,
    /// The text before a line of the history was recalled.
    typed: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edited {
    Changed,
    Same,
    Done,
    Cancelled,
}

impl Line {
    /// A line that holds `text`, the cursor at its end.
    pub(crate) fn new(text: &str) -> Line {
        Line { before: text.to_owned(), ..Line::default() }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }

    fn room(&self) -> usize {
        LINE.saturating_sub(self.before.len() + self.after.len())
    }

    pub(crate) fn key(&mut self, press: Press, history: &History) -> Edited {
        match press.code {
            KeyCode::Enter => return Edited::Done,
            KeyCode::Esc => return Edited::Cancelled,
            _ => {}
        }
        let before = self.text();
        match press.code {
            KeyCode::Char(letter) if press.ctrl => self.ctrl(letter),
            KeyCode::Char(letter) if letter.len_utf8() <= self.room() => self.before.push(letter),
            KeyCode::Char(_) => {}
            KeyCode::Up => self.recall(self.back + 1, history),
            KeyCode::Down => self.recall(self.back.saturating_sub(1), history),
            other => self.moved(other),
        }
        if self.text() == before { Edited::Same } else { Edited::Changed }
    }

    /// Inserts pasted text as one line: control characters become spaces. `false`: there is no room for all of it.
    pub(crate) fn paste(&mut self, text: &str) -> bool {
        let fits = text.trim().len() <= self.room();
        if fits {
            self.before.extend(text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        }
        fits
    }

    /// Replaces the text between a byte position and the cursor.
    pub(crate) fn replace(&mut self, from: usize, with: &str) {
        if self.before.is_char_boundary(from) && from + with.len() + self.after.len() <= LINE {
            self.before.truncate(from);
            self.before.push_str(with);
        }
    }

    fn ctrl(&mut self, letter: char) {
        match letter {
            'a' => self.moved(KeyCode::Home),
            'e' => self.moved(KeyCode::End),
            'h' => self.moved(KeyCode::Backspace),
            'u' => self.before.clear(),
            'k' => self.after.clear(),
            'w' => self.drop_word(),
            _ => {}
        }
    }

    fn moved(&mut self, code: KeyCode) {
        match code {
            KeyCode::Backspace => {
                self.before.pop();
            }
            KeyCode::Delete if !self.after.is_empty() => {
                self.after.remove(0);
            }
            KeyCode::Left => {
                if let Some(letter) = self.before.pop() {
                    self.after.insert(0, letter);
                }
            }
            KeyCode::Right if !self.after.is_empty() => self.before.push(self.after.remove(0)),
            KeyCode::Home => {
                self.after.insert_str(0, &self.before);
                self.before.clear();
            }
            KeyCode::End => self.before.push_str(&std::mem::take(&mut self.after)),
            _ => {}
        }
    }

    fn drop_word(&mut self) {
        let words = self.before.trim_end();
        let keep = words.rfind(' ').map_or(0, |space| space + 1);
        self.before.truncate(keep);
    }

    fn recall(&mut self, back: usize, history: &History) {
        if back > history.lines.len() {
            return;
        }
        if self.back == 0 {
            self.typed = self.text();
        }
        let text = if back == 0 { self.typed.clone() } else { history.nth_back(back).to_owned() };
        *self = Line { before: text, after: String::new(), back, typed: std::mem::take(&mut self.typed) };
    }
}

/// Lines typed earlier, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    lines: Vec<String>,
}

impl History {
    /// Appends a line, unless it is empty or equal to the last one.
    pub(crate) fn add(&mut self, line: &str) {
        if line.is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == HISTORY {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
    }

    fn nth_back(&self, back: usize) -> &str {
        self.lines.len().checked_sub(back).and_then(|at| self.lines.get(at)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_typed(start: &str, keys: &[KeyCode], want: (&str, &str)) {
        let mut history = History::default();
        history.add("first");
        history.add("second");
        let mut line = Line::new(start);
        for code in keys {
            line.key(Press { code: *code, ctrl: false }, &history);
        }
        assert_eq!(line.parts(), want);
    }

    #[test]
    fn a_line_is_edited_at_its_cursor_and_has_an_end() {
        use KeyCode::*;
        check_typed("äb", &[Left, Left, Char('x'), Right, Delete], ("xä", ""));
        check_typed("ab", &[Home, Backspace, Char('x')], ("x", "ab"));
        check_typed("ab", &[Home, End, Backspace], ("a", ""));
        // Up and Down go through what was typed before.
        check_typed("now", &[Up], ("second", ""));
        check_typed("now", &[Up, Up, Up], ("first", ""));
        check_typed("now", &[Up, Up, Down, Down, Down], ("now", ""));
        let mut line = Line::new("pid=1 comm=x ");
        line.key(Press { code: KeyCode::Char('w'), ctrl: true }, &History::default());
        assert_eq!(line.text(), "pid=1 ");
        let mut line = Line::new(&"x".repeat(LINE - 3));
        let press = |line: &mut Line, code| line.key(Press { code, ctrl: false }, &History::default());
        assert!(line.paste("ä") && line.text().len() == LINE - 1);
        assert_eq!(press(&mut line, KeyCode::Char('ö')), Edited::Same);
        assert!(!line.paste("1234") && line.text().len() == LINE - 1);
        line.replace(0, "all");
        assert_eq!(line.text(), "all");
    }
}
