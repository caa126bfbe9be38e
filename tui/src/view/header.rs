//! The first line: state, event rates and losses.

use super::theme::Theme;
use super::{Piece, duration, ends, width_of};
use crate::app::command::summary::Summary;
use crate::app::keys::keymap::Action;
use crate::app::views::detail::reasons::Reason;
use crate::app::views::tree::{End, Seen};
use crate::app::watch::Watch;
use crate::app::{App, SourceState};
use ratatui::Frame;
use ratatui::layout::Rect;
use tracetui_events::account::Account;
use tracetui_events::event::exit::MUCH_CPU;
use tracetui_events::text::{self, Charset, counted, grouped, short};
use tracetui_shared::kind::{Kind, KindSet};

/// The minimum fill level of the ring, in percent, that is shown as a warning.
const NEARLY_FULL: u128 = 75;

/// Draws the line. If there is not enough room, losses take precedence.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: Theme) {
    let account = app.pipeline.account();
    let after = if account.sum().bounded > 0 { " at most" } else { "" };
    let lost = lost(account.sum().lost.sum(), account.unattributed_skips, after, theme);
    let off = app
        .pipeline
        .discrepancy()
        .map_or(String::new(), |_| format!("ACCOUNT ERROR, see {}", app.key_of(Action::LossReport)));
    let off = Piece::new(off, theme.alarm());
    let mut left = vec![state(app, theme)];
    let mut room = usize::from(area.width).saturating_sub(width_of(&[lost.clone(), off.clone()]) + width_of(&left) + 1);
    // In order of importance. Each is shown if there is room for it.
    let mut fits = |pieces: Vec<Piece>| {
        let width = width_of(&pieces);
        let fits = width <= room && width > 0;
        room -= if fits { width } else { 0 };
        if fits { pieces } else { Vec::new() }
    };
    let recording = fits(recording(app, area.width, theme));
    let ended = ended(app, &account, theme);
    let running = ended.is_none();
    let figures = match ended {
        Some((name, ways)) => {
            let name = fits(name);
            let did = ways.into_iter().map(&mut fits).find(|did| !did.is_empty()).unwrap_or_default();
            [name, did].concat()
        }
        None => {
            let capture = fits(capture(app, area.width, theme));
            let mut rates = fits(rates(app, area.width, theme));
            if rates.is_empty() {
                rates = fits(vec![Piece::plain(short(app.rates.all())), Piece::new("/s", theme.quiet())]);
            }
            [capture, rates].concat()
        }
    };
    let watched = fits(watches(app, theme));
    let ring = fits(ring(app, theme));
    if running {
        left.extend(fits(host(app, theme)));
    }
    left.extend([recording, figures, watched].concat());
    let right = [ring, vec![off, lost]].concat();
    ends(frame, area, &left, &right, theme);
}

pub(super) fn lost(lost: u64, skips: u64, after: &str, theme: Theme) -> Piece {
    let skipped = if skips > 0 { format!("+{} skips", grouped(skips)) } else { String::new() };
    let style = if lost + skips > 0 { theme.alarm() } else { theme.quiet() };
    Piece::new(format!("LOST {}{skipped}{after}", grouped(lost)), style)
}

fn state(app: &App, theme: Theme) -> Piece {
    let command_ended = app.output.as_ref().is_some_and(|output| output.ended.is_some());
    match (app.events().paused(), app.source) {
        (false, _) if command_ended => Piece::new(" ENDED ", theme.ended()),
        (true, _) => Piece::new(" PAUSED ", theme.paused()),
        (false, SourceState::Live) => Piece::new(" LIVE ", theme.live()),
        (false, SourceState::Ended) => Piece::new(" ENDED ", theme.ended()),
    }
}

