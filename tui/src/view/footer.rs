//! The last two lines: the events in time, and the available keys.

use super::theme::Theme;
use super::{Piece, apart, ends, filter_line, put};
use crate::app::command::output::Output;
use crate::app::keys::keymap::{Action, Binding, Section};
use crate::app::prompt::Purpose;
use crate::app::replay::Transport;
use crate::app::screen::layout::WITH_SIDE;
use crate::app::views::View;
use crate::app::views::detail::Size;
use crate::app::{App, OverlayKind, SourceState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tracetui_events::text::{self, grouped};

/// Draws the status line. An error in the typed text, or a temporary message, takes its place.
pub(super) fn status(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let away = app.loaded().moment().is_some();
    // There the strip takes the room of the offer.
    let offer = if away && area.width < 100 { Piece::default() } else { offer(app, theme) };
    let right = [offer, place(app, theme)];
    if let Some((error, _)) = filter_line::error(app, area.width, theme) {
        let error = Piece::new(format!(" {error}"), theme.alarm());
        let room = usize::from(area.width).saturating_sub(error.width() + 2);
        return ends(frame, area, &[error], &[filter_line::rows_of(app, room, theme)], theme);
    }
    let progress = || app.screen.message().map_or_else(|| super::diff::progress(app), |_| None);
    if let Some(text) = app.loaded().searching().or_else(progress) {
        return ends(frame, area, &[Piece::new(format!(" {text}"), theme.strong())], &[], theme);
    }
    if let (None, Some(replay)) = (app.screen.message(), app.replay.as_ref()) {
        let line = super::replay::status(app, replay, area.width, theme);
        return apart(frame, area, &line, 0, &[], theme);
    }
    let left = match app.screen.message() {
        Some(message) => {
            let message = text::escape_in(message.as_bytes(), theme.charset, usize::from(area.width));
            let message = text::cut(&message, usize::from(area.width).saturating_sub(1), theme.charset);
            Piece::new(format!(" {message}"), theme.strong())
        }
        None => {
            // Away from the newest row, the strip is more important.
            let width = usize::from(area.width);
            let (most, reserved) = if away && width >= 60 { (width / 3, 0) } else { (width, super::width_of(&right)) };
            Piece::new(fitting(&figures(app), most, reserved, theme), theme.quiet())
        }
    };
    let mut line = vec![left];
    if app.screen.message().is_none() {
        let space = if line[0].text.is_empty() { " " } else { "  " };
        let used = line[0].width() + space.len() + super::width_of(&right) + 1;
        let room = usize::from(area.width).saturating_sub(used);
        let strip = if room < STRIP { Vec::new() } else { super::replay::strip(app, room, theme) };
        line.extend(std::iter::once(Piece::plain(space)).chain(strip));
    }
    apart(frame, area, &line, 0, &right, theme);
}

/// The minimum width of the density strip of a live trace.
const STRIP: usize = 24;

/// As many figures as fit uncut.
fn fitting(figures: &[String], width: usize, right: usize, theme: Theme) -> String {
    let between = format!(" {} ", theme.dot());
    let mut line = String::new();
    for figure in figures {
        let bar = if line.is_empty() { " " } else { between.as_str() };
        if text::width(&line) + text::width(figure) + text::width(bar) + right > width {
            break;
        }
        line.push_str(bar);
        line.push_str(figure);
    }
    line
}

fn figures(app: &App) -> Vec<String> {
    let mut figures = Vec::new();
    if app.output.as_ref().is_some_and(|output| output.ended.is_some()) && app.source == SourceState::Live {
        // COMMAND may have left processes behind.
        figures.push(format!("still tracing; {} quits", app.key_of(Action::Quit)));
    }
    if app.output.as_ref().is_some_and(Output::wants_keys) && app.screen.overlay.is_none() {
        figures.push(format!(
            "COMMAND may wait for input: {} {}",
            app.key_of(Action::Output),
            app.key_of(Action::Enter)
        ));
    }
    if let Some(percent) = app.events().scanned(app.store()) {
        figures.push(format!("filtering {percent}%"));
    }
    figures
}

fn offer(app: &App, theme: Theme) -> Piece {
    let kind = app.rates.floods().find(|kind| app.lists(*kind));
    let offer = kind.map(|kind| format!("{}:hide {}s", app.key_of(Action::Toggle(kind)), kind.name()));
    offer.map_or_else(Piece::default, |offer| Piece::new(offer, theme.strong()))
}

/// The position in the list, and the number of new events.
fn place(app: &App, theme: Theme) -> Piece {
    let list = app.events();
    let unseen = grouped(list.unseen() as u64);
    if app.replay.is_some() {
        return Piece::default();
    }
    let follow = app.key_of(Action::Follow);
    if app.views.shown != View::Events {
        return match app.loaded().moment() {
            Some(_) if app.views.shown != View::Diff => Piece::new(format!(" {follow} now "), theme.paused()),
            _ => Piece::default(),
        };
    }
    match (list.paused(), list.follows) {
        (true, _) => Piece::new(format!(" +{unseen} new "), theme.paused()),
        (false, true) => Piece::new("following", theme.quiet()),
        (false, false) if list.unseen() == 0 => Piece::new(format!("{follow} follow"), theme.quiet()),
        (false, false) => Piece::new(format!(" {unseen} new below  {follow} follow "), theme.paused()),
    }
}

/// Draws the keys: as many labels as fit, and always that of the help, and the last one, which closes, goes back or quits. The remedy for an error in the typed
/// text replaces them if it is not in the line above.
pub(super) fn keys(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let labels = labels(app);
    let error = filter_line::error(app, area.width, theme).filter(|_| app.completion().is_none());
    if let Some((_, hint)) = error.filter(|(_, hint)| !hint.is_empty()) {
        let left = [Piece::new(format!(" {hint}"), theme.strong())];
        let (key, label) = labels.last().cloned().unwrap_or_default();
        let right = Piece::new(format!("{key} {label}"), theme.quiet());
        let fits = left[0].width() + right.width() + 2 < usize::from(area.width);
        return ends(frame, area, &left, if fits { std::slice::from_ref(&right) } else { &[] }, theme);
    }
    let mut line = Line::from(" ");
    let mut room = usize::from(area.width).saturating_sub(1);
    let width_of = |(key, label): &(String, String)| text::width(key) + text::width(label) + 2;
    let help = app.key_of(Action::Help);
    let stays = |(at, (key, _)): &(usize, &(String, String))| *at + 1 == labels.len() || *key == help;
    for (at, of) in labels.iter().enumerate() {
        let ((key, label), width) = (of, width_of(of));
        let reserve: usize = labels.iter().enumerate().skip(at + 1).filter(stays).map(|(_, of)| width_of(of)).sum();
        if width + reserve > room + 1 {
            continue;
        }
        line.push_span(Span::styled(key.clone(), theme.strong()));
        line.push_span(Span::styled(format!(" {label} "), theme.quiet()));
        room = room.saturating_sub(width);
    }
    put(frame, area, line);
}

fn labels(app: &App) -> Vec<(String, String)> {
    let own = |labels: &[(&str, &str)]| labels.iter().map(|(k, l)| ((*k).to_owned(), (*l).to_owned())).collect();
    if app.completion().is_some() {
        return own(&[("Tab", "next"), ("Shift-Tab", "previous"), ("Enter", "keep"), ("Esc", "as typed")]);
    }
    if let Some(prompt) = &app.prompt {
        let ways = format!("{} {}", app.key_of(Action::Next), app.key_of(Action::Previous));
        let (history, clear, cancel) = (("Up Down", "history"), ("Ctrl-U", "clear"), ("Esc", "cancel"));
        let complete = ("Tab", "complete");
        return match prompt.purpose {
            Purpose::Filter => own(&[("Enter", "keep"), complete, history, clear, ("Esc", "revert")]),
            Purpose::Compare => own(&[("Enter", "compare"), history, cancel]),
            Purpose::Time => own(&[("Enter", "go"), history, cancel]),
            Purpose::Search => own(&[("Enter", "keep"), (&ways, "next, previous"), history, cancel]),
            Purpose::Help => own(&[("Enter", "keep"), clear, cancel]),
        };
    }
    match app.screen.overlay.map(|overlay| overlay.kind) {
        Some(OverlayKind::Help) => of_overlay(app, Action::Search, "search"),
        Some(OverlayKind::Loss) => of_overlay(app, Action::Next, "next gap"),
        Some(OverlayKind::Gantt) => of_overlay(app, Action::Enter, "go there"),
        Some(OverlayKind::Strip) => of_overlay(app, Action::Enter, "go there"),
        Some(OverlayKind::Columns) => {
            let keys = |one, other| format!("{} {}", app.key_of(one), app.key_of(other));
            let move_it = keys(Action::Left, Action::Right);
            [
                (keys(Action::Down, Action::Up), "select"),
                (app.key_of(Action::Enter), "on or off"),
                (move_it, "earlier, later"),
                (app.key_of(Action::Reset), "defaults"),
                (app.key_of(Action::Back), "close"),
            ]
            .map(|(key, label)| (key, label.to_owned()))
            .into()
        }
        Some(OverlayKind::Output) if app.types() => own(&[("Ctrl-]", "leave"), ("others", "to COMMAND")]),
        Some(OverlayKind::Output) => of_output(app),
        None => of_table(app),
    }
}

fn of_overlay(app: &App, action: Action, label: &str) -> Vec<(String, String)> {
    let key = |action| app.key_of(action);
    let scroll = format!("{} {}", key(Action::Down), key(Action::Up));
    [(scroll, "scroll"), (key(action), label), (key(Action::Back), "close")]
        .map(|(key, label)| (key, label.to_owned()))
        .into()
}

fn of_output(app: &App) -> Vec<(String, String)> {
    let mut keys = of_overlay(app, Action::End, "newest");
    if app.output.as_ref().is_some_and(Output::runs) {
        keys.insert(0, (app.key_of(Action::Enter), "type into it".to_owned()));
    }
    keys
}

fn of_table(app: &App) -> Vec<(String, String)> {
    let open = app.detail.size.is_some();
    let replay = app.replay.is_some();
    // A recording that is still being written can be followed. On a narrow screen this replaces a longer way.
    let offers_follow =
        app.replay.as_ref().is_some_and(|replay| replay.grows() && !matches!(replay.transport, Transport::Following));
    let shown = |action: Action| match action {
        _ if replay && action.is_live() => false,
        Action::Back => {
            let leaves = app.views.shown == View::Diff;
            open || leaves
                || app.loaded().searched().is_some()
                || app.search.pattern.is_some()
                || !app.filter.text().is_empty()
                || app.screen.failures.only()
        }
        Action::EditFilter | Action::Failures if !app.views.shown.is_of_events() => false,
        Action::Failures | Action::LossReport => !open,
        Action::Enter => app.detail.size != Some(Size::Full) || app.detail.row.is_some(),
        Action::Follow if app.views.shown == View::Diff => false,
        Action::Follow if app.views.shown != View::Events => app.loaded().moment().is_some(),
        Action::OnlyPid | Action::OnlyTree | Action::OnlyComm | Action::OnlyUser | Action::Search => {
            action == Action::Search || !matches!(app.views.shown, View::Top | View::Bpf | View::Diff)
        }
        Action::NextTab | Action::PreviousTab | Action::ToParent | Action::Why | Action::NotComm
            if !app.views.shown.is_of_events() =>
        {
            false
        }
        Action::TimeMode | Action::FoldAll => app.views.shown == View::Events,
        Action::Strip => app.views.shown == View::Events && app.screen.width >= WITH_SIDE,
        Action::BpfGone => app.views.bpf.tally.gone > 0,
        Action::Follow if replay => offers_follow,
        Action::Forward10 | Action::GoTo => replay,
        Action::Forward60 => replay && (!offers_follow || app.screen.width >= 100),
        _ => true,
    };
    let mut all: Vec<&Binding> = app.settings.preferences.keymap.iter().collect();
    if offers_follow {
        all.sort_by_key(|b| (b.action != Action::Play, b.action != Action::Follow));
    }
    if app.detail.row.is_some() {
        all.sort_by_key(|b| b.action != Action::Enter);
    }
    let rest = all.iter().copied().filter(|b| b.section != Section::Detail);
    let rest = rest.filter(|b| {
        b.keys.first().and_then(|key| app.settings.preferences.keymap.lookup(*key, &app.scopes())) == Some(b.action)
    });
    // The keys of the open pane come first.
    let of_pane = |b: &&Binding| {
        open && (b.section == Section::Detail
            || matches!(b.action, Action::Enter | Action::CopyLine | Action::CopyCommand))
    };
    let first = all.iter().copied().filter(of_pane);
    first
        .chain(rest.filter(|b| !of_pane(b)))
        .filter(|b| !b.label.is_empty() && shown(b.action))
        .filter_map(|b| Some((b.keys.first()?.name(), label(b.action, b.label, app))))
        .collect()
}

/// The label of the table, or the effect of the key in the current state.
fn label(action: Action, label: &str, app: &App) -> String {
    match action {
        Action::Follow if app.views.shown != View::Events => "now".to_owned(),
        Action::DiffAll if app.views.diff.all => "fewer".to_owned(),
        Action::FoldAll if !app.events().folds() => "fold".to_owned(),
        Action::Pause if app.events().paused() => "resume".to_owned(),
        Action::Play
            if matches!(
                app.replay.as_ref().map(|replay| &replay.transport),
                Some(Transport::Playing(_) | Transport::Following)
            ) =>
        {
            "pause".to_owned()
        }
        Action::Enter if app.detail.row.is_some() => "go there".to_owned(),
        Action::Enter if app.detail.size.is_some() => "full".to_owned(),
        Action::CopyLine if app.detail.size.is_some() => "copy line".to_owned(),
        Action::Back if app.detail.has_steps() => "back".to_owned(),
        Action::Back if app.detail.size.is_some() => "close".to_owned(),
        _ => label.to_owned(),
    }
}
