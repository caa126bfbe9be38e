//! The output of the COMMAND, as an overlay. Rows are formatted for visible lines only.

use super::put;
use super::theme::Theme;
use crate::app::output::Output;
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// The lines above the screen whose colours may reach into it.
const ABOVE: usize = 256;

/// The distance of tab stops.
const TAB: usize = 8;

/// Draws the lines from `scroll` on, or the last ones, and returns the scroll limit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, output: &Output, scroll: usize, theme: Theme) -> usize {
    put(frame, Rect { height: area.height.min(1), ..area }, Line::styled(title(output, theme), theme.strong()));
    let rows = usize::from(area.height.saturating_sub(1));
    let most = output.lines().len().saturating_sub(rows);
    let first = scroll.min(most);
    // A colour may begin some lines above the screen.
    let above = first.saturating_sub(ABOVE);
    let mut terminal = Terminal::default();
    let lines = output.lines().iter().skip(above).take(first - above + rows);
    for (at, line) in lines.enumerate() {
        let line = terminal.row(line, area.width.into(), theme);
        if let Some(y) = at.checked_sub(first - above).and_then(|y| u16::try_from(y).ok()) {
            put(frame, Rect { y: area.y.saturating_add(1).saturating_add(y), height: 1, ..area }, line);
        }
    }
    most
}

fn title(output: &Output, theme: Theme) -> String {
    let name = text::escape_in(output.name().as_bytes(), theme.charset, 40);
    let state = output.ended().unwrap_or("running");
    let dropped = match output.dropped() {
        0 => String::new(),
        bytes => format!(", oldest {} KiB dropped", bytes.div_ceil(1024)),
    };
    let nothing = if output.lines().is_empty() { ", no output" } else { "" };
    format!(" OUTPUT of {name} ({state}{dropped}{nothing})  Esc closes")
}

/// What a terminal makes of lines: text before a carriage return is replaced, tabs are expanded, and colours and weights (SGR, ECMA-48
/// 8.3.117) apply. Other escape sequences have no effect, and what is left is escaped.
#[derive(Default)]
struct Terminal {
    style: Style,
    runs: Vec<(Style, Vec<u8>)>,
    /// The bytes since the start of the line.
    bytes: usize,
}

impl Terminal {
    fn row(&mut self, line: &[u8], width: usize, theme: Theme) -> Line<'static> {
        (self.runs, self.bytes) = (Vec::new(), 0);
        vte::Parser::new().advance(self, line.trim_ascii_end());
        let mut row = Line::default();
        let mut room = width;
        for (style, run) in &self.runs {
            let text = text::escape_in(run, theme.charset, room);
            let text = text::cut(&text, room, theme.charset);
            room = room.saturating_sub(text::width(&text));
            row.push_span(Span::styled(text, theme.foreign(*style)));
        }
        row
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.runs.last_mut() {
            Some((style, run)) if *style == self.style => run.extend_from_slice(bytes),
            _ => self.runs.push((self.style, bytes.to_vec())),
        }
    }
}

impl vte::Perform for Terminal {
    fn print(&mut self, character: char) {
        self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.push(&b" ".repeat(TAB - self.bytes % TAB)),
            b'\r' => (self.runs, self.bytes) = (Vec::new(), 0),
            // A C1 control is two bytes in UTF-8.
            0x80.. => self.print(char::from(byte)),
            byte => self.push(&[byte]),
        }
    }

    fn csi_dispatch(&mut self, params: &vte::Params, intermediates: &[u8], ignore: bool, action: char) {
        if action == 'm' && intermediates.is_empty() && !ignore {
            let numbers: Vec<u16> = params.iter().flatten().copied().collect();
            self.style = rendition(self.style, &numbers);
        }
    }
}

