//! The process tree.

pub(super) mod gantt;
#[cfg(test)]
mod tests;

use super::event_list::{fitted, marked, scrolled, selected};
use super::theme::Theme;
use super::{Piece, aligned, duration, fit, moment, put};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::columns::{TreeColumn as Column, automatic};
use crate::app::views::event_list::row::Cell;
use crate::app::views::tree::ended::Programs;
use crate::app::views::tree::{Row, Seen, Shows, columns};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use tracetui_events::event::parts::Role;
use tracetui_events::event::process::Origin;
use tracetui_events::event::{Takes, taking};
use tracetui_events::text::{self, short};
use tracetui_shared::record::exit::Cost;

/// The cells that a remark leaves to the command, or half of the room.
const COMMAND: usize = 12;

/// The fewest cells for the programs of folded descendants, redirections and the next process of a pipeline.
const BESIDE: usize = 6;

/// The columns of a tree of this width with their cells. The command takes the rest.
fn columns_of(width: u16, pid: usize, chosen: Option<&[&str]>) -> Vec<(Column, usize)> {
    let cells = |column: Column| match column {
        Column::Pid => pid.max(column.cells()),
        _ => column.cells(),
    };
    let with_cells = |name: &&str| Column::from_name(name).map(|column| (column, cells(column)));
    match chosen {
        Some(chosen) => fit(chosen.iter().filter_map(with_cells), usize::from(width / 2), None).collect(),
        None => automatic(View::Tree, width).iter().filter_map(with_cells).collect(),
    }
}

