//! Host frames: host data as frames, so that enrichment needs no I/O and a replay on another machine shows the same.
//!
//! A host frame has the header of any frame; of it only `len`, `kind`, `version` and `time` mean something. For the payload see
//! [`super::wire`].

use super::wire::{frames, wire_list, wire_struct};
use crate::limits;
use tracetui_shared::counters::{CpuState, Reason};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::time::BootNanos;

/// Kinds from here on are host frames.
pub const FIRST_KIND: u16 = 64;

wire_struct! {
    /// A process from the process scan.
    ProcessSeed {
        /// Process.
        tgid: Tgid,
        /// Its start; see `start_exact`.
        start: BootNanos,
        /// Whether `start` is the kernel's own value; else it is cut to the clock tick that /proc knows
        /// (`tick_ns` long).
        start_exact: bool,
        /// Nanoseconds of a clock tick (`1e9 / sysconf(_SC_CLK_TCK)`).
        tick_ns: u64,
        /// Parent process; 0 for none.
        ppid: Tgid,
        /// The parent's start; 0 when not known: then it is the process that has its id.
        parent_start: BootNanos,
        /// Real user.
        uid: Uid,
        /// Real group.
        gid: Gid,
        /// The leader's name.
        comm: Vec<u8>,
        /// What /proc/PID/exe links to; empty when not readable (kernel threads have none).
        exe: Vec<u8>,
        /// /proc/PID/cmdline: arguments, each followed by NUL.
        argv: Vec<u8>,
        /// What /proc/PID/cwd links to; empty when not readable.
        cwd: Vec<u8>,
        /// The v2 cgroup, or where that is only the root the name=systemd one, from /proc/PID/cgroup.
        cgroup: Vec<u8>,
        /// Whether this is a kernel thread (PF_KTHREAD).
        kernel_thread: bool,
    }

    /// A user's name.
    User {
        /// User.
        uid: Uid,
        /// Name.
        name: String,
    }

    /// A group's name.
    Group {
        /// Group.
        gid: Gid,
        /// Name.
        name: String,
    }

    /// The offset between the clocks from now on.
    Clock {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds.
        offset_ns: i64,
    }

    /// A cgroup's path.
    Cgroup {
        /// The v2 cgroup (`kernfs_node.id`).
        id: CgroupId,
        /// Its path from the root of the v2 hierarchy, as /proc/PID/cgroup writes it.
        path: Vec<u8>,
    }

    /// The number of times that the kernel skipped a program (`bpf_prog_info.recursion_misses`).
    ProgramSkips {
        /// The program.
        program: String,
        /// The [`tracetui_shared::kind::Slot`]s that it fills.
        slots: Vec<u16>,
        /// Skips since the load.
        skips: u64,
    }

    /// A counter of a CPU that has changed.
    CounterChange {
        /// The CPU.
        cpu: u32,
        /// Which of the 64-bit words of its [`CpuState`].
        word: u16,
        /// What it is now.
        value: u64,
    }

    /// The changes of the probes' counters since the previous frame; in the first frame, since zero.
    CounterChanges {
        /// Whether the probes are detached and the ring is drained: these counters are final.
        last: bool,
        /// The counters that have changed.
        changes: Vec<CounterChange>,
        /// The programs whose skips have changed.
        programs: Vec<ProgramSkips>,
        /// Bytes of the ring that wait for the consumer.
        ring_used: u64,
        /// Bytes of the ring.
        ring_size: u64,
    }

    /// The options of the trace. The first frame.
    Trace {
        /// The kinds, as a [`KindSet`]. What else comes keeps the process table true.
        kinds: u32,
        /// The COMMAND that tracetui started: only what it and its descendants do is asked for; 0 for none.
        command: Tgid,
        /// The filter of the capture, as text; empty for none.
        filter: String,
    }

    /// The ring was empty.
    Drained {
        /// When (CLOCK_BOOTTIME).
        at: BootNanos,
    }

    /// Records from the ring that are not frames: shorter than a header, or with a wrong length.
    Unreadable {
        /// The number.
        count: u64,
    }

    /// A record and how long its fixed part is.
    RecordLayout {
        /// [`Kind`].
        kind: u16,
        /// 0 the first record of an event, 1 a continuation.
        part: u16,
        /// Bytes of the fixed part.
        fixed: u16,
    }

    /// How the records that follow were written ([`super::layout`]). Stands in a batch before the first event; without one,
    /// records are as this version writes them.
    Layout {
        /// Each record.
        records: Vec<RecordLayout>,
    }

    /// A part of what a pipeline knows, for one that goes on from here ([`super::state`]). Others pass over it.
    StatePart {
        /// Frames as a [`super::Batch`] has them.
        frames: Vec<u8>,
    }

    /// A probe, and what became of it.
    Probe {
        /// Name of the program.
        name: String,
        /// The [`tracetui_shared::kind::Kind`]s that it serves.
        kinds: Vec<u16>,
        /// Whether it is attached.
        attached: bool,
        /// How: type and attach point.
        how: String,
        /// Why not.
        why: Option<String>,
        /// What is then not seen.
        missing: String,
        /// The remedy.
        remedy: Option<String>,
        /// Whether it may be preempted between taking the time and writing the record: then records come later out of
        /// the ring than those of later events.
        preemptible: bool,
    }

    /// The machine.
    Host {
        /// Name (`uname -n`).
        name: String,
        /// /proc/sys/kernel/random/boot_id.
        boot_id: String,
        /// `uname -r`.
        kernel: String,
        /// `uname -m`.
        arch: String,
        /// tracetui's own pid namespace: ids in it are not shown twice.
        pid_ns: NsInum,
        /// tracetui's own process, in the initial pid namespace.
        self_tgid: Tgid,
        /// Possible CPUs.
        cpus: u32,
    }
}