/// How COMMAND ended, and what it did, in variants from the longest to the shortest. `None` without a COMMAND, and while it runs.
fn ended(app: &App, account: &Account, theme: Theme) -> Option<(Vec<Piece>, Vec<Vec<Piece>>)> {
    let output = app.output.as_ref()?;
    let how = output.ended.as_deref()?;
    let name = text::escape_in(output.name.as_bytes(), theme.charset, 40);
    let style = if how == "exit 0" { theme.strong() } else { theme.failure() };
    let Summary { execs, ran_ns, cpu_ns, .. } = app.summary;
    let cpu = if cpu_ns < MUCH_CPU { String::new() } else { format!(" (CPU {})", duration(cpu_ns)) };
    let after = ran_ns.map_or(String::new(), |ns| format!("after {}{cpu}", duration(ns)));
    let captured = app.pipeline.kinds().unwrap_or(KindSet::BY_DEFAULT);
    let delivered = |kind| app.summary.delivered(account, kind);
    let count = |kind, count, nouns, more| {
        let least = if account.kind(kind).lost.sum() > 0 { "at least " } else { "" };
        let failed = Some(app.summary.failed(kind)).filter(|failed| *failed > 0).map(grouped);
        let failed = failed.map_or_else(String::new, |failed| format!(" ({more}{failed} failed)"));
        captured.contains(kind).then(|| format!("{least}{}{failed}", counted(count, nouns)))
    };
    let processes = count(Kind::Exit, delivered(Kind::Exit), ["process", "processes"], "");
    let opens = count(Kind::Open, delivered(Kind::Open), ["open", "opens"], "");
    // A failed exec starts no program, so it is not counted here.
    let execs = count(Kind::Exec, execs, ["exec", "execs"], "+");
    let slowest = slowest(app, theme).map(|slowest| format!("slowest {slowest}"));
    let said = |counts: &[&Option<String>]| {
        counts.iter().copied().flatten().cloned().collect::<Vec<_>>().join(&format!(" {} ", theme.dot()))
    };
    let (with_slowest, all) = (said(&[&processes, &opens, &execs, &slowest]), said(&[&processes, &opens, &execs]));
    let (both, first) = (said(&[&opens, &execs]), said(&[&opens]));
    // Longest first. The cause is more important than the counts, and failures are more important than the time.
    let (after, none) = (after.as_str(), String::new());
    let with_cause =
        [(after, &with_slowest), (after, &all), (after, &both), (after, &first), (after, &none), ("", &none)];
    let without = [
        (after, &with_slowest),
        (after, &all),
        (after, &both),
        ("", &both),
        (after, &first),
        ("", &first),
        (after, &none),
    ];
    let causes = cause(app, theme);
    let all =
        causes.iter().flat_map(|cause| with_cause.map(|way| (way, cause.as_str()))).chain(without.map(|way| (way, "")));
    let all = all.map(|((after, counts), cause)| {
        let parts = [Piece::new(cause, theme.strong()), Piece::plain(counts.as_str())];
        let parts = parts.into_iter().filter(|part| !part.text.is_empty());
        let parts = parts.flat_map(|part| [Piece::new(theme.border(), theme.quiet()), part]);
        [Piece::plain(after)].into_iter().filter(|after| !after.text.is_empty()).chain(parts).collect()
    });
    let all = all.collect();
    Some((vec![Piece::new(format!("{name} {how}"), style)], all))
}

/// How the COMMAND of a recording failed. Empty if it did not.
pub(super) fn verdict(app: &App, theme: Theme) -> Vec<Piece> {
    let process = app.summary.process.and_then(|process| app.views.tree.process(process));
    let failed = process.filter(|process| process.failed()).and_then(|process| Some((process, process.end?.status?)));
    let Some((process, status)) = failed else { return Vec::new() };
    let name = text::escape_in(&process.process.comm, theme.charset, 40);
    let cause = cause(app, theme).into_iter().next_back().map(|cause| Piece::new(cause, theme.strong()));
    let border = || Piece::new(theme.border(), theme.quiet());
    let how = Piece::new(format!("{name} {}", super::detail::ended(status)), theme.failure());
    [border(), how].into_iter().chain(cause.into_iter().flat_map(|cause| [border(), cause])).collect()
}

/// The process below COMMAND that ran longest of those without a child, and how long: `cc1 hash.c 9.1 s`.
fn slowest(app: &App, theme: Theme) -> Option<String> {
    let process = app.views.tree.process(app.summary.process?)?;
    let (name, ran) = process.work?.slowest.as_ref().filter(|(_, ran)| *ran >= MUCH_CPU)?;
    Some(format!("{} {}", text::escape_in(name, theme.charset, 40), duration(*ran)))
}

