//! Events taken out of a trace, as a trace of their own. It contains what is known of their processes and nothing of other
//! processes. On request ([`Excerpt::only_shown`]), it contains only what the events show of their own processes.
//!
//! The frames are those of the events, in the order of delivery. Facts about the process, the user and the cgroup of an event that
//! are not in its record are written before it or with it, the first time that an event needs them. A pipeline that is fed these
//! frames delivers the same events.

use crate::enrich::World;
use crate::enrich::symbols::StackSymbols;
use crate::event::process::{Image, Process, ProcessKey};
use crate::event::redact::Redact;
use crate::event::stack::Stack;
use crate::event::{Body, EventContext, refers_to};
use crate::frame::host::{Cgroup, Clock, Excerpt as Mark, Group, HostFrame, Layout, Restart, Trace, User};
use crate::frame::state::{EnvChange, StateFrame, Told};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::sync::Arc;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::id::{CgroupId, Gid, Uid};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

#[derive(Debug, Default)]
pub struct Excerpt {
    batch: Batch,
    latest: BootNanos,
    clock_offset: i64,
    /// The processes as a reader knows them.
    known: HashMap<ProcessKey, Arc<Process>>,
    users: HashSet<Uid>,
    groups: HashSet<Gid>,
    cgroups: HashSet<CgroupId>,
    /// The symbols as a reader knows them.
    symbols: StackSymbols,
    /// The images whose texts the events show, if nothing else may be in the excerpt.
    shown: Option<HashSet<Arc<Image>>>,
    redact: Option<Redact>,
}

impl Excerpt {
    /// Begins an excerpt of events of these kinds, which a filter chose.
    pub fn new(world: &World, kinds: KindSet, filter: &str) -> Excerpt {
        let mut batch = Batch::default();
        let mut push = |frame: HostFrame| frame.push(BootNanos(0), &mut batch);
        push(HostFrame::Layout(Layout::own()));
        push(HostFrame::Trace(Trace { kinds: kinds.bits(), ..Trace::default() }));
        push(HostFrame::Excerpt(Mark { filter: filter.to_owned() }));
        push(HostFrame::Host(world.host.clone()));
        push(HostFrame::Clock(Clock { offset_ns: world.clock_offset }));
        world.probes.iter().for_each(|probe| push(HostFrame::Probe(probe.clone())));
        Excerpt { batch, clock_offset: world.clock_offset, ..Excerpt::default() }
    }

    /// Leaves out the names, programs, arguments, directories and cgroups of processes if no event in the excerpt shows them.
    pub fn only_shown(self) -> Excerpt {
        Excerpt { shown: Some(HashSet::default()), ..self }
    }

    /// Redacts all texts. Call it before the first event.
    pub fn redacted(mut self, redact: Redact) -> Excerpt {
        self.redact = Some(redact);
        for frame in std::mem::take(&mut self.batch).frames() {
            if let Some(host) = HostFrame::decode(&frame) {
                self.put(host, frame.header.time);
            }
        }
        self
    }

    pub fn replacements(&self) -> u64 {
        self.redact.as_ref().map_or(0, Redact::count)
    }

    fn put(&mut self, mut frame: HostFrame, time: BootNanos) {
        if let Some(redact) = &mut self.redact {
            frame.each_text(&mut |text| redact.text(text));
        }
        frame.push(time, &mut self.batch);
    }

    /// Adds an event. Call it in the order of delivery.
    pub fn add(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) {
        if let Some(process) = seen.process {
            self.names(seen, process);
        }
        self.symbols(seen, frame);
        let (header, redacted) = self.redact.as_mut().map(|redact| redact.event(frame)).unzip();
        let payload = redacted.as_deref().unwrap_or(frame.payload);
        let header = header.unwrap_or(frame.header);
        let header = FrameHeader { flags: header.flags | flag::EXCERPT, ..header };
        self.latest = self.latest.max(header.time);
        match self.missing_facts(seen) {
            None => self.batch.push(header, payload),
            Some(told) => {
                let (mut told, mut trailer) = (StateFrame::Told(told), Batch::default());
                if let Some(redact) = &mut self.redact {
                    told.each_text(&mut |text| redact.text(text));
                }
                told.push(header.time, &mut trailer);
                let length = (payload.len() as u32).to_le_bytes();
                let payload = [payload, trailer.bytes(), &length].concat();
                self.batch.push(FrameHeader { flags: header.flags | flag::TOLD, ..header }, &payload);
            }
        }
    }

