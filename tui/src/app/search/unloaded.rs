//! Searches the part of a recording that is not loaded: for the next match of a search, or for the next shown row.

use super::{Find, Finding, Pattern, Way};
use crate::app::App;
use crate::app::prompt::Purpose;
use crate::app::replay::loaded_part::LoadedPart;
use crate::app::replay::{Replay, Target};

/// How many events without a shown row are loaded before the index is used.
const LOADED: u64 = 50_000;

impl Find {
    /// The search from the other end, up to the position.
    fn wrapped(self, loaded: LoadedPart<'_>) -> Find {
        let at = loaded.position();
        let (from_ns, to_ns) = match self.way {
            Way::Down => (0, at.unwrap_or(self.from_ns)),
            Way::Up => (at.unwrap_or(self.to_ns), loaded.span().map_or(u64::MAX, |(_, end)| end)),
        };
        Find { from_ns, to_ns, ..self }
    }
}

impl App {
    /// Searches the part of the recording that is not loaded.
    pub(in crate::app) fn look_further(&mut self, way: Way, pattern: Option<Pattern>) {
        let first = self.loaded().first_ns().unwrap_or_default();
        let last = self.loaded().last_ns().unwrap_or_default();
        let (from_ns, to_ns) = match way {
            Way::Down => (last.saturating_add(1), u64::MAX),
            Way::Up => (0, first.saturating_sub(1)),
        };
        let nothing_there = match way {
            Way::Down => self.replay.as_ref().is_none_or(Replay::at_end),
            Way::Up => self.loaded().begins_at_start(),
        };
        let (filter, kinds, failures) = (self.filter.text(), self.screen.kinds, self.screen.failures.only());
        let find = Find { way, from_ns, to_ns, pattern, filter, kinds, failures };
        self.replay.iter_mut().for_each(|replay| replay.find(find.clone(), false));
        if nothing_there {
            self.found_in_recording(None);
        }
    }

    /// Handles the end of a search: goes to the time of the match, or reports that there is none.
    pub(in crate::app) fn found_in_recording(&mut self, ns: Option<u64>) {
        let Some(Finding { find, wrapped, .. }) = self.replay.as_mut().and_then(|replay| replay.finding.take()) else {
            return;
        };
        match ns {
            Some(ns) => {
                if wrapped {
                    self.notify("search wrapped around");
                }
                self.seek(ns);
            }
            None if !wrapped && (find.pattern.is_some() || self.events.rows() == 0) => {
                let find = find.wrapped(self.loaded());
                self.replay.iter_mut().for_each(|replay| replay.find(find.clone(), true));
            }
            None if find.pattern.is_some() => {
                self.search.no_others = true;
                let others = self.search.place(&self.events, &self.store).is_some_and(|place| place.all > 0);
                self.notify(if others { "no other match" } else { "no match" });
            }
            None => {
                let what = if self.events.rows() == 0 { "no event" } else { "no further event" };
                self.notify(format!("{what} in the recording passes the filter"));
                self.replay.iter_mut().for_each(|replay| replay.nothing_passes = true);
            }
        }
    }

    /// Searches for a row if much is loaded and none of it is shown. Returns whether it does.
    pub(in crate::app) fn look_for_any_row(&mut self) -> bool {
        let Some(replay) = &self.replay else { return false };
        let none =
            self.events.rows() == 0 && !self.events.scanning(&self.store) && self.line_for(Purpose::Filter).is_none();
        let ended = replay.at_end();
        // Events being written now are loaded and filtered in any case.
        if !none || replay.grows() || self.loaded().all() || !ended && self.store.events() < LOADED {
            return false;
        }
        if replay.finding.is_none() && !replay.nothing_passes {
            let way = if replay.transport.target() == Some(Target::Last) { Way::Up } else { Way::Down };
            self.replay.iter_mut().for_each(|replay| replay.transport.arrive());
            self.look_further(way, None);
        }
        true
    }

