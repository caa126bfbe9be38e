//! Looks for a row in the part of a recording that is not loaded: the next match of a search, or the next row that is shown.
//! Another thread reads the recording ([`crate::command`]).

use super::replay::Target;
use super::search::{Pattern, Way};
use super::{App, Effects};
use crate::text::grouped;
use tracetui_shared::kind::KindSet;

/// Events that are loaded without a row before the index is used.
const LOADED: u64 = 50_000;

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Find {
    /// The first match, or the last one.
    pub way: Way,
    /// From this time on, and up to that one (CLOCK_BOOTTIME, ns).
    pub from_ns: u64,
    /// See `from_ns`.
    pub to_ns: u64,
    /// The search; without one, every row that is shown is a match.
    pub pattern: Option<Pattern>,
    /// The display filter.
    pub filter: String,
    /// The kinds that are shown.
    pub kinds: KindSet,
    /// Whether only failures are shown.
    pub failures: bool,
}

/// What is looked for now.
#[derive(Debug)]
pub(super) struct Finding {
    find: Find,
    /// It goes on from the other end of the recording.
    wrapped: bool,
    /// How far it was read.
    at_ns: u64,
}

impl App {
    /// How far the recording was searched, in percent. `None` if it is not searched.
    pub fn finding(&self) -> Option<u64> {
        let finding = self.replay.as_ref()?.finding.as_ref()?;
        let (start, end) = self.replay_span()?;
        let (from, to) = (finding.find.from_ns.clamp(start, end), finding.find.to_ns.clamp(start, end));
        let passed = match finding.find.way {
            Way::Down => finding.at_ns.clamp(from, to.max(from)) - from,
            Way::Up => to - finding.at_ns.clamp(from.min(to), to),
        };
        Some(u64::try_from(u128::from(passed) * 100 / (u128::from(to.saturating_sub(from)) + 1)).unwrap_or(100))
    }

    /// Whether all of the recording is loaded, or what is not cannot be read.
    pub(super) fn all_loaded(&self) -> bool {
        let seekable = self.replay.as_ref().is_some_and(|replay| replay.recording().seekable);
        !seekable || self.loaded_from_start() && self.at_end()
    }

    /// Looks in the part of the recording that is not loaded.
    pub(super) fn look_further(&mut self, way: Way, pattern: Option<Pattern>) {
        let first = self.time_of(self.store.first_id()).unwrap_or_default();
        let last = self.store.next_id().checked_sub(1).and_then(|id| self.time_of(id)).unwrap_or_default();
        let (from_ns, to_ns) = match way {
            Way::Down => (last.saturating_add(1), u64::MAX),
            Way::Up => (0, first.saturating_sub(1)),
        };
        let nothing_there = match way {
            Way::Down => self.at_end(),
            Way::Up => self.loaded_from_start(),
        };
        let (filter, kinds, failures) = (self.filter.text(), self.view.kinds, self.view.failures);
        let find = Find { way, from_ns, to_ns, pattern, filter, kinds, failures };
        self.find(find, false);
        if nothing_there {
            self.found_in_recording(None);
        }
    }

    fn find(&mut self, find: Find, wrapped: bool) {
        let at_ns = if find.way == Way::Down { find.from_ns } else { find.to_ns };
        if let Some(replay) = &mut self.replay {
            replay.stop();
            replay.asked = Some(Some(find.clone()));
            replay.finding = Some(Finding { find, wrapped, at_ns });
        }
    }

    /// Stops looking; whether it did.
    pub(super) fn stop_finding(&mut self) -> bool {
        let Some(replay) = &mut self.replay else { return false };
        let stopped = replay.finding.take().is_some();
        if stopped {
            replay.asked = Some(None);
        }
        stopped
    }

    /// The recording was read up to this time, without a match so far.
    pub(super) fn find_went_on(&mut self, ns: u64) {
        if let Some(finding) = self.replay.as_mut().and_then(|replay| replay.finding.as_mut()) {
            finding.at_ns = ns;
        }
    }

    /// The time of the match, or that there is none.
    pub(super) fn found_in_recording(&mut self, ns: Option<u64>) -> Effects {
        let Some(Finding { find, wrapped, .. }) = self.replay.as_mut().and_then(|replay| replay.finding.take()) else {
            return Vec::new();
        };
        match ns {
            Some(ns) => {
                if wrapped {
                    self.say("search wrapped around");
                }
                return self.seek(ns);
            }
            None if !wrapped && (find.pattern.is_some() || self.events.rows() == 0) => self.find_from_other_end(find),
            None if find.pattern.is_some() => {
                self.search.found_no_others();
                let others = self.search.place(&self.events, &self.store).is_some_and(|place| place.all > 0);
                self.say(if others { "no other match" } else { "no match" });
            }
            None => {
                let what = if self.events.rows() == 0 { "no event" } else { "no further event" };
                self.say(format!("{what} of the recording passes the filter"));
                self.replay.iter_mut().for_each(|replay| replay.nothing_passes = true);
            }
        }
        Vec::new()
    }

