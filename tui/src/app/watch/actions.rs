//! Watches in the dashboard: their effects, and the key that watches the selected row.

use super::{MOST, Watch, Watches};
use crate::app::views::top::By;
use crate::app::{App, Effect};
use std::time::Duration;
use tracetui_events::filter::Filter;
use tracetui_events::text::{Charset, counted};

/// The bell rings at most this often.
const BELL: Duration = Duration::from_secs(1);

impl App {
    /// Adds watches, before the first event.
    pub(crate) fn watch(&mut self, watches: Vec<Watch>) {
        self.watches.all.extend(watches.into_iter().take(MOST));
        self.follow_roots();
    }

    /// Follows the trees that the filter and the watches name.
    pub(in crate::app) fn follow_roots(&mut self) {
        self.pipeline.world_mut().processes.follow(&[self.filter.roots(), self.watches.roots()].concat());
    }

    /// What the matches of live events ask for.
    pub(in crate::app) fn watched(&mut self) {
        let Watches { rings, records, .. } = &mut self.watches;
        let (rings, records) = (std::mem::take(rings), std::mem::take(records));
        if self.replay.is_some() {
            return;
        }
        let may_ring = self.screen.rang.is_none_or(|rang| self.now.saturating_sub(rang) >= BELL);
        if rings && may_ring {
            self.screen.rang = Some(self.now);
            self.effects.push(Effect::Bell);
        }
        if records && self.recordings.written.is_none() && self.recordings.failure.is_none() {
            self.effects.push(Effect::Record);
        }
    }

    /// Watches what the selected row is about: a peer, a file or a program. Ends that watch if there is one.
    pub(in crate::app) fn toggle_watch(&mut self) {
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
        let Some((term, value)) = subject else { return self.notify("nothing to watch is selected") };
        if let Some(at) = self.watches.all.iter().position(|watch| watch.filter.text() == term) {
            let watch = self.watches.all.remove(at);
            let matches = counted(watch.count, ["match", "matches"]);
            return self.notify(format!("watch {} ended after {matches}", watch.name(Charset::Utf8)));
        }
        if self.watches.all.len() >= MOST {
            return self.notify(format!("{MOST} watches are the most"));
        }
        let last = value.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or(&value);
        let name = String::from_utf8_lossy(last).into_owned();
        match Filter::parse(&term, self.pipeline.world()) {
            Ok(filter) => {
                self.notify(format!("watching {term}"));
                self.watches.all.push(Watch::new(name, filter));
            }
            Err(error) => self.notify(format!("watch: {}", error.message)),
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
    fn a_key_watches_what_the_row_is_about_and_matches_are_counted() {
        let (mut app, mut made) = (app(120, 24, 64 << 20), Maker::default());
        made.open(7, "cat", "/etc/shadow", -13);
        keys(feed(&mut app, &mut made), "A");
        made.open(8, "less", "/etc/shadow", -13);
        let shown = screen(feed(&mut app, &mut made)).join("\n");
        assert!(shown.contains("shadow 1") && shown.contains("[shadow]"), "{shown}");
        assert!(screen(keys(&mut app, "A")).join("\n").contains("watch shadow ended after 1 match"));
        assert_eq!(app.watches.all.len(), 0);
        // Matches are counted, marked and never quiet.
        let (mut app, mut made) = (self::app(120, 24, 64 << 20), Maker::default());
        app.settings.calm = true;
        app.screen.calm = true;
        app.refilter();
        let ssh = watch("ssh", "path~/[.]ssh/", &app);
        app.watch(vec![Watch { rings: true, records: true, ..ssh }]);
        made.acts("7 cat exec cat, open /etc/passwd");
        let effects = app.update(Input::Batch(made.batch()));
        assert!(!effects.contains(&Effect::Bell) && !effects.contains(&Effect::Record));
        made.acts("7 cat open /root/.ssh/id /root/.ssh/known");
        let effects = app.update(Input::Batch(made.batch()));
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Bell).count(), 1);
        assert!(effects.contains(&Effect::Record));
        made.open(7, "cat", "/root/.ssh/id", 3);
        assert!(!app.update(Input::Batch(made.batch())).contains(&Effect::Bell), "within a second");
        let shown = screen(&mut app).join("\n");
        assert!(shown.contains("ssh 3"), "{shown}");
        assert!(shown.contains("/root/.ssh/id") && shown.contains("[ssh]"), "{shown}");
        assert!(!shown.contains("/etc/passwd"), "{shown}");
        app.update(Input::Tick(Tick { now: Duration::from_secs(9), usage: None }));
        made.open(7, "cat", "/root/.ssh/id", 3);
        assert!(app.update(Input::Batch(made.batch())).contains(&Effect::Bell));
    }
}
