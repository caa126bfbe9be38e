//! COMMAND's terminal as an overlay and as text. Only visible lines are formatted.

use super::put;
use super::theme::{Colours, Theme};
use crate::app::App;
use crate::app::command::output::Output;
use crate::app::keys::keymap::Action;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::fmt::Write as _;
use std::num::NonZeroU16;
use tracetui_events::terminal::{Above, Terminal};
use tracetui_events::text::{self, Charset};
use unicode_width::UnicodeWidthChar;
use vt100::{Cell, Screen};

/// Draws the lines from `scroll` on, or the last ones. Returns the scroll limit.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    output: &Output,
    scroll: usize,
    theme: Theme,
) -> usize {
    put(frame, Rect { height: area.height.min(1), ..area }, Line::styled(title(app, output, theme), theme.strong()));
    let terminal = &output.terminal;
    let (above, screen) = (terminal.above().len(), terminal.screen());
    let rows = usize::from(area.height.saturating_sub(1));
    let most = (above + used(screen)).saturating_sub(rows);
    let first = scroll.min(most);
    for at in 0..rows {
        let line = match terminal.above().get(first + at) {
            Some(line) => of_text(line, theme),
            None => of_screen(screen, first + at - above, theme),
        };
        let y = u16::try_from(at + 1).unwrap_or(u16::MAX);
        put(frame, Rect { y: area.y.saturating_add(y), height: 1, ..area }, line);
    }
    let (row, column) = screen.cursor_position();
    let y = (above + usize::from(row)).checked_sub(first).filter(|y| *y < rows).and_then(|y| u16::try_from(y + 1).ok());
    if let Some(y) = y.filter(|_| app.types() && !screen.hide_cursor()) {
        let at = Position { x: area.x + column.min(area.width.saturating_sub(1)), y: area.y + y };
        frame.set_cursor_position(at);
    }
    most
}

fn title(app: &App, output: &Output, theme: Theme) -> String {
    let name = text::escape_in(output.name.as_bytes(), theme.charset, 40);
    let terminal = &output.terminal;
    let dropped = match terminal.dropped() {
        0 => String::new(),
        lines => format!(", oldest {} lines dropped", text::grouped(lines)),
    };
    let missing = match terminal.missing {
        0 => String::new(),
        bytes => format!(", {} bytes after it not recorded", text::grouped(bytes)),
    };
    let left_out = match terminal.left_out {
        0 => String::new(),
        count => format!(", {} sequences left out: too much work", text::grouped(count)),
    };
    let of = match (output.name.as_str(), app.replay.as_ref()) {
        ("", Some(_)) => String::new(),
        _ => format!(" of {name}"),
    };
    let state = match app.replay.as_ref() {
        Some(_) => "recorded",
        None => output.ended.as_deref().unwrap_or("running"),
    };
    let nothing = match (terminal.is_empty(), app.replay.as_ref()) {
        (false, _) => "",
        (true, None) => ", no output",
        (true, Some(_)) => ", no output yet",
    };
    let keys = match app.types() {
        true => ": keys go to it, Ctrl-] leaves".to_owned(),
        false if !output.runs() => "  Esc closes".to_owned(),
        false => format!("  {} types into it, Esc closes", app.key_of(Action::Enter)),
    };
    format!(" OUTPUT{of} ({state}{dropped}{missing}{left_out}{nothing}){keys}")
}

/// The rows of a screen up to the last one with text or the cursor.
fn used(screen: &Screen) -> usize {
    let (rows, columns) = screen.size();
    let empty = |row: u16| (0..columns.get()).all(|column| screen.cell(row, column).is_none_or(is_blank));
    let text = (0..rows.get()).rev().find(|row| !empty(*row)).map_or(0, |row| row + 1);
    text.max(screen.cursor_position().0 + 1).into()
}

fn is_blank(cell: &Cell) -> bool {
    !cell.has_contents() && style(cell) == Style::new()
}

/// A line above the screen. It contains no cursor movements.
fn of_text(line: &Above, theme: Theme) -> Line<'static> {
    let columns = u16::try_from(text::width(&line.text)).ok().and_then(NonZeroU16::new);
    let two = NonZeroU16::MIN.saturating_add(1);
    let mut parser = vt100::Parser::new(NonZeroU16::MIN, columns.unwrap_or(two).max(two), 0);
    parser.process(line.text.as_bytes());
    of_screen(parser.screen(), 0, theme)
}

