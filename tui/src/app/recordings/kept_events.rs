//! The kept events as an excerpt, delivered in parts.

use crate::app::App;
use tracetui_events::frame::Batch;
use tracetui_events::limits;
use tracetui_events::pipeline::excerpt::Excerpt;
use tracetui_events::store::Id;
use tracetui_shared::kind::{Kind, KindSet};

/// The kept events that have not been taken.
#[derive(Debug)]
pub(crate) struct KeptEvents {
    excerpt: Excerpt,
    /// The first event that has not been taken.
    pub(crate) next: Id,
    /// The number of events taken, or evicted before the start.
    done: u64,
    /// The number of events that were evicted before they were taken. Known after the last part.
    pub(crate) evicted: u64,
}

impl KeptEvents {
    pub(crate) fn new(app: &App) -> KeptEvents {
        let kinds = app.pipeline.kinds().unwrap_or(KindSet::ALL);
        let (store, excerpt) = (app.store(), Excerpt::new(app.world(), kinds, ""));
        KeptEvents { excerpt, next: store.first_id(), done: store.evicted(), evicted: 0 }
    }

    /// The frames of the next part, and whether it is the last one.
    pub(crate) fn next(&mut self, app: &App) -> (Batch, bool) {
        let (store, world) = (app.store(), app.world());
        for stored in store.range(self.next..store.next_id()) {
            if self.excerpt.bytes() >= limits::BLOCK {
                return (self.excerpt.batch(), false);
            }
            self.next = stored.id + 1;
            stored.with(world, |seen| self.excerpt.add(seen, &stored.frame()));
            self.done += u64::from(stored.kind != Kind::Lost);
        }
        self.next = store.next_id();
        self.evicted = (store.events() + store.evicted()).saturating_sub(self.done);
        (self.excerpt.batch(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Input;
    use crate::app::testing::{CLOCK_OFFSET, app};
    use tracetui_events::frame::host::{Clock, HostFrame, Trace};
    use tracetui_events::pipeline::excerpt::restart;
    use tracetui_events::pipeline::{Disposition, Pipeline};
    use tracetui_events::synthetic::Maker;
    use tracetui_shared::id::Tgid;

    fn made(maker: &mut Maker, from: u32) -> Batch {
        for number in from..from + 700 {
            let pid = 100 + number % 9;
            match number % 5 {
                0 => maker.exec(pid, "sh", &["sh", "-c", &format!("run {number}")], 0),
                1 => maker.fork(pid, "sh", pid + 1000 + number),
                2 if number % 20 == 2 => maker.lose(3),
                _ => maker.open(pid, "cat", &format!("/file-{number}"), 3),
            }
        }
        maker.counters(false);
        maker.batch()
    }

    fn lines(batches: &[Batch]) -> Vec<String> {
        let mut pipeline = Pipeline::default();
        let mut out = Vec::new();
        let mut sink = tracetui_events::sink::to_writer(tracetui_events::sink::FormatName::Json, &mut out);
        let mut take = |seen: &tracetui_events::event::EventContext<'_>, _: &tracetui_events::frame::FrameRef<'_>| {
            sink.event(seen).expect("memory");
            Disposition::Delivered
        };
        for batch in batches {
            pipeline.feed(batch.clone());
            pipeline.next(None, &mut take);
        }
        pipeline.end();
        pipeline.next(None, &mut take);
        sink.finish().expect("memory");
        drop(sink);
        let text = String::from_utf8(out).expect("JSON");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn evicted_events_are_counted_and_the_life_of_command_begins_with_its_first_exec() {
        let (mut app, mut maker) = (app(80, 24, 8 << 20), Maker::default());
        let mut feed = |app: &mut App, parts: std::ops::Range<u32>| {
            parts.for_each(|part| drop(app.update(Input::Batch(made(&mut maker, part * 700)))));
        };
        feed(&mut app, 0..20);
        let before = app.store().evicted();
        let mut kept = KeptEvents::new(&app);
        feed(&mut app, 20..100);
        let gone = app.store().evicted() - before;
        assert!(gone > 0, "the memory is small");
        while !kept.next(&app).1 {}
        assert_eq!(kept.evicted, gone);
        // The life of COMMAND begins with its first exec.
        let (mut app, mut made) = (self::app(80, 24, 64 << 20), Maker::default());
        let command = Tgid(100);
        made.host(&HostFrame::Clock(Clock { offset_ns: CLOCK_OFFSET }));
        made.host(&HostFrame::Trace(Trace { kinds: KindSet::BY_DEFAULT.bits(), command, ..Trace::default() }));
        made.acts("100 make exec make, exit 0");
        let batch = made.batch();
        app.update(Input::Batch(batch.clone()));
        let mut kept = KeptEvents::new(&app);
        let recorded = kept.next(&app).0;
        for batch in [batch, recorded] {
            let lines = lines(&[batch]);
            let line: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
            // COMMAND was held for ten seconds.
            assert_eq!((&line["kind"], &line["dur_ns"]), (&"exit".into(), &1_000_000.into()), "{line}");
        }
    }

    #[test]
    fn a_recording_that_begins_later_has_the_kept_events_and_those_that_follow() {
        let (mut app, mut maker) = (app(80, 24, 64 << 20), Maker::default());
        // The frames fed to a new dashboard.
        let mut clock = Maker::default();
        clock.host(&HostFrame::Clock(Clock { offset_ns: CLOCK_OFFSET }));
        let mut all = vec![clock.batch()];
        let mut feed = |app: &mut App, maker: &mut Maker, from| {
            let batch = made(maker, from);
            app.update(Input::Batch(batch.clone()));
            all.push(batch.clone());
            batch
        };
        (0..4).for_each(|part| drop(feed(&mut app, &mut maker, part * 700)));
        let mut kept = KeptEvents::new(&app);
        let mut recorded = vec![kept.next(&app).0];
        // New events arrive while the kept ones are written.
        feed(&mut app, &mut maker, 2800);
        loop {
            let (batch, last) = kept.next(&app);
            recorded.push(batch);
            if last {
                break;
            }
        }
        recorded.push(restart(&app.pipeline.state()));
        (5..7).for_each(|part| recorded.push(feed(&mut app, &mut maker, part * 700)));
        let (live, replayed) = (lines(&all), lines(&recorded));
        assert!(live.len() > 4000, "{}", live.len());
        let differ = live.iter().zip(&replayed).find(|(live, replayed)| live != replayed);
        assert_eq!((differ, replayed.len()), (None, live.len()));
        check_account(&recorded);
    }

    /// Under a filter, the account's delivered events are those that were delivered.
    fn check_account(recorded: &[Batch]) {
        let (mut pipeline, mut delivered, mut turn) = (Pipeline::default(), 0, 0);
        let mut take = |_: &tracetui_events::event::EventContext<'_>, frame: &tracetui_events::frame::FrameRef<'_>| {
            turn += 1;
            if turn % 3 == 0 {
                delivered += u64::from(frame.header.kind != Kind::Lost as u16);
                return Disposition::Delivered;
            }
            Disposition::Filtered
        };
        for batch in recorded {
            pipeline.feed(batch.clone());
            pipeline.next(None, &mut take);
        }
        pipeline.end();
        pipeline.next(None, &mut take);
        let sum = pipeline.account().sum();
        assert_eq!((sum.delivered, sum.off_by()), (delivered, 0), "{sum:?}");
    }
}
