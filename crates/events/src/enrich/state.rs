//! Saves the world as frames and restores it ([`crate::frame::state`]).

use super::World;
use crate::frame::Batch;
use crate::frame::host::{Cgroup, Clock, CounterChanges, Group, HostFrame, User};
use crate::frame::state::{StateFrame, WorldState};
use crate::terminal::Terminal;
use tracetui_shared::time::BootNanos;

impl World {
    /// Appends frames from which [`restore`](Self::restore) and [`apply_host`](Self::apply_host) make the world as it is at the time
    /// `latest`, without most ended processes.
    pub(crate) fn write_state(&self, latest: BootNanos, facts: &mut Batch, out: &mut Batch) {
        let since = self.processes.state.since;
        let mut push = |frame: HostFrame| frame.push(since, facts);
        push(HostFrame::Host(self.host.clone()));
        push(HostFrame::Clock(Clock { offset_ns: self.clock_offset }));
        self.probes.iter().for_each(|probe| push(HostFrame::Probe(probe.clone())));
        push(HostFrame::CounterChanges(CounterChanges::from(self.counters.clone())));
        let mut push = |frame: HostFrame| frame.push(since, out);
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort();
        users.into_iter().for_each(|(uid, name)| push(HostFrame::User(User { uid: *uid, name: name.clone() })));
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort();
        groups.into_iter().for_each(|(gid, name)| push(HostFrame::Group(Group { gid: *gid, name: name.clone() })));
        for (id, known) in self.cgroups.iter() {
            let container = known.container.as_deref().cloned();
            push(HostFrame::Cgroup(Cgroup { id: *id, path: known.path.to_vec(), container }));
        }
        self.bpf.write_state(since, out);
        self.symbols.write_state(since, out);
        let bpf = self.bpf.doers().cloned().collect();
        let bpf_left_out = self.bpf.left_out;
        let (accounts, cgroups_evicted) = (self.accounts as u64, self.cgroups_evicted);
        let bpf_loads = self.bpf.loads().cloned().collect();
        let world = WorldState { accounts, cgroups_evicted, bpf, bpf_left_out, bpf_loads };
        StateFrame::WorldState(world).push(since, out);
        if let Some(terminal) = self.terminal() {
            StateFrame::TerminalState(terminal.state()).push(since, out);
        }
        self.processes.write_state(latest, out);
    }

    /// Applies one frame of a saved state.
    pub(crate) fn restore(&mut self, frame: &StateFrame) {
        match frame {
            StateFrame::WorldState(world) => {
                self.accounts = usize::try_from(world.accounts).unwrap_or(usize::MAX);
                self.cgroups_evicted = world.cgroups_evicted;
                self.bpf.left_out = world.bpf_left_out;
                world.bpf.iter().for_each(|doer| self.bpf.add_doer(doer.clone()));
                world.bpf_loads.iter().for_each(|load| self.bpf.add_load(load.clone()));
            }
            StateFrame::TerminalState(terminal) => self.terminal = Some(Box::new(Terminal::restore(terminal))),
            frame => self.processes.restore(frame),
        }
    }
}
