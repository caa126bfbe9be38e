//! The event list.

use super::theme::Theme;
use super::{Piece, aligned, duration, fit, gap, put};
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::columns::automatic;
use crate::app::views::event_list::Alike;
use crate::app::views::event_list::row::{Cell, Column, TimeBase, TimeMode, field, time_text};
use crate::app::views::tree::{Counts, Seen};
use crate::app::{App, Extent, Failures};
use foldhash::HashSet;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use regex::bytes::Regex;
use std::ops::Range;
use std::sync::Arc;
use tracetui_events::event::exit::{Ended, Exit};
use tracetui_events::event::parts::{Parts as _, Role};
use tracetui_events::event::{EventContext, look};
use tracetui_events::store::Id;
use tracetui_events::text::paint::Look;
use tracetui_events::text::{self, Charset, counted, grouped, short};
use tracetui_shared::kind::{Kind, KindSet};

/// The columns with their widths in cells. DETAIL takes the rest.
type Widths = Vec<(Column, usize)>;

/// The minimum width of RESULT. A longer result moves DETAIL to the right, so that the result is never cut.
const RESULT: usize = 7;

/// The cells of the first five columns at a width of 80, without the process id.
const FIRST: usize = 37;

/// The columns of a list of this width, in their order, with their cells. The columns other than DETAIL have at most `room`. Those at the
/// end that do not fit are omitted. `pid`: the number of digits of the longest process id.
fn columns(width: u16, room: usize, pid: usize, columns: &[&str]) -> Widths {
    let columns = columns.iter().filter_map(|name| Column::from_name(name));
    let width = usize::from(width);
    let least = |column: Column| match column {
        Column::Time if width < 60 => 6,
        Column::Time if width >= 80 => 12,
        Column::Pid | Column::Ppid => pid.max(5),
        _ => column.cells(),
    };
    let columns: Vec<_> = columns.map(|column| (column, least(column))).collect();
    // The last column needs no space after it.
    let last = columns.last().is_some_and(|(column, _)| *column == Column::Detail);
    let after = 1 + usize::from(!last);
    let room = room.saturating_sub(after);
    let mut columns: Widths = fit(columns.into_iter(), room, Some(Column::Detail)).collect();
    let others = |columns: &Widths| columns.iter().filter(|(_, cells)| *cells > 0).map(|(_, cells)| cells + 1).sum();
    let used: usize = others(&columns);
    grown(&mut columns, (width / 2).saturating_sub(after + used));
    let used: usize = others(&columns);
    // The space before the first column, and the second space after DETAIL.
    let rest = width.saturating_sub(used + after);
    columns.iter_mut().filter(|(column, _)| *column == Column::Detail).for_each(|(_, cells)| *cells = rest);
    columns
}

/// Gives COMM, then the time, then RESULT the cells that it can use.
fn grown(columns: &mut Widths, mut room: usize) {
    for (grows, most) in [(Column::Comm, 15_usize), (Column::Time, 12), (Column::Result, 10)] {
        for (_, cells) in columns.iter_mut().filter(|(column, _)| *column == grows) {
            let more = most.saturating_sub(*cells).min(room);
            // The time begins with the hours, the minutes or the seconds.
            let more = if grows == Column::Time { more / 3 * 3 } else { more };
            (*cells, room) = (*cells + more, room - more);
        }
    }
}