    pub fn push(&mut self, frame: &HostFrame) {
        self.put(frame.clone(), self.latest);
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

    /// The facts that a reader does not have yet: the process before the event, or the clock.
    fn missing_facts(&mut self, seen: &EventContext<'_>) -> Option<Told> {
        let clock_offset = seen.clock_offset;
        let new_clock = std::mem::replace(&mut self.clock_offset, clock_offset) != clock_offset;
        let process = seen.process.and_then(|process| {
            let executed = seen.event.body.started().is_some();
            let known = self.known.get(&process.key);
            let process = match &mut self.shown {
                Some(images) => Arc::new(shown(images, seen, process, known.map(|known| &**known), executed)),
                None => Arc::clone(process),
            };
            if !executed && known.is_some_and(|known| Arc::ptr_eq(known, &process) || *known == process) {
                return None;
            }
            if self.known.len() >= limits::DEAD_PROCESSES {
                self.known.clear();
            }
            let mut told = (*process).clone();
            self.known.insert(process.key, process);
            if executed {
                // The event itself contains the rest.
                told.execs = told.execs.saturating_sub(1);
                told.image = Arc::default();
            }
            Some(told)
        });
        let env = self.changed(seen);
        (new_clock || process.is_some() || env.is_some()).then_some(Told { clock_offset, process, env })
    }

    /// What an exec changed in the environment. An excerpt of only what events show has no values that look secret.
    fn changed(&self, seen: &EventContext<'_>) -> Option<Box<EnvChange>> {
        let Body::Exec(exec) = &seen.event.body else { return None };
        let change = exec.change(seen)?;
        Some(Box::new(if self.shown.is_some() { change.without_secrets() } else { change.clone() }))
    }

    /// Writes the symbols of the stack and of the attach point of an event that a reader does not know.
    fn symbols(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) {
        let calls = Stack::of(seen).into_iter().flat_map(|stack| stack.calls());
        let calls = calls.map(|call| (call.address.wrapping_sub(1), call.symbol));
        let (_, addr) = refers_to(seen.event.kind(), frame.payload);
        let place = (addr.0 != 0).then(|| (addr.0, seen.world.symbol(addr.0, seen.event.header.time)));
        for (address, symbol) in calls.chain(place) {
            for changed in self.symbols.correct(address, seen.event.header.time, symbol) {
                self.put(HostFrame::KernelSymbol(changed), seen.event.header.time);
            }
        }
    }

    /// Writes the names of the users, groups and cgroups of an event, the first time that each occurs.
    fn names(&mut self, seen: &EventContext<'_>, process: &Process) {
        let header = &seen.event.header;
        let own = self.shown.is_none();
        for uid in [Some(header.uid), Some(process.uid).filter(|_| own)].into_iter().flatten() {
            if self.users.insert(uid)
                && let Some(name) = seen.world.user(uid)
            {
                self.put(HostFrame::User(User { uid, name: name.to_owned() }), header.time);
            }
        }
        for gid in [Some(header.gid), Some(process.gid).filter(|_| own)].into_iter().flatten() {
            if self.groups.insert(gid)
                && let Some(name) = seen.world.group(gid)
            {
                self.put(HostFrame::Group(Group { gid, name: name.to_owned() }), header.time);
            }
        }
        let id = header.cgroup;
        if self.cgroups.insert(id)
            && let Some(path) = seen.world.cgroup_of_id(id)
        {
            let container = seen.world.container(id).cloned();
            self.put(HostFrame::Cgroup(Cgroup { id, path: path.to_vec(), container }), header.time);
        }
        if self.cgroups.len() > limits::CGROUPS / 2 {
            self.cgroups.clear();
        }
    }
}

/// The process without the texts that neither this event nor an earlier one shows. Every event shows its names. `images`: those that
/// events showed. `known`: the process as a reader knows it.
fn shown(
    images: &mut HashSet<Arc<Image>>,
    seen: &EventContext<'_>,
    process: &Process,
    known: Option<&Process>,
    executed: bool,
) -> Process {
    if images.len() >= limits::DEAD_PROCESSES {
        images.clear();
    }
    if executed {
        images.insert(Arc::clone(&process.image));
    }
    let mut process = process.clone();
    if !images.contains(&process.image) {
        let (exe, argv) = (process.exe_name().into(), seen.command().into());
        process.image = Arc::new(Image { exe, argv, ..Image::default() });
    }
    let shows_cgroup = seen.world.cgroup(seen.event.header.cgroup, &process) == Some(&*process.cgroup);
    if !shows_cgroup && known.is_none_or(|known| known.cgroup != process.cgroup) {
        process.cgroup = Arc::default();
    }
    process
}

/// A batch that makes a reader continue from a state ([`super::Pipeline::state`]) instead of from its own tables.
pub fn restart(state: &Batch) -> Batch {
    let mut batch = Batch::default();
    HostFrame::Restart(Restart { parts: state.frames().count() as u32 }).push(BootNanos(0), &mut batch);
    batch.append(state.bytes());
    batch
}

/// Applies the facts that an event of an excerpt has beside its record, and appends the frame without them to `out`. `None` if it
/// has none.
pub(super) fn take_told(frame: &FrameRef<'_>, world: &mut World, out: &mut Batch) -> Option<()> {
    if !frame.header.has(flag::TOLD) {
        return None;
    }
    let (rest, length) = frame.payload.split_last_chunk()?;
    let (record, told) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if let Some(StateFrame::Told(told)) = FrameRef::first(told).and_then(|(told, _)| StateFrame::decode(&told)) {
        world.tell(&told);
    }
    out.push(FrameHeader { flags: frame.header.flags & !flag::TOLD, ..frame.header }, record);
    Some(())
}