    /// Goes on from the other end, up to the selected row.
    fn find_from_other_end(&mut self, find: Find) {
        let at = self.replay_position();
        let (from_ns, to_ns) = match find.way {
            Way::Down => (0, at.unwrap_or(find.from_ns)),
            Way::Up => (at.unwrap_or(find.to_ns), self.replay_span().map_or(u64::MAX, |(_, end)| end)),
        };
        self.find(Find { from_ns, to_ns, ..find }, true);
    }

    /// Looks for a row if much was loaded and nothing of it is shown; whether it does.
    pub(super) fn look_for_any_row(&mut self) -> bool {
        let Some(replay) = &self.replay else { return false };
        let none = self.events.rows() == 0 && !self.events.scanning(&self.store) && self.filter.line().is_none();
        let ended = self.at_end();
        // What is written now is loaded and filtered in any case.
        if !none || self.grows() || self.all_loaded() || !ended && self.store.kept() < LOADED {
            return false;
        }
        if replay.finding.is_none() && !replay.nothing_passes {
            let way = if replay.target() == Some(Target::Last) { Way::Up } else { Way::Down };
            self.replay.iter_mut().for_each(super::replay::Replay::arrived);
            self.look_further(way, None);
        }
        true
    }

    /// At the edge of what is loaded, moving on leads to the next row that is shown, wherever it is; whether it does.
    pub(super) fn move_beyond(&mut self, way: Way) -> bool {
        let rows = self.events.rows();
        let edge = match way {
            Way::Down => self.events.cursor().is_some_and(|row| row + 1 == rows) && !self.at_end(),
            Way::Up => self.events.at_top(&self.store) && !self.loaded_from_start(),
        };
        let near = self.wants_frames() && way == Way::Down;
        if !edge || near || self.all_loaded() || self.hidden() == 0 || self.events.scanning(&self.store) {
            return false;
        }
        self.look_further(way, None);
        true
    }