    /// Moves beyond the edge of the loaded part, to the next shown row wherever it is.
    pub(in crate::app) fn move_beyond(&mut self, way: Way) -> bool {
        let Some(replay) = &self.replay else { return false };
        let at_top = self.events.at_top() && !self.loaded().begins_at_start();
        let edge = match way {
            Way::Down => {
                let rows = self.events.rows();
                self.events.cursor().is_some_and(|row| row + 1 == rows)
                    && !replay.at_end()
                    && !self.loaded().wants_frames()
            }
            Way::Up => at_top,
        };
        if edge && !self.loaded().all() && self.loaded().hidden() > 0 && !self.events.scanning(&self.store) {
            self.look_further(way, None);
            return true;
        }
        // Search up to the event before the first loaded one.
        let first =
            self.events.passing(0).filter(|_| at_top && way == Way::Up).and_then(|first| self.loaded().time_of(first));
        first.into_iter().for_each(|ns| self.seek(ns.saturating_sub(1)));
        first.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keys::device::{KeyCode, KeyEvent};
    use crate::app::replay::Speed;
    use crate::app::testing::{app, keys, work};
    use crate::app::{Effect, Input};
    use tracetui_events::playback::timeline::{End, Facts};
    use tracetui_events::synthetic::Maker;

    /// A replay with 1,000 loaded opens, 10 ms apart, without the first and the last ones. Also returns the first and last time of the
    /// recording and of the loaded part.
    fn part() -> (App, (u64, u64), (u64, u64)) {
        part_of(End::Complete)
    }

    fn part_of(end_is: End) -> (App, (u64, u64), (u64, u64)) {
        let mut app = app(80, 24, 64 << 20);
        let mut maker = Maker { step_ns: 10_000_000, ..Maker::default() };
        let (start, end) = (maker.ns - 1_000, maker.ns + 1_000_000_000_000);
        let facts = Facts {
            name: "x.ttr".into(),
            span: Some((start, end)),
            events: 1_000_000,
            end: end_is,
            seekable: true,
            ..Facts::default()
        };
        app.set_replay(Replay::new(facts, Target::First, Speed::default()));
        app.update(Input::Restore(Some(tracetui_events::pipeline::Pipeline::default().state()), false));
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
        let found = keys(&mut app, "/comm=rare").update(Input::Key(KeyEvent::from(KeyCode::Enter)));
        assert!(!found.iter().any(|effect| matches!(effect, Effect::Find(_))), "it is loaded");
        assert_eq!(work(&mut app).events().cursor(), Some(500));
        let at = app.loaded().position().expect("a row");
        let find = asked(&press(&mut app, KeyCode::Char('n')));
        assert_eq!((find.way, find.from_ns, find.to_ns), (Way::Down, last + 1, u64::MAX));
        assert!(matches!(&find.pattern, Some(Pattern::Terms(terms)) if terms.text() == "comm=rare"));
        app.update(Input::Finding(last + (end - last) / 2));
        assert!((45..=55).contains(&app.loaded().searched().expect("it runs")) && app.loaded().searching().is_some());
        let find = asked(&app.update(Input::Found(Ok(None))));
        assert_eq!((find.from_ns, find.to_ns), (0, at));
        app.update(Input::Found(Ok(None)));
        assert_eq!(app.screen.message(), Some("no other match"));
        assert_eq!((app.events().cursor(), app.loaded().searched()), (Some(500), None));
        // Upward.
        let find = asked(&press(&mut app, KeyCode::Char('N')));
        assert_eq!((find.way, find.from_ns, find.to_ns), (Way::Up, 0, first - 1));
        let find = asked(&app.update(Input::Found(Ok(None))));
        assert_eq!((find.from_ns, find.to_ns), (at, end));
        let there = last + 5_000_000_000;
        let effects = app.update(Input::Found(Ok(Some(there))));
        assert!(effects.contains(&Effect::Seek(there)), "{effects:?}");
        assert_eq!(app.screen.message(), Some("search wrapped around"));
        let _ = start;
        // One that is stopped stays where it is.
        let (mut app, ..) = part();
        let find = asked(&press(keys(&mut app, "/nowhere"), KeyCode::Enter));
        assert!(matches!(&find.pattern, Some(Pattern::Text(regex)) if regex.as_str() == "nowhere"));
        assert_eq!(app.events().cursor(), Some(0));
        let effects = press(&mut app, KeyCode::Esc);
        assert!(effects.contains(&Effect::Find(None)) && app.loaded().searched().is_none(), "{effects:?}");
        assert_eq!(app.events().cursor(), Some(0));
        app.update(Input::Found(Ok(Some(1))));
        assert_eq!(app.replay.as_ref().map(|replay| replay.transport.target()), Some(None), "it came too late");
        // Without a match, the row stays.
        let mut app = self::app(80, 24, 64 << 20);
        let mut maker = Maker::default();
        (0..100).for_each(|number| maker.open(1, "cat", &format!("/file-{number}"), 3));
        app.update(Input::Batch(maker.batch()));
        assert_eq!(keys(&mut app, "gjj/file-5").events().cursor(), Some(5));
        assert_eq!(keys(&mut app, "x").events().cursor(), Some(2));
        assert_eq!((keys(&mut app, "\n").events().cursor(), app.screen.message()), (Some(2), Some("no match")));
    }

    #[test]
    fn a_filter_that_nothing_loaded_passes_searches_the_recording_unless_it_grows() {
        for (end, searches) in [(End::Complete, true), (End::Unknown, false)] {
            let (mut app, ..) = part_of(end);
            if searches {
                app.update(Input::SourceEnded);
            }
            let effects = press(keys(&mut app, "fcomm=none"), KeyCode::Enter);
            let found = effects.iter().any(|effect| matches!(effect, Effect::Find(Some(_))));
            assert_eq!((found, app.loaded().searched().is_some()), (searches, searches), "{end:?}");
        }
        // Moving on under a filter leads to the next row of the recording.
        let (mut app, _, (first, _)) = part();
        assert_eq!(keys(&mut app, "fcomm=rare\n").events().rows(), 1);
        let find = asked(&press(&mut app, KeyCode::Up));
        assert_eq!((find.way, find.to_ns, find.filter.as_str()), (Way::Up, first - 1, "comm=rare"));
        assert!(find.pattern.is_none());
        app.update(Input::Found(Ok(None)));
        assert_eq!(app.screen.message(), Some("no further event in the recording passes the filter"));
        // There is memory left, so more is loaded first.
        assert!(!press(&mut app, KeyCode::Down).iter().any(|effect| matches!(effect, Effect::Find(_))));
    }
}