/// Draws the titles and the rows. Returns the names of the columns.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    titles: Rect,
    area: Rect,
    app: &App,
    theme: Theme,
    extent: &mut Extent,
) -> Vec<&'static str> {
    // A blank precedes the border of what is beside the list.
    let area = Rect { width: area.width.saturating_sub(u16::from(area.right() < frame.area().right())), ..area };
    let height = usize::from(area.height);
    let rows = app.events().screen(height);
    extent.first = app.events().row(rows.start);
    let cursor = app.events().cursor();
    let pid = app.store().widest_pid().to_string().len();
    let columns = match app.screen.columns.of(app.views.shown) {
        Some(chosen) => columns(area.width, usize::from(area.width / 2), pid, chosen),
        None => {
            let mut names = automatic(View::Events, area.width);
            names.retain(|name| differ(app, name, rows.clone()));
            let least = (FIRST + pid.max(5)).min(usize::from(area.width) / 3 * 2);
            columns(area.width, least.max(usize::from(area.width / 2)), pid, &names)
        }
    };
    put(frame, titles, Line::styled(title_line(&columns, app, theme), theme.quiet()));
    for (y, at) in (area.y..area.bottom()).zip(rows) {
        let Some(line) = row_line(at, &columns, area.width, app, theme) else { break };
        let line = match cursor == Some(at) {
            // Nobody chose the newest row.
            true if app.events().follows => chosen(line),
            true => selected(&line, area.width, theme),
            false => line,
        };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if app.events().rows() == 0 {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
    columns.iter().map(|(column, _)| column.name()).collect()
}

/// Whether the rows differ in a column. Only CWD and CGROUP are left out if they do not. An unknown value does not count as a difference.
fn differ(app: &App, column: &str, rows: Range<usize>) -> bool {
    let Some(column @ (Column::Cwd | Column::Cgroup)) = Column::from_name(column) else { return true };
    let events = rows.filter_map(|at| app.store().get(app.events().row(at)?));
    let values = events.filter(|stored| stored.kind != Kind::Lost).filter_map(|stored| {
        let mut text = Vec::new();
        stored.with(app.world(), |event| column.write(event, &mut text));
        Some(text).filter(|text| !text.is_empty())
    });
    values.collect::<HashSet<_>>().len() > 1
}

fn empty(app: &App) -> String {
    let key = |action| app.key_of(action);
    let filtered = app.filter.applied.is_some();
    let failures = app.screen.failures.only();
    match app.store().events() {
        _ if app.events().scanning(app.store()) => "looking...".to_owned(),
        0 => "no events yet".to_owned(),
        kept if app.is_calm() && !filtered && !failures && !app.events().paused() => {
            let quiet = counted(kept, ["quiet event", "quiet events"]);
            format!("{quiet}: {} lists them", key(Action::Toggle(Kind::HUSHED)))
        }
        _ if app.events().paused() && !filtered && !failures => {
            format!("all paused rows were evicted: {} resumes", key(Action::Pause))
        }
        _ if !filtered && !failures && KindSet::BY_DEFAULT.iter().all(|kind| app.screen.kinds.contains(kind)) => {
            format!("no events of these kinds in memory, {} evicted", grouped(app.store().evicted()))
        }
        _ => {
            let kinds: Vec<_> = KindSet::BY_DEFAULT.iter().map(|kind| key(Action::Toggle(kind))).collect();
            let filter = filtered.then(|| format!("{} removes a filter", key(Action::Back)));
            let failures = match app.screen.failures {
                Failures::Off => None,
                Failures::Unanswered => Some("shows all failures"),
                Failures::All => Some("shows all events"),
            };
            let failures = failures.map(|shows| format!("{} {shows}", key(Action::Failures)));
            let rest = [format!("{} toggle kinds", kinds.join(" ")), format!("{} resets", key(Action::Reset))];
            let all: Vec<_> = filter.into_iter().chain(failures).chain(rest).collect();
            format!("all events hidden: {}", all.join(", "))
        }
    }
}

fn title_line(columns: &Widths, app: &App, theme: Theme) -> String {
    let mut line = String::from(" ");
    for (column, cells) in columns {
        let title = match (column, app.screen.time) {
            (Column::Time, TimeMode::SinceStart) => "SINCE",
            (Column::Time, TimeMode::Delta) => "DELTA",
            _ => column.title(),
        };
        line.push_str(&aligned(title, *cells, column.is_right(), theme.charset));
        line.push_str(if *column == Column::Detail { "  " } else { " " });
    }
    line
}

/// The line with the sign of the selected row in its first cell.
fn chosen<'a>(mut line: Line<'a>) -> Line<'a> {
    let rest = |text: &str| text.get(text.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default().to_owned();
    line.spans.first_mut().into_iter().for_each(|span| span.content = format!(">{}", rest(&span.content)).into());
    line
}

