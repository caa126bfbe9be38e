//! The screen of COMMAND's terminal: a fold over COMMAND's output, without I/O. A replay of the same bytes gives the same screen.
//!
//! [`vt100`] keeps the cells. This module answers requests, translates sequences that it does not know, and limits those that would be
//! expensive. Origin mode (DECOM) is not supported.

mod lex;
#[cfg(test)]
mod tests;

use crate::frame::host::CommandOutput;
use crate::frame::state::TerminalState;
use crate::limits;
use lex::Part;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU16;
use vt100::capture::{BasicFormattedCaptureState, RowContents};

/// The size of a terminal until its size is known.
const SIZE: (u16, u16) = (80, 24);

/// The most bytes of answers that wait for COMMAND. Further answers are dropped.
const ANSWERS: usize = 4096;

/// The cells that COMMAND's output may change beyond those that it writes, for each byte and for each piece of output. Without a limit,
/// six bytes of a sequence change a whole screen.
const CELLS_PER_BYTE: usize = 16;
const CELLS_PER_PIECE: usize = 16 << 10;

/// The most such cells that are saved for later.
const CELLS_SAVED: usize = 4 << 20;

/// The time to erase a cell, as a part of the time to move one.
const ERASED: usize = 8;

/// Bytes of a line above the screen in addition to its text: its slot in the queue, which may be half full, and the allocator's
/// overhead.
const PER_LINE: usize = 2 * size_of::<Above>() + 16;

const PER_CELL: usize = size_of::<vt100::Cell>();

/// A line that scrolled off the top of the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Above {
    /// Its text. The only control characters are those of SGR sequences, which are reset at its end.
    pub text: Box<str>,
    /// Whether the next line continues it.
    pub wrapped: bool,
}

/// The lines above the screen, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Scrollback {
    lines: VecDeque<Above>,
    bytes: usize,
    /// The limit of `bytes`.
    most: usize,
    dropped: u64,
}

impl Scrollback {
    fn new(most: usize) -> Scrollback {
        Scrollback { lines: VecDeque::new(), bytes: 0, most, dropped: 0 }
    }

    fn push(&mut self, line: Above) {
        self.bytes += line.text.len() + PER_LINE;
        self.lines.push_back(line);
        while self.bytes > self.most
            && let Some(line) = self.lines.pop_front()
        {
            self.bytes -= line.text.len() + PER_LINE;
            self.dropped += 1;
        }
    }
}

/// Fails at the first character, and notes whether that is a newline.
struct EndsLine(bool);

impl fmt::Write for EndsLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.starts_with('\n');
        Err(fmt::Error)
    }
}

impl vt100::Callbacks for Scrollback {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate: bool) {
        if alternate {
            return;
        }
        let (mut text, mut state, mut ends) = (String::new(), BasicFormattedCaptureState::new(), EndsLine(false));
        // Writing to a String cannot fail. When the row is written again, a newline comes first, unless the row is wrapped.
        let _ = row.write_formatted_basic(&mut text, &mut state);
        let _ = row.write_formatted_basic(&mut ends, &mut state);
        self.push(Above { text: text.into(), wrapped: !ends.0 });
    }
}

pub struct Terminal {
    parser: vt100::Parser<Scrollback>,
    /// The beginning of an incomplete character or sequence.
    pending: Vec<u8>,
    /// The last character written. A sequence may repeat it.
    last: Option<char>,
    /// Whether G0 and G1 are the special graphics, and whether G1 is in use.
    graphics: [bool; 2],
    shifted: bool,
    answers: Vec<u8>,
    /// The number of bytes missing at the end, because they were too many to be recorded.
    pub missing: u64,
    /// The cells that sequences may still change.
    cells: usize,
    /// The number of sequences left out because they would change too many cells.
    pub left_out: u64,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("size", &self.size())
            .field("lines", &self.above().len())
            .finish_non_exhaustive()
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal::new(limits::COMMAND_OUTPUT)
    }
}

impl Clone for Terminal {
    fn clone(&self) -> Terminal {
        let mut parser = parser(self.size(), self.parser.callbacks().clone());
        // The parser itself has no state between two pieces.
        self.parser.screen().clone_into(parser.screen_mut());
        let (pending, answers) = (self.pending.clone(), self.answers.clone());
        Terminal { parser, pending, answers, ..*self }
    }
}

fn parser<C: vt100::Callbacks>((columns, rows): (u16, u16), callbacks: C) -> vt100::Parser<C> {
    let [rows, columns] = nonzero(columns, rows);
    vt100::Parser::new_with_callbacks(rows, columns, 0, callbacks)
}