/// A style after the parameters of Select Graphic Rendition. What would hide the text is left out.
fn rendition(mut style: Style, mut numbers: &[u16]) -> Style {
    while let Some((number, rest)) = numbers.split_first() {
        numbers = rest;
        let indexed = |at: u16| Color::Indexed(u8::try_from(at).unwrap_or_default());
        match number {
            0 => style = Style::new(),
            1 => style = style.add_modifier(Modifier::BOLD),
            2 => style = style.add_modifier(Modifier::DIM),
            3 => style = style.add_modifier(Modifier::ITALIC),
            4 => style = style.add_modifier(Modifier::UNDERLINED),
            7 => style = style.add_modifier(Modifier::REVERSED),
            9 => style = style.add_modifier(Modifier::CROSSED_OUT),
            22 => style.add_modifier.remove(Modifier::BOLD | Modifier::DIM),
            23 => style.add_modifier.remove(Modifier::ITALIC),
            24 => style.add_modifier.remove(Modifier::UNDERLINED),
            27 => style.add_modifier.remove(Modifier::REVERSED),
            29 => style.add_modifier.remove(Modifier::CROSSED_OUT),
            30..=37 => style.fg = Some(indexed(number - 30)),
            39 => style.fg = None,
            40..=47 => style.bg = Some(indexed(number - 40)),
            49 => style.bg = None,
            90..=97 => style.fg = Some(indexed(number - 82)),
            100..=107 => style.bg = Some(indexed(number - 92)),
            38 | 48 => {
                let byte = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
                let (colour, rest) = match *rest {
                    [5, at, ref rest @ ..] => (Color::Indexed(byte(at)), rest),
                    [2, r, g, b, ref rest @ ..] => (Color::Rgb(byte(r), byte(g), byte(b)), rest),
                    _ => return style,
                };
                *(if *number == 38 { &mut style.fg } else { &mut style.bg }) = Some(colour);
                numbers = rest;
            }
            _ => {}
        }
    }
    if style.fg == style.bg {
        (style.fg, style.bg) = (None, None);
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_a_terminal_would_show_and_nothing_that_steers_it() {
        let row = |line: &[u8]| Terminal::default().row(line, 20, Theme::default()).to_string();
        assert_eq!(row(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(row(b"a\tb\n"), "a       b");
        for hostile in [
            &b"\x1b[2J\x1b]0;x\x07\x07a\xc2\x9b1m\xe2\x80\xaeb"[..],
            b"\x1bPq#0\x1b\\",
            b"\x1b",
            b"\x1b[31",
            b"\xff\x9b",
        ] {
            let row = row(hostile);
            assert!(!row.chars().any(text::is_hostile), "{row:?}");
        }
        assert_eq!(text::width(&row(&[b'x'; 100])), 20);
    }

    #[test]
    fn colours_last_until_they_are_reset_and_hide_nothing() {
        let mut terminal = Terminal::default();
        let mut row = |line: &[u8]| terminal.row(line, 40, Theme::default()).spans;
        let red = Style::new().fg(Color::Indexed(1)).add_modifier(Modifier::BOLD);
        assert_eq!(
            row(b"a \x1b[1;31merror\x1b[0m: b\n"),
            [Span::raw("a "), Span::styled("error", red), Span::raw(": b")]
        );
        assert_eq!(row(b"\x1b[01;31mone\n"), [Span::styled("one", red)]);
        assert_eq!(row(b"two\x1b[m\n"), [Span::styled("two", red)]);
        let style = |numbers: &[u16]| rendition(Style::new(), numbers);
        assert_eq!(style(&[38, 5, 200, 48, 2, 1, 2, 3, 4]).fg, Some(Color::Indexed(200)));
        assert_eq!(style(&[38, 5, 200, 48, 2, 1, 2, 3, 4]).bg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(style(&[97]).fg, Some(Color::Indexed(15)));
        assert_eq!((style(&[31, 41]), style(&[8]), style(&[1, 22])), (Style::new(), Style::new(), Style::new()));
        let plain = Theme { colours: super::super::theme::Colours::None, ..Theme::default() };
        let weight = Style::new().add_modifier(Modifier::BOLD);
        assert_eq!(Terminal::default().row(b"\x1b[1;31mx", 9, plain).spans, [Span::styled("x", weight)]);
    }
}
