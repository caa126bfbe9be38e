//! Keeps the events around those that match a filter (`record --around`).
//!
//! Events wait in memory for a match, for at most `--before` and as far as there is room. A match moves them, and the events up to
//! `--after` later, into an excerpt of the trace. Windows that overlap or touch are merged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tracetui_events::account::ByKind;
use tracetui_events::enrich::World;
use tracetui_events::event::process::Process;
use tracetui_events::event::{Body, Event, EventContext};
use tracetui_events::filter::{Compiled, Scratch};
use tracetui_events::frame::host::{HostFrame, Window};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::pipeline::excerpt::Excerpt;
use tracetui_shared::time::BootNanos;

#[derive(Debug)]
pub(super) struct Wanted {
    /// The events that may be kept.
    pub(super) wanted: Compiled,
    /// The matches among them, whose surroundings are kept.
    pub(super) matches: Compiled,
    pub(super) before: Duration,
    pub(super) after: Duration,
    /// The maximum bytes of waiting events.
    pub(super) room: usize,
}

#[derive(Debug)]
pub(super) struct Around {
    wanted: Wanted,
    scratch: (Scratch, Scratch),
    excerpt: Excerpt,
    /// Frames of the excerpt still to be written.
    ready: VecDeque<Batch>,
    /// The events that wait for a match, all after the window, and their bytes.
    held: VecDeque<Held>,
    bytes: usize,
    /// The time of the latest event dropped for lack of room.
    dropped_ns: Option<u64>,
    /// The latest window, as long as a match can still join it.
    window: Option<Window>,
    /// The time of the first and of the latest event.
    first_ns: Option<u64>,
    latest_ns: u64,
    /// Events that were taken into the excerpt after they had waited.
    late: ByKind,
    /// The matches and windows so far.
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) matches: u64,
    pub(super) windows: u64,
    /// Windows that begin later than requested, for lack of room.
    pub(super) short: u64,
}

#[derive(Debug)]
struct Held {
    ns: u64,
    frame: Box<[u8]>,
    process: Option<Arc<Process>>,
    clock_offset: i64,
    bytes: usize,
}

impl Around {
    /// Begins with the state of the world after the first frames.
    pub(super) fn new(wanted: Wanted, world: &World) -> Around {
        let excerpt = Excerpt::new(world, wanted.wanted.kinds, wanted.wanted.whole.text());
        Around {
            wanted,
            scratch: Default::default(),
            excerpt,
            ready: VecDeque::new(),
            held: VecDeque::new(),
            bytes: 0,
            dropped_ns: None,
            window: None,
            first_ns: None,
            latest_ns: 0,
            late: ByKind::default(),
            counts: Counts::default(),
        }
    }

    /// Takes the next event. In a window it is delivered. Otherwise it waits, and may be delivered later ([`late`](Self::late)).
    pub(super) fn take_event(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) -> Disposition {
        if !self.wanted.wanted.passes(seen, &mut self.scratch.0) {
            return Disposition::Filtered;
        }
        let ns = frame.header.time.0;
        self.first_ns.get_or_insert(ns);
        self.latest_ns = self.latest_ns.max(ns);
        if self.matches(seen) {
            self.matched(ns, seen);
        }
        match &self.window {
            Some(window) if ns <= window.to.0 => {
                self.add(seen, frame);
                Disposition::Delivered
            }
            _ => {
                self.hold(ns, seen, frame);
                Disposition::Filtered
            }
        }
    }

    /// A `lost` row matches only if the filter names kinds.
    fn matches(&mut self, seen: &EventContext<'_>) -> bool {
        let matches = &self.wanted.matches;
        let may = !matches!(seen.event.body, Body::Lost(_)) || matches.whole.kind_named;
        may && matches.passes_whole(seen, &mut self.scratch.1)
    }

