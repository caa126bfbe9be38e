//! Events taken out of a trace, as a trace of their own: with what is known of their processes, and nothing of others.
//!
//! The frames are those of the events, in the order in which they were delivered. What an event says of its process, its user
//! and its cgroup beyond its record goes before it or with it, the first time that it is needed. A pipeline that is fed these
//! frames delivers the same events.

use crate::enrich::World;
use crate::enrich::process::state::state_of;
use crate::event::process::{Origin, Process, ProcessKey};
use crate::event::stack::Stack;
use crate::event::{Body, EventContext};
use crate::frame::host::{Cgroup, Clock, Excerpt as Mark, Group, HostFrame, Layout, Restart, StatePart, Trace, User};
use crate::frame::state::{StateFrame, Told};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::id::{CgroupId, Gid, KernelAddr, Tgid, Uid};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

/// Makes the frames of an excerpt.
#[derive(Debug)]
pub struct Excerpt {
    batch: Batch,
    latest: BootNanos,
    clock_offset: i64,
    /// The processes as a reader knows them.
    known: FxHashMap<ProcessKey, Arc<Process>>,
    users: FxHashSet<Uid>,
    groups: FxHashSet<Gid>,
    cgroups: FxHashSet<CgroupId>,
    /// The symbols as a reader knows them, by address and `from`: size, `to`.
    symbols: FxHashMap<(KernelAddr, BootNanos), (u64, BootNanos)>,
    /// Nothing of processes without an event in the excerpt may be in it.
    secluded: bool,
}

impl Excerpt {
    /// Begins an excerpt of events of these kinds, chosen by a filter.
    pub fn new(world: &World, kinds: KindSet, filter: &str) -> Excerpt {
        let mut batch = Batch::default();
        let mut push = |frame: HostFrame| frame.push(BootNanos(0), &mut batch);
        push(HostFrame::Layout(Layout::own()));
        push(HostFrame::Trace(Trace { kinds: kinds.bits(), command: Tgid(0), filter: String::new() }));
        push(HostFrame::Excerpt(Mark { filter: filter.to_owned() }));
        push(HostFrame::Host(world.host().clone()));
        push(HostFrame::Clock(Clock { offset_ns: world.clock_offset() }));
        world.probes().iter().for_each(|probe| push(HostFrame::Probe(probe.clone())));
        Excerpt {
            batch,
            latest: BootNanos(0),
            clock_offset: world.clock_offset(),
            known: FxHashMap::default(),
            users: FxHashSet::default(),
            groups: FxHashSet::default(),
            cgroups: FxHashSet::default(),
            symbols: FxHashMap::default(),
            secluded: false,
        }
    }

    /// Leaves out the program, the arguments and the name that a forked process has from its parent until it executes
    /// something, unless the parent has an event in the excerpt.
    pub fn without_other_processes(self) -> Excerpt {
        Excerpt { secluded: true, ..self }
    }

    /// Adds an event. They come in the order in which they were delivered.
    pub fn add(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) {
        if let Some(process) = seen.process {
            self.names(seen, process);
        }
        self.symbols(seen);
        let header = FrameHeader { flags: frame.header.flags | flag::EXCERPT, ..frame.header };
        self.latest = self.latest.max(header.time);
        match self.told(seen) {
            None => self.batch.push(header, frame.payload),
            Some(told) => {
                let mut trailer = Batch::default();
                StateFrame::Told(told).push(header.time, &mut trailer);
                let length = (frame.payload.len() as u32).to_le_bytes();
                let payload = [frame.payload, trailer.bytes(), &length].concat();
                self.batch.push(FrameHeader { flags: header.flags | flag::TOLD, ..header }, &payload);
            }
        }
    }

    /// Adds a host frame.
    pub fn push(&mut self, frame: &HostFrame) {
        frame.push(self.latest, &mut self.batch);
    }

    /// Bytes of the frames since the last batch.
    pub fn bytes(&self) -> usize {
        self.batch.len()
    }

    /// The frames since the last batch. A reader may deliver all of them.
    pub fn batch(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        batch.set_drained_at(BootNanos(self.latest.0.saturating_add(limits::order_window_ns(true))));
        batch
    }

