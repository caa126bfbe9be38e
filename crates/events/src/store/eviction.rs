//! Eviction by value: of the events in some blocks that mostly need no attention ([`Kind::HUSHED`]), the last success and the last failure of each process are kept. The others are counted
//! in them.

use super::block::Block;
use super::{Id, Stored};
use foldhash::HashMap;
use std::sync::Arc;
use tracetui_shared::kind::Kind;

/// The process of an open, by address, and whether the open failed and no later one answered it.
type Group = (usize, bool);

/// A decision about the events of consecutive blocks, in their order.
#[derive(Debug)]
pub(super) struct Plan<'p> {
    pins: &'p Block,
    /// The last open of each group.
    last: HashMap<Group, Id>,
    /// The number of evicted opens of each group since the last kept one.
    evicted: HashMap<Group, u32>,
}

impl<'p> Plan<'p> {
    pub(super) fn of<'a>(blocks: impl Iterator<Item = &'a Block>, pins: &'p Block) -> Plan<'p> {
        let mut plan = Plan { pins, last: HashMap::default(), evicted: HashMap::default() };
        for stored in blocks.flat_map(Block::iter) {
            if let Some(group) = plan.group(&stored) {
                plan.last.insert(group, stored.id);
            }
        }
        plan
    }

    /// `None` if the event must be kept.
    fn group(&self, stored: &Stored<'_>) -> Option<Group> {
        let process = stored.process.map_or(0, |process| Arc::as_ptr(process) as usize);
        let is_open = stored.kind == Kind::HUSHED && self.pins.get(stored.id).is_none();
        is_open.then_some((process, stored.failed && !stored.answered))
    }

    fn keeps(&self, stored: &Stored<'_>) -> bool {
        self.group(stored).is_none_or(|group| self.last.get(&group) == Some(&stored.id))
    }

    /// Whether a copy of the next block would save little: nearly all of its events are kept, and count no evicted ones.
    pub(super) fn passes(&self, block: &Block) -> bool {
        self.evicted.is_empty() && block.iter().filter(|stored| !self.keeps(stored)).count() * 8 < block.len()
    }

    /// The number of evicted opens counted in the next event. `None` if that is evicted too.
    pub(super) fn next(&mut self, stored: &Stored<'_>) -> Option<u32> {
        let Some(group) = self.group(stored) else { return Some(stored.evicted) };
        let count = self.evicted.remove(&group).unwrap_or(0).saturating_add(stored.evicted);
        if self.keeps(stored) {
            return Some(count);
        }
        self.evicted.insert(group, count.saturating_add(1));
        None
    }
}

#[cfg(test)]
mod tests;