/// The current counters of the probes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Whether the probes are detached and the ring is drained: these counters are final.
    pub last: bool,
    /// One element per CPU, up to the last CPU with events.
    pub cpus: Vec<CpuState>,
    /// One element per program.
    pub programs: Vec<ProgramSkips>,
    /// Bytes of the ring that wait for the consumer.
    pub ring_used: u64,
    /// Bytes of the ring.
    pub ring_size: u64,
}

impl Counters {
    /// Events of a kind that a program met but could not report.
    pub fn dropped(&self, kind: Kind) -> u64 {
        let slots = || Slot::ALL.into_iter().filter(|slot| slot.kind() == kind);
        let all = self.cpus.iter().flat_map(|cpu| slots().filter_map(|slot| cpu.slots.get(slot as usize)));
        let losses = all.flat_map(|c| Reason::ALL.into_iter().zip(c.dropped).filter(|(reason, _)| reason.is_loss()));
        losses.fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
    }

    /// The changes from these counters to others.
    pub fn changes_to(&self, now: &Counters) -> CounterChanges {
        let mut changes = Vec::new();
        for (cpu, state) in (0u32..).zip(&now.cpus) {
            let known = self.cpus.get(cpu as usize);
            let before = known.unwrap_or(&CpuState::ZERO).words();
            let words = (0u16..).zip(before.into_iter().zip(state.words()));
            // Of a CPU that is not known yet there is one in any case: they are told in order.
            let new = words.filter(|(word, (before, now))| before != now || *word == 0 && known.is_none());
            changes.extend(new.map(|(word, (_, value))| CounterChange { cpu, word, value }));
        }
        let programs = now.programs.iter().filter(|program| !self.programs.contains(program)).cloned().collect();
        CounterChanges { last: now.last, changes, programs, ring_used: now.ring_used, ring_size: now.ring_size }
    }

    /// Applies the changes of the next frame. Invalid CPUs and words are ignored. CPUs are in order, so a frame adds at
    /// most as many CPUs as it has changes.
    pub fn apply(&mut self, frame: &CounterChanges) {
        for change in &frame.changes {
            let cpu = change.cpu as usize;
            if change.cpu < limits::CPUS && cpu == self.cpus.len() {
                self.cpus.push(CpuState::ZERO);
            }
            if let Some(state) = self.cpus.get_mut(cpu) {
                state.set_word(change.word.into(), change.value);
            }
        }
        for program in &frame.programs {
            match self.programs.iter().position(|known| known.program == program.program) {
                Some(at) => self.programs[at].clone_from(program),
                None if self.programs.len() < limits::PROBES => self.programs.push(program.clone()),
                None => {}
            }
        }
        (self.last, self.ring_used, self.ring_size) = (frame.last, frame.ring_used, frame.ring_size);
    }
}

/// The first frame of these counters.
impl From<Counters> for CounterChanges {
    fn from(counters: Counters) -> CounterChanges {
        Counters::default().changes_to(&counters)
    }
}

impl Trace {
    /// The requested kinds.
    pub fn kinds(&self) -> KindSet {
        KindSet::from_bits(self.kinds)
    }
}

wire_list!(CounterChange ProgramSkips RecordLayout u16);