/// The selected row, reversed over the whole width. Bold, dim and most colours would be unreadable there. That of a failure stays.
pub(super) fn selected(line: &Line<'_>, width: u16, theme: Theme) -> Line<'static> {
    let failures = [Role::Expected, Role::Failure].map(|role| theme.part(role));
    let colour = |style: &Style| style.fg.filter(|_| failures.contains(style));
    let piece = |span: &Span<'_>| {
        Piece::new(span.content.as_ref(), Style { fg: colour(&span.style).or(theme.selected().fg), ..theme.selected() })
    };
    let mut pieces: Vec<Piece> = chosen(line.clone()).spans.iter().map(piece).collect();
    let end = pieces.iter().rposition(|piece| !piece.text.trim_end().is_empty()).map_or(0, |last| last + 1);
    pieces.truncate(end);
    pieces.last_mut().into_iter().for_each(|piece| piece.text.truncate(piece.text.trim_end().len()));
    Line::from_iter(fitted(pieces, width.into(), false, theme)).style(theme.selected())
}

fn row_line(at: usize, columns: &Widths, width: u16, app: &App, theme: Theme) -> Option<Line<'static>> {
    let id = app.events().row(at)?;
    let stored = app.store().get(id)?;
    let base = TimeBase::of(app, at);
    stored.with(app.world(), |seen| match seen.event.kind() {
        Kind::Lost => gap::line(seen, &base, width.into(), app, theme),
        _ => event_line(seen, (id, stored.answered), columns, &base, app, theme),
    })
}

fn event_line(
    seen: &EventContext<'_>,
    (id, answered): (Id, bool),
    columns: &Widths,
    base: &TimeBase,
    app: &App,
    theme: Theme,
) -> Line<'static> {
    let mark = app.time.mark_at(seen.event.header.time.0);
    let mut line = Line::from(mark.map_or(Span::raw(" "), |mark| Span::styled(mark.to_string(), theme.note())));
    let job = seen.process.and_then(|process| app.views.tree.process(process.key));
    let job = job.filter(|job| job.exec == Some(id) && job.work.is_some());
    let found_in = app.found_in_hidden(id).map(|dir| text::value_in(&dir, theme.charset, 256));
    let remarks = match app.events().remarks(id, found_in.as_deref()) {
        remarks if remarks.is_empty() && job.is_some() => job.iter().flat_map(|job| work(job, app, theme)).collect(),
        remarks if remarks.is_empty() => {
            let detail = columns.iter().find(|(column, _)| *column == Column::Detail).map_or(0, |(_, cells)| *cells);
            quiet(seen, id, detail, app, theme)
        }
        remarks => remarks,
    };
    let group = app.events().group(id);
    // An exec without a row that counts its exit.
    let failed = ended_badly(seen, app);
    let exit = failed.as_ref().filter(|_| group.is_some() && job.is_none());
    let watch = app.watches.of(seen);
    let notes = [
        job.filter(|_| group.is_some()).map(|job| work(&job, app, theme)),
        exit.map(|(code, _)| vec![format!("exit {code}")]),
        watch.map(|watch| vec![format!("[{}]", watch.name(theme.charset))]),
    ];
    let remarks = notes.into_iter().flatten().fold(remarks, with_notes);
    let failed = failed.is_some();
    let routine = answered && seen.event.body.exit().is_some();
    let look = look(seen.event.kind());
    let quiet = look == Look::Quiet || found_in.is_some();
    let found = app.search.pattern.as_ref().and_then(Pattern::marked);
    let result = columns.iter().find(|(column, _)| *column == Column::Result);
    let longer = result.map_or(0, |(column, cells)| {
        let cell = cell(*column, seen, columns);
        let pieces = cell.parts().map(|(role, raw)| piece(*column, role, raw, *cells, app, theme));
        pieces.map(|piece| piece.width()).sum::<usize>().saturating_sub(*cells)
    });
    for (column, cells) in columns {
        let cell = match group.filter(|group| group.alike == Alike::Changed && *column == Column::Detail) {
            Some(group) => changed(seen, group.op),
            None => cell(*column, seen, columns),
        };
        let state = job.filter(|job| *column == Column::Result && job.end.is_none());
        let mut parts: Vec<Piece> = match column {
            _ if state.is_some() => vec![Piece::new(app.without_end(), theme.part(Role::Note))],
            Column::Time => time(*cells, seen, base, theme),
            _ => cell.parts().map(|(role, raw)| piece(*column, role, raw, *cells, app, theme)).collect(),
        };
        if let Some(job) = job.filter(|_| *column == Column::Detail) {
            let used = parts.iter().map(Piece::width).sum::<usize>() + longer;
            // A shorter count leaves room.
            let count = remarks.get(1).map_or(0, |remark| text::width(remark) + 2);
            parts.extend(works_now(&job, cells.saturating_sub(used + count), app, theme));
        }
        if *column == Column::Detail {
            // The time may be cut.
            let at = parts.len().saturating_sub(1);
            let used: usize = parts.iter().take(at).map(Piece::width).sum();
            let room = cells.saturating_sub(used + longer);
            if let Some(cause) = cause_of_exit(seen, room, app, theme) {
                // The arguments give way to the cause.
                if let Some(arguments) = cell.name.and_then(|name| parts.get_mut(name + 1)) {
                    let left = (arguments.width() + room).saturating_sub(cause.width());
                    arguments.text = text::cut(&arguments.text, left.max(2), theme.charset);
                }
                parts.insert(at, cause);
            }
        }
        let style = match column {
            _ if seen.event.body.is_alarm() => Some(theme.loss()),
            Column::Result | Column::Detail if found_in.is_some() || routine => Some(theme.quiet()),
            Column::Kind => Some(theme.kind(seen.event.kind())),
            // Dim text vanishes on some light backgrounds: what names the process stays readable.
            Column::Ppid | Column::User if quiet => Some(theme.quiet()),
            Column::Comm if look == Look::Good => Some(theme.strong()),
            _ => None,
        };
        style.into_iter().for_each(|style| parts.iter_mut().for_each(|part| part.style = style));
        let room = match column {
            Column::Result => cells + longer,
            Column::Detail => cells.saturating_sub(longer),
            _ => *cells,
        };
        // The remark on folded rows is never cut, and the name beside it stays visible.
        let remark = match column {
            Column::Detail => {
                let yields = job.is_some_and(|job| job.end.is_none()) || remarks.last().is_some_and(String::is_empty);
                beside(&parts, cell.name, &remarks, room, yields, theme)
            }
            _ => "",
        };
        let folded = !remark.is_empty();
        let own = if folded { room.saturating_sub(text::width(remark) + 2) } else { room };
        if *column == Column::Detail {
            // What precedes the name gives way to it.
            for at in (0..cell.name.filter(|_| folded && app.events().sideways == 0).unwrap_or(0)).rev() {
                if parts.iter().map(|part| least(part, theme)).sum::<usize>() > own {
                    parts[at].text.clear();
                }
            }
            parts = scrolled(parts, own, app.events().sideways, theme);
        }
        let mut parts = fitted(parts, own, column.is_right(), theme);
        if let Some(pattern) = found.filter(|pattern| !cell.raw.is_empty() && pattern.is_match(&cell.raw)) {
            parts = marked(parts, pattern, theme);
        }
        if folded {
            parts.push(Piece::plain(" ".repeat(2.min(room.saturating_sub(text::width(remark))))));
            // Counts are dim. That a program failed is not.
            parts.push(Piece::new(remark, theme.part(if failed { Role::Plain } else { Role::Quiet })));
            parts = fitted(parts, room, false, theme);
        }
        parts.into_iter().for_each(|part| line.push_span(part));
        line.push_span(if *column == Column::Detail { "  " } else { " " });
    }
    line
}

