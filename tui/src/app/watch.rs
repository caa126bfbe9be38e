//! Watches: named filters. The header counts their matches, the list marks these, and a match can ring the bell or start a recording.

use super::views::top::By;
use super::{App, Effect, Effects};
use crate::view::theme::Look;
use std::time::Duration;
use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, Scratch};
use tracetui_events::text::{self, Charset, counted};
use tracetui_shared::id::Tgid;

/// The maximum number of watches.
pub(crate) const MOST: usize = 16;

/// The bell rings at most this often.
const BELL: Duration = Duration::from_secs(1);

/// The maximum number of cells of a name.
const NAME: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) name: String,
    pub(crate) filter: Filter,
    /// The look of its name; `None` for that of remarks.
    pub(crate) look: Option<Look>,
    pub(crate) rings: bool,
    pub(crate) records: bool,
    /// The number of matches.
    pub(crate) count: u64,
}

impl Watch {
    pub(crate) fn new(name: String, filter: Filter) -> Watch {
        Watch { name, filter, look: None, rings: false, records: false, count: 0 }
    }

    /// Its name, escaped.
    pub(crate) fn name(&self, charset: Charset) -> String {
        text::value_in(self.name.as_bytes(), charset, NAME)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: Vec<Watch>,
    scratch: Scratch,
    /// Whether the matches since the last [`App::watched`] ask for the bell, or for a recording.
    rings: bool,
    records: bool,
    rang: Option<Duration>,
}

impl Watches {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.all.iter()
    }

    /// The processes whose descendants the filters need.
    pub(crate) fn roots(&self) -> Vec<Tgid> {
        self.all.iter().flat_map(|watch| watch.filter.roots()).collect()
    }

    /// Forgets the matches, because other events follow.
    pub(crate) fn recount(&mut self) {
        self.all.iter_mut().for_each(|watch| watch.count = 0);
    }

    /// Counts an event. Returns whether a watch matches it.
    pub(crate) fn count(&mut self, seen: &EventContext<'_>) -> bool {
        let mut any = false;
        for watch in &mut self.all {
            if watch.filter.surely_matches(seen, &mut self.scratch) {
                any = true;
                watch.count += 1;
                self.rings |= watch.rings;
                self.records |= watch.records;
            }
        }
        any
    }

    /// The first watch that matches an event.
    pub(crate) fn of(&self, seen: &EventContext<'_>) -> Option<&Watch> {
        let mut scratch = Scratch::default();
        self.all.iter().find(|watch| watch.filter.surely_matches(seen, &mut scratch))
    }
}

impl App {
    /// Adds watches, before the first event.
    pub(crate) fn watch(&mut self, watches: Vec<Watch>) {
        self.watches.all.extend(watches.into_iter().take(MOST));
        self.follow_roots();
    }

    /// Follows the trees that the filter and the watches name.
    pub(super) fn follow_roots(&mut self) {
        self.pipeline.follow(&[self.filter.roots(), self.watches.roots()].concat());
    }

    /// What the matches of live events ask for.
    pub(super) fn watched(&mut self) -> Effects {
        let Watches { rings, records, rang, .. } = &mut self.watches;
        let (rings, records) = (std::mem::take(rings), std::mem::take(records));
        if self.replay.is_some() {
            return Vec::new();
        }
        let may_ring = rang.is_none_or(|rang| self.now.saturating_sub(rang) >= BELL);
        let mut effects = Vec::new();
        if rings && may_ring {
            *rang = Some(self.now);
            effects.push(Effect::Bell);
        }
        if records && self.recordings.written.is_none() && self.recordings.failure.is_none() {
            effects.push(Effect::Record);
        }
        effects
    }

