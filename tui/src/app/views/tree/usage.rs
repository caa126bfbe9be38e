//! What running processes use, while the tree of now is shown.

use crate::app::input::Measurement;
use crate::app::views::View;
use crate::app::{App, Usage};
use tracetui_events::event::process::ProcessKey;

/// The most processes to measure in a second.
const MOST: usize = 512;

/// From which share of a CPU on a process without events has a row, in thousandths.
const BUSY: u64 = 50;

impl App {
    /// The running processes to measure next, in turn.
    pub(in crate::app) fn next_to_measure(&mut self) -> Vec<ProcessKey> {
        if self.views.shown != View::Tree || self.replay.is_some() || self.loaded().moment().is_some() {
            return Vec::new();
        }
        let (nodes, processes) = (&mut self.views.tree.nodes, &self.pipeline.world().processes);
        let runs = |key: &ProcessKey| processes.get(*key).is_some_and(|entry| entry.end.is_none());
        nodes.used.retain(|key, _| runs(key));
        let running = processes.entries().filter(|entry| entry.end.is_none()).map(|entry| entry.process.key);
        let keys: Vec<_> = running.skip(nodes.measured).take(MOST).collect();
        nodes.measured = if keys.len() < MOST { 0 } else { nodes.measured + MOST };
        keys
    }

    /// Stores what processes use. Without a capture filter, one that uses much gets a row even if it has no events.
    pub fn measured(&mut self, usages: &[(ProcessKey, Usage)]) {
        let (nodes, world) = (&mut self.views.tree.nodes, self.pipeline.world());
        let all = self.settings.capture == "all";
        for (key, usage) in usages {
            let used = Measurement::of(*usage, self.now, nodes.used.get(key).copied());
            nodes.used.insert(*key, used);
            let process =
                world.processes.get(*key).map(|entry| &entry.process).filter(|_| all && used.permille >= Some(BUSY));
            if process.is_some_and(|process| nodes.add(self.store.next_id(), process, world)) {
                nodes.get_mut(*key).into_iter().for_each(|node| node.busy = true);
            }
        }
    }
}