/// The remarks with one of these notes, longest first.
fn with_notes(remarks: Vec<String>, notes: Vec<String>) -> Vec<String> {
    let joined = remarks
        .iter()
        .filter(|remark| !remark.is_empty())
        .flat_map(|remark| notes.iter().map(move |note| format!("{remark}, {note}")));
    joined.chain(notes.iter().cloned()).chain(remarks.iter().cloned()).collect()
}

/// The texts beside a row about the quiet events of its process, longest first.
fn quiet(seen: &EventContext<'_>, id: Id, detail: usize, app: &App, theme: Theme) -> Vec<String> {
    let opens = |opens: u64| (opens > 0).then(|| counted(opens, ["open", "opens"]));
    if seen.event.body.exit().is_some() {
        // The row of an exit has the opens of the process, if there is room.
        let process = seen.process.and_then(|process| app.views.tree.process(process.key));
        let slowest = process.and_then(|process| process.work?.slowest.as_ref()).filter(|_| !seen.event.failed());
        if let Some((command, ns)) = slowest {
            let command = text::value_in(command, theme.charset, 40);
            return vec![format!("slowest {command} {}", duration(*ns)), String::new()];
        }
        let counts = process.map_or(Counts::default(), |process| process.counts);
        let failed = (counts.failed > 0).then(|| format!(", {} failed", short(counts.failed)));
        let all = opens(counts.opens).map(|opens| [format!("{opens}{}", failed.unwrap_or_default()), opens]);
        return all.into_iter().flatten().chain([String::new()]).collect();
    }
    let quiet = seen.process.and_then(|process| app.events().quiet(id, process.key)).unwrap_or_default();
    let opens = opens(quiet.opens);
    let exit = quiet.exit.and_then(|exit| app.store().get(exit)?.with(app.world(), ended)).flatten();
    let Some((code, ran)) = exit.or_else(|| ended_badly(seen, app)) else { return opens.into_iter().collect() };
    let whole = opens.as_ref().map_or(ran.clone(), |opens| format!("{opens}  {ran}"));
    let mut texts: Vec<String> = match code == "0" {
        true => [Some(whole), Some(ran)].into_iter().flatten().collect(),
        // That it failed is the last that goes.
        false => vec![format!("exit {code}  {whole}"), format!("exit {code}  {ran}"), format!("exit {code}")],
    };
    // The row's own text has most of the room.
    let fits = texts.iter().position(|text| text.len() <= detail / 3).unwrap_or(texts.len() - 1);
    texts.split_off(fits)
}

