//! The metrics of `record --metrics`, in the text format of Prometheus.

use std::fmt::Write;
use tracetui_events::account::Account;
use tracetui_events::frame::host::Counters;
use tracetui_shared::kind::Kind;

/// The figures of a trace beside those of its account.
pub(super) struct Figures<'c> {
    /// Bytes written, in removed files too.
    pub(super) bytes: u64,
    /// Seconds since the moment of the account.
    pub(super) lag: f64,
    pub(super) counters: &'c Counters,
}

/// Appends a metric without labels.
fn add(out: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    head(out, name, kind, help);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "tracetui_{name} {value}");
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP tracetui_{name} {help}\n# TYPE tracetui_{name} {kind}");
}

pub(super) fn of_trace(account: &Account, figures: &Figures<'_>) -> String {
    let mut out = String::new();
    head(&mut out, "info", "gauge", "The version of tracetui.");
    let _ = writeln!(out, "tracetui_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    head(&mut out, "events_total", "counter", "Events that happened: recorded, filtered or lost.");
    for kind in Kind::PROBED {
        let events = account.kind(kind);
        for (outcome, count) in
            [("recorded", events.delivered), ("filtered", events.filtered), ("lost", events.lost.sum())]
        {
            let _ = writeln!(out, "tracetui_events_total{{kind=\"{}\",outcome=\"{outcome}\"}} {count}", kind.name());
        }
    }
    head(&mut out, "lost_events_total", "counter", "Events that were lost, by cause.");
    for kind in Kind::PROBED {
        let lost = account.kind(kind).lost;
        for (cause, count) in
            [("ring", lost.ring), ("probe", lost.probe), ("read", lost.read), ("unwritten", lost.unwritten)]
        {
            let _ = writeln!(out, "tracetui_lost_events_total{{kind=\"{}\",cause=\"{cause}\"}} {count}", kind.name());
        }
    }
    add(&mut out, "truncated_events_total", "counter", "Recorded events with a truncated field.", account.cut);
    add(&mut out, "written_bytes_total", "counter", "Bytes of recordings written.", figures.bytes);
    add(&mut out, "lag_seconds", "gauge", "The age of these counts of events.", format_args!("{:.3}", figures.lag));
    let help = "Unread bytes in the ring buffers, if all were as full as the fullest.";
    add(&mut out, "ring_used_bytes", "gauge", help, figures.counters.ring_used);
    add(&mut out, "ring_size_bytes", "gauge", "The size of all ring buffers.", figures.counters.ring_size);
    out
}

pub(super) fn of_files(kept: u64, removed: u64, number: u64) -> String {
    let mut out = String::new();
    add(&mut out, "files", "gauge", "Files of recordings that are kept.", kept);
    add(&mut out, "files_removed_total", "counter", "Oldest files that were removed.", removed);
    add(&mut out, "file_number", "gauge", "The number in the name of the file that is written.", number);
    out
}
