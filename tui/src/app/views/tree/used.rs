//! What running processes use, while the tree of now is shown.

use super::node::{Place, Used};
use super::nodes::Nodes;
use crate::app::views::View;
use crate::app::{App, Usage};
use tracetui_events::event::process::ProcessKey;

/// The most processes to measure in a second.
const MOST: usize = 512;

/// From which share of a CPU on a process without events has a row, in thousandths.
const BUSY: u64 = 50;

impl Nodes {
    /// The running processes to measure next, in turn.
    fn next_to_measure(&mut self) -> Vec<ProcessKey> {
        let all = self.len() as Place;
        let from = self.unmeasured;
        let mut keys = Vec::new();
        for at in (from..all).chain(0..from.min(all)) {
            keys.extend(self.get(at).filter(|node| node.end.is_none()).map(|node| node.process.key));
            self.unmeasured = at + 1;
            if keys.len() >= MOST {
                break;
            }
        }
        keys
    }
}

impl App {
    /// The processes to measure, once a second.
    pub(in crate::app) fn next_to_measure(&mut self) -> Vec<ProcessKey> {
        let wanted = self.views.shown == View::Tree && self.replay.is_none() && self.loaded().moment().is_none();
        if wanted { self.views.tree.nodes.next_to_measure() } else { Vec::new() }
    }

    /// Stores what processes use.
    pub fn measured(&mut self, usages: &[(ProcessKey, Usage)]) {
        let nodes = &mut self.views.tree.nodes;
        for (key, usage) in usages {
            let Some(at) = nodes.place(*key) else { continue };
            let Some(node) = nodes.get_mut(at) else { continue };
            let used = Used::of(*usage, self.now, node.used);
            node.used = Some(used);
            if !node.busy && used.permille >= Some(BUSY) {
                node.busy = true;
                nodes.flag(at);
            }
        }
    }
}