/// Rows and columns. A wide character needs two columns.
fn nonzero(columns: u16, rows: u16) -> [NonZeroU16; 2] {
    let (most_columns, most_rows) = limits::COMMAND_SCREEN;
    [rows.clamp(1, most_rows), columns.clamp(2, most_columns)]
        .map(|size| NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN))
}

impl Terminal {
    /// An empty terminal that keeps this many bytes of lines above its screen.
    pub(crate) fn new(most: usize) -> Terminal {
        Terminal {
            parser: parser(SIZE, Scrollback::new(most)),
            pending: Vec::new(),
            last: None,
            graphics: [false; 2],
            shifted: false,
            answers: Vec::new(),
            missing: 0,
            cells: CELLS_SAVED,
            left_out: 0,
        }
    }

    pub(crate) fn recorded() -> Terminal {
        Terminal::new(limits::COMMAND_OUTPUT_RECORDED)
    }

    pub fn apply(&mut self, output: &CommandOutput) {
        let [rows, columns] = nonzero(output.columns, output.rows);
        if output.columns > 0 && output.rows > 0 && (rows, columns) != self.screen().size() {
            let cells = 4 * usize::from(columns.get()) * usize::from(rows.get());
            // The next output has the size too.
            if self.affords(cells) {
                self.resize(output.columns, output.rows);
            }
        }
        self.feed(&output.bytes);
        self.missing = self.missing.saturating_add(output.missing);
        // The answers were given during the recording.
        self.answers.clear();
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        let (rows, columns) = self.screen().size();
        (columns.get(), rows.get())
    }

    /// The lines above the screen, oldest first.
    pub fn above(&self) -> &VecDeque<Above> {
        &self.parser.callbacks().lines
    }

    /// The number of lines dropped from the beginning.
    pub fn dropped(&self) -> u64 {
        self.parser.callbacks().dropped
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        let (columns, rows) = self.size();
        self.parser.callbacks().bytes + 2 * usize::from(columns) * usize::from(rows) * PER_CELL
    }

    pub fn is_empty(&self) -> bool {
        self.above().is_empty() && self.screen().contents().is_empty()
    }

