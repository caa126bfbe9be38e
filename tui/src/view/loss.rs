//! The report on lost events: numbers, kinds, CPUs and remedies.

use super::theme::Theme;
use crate::account::{Account, Shortage};
use crate::app::App;
use crate::frame::host::Counters;
use crate::text::{self, grouped};
use ratatui::text::Line;
use std::fmt::Display;
use tracetui_shared::capture::MAX_TREE;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};

/// The lines of the report.
pub(super) fn lines(app: &App, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(2);
    let said = |line: String| text::wrap(&line, room).into_iter().map(|line| Line::raw(format!("  {line}")));
    let account = app.account();
    let counters = app.world().counters();
    let mut lines = vec![Line::styled(" LOST EVENTS", theme.strong())];
    let off = app.discrepancy().map(|text| text::wrap(&text, room)).unwrap_or_default();
    lines.extend(off.into_iter().map(|line| Line::styled(format!("  {line}"), theme.alarm())));
    lines.extend(by_kind(&account).into_iter().map(Line::raw));
    lines.extend(by_cpu(counters).into_iter().map(Line::raw));
    lines.extend(ring(counters).into_iter().flat_map(said));
    lines.extend(apart(app, &account).into_iter().flat_map(said));
    lines.extend(memory(app, &account).into_iter().flat_map(said));
    lines.push(Line::default());
    lines.push(Line::styled(" What to do", theme.strong()));
    lines.extend(advice(&account, counters).into_iter().flat_map(said));
    lines
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
    let line = |name: &str, k: &crate::account::KindAccount| {
        row(name, [k.seen, k.delivered, k.filtered, k.lost.ring, k.lost.probe, k.lost.read].map(grouped))
    };
    lines.extend(Kind::PROBED.iter().map(|kind| line(kind.name(), &account.kind(*kind))));
    lines.push(line("all", &account.sum()));
    lines
}

/// The losses of each CPU, by kind. Only losses in the ring are known by CPU.
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
    let Some(percent) = (counters.ring_used * 100).checked_div(counters.ring_size) else { return vec![] };
    vec![
        String::new(),
        format!("ring: {} KiB, {percent}% full; counters are read once a second", counters.ring_size >> 10),
    ]
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
        format!("process table: {} records lost; parents and names may be missing", grouped(account.bookkeeping_lost))
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
    let others = format!(
        "not lost: hidden {} (filter), evicted {} (memory), cut {} (truncated field), own {}",
        grouped(app.hidden()),
        grouped(app.store().evicted()),
        grouped(account.cut),
        grouped(account.own)
    );
    skips.into_iter().chain(books).chain(tree).chain(dropped).chain([others]).collect()
}

/// The usage of `--memory`, and the data for which there was no room.
fn memory(app: &App, account: &Account) -> Vec<String> {
    let memory = app.memory();
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

fn advice(account: &Account, counters: &Counters) -> Vec<String> {
    let lost = account.sum().lost;
    let mut advice = Vec::new();
    if lost.ring > 0 {
        let larger = (counters.ring_size.max(1 << 20) * 4).min(crate::limits::RING_MAX) >> 20;
        advice.push(format!(
            "ring full: start with --ring-size {larger}MiB, or capture less: --kind, --comm, --tree, --cgroup."
        ));
        advice.push("A display filter does not free the ring. A gap row marks the place of each loss.".to_owned());
    }
    if account.unseen > 0 {
        advice.push(format!(
            "unseen: completions of {} opens through io_uring; tracetui doctor shows the reason.",
            grouped(account.unseen)
        ));
    }
    if lost.probe.saturating_sub(account.unseen) + account.unattributed_skips > 0 {
        advice.push(
            "skipped: another tracer's program was running, or the probe recursed; stop other tracers.".to_owned(),
        );
    }
    if lost.read > 0 {
        advice.push("unreadable: a bug in tracetui, or probes of another version; please report it.".to_owned());
    }
    if account.tree_full > 0 {
        advice.push("--tree: the tree has too many live processes; choose a smaller one.".to_owned());
    }
    if account.shortage != Shortage::default() {
        advice.push("memory: process and cgroup data is incomplete; start with a larger --memory.".to_owned());
    }
    if advice.is_empty() {
        advice.push("nothing: no events were lost.".to_owned());
    }
    advice
}
