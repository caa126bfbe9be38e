//! The side strip.

use super::detail::border;
use super::event_list::{fitted, scrolled, selected};
use super::header::bar;
use super::theme::Theme;
use super::{Piece, clock, put};
use crate::app::App;
use crate::app::side::{Content, Line};
use crate::app::story::Story;
use crate::app::views::event_list::row::{Cell, Column, severity};
use crate::app::views::top::Group;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line as Drawn;
use tracetui_events::event::parts::Role;
use tracetui_events::event::{EventContext, news};
use tracetui_events::store::Stored;
use tracetui_events::text::{self, short};

/// The cells of the name of a command or a watch.
const NAME: usize = 18;

/// The cells of a number after it.
const NUMBER: usize = 8;

/// How recent a failure is that happens now, in nanoseconds.
const NOW_NS: u64 = 2_000_000_000;

/// How many seconds the bars show.
const SECONDS: u64 = 10;

/// Draws the strip beside the list.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    if !area.is_empty() {
        let inside = border(frame, area, theme);
        over(frame, inside, app, theme);
    }
}

/// Draws the strip in an area of its own.
pub(super) fn over(frame: &mut Frame<'_>, inside: Rect, app: &App, theme: Theme) {
    for (y, line) in (inside.y..inside.bottom()).zip(app.side_lines(inside.height.into())) {
        let drawn = drawn(&line, inside.width.into(), app, theme);
        let drawn = if app.side.is_selected(&line) { selected(&drawn, inside.width, theme) } else { drawn };
        put(frame, Rect { y, height: 1, ..inside }, drawn);
    }
}

fn drawn(line: &Line<'_>, width: usize, app: &App, theme: Theme) -> Drawn<'static> {
    let context = |stored: &Stored<'_>, look: &dyn Fn(&EventContext<'_>) -> Vec<Piece>| {
        stored.with(app.world(), look).unwrap_or_default()
    };
    let pieces = match &line.content {
        Content::Blank => Vec::new(),
        Content::Title(title, about) => vec![
            Piece::new(format!(" {}", text::left(title, NAME, theme.charset)), theme.strong()),
            Piece::new(text::right(about, NUMBER.max(about.len()), theme.charset), theme.quiet()),
        ],
        Content::None(text) => vec![Piece::new(format!("  {text}"), theme.quiet())],
        Content::Busy(group, rate) => busy(group, *rate, app, theme),
        Content::Failure(story) => context(&story.newest, &|seen| failure(story, seen, width, app, theme)),
        Content::Reason(story) => context(&story.newest, &|seen| reason(story, seen, width, app, theme)),
        Content::Chain(story) => {
            let names = story.chain.iter().enumerate().map(|(at, seen)| match at {
                0 => seen.process.short_command(),
                _ => seen.process.comm.to_vec(),
            });
            let names: Vec<_> = names.map(|name| text::value_in(&name, theme.charset, 32)).collect();
            vec![Piece::new(format!("   {}", names.join(theme.arrow())), theme.quiet())]
        }
        Content::New(stored, events) => context(stored, &|seen| new(seen, *events, width, theme)),
        Content::Watch(watch) => {
            let style = if watch.count > 0 { theme.note() } else { theme.quiet() };
            let filter = text::value_in(watch.filter.text().as_bytes(), theme.charset, 256);
            vec![
                Piece::new(format!("  {}", text::left(&watch.name(theme.charset), NAME - 1, theme.charset)), style),
                Piece::new(text::right(&short(watch.count), NUMBER, theme.charset), style),
                Piece::new(format!("  {filter}"), theme.quiet()),
            ]
        }
    };
    let pieces = fitted(pieces, width, false, theme);
    Drawn::from_iter(pieces)
}

fn busy(group: &Group, rate: u64, app: &App, theme: Theme) -> Vec<Piece> {
    let name = text::value_in(&group.value, theme.charset, NAME - 1);
    let history: Vec<u32> = group.history(app.side_now(), SECONDS).collect();
    let most = history.iter().max().copied().unwrap_or_default().into();
    let bars = history.iter().map(|count| bar((*count).into(), most, theme.charset)).collect::<String>();
    vec![
        Piece::plain(format!("  {}", text::left(&name, NAME - 1, theme.charset))),
        Piece::plain(text::right(&short(rate), NUMBER, theme.charset)),
        Piece::new(format!("  {bars}"), theme.note()),
    ]
}

