//! The report on lost events: first the verdict and the remedy, then numbers, gaps, CPUs and probes.

use super::theme::Theme;
use super::{clock, gap};
use crate::app::keys::keymap::Action;
use crate::app::{App, Memory};
use ratatui::text::Line;
use std::fmt::Display;
use tracetui_events::account::{Account, Shortage};
use tracetui_events::event::Body;
use tracetui_events::event::lost::Cause;
use tracetui_events::frame::host::Counters;
use tracetui_events::store::Stored;
use tracetui_events::text::{self, Charset, counted, grouped};
use tracetui_shared::capture::MAX_TREE;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};

/// The maximum number of listed gaps, newest first.
const GAPS: usize = 8;

/// The lines of the report: first the verdict and the remedy, then the numbers.
pub(super) fn lines(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(2);
    let said = |line: String| text::wrap(&line, room).into_iter().map(|line| Line::raw(format!("  {line}")));
    let styled = |text: &str, style| {
        let lines = text::wrap(text, room);
        lines.into_iter().map(move |line| Line::styled(format!("  {line}"), style)).collect::<Vec<_>>()
    };
    // All numbers are as of one moment. Later events are in none of them.
    let (at, account) = app.pipeline.account_then();
    let counters = &app.world().counters;
    let title = |text: &str| Line::styled(format!(" {text}"), theme.strong());
    let mut lines = vec![title("LOST EVENTS")];
    lines.extend(app.pipeline.discrepancy().into_iter().flat_map(|text| styled(&text, theme.alarm())));
    let whole = of_recording(app, &account);
    let is_partial = whole.is_some();
    let ((verdict, is_lost), loaded) = match whole {
        Some((verdict, loaded)) => ((verdict, true), Some(loaded)),
        None => (verdict(app, &account), None),
    };
    lines.extend(styled(&verdict, if is_lost { theme.loss() } else { theme.strong() }));
    lines.extend(loaded.into_iter().chain(advice(&account, counters, is_partial)).flat_map(said));
    lines.push(Line::default());
    lines.extend(by_kind(&account).into_iter().map(Line::raw));
    lines.extend(
        at.map(|at| said(format!("as of {}", clock(at.0, app.world().clock_offset, app)))).into_iter().flatten(),
    );
    lines.extend(gaps(app, room, theme));
    lines.extend(by_cpu(counters).into_iter().map(Line::raw));
    lines.push(Line::default());
    lines.push(title("Other figures"));
    lines.extend(ring(counters).into_iter().flat_map(said));
    lines.extend(apart(app, &account).into_iter().flat_map(said));
    lines.extend(memory(app, &account).into_iter().flat_map(said));
    lines.extend(probes(app).into_iter().flat_map(said));
    lines.extend(inventory(app).iter().flat_map(|text| styled(text, theme.loss())));
    lines
}

/// The losses of the whole recording, and those loaded so far. `None` if all are loaded, and in a live trace.
fn of_recording(app: &App, account: &Account) -> Option<(String, String)> {
    let recording = &app.replay.as_ref()?.facts;
    let lost = recording.lost;
    let loaded = account.sum().lost.sum().saturating_add(account.unattributed_skips);
    if loaded >= lost {
        return None;
    }
    let share = share(lost, recording.events.saturating_add(lost));
    let verdict = format!("{} lost in this recording: {share} of all events", gap::counted(lost, None));
    let loaded = if loaded == 0 { "none".to_owned() } else { grouped(loaded) };
    // A filter on kinds may hide the gaps.
    let next = match app.filter.applied.is_some() {
        false => format!(" {} loads the next gap.", app.key_of(Action::Next)),
        true => String::new(),
    };
    let gaps = match app.events().gaps() {
        0 => String::new(),
        gaps => format!(", in {}", counted(gaps as u64, ["gap", "gaps"])),
    };
    Some((verdict, format!("Loaded so far: {loaded} of them{gaps}.{next} The counts below cover the loaded part.")))
}

fn share(lost: u64, all: u64) -> String {
    let tenths = u128::from(lost) * 1000 / u128::from(all.max(1));
    if tenths == 0 { "less than 0.1 %".to_owned() } else { format!("{}.{} %", tenths / 10, tenths % 10) }
}

/// The first line, and whether events were lost.
fn verdict(app: &App, account: &Account) -> (String, bool) {
    let sum = account.sum();
    let lost = sum.lost.sum();
    if lost == 0 {
        return match account.unattributed_skips {
            0 if app.events().gaps() > 0 => {
                ("Events were lost: the list has gaps. The counters are not read yet.".to_owned(), true)
            }
            0 => ("No event was lost.".to_owned(), false),
            skips => (format!("Lost up to {}: programs were skipped.", counted(skips, ["event", "events"])), true),
        };
    }
    let kinds = Kind::PROBED.into_iter().map(|kind| (kind, account.kind(kind).lost.sum()));
    let kinds: Vec<String> =
        kinds.filter(|(_, lost)| *lost > 0).map(|(kind, lost)| lost_of(account, kind, lost)).collect();
    let share = share(lost, sum.seen);
    let gaps = match app.events().gaps() {
        0 => String::new(),
        1 => format!(", in 1 gap ({} goes there)", app.key_of(Action::Next)),
        gaps => format!(", in {} gaps ({} goes to the next one)", grouped(gaps as u64), app.key_of(Action::Next)),
    };
    (format!("{} lost: {share} of all events{gaps}", kinds.join(", ")), true)
}