/// What a job did, longest first: `exit 2  81 execs · 9.1k opens · 30 changed · 1 failed  14 s`.
fn work(job: &Seen<'_>, app: &App, theme: Theme) -> Vec<String> {
    let Some(work) = job.work else { return Vec::new() };
    let counts = job.counts.and(work.counts);
    let dot = format!(" {} ", theme.dot());
    let some = |count: u64, nouns| (count > 0).then(|| format!("{} {}", short(count), nouns));
    let execs = some(work.counts.execs, if work.counts.execs == 1 { "exec" } else { "execs" });
    let (opens, changes) = (some(counts.opens, "opens"), some(counts.changes, "changed"));
    let failed = some(work.failed, "failed");
    let said = |parts: &[&Option<String>]| parts.iter().copied().flatten().cloned().collect::<Vec<_>>().join(&dot);
    let code = match job.end.and_then(|end| end.status).map(|status| Exit::of_status(status).ended()) {
        None | Some(Ended::Code(0)) => String::new(),
        Some(Ended::Code(code)) => format!("exit {code}  "),
        Some(signal) => format!("{signal}  "),
    };
    let lived = duration(app.views.tree.lived(job));
    let whole = [said(&[&execs, &opens, &changes, &failed]), said(&[&execs, &failed]), said(&[&execs])];
    whole.iter().map(|did| format!("{code}{did}  {lived}")).chain([format!("{code}{lived}")]).collect()
}

/// What runs now of a job, as far as it fits: `  now cc1 lvm.c 3.1 s · cc1 ltable.c 0.4 s`.
fn works_now(job: &Seen<'_>, room: usize, app: &App, theme: Theme) -> Option<Piece> {
    let (tree, mut said) = (&app.views.tree, String::new());
    for seen in tree.working(job.process.key).filter(|seen| job.end.is_none() && seen.process.execs > 0) {
        let before = if said.is_empty() { "  now ".to_owned() } else { format!(" {} ", theme.dot()) };
        let command = text::value_in(&seen.process.short_command(), theme.charset, 40);
        let next = format!("{before}{command} {}", duration(tree.lived(&seen)));
        if text::width(&said) + text::width(&next) > room {
            break;
        }
        said.push_str(&next);
    }
    (!said.is_empty()).then(|| Piece::new(said, theme.quiet()))
}

/// How the program of an exec ended, if with a code other than 0.
fn ended_badly(seen: &EventContext<'_>, app: &App) -> Option<(String, String)> {
    let exec = seen.process.filter(|_| seen.event.body.started().is_some())?;
    let now = app.views.tree.process(exec.key).filter(|now| Arc::ptr_eq(&now.process.image, &exec.image))?;
    let end = now.end.filter(|end| end.status != Some(0))?;
    Some((Exit::of_status(end.status?).ended().to_string(), duration(now.process.ran_ns(end.time))))
}

