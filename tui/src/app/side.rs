//! The side strip: the busiest commands, the newest failures that nothing answered, new attachments and peers, changed files, and the
//! watches. Each of its rows leads to events.
//!
//! Everything is counted as events arrive, and only while the strip is wanted. Like the list, it shows what passes the filter.

mod news;

use super::App;
use super::keys::keymap::Action;
use super::screen::OverlayKind;
use super::screen::layout;
use super::story::Story;
use super::views::View;
use super::views::detail::Size;
use super::views::event_list::row::{TimeBase, time_text};
use super::views::top::{By, Group, Top};
use super::watch::Watch;
use news::News;
use std::borrow::Cow;
use tracetui_events::budget::Budget;
use tracetui_events::event::{EventContext, Tables, changes_files};
use tracetui_events::limits;
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::{counted, short};
use tracetui_shared::kind::KindSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Event(Id),
    /// The events that pass this part of a filter.
    Part(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Content<'a> {
    /// A title, and what the rows below it say.
    Title(&'static str, Cow<'static, str>),
    /// Why there is no row below a title.
    None(&'static str),
    /// A command, and its events per second.
    Busy(&'a Group, u64),
    /// A failure. It has up to three lines.
    Failure(Story<'a>),
    /// Its cause.
    Reason(Story<'a>),
    /// The processes that exited because of it.
    Chain(Story<'a>),
    /// The first kept event of an attachment, a peer or a change, and the number of its events.
    New(Stored<'a>, u64),
    Watch(&'a Watch),
    Blank,
}

#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) content: Content<'a>,
    pub(crate) target: Option<Target>,
}

impl<'a> Line<'a> {
    fn of(content: Content<'a>) -> Line<'a> {
        Line { content, target: None }
    }

    fn to(content: Content<'a>, target: Target) -> Line<'a> {
        Line { content, target: Some(target) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Side {
    busy: Top,
    /// Attachments and peers, and changes of files, which are many.
    news: [News; 2],
    /// The target of the selected row.
    cursor: Option<Target>,
    /// Whether events are counted.
    runs: bool,
}

impl Side {
    pub(super) fn new(budget: Budget) -> Side {
        let busy = Top::of_rates(budget.share(limits::SIDE_SHARE));
        Side { busy, ..Side::default() }
    }

    /// Adds an event that was just stored and passes the filter.
    pub(super) fn append(&mut self, stored: &Stored<'_>, seen: &EventContext<'_>) {
        if self.runs {
            self.busy.append(stored, seen.world);
            self.news[usize::from(changes_files(stored.kind))].add(stored.id, seen);
        }
    }

    /// Adds an older event, which passes the filter.
    pub(super) fn add_older(&mut self, seen: &Stored<'_>, world: &dyn Tables) {
        if self.runs && News::may_be(seen) {
            seen.with(world, |context| self.news[usize::from(changes_files(seen.kind))].add(seen.id, context));
        }
    }

    /// Forgets all events, because others pass the filter.
    pub(super) fn restart(&mut self) {
        self.busy.stop();
        self.news = <[News; 2]>::default();
    }

    pub(super) fn scanning(&self, store: &Store) -> bool {
        self.busy.scanning(store)
    }

    pub(crate) fn is_selected(&self, line: &Line<'_>) -> bool {
        line.target.is_some() && self.cursor == line.target
    }

    pub(super) fn bytes(&self) -> usize {
        self.busy.bytes
    }
}

impl App {
    /// Whether the strip stands beside the list, or over it.
    pub(crate) fn shows_side(&self) -> bool {
        self.shows_side_over() || !self.areas().side.is_empty()
    }

    pub(super) fn shows_side_over(&self) -> bool {
        self.screen.overlay.is_some_and(|overlay| overlay.kind == OverlayKind::Strip)
    }

    /// Whether there may be a strip beside the list.
    pub(super) fn has_side(&self) -> bool {
        self.screen.strip && self.views.shown == View::Events && self.detail.size != Some(Size::Full)
    }

    /// Begins or ends to count for the strip.
    pub(super) fn settle_side(&mut self) {
        let runs = self.screen.strip && self.screen.width >= layout::WITH_SIDE || self.shows_side_over();
        if std::mem::replace(&mut self.side.runs, runs) != runs {
            self.events.keep_failures(runs);
            self.refilter();
        }
        let until = self.loaded().moment().map(|moment| moment.until);
        match self.shows_side() {
            true => self.side.busy.count_until(until, &self.events, &self.store, self.pipeline.world()),
            false => {
                self.side.busy.stop();
                self.side.cursor = None;
            }
        }
    }

    pub(super) fn scan_side(&mut self, budget: usize) {
        self.side.busy.scan(&self.events, &self.store, self.pipeline.world(), budget);
    }

    /// The time up to which the strip counts (CLOCK_BOOTTIME, ns).
    pub(crate) fn side_now(&self) -> u64 {
        let is_now = self.replay.is_none() && self.loaded().moment().is_none();
        self.side.busy.now_ns().max(if is_now { self.world().counted_at.0 } else { 0 })
    }

    pub(crate) fn side_lines(&self, height: usize) -> Vec<Line<'_>> {
        let until = self.loaded().moment().map(|moment| moment.until);
        let few = (height / 6).clamp(2, 8);
        let base = TimeBase { zone: self.settings.zone, ..TimeBase::default() };
        let moment = self.loaded().moment().map(|moment| time_text(moment.time.0, self.world().clock_offset, &base));
        let about = moment.map_or("events/s".into(), |at| format!("events/s at {at}").into());
        let mut lines = vec![Line::of(Content::Title("BUSY", about))];
        for (group, rate) in self.side.busy.busiest(self.side_now(), few) {
            lines.push(Line::to(Content::Busy(group, rate), Target::Part(By::Comm.term(&group.value))));
        }
        if lines.len() == 1 {
            lines.push(Line::of(Content::None("no events")));
        }
        let rows = |news: &News, most: usize| -> Vec<_> {
            let newest = news.newest(until, &self.store, most);
            newest.map(|(stored, events)| Line::to(Content::New(stored, events), Target::Event(stored.id))).collect()
        };
        let [new, changed] = &self.side.news;
        let (new, changed) = (rows(new, few), rows(changed, 2 * few));
        let mut below = vec![Line::of(Content::Blank), Line::of(Content::Title("NEW", "BPF, peers".into()))];
        if new.is_empty() {
            below.push(Line::of(Content::None("none")));
        }
        below.extend(new);
        if !changed.is_empty() {
            below.extend([Line::of(Content::Blank), Line::of(Content::Title("CHANGED", "files".into()))]);
            below.extend(changed);
        }
        if !self.watches.all.is_empty() {
            below.extend([Line::of(Content::Blank), Line::of(Content::Title("WATCH", "matches".into()))]);
            let watches = self.watches.all.iter().take(few);
            below.extend(
                watches.map(|watch| Line::to(Content::Watch(watch), Target::Part(watch.filter.text().to_owned()))),
            );
        }
        // The failures take the rest.
        let room = height.saturating_sub(lines.len() + below.len() + 3);
        let stories = self.stories(until);
        let about = counted(stories.len() as u64, ["story", "stories"]);
        lines.extend([Line::of(Content::Blank), Line::of(Content::Title("FAILED", about.into()))]);
        if stories.is_empty() {
            let shows_all = KindSet::BY_DEFAULT.iter().all(|kind| self.screen.kinds.contains(kind));
            let none = match self.filter.applied {
                Some(_) => "nothing that passes the filter",
                None if !shows_all => "nothing of the shown kinds",
                None => "nothing that stayed unanswered",
            };
            lines.push(Line::of(Content::None(none)));
        }
        let end = lines.len() + room;
        for story in stories {
            let contents = [Content::Failure, Content::Reason, Content::Chain]
                .into_iter()
                .take(2 + usize::from(story.chain.len() > 1));
            lines.extend(contents.map(|content| Line::to(content(story.clone()), Target::Event(story.shows()))));
        }
        lines.truncate(end);
        let optional = self.searches.optional;
        if optional > 0 && self.filter.applied.is_none() {
            let about = format!("{} missing ({e} {e})", short(optional), e = self.key_of(Action::Failures));
            lines.push(Line::of(Content::Title("OPTIONAL", about.into())));
        }
        lines.extend(below);
        lines.truncate(height);
        lines
    }

    /// The height of the strip, or of the body that it covers.
    fn side_height(&self) -> usize {
        let areas = self.areas();
        usize::from(if self.shows_side_over() { areas.body().height } else { areas.side.height })
    }

    pub(super) fn act_on_side(&mut self, action: Action) -> bool {
        match action {
            Action::Strip if self.shows_side_over() => self.screen.overlay = None,
            Action::Strip if self.screen.width < layout::WITH_SIDE || self.views.shown != View::Events => {
                self.screen.open(OverlayKind::Strip);
            }
            Action::Strip => self.screen.strip = !self.screen.strip,
            Action::StripDown | Action::StripUp => {
                if !self.shows_side() {
                    let key = self.key_of(Action::Strip);
                    self.notify(format!("{key} shows the side strip"));
                    return true;
                }
                self.move_in_side(action == Action::StripDown);
            }
            Action::Enter | Action::SubtreeEvents => match self.side.cursor.take() {
                Some(target) => self.go_from_side(target),
                None => return false,
            },
            Action::Back if self.side.cursor.take().is_some() => {}
            _ => return false,
        }
        true
    }

    fn move_in_side(&mut self, down: bool) {
        let mut targets: Vec<Target> =
            self.side_lines(self.side_height()).into_iter().filter_map(|line| line.target).collect();
        targets.dedup();
        let at = self.side.cursor.as_ref().and_then(|cursor| targets.iter().position(|target| target == cursor));
        let next = match at {
            Some(at) if down => (at + 1).min(targets.len() - 1),
            Some(at) => at.saturating_sub(1),
            None if down => 0,
            None => targets.len().saturating_sub(1),
        };
        self.side.cursor = targets.into_iter().nth(next);
    }

    fn go_from_side(&mut self, target: Target) {
        self.screen.overlay = None;
        match target {
            Target::Event(id) if self.store.get(id).is_none() => self.notify("this event was evicted from memory"),
            Target::Event(id) => {
                self.show(View::Events);
                if self.events.place(id) >= self.events.rows() {
                    self.notify("this event happened after the pause and is not in the list");
                } else {
                    self.events.select(id, self.list_height(), &self.store);
                }
            }
            Target::Part(part) => _ = self.show_events(|filter, world| filter.add(&part, world)),
        }
    }
}

#[cfg(test)]
mod tests;