/// `backup.sh exit 1  x312                 19:28:06`
fn failure(story: &Story<'_>, seen: &EventContext<'_>, width: usize, app: &App, theme: Theme) -> Vec<Piece> {
    let (mut time, mut process, mut style) = (seen.event.header.time, seen.process, theme.part(severity(seen)));
    let mut result = seen.event.body.before_result().as_bytes().to_vec();
    seen.result(&mut result);
    if let Some((top, end)) = story.chain.last().and_then(|top| Some((top, top.end?))) {
        (time, process, style) = (end.time, Some(top.process), theme.failure());
        result = end.status.map_or(result, |status| super::detail::ended(status).into_bytes());
    }
    let name = process.map_or_else(|| seen.event.header.comm().to_vec(), |process| process.short_command());
    let [name, result] = [&name, &result].map(|bytes| text::value_in(bytes, theme.charset, 32));
    let name = text::cut(&name, width.saturating_sub(result.len() + 20), theme.charset);
    let when = match app.side_now().saturating_sub(time.0) {
        0..NOW_NS if app.replay.is_none() => "now".to_owned(),
        _ => clock(time.0, seen.clock_offset, app).get(..8).unwrap_or_default().to_owned(),
    };
    let pieces = vec![Piece::plain(format!("  {name} ")), Piece::new(result, style)];
    let room = width.saturating_sub(pieces.iter().map(Piece::width).sum::<usize>() + 2 + when.len());
    let remarks = if story.chain.len() > 1 { &[] } else { story.remarks.as_slice() };
    let remark = remarks.iter().find(|remark| 2 + text::width(remark) <= room).or(remarks.last());
    let remark = remark.map_or_else(String::new, |remark| format!("  {remark}"));
    let remark = text::left(&remark, room.max(text::width(&remark)), theme.charset);
    [pieces, vec![Piece::new(format!("{remark}  {when}"), theme.quiet())]].concat()
}

/// What made a process exit, or what the failed call was about.
fn reason(story: &Story<'_>, seen: &EventContext<'_>, width: usize, app: &App, theme: Theme) -> Vec<Piece> {
    let before = Piece::plain("   ");
    let reason = story.chain.first().and_then(|first| app.views.tree.reason(first, app.store()));
    let parts = match reason {
        Some(reason) => {
            let [whole, short] = reason.words.map(|words| text::value_in(&words, theme.charset, 256));
            let text = if text::width(&whole) + before.width() <= width { whole } else { short };
            vec![Piece::new(text, theme.strong())]
        }
        None => detail(seen, 0, theme),
    };
    [vec![before], scrolled(parts, width.saturating_sub(3), 0, theme)].concat()
}

/// The text of the list's last column without its first parts.
fn detail(seen: &EventContext<'_>, skip: usize, theme: Theme) -> Vec<Piece> {
    let mut cell = Cell::default();
    Column::Detail.write(seen, &mut cell);
    let piece = |(role, raw): (Role, &[u8])| Piece::of_part(text::value_in(raw, theme.charset, 4096), role, theme);
    cell.parts().skip(skip).map(piece).collect()
}

/// `bpftrace[9340]  kprobe tcp_connect+0x0  x3`
fn new(seen: &EventContext<'_>, events: u64, width: usize, theme: Theme) -> Vec<Piece> {
    let header = &seen.event.header;
    let who = format!("  {}[{}]", text::value_in(header.comm(), theme.charset, 16), header.tgid.0);
    let who = Piece::plain(text::left(&who, NAME + 2, theme.charset));
    let skip = news(seen.event.kind()).unwrap_or_default();
    let count = if events > 1 { format!("  x{}", short(events)) } else { String::new() };
    let room = width.saturating_sub(who.width() + 1 + count.len());
    let cells = |what: &[Piece]| what.iter().map(Piece::width).sum::<usize>();
    let mut what = detail(seen, skip, theme);
    // The place says more than its type, and both say more than the program.
    if skip > 0 && cells(what.get(..3).unwrap_or_default()) > room {
        what = detail(seen, skip + 2, theme);
    }
    let whole = cells(&what);
    let what = fitted(scrolled(what, room, 0, theme), whole.min(room), false, theme);
    [vec![who, Piece::plain(" ")], what, vec![Piece::new(count, theme.note())]].concat()
}
