//! The means to narrow the shown events: the filter, the kinds, and filter parts added by keys.

use super::Change;
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::views::View;
use crate::app::views::top::By;
use tracetui_events::enrich::World;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::filter;
use tracetui_events::store::{Id, Stored};
use tracetui_shared::id::{Tgid, Uid};
use tracetui_shared::kind::Kind;

/// The process that an action on the selected row applies to.
struct ActedOn {
    pid: Tgid,
    uid: Uid,
    comm: Vec<u8>,
    process: Option<ProcessKey>,
}

/// The directory of the file of an event.
fn directory(stored: &Stored<'_>, world: &World) -> Option<Vec<u8>> {
    stored.with(world, |seen| {
        let mut directory = Vec::new();
        By::Dir.of(seen, &mut directory).then_some(directory)
    })?
}

impl App {
    pub(in crate::app) fn changed(&mut self, change: Result<Change, filter::FilterError>) {
        match change {
            Ok(Change::Applied) => self.refilter(),
            Ok(Change::None) => {}
            Err(error) => self.notify(format!("filter: {}", error.message)),
        }
    }

    /// Filters all kept events again; the newest are filtered immediately.
    pub(in crate::app) fn refilter(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.stop_finding();
            replay.nothing_passes = false;
        }
        self.follow_roots();
        self.events.list(self.listing());
        self.events.restart(&self.store);
        self.views.tree.nodes.unmatch();
        self.views.top.stop();
        self.side.restart();
        self.views.count(self.loaded().moment(), &self.events, &self.store, self.pipeline.world());
        self.search.recount();
        self.work();
    }

    pub(in crate::app) fn add_part(&mut self, action: Action) {
        let of = self.acted_on();
        if action == Action::OnlyTree
            && let Some(process) = of.as_ref().and_then(|of| of.process)
            && self.pipeline.world_mut().processes.follow_process(process)
        {
            // The same text may denote another process now.
            self.refilter();
        }
        if action == Action::OnlyDir && self.views.shown == View::Events {
            let stored = self.aimed_at().and_then(|id| self.store.get(id));
            return match stored.and_then(|stored| directory(&stored, self.world())) {
                Some(directory) => self.add_to_filter(&By::Dir.term(&directory)),
                None => self.notify("this event has no directory"),
            };
        }
        let part = of.and_then(|ActedOn { pid, uid, comm, .. }| match action {
            Action::OnlyPid => Some(format!("pid={}", pid.0)),
            Action::OnlyTree => Some(format!("tree={}", pid.0)),
            Action::OnlyUser => Some(format!("uid={}", uid.0)),
            Action::OnlyComm => Some(filter::exactly("comm", &comm)),
            Action::NotComm => Some(format!("not {}", filter::exactly("comm", &comm))),
            _ => None,
        });
        match part {
            Some(part) => self.add_to_filter(&part),
            None if self.views.shown == View::Top => {
                self.notify(format!("{} shows the events of the row", self.key_of(Action::TopEvents)));
            }
            None if self.views.shown == View::Bpf => {
                self.notify(format!("{} shows the events of the program", self.key_of(Action::BpfEvents)));
            }
            None if action == Action::OnlyDir => self.notify("only events with a path have a directory"),
            None => self.notify("nothing is selected"),
        }
    }

    /// Adds a part to the filter, and reports the result.
    pub(in crate::app) fn add_to_filter(&mut self, part: &str) {
        let before = self.filter.parts.to_vec();
        // The Back key goes back one step. If something else is open, it closes that first.
        let next = self.detail.size.is_none() && self.search.pattern.is_none();
        if let Some(only) = before.iter().find(|only| filter::shows_only(only, part)) {
            let remedy = match next && before.last() == Some(only) {
                true => format!("{} removes that filter", self.key_of(Action::Back)),
                false => format!("{} edits the filter", self.key_of(Action::EditFilter)),
            };
            return self.notify(format!("all rows match {only}: {remedy}"));
        }
        let added = self.filter.add(part, self.pipeline.world());
        let applied = matches!(added, Ok(Change::Applied));
        let good = added.is_ok();
        self.changed(added);
        if !applied {
            if good {
                self.notify(format!("{part} is already in the filter"));
            }
            return;
        }
        let now = &self.filter.parts;
        let stays = |part: &&String| now.iter().any(|now| now == *part || *now == format!("({part})"));
        let gone: Vec<&str> = before.iter().filter(|part| !stays(part)).map(String::as_str).collect();
        let gone = if gone.is_empty() { String::new() } else { format!(" in place of {}", gone.join(" ")) };
        let undoes = if next { format!("  {} undoes", self.key_of(Action::Back)) } else { String::new() };
        self.notify(format!("+ {part}{gone}{undoes}"));
    }

    /// The event in the row under the cursor when the key was pressed. Newer events may have arrived since that row was drawn.
    pub(in crate::app) fn aimed_at(&self) -> Option<Id> {
        let drawn = self.drawn.filter(|id| self.events.follows && self.store.get(*id).is_some());
        drawn.or_else(|| self.events.selected())
    }

    /// The process that an action on the selected row applies to.
    fn acted_on(&self) -> Option<ActedOn> {
        match self.views.shown {
            View::Events => {
                let stored = self.aimed_at().and_then(|id| self.store.get(id))?;
                let stored = Some(stored).filter(|stored| stored.kind != Kind::Lost)?;
                let header = stored.header();
                let process = stored.process.map(|process| process.key);
                Some(ActedOn { pid: header.tgid, uid: header.uid, comm: header.comm().to_vec(), process })
            }
            View::Tree => {
                let process = self.views.tree.selected()?.process;
                let (pid, uid) = (process.key.tgid, process.uid);
                Some(ActedOn { pid, uid, comm: process.comm.to_vec(), process: Some(process.key) })
            }
            View::Top | View::Bpf | View::Diff => None,
        }
    }
}