    /// Watches what the selected row is about: a peer, a file or a program. Ends that watch if there is one.
    pub(super) fn toggle_watch(&mut self) {
        let stored = self.aimed_at().and_then(|id| self.store.get(id));
        let subject = stored.and_then(|stored| {
            stored.with(self.world(), |seen| {
                let mut value = Vec::new();
                let by = [By::Peer, By::Path, By::Comm].into_iter().find(|by| {
                    value.clear();
                    by.of(seen, &mut value) && !value.is_empty()
                })?;
                Some((by.term(&value), value))
            })?
        });
        let Some((term, value)) = subject else { return self.say("nothing to watch is selected") };
        if let Some(at) = self.watches.all.iter().position(|watch| watch.filter.text() == term) {
            let watch = self.watches.all.remove(at);
            let matches = counted(watch.count, ["match", "matches"]);
            return self.say(format!("watch {} ended after {matches}", watch.name(Charset::Utf8)));
        }
        if self.watches.all.len() >= MOST {
            return self.say(format!("{MOST} watches are the most"));
        }
        let last = value.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or(&value);
        let name = String::from_utf8_lossy(last).into_owned();
        match Filter::parse(&term, self.pipeline.world()) {
            Ok(filter) => {
                self.say(format!("watching {term}"));
                self.watches.all.push(Watch::new(name, filter));
            }
            Err(error) => self.say(format!("watch: {}", error.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, feed, keys};
    use crate::app::{Input, Tick};
    use crate::view::tests::screen;
    use tracetui_events::synthetic::Maker;

    fn watch(name: &str, filter: &str, app: &App) -> Watch {
        Watch::new(name.to_owned(), Filter::parse(filter, app.world()).expect("a filter"))
    }

    #[test]
    fn matches_are_counted_marked_and_never_quiet() {
        let (mut app, mut made) = (app(120, 24, 64 << 20), Maker::default());
        app.settings.calm = true;
        app.screen.calm = true;
        app.refilter();
        let ssh = watch("ssh", "path~/[.]ssh/", &app);
        app.watch(vec![Watch { rings: true, records: true, ..ssh }]);
        made.exec(7, "cat", &["cat"], 0);
        made.open(7, "cat", "/etc/passwd", 3);
        let effects = app.update(Input::Batch(made.batch()));
        assert!(!effects.contains(&Effect::Bell) && !effects.contains(&Effect::Record));
        made.open(7, "cat", "/root/.ssh/id", 3);
        made.open(7, "cat", "/root/.ssh/known", 3);
        let effects = app.update(Input::Batch(made.batch()));
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Bell).count(), 1);
        assert!(effects.contains(&Effect::Record));
        made.open(7, "cat", "/root/.ssh/id", 3);
        assert!(!app.update(Input::Batch(made.batch())).contains(&Effect::Bell), "within a second");
        let shown = screen(&mut app).join("\n");
        assert!(shown.contains("ssh 3"), "{shown}");
        assert!(
            shown.contains("/root/.ssh/id") && shown.contains("[ssh]") && !shown.contains("/etc/passwd"),
            "{shown}"
        );
        app.update(Input::Tick(Tick { now: Duration::from_secs(9), usage: None }));
        made.open(7, "cat", "/root/.ssh/id", 3);
        assert!(app.update(Input::Batch(made.batch())).contains(&Effect::Bell));
    }

    #[test]
    fn a_key_watches_what_the_row_is_about_and_ends_that() {
        let (mut app, mut made) = (app(120, 24, 64 << 20), Maker::default());
        made.open(7, "cat", "/etc/shadow", -13);
        feed(&mut app, &mut made);
        keys(&mut app, "A");
        made.open(8, "less", "/etc/shadow", -13);
        feed(&mut app, &mut made);
        let shown = screen(&mut app).join("\n");
        assert!(shown.contains("shadow 1") && shown.contains("[shadow]"), "{shown}");
        keys(&mut app, "A");
        assert!(screen(&mut app).join("\n").contains("watch shadow ended after 1 match"));
        assert_eq!(app.watches.iter().count(), 0);
    }
}
