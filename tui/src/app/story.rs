//! A failure and what failed because of it: one story.

use super::App;
use super::keys::keymap::Action;
use super::views::View;
use super::views::event_list::Alike;
use super::views::top::By;
use super::views::tree::{Seen, Tree};
use super::watch::{MOST, Watch};
use tracetui_events::event::Tables;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::filter::{self, Filter, Scratch};
use tracetui_events::search::{included, searched};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_shared::kind::Kind;

/// How many failures are examined for stories.
const EXAMINED: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Story<'a> {
    /// Its newest event.
    pub(crate) newest: Stored<'a>,
    /// The texts beside the row of that event, longest first.
    pub(crate) remarks: Vec<String>,
    /// The process that failed first, its parent that exited because of that, and so on. Empty if no process exited.
    pub(crate) chain: Vec<Seen<'a>>,
}

impl Story<'_> {
    /// The event that shows what went wrong.
    pub(crate) fn shows(&self) -> Id {
        self.chain.first().and_then(Seen::shows).unwrap_or(self.newest.id)
    }
}

impl Tree {
    /// The processes that exited because of one failure: the one that failed first, its parent, and so on. `of`: one of them.
    fn chain(&self, of: ProcessKey) -> Vec<Seen<'_>> {
        let above = |seen: &Seen<'_>| {
            let parent = self.process(seen.process.parent?)?;
            (parent.from == Some(seen.process.key)).then_some(parent)
        };
        let top = std::iter::successors(self.process(of), above).take(EXAMINED).last();
        let mut chain: Vec<_> = top.iter().flat_map(|top| self.cause(top).1.into_iter().rev()).collect();
        chain.extend(top);
        chain
    }

    /// The event that shows what went wrong in the story of a failure.
    fn shows(&self, failed: &Stored<'_>) -> Id {
        let exited = failed.process.filter(|_| failed.kind == Kind::Exit).and_then(|process| self.process(process.key));
        let shows = exited.and_then(|exited| self.cause(&exited).1.last().unwrap_or(&exited).shows());
        shows.unwrap_or(failed.id)
    }

    /// Passes on the muted story that a failure belongs to. Returns whether there is one.
    pub(super) fn mutes(
        &self,
        failed: Id,
        muted: &mut [Watch],
        store: &Store,
        world: &dyn Tables,
        with: impl FnOnce(&mut Watch),
    ) -> bool {
        let shows = store.get(failed).filter(|_| !muted.is_empty()).and_then(|failed| store.get(self.shows(&failed)));
        let mute = shows.and_then(|shows| {
            shows.with(world, |seen| {
                muted.iter_mut().find(|mute| mute.filter.surely_matches(seen, &mut Scratch::default()))
            })?
        });
        mute.map(with).is_some()
    }
}

impl App {
    /// The stories of the newest failures before an event, the newest first.
    pub(crate) fn stories(&self, until: Option<Id>) -> Vec<Story<'_>> {
        let mut stories: Vec<Story<'_>> = Vec::new();
        let rows = self.events.failures(until).take(EXAMINED);
        for (newest, remarks) in rows.filter_map(|(id, remarks)| Some((self.store.get(id)?, remarks))) {
            let mut chain = newest.process.map(|process| self.views.tree.chain(process.key)).unwrap_or_default();
            let exits = chain.iter().filter_map(|seen| seen.end?.id);
            let cause = chain.first().and_then(Seen::failure).map(|failure| failure.id);
            if !exits.chain(cause).any(|id| id == newest.id) {
                chain.clear();
            }
            let top = |chain: &[Seen<'_>]| chain.last().map(|top| top.process.key);
            if chain.is_empty() || stories.iter().all(|story| top(&story.chain) != top(&chain)) {
                stories.push(Story { newest, remarks, chain });
            }
        }
        stories
    }