/// A row of a screen without trailing blanks.
fn of_screen(screen: &Screen, row: usize, theme: Theme) -> Line<'static> {
    let Ok(row) = u16::try_from(row) else { return Line::default() };
    let columns = screen.size().1.get();
    let cell = |column: &u16| screen.cell(row, *column);
    let end = (0..columns).rev().find(|column| cell(column).is_some_and(|cell| !is_blank(cell))).map_or(0, |at| at + 1);
    let mut line = Line::default();
    for cell in (0..end).filter_map(|column| cell(&column)).filter(|cell| !cell.is_wide_continuation()) {
        let (text, style) = (symbol(cell, theme.charset), theme.foreign(style(cell)));
        match line.spans.last_mut() {
            Some(last) if last.style == style => last.content.to_mut().push_str(&text),
            _ => line.push_span(Span::styled(text, style)),
        }
    }
    line
}

/// The text of a cell. It takes as many cells as the terminal gave it. Characters that would control, hide or reverse it are dropped.
fn symbol(cell: &Cell, charset: Charset) -> String {
    let width = if cell.is_wide() { 2 } else { 1 };
    let replaced = |sign: char| format!("{sign}{}", " ".repeat(width - 1));
    let mut letters = cell.contents().chars();
    let Some(first) = letters.next() else { return " ".to_owned() };
    if text::is_hostile(first) || first.width() != Some(width) {
        return replaced(if charset == Charset::Utf8 { '\u{fffd}' } else { '?' });
    }
    if charset == Charset::Ascii && !first.is_ascii() {
        return replaced(plain(first));
    }
    let marks = letters.filter(|mark| charset == Charset::Utf8 && !text::is_hostile(*mark) && mark.width() == Some(0));
    [first].into_iter().chain(marks).collect()
}

/// The ASCII replacement for a character.
fn plain(letter: char) -> char {
    match letter {
        '─' | '━' | '═' => '-',
        '│' | '┃' | '║' => '|',
        '\u{2500}'..='\u{257f}' => '+',
        '\u{2580}'..='\u{259f}' => '#',
        _ => '?',
    }
}

/// The style of a cell. A style that would hide its text is dropped.
fn style(cell: &Cell) -> Style {
    let colour = |colour| match colour {
        vt100::Color::Default => None,
        vt100::Color::Idx(index) => Some(Color::Indexed(index)),
        vt100::Color::Rgb(red, green, blue) => Some(Color::Rgb(red, green, blue)),
    };
    let (mut fg, mut bg) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
    if fg == bg {
        (fg, bg) = (None, None);
    }
    let modifiers = [
        (cell.bold(), Modifier::BOLD),
        (cell.dim(), Modifier::DIM),
        (cell.italic(), Modifier::ITALIC),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
    ];
    let set = modifiers.into_iter().filter(|(on, _)| *on).map(|(_, modifier)| modifier);
    Style { fg, bg, ..Style::new() }.add_modifier(set.collect())
}

/// Everything that the terminal keeps, as text: the lines above the screen, the screen, and the alternate screen if it is shown.
pub(crate) fn lines(terminal: &Terminal, theme: Theme) -> String {
    let mut out = String::new();
    for line in terminal.above() {
        write_line(&of_text(line, theme), line.wrapped, theme, &mut out);
    }
    let primary = terminal.primary();
    let alternate = terminal.screen().alternate_screen().then(|| terminal.screen());
    for screen in std::iter::once(&primary).chain(alternate) {
        let (rows, columns) = screen.size();
        let blank =
            |row: &u16| (0..columns.get()).all(|at| screen.cell(*row, at).is_none_or(|cell| !cell.has_contents()));
        let end = (0..rows.get()).rev().find(|row| !blank(row)).map_or(0, |row| row + 1);
        for row in 0..end {
            write_line(&of_screen(screen, row.into(), theme), screen.row_wrapped(row), theme, &mut out);
        }
    }
    out
}

fn write_line(line: &Line<'_>, wrapped: bool, theme: Theme, out: &mut String) {
    for span in &line.spans {
        let sequence = if theme.colours == Colours::None { String::new() } else { rendition(span.style) };
        let reset = if sequence.is_empty() { "" } else { "\x1b[m" };
        // A string swallows everything.
        let _ = write!(out, "{sequence}{}{reset}", span.content);
    }
    if !wrapped {
        out.push('\n');
    }
}

