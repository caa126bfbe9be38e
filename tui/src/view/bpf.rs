//! The BPF programs and their attachments.

#[cfg(test)]
pub(super) mod tests;

use super::detail::{Page, border, command, titled_page};
use super::event_list::{fitted, marked, selected};
use super::theme::Theme;
use super::{Piece, aligned, clock, duration, fit, moment, put};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::bpf::{Order, Seen};
use crate::app::views::columns::{BpfColumn as Column, automatic};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::bpf::{Object, Via};
use tracetui_events::enrich::World;
use tracetui_events::event::bpf::Bpf;
use tracetui_events::event::process::Process;
use tracetui_events::event::{Tables as _, names};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_events::frame::state::BpfDoer;
use tracetui_events::sink::inventory::{
    alters, hidden_text, holder_text, kfuncs, load_text, map_text, place_text, way_text,
};
use tracetui_events::text::{self, Charset, counted, grouped, short};
use tracetui_shared::id::ProgId;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// The number of blanks between two columns.
fn gap(width: u16) -> usize {
    if width >= 60 { 2 } else { 1 }
}

/// The columns for a screen of this width, with their cells. A column is no wider than these rows need. The target takes the rest.
fn columns_of(width: u16, rows: &[Seen<'_>], app: &App, theme: Theme) -> Vec<(Column, usize)> {
    let longest = |of: &dyn Fn(&Seen<'_>) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let (type_most, name_most, owner_most) = match width {
        0..60 => (10, 10, 14),
        60..100 => (10, 13, 16),
        100..120 => (14, 16, 18),
        120..130 => (14, 20, 20),
        _ => (18, LONGEST_NAME, 28),
    };
    let wide = |text: String| text::width(&text);
    let cells = |column: Column| match column {
        Column::Id => longest(&|seen| mark_and_id(seen).len()).max(column.cells()),
        Column::Type => longest(&|seen| seen.type_name().len()).clamp(4, type_most),
        Column::Name => {
            longest(&|seen| wide(text::value_in(seen.name(), theme.charset, name_most))).clamp(4, name_most)
        }
        Column::Owner => longest(&|seen| wide(owner(seen, app, theme))).clamp(5, owner_most),
        _ => column.cells(),
    };
    let with_cells = |name: &str| Column::from_name(name).map(|column| (column, cells(column)));
    let mut columns: Vec<_> = match app.screen.columns.of(app.views.shown) {
        Some(chosen) => {
            let chosen = chosen.iter().filter_map(|name| with_cells(name));
            fit(chosen, usize::from(width / 2), Some(Column::Target)).collect()
        }
        None => {
            let mut names = automatic(View::Bpf, width);
            // On a narrow screen the owner is more important, unless the user sorts by runs.
            let sorted = app.views.bpf.list.order == Order::Runs && app.world().bpf.counts_runs();
            if sorted && width >= 60 && !names.contains(&"runs") {
                names.push("runs");
            }
            let writes = rows.iter().any(|seen| seen.write_user() != Ok(false));
            let columns = names.into_iter().filter_map(with_cells);
            columns.filter(|(column, _)| *column != Column::Writes || writes).collect()
        }
    };
    let used: usize =
        columns.iter().filter(|(column, _)| *column != Column::Target).map(|(_, cells)| cells + gap(width)).sum();
    // Beside the pane, a blank precedes the border.
    let border = usize::from(width < app.screen.width);
    let rest = usize::from(width).saturating_sub(used + 1 + border);
    // Cells that no attach point needs go to names that would be cut.
    let mut spare = rest.saturating_sub(longest(&|seen| wide(seen.target(theme.charset))));
    let names = longest(&|seen| wide(text::value_in(seen.name(), theme.charset, LONGEST_NAME)));
    let types = longest(&|seen| seen.type_name().len());
    let mut target = rest;
    for (cut, most) in [(Column::Name, names), (Column::Type, types)] {
        for (_, cells) in columns.iter_mut().filter(|(column, _)| *column == cut) {
            let more = most.min(LONGEST_NAME).saturating_sub(*cells).min(spare);
            (*cells, spare, target) = (*cells + more, spare - more, target - more);
        }
    }
    columns.iter_mut().filter(|(column, _)| *column == Column::Target).for_each(|(_, cells)| *cells = target);
    columns
}

/// The maximum number of cells of a name, and of a type.
const LONGEST_NAME: usize = 28;

/// By how many cells an attach point is cut rather than moving its owner.
const FEW: usize = 8;

/// `+88`: `+` new, `-` gone, `!` hidden.
fn mark_and_id(seen: &Seen<'_>) -> String {
    let mark = match seen {
        Seen { hidden: Some(_), .. } => "!",
        Seen { gone: Some(_), .. } => "-",
        Seen { new: true, .. } if !seen.own() => "+",
        _ => "",
    };
    match seen.id {
        ProgId(0) => format!("{mark}-"),
        ProgId(id) => format!("{mark}{id}"),
    }
}

/// Draws the titles and the rows. Returns the names of the columns.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> Vec<&'static str> {
    let (bpf, world) = (&app.views.bpf, app.world());
    let visible = bpf.list.rows().iter().skip(bpf.list.top).take(area.height.into());
    let visible: Vec<Seen<'_>> = visible.filter_map(|key| bpf.seen(*key, world)).collect();
    let columns = columns_of(area.width, &visible, app, theme);
    let blanks = " ".repeat(gap(area.width));
    let mut title = String::from(" ");
    for (at, (column, cells)) in columns.iter().enumerate() {
        title.push_str(if at > 0 { &blanks } else { "" });
        title.push_str(&aligned(column.title(), *cells, column.is_right(), theme.charset));
    }
    put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    for ((y, at), seen) in (area.y..area.bottom()).zip(bpf.list.top..).zip(&visible) {
        let line = line(seen, &columns, &blanks, app, theme);
        let line = if at == bpf.list.cursor() { selected(&line, area.width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if bpf.list.rows().is_empty() {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
    columns.iter().map(|(column, _)| column.name()).collect()
}

fn empty(app: &App) -> &'static str {
    let captured = app.pipeline.kinds().is_none_or(|kinds| kinds.contains(Kind::Bpf));
    match (app.world().bpf.last_inventory(), app.replay.as_ref()) {
        (Some(_), _) => "no BPF programs",
        (None, _) if !captured => "no BPF inventory: kind bpf is not captured",
        (None, Some(_)) => "no BPF inventory up to this point in the recording",
        (None, None) => "no BPF inventory yet",
    }
}

/// The holder of the program or link, or when it was unloaded.
fn owner(seen: &Seen<'_>, app: &App, theme: Theme) -> String {
    match seen.gone {
        Some(at) => format!("gone {}", short_clock(at.0, app)),
        None => seen.owner(theme.charset),
    }
}

/// The time of day to the second.
fn short_clock(boot_ns: u64, app: &App) -> String {
    let time = clock(boot_ns, app.world().clock_offset, app);
    time.get(..8).unwrap_or_default().to_owned()
}

fn runs(milli: u64) -> String {
    match milli {
        0 => "0".to_owned(),
        1..10_000 => format!("{}.{}", milli / 1000, milli % 1000 / 100),
        _ => short(milli / 1000),
    }
}

fn piece(column: Column, seen: &Seen<'_>, app: &App, theme: Theme) -> Piece {
    let unknown = || Piece::new("-", theme.quiet());
    match column {
        Column::Id => Piece::plain(mark_and_id(seen)),
        Column::Type => Piece::plain(seen.type_name()),
        Column::Name => Piece::new(text::value_in(seen.name(), theme.charset, 256), theme.strong()),
        Column::Writes => match seen.write_user() {
            Ok(true) => Piece::new("W", theme.failure()),
            Ok(false) => Piece::default(),
            Err(_) => Piece::new("?", theme.quiet()),
        },
        Column::Target => Piece::plain(seen.target(theme.charset)),
        Column::Owner => Piece::plain(owner(seen, app, theme)),
        Column::Loaded => seen.program.map_or_else(unknown, |program| {
            Piece::new(clock(program.loaded.0, app.world().clock_offset, app), theme.quiet())
        }),
        Column::Runs => seen.rate.map_or_else(unknown, |rate| Piece::plain(runs(rate.milli_runs))),
        Column::Mean => {
            let mean = seen.rate.and_then(|rate| rate.mean_ns);
            mean.map_or_else(unknown, |ns| Piece::plain(duration(ns)))
        }
        Column::Size => {
            let program = seen.program.filter(|_| !seen.is_of_events());
            program.map_or_else(unknown, |program| Piece::plain(short(program.jited_len.into())))
        }
        Column::Tag => {
            seen.program.map_or_else(unknown, |program| Piece::new(format!("{:016x}", program.tag), theme.quiet()))
        }
    }
}

fn line(seen: &Seen<'_>, columns: &[(Column, usize)], blanks: &str, app: &App, theme: Theme) -> Line<'static> {
    let style = match seen {
        Seen { hidden: Some(_), .. } => Some(theme.loss()),
        Seen { gone: Some(_), .. } => Some(theme.quiet()),
        _ if seen.own() => Some(theme.quiet()),
        _ => None,
    };
    let found = app.search.pattern().and_then(Pattern::marked);
    let mut line = Line::from(" ");
    // The number of columns whose room a long attach point takes.
    let mut taken = 0;
    for (at, (column, cells)) in columns.iter().enumerate() {
        if taken > 0 {
            taken -= 1;
            continue;
        }
        if at > 0 {
            line.push_span(blanks.to_owned());
        }
        let piece = piece(*column, seen, app, theme);
        let mut cells = *cells;
        let (mut text, width, mut rest) = (piece.text.clone(), piece.width(), None);
        if *column == Column::Target && (cells + 1..=cells + FEW).contains(&width) && seen.hidden.is_none() {
            text = text::cut_middle(&text, cells, theme.charset);
        } else if *column == Column::Target && width > cells {
            // The owner keeps the cells that it needs, and the rate of runs its place.
            let mut after = columns.get(at + 1..).unwrap_or_default();
            let owner = match after.first() {
                Some((Column::Owner, most)) => Some(text::cut(&owner(seen, app, theme), *most, theme.charset)),
                _ => None,
            };
            let kept = after.iter().skip(1).position(|(column, _)| matches!(column, Column::Owner | Column::Runs));
            after = after.get(..kept.map_or(after.len(), |at| at + 1)).unwrap_or_default();
            let needed = owner.as_ref().map_or(0, |owner| blanks.len() + text::width(owner));
            for (_, more) in after {
                if width + needed <= cells {
                    break;
                }
                cells += more + blanks.len();
                taken += 1;
            }
            text = text::cut_middle(&text, cells.saturating_sub(needed), theme.charset);
            if owner.is_some() {
                text.push_str(blanks);
            }
            rest = owner;
        }
        let style = match *column {
            Column::Writes if seen.write_user() == Ok(true) => piece.style,
            Column::Id if style.is_none() && seen.new => theme.note(),
            _ => style.unwrap_or(piece.style),
        };
        let pieces = [Some(text), rest].into_iter().flatten().map(|text| Piece::new(text, style));
        let mut parts = fitted(pieces.collect(), cells, column.is_right(), theme);
        if let Some(pattern) = found.filter(|pattern| pattern.is_match(piece.text.as_bytes())) {
            parts = marked(parts, pattern, theme);
        }
        parts.into_iter().for_each(|part| line.push_span(part));
    }
    line
}

/// The numbers of programs, of new ones and of unloaded ones, for the filter line.
pub(super) fn counts(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let (tally, bpf) = (app.views.bpf.tally, &app.world().bpf);
    let mut pieces = Vec::new();
    pieces.extend(moment(app, width, theme));
    let many = |count: usize| short(count as u64);
    if !bpf.unseen().is_empty() || bpf.left_out > 0 {
        pieces.push(Piece::new(format!("incomplete: {}", app.key_of(Action::LossReport)), theme.loss()));
    }
    if tally.hidden > 0 {
        pieces.push(Piece::new(format!("{} hidden", many(tally.hidden)), theme.loss()));
    }
    let wide = width >= if app.loaded().moment().is_some() { 130 } else { 100 };
    if wide {
        let counted = if bpf.counts_runs() { "run counting on" } else { "run counting off" };
        pieces.push(Piece::new(counted, theme.quiet()));
        if bpf.forgotten > 0 {
            pieces.push(Piece::new(format!("{} dropped", short(bpf.forgotten)), theme.note()));
        }
        pieces.push(Piece::plain(format!("{} attached", many(tally.attachments))));
    }
    if wide || width >= 60 && app.loaded().moment().is_none() {
        pieces.push(Piece::plain(format!(
            "{} program{}",
            many(tally.programs),
            if tally.programs == 1 { "" } else { "s" }
        )));
    }
    let style = |count| if count > 0 { theme.note() } else { theme.quiet() };
    let above = app.views.bpf.new_above();
    let where_new = if above > 0 { format!(", {} above", many(above)) } else { String::new() };
    pieces.push(Piece::new(format!("+{} new{where_new}", many(tally.new)), style(tally.new)));
    let how = if app.views.bpf.hides_gone { " not shown" } else { "" };
    pieces.push(Piece::new(format!("-{} gone{how}", many(tally.gone)), theme.quiet()));
    pieces
}

/// The maximum number of a program's other attachments that are listed.
const OTHERS: usize = 64;

/// Draws the detail pane with everything known about the selected row. Returns the scroll limit.
pub(super) fn detail(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) -> usize {
    let area = if area.x > 0 { border(frame, area, theme) } else { area };
    let Some(seen) = app.views.bpf.selected(app.world()) else { return 0 };
    let name = text::value_in(seen.name(), theme.charset, usize::from(area.width));
    let name = text::cut(&name, usize::from(area.width).saturating_sub(24), theme.charset);
    let title = format!(" {} {} {name} ", mark_and_id(&seen), seen.type_name());
    let style = if seen.hidden.is_some() { theme.loss() } else { theme.strong() };
    titled_page(frame, area, Piece::new(title, style), |page| facts(&seen, page), app, theme)
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn place(attach: &BpfAttachment, charset: Charset) -> String {
    let mut out = Vec::new();
    place_text(attach, charset, &mut out);
    let link_type = attach.linked().and_then(|_| names::link_type(attach.link_type));
    let link_type = link_type.map_or_else(String::new, |name| format!(" ({name})"));
    format!("{}, {}{link_type}", utf8(out), way_text(attach))
}

/// The program or attachment that an event ended, and whose it was, as far as that is known.
pub(super) fn ended(event: &Bpf<'_>, at: BootNanos, page: &Page<'_>) -> Vec<Line<'static>> {
    let Page { app, theme, .. } = *page;
    let (world, plain) = (app.world(), Style::new());
    let bpf = &world.bpf;
    let (program, link) = match event.ended() {
        Some(Object::Program(id)) => (id, None),
        Some(Object::Link(link)) => {
            let gone = || bpf.gone_attachments().map(|gone| &gone.facts).filter(|facts| facts.link == link).last();
            let facts = bpf.attachment_of_link(link).or_else(gone).filter(|facts| facts.came <= at);
            (facts.map_or(ProgId(event.record().prog_id), |facts| facts.program), facts.map(|facts| (link, facts)))
        }
        _ if event.op() == "detach" && event.record().ret >= 0 => (ProgId(event.record().prog_id), None),
        _ => return Vec::new(),
    };
    let gone = || bpf.gone_program(program).map(|gone| &gone.facts);
    let facts = bpf.program(program).or_else(gone).filter(|facts| program.0 != 0 && facts.loaded <= at);
    let who = |by: Option<&BpfDoer>| {
        by.map(|by| format!("by {}[{}] ", text::value_in(&by.comm, theme.charset, 64), by.tgid.0)).unwrap_or_default()
    };
    let when = |time: BootNanos| clock(time.0, world.clock_offset, app);
    let mut lines = Vec::new();
    let mut named = |name: &str, text: &str| lines.extend(page.named_lines(name, text, plain));
    if let Some((_, attachment)) = link {
        named("was on", &place(attachment, theme.charset));
        let by = who(bpf.attacher(attachment));
        match attachment.came {
            BootNanos(0) if by.is_empty() => {}
            BootNanos(0) => named("attached", by.trim_end()),
            came => named("attached", &format!("{by}at {}, lasted {}", when(came), duration(at.since(came)))),
        }
    }
    if let Some(facts) = facts {
        if event.ended() != Some(Object::Program(program)) {
            let name = text::value_in(&facts.name, theme.charset, 256);
            let prog_type = names::prog_type(facts.prog_type).unwrap_or("unknown");
            named("program", &format!("{} {prog_type} {name}", program.0));
        }
        let by = who(bpf.loader(program));
        let lived = match event.op() {
            "unload" => format!(", lived {}", duration(at.since(facts.loaded))),
            _ => String::new(),
        };
        named("loaded", &format!("{by}at {}{lived}", when(facts.loaded)));
    }
    let held = bpf.gone_program(program).filter(|gone| gone.facts.loaded <= at).and_then(|gone| gone.held.as_ref());
    for holder in held.iter().flat_map(|all| &all.holders).take(1) {
        named("was held", &format!("by {}", utf8(holder_text(holder, theme.charset))));
    }
    lines
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

fn facts(seen: &Seen<'_>, page: &Page<'_>) -> Vec<Line<'static>> {
    let Page { app, theme, .. } = *page;
    let (world, plain) = (app.world(), Style::new());
    let mut lines = Vec::new();
    let mut named = |name: &str, text: &str, style: Style| lines.extend(page.named_lines(name, text, style));
    if let Some(hidden) = seen.hidden {
        let mut out = Vec::new();
        hidden_text(hidden, theme.charset, &mut out);
        named("HIDDEN", &utf8(out), theme.loss());
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
            if let Some(cookie) = attachment.cookie.filter(|cookie| *cookie != 0) {
                named("cookie", &format!("{cookie:#x}"), plain);
            }
            if let Some(addr) = attachment.function() {
                let at = seen.program.map_or(attachment.came, |program| program.loaded.max(attachment.came));
                let symbol = world.symbol(addr.0, at).map_or_else(String::new, |symbol| {
                    let name = text::value_in(&symbol.name, theme.charset, 256);
                    format!(" {name}+{:#x}", addr.0.saturating_sub(symbol.addr.0))
                });
                named("address", &format!("{:#018x}{symbol}", addr.0), plain);
            }
        }
        None if let Some(told) = seen.reported => {
            let at = clock(told.time.0, world.clock_offset, app);
            let place = text::value_in(&told.place, theme.charset, 4096);
            let name = if seen.gone.is_some() { "was on" } else { "attached" };
            let via = told.made.via.unwrap_or_default();
            named(name, &format!("{place}, {}", via.name()), theme.strong());
            let why = match via {
                Via::Link => "no inventory lists the link",
                _ => "the kernel does not list such attachments",
            };
            named("", &format!("known from the event at {at}: {why}"), theme.quiet());
        }
        None if seen.hidden.is_none() && seen.gone.is_none() => {
            named("attached", &seen.target(theme.charset), theme.strong())
        }
        None => {}
    }
    let own = seen.attachment.map(|attachment| attachment.key);
    let others = world.bpf.attachments_of(seen.id).filter(|other| Some(other.key) != own);
    for (nth, other) in others.filter(|_| seen.id.0 != 0).take(OTHERS).enumerate() {
        named(if nth == 0 { "also on" } else { "" }, &place(other, theme.charset), plain);
    }
    let [attacher, loader] =
        seen.by.map(|by| by.map(|by| format!("{}[{}]", text::value_in(&by.comm, theme.charset, 64), by.tgid.0)));
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
            let by = utf8(holder_text(holder, theme.charset));
            let link = if of_link { format!("link {} by ", all.link.0) } else { String::new() };
            named(first, &format!("{link}{by}"), plain);
            first = "";
        }
        let more = (all.count as usize).saturating_sub(all.holders.len());
        if more > 0 {
            named("", &format!("and {}", counted(more as u64, ["other", "others"])), plain);
        }
    }
    if let Some(rate) = seen.rate {
        let mean = rate.mean_ns.map_or_else(String::new, |ns| format!(", {} on average", duration(ns)));
        named("runs", &format!("{} times a second{mean}", runs(rate.milli_runs)), plain);
    }
    if let Some(ran) = world.bpf.runs(seen.id).filter(|_| seen.id.0 != 0) {
        let mean = ran.time.checked_div(ran.count).map_or_else(String::new, |ns| {
            format!("{} while counting was on, {} on average", counted(ran.count, ["time", "times"]), duration(ns))
        });
        let skipped = match ran.skipped {
            0 => String::new(),
            skipped => format!("skipped {}", counted(skipped, ["time", "times"])),
        };
        let both = if mean.is_empty() || skipped.is_empty() { "" } else { ", " };
        if !mean.is_empty() || !skipped.is_empty() {
            named("ran", &format!("{mean}{both}{skipped}"), plain);
        }
    }
    if let Some(program) = seen.program {
        if let Some(text) = alters(program.calls()) {
            let style = if program.calls().write_user() == Ok(true) { theme.failure() } else { plain };
            named("helpers", &text, style);
        }
        if let Some(text) = kfuncs(program, theme.charset) {
            named("", &text, plain);
        }
        for (nth, map) in program.maps.iter().enumerate() {
            named(if nth == 0 { "maps" } else { "" }, &map_text(map, theme.charset), plain);
        }
        let user = world.user(program.uid).map(|name| text::value_in(name.as_bytes(), theme.charset, 64));
        let by = loader.map_or_else(String::new, |loader| format!(", {loader}"));
        named("program", &format!("{}{by}", load_text(program, world.clock_offset, user)), plain);
        named("tag", &format!("{:016x}", program.tag), plain);
        if seen.is_of_events() {
            named("size", "unknown: no inventory lists the program", theme.quiet());
        } else {
            let (jited, xlated) = (grouped(program.jited_len.into()), grouped(program.xlated_len.into()));
            named("size", &format!("{jited} bytes of machine code, {xlated} of instructions"), plain);
        }
        if program.addr.0 != 0 {
            named("code at", &format!("{:#018x}", program.addr.0), plain);
        }
    }
    lines
}