    /// Mutes the story of the selected failure: the failures with the same cause leave the strip, and the list of failures. If it is
    /// muted, shows it again.
    pub(super) fn toggle_mute(&mut self) {
        let aimed = self.aimed_at().filter(|_| self.views.shown == View::Events);
        let failed = self.side.take_event().or(aimed).and_then(|id| self.store.get(id)).filter(|stored| stored.failed);
        let Some(((name, term), id)) = failed.and_then(|failed| Some((self.cause_term(&failed)?, failed.id))) else {
            return self.notify("no failure is selected");
        };
        let App { views, store, pipeline, muted, .. } = self;
        let has = |mute| views.tree.mutes(id, std::slice::from_mut(mute), store, pipeline.world(), |_| {});
        let known = muted.iter_mut().position(has);
        if known.is_some() {
            return self.unmute(known);
        }
        let said = match Filter::parse(&term, self.pipeline.world()) {
            _ if self.muted.len() >= MOST => format!("{MOST} muted stories are the most"),
            Ok(filter) => {
                self.muted.push(Watch::new(name.clone(), filter));
                self.refilter();
                let [report, mute] = [Action::LossReport, Action::Mute].map(|action| self.key_of(action));
                format!("muted: {name}  {report} then {mute} undoes")
            }
            Err(error) => error.message,
        };
        self.notify(said);
    }

    pub(super) fn unmute(&mut self, at: Option<usize>) {
        let mute = at.map(|at| self.muted.remove(at));
        self.refilter();
        self.notify(mute.map_or("nothing is muted".to_owned(), |mute| format!("not muted any more: {}", mute.name)));
    }

    /// `2 muted`, if stories are.
    pub(crate) fn muted_text(&self) -> Option<String> {
        (!self.muted.is_empty()).then(|| format!("{} muted", self.muted.len()))
    }

    /// What the failures of a story have in common: its name, and the filter that matches the events that show what went wrong.
    fn cause_term(&self, failed: &Stored<'_>) -> Option<(String, String)> {
        let shows = self.store.get(self.views.tree.shows(failed))?;
        let is_missing = self.events.alike(shows.id) == Some(Alike::Missing);
        let search = searched(&self.store, shows.id).filter(|search| search.found.is_none() && !is_missing);
        shows.with(self.world(), |seen| {
            let (comm, mut result, mut what) = (seen.event.header.comm(), Vec::new(), Vec::new());
            seen.result(&mut result);
            let file = if is_missing { By::Dir } else { By::Path };
            let by = [By::Peer, file, By::Path].into_iter().find(|by| {
                what.clear();
                by.of(seen, &mut what) && !what.is_empty()
            });
            let about = match (by, search) {
                (Some(By::Path), Some(search)) => {
                    let name = search.asked();
                    what = included(&name, seen.process.map_or(&b""[..], |process| &process.image.argv)).into_owned();
                    filter::ends_in(&name)
                }
                (by, _) => by.map(|by| by.term(&what)).unwrap_or_default(),
            };
            let kind = By::Kind.term(seen.event.kind().name().as_bytes());
            let by = [By::Comm.term(comm), kind, filter::exactly("result", &result), about];
            let name = [comm, seen.event.body.before_result().as_bytes(), &result, &what].map(String::from_utf8_lossy);
            (format!("{} {}{} {}", name[0], name[1], name[2], name[3]).trim_end().to_owned(), by.join(" "))
        })
    }

    /// Why a process exited, in its row, longest first, and whether that is only the child that failed: the row of the process that
    /// failed first has the cause.
    pub(crate) fn cause_in_row(&self, exited: &Seen<'_>) -> Option<([Vec<u8>; 2], bool)> {
        let line = self.views.tree.cause(exited).1;
        let first = line.last().and_then(|seen| seen.end?.id);
        match line.first().filter(|_| first.is_some_and(|exit| self.events.has(exit))) {
            Some(child) => {
                let via = [b"via ", child.process.short_command().as_slice()].concat();
                Some(([via.clone(), via], true))
            }
            None => Some((self.views.tree.reason(exited, &self.store)?.in_row(), false)),
        }
    }
}