frames! {
    /// A host frame, decoded.
    HostFrame {
        /// The machine.
        Host = 64;
        /// The offset between the clocks.
        Clock = 65;
        /// A process from the scan.
        ProcessSeed = 66;
        /// A user's name.
        User = 67;
        /// A group's name.
        Group = 68;
        /// A cgroup's path.
        Cgroup = 69;
        /// What the probes have counted since the last of these frames.
        CounterChanges = 70;
        /// A probe's state.
        Probe = 71;
        /// What was asked for.
        Trace = 72;
        /// Nothing waited in the ring.
        Drained = 73;
        /// Records that are no frames.
        Unreadable = 74;
        /// A part of the pipeline's state ([`super::state`]).
        StatePart = 75;
        /// How records were written.
        Layout = 76;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, FrameRef};
    use super::*;
    use tracetui_shared::header::FrameHeader;

    #[test]
    fn a_host_frame_comes_back_as_it_was() {
        let seed = HostFrame::ProcessSeed(ProcessSeed {
            tgid: Tgid(7),
            start: BootNanos(9),
            argv: b"a\0b\0".to_vec(),
            ..ProcessSeed::default()
        });
        let mut batch = Batch::default();
        seed.push(BootNanos(1), &mut batch);
        let frame = batch.frames().next().expect("one frame");
        assert_eq!(HostFrame::decode(&frame), Some(seed));
    }

    #[test]
    fn a_probe_without_a_word_on_preemption_has_none() {
        let probe = Probe { name: "exec_tp".into(), attached: true, preemptible: true, ..Probe::default() };
        let mut batch = Batch::default();
        HostFrame::Probe(probe.clone()).push(BootNanos(1), &mut batch);
        let frame = batch.frames().next().expect("one frame");
        assert_eq!(HostFrame::decode(&frame), Some(HostFrame::Probe(probe.clone())));
        let older = FrameRef { payload: &frame.payload[..frame.payload.len() - 1], ..frame };
        assert_eq!(HostFrame::decode(&older), Some(HostFrame::Probe(Probe { preemptible: false, ..probe })));
    }

    fn counting(cpus: &[u64], skips: u64) -> Counters {
        let state = |met: &u64| {
            let mut state = CpuState::ZERO;
            state.slots[Slot::OpenTp as usize].met = *met;
            (state.tree_full, state.credit) = (met / 2, 77);
            state
        };
        let programs = vec![
            ProgramSkips { program: "a".into(), slots: vec![1], skips },
            ProgramSkips { program: "b".into(), slots: vec![2], skips: 5 },
        ];
        Counters { cpus: cpus.iter().map(state).collect(), programs, ring_used: skips, ring_size: 9, last: skips > 1 }
    }

    #[test]
    fn counters_are_the_sum_of_their_changes() {
        let mut told = Counters::default();
        let steps =
            [counting(&[1, 0, 6], 0), counting(&[1, 0, 9], 1), counting(&[4, 2, 9], 1), counting(&[4, 2, 9], 2)];
        let sizes = [6, 2, 4, 0];
        let mut before = Counters::default();
        for (step, size) in steps.into_iter().zip(sizes) {
            let changes = before.changes_to(&step);
            assert_eq!(changes.changes.len(), size, "{changes:?}");
            let mut batch = Batch::default();
            HostFrame::CounterChanges(changes).push(BootNanos(1), &mut batch);
            let Some(HostFrame::CounterChanges(read)) = batch.frames().next().and_then(|f| HostFrame::decode(&f))
            else {
                panic!("one frame")
            };
            told.apply(&read);
            let mut expected = step.clone();
            // What only the probes use is not told.
            expected.cpus.iter_mut().for_each(|cpu| cpu.credit = 0);
            assert_eq!(told, expected);
            before = step;
        }
    }

    #[test]
    fn counters_of_what_there_cannot_be_are_not_taken() {
        let change = |cpu, word| CounterChange { cpu, word, value: 1 };
        let changes = vec![change(limits::CPUS, 0), change(u32::MAX, 0), change(0, u16::MAX), change(1, 0)];
        let mut counters = Counters::default();
        counters.apply(&CounterChanges { changes, ..CounterChanges::default() });
        assert_eq!((counters.cpus.len(), counters.cpus[0], counters.cpus[1].slots[0].met), (2, CpuState::ZERO, 1));
    }

    #[test]
    fn a_list_has_no_more_elements_than_bytes() {
        for count in [1, 1000, u32::MAX] {
            let mut payload = vec![0];
            payload.extend_from_slice(&count.to_le_bytes());
            let mut batch = Batch::default();
            batch.push(FrameHeader { kind: 70, ..FrameHeader::default() }, &payload);
            assert_eq!(batch.frames().next().and_then(|frame| HostFrame::decode(&frame)), None, "{count}");
        }
    }

    #[test]
    fn a_payload_that_ends_early_reads_as_defaults() {
        let mut batch = Batch::default();
        batch.push(FrameHeader { kind: 67, ..FrameHeader::default() }, &5u32.to_le_bytes());
        let frame = batch.frames().next().expect("one frame");
        assert_eq!(HostFrame::decode(&frame), Some(HostFrame::User(User { uid: Uid(5), name: String::new() })));
    }
}