    /// What the status line says of the search in the recording.
    pub(crate) fn finding_text(&self) -> Option<String> {
        let percent = self.finding()?;
        let events = self.replay.as_ref().map_or(0, |replay| replay.recording().events);
        Some(format!("searching the recording ({} events): {percent} %; Esc stops", grouped(events)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::replay::{End, Recording, Replay, Speed};
    use crate::app::testing::{app, keys, work};
    use crate::app::{Effect, Input};
    use crate::source::synthetic::Maker;
    use crossterm::event::{KeyCode, KeyEvent};

    /// A replay of which 1,000 opens are loaded, 10 ms apart, neither the first nor the last ones. The first and the last time of
    /// the recording, and of what is loaded.
    fn part() -> (App, (u64, u64), (u64, u64)) {
        part_of(End::Complete)
    }

    fn part_of(end_is: End) -> (App, (u64, u64), (u64, u64)) {
        let mut app = app(80, 24, 64 << 20);
        let mut maker = Maker { step_ns: 10_000_000, ..Maker::default() };
        let (start, end) = (maker.ns - 1_000, maker.ns + 1_000_000_000_000);
        let recording = Recording {
            name: "x.ttr".into(),
            span: Some((start, end)),
            events: 1_000_000,
            end: end_is,
            seekable: true,
            ..Recording::default()
        };
        app.set_replay(Replay::new(recording, Target::First, Speed::default()));
        app.update(Input::Restore(Some(crate::pipeline::Pipeline::default().state()), false));
        for number in 0..1000 {
            maker.open(100 + number % 7, if number == 500 { "rare" } else { "cat" }, &format!("/file-{number}"), 3);
        }
        let loaded = (maker.ns - 999 * maker.step_ns, maker.ns);
        app.update(Input::Batch(maker.batch()));
        work(&mut app);
        (app, (start, end), loaded)
    }

    fn press(app: &mut App, key: KeyCode) -> Vec<Effect> {
        let mut effects = app.update(Input::Key(KeyEvent::from(key)));
        while app.busy() {
            effects.extend(app.update(Input::Tick(crate::app::Tick::default())));
        }
        effects
    }

    #[track_caller]
    fn asked(effects: &[Effect]) -> Find {
        let find = effects.iter().find_map(|effect| match effect {
            Effect::Find(Some(find)) => Some(find.clone()),
            _ => None,
        });
        find.unwrap_or_else(|| panic!("no search in {effects:?}"))
    }

    #[test]
    fn a_search_goes_on_in_what_is_not_loaded_and_wraps() {
        let (mut app, (start, end), (first, last)) = part();
        keys(&mut app, "/comm=rare");
        let found = app.update(Input::Key(KeyEvent::from(KeyCode::Enter)));
        assert!(!found.iter().any(|effect| matches!(effect, Effect::Find(_))), "it is loaded");
        work(&mut app);
        assert_eq!(app.events().cursor(), Some(500));
        let at = app.replay_position().expect("a row");
        let find = asked(&press(&mut app, KeyCode::Char('n')));
        assert_eq!((find.way, find.from_ns, find.to_ns), (Way::Down, last + 1, u64::MAX));
        assert!(matches!(&find.pattern, Some(Pattern::Terms(terms)) if terms.text() == "comm=rare"));
        app.update(Input::Finding(last + (end - last) / 2));
        assert!((45..=55).contains(&app.finding().expect("it runs")) && app.finding_text().is_some());
        let find = asked(&app.update(Input::Found(Ok(None))));
        assert_eq!((find.from_ns, find.to_ns), (0, at));
        app.update(Input::Found(Ok(None)));
        assert_eq!((app.message(), app.events().cursor(), app.finding()), (Some("no other match"), Some(500), None));
        // Backwards.
        let find = asked(&press(&mut app, KeyCode::Char('N')));
        assert_eq!((find.way, find.from_ns, find.to_ns), (Way::Up, 0, first - 1));
        let find = asked(&app.update(Input::Found(Ok(None))));
        assert_eq!((find.from_ns, find.to_ns), (at, end));
        let there = last + 5_000_000_000;
        let effects = app.update(Input::Found(Ok(Some(there))));
        assert!(
            effects.contains(&Effect::Seek(there)) && app.message() == Some("search wrapped around"),
            "{effects:?}"
        );
        let _ = start;
    }

    #[test]
    fn a_search_that_is_stopped_stays_where_it_is() {
        let (mut app, ..) = part();
        keys(&mut app, "/nowhere");
        let find = asked(&press(&mut app, KeyCode::Enter));
        assert!(matches!(&find.pattern, Some(Pattern::Text(regex)) if regex.as_str() == "nowhere"));
        assert_eq!(app.events().cursor(), Some(0));
        let effects = press(&mut app, KeyCode::Esc);
        assert!(effects.contains(&Effect::Find(None)) && app.finding().is_none(), "{effects:?}");
        assert_eq!(app.events().cursor(), Some(0));
        app.update(Input::Found(Ok(Some(1))));
        assert_eq!(app.replay().map(|replay| replay.target()), Some(None), "it came too late");
    }

    #[test]
    fn a_search_without_a_match_leaves_the_row() {
        let mut app = app(80, 24, 64 << 20);
        let mut maker = Maker::default();
        (0..100).for_each(|number| maker.open(1, "cat", &format!("/file-{number}"), 3));
        app.update(Input::Batch(maker.batch()));
        keys(&mut app, "gjj/file-5");
        assert_eq!(app.events().cursor(), Some(5));
        keys(&mut app, "x");
        assert_eq!(app.events().cursor(), Some(2));
        keys(&mut app, "\n");
        assert_eq!((app.events().cursor(), app.message()), (Some(2), Some("no match")));
    }

    #[test]
    fn a_filter_that_nothing_loaded_passes_searches_the_recording_unless_it_grows() {
        for (end, searches) in [(End::Complete, true), (End::Growing, false)] {
            let (mut app, ..) = part_of(end);
            // All that is written so far is loaded, but not what was before.
            app.update(Input::Batch(crate::frame::Batch::default()));
            keys(&mut app, "fcomm=none");
            let effects = press(&mut app, KeyCode::Enter);
            let found = effects.iter().any(|effect| matches!(effect, Effect::Find(Some(_))));
            assert_eq!((found, app.finding().is_some()), (searches, searches), "{end:?}");
        }
    }

    #[test]
    fn moving_on_under_a_filter_leads_to_the_next_row_of_the_recording() {
        let (mut app, _, (first, _)) = part();
        keys(&mut app, "fcomm=rare\n");
        assert_eq!(app.events().rows(), 1);
        let find = asked(&press(&mut app, KeyCode::Up));
        assert_eq!(
            (find.way, find.to_ns, find.filter.as_str(), &find.pattern),
            (Way::Up, first - 1, "comm=rare", &None)
        );
        app.update(Input::Found(Ok(None)));
        assert_eq!(app.message(), Some("no further event of the recording passes the filter"));
        // There is room: more is loaded first.
        assert!(!press(&mut app, KeyCode::Down).iter().any(|effect| matches!(effect, Effect::Find(_))));
    }
}
