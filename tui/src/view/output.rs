//! The output of the COMMAND, as an overlay. Rows are formatted for visible lines only.

use super::put;
use super::theme::Theme;
use crate::app::output::Output;
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// The distance of tab stops.
const TAB: usize = 8;

/// Draws the lines from `scroll` on, or the last ones, and returns the scroll limit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, output: &Output, scroll: usize, theme: Theme) -> usize {
    put(frame, Rect { height: area.height.min(1), ..area }, Line::styled(title(output, theme), theme.strong()));
    let rows = usize::from(area.height.saturating_sub(1));
    let most = output.lines().len().saturating_sub(rows);
    let visible = output.lines().iter().skip(scroll.min(most)).take(rows);
    for (y, line) in (area.y.saturating_add(1)..).zip(visible) {
        put(frame, Rect { y, height: 1, ..area }, Line::raw(row(line, area.width, theme)));
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

/// A line as shown by a terminal: text before a carriage return is removed, tabs are expanded, and the rest is escaped.
fn row(line: &[u8], width: u16, theme: Theme) -> String {
    let line = line.trim_ascii_end();
    let line = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut filled = Vec::with_capacity(line.len());
    for byte in line {
        match byte {
            b'\t' => filled.resize((filled.len() / TAB + 1) * TAB, b' '),
            byte => filled.push(*byte),
        }
    }
    let escaped = text::escape_in(&filled, theme.charset, usize::from(width));
    text::cut(&escaped, usize::from(width), theme.charset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_a_terminal_would_show_and_nothing_that_steers_it() {
        let row = |line: &[u8]| row(line, 20, Theme::default());
        assert_eq!(row(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(row(b"a\tb\n"), "a       b");
        assert!(!row(b"\x1b[31mred\x07\n").contains(['\x1b', '\x07']));
        assert_eq!(text::width(&row(&[b'x'; 100])), 20);
    }
}
