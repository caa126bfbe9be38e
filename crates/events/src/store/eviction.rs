//! Eviction by value: which events of some blocks can be evicted, and in which of the kept ones they are counted.

use super::block::Block;
use super::{Id, Stored};
use crate::event::names::{O_ACCMODE, O_TRUNC};
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use tracetui_shared::kind::Kind;

/// The events that can be evicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Worth {
    /// The middle of runs: the opens of one process that are equal, except the first and the last one.
    Runs,
    /// Also quiet opens: what succeeded and created nothing, and failures that were answered.
    Quiet,
    /// Also the other opens, except the last success and the last failure of each process.
    Opens,
}

/// The positions of the first and the last event of a group.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

/// A decision about the events of consecutive blocks, in their order.
#[derive(Debug)]
pub(super) struct Plan {
    /// The group of each event.
    groups: Vec<Group>,
    ends: HashMap<u64, Ends>,
    /// The number of evicted events of each group since the last kept one.
    evicted: HashMap<u64, u32>,
    /// The position of the next event.
    next: usize,
}

impl Plan {
    /// `is_held`: whether an event must be kept.
    pub(super) fn of<'a>(
        blocks: impl Iterator<Item = &'a Block>,
        worth: Worth,
        hasher: &RandomState,
        is_held: impl Fn(Id) -> bool,
    ) -> Plan {
        let mut plan = Plan { groups: Vec::new(), ends: HashMap::default(), evicted: HashMap::default(), next: 0 };
        for (stored, at) in blocks.flat_map(Block::iter).zip(0..) {
            let mut group = Group::of(&stored, worth, hasher);
            if is_held(stored.id) {
                group.own = 0;
            }
            // Quiet events are counted in a later event of the process.
            for hash in [group.own, group.process] {
                if hash != 0 {
                    plan.ends.entry(hash).and_modify(|ends| ends.last = at).or_insert(Ends { first: at, last: at });
                }
            }
            plan.groups.push(group);
        }
        plan
    }

    fn keeps(&self, at: usize) -> bool {
        let Some(group) = self.groups.get(at).filter(|group| group.own != 0) else { return true };
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let is_end = |ends: &Ends| ends.last == at || ends.first == at && group.own != group.process;
        self.ends.get(&group.own).is_none_or(is_end)
    }

    /// Skips the next block if a copy would save little: nearly all of its events are kept, and count no evicted ones. Returns whether it did.
    pub(super) fn passes(&mut self, block: &Block) -> bool {
        let all = self.next..self.next + block.len();
        let passes = self.evicted.is_empty() && all.clone().filter(|at| !self.keeps(*at)).count() * 8 < block.len();
        if passes {
            self.next = all.end;
        }
        passes
    }

    /// The number of evicted events counted in the next event. `None` if that is evicted too.
    pub(super) fn next(&mut self, stored: &Stored<'_>) -> Option<u32> {
        let at = self.next;
        self.next += 1;
        let Some(group) = self.groups.get(at).copied() else { return Some(stored.evicted) };
        if !self.keeps(at) {
            let count = self.evicted.entry(group.own).or_default();
            *count = count.saturating_add(1).saturating_add(stored.evicted);
            return None;
        }
        let mut counted = stored.evicted;
        for hash in [group.own, group.process] {
            counted = counted.saturating_add(self.evicted.remove(&hash).unwrap_or(0));
        }
        Some(counted)
    }
}

/// The group of an event, and that of the opens of its process of which only a later event is kept, as hashes. 0: none.
#[derive(Clone, Copy, Debug)]
struct Group {
    own: u64,
    process: u64,
}

impl Group {
    fn of(stored: &Stored<'_>, worth: Worth, hasher: &RandomState) -> Group {
        let process = match worth {
            Worth::Runs | Worth::Opens => 0,
            Worth::Quiet => hasher.hash_one(stored.process.map(|process| process.key)) | 1,
        };
        if worth == Worth::Opens && stored.kind == Kind::Open {
            let own = hasher.hash_one((stored.process.map(Arc::as_ptr), stored.failed && !stored.answered)) | 1;
            return Group { own, process: own };
        }
        let Some(open) = stored.open() else { return Group { own: 0, process } };
        let remark = open.remark();
        if worth == Worth::Quiet && remark.is_none() && (!stored.failed || stored.answered) {
            return Group { own: process, process };
        }
        let (ret, flags) = (open.record.ret.min(0), open.flags() & (O_ACCMODE | O_TRUNC));
        let of = (stored.process.map(Arc::as_ptr), stored.file, stored.answered, remark, ret, flags);
        Group { own: hasher.hash_one(of) | 1, process }
    }
}

#[cfg(test)]
mod tests;