    fn matched(&mut self, ns: u64, seen: &EventContext<'_>) {
        let to = BootNanos(ns.saturating_add(nanos(self.wanted.after)));
        let asked = ns.saturating_sub(nanos(self.wanted.before)).max(self.first_ns.unwrap_or(ns));
        let from = match self.dropped_ns {
            Some(dropped) if asked <= dropped => self.held.front().map_or(ns, |oldest| oldest.ns),
            _ => asked,
        };
        self.counts.matches += 1;
        match &mut self.window {
            Some(window) if from <= window.to.0.saturating_add(1) => {
                window.to = window.to.max(to);
                window.matches += 1;
            }
            _ => {
                self.close();
                let short = from > asked;
                self.counts.windows += 1;
                self.counts.short += u64::from(short);
                let window = Window { from: BootNanos(from), to: BootNanos(0), matches: 1, short };
                self.excerpt.push(&HostFrame::Window(window.clone()));
                self.window = Some(Window { to, ..window });
            }
        }
        self.bytes = 0;
        for held in std::mem::take(&mut self.held).into_iter().filter(|held| held.ns >= from) {
            self.add_held(&held, seen);
        }
    }

    fn add_held(&mut self, held: &Held, now: &EventContext<'_>) {
        let Some((frame, _)) = FrameRef::first(&held.frame) else { return };
        let Ok(event) = Event::decode(&frame) else { return };
        let clock_offset = held.clock_offset;
        let seen = EventContext { event: &event, world: now.world, process: held.process.as_ref(), clock_offset };
        self.add(&seen, &frame);
        if let Some(late) = self.late.of(event.kind()) {
            late.delivered += 1;
            late.cut += u64::from(event.cut());
        }
    }

    fn add(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) {
        self.excerpt.add(seen, frame);
        if self.excerpt.bytes() >= limits::BATCH {
            self.ready.push_back(self.excerpt.batch());
        }
    }

    fn hold(&mut self, ns: u64, seen: &EventContext<'_>, frame: &FrameRef<'_>) {
        let earliest = ns.saturating_sub(nanos(self.wanted.before));
        if self.window.as_ref().is_some_and(|window| window.to.0.saturating_add(1) < earliest) {
            self.close();
        }
        let process = seen.process.map(Arc::clone);
        // An exec creates the data of its process, which other events share.
        let image = match (&seen.event.body, &process) {
            (Body::Exec(_), Some(process)) => size_of::<Process>() + process.image.argv.len() + process.image.exe.len(),
            _ => 0,
        };
        let bytes = size_of::<Held>() + frame.bytes.len() + image;
        self.held.push_back(Held { ns, frame: frame.bytes.into(), process, clock_offset: seen.clock_offset, bytes });
        self.bytes += bytes;
        while let Some(oldest) = self.held.front() {
            let (full, old) = (self.bytes > self.wanted.room, oldest.ns < earliest);
            if full && !old {
                self.dropped_ns = Some(oldest.ns);
            } else if !old {
                break;
            }
            self.bytes -= oldest.bytes;
            self.held.pop_front();
        }
    }

    /// Writes the end of the window, once no match can join it.
    pub(super) fn close(&mut self) {
        if let Some(window) = self.window.take() {
            let to = BootNanos(window.to.0.min(self.latest_ns.max(window.from.0)));
            self.excerpt.push(&HostFrame::Window(Window { to, ..window }));
        }
    }

    pub(super) fn batch(&mut self) -> Option<Batch> {
        if self.excerpt.bytes() > 0 {
            self.ready.push_back(self.excerpt.batch());
        }
        self.ready.pop_front()
    }

