//! The BPF programs and their attachments.

#[cfg(test)]
pub(super) mod tests;

use super::detail::{Page, border, command, titled_page};
use super::event_list::{fitted, marked, selected};
use super::theme::Theme;
use super::{Piece, aligned, clock, duration, fit, is_zero, moment, put};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::bpf::{Group, Key, NAMED, Order, Owned, Owner, Seen, process};
use crate::app::views::columns::{BpfColumn as Column, automatic};
use crate::bpf_report::{facts, hidden_text, holder_text, place_text, way_text};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::bpf::{Hook, NotScanned};
use tracetui_events::enrich::World;
use tracetui_events::event::process::Process;
use tracetui_events::event::{Tables as _, names};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_events::text::{self, Charset, counted, short};
use tracetui_shared::id::ProgId;
use tracetui_shared::kind::KindSet;

/// The number of blanks between two columns.
fn gap(width: u16) -> usize {
    if width >= 60 { 2 } else { 1 }
}

/// The most cells of the owner, and of a program below it.
fn most(width: u16) -> usize {
    match width {
        0..60 => 18,
        60..100 => 26,
        100..130 => 34,
        _ => 48,
    }
}

/// The cells of the tabs, and of the label beside them.
const TABS: usize = 45;

/// What a row shows: an owner with several programs or attachments, or one of these.
enum Shown<'a> {
    Owner(&'a Group),
    /// With the owner, if it is below the row of that.
    One(Seen<'a>, Option<Owned>),
}

/// `+` new, `-` gone, `!` hidden.
fn mark(seen: &Seen<'_>) -> &'static str {
    match seen {
        Seen { hidden: Some(_), .. } => "!",
        Seen { gone: Some(_), .. } => "-",
        Seen { new: true, .. } if !seen.own() => "+",
        _ => " ",
    }
}

/// The id, the name and the type of a program.
fn named(seen: &Seen<'_>, theme: Theme) -> [Piece; 3] {
    let id = if seen.id == ProgId(0) { "- ".to_owned() } else { format!("{} ", seen.id.0) };
    let name = text::value_in(seen.name(), theme.charset, 256);
    let type_name = Piece::new(format!(" {}", seen.type_name()), theme.quiet());
    [Piece::plain(id), Piece::new(name, theme.strong()), type_name]
}

/// Draws the titles and the rows. Returns the names of the columns.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> Vec<&'static str> {
    let (bpf, world, width) = (&app.views.bpf, app.world(), area.width);
    let visible = bpf.list.rows.iter().skip(bpf.list.top).take(area.height.into());
    let visible = visible.filter_map(|row| match row.key {
        Key::Owner(owned) => bpf.group(owned).map(Shown::Owner),
        key => bpf.seen(key, world).map(|seen| Shown::One(seen, row.below)),
    });
    let visible: Vec<Shown<'_>> = visible.collect();
    let owners: Vec<Vec<Piece>> = visible.iter().map(|shown| owner(shown, app, theme)).collect();
    let wide = |parts: &Vec<Piece>| parts.iter().map(Piece::width).sum::<usize>();
    let owner_cells = owners.iter().map(wide).max().unwrap_or_default().clamp(6, most(width));
    let chosen = app.screen.columns.of(app.views.shown);
    let mut names = chosen.map_or_else(|| automatic(View::Bpf, width), <[_]>::to_vec);
    if chosen.is_none() && bpf.list.order == Order::Runs && !names.contains(&"runs") {
        names.push("runs");
    }
    let named = names.into_iter().filter_map(|name| Column::from_name(name).map(|column| (column, column.cells())));
    let room = usize::from(if chosen.is_some() { width / 2 } else { width });
    // A column of zeros says nothing, unless the user chose it.
    let says = |column: Column| {
        matches!(column, Column::Target | Column::Programs)
            || visible.iter().any(|shown| !is_zero(&piece(column, shown, app, theme)))
    };
    let columns = fit(named, room, Some(Column::Target)).filter(|(column, _)| chosen.is_some() || says(*column));
    let mut columns: Vec<(Column, usize)> = columns.collect();
    let blanks = " ".repeat(gap(width));
    let used: usize = columns.iter().map(|(_, cells)| cells + gap(width)).sum();
    // Beside the pane, a blank precedes the border.
    let border = usize::from(width < app.screen.width);
    let target = usize::from(width).saturating_sub(used + owner_cells + 1 + border);
    columns.iter_mut().filter(|(column, _)| *column == Column::Target).for_each(|(_, cells)| *cells = target);
    let mut title = format!(" {}", text::left(" OWNER", owner_cells, theme.charset));
    for (column, cells) in &columns {
        title = title + &blanks + &aligned(column.title(), *cells, column.is_right(), theme.charset);
    }
    put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    let found = app.search.pattern.as_ref().and_then(Pattern::marked);
    for ((y, at), (shown, owner)) in (area.y..area.bottom()).zip(bpf.list.top..).zip(visible.iter().zip(owners)) {
        let whole = whole(shown, theme);
        let mut line = Line::from(" ");
        let mut push = |parts: Vec<Piece>, cells: usize, right: bool| {
            let styled = |part: Piece| Piece { style: whole.unwrap_or(part.style), ..part };
            let mut parts = fitted(parts.into_iter().map(styled).collect(), cells, right, theme);
            let text: String = parts.iter().map(|part| part.text.as_str()).collect();
            if let Some(pattern) = found.filter(|pattern| pattern.is_match(text.as_bytes())) {
                parts = marked(parts, pattern, theme);
            }
            parts.into_iter().for_each(|part| line.push_span(part));
        };
        push(owner, owner_cells, false);
        for (column, cells) in &columns {
            push(vec![Piece::plain(blanks.clone())], blanks.len(), false);
            let parts = match column {
                Column::Target => target_of(shown, *cells, app, theme),
                column => vec![piece(*column, shown, app, theme)],
            };
            push(parts, *cells, column.is_right());
        }
        let line = if at == bpf.list.at { selected(&line, width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if bpf.list.rows.is_empty() {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
    columns.iter().map(|(column, _)| column.name()).collect()
}

/// The style of a whole row: hidden, gone, or tracetui's own.
fn whole(shown: &Shown<'_>, theme: Theme) -> Option<Style> {
    match shown {
        Shown::One(Seen { hidden: Some(_), .. }, _) => Some(theme.loss()),
        Shown::One(seen, _) if seen.gone.is_some() || seen.own() => Some(theme.quiet()),
        Shown::Owner(group) if group.owned.gone || group.owned.by == Owner::This => Some(theme.quiet()),
        _ => None,
    }
}

/// The first cells: the owner, or a program below it.
fn owner(shown: &Shown<'_>, app: &App, theme: Theme) -> Vec<Piece> {
    let this = |own: bool| match app.replay {
        _ if !own => "",
        None => "  this one",
        Some(_) => "  the recorder",
    };
    let with_mark = |mark: &str, rest: Vec<Piece>| [vec![Piece::new(mark, theme.note())], rest].concat();
    match shown {
        Shown::Owner(group) => {
            let mark = if group.owned.gone { "-" } else { [" ", "+"][usize::from(group.new > 0)] };
            let owner = app.views.bpf.owner(group.owned, app.world(), theme.charset);
            with_mark(mark, vec![Piece::plain(owner + this(group.owned.by == Owner::This))])
        }
        Shown::One(seen, Some(_)) => with_mark(&format!("  {}", mark(seen)), named(seen, theme).to_vec()),
        Shown::One(seen @ Seen { hidden: Some(_), .. }, None) => {
            let [id, name, type_name] = named(seen, theme);
            with_mark(mark(seen), vec![id, Piece::plain(format!("{} ", type_name.text.trim())), name])
        }
        Shown::One(seen, None) => {
            with_mark(mark(seen), vec![Piece::plain(seen.owners(theme.charset) + this(seen.own()))])
        }
    }
}

/// Where it is attached, in this many cells. An owner has the first places and the number of the others.
fn target_of(shown: &Shown<'_>, cells: usize, app: &App, theme: Theme) -> Vec<Piece> {
    let bpf = &app.views.bpf;
    let seen = match shown {
        Shown::Owner(group) => {
            let fold = if bpf.is_unfolded(group.owned) { theme.unfolded() } else { theme.folded() };
            let places = bpf.seen_in(Key::Owner(group.owned), app.world()).take(NAMED);
            let places = places.map(|seen| {
                let place = seen.target(theme.charset);
                match (seen.attachment, place.split_once(' ')) {
                    // The cgroup matters, or the interface, not each of its hooks.
                    (Some(BpfAttachment { hook: Hook::Type(_), target, .. }), Some((kind, _)))
                        if !target.is_empty() =>
                    {
                        (kind.to_owned(), text::value_in(target, theme.charset, 4096))
                    }
                    (Some(_), Some((kind, name))) => (kind.to_owned(), name.to_owned()),
                    _ => (String::new(), place),
                }
            });
            let (places, others) = (places.collect(), group.members.len().saturating_sub(NAMED));
            return vec![Piece::plain(format!("{fold} {}", summary(places, others, cells.saturating_sub(2), theme)))];
        }
        Shown::One(seen, _) => seen,
    };
    let target = seen.target(theme.charset);
    // The program, unless the first cells have it.
    let program = match (shown, seen.hidden) {
        (Shown::One(_, None), None) => named(seen, theme).into_iter().take(2).map(|part| part.text).collect(),
        _ => String::new(),
    };
    let fits = !program.is_empty() && text::width(&target) + text::width(&program) + 3 <= cells;
    let target = Piece::plain(text::cut_middle(&target, cells, theme.charset));
    if fits { vec![target, Piece::new(format!("   {program}"), theme.quiet())] } else { vec![target] }
}

/// The first of these places, each once, and the number of the others. Places of the same kind follow each other, and the first has its
/// name.
fn summary(mut places: Vec<(String, String)>, others: usize, cells: usize, theme: Theme) -> String {
    places.sort_unstable_by(|a, b| (a.0.is_empty(), a).cmp(&(b.0.is_empty(), b)));
    places.dedup();
    let dot = format!(" {} ", theme.dot());
    let more = |shown: usize| match places.len() + others - shown {
        0 => String::new(),
        more => format!("{dot}{} more", short(more as u64)),
    };
    let (mut out, mut last) = (String::new(), "");
    for (nth, (kind, name)) in places.iter().enumerate() {
        let room = cells.saturating_sub(text::width(&more(nth + 1)));
        let named = if kind.is_empty() || kind == last { name.clone() } else { format!("{kind} {name}") };
        let between = if nth == 0 { "" } else { &dot };
        let next = [named, name.clone()].map(|name| format!("{out}{between}{name}"));
        let Some(next) = next.iter().find(|next| text::width(next) <= room).or(next.last().filter(|_| nth == 0)) else {
            return out + &more(nth);
        };
        (out, last) = (text::cut_middle(next, room, theme.charset), kind);
    }
    out + &more(places.len())
}

fn empty(app: &App) -> &'static str {
    let captured = app.pipeline.kinds().is_none_or(|kinds| !(kinds & KindSet::LISTED).is_empty());
    match (app.world().bpf.last_inventory(), app.replay.as_ref()) {
        (Some(_), _) => "no BPF programs",
        (None, _) if !captured => "no BPF inventory: kind bpf is not captured",
        (None, Some(_)) => "no BPF inventory up to this point in the recording",
        (None, None) => "no BPF inventory yet",
    }
}

/// The time of day to the second.
fn short_clock(boot_ns: u64, app: &App) -> String {
    let time = clock(boot_ns, app.world().clock_offset, app);
    time.get(..8).unwrap_or_default().to_owned()
}

fn runs(milli: u64) -> String {
    match milli {
        0..10_000 => format!("{}.{}", milli / 1000, milli % 1000 / 100),
        _ => short(milli / 1000),
    }
}

/// The share of a CPU, from its nanoseconds in a second: `0.02 %`.
fn percent(ns: u64) -> String {
    match ns / 100_000 {
        0 => "<0.01 %".to_owned(),
        share @ 1..10 => format!("0.0{share} %"),
        share @ 10..1000 => format!("{}.{} %", share / 100, share / 10 % 10),
        share => format!("{} %", share / 100),
    }
}

fn piece(column: Column, shown: &Shown<'_>, app: &App, theme: Theme) -> Piece {
    let gone = match shown {
        Shown::Owner(group) => group.owned.gone,
        Shown::One(seen, _) => seen.gone.is_some(),
    };
    let unknown = || Piece::new(if gone { "" } else { "-" }, theme.quiet());
    let number = |number: u64, text: fn(u64) -> String| match number {
        0 => Piece::new(theme.dot(), theme.quiet()),
        number => Piece::plain(text(number)),
    };
    let (load, since) = match shown {
        Shown::Owner(group) => (group.load, group.since),
        Shown::One(seen, _) => (seen.load(), seen.since()),
    };
    match (column, shown) {
        (Column::Programs, Shown::Owner(group)) => Piece::plain(short(group.programs as u64)),
        (Column::Programs, Shown::One(seen, None)) if seen.hidden.is_none() => Piece::plain("1"),
        (Column::Programs | Column::Target, _) => Piece::default(),
        (Column::Cpu, _) => load.map_or_else(unknown, |(_, ns)| number(ns, percent)),
        (Column::Runs, _) => load.map_or_else(unknown, |(milli, _)| number(milli, runs)),
        (Column::Since, _) => Piece::plain(since.map_or_else(String::new, |at| short_clock(at.0, app))),
        (Column::Writes, Shown::One(seen, _)) => writes(seen.write_user(), theme),
        (Column::Writes, Shown::Owner(group)) => writes(group.writes, theme),
        (Column::Mean, Shown::Owner(_)) => Piece::default(),
        (Column::Mean, Shown::One(seen, _)) => {
            seen.rate.and_then(|rate| rate.mean_ns).map_or_else(unknown, |ns| number(ns, duration))
        }
    }
}

/// Whether a program writes to the memory of processes.
fn writes(writes: Result<bool, NotScanned>, theme: Theme) -> Piece {
    match writes {
        Ok(true) => Piece::new("W", theme.failure()),
        Ok(false) => Piece::default(),
        Err(_) => Piece::new("?", theme.quiet()),
    }
}

/// The numbers of owners, of programs, of new and of unloaded ones, for the filter line. What does not fit beside the tabs is left out.
pub(super) fn counts(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let (tally, bpf) = (app.views.bpf.tally, &app.world().bpf);
    let many = |count: usize| short(count as u64);
    let mut first: Vec<Piece> = moment(app, width, theme).into_iter().collect();
    if !bpf.unseen().is_empty() || bpf.left_out > 0 {
        first.push(Piece::new(format!("incomplete: {}", app.key_of(Action::LossReport)), theme.loss()));
    }
    if tally.hidden > 0 {
        first.push(Piece::new(format!("{} hidden", many(tally.hidden)), theme.loss()));
    }
    let mut last = Vec::new();
    if tally.new > 0 {
        last.push(Piece::new(format!("+{} new", many(tally.new)), theme.note()));
    }
    if tally.gone > 0 {
        let how = if app.views.bpf.hides_gone { " not shown" } else { "" };
        last.push(Piece::new(format!("-{} gone{how}", many(tally.gone)), theme.quiet()));
    }
    let numbers = [(tally.owners, ["owner", "owners"]), (tally.programs, ["program", "programs"])];
    let numbers = numbers.map(|(number, words)| Piece::plain(counted(number as u64, words)));
    let uncounted = if bpf.counts_runs() { "" } else { "run counting off" };
    let dropped = if bpf.forgotten > 0 { format!("{} dropped", short(bpf.forgotten)) } else { String::new() };
    let others = [Piece::new(uncounted, theme.quiet()), Piece::new(dropped, theme.note())];
    let mut room = usize::from(width).saturating_sub(TABS + super::width_of(&first) + super::width_of(&last));
    let fits = |piece: &Piece| {
        let fits = piece.width() + 2 <= room;
        room = room.saturating_sub(if fits { piece.width() + 2 } else { 0 });
        fits
    };
    first.extend(numbers.into_iter().chain(others).filter(fits));
    [first, last].concat()
}

/// Draws the detail pane with everything known about the selected row. Returns the scroll limit.
pub(super) fn detail(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) -> usize {
    let area = if area.x > 0 { border(frame, area, theme) } else { area };
    let (bpf, world) = (&app.views.bpf, app.world());
    let Some(row) = bpf.list.selected() else { return 0 };
    let cut = |text: &str| text::cut(text, usize::from(area.width).saturating_sub(24), theme.charset);
    let several = bpf.group_of(row.key).filter(|group| group.programs > 1);
    if let (Key::Owner(owned), Some(_)) = (row.key, several) {
        let title = format!(" {} ", cut(&bpf.owner(owned, world, theme.charset)));
        return titled_page(frame, area, Piece::new(title, theme.strong()), |page| all_of(row.key, page), app, theme);
    }
    let Some(seen) = bpf.seen_in(row.key, world).next() else { return 0 };
    let [id, ..] = named(&seen, theme);
    let name = cut(&text::value_in(seen.name(), theme.charset, usize::from(area.width)));
    let title = format!(" {}{}{} {name} ", mark(&seen).trim(), id.text, seen.type_name());
    let style = if seen.hidden.is_some() { theme.loss() } else { theme.strong() };
    titled_page(frame, area, Piece::new(title, style), |page| known(&seen, page), app, theme)
}

/// The programs and attachments of an owner.
fn all_of(key: Key, page: &Page<'_>) -> Vec<Line<'static>> {
    let Page { app, theme, .. } = *page;
    let (mut lines, mut first) = (Vec::new(), "programs");
    for seen in app.views.bpf.seen_in(key, app.world()) {
        if lines.is_empty()
            && let Some(process) = made_by(&seen, app.world())
        {
            lines.extend(page.named_lines("command", &command(process, theme), Style::new()));
        }
        let [id, name, type_name] = named(&seen, theme).map(|part| part.text);
        let text = format!("{id}{name}{type_name}  {}", seen.target(theme.charset));
        lines.extend(page.named_lines(first, &text, Style::new()));
        first = "";
    }
    lines
}

fn place(attach: &BpfAttachment, charset: Charset) -> String {
    let link_type = attach.linked().and_then(|_| names::link_type(attach.link_type));
    let link_type = link_type.map_or_else(String::new, |name| format!(" ({name})"));
    format!("{}, {}{link_type}", place_text(attach, charset), way_text(attach))
}

/// The process that attached or loaded the program, else one that holds it. A younger process with the same id is another one.
fn made_by<'a>(seen: &Seen<'_>, world: &'a World) -> Option<&'a Process> {
    let since = match (seen.attachment, seen.program) {
        (Some(attachment), _) if attachment.came.0 != 0 => attachment.came,
        (_, Some(program)) => program.loaded,
        _ => return None,
    };
    let holders = seen.held.iter().flatten().flat_map(|all| &all.holders).map(|holder| holder.pid);
    let ids = seen.by.iter().flatten().map(|by| by.tgid).chain(holders);
    ids.filter_map(|id| world.processes.by_tgid(id))
        .map(|entry| &*entry.process)
        .find(|process| process.key.start <= since)
}

fn known(seen: &Seen<'_>, page: &Page<'_>) -> Vec<Line<'static>> {
    let Page { app, theme, .. } = *page;
    let (world, plain) = (app.world(), Style::new());
    let mut lines = Vec::new();
    let mut named = |name: &str, text: &str, style: Style| lines.extend(page.named_lines(name, text, style));
    if let Some(hidden) = seen.hidden {
        named("HIDDEN", &hidden_text(hidden, theme.charset), theme.loss());
    }
    if seen.own() {
        named("of", "tracetui itself", theme.quiet());
    }
    if let Some(at) = seen.gone {
        let name = if seen.attachment.is_some() { "detached" } else { "unloaded" };
        named(name, &clock(at.0, world.clock_offset, app), plain);
    }
    match seen.attachment {
        Some(attachment) => {
            let name = if seen.gone.is_some() { "was on" } else { "attached" };
            named(name, &place(attachment, theme.charset), theme.strong());
            if seen.new {
                named("since", &clock(attachment.came.0, world.clock_offset, app), theme.note());
            }
            if let Some(addr) = attachment.function() {
                named("address", &format!("{:#018x}", addr.0), plain);
            }
        }
        None if seen.hidden.is_none() && seen.gone.is_none() => {
            named("attached", &seen.target(theme.charset), theme.strong())
        }
        None => {}
    }
    let [attacher, loader] = seen.by.map(|by| by.map(|by| process(&by.comm, by.tgid, theme.charset)));
    if let Some(attacher) = attacher {
        named("by", &attacher, plain);
    }
    if let Some(process) = made_by(seen, world) {
        named("command", &command(process, theme), plain);
    }
    let mut first = "held by";
    for (of_link, all) in [true, false].into_iter().zip(&seen.held) {
        let Some(all) = all else { continue };
        for holder in &all.holders {
            let by = holder_text(holder, theme.charset);
            let link = if of_link { format!("link {} by ", all.link.0) } else { String::new() };
            named(first, &format!("{link}{by}"), plain);
            first = "";
        }
        let more = (all.count as usize).saturating_sub(all.holders.len());
        if more > 0 {
            named("", &format!("and {}", counted(more as u64, ["other", "others"])), plain);
        }
    }
    if let Some(ran) = world.bpf.runs(seen.id).filter(|_| seen.id.0 != 0) {
        if let Some(mean) = ran.time.checked_div(ran.count) {
            let times = counted(ran.count, ["time", "times"]);
            named("ran", &format!("{times} while counting was on, {} on average", duration(mean)), plain);
        }
        if ran.skipped > 0 {
            named("skipped", &counted(ran.skipped, ["time", "times"]), plain);
        }
    }
    if let Some(program) = seen.program {
        let user = world.user(program.uid).map(|name| text::value_in(name.as_bytes(), theme.charset, 64));
        let writes = program.calls().write_user() == Ok(true);
        for (name, text) in facts(program, world.clock_offset, user, theme.charset) {
            let by = loader.as_ref().filter(|_| name == "loaded").map_or_else(String::new, |by| format!(", {by}"));
            named(name, &(text + &by), if name == "helpers" && writes { theme.failure() } else { plain });
        }
    }
    lines
}
