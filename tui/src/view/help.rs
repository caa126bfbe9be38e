//! The help overlay: what one can do, the keys of the shown view, and all keys, from the table of keys.

use super::theme::Theme;
use crate::app::App;
use crate::app::keys::keymap::{Action, Section};
use ratatui::text::{Line, Span};
use tracetui_events::text;
use tracetui_shared::kind::Kind;

/// The width from which the keys have two columns.
const TWO_COLUMNS: u16 = 100;

/// What one wants to do, and the keys for it, each with its effect.
const TASKS: [(&str, &[(Action, &str)]); 10] = [
    ("find out why", &[(Action::Failures, "what failed"), (Action::Why, "why"), (Action::Output, "COMMAND's output")]),
    ("follow one process", &[(Action::OnlyPid, "its events"), (Action::OnlyTree, "and its descendants'")]),
    ("see what runs", &[(Action::ShowTree, "process tree"), (Action::Gantt, "there: what waited for what")]),
    ("go back in time", &[(Action::Back10, "10 s"), (Action::GoTo, "to a time"), (Action::Follow, "to now")]),
    ("compare", &[(Action::Diff, "with a recording"), (Action::RunAgain, "run COMMAND again")]),
    ("record", &[(Action::Record, "start and stop; kept events are recorded first")]),
    ("copy the row", &[(Action::CopyLine, "text"), (Action::CopyCommand, "command")]),
    ("who listens", &[(Action::EditFilter, "op=listen")]),
    ("who deleted a file", &[(Action::EditFilter, "op=unlink,rename path~NAME")]),
    ("see what was lost", &[(Action::LossReport, "losses, memory, own cost")]),
];

/// A title, and rows of a name and a text.
type Block = (&'static str, Vec<(String, String)>);

pub(super) fn lines(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let replay = app.replay.is_some();
    let wanted = app.screen.help.to_lowercase();
    let of_view = app.views.shown.section();
    let others =
        Section::ALL.into_iter().filter(|section| *section != of_view && (replay || *section != Section::Replay));
    let keys = std::iter::once(of_view).chain(others).map(|section| (section.title(), rows(app, section)));
    let mut blocks: Vec<Block> = std::iter::once(("Tasks", tasks(app))).chain(keys).collect();
    blocks.push(("Filters", filters(app)));
    if !wanted.is_empty() {
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        blocks.iter_mut().for_each(|(title, rows)| rows.retain(|(name, text)| has(name) || has(text) || has(title)));
        blocks.retain(|(_, rows)| !rows.is_empty());
        if blocks.is_empty() {
            return vec![Line::raw(" No match in keys or help texts.")];
        }
    }
    let whole = usize::from(width);
    if width < TWO_COLUMNS || !wanted.is_empty() {
        return blocks.into_iter().flat_map(|block| block_lines(block, whole, theme)).collect();
    }
    let half = whole / 2;
    let mut lines = block_lines(blocks.remove(0), whole, theme);
    let blocks: Vec<_> = blocks.into_iter().map(|block| block_lines(block, half, theme)).collect();
    let all: usize = blocks.iter().map(Vec::len).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for block in blocks {
        if right.is_empty() && 2 * left.len() + block.len() <= all { left.extend(block) } else { right.extend(block) }
    }
    for at in 0..left.len().max(right.len()) {
        let mut line = left.get(at).cloned().unwrap_or_default();
        line.push_span(" ".repeat(half.saturating_sub(line.width())));
        line.spans.extend(right.get(at).cloned().unwrap_or_default().spans);
        lines.push(line);
    }
    lines
}

fn tasks(app: &App) -> Vec<(String, String)> {
    let text = |keys: &[(Action, &str)]| {
        let keys: Vec<_> = keys.iter().map(|(action, text)| format!("{}: {text}", app.key_of(*action))).collect();
        keys.join("   ")
    };
    TASKS.iter().map(|(task, keys)| ((*task).to_owned(), text(keys))).collect()
}

/// The keys of a section. Those of the kinds share a row.
fn rows(app: &App, section: Section) -> Vec<(String, String)> {
    let (mut rows, mut kinds) = (Vec::new(), (Vec::new(), Vec::new()));
    let is_dead = |action: Action| app.replay.is_some() && action.is_live();
    for binding in app.settings.preferences.keymap.iter().filter(|b| b.section == section && !is_dead(b.action)) {
        let names = if binding.keys.is_empty() { "-".to_owned() } else { binding.names() };
        match binding.action {
            Action::Toggle(kind) => {
                kinds.0.push(names);
                kinds.1.push(Kind::name(kind));
            }
            action => rows.push((names, action.about())),
        }
    }
    if !kinds.0.is_empty() {
        rows.push((kinds.0.join(" "), format!("show or hide a kind: {}", kinds.1.join(" "))));
    }
    rows
}

fn filters(app: &App) -> Vec<(String, String)> {
    let fields =
        "kind pid ppid tree comm path arg uid cgroup err dur prog, with = != ~ !~ < >; a bare word searches all";
    [
        (app.key_of(Action::EditFilter), fields),
        ("e.g.".to_owned(), "comm=cc1 path~\\.h$   err uid=1000   not comm=bash"),
    ]
    .map(|(name, text)| (name, text.to_owned()))
    .into()
}

fn block_lines((title, rows): Block, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let cells = rows.iter().map(|(name, _)| text::width(name)).max().unwrap_or_default();
    // As a span, because the style of a line would also apply to the text beside it.
    let mut lines = vec![Line::from(Span::styled(format!(" {title}"), theme.strong()))];
    for (name, text) in rows {
        for (at, part) in text::wrap(&text, width.saturating_sub(cells + 5)).into_iter().enumerate() {
            let name = if at == 0 { name.as_str() } else { "" };
            let name = Span::styled(format!("  {}  ", text::left(name, cells, theme.charset)), theme.note());
            lines.push(Line::from(vec![name, Span::raw(part)]));
        }
    }
    lines
}