/// `1,204 opens`, `at most 55,210 bpf events`.
fn lost_of(account: &Account, kind: Kind, lost: u64) -> String {
    let at_most = if account.kind(kind).bounded > 0 { "at most " } else { "" };
    format!("{at_most}{}", gap::counted(lost, Some(kind)))
}

fn gaps(app: &App, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let found = app.events().newest_gaps().take(GAPS).filter_map(|id| app.store().get(id));
    let line = |stored: Stored<'_>| {
        stored.with(app.world(), |seen| {
            let Body::Lost(lost) = &seen.event.body else { return None };
            let record = &lost.record;
            let what = format!("{}{}", record.at_most(), gap::counted(record.count, lost.of()));
            let cpu = if record.cpu == u32::MAX { String::new() } else { format!(", CPU {}", record.cpu) };
            let text =
                format!("  {}  {what}: {}{cpu}", clock(record.to_ns, seen.clock_offset, app), lost.cause.clause());
            Some(Line::styled(text::cut(&text, room, theme.charset), theme.loss()))
        })
    };
    let lines: Vec<_> = found.filter_map(line).flatten().collect();
    if lines.is_empty() {
        return lines;
    }
    let all = app.events().gaps();
    let title = if all > lines.len() {
        format!(" Gaps (the newest {} of {})", lines.len(), grouped(all as u64))
    } else {
        " Gaps".to_owned()
    };
    [Line::default(), Line::styled(title, theme.strong())].into_iter().chain(lines).collect()
}

fn inventory(app: &App) -> Vec<String> {
    let (bpf, charset) = (&app.world().bpf, Charset::Utf8);
    let unseen = bpf.unseen().iter().map(|text| text::escape_in(text.as_bytes(), charset, 256));
    let mut lines: Vec<_> = unseen.map(|text| format!("BPF inventory incomplete: {text}")).collect();
    if bpf.left_out > 0 {
        let left_out = grouped(bpf.left_out);
        lines.push(format!("BPF inventory: {left_out} programs and attachments dropped: too many"));
    }
    lines
}

fn probes(app: &App) -> Vec<String> {
    let probes = &app.world().probes;
    let (attached, missing): (Vec<_>, Vec<_>) = probes.iter().partition(|probe| probe.attached);
    let missing: Vec<&str> = missing.iter().map(|probe| probe.name.as_str()).collect();
    let rest = if missing.is_empty() { String::new() } else { format!("; not attached: {}", missing.join(", ")) };
    let lines = (!probes.is_empty()).then(|| format!("probes: {} attached{rest}", attached.len()));
    lines.into_iter().collect()
}

/// A line of a table: a name, and right-aligned cells.
fn row(name: impl Display, cells: impl IntoIterator<Item = impl Display>) -> String {
    let mut line = format!("  {name:<6}");
    for cell in cells {
        line.push_str(&format!("{cell:>12}"));
    }
    line
}

fn by_kind(account: &Account) -> Vec<String> {
    let mut lines = vec![row("KIND", ["SEEN", "DELIVERED", "FILTERED", "RING FULL", "SKIPPED", "UNREADABLE"])];
    let line = |name: &str, k: &tracetui_events::account::KindAccount| {
        row(name, [k.seen, k.delivered, k.filtered, k.lost.ring, k.lost.probe, k.lost.read].map(grouped))
    };
    lines.extend(Kind::PROBED.iter().map(|kind| line(kind.name(), &account.kind(*kind))));
    lines.push(line("all", &account.sum()));
    lines
}

/// The losses of each CPU, by kind. Only ring losses are known per CPU.
fn by_cpu(counters: &Counters) -> Vec<String> {
    let losers = counters.cpus.iter().enumerate().filter_map(|(cpu, state)| {
        let of = |kind: Kind| {
            let slots = Slot::of_kind(kind);
            slots.filter_map(|slot| state.slots.get(slot as usize)).map(|slot| slot.lost_ring).sum::<u64>()
        };
        let counts = Kind::PROBED.map(of);
        let all: u64 = counts.iter().sum();
        (all > 0).then(|| row(cpu, [all].into_iter().chain(counts).map(grouped)))
    });
    let losers: Vec<_> = losers.collect();
    if losers.is_empty() {
        return vec![];
    }
    let kinds = Kind::PROBED.map(|kind| kind.name().to_ascii_uppercase());
    let titles = ["RING FULL".to_owned()].into_iter().chain(kinds);
    [String::new(), row("CPU", titles)].into_iter().chain(losers).collect()
}

