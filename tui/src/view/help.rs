//! The help overlay: made of the table of keys, so it cannot lie.

use super::text;
use super::theme::Theme;
use crate::app::keymap::{Binding, KEYS, Section};
use ratatui::text::{Line, Span};

/// Columns from which the sections stand in two columns.
const TWO_COLUMNS: u16 = 70;

/// Its lines.
pub(super) fn lines(width: u16, theme: Theme) -> Vec<Line<'static>> {
    let (left, right): (&[Section], &[Section]) = match width >= TWO_COLUMNS {
        true => {
            (&[Section::Move, Section::View], &[Section::Find, Section::Filter, Section::Selected, Section::Detail])
        }
        false => (&Section::ALL, &[]),
    };
    let half = if right.is_empty() { usize::from(width) } else { usize::from(width) / 2 };
    let mut lines = vec![Line::styled(" KEYS", theme.title())];
    let (left, right) = (column(left, half, theme), column(right, half, theme));
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
const LANGUAGE: [&str; 5] = [
    "",
    " Filter  kind pid ppid tree comm path arg uid cgroup err dur prog ...  = != ~ !~ < >",
    " e.g.    comm=cc1 path~\\.h$     err uid=1000     tree=48213     not comm=bash",
    "         (err=ENOENT or err=EACCES)     kind=exit dur>2s     a bare word: any column",
    " LOST    what the kernel could not hand over; ! says where, why and what to do",
];

fn column(sections: &[Section], width: usize, theme: Theme) -> Vec<Line<'static>> {
    sections.iter().flat_map(|section| section_lines(*section, width, theme)).collect()
}

fn section_lines(section: Section, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let bindings: Vec<&Binding> = KEYS.iter().filter(|binding| binding.section == section).collect();
    let keys = bindings.iter().map(|binding| text::width(&binding.names())).max().unwrap_or_default();
    let mut lines = vec![Line::styled(format!(" {}", section.title()), theme.title())];
    for binding in bindings {
        let room = width.saturating_sub(keys + 5);
        lines.push(Line::from(vec![
            Span::styled(format!("  {} ", text::left(&binding.names(), keys, theme.charset)), theme.key()),
            Span::raw(text::cut(binding.help, room, theme.charset)),
        ]));
    }
    lines
}
