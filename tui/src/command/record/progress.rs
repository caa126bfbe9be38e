//! The progress of a recording: one line on the terminal, rewritten each second.

use crate::command::messages;
use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use std::time::{Duration, Instant};
use tracetui_events::text::{grouped, size};

pub(super) const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Figures {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
}

#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// The figures of the previous line, and when it was written.
    before: (Instant, Figures),
}

impl Progress {
    /// `None` if stderr is no terminal.
    pub(super) fn new() -> Option<Progress> {
        let now = Instant::now();
        rustix::termios::isatty(stderr()).then(|| Progress { begun: now, before: (now, Figures::default()) })
    }

    /// Writes the line, unless another job has the terminal.
    pub(super) fn show(&mut self, figures: Figures) {
        let now = Instant::now();
        let (then, before) = std::mem::replace(&mut self.before, (now, figures));
        // An error means that this is not the terminal of the session, and so has no jobs.
        if tcgetpgrp(stderr()).map_or(true, |group| group == getpgrp()) {
            // The size of a terminal may be unknown.
            let width = tcgetwinsize(stderr()).map_or(0, |size| usize::from(size.ws_col));
            let width = if width == 0 { 80 } else { width };
            let mut line = line(now - self.begun, now - then, before, figures);
            // Leave the last column free. Otherwise the cursor would move to the next line.
            line.truncate(width - 1);
            messages::progress(&line);
        }
    }
}

/// `1:02  3,456,789 events (50,000/s)  45.1 MiB (720.0 KiB/s)  lost 0`. In ASCII.
fn line(elapsed: Duration, since: Duration, before: Figures, now: Figures) -> String {
    let per_second = |before: u64, now: u64| {
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        now.saturating_sub(before).saturating_mul(1000) / ms
    };
    format!(
        "{}  {} events ({}/s)  {} ({}/s)  lost {}",
        clock(elapsed.as_secs()),
        grouped(now.events),
        grouped(per_second(before.events, now.events)),
        size(now.bytes),
        size(per_second(before.bytes, now.bytes)),
        grouped(now.lost)
    )
}

/// `1:02`, `1:00:02`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_figures_and_their_rates() {
        let before = Figures { events: 1_000_000, bytes: 10 << 20, lost: 0 };
        let now = Figures { events: 1_100_000, bytes: 11 << 20, lost: 1234 };
        let text = line(Duration::from_secs(62), Duration::from_secs(2), before, now);
        assert_eq!(text, "1:02  1,100,000 events (50,000/s)  11.0 MiB (512.0 KiB/s)  lost 1,234");
        // Any figures make a line.
        let most = Figures { events: u64::MAX, bytes: u64::MAX, lost: u64::MAX };
        assert!(line(Duration::MAX, Duration::ZERO, Figures::default(), most).is_ascii());
        assert!(line(Duration::ZERO, Duration::MAX, most, Figures::default()).contains("(0/s)"));
        assert_eq!(clock(3602), "1:00:02");
        assert_eq!([0, 1023, 1536].map(size), ["0 B", "1023 B", "1.5 KiB"]);
    }
}