    /// What a reader does not know: the process before the event, or the clock.
    fn told(&mut self, seen: &EventContext<'_>) -> Option<Told> {
        let clock_offset = seen.clock_offset;
        let new_clock = std::mem::replace(&mut self.clock_offset, clock_offset) != clock_offset;
        let process = seen.process.and_then(|process| {
            let known =
                self.known.get(&process.key).is_some_and(|known| Arc::ptr_eq(known, process) || known == process);
            let executed = matches!(&seen.event.body, Body::Exec(exec) if exec.record.ret == 0);
            if known && !executed {
                return None;
            }
            if self.known.len() >= limits::DEAD_PROCESSES {
                self.known.clear();
            }
            self.known.insert(process.key, Arc::clone(process));
            let mut state = state_of(process);
            let inherited = process.execs == 0 && process.origin == Origin::Fork;
            let from_other = !process.maker.is_some_and(|maker| self.known.contains_key(&maker));
            if self.secluded && inherited && from_other {
                (state.exe, state.argv, state.cwd) = Default::default();
                state.comm = seen.event.header.comm().to_vec();
            }
            if executed {
                // The event itself says the rest.
                state.execs = state.execs.saturating_sub(1);
                (state.exe, state.argv, state.cwd) = Default::default();
            }
            Some(state)
        });
        (new_clock || process.is_some()).then_some(Told { clock_offset, process })
    }

    /// The symbols of the stack and of the attach point of an event, the first time that they are met.
    fn symbols(&mut self, seen: &EventContext<'_>) {
        let calls = Stack::of(seen).into_iter().flat_map(|stack| stack.calls());
        let calls = calls.map(|call| (call.address.wrapping_sub(1), call.symbol));
        let place = address_of(&seen.event.body).map(|addr| (addr, seen.world.symbol(addr, seen.event.header.time)));
        for (address, symbol) in calls.chain(place) {
            // Without a symbol, the end of the one that was there before must be written.
            let ended = || {
                let known = self.symbols.iter().find(|((addr, _), (size, to))| {
                    to.0 == 0 && address.checked_sub(addr.0).is_some_and(|offset| offset < *size)
                });
                known.and_then(|((_, from), _)| seen.world.symbol(address, *from))
            };
            let Some(symbol) = symbol.or_else(ended) else { continue };
            let known = self.symbols.insert((symbol.addr, symbol.from), (symbol.size, symbol.to));
            if known != Some((symbol.size, symbol.to)) {
                HostFrame::KernelSymbol(symbol.clone()).push(seen.event.header.time, &mut self.batch);
            }
        }
    }

    /// The names of users, groups and cgroups of an event, the first time that they are met.
    fn names(&mut self, seen: &EventContext<'_>, process: &Process) {
        let Excerpt { batch, users, groups, cgroups, .. } = self;
        let header = &seen.event.header;
        for uid in [header.uid, process.uid] {
            if users.insert(uid)
                && let Some(name) = seen.world.user(uid)
            {
                HostFrame::User(User { uid, name: name.to_owned() }).push(header.time, batch);
            }
        }
        for gid in [header.gid, process.gid] {
            if groups.insert(gid)
                && let Some(name) = seen.world.group(gid)
            {
                HostFrame::Group(Group { gid, name: name.to_owned() }).push(header.time, batch);
            }
        }
        let id = header.cgroup;
        if cgroups.insert(id)
            && let Some(path) = seen.world.cgroup_of_id(id)
        {
            HostFrame::Cgroup(Cgroup { id, path: path.to_vec() }).push(header.time, batch);
        }
        if cgroups.len() > limits::CGROUPS / 2 {
            cgroups.clear();
        }
    }
}

/// The kernel address of the attach point of an event.
fn address_of(body: &Body<'_>) -> Option<u64> {
    match body {
        Body::Bpf(bpf) => Some(bpf.record().addr).filter(|addr| *addr != 0),
        _ => None,
    }
}

/// A batch after which a reader continues from a state ([`super::Pipeline::state`]) instead of what it knew.
pub fn restart(state: &Batch) -> Batch {
    let parts: Vec<StatePart> = state
        .frames()
        .filter_map(|frame| match HostFrame::decode(&frame) {
            Some(HostFrame::StatePart(part)) => Some(part),
            _ => None,
        })
        .collect();
    let count = parts.len() as u32;
    let mut batch = Batch::default();
    for (part, StatePart { frames }) in (0..count).zip(parts) {
        HostFrame::Restart(Restart { part, parts: count, frames }).push(BootNanos(0), &mut batch);
    }
    batch
}