fn ring(counters: &Counters) -> Vec<String> {
    let Some(percent) = counters.ring_percent() else { return vec![] };
    vec![format!("ring: {} KiB, {percent}% full at the last reading, once a second", counters.ring_size >> 10)]
}

/// Numbers that are not losses, and other missing data.
fn apart(app: &App, account: &Account) -> Vec<String> {
    let skips = (account.unattributed_skips > 0).then(|| {
        format!(
            "skips: {} in programs that serve several kinds; the kernel does not report the kind",
            grouped(account.unattributed_skips)
        )
    });
    let books = (account.bookkeeping_lost > 0).then(|| {
        let lost = counted(account.bookkeeping_lost, ["record", "records"]);
        format!("process table: lost {lost}; parents and names may be missing")
    });
    let tree = (account.tree_full > 0).then(|| {
        format!(
            "--tree: more than {} live processes; {} were not traced",
            grouped(MAX_TREE.into()),
            grouped(account.tree_full)
        )
    });
    let named = Reason::ALL.into_iter().zip(account.dropped).map(|(reason, count)| (reason.name(), count));
    let named = named.chain([("hollow", account.hollow)]).filter(|(_, count)| *count > 0);
    let named: Vec<String> = named.map(|(name, count)| format!("{name} {}", grouped(count))).collect();
    let dropped = (!named.is_empty()).then(|| format!("dropped or incomplete: {}", named.join(", ")));
    let late = (account.late > 0)
        .then(|| format!("order: {} arrived after later ones were shown", counted(account.late, ["event", "events"])));
    let others = format!(
        "not lost: hidden {} (filter), evicted {} (memory), cut {} (truncated field), own {}",
        grouped(app.loaded().hidden()),
        grouped(app.store().evicted()),
        grouped(account.cut),
        grouped(account.own)
    );
    [skips, books, tree, account.unread_text(), dropped, late, Some(others)].into_iter().flatten().collect()
}

/// The use of `--memory`, and the data that did not fit.
fn memory(app: &App, account: &Account) -> Vec<String> {
    let memory = Memory::of(app);
    let mib = |bytes: usize| format!("{}.{}", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
    let mut lines = vec![format!(
        "memory: {} of {} MiB: events {}, processes {}, names {}, waiting {}, output {}; queues up to {}",
        mib(memory.used()),
        memory.bound >> 20,
        mib(memory.events),
        mib(memory.processes),
        mib(memory.names),
        mib(memory.waiting),
        mib(memory.output),
        mib(memory.queues)
    )];
    if let Some((permille, resident)) = app.usage.and_then(|used| Some((used.permille?, used.resident))) {
        let cpu = format!("{}.{}% CPU", permille / 10, permille % 10);
        lines.push(format!("tracetui: {cpu}, {} MiB of memory (RssAnon)", resident >> 20));
    }
    let Shortage { processes, cgroups, unsettled } = account.shortage;
    if processes + cgroups + unsettled > 0 {
        lines.push(format!(
            "--memory is too small: {} live processes and {} cgroups evicted, {} events delivered early",
            grouped(processes),
            grouped(cgroups),
            grouped(unsettled)
        ));
    }
    lines
}

pub(super) fn remedy(cause: Cause, counters: &Counters) -> String {
    match cause {
        Cause::Ring => {
            let larger = (counters.ring_size.max(1 << 20) * 4).min(tracetui_events::limits::RING_MAX) >> 20;
            format!("start with --ring-size {larger}MiB, or capture less: --kind, --comm, --tree, --cgroup")
        }
        Cause::Probe => {
            "stop other tracers: while their programs run, the kernel skips ours. At most 65,536 open TCP connections are tracked"
                .to_owned()
        }
        Cause::Read => "a bug in tracetui, or probes of another version; please report it".to_owned(),
    }
}

/// The remedies for the losses in the account. `partial`: other losses are not loaded.
fn advice(account: &Account, counters: &Counters, partial: bool) -> Vec<String> {
    let lost = account.sum().lost;
    let mut advice = Vec::new();
    if lost.ring > 0 {
        advice.push(format!("ring full: {}.", remedy(Cause::Ring, counters)));
        advice.push("A display filter does not free the ring. A gap row marks the place of each loss.".to_owned());
    }
    if account.unseen > 0 {
        advice.push(format!(
            "unseen: {} io_uring opens without a completion: full queue, in flight at the end, or see tracetui doctor.",
            grouped(account.unseen)
        ));
    }
    if lost.probe.saturating_sub(account.unseen) + account.unattributed_skips > 0 {
        advice.push(format!("skipped: {}.", remedy(Cause::Probe, counters)));
    }
    if lost.read > 0 {
        advice.push(format!("unreadable: {}.", remedy(Cause::Read, counters)));
    }
    if account.tree_full > 0 {
        advice.push("--tree: the tree has too many live processes; choose a smaller one.".to_owned());
    }
    if account.shortage != Shortage::default() {
        advice.push("memory: process and cgroup data is incomplete; start with a larger --memory.".to_owned());
    }
    if advice.is_empty() && !partial {
        advice.push("Nothing to do.".to_owned());
    }
    advice
}