    /// The terminal's answers to COMMAND's requests.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let more = CELLS_PER_PIECE + bytes.len().saturating_mul(CELLS_PER_BYTE);
        self.cells = self.cells.saturating_add(more).min(CELLS_SAVED);
        let mut joined = std::mem::take(&mut self.pending);
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
        }
        let mut rest = if joined.is_empty() { bytes } else { &joined };
        while let Some(part) = lex::next(&mut rest) {
            match part {
                Part::Text(text) => self.text(text),
                Part::Sequence(sequence) => self.sequence(&sequence),
            }
        }
        self.pending = lex::pending(rest).to_vec();
    }

    /// Takes the cells from those that sequences may still change; whether there are enough.
    fn affords(&mut self, cells: usize) -> bool {
        let left = self.cells.checked_sub(cells);
        self.cells = left.unwrap_or(self.cells);
        self.left_out += u64::from(left.is_none());
        left.is_some()
    }

    /// Changes the size. If there are fewer columns, the lines of the primary screen before the cursor's go above it, whole.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let [rows, columns] = nonzero(columns, rows);
        let (_, before) = self.screen().size();
        if (rows, columns) == self.screen().size() {
            return;
        }
        let alternate = self.screen().alternate_screen();
        self.parser.process(b"\x1b[?47l");
        let (row, column) = self.screen().cursor_position();
        if columns < before && row > 0 {
            // The alternate screen's program returns to the saved cursor.
            let attributes = self.screen().attributes_formatted();
            let moved = format!("\x1b[r\x1b[{row}S\x1b[1;{}H\x1b[m\x1b7{attributes}", column + 1);
            self.parser.process(moved.as_bytes());
        }
        // Reset the count of lines above. Otherwise a higher screen would begin with that many empty lines.
        self.parser.process(b"\x1b[3J");
        self.parser.set_size(rows, columns);
        if alternate {
            self.parser.process(b"\x1b[?47h");
        }
    }

    fn text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.last = text.chars().next_back().filter(|last| !last.is_control());
        if text.is_ascii() && !self.graphics.contains(&true) && !text.contains(['\x0e', '\x0f']) {
            return self.parser.process(text.as_bytes());
        }
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            match letter {
                '\x0e' | '\x0f' => self.shifted = letter == '\x0e',
                '`'..='~' if self.graphics[usize::from(self.shifted)] => {
                    out.extend(GRAPHICS.chars().nth(letter as usize - usize::from(b'`')));
                }
                // It asks for the emoji form of the character before it, which would widen a cell that is already drawn. vt100 does
                // not support that.
                '\u{fe0f}' => {}
                letter => out.push(letter),
            }
        }
        self.parser.process(out.as_bytes());
    }

    fn sequence(&mut self, sequence: &[u8]) {
        match sequence {
            [_, b'[', b'?', modes @ .., last @ (b'h' | b'l')] => {
                modes.split(|byte| *byte == b';').for_each(|mode| self.mode(mode, *last));
            }
            [_, b'[', parameters @ .., last] => self.control(sequence, parameters, *last),
            [_, b'(', set] => self.graphics[0] = *set == b'0',
            [_, b')', set] => self.graphics[1] = *set == b'0',
            [_, b'D'] => self.parser.process(b"\n"),
            [_, b'E'] => self.parser.process(b"\r\n"),
            [_, b'c'] => {
                let (columns, rows) = self.size();
                if self.affords(2 * usize::from(columns) * usize::from(rows)) {
                    (self.graphics, self.shifted, self.last) = ([false; 2], false, None);
                    self.parser.process(sequence);
                }
            }
            _ => self.parser.process(sequence),
        }
    }

    /// Sets (`h`) or resets (`l`) a private mode.
    fn mode(&mut self, mode: &[u8], last: u8) {
        let Some(mode) = std::str::from_utf8(mode).ok().and_then(|mode| mode.parse::<u16>().ok()) else { return };
        let (columns, rows) = self.size();
        let (is_set, last) = (last == b'h', char::from(last));
        match mode {
            // Origin mode.
            6 => {}
            1049 if is_set && !self.affords(usize::from(columns) * usize::from(rows) / ERASED) => {}
            1047 => self.parser.process(format!("\x1b[?47{last}").as_bytes()),
            1048 => self.parser.process(if is_set { b"\x1b7" } else { b"\x1b8" }),
            _ => self.parser.process(format!("\x1b[?{mode}{last}").as_bytes()),
        }
    }

    fn control(&mut self, sequence: &[u8], parameters: &[u8], last: u8) {
        let digits = || parameters.iter().map_while(|byte| char::from(*byte).to_digit(10));
        let number = || digits().fold(0_u16, |all, digit| all.saturating_mul(10).saturating_add(digit as u16)).max(1);
        let (row, column) = self.screen().cursor_position();
        let (columns, rows) = self.size();
        let (width, height, count) = (usize::from(columns), usize::from(rows), usize::from(number()));
        let cells = match last {
            b'L' | b'M' | b'S' | b'T' => count.min(height) * width,
            // A character is more work than a cell.
            b'b' => count.min(width) * 8,
            b'J' => width * height / ERASED,
            _ => 0,
        };
        if !self.affords(cells) {
            return;
        }
        match (parameters, last) {
            ([b'0'..=b'9', ..] | [], b'b') => {
                let repeated = self.last.map(|last| last.to_string().repeat(count.min(width)));
                self.text(repeated.unwrap_or_default().as_bytes());
            }
            ([] | b"0", b'c') => self.answer("\x1b[?62;22c"),
            (b">" | b">0", b'c') => self.answer("\x1b[>0;0;0c"),
            (b"5", b'n') => self.answer("\x1b[0n"),
            (b"6", b'n') => self.answer(&format!("\x1b[{};{}R", row + 1, column.min(columns - 1) + 1)),
            (b"18", b't') => self.answer(&format!("\x1b[8;{rows};{columns}t")),
            ([], b's') => self.parser.process(b"\x1b7"),
            ([], b'u') => self.parser.process(b"\x1b8"),
            ([b'0'..=b'9', ..] | [], b'Z') => {
                let back = column.div_ceil(8).saturating_sub(number()) * 8;
                self.parser.process(format!("\x1b[{}G", back + 1).as_bytes());
            }
            // The lines above are kept.
            (b"3", b'J') => {}
            _ => self.parser.process(sequence),
        }
    }

    fn answer(&mut self, text: &str) {
        if self.answers.len() + text.len() <= ANSWERS {
            self.answers.extend_from_slice(text.as_bytes());
        }
    }

    /// The primary screen. It is hidden while the alternate one is shown.
    pub fn primary(&self) -> vt100::Screen {
        let mut parser = parser(self.size(), ());
        self.screen().clone_into(parser.screen_mut());
        parser.process(b"\x1b[?47l");
        parser.screen().clone()
    }

    /// The state from which [`restore`](Self::restore) makes an equal terminal. The saved cursor may differ if the cursor is after
    /// an empty last column.
    pub(crate) fn state(&self) -> TerminalState {
        let (columns, rows) = self.size();
        let mut above = String::new();
        for line in self.above() {
            above.push_str(&line.text);
            above.push(if line.wrapped { '\r' } else { '\n' });
        }
        let mut screen = self.grids();
        for (at, graphics) in self.graphics.into_iter().enumerate() {
            screen.push_str(if graphics { ["\x1b(0", "\x1b)0"][at] } else { "" });
        }
        screen.push_str(if self.shifted { "\x0e" } else { "" });
        let last = self.last.map_or(0, u32::from);
        let Scrollback { dropped, .. } = *self.parser.callbacks();
        TerminalState {
            columns,
            rows,
            above: above.into_bytes(),
            dropped,
            screen: screen.into_bytes(),
            pending: self.pending.clone(),
            last,
            missing: self.missing,
        }
    }

    /// A terminal restored from a saved state.
    pub(crate) fn restore(state: &TerminalState) -> Terminal {
        let mut terminal = Terminal::recorded();
        terminal.resize(state.columns, state.rows);
        terminal.feed(&state.screen);
        let scrollback = terminal.parser.callbacks_mut();
        (scrollback.lines, scrollback.bytes) = (VecDeque::new(), 0);
        for line in String::from_utf8_lossy(&state.above).split_inclusive(['\n', '\r']) {
            let mut text = line.trim_end_matches(['\n', '\r']).to_owned();
            if !has_only_looks(&text) {
                text.retain(|letter| !letter.is_control());
            }
            scrollback.push(Above { text: text.into(), wrapped: line.ends_with('\r') });
        }
        scrollback.dropped = state.dropped;
        terminal.feed(&state.pending);
        terminal.answers.clear();
        (terminal.last, terminal.missing) = (char::from_u32(state.last).filter(|c| *c != '\0'), state.missing);
        terminal
    }

    /// The output that draws both screens, the visible one last.
    fn grids(&self) -> String {
        let mut parser = parser(self.size(), ());
        self.screen().clone_into(parser.screen_mut());
        let ways = match self.screen().alternate_screen() {
            true => ["\x1b[?47l", "\x1b[?47h"],
            false => ["\x1b[?47h", "\x1b[?47l"],
        };
        let mut out = String::new();
        for way in ways {
            parser.process(way.as_bytes());
            out.push_str(way);
            out.push_str(&grid(parser.screen()));
        }
        out.push_str(&self.screen().input_mode_formatted());
        out
    }
}