/// The code with which a process exited, and how long it ran.
fn ended(exit: &EventContext<'_>) -> Option<(String, String)> {
    Some((exit.event.body.exit()?.ended().to_string(), duration(exit.ran_ns())))
}

/// The longest remark that leaves room for all parts, or unless it `yields` to them: for the [`least`] of all, or for that of those up to
/// the `name` if the remark has at most half of the room. If none does, the last one.
fn beside<'a>(
    parts: &[Piece],
    name: Option<usize>,
    remarks: &'a [String],
    room: usize,
    yields: bool,
    theme: Theme,
) -> &'a str {
    let of = |parts: &[Piece]| parts.iter().map(|part| least(part, theme)).sum::<usize>();
    let all = if yields { parts.iter().map(Piece::width).sum() } else { of(parts) };
    let named = name.map_or(0, |name| of(&parts[..=name]));
    let fits = remarks.iter().find(|remark| {
        let cells = text::width(remark) + 2;
        all + cells <= room || !yields && named + cells <= room && cells <= room / 2
    });
    fits.or(remarks.last()).map_or("", String::as_str)
}

/// The cells to which [`scrolled`] can cut a part.
fn least(part: &Piece, theme: Theme) -> usize {
    let sign = if theme.charset == Charset::Ascii { 4 } else { 2 };
    part.width().min(if part.directories { sign } else { NAME })
}

/// The cause of an exit. In its row it is before the time that the process ran.
fn cause_of_exit(seen: &EventContext<'_>, room: usize, app: &App, theme: Theme) -> Option<Piece> {
    let process = seen.process.filter(|_| seen.event.body.exit().is_some())?;
    let (words, is_child) = app.cause_in_row(&app.views.tree.process(process.key)?)?;
    let [whole, short] = words.map(|words| text::value_in(&words, theme.charset, 80));
    let text = if text::width(&whole) + 3 <= room { whole } else { short };
    Some(Piece::new(format!("{text}  "), if is_child { theme.quiet() } else { theme.strong() }))
}

/// The detail of files that were changed in one directory.
fn changed(seen: &EventContext<'_>, op: &str) -> Cell {
    let mut cell = Cell::default();
    let path = field(seen, "abs_path").text().unwrap_or_default();
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    cell.part(Role::Plain, |out| out.extend_from_slice(op.as_bytes()));
    cell.part(Role::Plain, |out| out.extend_from_slice(if op.is_empty() { b"" } else { b" in " }));
    cell.path(Role::Plain, |out| out.extend_from_slice(path.get(..end.max(1)).unwrap_or_default()));
    cell
}

/// The content of a column. If RESULT has no column, the result precedes the details unless it is a success.
fn cell(column: Column, seen: &EventContext<'_>, columns: &Widths) -> Cell {
    let mut cell = Cell::default();
    let has_result = columns.iter().any(|(column, _)| *column == Column::Result);
    if column == Column::Detail && !has_result && (seen.event.failed() || seen.event.body.exit().is_some()) {
        Column::Result.write(seen, &mut cell);
        cell.part(Role::Plain, |out| out.push(b' '));
    }
    column.write(seen, &mut cell);
    cell
}

fn piece(column: Column, role: Role, raw: &[u8], cells: usize, app: &App, theme: Theme) -> Piece {
    let text = match column {
        Column::Detail => text::value_in(raw, theme.charset, 4096.max(app.events().sideways + cells)),
        Column::Cwd | Column::Cgroup | Column::Unit | Column::Container | Column::Pod => {
            text::cut_middle(&text::value_in(raw, theme.charset, 4096), cells, theme.charset)
        }
        _ => text::value_in(raw, theme.charset, cells.max(RESULT * 4)),
    };
    Piece::of_part(text, role, theme)
}

/// The TIME column. In quiet rows, only the part that differs from the row above is not dim.
fn time(cells: usize, seen: &EventContext<'_>, base: &TimeBase, theme: Theme) -> Vec<Piece> {
    let clock = base.mode == TimeMode::Clock;
    let text = |ns| {
        let text = time_text(ns, seen.clock_offset, base);
        // A narrow column drops the hours, and a narrower one the minutes.
        let from = if clock { 12usize.saturating_sub(cells) } else { 0 };
        text.get(from..).unwrap_or_default().to_owned()
    };
    let own = text(seen.event.header.time.0);
    let above = base.above_ns.filter(|_| clock && look(seen.event.kind()) == Look::Quiet).map(text).unwrap_or_default();
    let same = own.bytes().zip(above.bytes()).take_while(|(own, above)| own == above).count();
    let (same, new) = own.split_at(same);
    vec![Piece::new(same, theme.quiet()), Piece::plain(new)]
}

