//! The explanation of the selected event in the detail pane: why it failed, and its search.

use crate::app::App;
use crate::app::views::event_list::Listing;
use crate::app::views::tree::{Seen, Tree};
use std::collections::VecDeque;
use std::time::Duration;
use tracetui_events::enrich::World;
use tracetui_events::search::{Searched, found_later, removed, searched, words};
use tracetui_events::store::{Id, Store};
use tracetui_events::why::{self, Answer, Lookup};
use tracetui_shared::kind::Kind;

/// The number of answers kept. The oldest is dropped, and looked up again on demand.
const ANSWERS: usize = 64;

/// How long until an unfinished search is examined again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Reasons {
    answers: VecDeque<(Id, Answer)>,
    asked: Option<Id>,
    pub(in crate::app) question: Option<(Id, Box<Lookup>)>,
    search: Option<(Id, Duration, Option<Searched>)>,
    removed: Option<(Id, Option<Vec<u8>>)>,
}

impl Reasons {
    pub(crate) fn answer(&self, id: Id) -> Option<&Answer> {
        self.answers.iter().find(|(known, _)| *known == id).map(|(_, answer)| answer)
    }

    pub(crate) fn asks(&self, id: Id) -> bool {
        self.asked == Some(id)
    }

    pub(crate) fn search(&self, id: Id) -> Option<&Searched> {
        self.search.as_ref().filter(|(of, ..)| *of == id)?.2.as_ref()
    }

    /// Who removed the file of an event.
    pub(crate) fn removed(&self, id: Id) -> Option<&[u8]> {
        self.removed.as_ref().filter(|(of, _)| *of == id)?.1.as_deref()
    }

    fn find_search(&mut self, id: Id, store: &Store, now: Duration) {
        let known = self.search.as_ref().is_some_and(|(of, at, search)| {
            let found = search.as_ref().is_some_and(|search| search.found.is_some());
            *of == id && (found || now < *at + AGAIN)
        });
        if !known {
            let search = searched(store, id);
            // An answer names the places that it covers.
            if self.search(id).map(|search| search.places) != search.as_ref().map(|search| search.places) {
                self.answers.retain(|(known, _)| *known != id);
            }
            self.search = Some((id, now, search));
        }
    }

    /// Examines an event: finds its search, and asks why it failed. `asks`: whether there are files to examine.
    pub(in crate::app) fn look(&mut self, id: Id, store: &Store, world: &World, now: Duration, asks: bool) {
        self.find_search(id, store, now);
        if self.removed.as_ref().is_none_or(|(of, _)| *of != id) {
            self.removed = Some((id, removed(store, id, self.search(id))));
        }
        if !asks || self.asks(id) || self.answer(id).is_some() {
            return;
        }
        let Some(stored) = store.get(id).filter(|stored| stored.failed) else { return };
        let Some(mut lookup) = stored.with(world, why::question).flatten() else { return };
        if let Lookup::Path(question) = &mut lookup
            && let Some(search) = self.search(id).filter(|search| search.found.is_none())
        {
            question.others.clone_from(&search.first);
            question.places = search.places;
        }
        self.asked = Some(id);
        self.question = Some((id, Box::new(lookup)));
    }

