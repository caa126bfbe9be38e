//! The screen of COMMAND's terminal: a fold over COMMAND's output, without I/O. A replay of the same bytes gives the same screen.
//!
//! [`vt100`] keeps the cells. This module translates or answers the sequences that it does not know, and limits those that would be
//! expensive.

mod lex;
#[cfg(test)]
mod tests;

use crate::frame::host::CommandOutput;
use crate::frame::state::TerminalState;
use crate::limits;
pub use lex::LineTracker;
use lex::{Lexer, Piece};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
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

    /// The number of lines that have scrolled off the screen.
    fn scrolled(&self) -> u64 {
        self.dropped + self.lines.len() as u64
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
    lexer: Lexer,
    /// The first bytes of an incomplete character.
    partial: Vec<u8>,
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
        let Terminal { lexer, partial, last, graphics, shifted, answers, missing, cells, left_out, .. } = self;
        let (lexer, partial, answers) = (lexer.clone(), partial.clone(), answers.clone());
        let (last, graphics, shifted, missing) = (*last, *graphics, *shifted, *missing);
        let (cells, left_out) = (*cells, *left_out);
        Terminal { parser, lexer, partial, last, graphics, shifted, answers, missing, cells, left_out }
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
        Terminal::sized(SIZE, most)
    }

    fn sized(size: (u16, u16), most: usize) -> Terminal {
        Terminal {
            parser: parser(size, Scrollback::new(most)),
            lexer: Lexer::default(),
            partial: Vec::new(),
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
            if self.affords(cells + self.parser.callbacks().bytes) {
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

    pub fn feed(&mut self, mut bytes: &[u8]) {
        let more = CELLS_PER_PIECE + bytes.len().saturating_mul(CELLS_PER_BYTE);
        self.cells = self.cells.saturating_add(more).min(CELLS_SAVED);
        while let Some(piece) = self.lexer.next(&mut bytes) {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Sequence => self.sequence(),
            }
        }
    }

    /// Takes the cells from those that sequences may still change; whether there are enough.
    fn affords(&mut self, cells: usize) -> bool {
        let left = self.cells.checked_sub(cells);
        self.cells = left.unwrap_or(self.cells);
        self.left_out += u64::from(left.is_none());
        left.is_some()
    }

    /// Changes the size. The lines of the primary screen and above it are wrapped again, so that nothing is cut off.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let [rows, columns] = nonzero(columns, rows);
        let (_, before) = self.screen().size();
        if (rows, columns) == self.screen().size() {
            return;
        }
        let alternate = self.screen().alternate_screen();
        // Reset the count of lines above. Otherwise a higher screen would begin with that many empty lines.
        self.parser.process(b"\x1b[?47l\x1b[3J");
        match before == columns {
            true => self.parser.set_size(rows, columns),
            false => self.rewrap(rows, columns),
        }
        if alternate {
            self.parser.process(b"\x1b[?47h");
        }
    }

    fn rewrap(&mut self, rows: NonZeroU16, columns: NonZeroU16) {
        let screen = self.screen();
        let (row, column) = screen.cursor_position();
        let attributes = screen.attributes_formatted();
        let is_blank = |column: &u16| {
            let cell = screen.cell(row, *column);
            cell.is_some_and(|cell| !cell.has_contents() && !cell.is_wide_continuation())
        };
        let after_text = (0..column).rev().take_while(is_blank).count();
        let mut all = captured(screen, b"");
        let mut before = captured(screen, b"\x1b[m\x1b[J");
        before.truncate(usize::from(row) + 1);
        let used = all.iter().rposition(|line| !line.text.is_empty()).map_or(0, |at| at + 1);
        all.truncate(used.max(before.len()));
        // The last line above may continue on the screen.
        let begun = self.wrap_above(columns.get());
        let before = begun.clone() + &joined(before) + &"\x1b[C".repeat(after_text);
        let mut until_cursor = Terminal::sized((columns.get(), rows.get()), usize::MAX);
        until_cursor.parser.process(before.as_bytes());
        self.parser.process(b"\x1b[m\x1b[r\x1b[H\x1b[2J");
        self.parser.set_size(rows, columns);
        let above = self.parser.callbacks().scrolled();
        self.parser.process((begun + &joined(all)).as_bytes());
        let scrolled = self.parser.callbacks().scrolled() - above;
        let (row, column) = until_cursor.screen().cursor_position();
        let row = (u64::from(row) + until_cursor.parser.callbacks().scrolled()).saturating_sub(scrolled);
        // Only the character of the last column moves the cursor beyond it.
        if (row, column) != (u64::from(self.screen().cursor_position().0), self.screen().cursor_position().1) {
            self.parser.process(format!("\x1b[{};{}H", row + 1, column + 1).as_bytes());
        }
        self.parser.process(attributes.as_bytes());
    }

    /// Wraps the lines above the screen at this many columns. Returns the last one instead if it continues on the screen.
    fn wrap_above(&mut self, columns: u16) -> String {
        let scrollback = self.parser.callbacks_mut();
        let lines = std::mem::take(&mut scrollback.lines);
        scrollback.bytes = 0;
        let mut begun = String::new();
        for line in lines {
            if begun.is_empty() && !line.wrapped && fits(&line.text, columns) {
                scrollback.push(line);
                continue;
            }
            begun.push_str(&line.text);
            begun.push_str("\x1b[m");
            if !line.wrapped {
                wrapped(&std::mem::take(&mut begun), columns).into_iter().for_each(|line| scrollback.push(line));
            }
        }
        begun
    }

    fn text(&mut self, text: &[u8]) {
        if self.partial.is_empty() {
            return self.whole(text);
        }
        // At most three more bytes belong to the character.
        let (head, rest) = text.split_at(text.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count());
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(head);
        self.whole(&partial);
        if !rest.is_empty() {
            // If the character is still incomplete, it is invalid.
            if !std::mem::take(&mut self.partial).is_empty() {
                self.last = None;
            }
            self.whole(rest);
        }
    }

    /// Prints text that begins with a character, and keeps an incomplete character at its end.
    fn whole(&mut self, text: &[u8]) {
        let (text, partial) = text.split_at(text.len() - partial_len(text));
        self.partial = partial.to_vec();
        if text.is_empty() {
            return;
        }
        let plain = !self.graphics.contains(&true) && !self.shifted && memchr::memchr2(0x0e, 0x0f, text).is_none();
        match plain {
            true => self.print(text),
            false => self.special(text),
        }
    }

    fn print(&mut self, text: &[u8]) {
        if let Some(end) = text.utf8_chunks().last() {
            let last = end.valid().chars().last().filter(|last| !last.is_control());
            self.last = last.filter(|_| end.invalid().is_empty());
        }
        // This character would widen a cell that is already drawn, which vt100 does not support. It is invisible in any case.
        match memchr::memmem::find(text, EMOJI).is_some() {
            false => self.parser.process(text),
            true => self.parser.process(String::from_utf8_lossy(text).replace('\u{fe0f}', "").as_bytes()),
        }
    }

    /// Prints text that may use the special graphics set, which draws lines.
    fn special(&mut self, text: &[u8]) {
        let mut out = Vec::with_capacity(text.len());
        for byte in text {
            self.shifted = (self.shifted || *byte == 0x0e) && *byte != 0x0f;
            match byte {
                b'`'..=b'~' if self.graphics[usize::from(self.shifted)] => {
                    let at = usize::from(byte - b'`');
                    let letter = GRAPHICS.chars().nth(at).unwrap_or(' ');
                    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => out.push(*byte),
            }
        }
        self.print(&out);
    }

    fn sequence(&mut self) {
        let sequence = self.lexer.sequence.to_vec();
        match sequence.as_slice() {
            [_, b'[', parameters @ .., last] => self.control(&sequence, parameters, *last),
            [_, b'(', set] => self.graphics[0] = *set == b'0',
            [_, b')', set] => self.graphics[1] = *set == b'0',
            [_, b'D'] => self.parser.process(b"\n"),
            [_, b'E'] => self.parser.process(b"\r\n"),
            [_, b'Z'] => self.answer("\x1b[?62;22c"),
            [_, b'c'] => {
                let (columns, rows) = self.size();
                if !self.affords(2 * usize::from(columns) * usize::from(rows)) {
                    return;
                }
                (self.graphics, self.shifted, self.last) = ([false; 2], false, None);
                self.parser.process(&sequence);
            }
            _ => self.parser.process(&sequence),
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
            b'@' | b'P' => width,
            b'X' => count.min(width),
            // A character is more work than a cell.
            b'b' => count.min(width) * 8,
            b'K' => width / ERASED,
            b'J' => width * height / ERASED,
            b'h' => parameters.windows(4).filter(|mode| mode == b"1049").count() * width * height / ERASED,
            _ => 0,
        };
        if !self.affords(cells) {
            return;
        }
        match (parameters, last) {
            ([b'0'..=b'9', ..] | [], b'b') => {
                let repeated = self.last.map(|last| last.to_string().repeat(number().min(columns).into()));
                self.print(repeated.unwrap_or_default().as_bytes());
            }
            ([] | b"0", b'c') => self.answer("\x1b[?62;22c"),
            (b">" | b">0", b'c') => self.answer("\x1b[>0;0;0c"),
            (b"5", b'n') => self.answer("\x1b[0n"),
            (b"6", b'n') => self.answer(&format!("\x1b[{};{}R", row + 1, column.min(columns - 1) + 1)),
            (b"?6", b'n') => self.answer(&format!("\x1b[?{};{}R", row + 1, column.min(columns - 1) + 1)),
            (b"18", b't') => self.answer(&format!("\x1b[8;{rows};{columns}t")),
            ([], b's') => self.parser.process(b"\x1b7"),
            ([], b'u') => self.parser.process(b"\x1b8"),
            ([b'0'..=b'9', ..] | [], b'Z') => {
                let back = column.div_ceil(8).saturating_sub(number()) * 8;
                self.parser.process(format!("\x1b[{}G", back + 1).as_bytes());
            }
            ([b'0'..=b'9', ..] | [], b'I') => {
                let tabs = usize::from(number().min(columns / 8 + 1));
                self.parser.process("\t".repeat(tabs).as_bytes());
            }
            // A count beyond the screen would have the same effect, but cost more.
            (_, b'S' | b'T' | b'L' | b'M' | b'@' | b'P' | b'X')
                if parameters.iter().all(|byte| (b'0'..=b';').contains(byte)) =>
            {
                let most = number().min(rows.max(columns));
                self.parser.process(format!("\x1b[{most}{}", char::from(last)).as_bytes());
            }
            (b"?1047", b'h' | b'l') => self.parser.process(&[b"\x1b[?47".as_slice(), &[last]].concat()),
            (b"?1048", b'h') => self.parser.process(b"\x1b7"),
            (b"?1048", b'l') => self.parser.process(b"\x1b8"),
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
        let mut pending = self.partial.clone();
        pending.extend_from_slice(self.lexer.pending());
        let last = self.last.map_or(0, u32::from);
        let Scrollback { dropped, .. } = *self.parser.callbacks();
        TerminalState {
            columns,
            rows,
            above: above.into_bytes(),
            dropped,
            screen: screen.into_bytes(),
            pending,
            last,
            missing: self.missing,
        }
    }

    /// A terminal restored from a saved state.
    pub(crate) fn restore(state: &TerminalState) -> Terminal {
        let mut terminal = Terminal::recorded();
        terminal.resize(state.columns, state.rows);
        terminal.feed(&state.screen);
        let (columns, _) = terminal.size();
        let scrollback = terminal.parser.callbacks_mut();
        (scrollback.lines, scrollback.bytes) = (VecDeque::new(), 0);
        for line in String::from_utf8_lossy(&state.above).split_inclusive(['\n', '\r']) {
            let text = line.trim_end_matches(['\n', '\r']);
            let continues = line.ends_with('\r');
            if fits(text, columns) {
                scrollback.push(Above { text: text.into(), wrapped: continues });
                continue;
            }
            let mut lines = wrapped(text, columns);
            lines.iter_mut().last().into_iter().for_each(|line| line.wrapped = continues);
            lines.into_iter().for_each(|line| scrollback.push(line));
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
        let ways = ["\x1b[?47l", "\x1b[?47h"];
        let shown = usize::from(self.screen().alternate_screen());
        let mut out = String::new();
        for (at, way) in [(1 - shown, ways[1 - shown]), (shown, ways[shown])] {
            parser.process(way.as_bytes());
            out.push_str(way);
            out.push_str(&grid(parser.screen(), at == shown));
        }
        out.push_str(&self.screen().input_mode_formatted());
        out
    }
}

/// Whether a line above the screen is plain text that certainly fits into this many columns.
fn fits(text: &str, columns: u16) -> bool {
    text.len() <= columns.into() && text.bytes().all(|byte| (b' '..0x7f).contains(&byte))
}

/// The rows of a line in this many columns.
fn wrapped(line: &str, columns: u16) -> VecDeque<Above> {
    let mut terminal = Terminal::sized((columns, 2), usize::MAX);
    terminal.feed(line.as_bytes());
    let mut rows = captured(terminal.screen(), b"");
    rows.truncate(usize::from(terminal.screen().cursor_position().0) + 1);
    let scrollback = terminal.parser.callbacks_mut();
    scrollback.lines.append(&mut rows);
    std::mem::take(&mut scrollback.lines)
}

/// The rows of a screen after some further output.
fn captured(screen: &vt100::Screen, output: &[u8]) -> VecDeque<Above> {
    let (rows, columns) = screen.size();
    let mut parser = parser((columns.get(), rows.get()), Scrollback::new(usize::MAX));
    screen.clone_into(parser.screen_mut());
    parser.process(output);
    parser.process(format!("\x1b[r\x1b[{rows}S").as_bytes());
    std::mem::take(&mut parser.callbacks_mut().lines)
}

/// The output that writes rows from the first column on.
fn joined(rows: VecDeque<Above>) -> String {
    let (mut out, mut ended) = (String::new(), false);
    for row in rows {
        out.push_str(if std::mem::replace(&mut ended, !row.wrapped) { "\r\n" } else { "" });
        out.push_str(&row.text);
        out.push_str("\x1b[m");
    }
    out
}

/// The output that draws the visible screen: its cells, its saved cursor and its margins.
fn grid(screen: &vt100::Screen, shown: bool) -> String {
    let (rows, columns) = screen.size();
    let after = |sequence: &str| {
        let mut parser = parser((columns.get(), rows.get()), ());
        screen.clone_into(parser.screen_mut());
        parser.process(sequence.as_bytes());
        parser.screen().clone()
    };
    let mut out = String::new();
    let at = |out: &mut String, (row, column): (u16, u16)| {
        // Writing to a String cannot fail.
        let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
    };
    let saved = after("\x1b8");
    out.push_str(if has_origin(&saved) { "\x1b[?6h" } else { "\x1b[?6l" });
    out.push_str(&saved.attributes_formatted());
    at(&mut out, saved.cursor_position());
    if saved.cursor_position().1 >= columns.get() {
        // Only a character moves the cursor beyond the last column.
        out.push(' ');
    }
    out.push_str("\x1b7\x1b[?6l");
    let (top, _) = after("\x1b[?6h").cursor_position();
    let (bottom, _) = after("\x1b[?6h\x1b[9999;1H").cursor_position();
    out.push_str("\x1b[r");
    out.push_str(&screen.contents_formatted());
    if (top, bottom + 1) != (0, rows.get()) {
        // Setting the margins moves the cursor. The last cell of a row may be drawn again, so later attributes are reset for it.
        let _ = write!(out, "\x1b[{};{}r\x1b[m", top + 1, bottom + 1);
        out.push_str(&screen.cursor_state_formatted());
        out.push_str(&screen.attributes_formatted());
    }
    if has_origin(screen) {
        // These sequences count from the first row, and also move outside the margins.
        let at = |out: &mut String, column| {
            let _ = write!(out, "\x1b[{}d\x1b[{}G", screen.cursor_position().0 + 1, column + 1);
        };
        let (row, column) = screen.cursor_position();
        out.push_str("\x1b[?6h");
        at(&mut out, column);
        if column >= columns.get() {
            // Only the character of the last column moves the cursor beyond it.
            let wide = screen.cell(row, columns.get() - 1).is_some_and(vt100::Cell::is_wide_continuation);
            let last = columns.get() - if wide { 2 } else { 1 };
            at(&mut out, last);
            out.push_str("\x1b[m");
            out.extend(screen.rows_formatted(last, columns.get() - last).nth(row.into()));
            out.push_str(&screen.attributes_formatted());
        }
    }
    if shown { out } else { out + "\x1b[m" }
}

/// Whether positions count from the upper margin (origin mode).
fn has_origin(screen: &vt100::Screen) -> bool {
    let mut parser = parser(SIZE, ());
    screen.clone_into(parser.screen_mut());
    let [rows, columns] = nonzero(SIZE.0, SIZE.1);
    parser.set_size(rows, columns);
    parser.process(b"\x1b[2;3r\x1b[1;1H");
    parser.screen().cursor_position().0 > 0
}

/// The length of the incomplete character at the end.
fn partial_len(text: &[u8]) -> usize {
    let tail = text.iter().rev().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count() + 1;
    let begins = text.len().checked_sub(tail).and_then(|at| text.get(at));
    let wanted = match begins {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 0,
    };
    if tail < wanted { tail } else { 0 }
}

/// The character that requests the emoji form of the character before it (U+FE0F).
const EMOJI: &[u8] = "\u{fe0f}".as_bytes();

/// The special graphics of the VT100, from `` ` `` on.
const GRAPHICS: &str = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
