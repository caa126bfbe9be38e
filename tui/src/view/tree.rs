//! The process tree.

pub(super) mod gantt;
#[cfg(test)]
mod tests;

use super::event_list::{fitted, marked, scrolled, selected};
use super::theme::Theme;
use super::{Piece, aligned, clock, duration, fit, moment, put};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::columns::{TreeColumn as Column, automatic};
use crate::app::views::event_list::row::Cell;
use crate::app::views::tree::{Row, Seen, columns};
use crate::app::views::tree_lines::Branch;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::event::parts::Role;
use tracetui_events::event::process::{Origin, Process};
use tracetui_events::event::{Tables as _, connects};
use tracetui_events::text::{self, Charset, short};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exit::Cost;

/// The cells that a remark leaves to the command, or half of the room.
const COMMAND: usize = 12;

/// The columns of a tree of this width with their cells. The command takes the rest. `differ`: the rows differ in CGROUP.
fn columns_of(width: u16, pid: usize, differ: bool, chosen: Option<&[&str]>) -> Vec<(Column, usize)> {
    let cells = |column: Column| match column {
        Column::Pid | Column::Ppid => pid.max(column.cells()),
        _ => column.cells(),
    };
    let with_cells = |name: &&str| Column::from_name(name).map(|column| (column, cells(column)));
    match chosen {
        Some(chosen) => fit(chosen.iter().filter_map(with_cells), usize::from(width / 2), None).collect(),
        None => {
            let columns = automatic(View::Tree, width);
            columns.iter().filter_map(with_cells).filter(|(column, _)| differ || *column != Column::Cgroup).collect()
        }
    }
}