    pub(in crate::app) fn looked(&mut self, id: Id, answer: Answer) {
        if self.asks(id) {
            self.asked = None;
        }
        self.answers.retain(|(known, _)| *known != id);
        if self.answers.len() >= ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((id, answer));
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reason {
    pub(crate) id: Id,
    /// Whether the error is unusual: ordinary work does not produce it.
    pub(crate) real: bool,
    /// The command that made the call.
    by: Vec<u8>,
    /// If a descendant made the call, the names of the processes from the child to it.
    pub(crate) line: Vec<Vec<u8>>,
    /// Whether the process name precedes the words.
    named: bool,
    /// `zlibx.h not found`, `EACCES /etc/shadow`: once with the path as passed, once with its last component only.
    pub(crate) words: [Vec<u8>; 2],
}

impl Reason {
    /// The failure with the process name: once with the whole path, once with its last component only.
    pub(crate) fn with_name(&self) -> [Vec<u8>; 2] {
        self.words.each_ref().map(|words| [self.by.as_slice(), b": ", words].concat())
    }

    /// The same text for a row of the process that exited: the second one without the name.
    pub(crate) fn in_row(&self) -> [Vec<u8>; 2] {
        let from: &[u8] = if self.line.is_empty() { b"" } else { b"from " };
        let ([named, _], [words, short]) = (self.with_name(), self.words.clone());
        [if self.named { [from, named.as_slice()].concat() } else { words }, short]
    }
}

impl App {
    /// The directory in which a later, hidden call of the same search found the name. The call is then not a failure.
    pub(crate) fn found_in_hidden(&self, id: Id) -> Option<Vec<u8>> {
        // Without a filter no row is hidden.
        let filtered =
            self.filter.applied.is_some() || self.events.listing() != Listing::All || self.screen.failures.only();
        let (found, dir) = filtered.then(|| found_later(&self.store, id)).flatten()?;
        (!self.events.shows(found)).then_some(dir)
    }
}

impl Tree {
    pub(crate) fn cause_of(&self, exit: Id, store: &Store) -> Option<Reason> {
        let stored = store.get(exit).filter(|stored| stored.kind == Kind::Exit && stored.failed)?;
        self.reason(&self.process(stored.process?.key)?, store)
    }

    /// What went wrong in a process, in its row of the tree, longest first, and whether that is unusual. A row whose command is the program
    /// that the process could not execute has only the error.
    pub(crate) fn remark(&self, process: &Seen<'_>, store: &Store) -> Option<([Vec<u8>; 2], bool)> {
        match process.failure().filter(|failure| process.failed_exec.is_some_and(|of| of.failure.id == failure.id)) {
            Some(tried) => Some(([tried.err.into(), tried.err.into()], tried.real)),
            None => self.reason(process, store).map(|reason| (reason.in_row(), reason.real)),
        }
    }

    /// The reason for a process's exit, in words. `None` if it is unknown, or the event is evicted.
    pub(crate) fn reason(&self, process: &Seen<'_>, store: &Store) -> Option<Reason> {
        let (failure, line) = self.cause(process);
        let (failure, of) = (failure?, line.last().unwrap_or(process));
        let stored = store.get(failure.id)?;
        let words = words(&stored.event().ok()?.body, failure, &of.process.image.argv);
        let comm = |seen: &Seen<'_>| seen.process.comm.to_vec();
        Some(Reason {
            id: failure.id,
            real: failure.real,
            by: of.process.short_command(),
            line: line.iter().map(comm).collect(),
            named: !line.is_empty() || stored.kind == Kind::Exec,
            words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, feed, keys};
    use crate::app::{Effect, Input, Tick};
    use crossterm::event::{KeyCode, KeyEvent};
    use tracetui_events::synthetic::Maker;
    use tracetui_events::why::{Basis, Cause};

    #[test]
    fn an_exit_is_explained_by_a_failed_exec_or_a_name_that_was_not_found() {
        let mut made = Maker::default();
        made.acts("7 sh exec sh, exec:-13 ld, open /x, exit 126; 8 sh exec:-2 sh, exec sh, exit 1");
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let cause = |exit| app.views.tree.cause_of(exit, app.store()).map(|reason| reason.id);
        assert_eq!((cause(3), cause(6), cause(1)), (Some(1), None, None));
        assert!(keys(&mut app, "gjjj\n").reasons.asks(1));
        let mut made = Maker::default();
        made.acts("7 cc1 exec cc1 x.c, open /usr/include/stdio.h /a/config.h:-2 /b/config.h:-2");
        // Opens for the error message.
        made.acts("7 cc1 open x.c:4 /usr/share/locale/de/LC_MESSAGES/gcc.mo:-2, exit 1");
        // Not a reason: a name found later, a miss followed by many opens, a miss without an error after it.
        made.acts("8 a open /a/x:-2 /b/x, exit 1; 9 b open /a/x:-2");
        (0..3).for_each(|_| made.open(9, "b", "/y", 3));
        made.acts("9 b exit 1; 10 c open /a/x:-2, signal 9");
        let mut app = self::app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let cause = |exit| app.views.tree.cause_of(exit, app.store()).map(|reason| reason.id);
        assert_eq!(cause(6), Some(3));
        assert_eq!([9, 14, 16].map(cause), [None; 3]);
        keys(&mut app, "agjjjjjj\n");
        assert!(app.reasons.search(3).is_some_and(|search| search.places == 2 && search.found.is_none()));
    }

    #[test]
    fn the_places_of_a_search_are_asked_about_once() {
        let mut made = Maker::default();
        for at in 0..40 {
            made.open(7, "cc1", &format!("/inc{at}/utli.h"), -2);
        }
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut made);
        let press = |app: &mut App, key| app.update(Input::Key(KeyEvent::from(key)));
        let asked = |effects: Vec<Effect>| {
            let lookup = effects.into_iter().find_map(|effect| match effect {
                Effect::Look(_, lookup) => Some(*lookup),
                _ => None,
            });
            lookup.map(|lookup| match lookup {
                Lookup::Path(question) => question,
                Lookup::Connect(connect) => panic!("{connect:?}"),
            })
        };
        let question = asked(press(&mut app, KeyCode::Enter)).expect("it failed");
        assert_eq!((question.path.as_slice(), question.places), (&b"/inc39/utli.h"[..], 40));
        assert_eq!(question.others.len(), 32, "a bounded number");
        assert_eq!(question.others[1].path(b"utli.h"), b"/inc1/utli.h");
        // The search continues, so its answer no longer holds.
        app.update(Input::Looked(39, Answer::not_looked_up("")));
        made.open(7, "cc1", "/inc40/utli.h", -2);
        let later = feed(&mut app, &mut made).update(Input::Tick(Tick { now: Duration::from_secs(9), usage: None }));
        assert_eq!(asked(later).map(|question| question.places), Some(41));
        made.open(7, "cc1", "/inc41/utli.h", 3);
        feed(&mut app, &mut made).update(Input::Looked(39, Answer::not_looked_up("")));
        let found = app.update(Input::Tick(Tick { now: Duration::from_secs(19), usage: None }));
        assert_eq!(asked(found).map(|question| question.others.len()), Some(0));
        let (mut app, mut made) = (self::app(80, 24, 64 << 20), Maker::default());
        made.open_all(7, "a", "/a/x:-2 /a/y");
        feed(&mut app, &mut made);
        let press = |app: &mut App, key| app.update(Input::Key(KeyEvent::from(key)));
        let asked = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Look(..)));
        assert!(!asked(&press(&mut app, KeyCode::Enter)), "it did not fail");
        assert!(asked(&press(&mut app, KeyCode::Up)));
        assert!(!asked(&press(&mut app, KeyCode::Down)) && app.reasons.asks(0));
        let answer = Answer {
            text: b"no x in /a".to_vec(),
            component: None,
            cause: Cause::Missing,
            near: None,
            place: None,
            basis: Basis::Checked(5),
        };
        app.update(Input::Looked(0, answer.clone()));
        assert_eq!((app.reasons.answer(0), app.reasons.asks(0)), (Some(&answer), false));
        assert!(!asked(&press(&mut app, KeyCode::Up)));
        keys(&mut app, "\x1b");
    }
}