/// Whether the only control characters of a text are those of SGR sequences.
fn has_only_looks(text: &str) -> bool {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default();
    let rest = |part: &str| {
        let (look, rest) = part.strip_prefix('[')?.split_once('m')?;
        look.bytes().all(|byte| matches!(byte, b'0'..=b';')).then(|| rest.to_owned())
    };
    let plain = |text: &str| !text.contains(char::is_control);
    plain(first) && parts.all(|part| rest(part).is_some_and(|rest| plain(&rest)))
}

/// The output that draws the visible screen: its saved cursor, its cells and its margins.
fn grid(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let after = |sequence: &str| {
        let mut parser = parser((columns.get(), rows.get()), ());
        screen.clone_into(parser.screen_mut());
        parser.process(sequence.as_bytes());
        parser.screen().clone()
    };
    let saved = after("\x1b8");
    let (row, column) = saved.cursor_position();
    // Only a character moves the cursor beyond the last column.
    let beyond = if column >= columns.get() { " " } else { "" };
    let saved = format!("{}\x1b[{};{}H{beyond}\x1b7\x1b[r", saved.attributes_formatted(), row + 1, column + 1);
    // In origin mode, positions count from the upper margin, and end at the lower one.
    let (top, _) = after("\x1b[?6h").cursor_position();
    let (bottom, _) = after("\x1b[?6h\x1b[9999;1H").cursor_position();
    // Setting the margins moves the cursor. The last cell of a row may be drawn again, so the attributes are reset for it.
    let margins = format!("\x1b[{};{}r\x1b[m", top + 1, bottom + 1);
    [saved, screen.contents_formatted(), margins, screen.cursor_state_formatted(), screen.attributes_formatted()]
        .concat()
}

/// The special graphics of the VT100, from `` ` `` on.
const GRAPHICS: &str = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