    /// The events taken since the last call that had waited before.
    pub(super) fn late(&mut self) -> ByKind {
        std::mem::take(&mut self.late)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::filter::{FilterOptions, NoNames};
    use tracetui_events::pipeline::Pipeline;
    use tracetui_events::synthetic::Maker;

    fn compiled(filter: &str) -> Compiled {
        let options = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
        options.compile(&NoNames).expect("a filter")
    }

    /// The times of the events that are kept, and the windows, in ms after the first event. There is one each millisecond: where it
    /// matches, a failed exec or an open of `/yes/x`, else an open of `/no/x`.
    fn kept(
        events: u64,
        matching: &[u64],
        before: u64,
        after: u64,
        room: usize,
    ) -> (Vec<u64>, Vec<(u64, u64, u64)>, Counts) {
        let wanted = Wanted {
            wanted: compiled(""),
            matches: compiled("path=/yes/* or kind=exec err=ENOENT"),
            before: Duration::from_millis(before),
            after: Duration::from_millis(after),
            room,
        };
        let mut maker = Maker::default();
        let (mut pipeline, mut reader) = (Pipeline::default(), Pipeline::default());
        let start = maker.ns + maker.step_ns;
        let mut around = Around::new(wanted, pipeline.world());
        let mut kept = Vec::new();
        for number in 0..events {
            match matching.contains(&number) {
                true if number % 2 == 0 => maker.exec(7, "cc", &["ld"], -2),
                true => maker.open(7, "cc", "/yes/x", 3),
                false => maker.open(7, "cc", "/no/x", 3),
            }
            pipeline.feed(maker.batch());
            pipeline.next(None, &mut |seen, frame| around.take_event(seen, frame));
            pipeline.ledger().deliver_late(&around.late());
            if number + 1 == events {
                around.close();
            }
            while let Some(batch) = around.batch() {
                reader.feed(batch);
                reader.next(None, &mut |seen, _| {
                    kept.push((seen.event.header.time.0 - start) / 1_000_000);
                    Disposition::Delivered
                });
            }
        }
        reader.end();
        reader.next(None, &mut |_, _| panic!("an excerpt holds nothing back"));
        assert_eq!(pipeline.account().sum().delivered, kept.len() as u64);
        assert_eq!(pipeline.account().sum().filtered, events - kept.len() as u64);
        assert_eq!((reader.account().sum().delivered, reader.account().sum().lost.sum()), (kept.len() as u64, 0));
        let ms = |ns: BootNanos| (ns.0 - start) / 1_000_000;
        let windows = reader.windows.iter().map(|w| (ms(w.from), ms(w.to), w.matches)).collect();
        (kept, windows, around.counts)
    }

    #[track_caller]
    fn check_windows(matching: &[u64], windows: &[(u64, u64, u64)]) {
        let (kept, found, counts) = kept(100, matching, 5, 3, usize::MAX);
        assert_eq!(found, windows);
        assert!(kept.into_iter().eq(windows.iter().flat_map(|(from, to, _)| *from..=*to)));
        assert_eq!((counts.matches, counts.windows, counts.short), (matching.len() as u64, windows.len() as u64, 0));
    }

    #[test]
    fn only_what_surrounds_a_match_is_kept() {
        check_windows(&[], &[]);
        check_windows(&[50], &[(45, 53, 1)]);
        check_windows(&[20, 70], &[(15, 23, 1), (65, 73, 1)]);
        // At the ends.
        check_windows(&[0], &[(0, 3, 1)]);
        check_windows(&[2, 99], &[(0, 5, 1), (94, 99, 1)]);
        // Windows that meet are one: within it, overlapping, touching, and apart.
        check_windows(&[50, 51, 53], &[(45, 56, 3)]);
        check_windows(&[50, 57], &[(45, 60, 2)]);
        check_windows(&[50, 58], &[(45, 61, 2)]);
        check_windows(&[50, 59], &[(45, 53, 1), (54, 62, 1)]);
        check_windows(&(0..100).collect::<Vec<_>>(), &[(0, 99, 100)]);
        // Without room, windows begin later.
        let frame = 300;
        let (all, windows, counts) = kept(100, &[50, 53], 20, 3, 4 * frame);
        assert!(counts.short == 1 && counts.windows == 1, "{counts:?}");
        let (from, to, matches) = windows[0];
        assert!((31..50).contains(&from) && (to, matches) == (56, 2), "{windows:?}");
        assert!(all.into_iter().eq(from..=to));
        // None at all.
        let (all, windows, _) = kept(100, &[50, 90], 20, 3, 0);
        assert_eq!(windows, [(50, 53, 1), (90, 93, 1)]);
        assert!(all.into_iter().eq((50..=53).chain(90..=93)));
    }
}