/// Draws the titles and the rows. Returns the names of the columns.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> Vec<&'static str> {
    let tree = &app.views.tree;
    let pid = app.store().widest_pid().to_string().len();
    let visible = || tree.list.rows.iter().enumerate().skip(tree.list.top).take(area.height.into());
    let columns = columns_of(area.width, pid, app.screen.columns.of(app.views.shown));
    let mut title = String::from(" ");
    for (column, cells) in &columns {
        title.push_str(&aligned(column.title(), *cells, column.is_right(), theme.charset));
        title.push(' ');
    }
    title.push_str("COMMAND");
    put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    for (y, (at, row)) in (area.y..area.bottom()).zip(visible()) {
        let Some(seen) = tree.seen(row) else { continue };
        let line = match row.shows {
            Shows::Process => line(row, &seen, &columns, area.width, app, theme),
            Shows::Ancestors | Shows::Ended => summary(row, &columns, area.width, app, theme),
        };
        let line = if at == tree.list.at { selected(&line, area.width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if tree.list.rows.is_empty() {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
    columns.iter().map(|(column, _)| column.name()).collect()
}

fn empty(app: &App) -> String {
    let (back, failures, idle) = (Action::Back, Action::Failures, Action::Idle);
    match app.views.tree.idle_hidden {
        _ if app.events().scanning(app.store()) => "looking...".to_owned(),
        _ if app.screen.failures.only() => format!("no process failed: {} shows all", app.key_of(failures)),
        _ if app.filter.applied.is_some() => format!("all processes hidden: {} removes a filter", app.key_of(back)),
        0 => "no processes yet".to_owned(),
        _ => format!("no process has events yet: {} shows all", app.key_of(idle)),
    }
}

fn line(row: &Row, seen: &Seen<'_>, columns: &[(Column, usize)], width: u16, app: &App, theme: Theme) -> Line<'static> {
    let found = app.search.pattern.as_ref().and_then(Pattern::marked);
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
    let stem = stem(row, seen.failed(), room / 2, theme);
    room = room.saturating_sub(stem.width());
    line.push_span(stem);
    let mut cell = Cell::default();
    columns::command(seen, &mut cell);
    let part = |(role, raw): (Role, &[u8])| Piece::of_part(text::value_in(raw, theme.charset, room), role, theme);
    let mut command: Vec<Piece> = cell.parts().map(part).collect();
    command.iter_mut().filter(|_| quiet).for_each(|part| part.style = theme.quiet());
    let mut remarks = remarks(row, seen, (room / 2).max(room.saturating_sub(COMMAND)), app, theme);
    let width_of = |pieces: &[Piece]| pieces.iter().map(|piece| piece.width() + 2).sum::<usize>();
    let whole: usize = command.iter().map(Piece::width).sum();
    // The least important parts are shown only if nothing is cut for them.
    let left = |remarks: &[Piece]| room.saturating_sub(whole + width_of(remarks) + 2);
    let below = if row.folded { below(row, app, theme) } else { String::new() };
    let (redirected, next) = columns::joined(&app.views.tree, seen, app.store());
    let mut joined = text::escape_in(redirected.trim().as_bytes(), theme.charset, 4096);
    if !next.is_empty() {
        joined += theme.pipe();
        joined += &text::value_in(&next, theme.charset, 4096);
    }
    let (beside, rest) = (format!("{below}  {joined}"), left(&remarks));
    if !beside.trim().is_empty() && text::width(beside.trim()).min(BESIDE) <= rest {
        remarks.insert(0, Piece::new(text::cut(beside.trim(), rest, theme.charset), theme.quiet()));
    }
    remarks.extend(orphan(row, seen, app, theme).filter(|text| text.width() <= left(&remarks)));
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
    match column {
        Column::Pid => seen.process.key.tgid.0.to_string(),
        Column::State => String::new(),
        Column::Lived => duration(app.views.tree.lived(seen)),
        Column::Cpu => match seen.used {
            Some(used) => used.permille.map_or_else(|| "-".to_owned(), |share| format!("{} %", share / 10)),
            None => used(seen, |cost| duration(cost.runtime)),
        },
        Column::Memory => {
            seen.used.map_or_else(|| used(seen, |cost| text::size(cost.max_rss)), |used| text::size(used.resident))
        }
        Column::Opens => opens(seen.counts.opens, app, theme),
    }
}

/// What a process used in all; `-` if it runs, or that is unknown.
fn used(seen: &Seen<'_>, write: impl FnOnce(Cost) -> String) -> String {
    seen.cost().map_or_else(|| "-".to_owned(), write)
}

/// A number of opens, or `-` if they are not traced.
fn opens(number: u64, app: &App, theme: Theme) -> String {
    match number {
        _ if !app.is_traced(taking(Takes::Contents)) => "-".to_owned(),
        0 => theme.dot().to_owned(),
        number => short(number),
    }
}

/// The row of ancestors, or of processes that ended without a failure.
fn summary(row: &Row, columns: &[(Column, usize)], width: u16, app: &App, theme: Theme) -> Line<'static> {
    let tree = &app.views.tree;
    let ended = (row.shows == Shows::Ended).then(|| tree.ended(row));
    let mut line = Line::from(" ");
    let mut room = usize::from(width).saturating_sub(1);
    for (column, cells) in columns {
        let text = match (column, &ended) {
            (Column::State, Some(ended)) => ended.state.to_owned(),
            (Column::Cpu, Some(ended)) => ended.cpu.map_or_else(|| "-".to_owned(), duration),
            (Column::Opens, Some(ended)) => opens(ended.opens, app, theme),
            _ => String::new(),
        };
        room = room.saturating_sub(cells + 1);
        line.push_span(Piece::new(aligned(&text, *cells, column.is_right(), theme.charset) + " ", theme.quiet()));
    }
    let (text, remark) = match ended {
        Some(ended) => {
            let slowest = ended.slowest.map_or_else(String::new, |(name, ns)| {
                format!("slowest {} {}", text::value_in(&name, theme.charset, room), duration(ns))
            });
            let stem = stem(row, false, room / 2, theme).text;
            (format!("{stem}{}{}", names(&ended.programs, theme), below(row, app, theme)), slowest)
        }
        None => {
            let line = tree.ancestors(row);
            let key = app.key_of(Action::Fold);
            let number = text::counted(line.len() as u64, ["ancestor", "ancestors"]);
            let names = line.iter().map(|seen| text::value_in(seen.process.name(), theme.charset, room));
            (names.collect::<Vec<_>>().join(theme.arrow()), format!("{number}, {key} shows"))
        }
    };
    let fits = !remark.is_empty() && text::width(&text) + text::width(&remark) + 3 <= room;
    let remark = if fits { format!("   {remark}") } else { String::new() };
    let text = text::cut_middle(&text, room - text::width(&remark), theme.charset);
    line.push_span(Piece::new(text + &remark, theme.quiet()));
    line
}

/// The most programs that a row names.
const NAMED: usize = 3;

/// `32 × gcc, sh`.
fn names(programs: &Programs<'_>, theme: Theme) -> String {
    let name = |(name, count): &(&[u8], usize)| {
        let name = text::value_in(name, theme.charset, 32);
        if *count > 1 { format!("{} {} {name}", short(*count as u64), theme.times()) } else { name }
    };
    let more = if programs.len() > NAMED { format!(" {}", theme.cut_sign()) } else { String::new() };
    programs.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ") + &more
}

/// The programs of the folded descendants: ` › cc1, as`.
fn below(row: &Row, app: &App, theme: Theme) -> String {
    let programs = app.views.tree.folded(row).into_iter().map(|(name, _)| (name, 1)).collect::<Programs<'_>>();
    if programs.is_empty() { String::new() } else { format!("{}{}", theme.arrow(), names(&programs, theme)) }
}

/// The room to the left of a command, and its mark: unfolded, folded, or failed; red if it leads to a failure.
fn stem(row: &Row, failed: bool, room: usize, theme: Theme) -> Piece {
    let style = if failed || row.failed_below > 0 { theme.failure() } else { theme.quiet() };
    let mark = match (row.below, row.folded) {
        (0, _) if failed => "!",
        (0, _) if row.shows == Shows::Process => " ",
        (0, _) | (_, true) => theme.folded(),
        (_, false) => theme.unfolded(),
    };
    Piece::new(format!("{}{mark} ", indent(row.depth, room, theme)), style)
}

/// The room to the left of a row at a depth.
pub(super) fn indent(depth: u16, room: usize, theme: Theme) -> String {
    match 2 * usize::from(depth) {
        cells if cells <= room => " ".repeat(cells),
        _ => text::left(theme.cut_sign(), room, theme.charset),
    }
}

/// The text after the command: the failed call, and the counts of hidden processes below.
fn remarks(row: &Row, seen: &Seen<'_>, room: usize, app: &App, theme: Theme) -> Vec<Piece> {
    let mut remarks = Vec::new();
    if let Some((words, real)) = app.views.tree.remark(seen, app.store()) {
        let role = if real { Role::Failure } else { Role::Expected };
        let words = words.map(|words| text::value_in(&words, theme.charset, 4096));
        let fits = words.iter().find(|words| text::width(words) <= room).or(words.last());
        let text = fits.map(|words| text::cut_middle(words, room, theme.charset)).unwrap_or_default();
        remarks.push(Piece::new(text, theme.part(role)));
    }
    if row.folded {
        let failed = u64::from(row.failed_below);
        remarks.extend((failed > 0).then(|| Piece::new(format!("{} failed", short(failed)), theme.failure())));
    }
    remarks
}

/// The note that the parent of a process is unknown.
fn orphan(row: &Row, seen: &Seen<'_>, app: &App, theme: Theme) -> Option<Piece> {
    let text = match seen.process.parent.filter(|_| row.depth == 0) {
        Some(parent) if app.world().processes.get(parent).is_none() => format!("(parent {} unknown)", parent.tgid.0),
        None if row.depth == 0 && seen.process.origin == Origin::FirstSeen => "(parent unknown)".to_owned(),
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
    if app.views.tree.nodes.left_out > 0 && width >= 100 {
        pieces
            .push(Piece::new(format!("{} old processes dropped", short(app.views.tree.nodes.left_out)), theme.note()));
    }
    let (failed, running) = (u64::from(tally.failed), u64::from(tally.running));
    let style = if failed > 0 { theme.failure() } else { theme.quiet() };
    let failed_now = Piece::new(format!("{} failed", short(failed)), style);
    if width < 60 {
        pieces.push(failed_now);
        return pieces;
    }
    let ended = u64::from(tally.all).saturating_sub(failed + running);
    let others = [(running, app.without_end()), (ended, "ended")].map(|(n, word)| format!("{} {word}", short(n)));
    let [running, ended] = others.map(Piece::plain);
    pieces.extend([running, failed_now, ended]);
    pieces
}
