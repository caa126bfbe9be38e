//! The help overlay, derived from the table of keys.

use super::theme::Theme;
use crate::app::App;
use crate::app::keymap::{Keymap, Section};
use crate::text;
use ratatui::text::{Line, Span};

/// The width from which the sections are in two columns.
const TWO_COLUMNS: u16 = 70;

/// The lines of the overlay.
pub(super) fn lines(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let keymap = app.keymap();
    let hidden = |section: &Section| *section == Section::Replay && app.replay().is_none();
    let shown = |sections: &[Section]| sections.iter().copied().filter(|section| !hidden(section)).collect::<Vec<_>>();
    let (left, right) = match width >= TWO_COLUMNS {
        true => (
            shown(&[Section::Move, Section::Filter, Section::Find]),
            shown(&[Section::Replay, Section::View, Section::Selected, Section::Detail]),
        ),
        false => (shown(&Section::ALL), Vec::new()),
    };
    let half = if right.is_empty() { usize::from(width) } else { usize::from(width) * 21 / 40 };
    let mut lines = Vec::new();
    let replay = app.replay().is_some();
    let column = |sections: &[Section], width| -> Vec<Line<'static>> {
        sections.iter().flat_map(|section| section_lines(keymap, *section, replay, width, theme)).collect()
    };
    let (left, right) = (column(&left, half), column(&right, usize::from(width) - half));
    for at in 0..left.len().max(right.len()) {
        let mut line = left.get(at).cloned().unwrap_or_default();
        let fill = half.saturating_sub(line.width());
        line.push_span(" ".repeat(fill));
        line.spans.extend(right.get(at).cloned().unwrap_or_default().spans);
        lines.push(line);
    }
    lines.extend(LANGUAGE.map(Line::raw));
    lines
}

/// The filter language in a few lines.
const LANGUAGE: [&str; 3] = [
    " Terms   kind pid ppid tree comm path arg uid cgroup err dur prog  = != ~ !~ < >",
    " e.g.    comm=cc1 path~\\.h$    err uid=1000    (pid=7 or tree=9) not comm=bash",
    "         a bare word searches all columns       LOST: lost events, see !",
];

fn section_lines(keymap: &Keymap, section: Section, replay: bool, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let rows = keymap.rows(section, replay);
    let keys = rows.iter().map(|(keys, _)| text::width(keys)).max().unwrap_or_default();
    let mut lines = vec![Line::styled(format!(" {}", section.title()), theme.title())];
    for (names, help) in rows {
        let room = width.saturating_sub(keys + 4);
        lines.push(Line::from(vec![
            Span::styled(format!("  {} ", text::left(&names, keys, theme.charset)), theme.key()),
            Span::raw(text::cut(help, room, theme.charset)),
        ]));
    }
    lines
}