/// Select Graphic Rendition (ECMA-48 8.3.117) for a style; empty for the default style.
fn rendition(style: Style) -> String {
    let mut codes = Vec::new();
    for (modifier, code) in [
        (Modifier::BOLD, "1"),
        (Modifier::DIM, "2"),
        (Modifier::ITALIC, "3"),
        (Modifier::UNDERLINED, "4"),
        (Modifier::REVERSED, "7"),
    ] {
        codes.extend(style.add_modifier.contains(modifier).then(|| code.to_owned()));
    }
    for (colour, ground) in [(style.fg, 3), (style.bg, 4)] {
        match colour {
            Some(Color::Indexed(index @ 0..=7)) => codes.push(format!("{ground}{index}")),
            Some(Color::Indexed(index)) => codes.push(format!("{ground}8;5;{index}")),
            Some(Color::Rgb(red, green, blue)) => codes.push(format!("{ground}8;2;{red};{green};{blue}")),
            _ => {}
        }
    }
    if codes.is_empty() { String::new() } else { format!("\x1b[{}m", codes.join(";")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(bytes: &[u8]) -> Terminal {
        let mut terminal = Terminal::default();
        terminal.resize(20, 4);
        terminal.feed(bytes);
        terminal
    }

    #[test]
    fn a_row_is_what_a_terminal_would_show_and_nothing_that_steers_it() {
        let row = |bytes: &[u8]| of_screen(terminal(bytes).screen(), 0, Theme::default()).to_string();
        assert_eq!(row(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(row(b"a\tb\n"), "a       b");
        assert_eq!(row("日本e\u{301}".as_bytes()), "日本e\u{301}");
        for hostile in [
            &b"\x1b[5;5H\x1b]0;x\x07\x07a\xc2\x9b1m\xe2\x80\xaeb"[..],
            "a\u{200d}b\u{feff}\u{202e}c\u{2066}☁\u{fe0f}".as_bytes(),
            "\u{1f1e9}\u{1f1ea}\u{17d8}\u{ad}\u{3164}".as_bytes(),
            b"\x1bPq#0\x1b\\",
            b"\x1b",
            b"\x1b[31",
            b"\xff\x9b",
        ] {
            let terminal = terminal(hostile);
            let shown = lines(&terminal, Theme { colours: Colours::None, ..Theme::default() });
            assert!(!shown.chars().any(|c| c != '\n' && text::is_hostile(c)), "{shown:?}");
            let cells = of_screen(terminal.screen(), 0, Theme::default()).to_string();
            assert!(text::width(&cells) <= 20 && !cells.chars().any(text::is_hostile), "{cells:?}");
        }
        // Colours are shown unless they hide the text.
        let spans = |bytes: &[u8], theme| of_screen(terminal(bytes).screen(), 0, theme).spans;
        let red = Style::new().fg(Color::Indexed(1)).add_modifier(Modifier::BOLD);
        let bytes = b"a \x1b[1;31merror\x1b[0m: b\n";
        assert_eq!(spans(bytes, Theme::default()), [Span::raw("a "), Span::styled("error", red), Span::raw(": b")]);
        assert_eq!(spans(b"\x1b[31;41mx", Theme::default()), [Span::raw("x")]);
        let plain = Theme { colours: Colours::None, ..Theme::default() };
        assert_eq!(spans(b"\x1b[1;31mx", plain), [Span::styled("x", Style::new().add_modifier(Modifier::BOLD))]);
        // What is written at the end has no sequence of the command.
        let bytes = b"one\x1b]52;c;AA==\x07\r\n\x1b]2;title\x1b\\\x1b[6n\x1b[1;38;5;200mtwo\x1b[m three\r\nfour four four four five\r\n";
        let coloured = lines(&terminal(bytes), Theme::default());
        assert_eq!(coloured, "one\n\x1b[1;38;5;200mtwo\x1b[m three\nfour four four four five\n");
        let plain = lines(&terminal(bytes), Theme { colours: Colours::None, ..Theme::default() });
        assert_eq!(plain, "one\ntwo three\nfour four four four five\n");
        let ascii = Theme { colours: Colours::None, charset: Charset::Ascii };
        assert_eq!(lines(&terminal("┌─┐é日x".as_bytes()), ascii), "+-+?? x\n");
    }
}