/// Draws the titles and the rows. Returns the number of columns, without the flexible one.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> usize {
    let tree = &app.views.tree;
    let pid = app.store().widest_pid().to_string().len();
    let visible = || tree.list.rows().iter().enumerate().skip(tree.list.top).take(area.height.into());
    let differ = area.width >= 160 && differ(visible().map(|(_, row)| row), app);
    let columns = columns_of(area.width, pid, differ, app.screen.columns.of(app.views.shown));
    let mut title = String::from(" ");
    for (column, cells) in &columns {
        title.push_str(&aligned(column.title(), *cells, column.is_right(), theme.charset));
        title.push(' ');
    }
    title.push_str("COMMAND");
    put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    for (y, (at, row)) in (area.y..area.bottom()).zip(visible()) {
        let Some(seen) = tree.seen(row) else { continue };
        let line = line(row, &seen, &columns, area.width, app, theme);
        let line = if at == tree.list.cursor() { selected(&line, area.width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if tree.list.rows().is_empty() {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
    columns.len()
}

/// Whether the rows differ in their CGROUP text. A process without an event has no cgroup and does not count.
fn differ<'a>(rows: impl Iterator<Item = &'a Row>, app: &App) -> bool {
    let seen = rows.filter_map(|row| app.views.tree.seen(row));
    let mut cgroups = seen.filter_map(|seen| app.world().cgroup(seen.home.cgroup, seen.process));
    let first = cgroups.next();
    cgroups.any(|cgroup| Some(cgroup) != first)
}

fn empty(app: &App) -> String {
    let (back, failures, idle) = (Action::Back, Action::Failures, Action::Idle);
    match app.views.tree.idle_hidden {
        _ if app.events().scanning(app.store()) => "looking...".to_owned(),
        _ if app.screen.failures.only() && app.loaded().moment().is_some() => {
            format!("no process had failed by that time: {} shows all", app.key_of(failures))
        }
        _ if app.screen.failures.only() => format!("no process failed: {} shows all", app.key_of(failures)),
        _ if app.filter.applied().is_some() => format!("all processes hidden: {} removes a filter", app.key_of(back)),
        0 => "no processes yet".to_owned(),
        _ => format!("no process has events yet: {} shows all", app.key_of(idle)),
    }
}

fn line(row: &Row, seen: &Seen<'_>, columns: &[(Column, usize)], width: u16, app: &App, theme: Theme) -> Line<'static> {
    let found = app.search.pattern().and_then(Pattern::marked);
    // Processes that ended without a failure, and those shown only for their relatives, are quiet.
    let quiet = row.context || seen.end.is_some() && !seen.failed();
    let mut line = Line::from(" ");
    let mut room = usize::from(width).saturating_sub(1);
    for (column, cells) in columns {
        let piece = match column {
            Column::State => state(seen, app, theme),
            column => Piece::plain(text_of(*column, seen, app, theme)),
        };
        let piece = if quiet { Piece { style: theme.quiet(), ..piece } } else { piece };
        let cells = (*cells).max(if *column == Column::State { piece.width() } else { 0 });
        room = room.saturating_sub(cells + 1);
        fitted(vec![piece], cells, column.is_right(), theme).into_iter().for_each(|piece| line.push_span(piece));
        line.push_span(" ");
    }
    let stem = stem(row, seen, room / 2, theme);
    stem.iter().for_each(|piece| line.push_span(piece.clone()));
    room = room.saturating_sub(stem.iter().map(Piece::width).sum());
    let mut cell = Cell::default();
    columns::command(seen, &mut cell);
    let style = |role: Role| if quiet { theme.quiet() } else { theme.part(role) };
    let command = cell.parts().map(|(role, raw)| {
        Piece::new(text::value_in(raw, theme.charset, room), style(role)).of_directories(role == Role::Directory)
    });
    let command: Vec<Piece> = command.collect();
    let mut remarks = remarks(row, seen, (room / 2).max(room.saturating_sub(COMMAND)), app, theme);
    let width_of = |pieces: &[Piece]| pieces.iter().map(|piece| piece.width() + 2).sum::<usize>();
    let whole: usize = command.iter().map(Piece::width).sum();
    // The least important parts are shown only if nothing is cut for them.
    let left = |remarks: &[Piece]| room.saturating_sub(whole + width_of(remarks) + 2);
    remarks.extend(orphan(row, seen, app, theme).filter(|text| text.width() <= left(&remarks)));
    let joined = joined(seen, left(&remarks), app, theme);
    joined.into_iter().for_each(|piece| remarks.insert(0, piece));
    let redirected = text::value_in(app.views.tree.redirected(seen).trim_start().as_bytes(), theme.charset, 4096);
    let rest = left(&remarks);
    if !redirected.is_empty() && text::width(&redirected).min(REDIRECTED) <= rest {
        remarks.insert(0, Piece::new(text::cut_middle(&redirected, rest, theme.charset), theme.quiet()));
    }
    let cells = whole.min(room.saturating_sub(width_of(&remarks)));
    let mut parts = fitted(scrolled(command, cells, 0, theme), cells, false, theme);
    if let Some(pattern) = found.filter(|pattern| pattern.is_match(&cell.raw)) {
        parts = marked(parts, pattern, theme);
    }
    parts.into_iter().for_each(|piece| line.push_span(piece));
    for remark in remarks {
        line.push_span("  ");
        line.push_span(remark);
    }
    line
}

pub(super) fn state(seen: &Seen<'_>, app: &App, theme: Theme) -> Piece {
    let mut cell = Cell::default();
    columns::state(seen, app.without_end(), &mut cell);
    let part =
        cell.parts().next().map(|(role, raw)| Piece::new(text::value_in(raw, theme.charset, 16), theme.part(role)));
    part.unwrap_or_default()
}

fn text_of(column: Column, seen: &Seen<'_>, app: &App, theme: Theme) -> String {
    let process: &Process = seen.process;
    match column {
        Column::Pid => process.key.tgid.0.to_string(),
        Column::Ppid => process.parent.map_or_else(|| "-".to_owned(), |parent| parent.tgid.0.to_string()),
        Column::User => {
            let name = seen.home.user(process.uid, app.world());
            let name = name.map_or_else(|| process.uid.0.to_string(), str::to_owned);
            text::value_in(name.as_bytes(), theme.charset, 8)
        }
        Column::State => String::new(),
        // COMMAND is held before its first exec.
        Column::Started => clock(process.key.start.0.saturating_add(process.held_ns), app.world().clock_offset(), app),
        Column::Lived => duration(app.views.tree.lived(seen)),
        Column::Cpu => match seen.used {
            Some(used) => used.permille.map_or(String::new(), |share| format!("{} %", share / 10)),
            None => used(seen, |cost| duration(cost.runtime)),
        },
        Column::Memory => {
            seen.used.map_or_else(|| used(seen, |cost| text::size(cost.max_rss)), |used| text::size(used.resident))
        }
        Column::Execs => count(|kind| kind == Kind::Exec, seen.counts.execs, app),
        Column::Opens => count(|kind| kind == Kind::Open, seen.counts.opens, app),
        Column::Conns => count(connects, seen.counts.conns, app),
        // An exit that nothing explains counts as one.
        Column::Failed => short(seen.counts.failed.max(seen.failed().into())),
        Column::Cgroup => {
            let path = app.world().cgroup(seen.home.cgroup, process).unwrap_or_default();
            text::cut_middle(&text::value_in(path, theme.charset, 4096), column.cells(), theme.charset)
        }
    }
}

/// What a process used; nothing while it runs, and `-` if unknown.
fn used(seen: &Seen<'_>, write: impl FnOnce(Cost) -> String) -> String {
    seen.end.map_or(String::new(), |end| end.cost.map_or_else(|| "-".to_owned(), write))
}

/// A count, or `-` if no such kind is traced.
fn count(of: impl Fn(Kind) -> bool, number: u64, app: &App) -> String {
    if Kind::PROBED.into_iter().any(|kind| of(kind) && app.is_traced(kind)) { short(number) } else { "-".to_owned() }
}

/// The lines to the ancestors, red if they lead to a failure, and the mark of the row: `v` unfolded, `>` folded, `!` failed.
fn stem(row: &Row, seen: &Seen<'_>, room: usize, theme: Theme) -> Vec<Piece> {
    let failed = seen.failed();
    let red = failed || row.failed_below > 0;
    let style = if red { theme.failure() } else { theme.quiet() };
    let mark = match (row.below, row.folded) {
        (0, _) if failed => "! ",
        (0, _) => "- ",
        (_, true) => "> ",
        (_, false) => "v ",
    };
    let [lines, own] = lines_to(row.branch, room, style, theme);
    vec![lines, own, Piece::new(mark, style)]
}

/// The lines to the ancestors of a row, and the one to the row itself, in this style.
pub(super) fn lines_to(branch: Branch, room: usize, style: Style, theme: Theme) -> [Piece; 2] {
    let (down, tee, corner) = match theme.charset {
        Charset::Utf8 => ("│ ", "├ ", "└ "),
        Charset::Ascii => ("| ", "|-", "`-"),
    };
    let levels = u16::try_from(room / 2).unwrap_or(u16::MAX);
    let first = branch.depth.saturating_sub(levels) + 1;
    let mut lines = String::new();
    if first > 1 {
        lines.push_str(&text::left("..", 1, theme.charset));
    }
    lines.extend((first..branch.depth).map(|level| if branch.continues(level) { down } else { "  " }));
    let own = match branch.depth {
        0 => "",
        depth if branch.continues(depth) => tee,
        _ => corner,
    };
    [Piece::new(lines, theme.quiet()), Piece::new(own, style)]
}

/// The text after the command: the failed call, and the counts of hidden processes below.
fn remarks(row: &Row, seen: &Seen<'_>, room: usize, app: &App, theme: Theme) -> Vec<Piece> {
    let mut remarks = Vec::new();
    if let Some(tried) =
        seen.failure().filter(|failure| seen.failed_exec.is_some_and(|tried| tried.failure.id == failure.id))
    {
        // The command is the program that the process tried to execute.
        let role = if tried.real { Role::Failure } else { Role::Expected };
        remarks.push(Piece::new(tried.err, theme.part(role)));
    } else if let Some(reason) = app.views.tree.reason(seen, app.store()) {
        let role = if reason.real { Role::Failure } else { Role::Expected };
        let words = reason.in_row().map(|words| text::value_in(&words, theme.charset, 4096));
        let fits = words.iter().find(|words| text::width(words) <= room).or(words.last());
        let text = fits.map(|words| text::cut_middle(words, room, theme.charset)).unwrap_or_default();
        remarks.push(Piece::new(text, theme.part(role)));
    }
    if row.folded {
        let failed = if row.failed_below > 0 { format!(", {} failed", row.failed_below) } else { String::new() };
        let style = if row.failed_below > 0 { theme.failure() } else { theme.note() };
        remarks.push(Piece::new(format!("({} hidden{failed})", row.below), style));
    }
    remarks
}

/// The fewest cells for the redirections of a process.
const REDIRECTED: usize = 12;

/// The fewest cells for the next process of a pipeline.
const JOINED: usize = 6;

/// The next process of a pipeline: `┃ tee build.log`.
fn joined(seen: &Seen<'_>, room: usize, app: &App, theme: Theme) -> Option<Piece> {
    let next = app.views.tree.next_in_pipeline(seen).filter(|_| room >= JOINED)?;
    let mut cell = Cell::default();
    columns::command(&next, &mut cell);
    let bar = if theme.charset == Charset::Utf8 { "┃" } else { "|" };
    let text = format!("{bar} {}", text::value_in(&cell.raw, theme.charset, room));
    Some(Piece::new(text::cut(&text, room, theme.charset), theme.quiet()))
}

/// The note that the parent of a process is unknown.
fn orphan(row: &Row, seen: &Seen<'_>, app: &App, theme: Theme) -> Option<Piece> {
    let text = match seen.process.parent.filter(|_| row.branch.depth == 0) {
        Some(parent) if app.world().processes.get(parent).is_none() => format!("(parent {} unknown)", parent.tgid.0),
        None if row.branch.depth == 0 && seen.process.origin == Origin::FirstSeen => "(parent unknown)".to_owned(),
        _ => return None,
    };
    Some(Piece::new(text, theme.quiet()))
}

/// The number of processes, for the filter line: how many run, and how many failed.
pub(super) fn counts(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let tally = app.views.tree.tally;
    let mut pieces = Vec::new();
    pieces.extend(moment(app, width, theme));
    pieces.extend(super::filter_line::failures(app, theme));
    if app.views.tree.left_out() > 0 && width >= 100 {
        pieces.push(Piece::new(format!("{} old processes dropped", short(app.views.tree.left_out())), theme.note()));
    }
    if width >= 60 {
        let word = match (width >= 100, tally.all) {
            (true, 1) => "process",
            (true, _) => "processes",
            (false, 1) => "proc",
            (false, _) => "procs",
        };
        pieces.push(Piece::plain(format!(
            "{} {word}: {} {},",
            short(tally.all.into()),
            short(tally.running.into()),
            app.without_end()
        )));
    }
    let style = if tally.failed > 0 { theme.failure() } else { theme.quiet() };
    pieces.push(Piece::new(format!("{} failed", short(tally.failed.into())), style));
    pieces
}