/// DETAIL, scrolled sideways on request. Without scrolling, the directories of a long path are cut, so that the file name and the text
/// after it are visible.
pub(super) fn scrolled(mut parts: Vec<Piece>, cells: usize, sideways: usize, theme: Theme) -> Vec<Piece> {
    let mut hidden = sideways;
    for part in &mut parts {
        let width = part.width();
        part.text = text::skip(&part.text, hidden).to_owned();
        hidden = hidden.saturating_sub(width);
    }
    let total = |parts: &[Piece]| parts.iter().map(Piece::width).sum::<usize>();
    let paths: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].directories).collect();
    let Some(last) = paths.last().filter(|_| sideways == 0 && total(&parts) > cells) else { return parts };
    for at in &paths {
        let (width, own) = (total(&parts), parts[*at].width());
        let name = parts.get(at + 1).map_or(0, Piece::width);
        // The paths keep up to half of the cells. Beside long arguments, a shorter path would gain little.
        let least = own.min((cells / 2 / paths.len()).saturating_sub(name)).max(3);
        let room = cells.saturating_sub(width - own).max(least);
        let directories = &mut parts[*at].text;
        *directories = match room {
            _ if own <= room => continue,
            8.. => text::cut_middle(directories, room, theme.charset),
            // One dot would mean the working directory, and two its parent.
            _ if theme.charset == Charset::Ascii => ".../".to_owned(),
            _ => "…/".to_owned(),
        };
    }
    let name = parts.get(last + 1).map_or(0, Piece::width);
    // A longer name loses its middle, so that its end and the remark after it are visible.
    let room = cells.saturating_sub(total(&parts) - name);
    if let Some(part) = parts.get_mut(last + 1).filter(|_| room < name && room >= name.min(NAME)) {
        part.text = text::cut_middle(&part.text, room, theme.charset);
    }
    parts
}

/// The minimum number of cells of a file name whose middle is cut.
const NAME: usize = 20;

/// Parts cut or padded with spaces to exactly this many cells.
pub(super) fn fitted(parts: Vec<Piece>, cells: usize, right: bool, theme: Theme) -> Vec<Piece> {
    let width: usize = parts.iter().map(Piece::width).sum();
    let fill = Piece::plain(" ".repeat(cells.saturating_sub(width)));
    if width <= cells {
        return if right { [vec![fill], parts].concat() } else { [parts, vec![fill]].concat() };
    }
    let mut out = Vec::new();
    let mut room = cells;
    for mut part in parts {
        let own = part.width();
        if own >= room {
            // More follows, so the cut sign takes the last cell.
            part.text = text::left(&text::cut(&format!("{}..", part.text), room, theme.charset), room, theme.charset);
            out.push(part);
            break;
        }
        room -= own;
        out.push(part);
    }
    out
}

/// Marks the matches. If they are not visible, everything is marked.
pub(super) fn marked(parts: Vec<Piece>, pattern: &Regex, theme: Theme) -> Vec<Piece> {
    let text: String = parts.iter().map(|part| part.text.as_str()).collect();
    let found: Vec<_> = pattern.find_iter(text.as_bytes()).map(|found| found.range()).collect();
    let visible = found.iter().any(|found| !found.is_empty());
    let mut out = Vec::new();
    let mut start = 0;
    for part in parts {
        let end = start + part.text.len();
        let mut at = start;
        let borders = found.iter().flat_map(|found| [found.start, found.end]).filter(|border| {
            // A pattern on bytes may match part of a character.
            (start..end).contains(border) && text.is_char_boundary(*border)
        });
        for border in borders.chain([end]) {
            let inside = !visible || found.iter().any(|found| found.contains(&at));
            let style = if inside && border > at { part.style.patch(theme.found()) } else { part.style };
            let text = text.get(at..border).unwrap_or_default().to_owned();
            out.push(Piece { text, style, ..part.clone() });
            at = border;
        }
        start = end;
    }
    out
}
