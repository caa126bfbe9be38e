//! Processes, users, cgroups and clocks: a pure fold over frames, without I/O.

pub mod bpf;
pub mod process;
mod state;
pub mod symbols;

use crate::budget::Budget;
use crate::event::process::{Process, ProcessKey};
use crate::event::{Body, Event, ROOT_CGROUP, Tables};
use crate::fifo::Fifo;
use crate::frame::host::{Cgroup, Container, Counters, Host, HostFrame, KernelSymbol, Probe};
use crate::frame::state::Told;
use crate::limits;
use crate::terminal::Terminal;
use crate::text::time::Zone;
use foldhash::HashMap;
use process::ProcessTable;
use std::sync::Arc;
use tracetui_shared::id::{CgroupId, Gid, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// All tables. They are changed by frames only.
#[derive(Debug, Default)]
pub struct World {
    pub processes: ProcessTable,
    pub bpf: bpf::Programs,
    pub symbols: symbols::StackSymbols,
    pub host: Host,
    /// The latest CLOCK_REALTIME − CLOCK_BOOTTIME, in nanoseconds.
    pub clock_offset: i64,
    /// The names of the users and groups that are known.
    pub users: HashMap<Uid, String>,
    pub groups: HashMap<Gid, String>,
    /// Bytes of the names of users and groups.
    accounts: usize,
    cgroups: Fifo<CgroupId, KnownCgroup>,
    cgroups_told: u64,
    /// The number of cgroups whose path was evicted.
    pub cgroups_evicted: u64,
    /// The probes, attached or not.
    pub probes: Vec<Probe>,
    /// The latest counters of the probes.
    pub counters: Counters,
    /// The time of these counters. A live trace reads them once a second, even without events.
    pub counted_at: BootNanos,
    /// The end of the recording, if these are a part of one.
    pub ends_at: Option<BootNanos>,
    /// The time zone of the reader, for dates in filters.
    pub zone: Zone,
    /// COMMAND's terminal, if its output is recorded.
    terminal: Option<Box<Terminal>>,
    /// Whether the output is not followed: the terminal stays as in the last state. For readers that write no states.
    pub without_terminal: bool,
    budget: Budget,
}

#[derive(Debug)]
struct KnownCgroup {
    path: Box<[u8]>,
    container: Option<Box<Container>>,
}

/// Bytes of a user or group beside its name: its place in the table, which may be less than half full, and the overhead
/// of the allocator.
const ACCOUNT: usize = 5 * (size_of::<(Uid, String)>() + 1) / 2 + 16;

impl World {
    pub fn new(budget: Budget) -> World {
        World { processes: ProcessTable::new(budget), budget, ..World::default() }
    }

    /// The memory in use, in bytes: processes, cgroups, users and groups.
    pub fn bytes(&self) -> usize {
        let terminal = self.terminal().map_or(0, Terminal::bytes);
        self.processes.bytes + self.bpf.bytes() + self.symbols.bytes + self.cgroups.bytes() + self.accounts + terminal
    }

    pub fn apply_host(&mut self, frame: HostFrame, time: BootNanos) {
        match frame {
            HostFrame::Host(host) => self.host = host,
            HostFrame::Clock(clock) => self.clock_offset = clock.offset_ns,
            HostFrame::ProcessSeed(seed) => self.processes.seed(&seed),
            HostFrame::User(user) => {
                let old = self.users.remove(&user.uid);
                if self.takes_account(old, &user.name) {
                    self.users.insert(user.uid, user.name);
                }
            }
            HostFrame::Group(group) => {
                let old = self.groups.remove(&group.gid);
                if self.takes_account(old, &group.name) {
                    self.groups.insert(group.gid, group.name);
                }
            }
            HostFrame::Cgroup(cgroup) => {
                let bytes = cgroup.bytes();
                let Cgroup { id, path, container } = cgroup;
                let known = KnownCgroup { path: path.into(), container: container.map(Box::new) };
                self.cgroups.insert(id, known, bytes);
                self.cgroups_told += 1;
                // The feed evicts by the same rule, so it knows which paths are known here.
                while self.cgroups.evict(limits::CGROUPS, self.budget.share(limits::CGROUPS_SHARE)).is_some() {
                    self.cgroups_evicted += 1;
                }
            }
            HostFrame::Probe(probe) => match self.probes.iter().position(|known| known.name == probe.name) {
                Some(at) => self.probes[at] = probe,
                None if self.probes.len() < limits::PROBES => self.probes.push(probe),
                None => {}
            },
            HostFrame::CounterChanges(changes) => {
                self.counters.apply(&changes);
                self.counted_at = time;
            }
            HostFrame::BpfProgram(program) => self.bpf.add_program(program),
            HostFrame::BpfProgramGone(program) => self.bpf.end_program(program.id, time),
            HostFrame::BpfAttachment(attachment) => self.bpf.change_attachment(attachment, time),
            HostFrame::BpfHidden(hidden) => self.bpf.hide(hidden),
            HostFrame::BpfHolders(all) => self.bpf.hold(all),
            HostFrame::BpfRuns(runs) => self.bpf.add_runs(runs),
            HostFrame::BpfCounted(counted) => self.bpf.counted(&counted),
            HostFrame::BpfInventory(taken) => self.bpf.end_inventory(taken),
            HostFrame::KernelSymbol(symbol) => _ = self.symbols.add(symbol),
            HostFrame::CommandOutput(_) if self.without_terminal => {}
            HostFrame::CommandOutput(output) => {
                self.terminal.get_or_insert_with(|| Box::new(Terminal::recorded())).apply(&output);
            }
            // The pipeline handles the others.
            _ => {}
        }
    }

    /// Whether there is room for another user or group, instead of the one that had its id.
    fn takes_account(&mut self, old: Option<String>, name: &str) -> bool {
        self.accounts -= old.map_or(0, |old| ACCOUNT + old.len());
        let bytes = ACCOUNT + name.len();
        let fits = self.accounts + bytes <= self.budget.share(limits::ACCOUNTS_SHARE);
        self.accounts += if fits { bytes } else { 0 };
        fits
    }

    pub fn apply(&mut self, event: &Event<'_>) -> Option<Arc<Process>> {
        if let Body::Bpf(bpf) = &event.body {
            self.bpf.apply(bpf, &event.header);
        }
        self.processes.apply(event)
    }

    /// Applies the facts that an event of an excerpt contains beside its record.
    pub(crate) fn tell(&mut self, told: &Told) {
        self.clock_offset = told.clock_offset;
        self.processes.told_env = told.env.clone();
        if let Some(process) = &told.process {
            self.processes.tell(process);
        }
    }

    /// COMMAND's terminal, as far as its output is in the frames.
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_deref()
    }

    /// Sets COMMAND's terminal, whose later output is in the frames.
    pub fn set_terminal(&mut self, terminal: &Terminal) {
        self.terminal = Some(Box::new(Terminal::restore(&terminal.state())));
    }

    /// The end of the recording, or of the trace so far, in nanoseconds since 1970. `None` if no time is known yet.
    pub fn end(&self) -> Option<i128> {
        let end = self.ends_at.unwrap_or(self.counted_at);
        (end.0 > 0).then(|| i128::from(end.0) + i128::from(self.clock_offset))
    }
}

