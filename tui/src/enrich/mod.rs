//! What is known around events: a pure fold over frames, without I/O and without clocks.

pub mod process;
pub mod time;

use crate::event::Event;
use crate::frame::host::{Counters, Host, HostFrame, Probe};
use crate::limits;
use process::{Process, ProcessTable};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use tracetui_shared::id::{CgroupId, Gid, Tgid, Uid};

/// All tables. Only frames change them.
#[derive(Debug, Default)]
pub struct World {
    /// Processes.
    pub processes: ProcessTable,
    host: Host,
    clock_offset: i64,
    users: FxHashMap<Uid, String>,
    groups: FxHashMap<Gid, String>,
    cgroups: FxHashMap<CgroupId, Vec<u8>>,
    probes: Vec<Probe>,
    counters: Counters,
}

impl World {
    /// Takes what the host told.
    pub fn apply_host(&mut self, frame: HostFrame) {
        match frame {
            HostFrame::Host(host) => self.host = host,
            HostFrame::Clock(clock) => self.clock_offset = clock.offset_ns,
            HostFrame::ProcessSeed(seed) => self.processes.seed(&seed),
            HostFrame::User(user) => {
                self.users.insert(user.uid, user.name);
            }
            HostFrame::Group(group) => {
                self.groups.insert(group.gid, group.name);
            }
            HostFrame::Cgroup(cgroup) => {
                if self.cgroups.len() < limits::CGROUPS || self.cgroups.contains_key(&cgroup.id) {
                    self.cgroups.insert(cgroup.id, cgroup.path);
                }
            }
            HostFrame::Probe(probe) => match self.probes.iter_mut().find(|p| p.name == probe.name) {
                Some(known) => *known = probe,
                None => self.probes.push(probe),
            },
            HostFrame::Counters(counters) => self.counters = counters,
        }
    }

    /// Takes an event, and gives its process as it was then.
    pub fn apply(&mut self, event: &Event<'_>) -> Option<Arc<Process>> {
        self.processes.apply(event)
    }

    /// Says which process is the COMMAND that tracetui started.
    pub fn set_command(&mut self, command: Tgid) {
        self.processes.set_command(command);
    }

    /// The machine.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds, as last told.
    pub fn clock_offset(&self) -> i64 {
        self.clock_offset
    }

    /// A user's name.
    pub fn user(&self, uid: Uid) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    /// A group's name.
    pub fn group(&self, gid: Gid) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }

    /// The user of a name; of several the lowest.
    pub fn user_id(&self, name: &str) -> Option<Uid> {
        self.users.iter().filter(|(_, known)| *known == name).map(|(uid, _)| *uid).min()
    }

    /// The group of a name; of several the lowest.
    pub fn group_id(&self, name: &str) -> Option<Gid> {
        self.groups.iter().filter(|(_, known)| *known == name).map(|(gid, _)| *gid).min()
    }

    /// The cgroup of an event: the v2 path; where that is only the root, the name=systemd one.
    pub fn cgroup<'a>(&'a self, id: CgroupId, process: &'a Process) -> Option<&'a [u8]> {
        match self.cgroups.get(&id) {
            Some(path) if path == b"/" && !process.cgroup.is_empty() => Some(&process.cgroup),
            Some(path) => Some(path),
            None => None,
        }
    }

    /// The probes, attached or not.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// What the probes had counted when they were last asked.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
