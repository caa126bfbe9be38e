//! The help overlay, derived from the table of keys.

use super::theme::Theme;
use crate::app::App;
use crate::app::keys::keymap::{Action, Section};
use crate::app::views::View;
use ratatui::text::{Line, Span};
use tracetui_events::text;

/// The width from which the help has two columns.
const TWO_COLUMNS: u16 = 70;

pub(super) fn lines(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let (keymap, replay) = (&app.settings.preferences.keymap, app.replay.is_some());
    let wanted = app.screen.help.to_lowercase();
    if !wanted.is_empty() {
        return found(app, &wanted, width, theme);
    }
    // The other view's keys have no effect in this one.
    let of_view = match app.views.shown {
        View::Events => Section::Detail,
        View::Tree => Section::Tree,
        View::Top => Section::Top,
        View::Bpf => Section::Bpf,
        View::Diff => Section::Diff,
    };
    let (left, right): (&[Section], &[Section]) = match (width >= TWO_COLUMNS, replay) {
        (true, true) => (
            &[Section::Replay, Section::Move, Section::Find],
            &[Section::View, Section::Selected, Section::Filter, of_view],
        ),
        (true, false) => {
            (&[Section::Move, Section::Filter, Section::Find], &[Section::View, Section::Selected, of_view])
        }
        (false, true) => (&[OF_REPLAY, &[of_view]].concat(), &[]),
        (false, false) => (&[&OF_REPLAY[1..], &[of_view]].concat(), &[]),
    };
    let half = if right.is_empty() { usize::from(width) } else { usize::from(width) * 21 / 40 };
    let mut lines = Vec::new();
    if replay {
        let legend = super::replay::legend(app);
        let legend = legend.iter().flat_map(|line| text::wrap(line, usize::from(width).saturating_sub(1)));
        lines.extend(legend.map(|line| Line::raw(format!(" {line}"))));
    }
    let column = |sections: &[Section], width| -> Vec<Line<'static>> {
        let lines = |section: &Section| section_lines(*section, keymap.rows(*section, replay), width, theme);
        sections.iter().flat_map(lines).collect()
    };
    let (left, right) = (column(left, half), column(right, usize::from(width) - half));
    for at in 0..left.len().max(right.len()) {
        let mut line = left.get(at).cloned().unwrap_or_default();
        let fill = half.saturating_sub(line.width());
        line.push_span(" ".repeat(fill));
        line.spans.extend(right.get(at).cloned().unwrap_or_default().spans);
        lines.push(line);
    }
    lines.extend(language(app).map(Line::raw));
    lines
}

/// The sections of a replay in one column. Those that only a replay has come first.
const OF_REPLAY: &[Section] =
    &[Section::Replay, Section::Move, Section::Find, Section::Filter, Section::Selected, Section::View];

fn language(app: &App) -> [String; 3] {
    [
        " Terms   kind pid ppid tree comm path arg uid cgroup err dur prog  = != ~ !~ < >".to_owned(),
        " e.g.    comm=cc1 path~\\.h$    err uid=1000    (pid=7 or tree=9) not comm=bash".to_owned(),
        format!(
            "         a bare word searches all columns       LOST: lost events, see {}",
            app.key_of(Action::LossReport)
        ),
    ]
}

/// The rows and the lines on filters that contain the text, in one column.
fn found(app: &App, wanted: &str, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let (keymap, replay) = (&app.settings.preferences.keymap, app.replay.is_some());
    let has = |text: &str| text.to_lowercase().contains(wanted);
    let mut lines = Vec::new();
    // Includes the rows of other views, under their titles.
    for section in Section::ALL.into_iter().filter(|section| replay || *section != Section::Replay) {
        let mut rows = keymap.rows(section, replay);
        rows.retain(|(keys, help)| has(keys) || has(help) || has(section.title()));
        if !rows.is_empty() {
            lines.extend(section_lines(section, rows, width.into(), theme));
        }
    }
    lines.extend(language(app).into_iter().filter(|line| has(line)).map(Line::raw));
    if lines.is_empty() {
        lines.push(Line::raw(" No match in keys or help texts."));
    }
    lines
}

fn section_lines(section: Section, rows: Vec<(String, &str)>, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let keys = rows.iter().map(|(keys, _)| text::width(keys)).max().unwrap_or_default();
    // As a span, because the style of a line would also apply to the text beside it.
    let mut lines = vec![Line::from(Span::styled(format!(" {}", section.title()), theme.strong()))];
    for (names, help) in rows {
        let room = width.saturating_sub(keys + 4);
        for (at, part) in text::wrap(help, room).into_iter().enumerate() {
            let names = if at == 0 { names.as_str() } else { "" };
            let names = Span::styled(format!("  {} ", text::left(names, keys, theme.charset)), theme.note());
            lines.push(Line::from(vec![names, Span::raw(part)]));
        }
    }
    lines
}