/// The cause of COMMAND's exit, in variants from the longest to the shortest. If its processes continued after failures, as those of
/// `make -k` do, the first one of these.
fn cause(app: &App, theme: Theme) -> Vec<String> {
    let tree = &app.views.tree;
    let Some(process) = app.summary.process.and_then(|process| tree.process(process)) else { return Vec::new() };
    let of = |before: &'static str, seen: &Seen<'_>| Some((before, tree.reason(seen, app.store())?));
    let failed = process.end.is_some_and(End::is_error);
    let first = || tree.first_failed(&process).filter(|_| failed);
    let reason = of("", &process).or_else(|| of("first failure: ", &first()?));
    let words = |(before, reason): (&'static str, Reason)| {
        let texts = reason.with_name().into_iter().chain(reason.words);
        texts.map(move |words| format!("{before}{}", text::escape_in(&words, theme.charset, 4096)))
    };
    reason.into_iter().flat_map(words).collect()
}

fn host(app: &App, theme: Theme) -> Vec<Piece> {
    vec![Piece::new(text::escape_in(app.world().host.name.as_bytes(), theme.charset, 60), theme.quiet())]
}

/// The recording that is being written, or why there is none.
fn recording(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    if let Some(recording) = app.recordings.written.as_ref() {
        let mib = recording.bytes as f64 / f64::from(1 << 20);
        let name = text::escape_in(recording.name.as_bytes(), theme.charset, usize::from(width) / 2);
        return vec![Piece::new("REC", theme.failure()), Piece::plain(format!("{name} {mib:.1} MiB"))];
    }
    let Some(why) = app.recordings.failure.as_deref() else { return Vec::new() };
    // The cause is at the end of the message, before its advice.
    let cause = why.split([';', '\n']).next().and_then(|cause| cause.rsplit(": ").next()).unwrap_or(why);
    let cause = text::escape_in(cause.as_bytes(), theme.charset, usize::from(width) / 2);
    vec![Piece::new(format!("NOT RECORDING: {cause}"), theme.alarm())]
}

/// The capture filter, if it excludes anything.
fn capture(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    match app.settings.capture.as_str() {
        "" | "all" => Vec::new(),
        capture => {
            let text = text::escape_in(capture.as_bytes(), theme.charset, usize::from(width));
            let text = text::cut(&text, usize::from(width) / 3, theme.charset);
            vec![Piece::new("capture", theme.quiet()), Piece::plain(text)]
        }
    }
}

/// The watches with a match, with the numbers of these.
fn watches(app: &App, theme: Theme) -> Vec<Piece> {
    let matched = app.watches.all.iter().filter(|watch| watch.count > 0);
    let piece =
        |watch: &Watch| Piece::new(format!("{} {}", watch.name(theme.charset), short(watch.count)), theme.note());
    matched.map(piece).collect()
}

/// The rate of each kind that has one. A narrow screen has no dots between them.
fn rates(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let quiet = |text: &str| Piece::new(text, theme.quiet());
    let mut pieces = Vec::new();
    for kind in Kind::PROBED.into_iter().filter(|kind| *kind != Kind::Fork && app.rates.of(*kind) > 0) {
        if !pieces.is_empty() && width >= 100 {
            pieces.push(quiet(theme.dot()));
        }
        pieces.extend([Piece::new(short(app.rates.of(kind)), theme.strong()), quiet(kind.name())]);
    }
    pieces.push(quiet(if pieces.is_empty() { "0 /s" } else { "/s" }));
    pieces
}

/// The fill level of the ring between the kernel and tracetui, if there is little room left.
fn ring(app: &App, theme: Theme) -> Vec<Piece> {
    let percent = app.world().counters.ring_percent().filter(|percent| *percent >= NEARLY_FULL);
    percent.map(|percent| Piece::new(format!("ring {percent}%"), theme.loss())).into_iter().collect()
}

/// A bar, or a space for zero.
pub(super) fn bar(count: u64, most: u64, charset: Charset) -> char {
    let bars = match charset {
        Charset::Utf8 => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        Charset::Ascii => ['.', '.', ':', ':', ':', '|', '|', '|'],
    };
    match count {
        0 => ' ',
        _ => bars[usize::try_from((count * 8).div_ceil(most.max(1)).clamp(1, 8) - 1).unwrap_or_default()],
    }
}