impl Tables for World {
    fn host(&self) -> &Host {
        &self.host
    }

    fn cgroup<'a>(&'a self, id: CgroupId, process: &'a Process) -> Option<&'a [u8]> {
        match self.cgroups.get(&id) {
            Some(known) if &*known.path == b"/" && !process.cgroup.is_empty() => Some(&process.cgroup),
            Some(known) => Some(&known.path),
            // Its path is known where no v2 hierarchy could be read.
            None if id == ROOT_CGROUP && !process.cgroup.is_empty() => Some(&process.cgroup),
            None => None,
        }
    }

    fn knows_cgroups(&self) -> bool {
        self.cgroups_evicted > 0 || self.cgroups.iter().next().is_some()
    }

    fn container(&self, id: CgroupId) -> Option<&Container> {
        self.cgroups.get(&id)?.container.as_deref()
    }

    fn cgroups_told(&self) -> u64 {
        self.cgroups_told
    }

    fn user(&self, uid: Uid) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    fn group(&self, gid: Gid) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }

    fn cgroup_of_id(&self, id: CgroupId) -> Option<&[u8]> {
        self.cgroups.get(&id).map(|known| &*known.path)
    }

    fn in_tree(&self, process: &Process, root: Tgid) -> bool {
        self.processes.in_tree(process, root)
    }

    fn symbol(&self, address: u64, at: BootNanos) -> Option<&KernelSymbol> {
        self.symbols.find(address, at)
    }

    fn environment(&self, key: ProcessKey) -> Option<Arc<[u8]>> {
        self.processes.env(self.processes.exact(key))
    }

    fn process(&self, key: ProcessKey) -> Option<&Arc<Process>> {
        self.processes.get(key).map(|entry| &entry.process)
    }
}
