//! The first line: state, event rates and losses.

use super::theme::Theme;
use super::{Piece, ends};
use crate::app::keymap::Action;
use crate::app::{App, SourceState};
use crate::text::{self, grouped, short};
use ratatui::Frame;
use ratatui::layout::Rect;
use tracetui_shared::kind::KindSet;

/// The screen width from which the host and the rate of each kind are shown.
const WIDE: u16 = 130;

/// Draws the line. If there is not enough room, losses take precedence.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let account = app.account();
    let lost = account.sum().lost.sum();
    let skips = match account.unattributed_skips {
        0 => String::new(),
        skips => format!("+{} skips", grouped(skips)),
    };
    let style = if lost + account.unattributed_skips > 0 { theme.alarm() } else { theme.title() };
    let lost = Piece::new(format!("LOST {}{skips}", grouped(lost)), style);
    let state = Piece::new(state(app), if app.events().paused() { theme.alarm() } else { theme.title() });
    let rates =
        Piece::plain(if area.width >= WIDE { rates(app) } else { format!("{} ev/s", short(app.rates().all())) });
    let spark = Piece::plain(sparkline(app));
    let off =
        app.discrepancy().map_or(String::new(), |_| format!("ACCOUNT ERROR, see {}", app.key_of(Action::LossReport)));
    let off = Piece::new(off, theme.alarm());
    let right = [lost, off, state, rates, spark];
    // `right` is in the order of importance, and this is the order on the screen.
    let order = [2, 3, 4, 1, 0];
    let left = vec![Piece::new(" tracetui".to_owned(), theme.title()), Piece::plain(host(app, area.width, theme))];
    ends(frame, area, &left, &super::by_importance(right, order, area.width), theme);
}

fn state(app: &App) -> String {
    match (app.events().paused(), app.source()) {
        (true, _) => "PAUSED".to_owned(),
        (false, SourceState::Live) => "LIVE".to_owned(),
        (false, SourceState::Ended) => "ENDED".to_owned(),
    }
}

fn host(app: &App, width: u16, theme: Theme) -> String {
    if width < WIDE {
        return String::new();
    }
    let host = app.world().host();
    let capture = match app.capture() {
        "" => String::new(),
        capture => format!("capture: {capture}"),
    };
    let parts = [host.name.as_str(), host.kernel.as_str(), capture.as_str()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    text::escape_in(parts.join("  ").as_bytes(), theme.charset, usize::from(width))
}

fn rates(app: &App) -> String {
    let kinds = KindSet::BY_DEFAULT.iter();
    let rates: Vec<_> = kinds.map(|kind| format!("{} {}/s", kind.name(), short(app.rates().of(kind)))).collect();
    rates.join(" ")
}

/// The rates of the last ten seconds as bars, relative to the highest one.
fn sparkline(app: &App) -> String {
    let seconds: Vec<u64> = app.rates().history().collect();
    let most = seconds.iter().max().copied().unwrap_or_default();
    let line: String = seconds.iter().map(|count| bar(*count, most)).collect();
    format!("{line:>10}")
}

/// A bar of one of four heights, or a space for zero.
fn bar(count: u64, most: u64) -> char {
    match (count * 4).checked_div(most) {
        _ if count == 0 => ' ',
        None | Some(0) => '.',
        Some(1) => ':',
        Some(2) => '|',
        Some(_) => '!',
    }
}
