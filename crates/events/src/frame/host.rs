//! Host frames: host data as frames, so that enrichment needs no I/O and a replay gives the same result on another
//! machine.
//!
//! A host frame has the header of every frame, of which only `len`, `kind`, `version` and `time` are used.
//! `wire` describes the payload.

use super::bpf::{HeldBy, Hook, Via, View};
use super::wire::{frames, wire_struct};
use crate::budget::cgroup_bytes;
use crate::limits;
use tracetui_shared::counters::{CpuState, Reason, SlotCounters};
use tracetui_shared::id::{CgroupId, Gid, KernelAddr, LinkId, NsInum, ProgId, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::time::BootNanos;

/// The first kind of host frames. Lower kinds are events.
pub const FIRST_KIND: u16 = 64;

wire_struct! {
    /// A process found by the process scan.
    ProcessSeed {
        tgid: Tgid,
        start: BootNanos,
        /// If false, `start` is rounded down to the clock tick of /proc.
        start_exact: bool,
        /// Nanoseconds per clock tick.
        tick_ns: u64,
        /// 0 for none.
        ppid: Tgid,
        /// 0 if unknown. The parent is then whoever has the id `ppid`.
        parent_start: BootNanos,
        uid: Uid,
        gid: Gid,
        /// The leader's.
        comm: Vec<u8>,
        /// /proc/PID/exe; empty if unreadable.
        exe: Vec<u8>,
        /// /proc/PID/cmdline.
        argv: Vec<u8>,
        /// /proc/PID/cwd; empty if unreadable.
        cwd: Vec<u8>,
        /// The v2 cgroup; if that is the root, the name=systemd cgroup.
        cgroup: Vec<u8>,
        /// PF_KTHREAD.
        kernel_thread: bool,
        /// The environment of its program ([`crate::environment`]); absent if it is unknown or not requested.
        env: Option<Vec<u8>>,
    }

    /// A user's name.
    User {
        uid: Uid,
        name: String,
    }

    /// A group's name.
    Group {
        gid: Gid,
        name: String,
    }

    /// The offset between the clocks, valid from here on.
    Clock {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds.
        offset_ns: i64,
    }

    /// A container or pod that the path of a cgroup names. Root gave the cgroup its name, or the user who did has such a container. Unknown
    /// texts are empty.
    Container {
        /// Empty for a pod without a container.
        id: Vec<u8>,
        /// `docker`, `containerd`, `cri-o`, `podman`, `nspawn`, or the service that registered a machine.
        runtime: Vec<u8>,
        /// As the runtime's files had it when the cgroup was first seen.
        name: Vec<u8>,
        image: Vec<u8>,
        pod_name: Vec<u8>,
        pod_namespace: Vec<u8>,
        /// Empty outside Kubernetes.
        pod_uid: Vec<u8>,
    }

    /// A cgroup's path and container. A later frame about the same cgroup replaces an earlier one.
    Cgroup {
        /// `kernfs_node.id`.
        id: CgroupId,
        /// As in /proc/PID/cgroup.
        path: Vec<u8>,
        container: Option<Container>,
    }

    /// How often the kernel skipped a program (`bpf_prog_info.recursion_misses`).
    ProgramSkips {
        program: String,
        /// Its [`tracetui_shared::kind::Slot`]s.
        slots: Vec<u16>,
        /// Since the load.
        skips: u64,
    }

    /// A counter of a CPU that has changed.
    CounterChange {
        cpu: u32,
        /// The index of a 64-bit word in [`CpuState`].
        word: u16,
        value: u64,
    }

    /// The changes of the probes' counters since the previous frame; in the first frame, since zero.
    CounterChanges {
        /// Whether the probes are detached and the ring is drained.
        last: bool,
        changes: Vec<CounterChange>,
        /// The programs with new skips.
        programs: Vec<ProgramSkips>,
        /// Unread bytes of the fullest ring, times their number.
        ring_used: u64,
        ring_size: u64,
    }

    /// The options of the trace.
    Trace {
        /// The requested [`KindSet`]. Records of other kinds only update the process table.
        kinds: u32,
        /// The process id of COMMAND, whose tree alone is requested; 0 for none.
        command: Tgid,
        /// The capture filter; empty for none.
        filter: String,
        /// The `--label` options, each once.
        labels: Vec<Label>,
    }

    /// A name and a value that the user gave the recording.
    Label {
        name: String,
        value: String,
    }

    /// The ring was empty at this time.
    Drained {
        at: BootNanos,
    }

    /// Every event up to this time was read or is lost. A reader that skips this frame uses [`Drained`], with the same result.
    Settled {
        at: BootNanos,
    }

    /// A part of a recording is unreadable, so frames are missing here.
    Hole {
        bytes: u64,
    }

    /// The trace is an excerpt of another one. Its events have [`flag::EXCERPT`](tracetui_shared::header::flag::EXCERPT), and
    /// their numbers are not checked.
    Excerpt {
        /// The filter that chose its events; empty for none.
        filter: String,
    }

    /// The recording ends here, before the trace. The counters of the probes are older than the events.
    Unfinished {
        /// 0 if unknown.
        at: BootNanos,
    }

    /// A pipeline state follows in the same batch. It replaces everything before, after all earlier events were delivered.
    Restart {
        /// The number of the frames of the state.
        parts: u32,
    }

    /// What the process scan could not read.
    Scanned {
        /// Processes with unreadable arguments, so far.
        unread: u64,
    }

    /// A window of `record --around`. Events between two windows were omitted on purpose.
    Window {
        from: BootNanos,
        /// 0 at the start of the window.
        to: BootNanos,
        matches: u64,
        /// Whether it begins late for lack of memory.
        short: bool,
    }

    /// The last frame of a file if the trace continues in another one. That file begins with the pipeline state, even the events that
    /// wait for their order.
    Continues {
        /// The number of the next file.
        part: u32,
    }

    /// Records from the ring that are not frames: shorter than a header, or with a wrong length.
    Unreadable {
        count: u64,
    }

    /// The length of the fixed part of one sort of record.
    RecordLayout {
        /// A [`Kind`].
        kind: u16,
        /// 0 for the first record of an event, 1 for a continuation.
        part: u16,
        fixed: u16,
    }

    /// The layout of the following records, in a batch before the first event. By default, that of this version.
    Layout {
        records: Vec<RecordLayout>,
    }

    /// A part of a pipeline state, from which another pipeline can continue. Other readers skip it. With [`StatePart::TABLES`] as the slot
    /// of its header, it has only tables, which the rest does not need.
    StatePart {
        /// Frames in the format of a [`super::Batch`].
        frames: Vec<u8>,
    }

    /// A probe and its state.
    Probe {
        name: String,
        /// The [`Kind`]s that it reports.
        kinds: Vec<u16>,
        attached: bool,
        /// The type and the attach point.
        how: String,
        /// Why it is not attached.
        why: Option<String>,
        /// The events that are then missed.
        missing: String,
        remedy: Option<String>,
        /// Whether it can be preempted between taking the time and writing the record, so that records may come late.
        preemptible: bool,
    }

    /// A load or unload, from the kernel's own stream of BPF programs.
    ProgramChange {
        /// False for an unload.
        loaded: bool,
        /// 0 if unknown.
        id: ProgId,
        /// The hash of its instructions, as a big-endian number.
        tag: u64,
        /// `bpf_prog_TAG_NAME`; empty if there is none.
        symbol: Vec<u8>,
        /// The main function's; 0 without a symbol.
        addr: KernelAddr,
        /// The main function's.
        len: u32,
        cpu: u32,
        /// 0 if unknown. Meaningless for an unload, which happens in any process.
        tgid: Tgid,
        tid: Tid,
        /// Whether it is tracetui's.
        own: bool,
    }

    /// Reports of that stream were lost. Each is a [`ProgramChange`] or the symbol of a function.
    ProgramChangesLost {
        count: u64,
        since: BootNanos,
    }

    /// A BPF map that a program uses.
    BpfMap {
        id: u32,
        /// `BPF_MAP_TYPE_*`.
        map_type: u32,
        name: Vec<u8>,
        max_entries: u32,
    }

    /// A BPF program in the inventory, which replaces earlier facts. In a state, the events of loads describe some programs.
    BpfProgram {
        id: ProgId,
        /// `BPF_PROG_TYPE_*`; `u32::MAX` if unknown.
        prog_type: u32,
        /// The name of its main function from its BTF, or else the name as loaded, of at most 15 bytes.
        name: Vec<u8>,
        /// The hash of its instructions, as a big-endian number.
        tag: u64,
        uid: Uid,
        loaded: BootNanos,
        /// Bytes of machine code; 0 if it is interpreted.
        jited_len: u32,
        /// Bytes of instructions after the verifier.
        xlated_len: u32,
        /// The main function's; 0 if the kernel hides it.
        addr: KernelAddr,
        /// Why `helpers` may be incomplete: 0 complete, 1 hidden addresses, 2 instructions withheld, 3 too long, 4 no symbols,
        /// 5 removed, 6 tail call.
        unknown: u8,
        /// Whether it is tracetui's.
        own: bool,
        /// Bits of [`tracetui_shared::helper::HELPERS`] that it calls.
        helpers: u64,
        /// The kfuncs that it calls; empty if unknown.
        kfuncs: Vec<String>,
        maps: Vec<BpfMap>,
        /// The `BPF_*` attach type that was passed at its load; 0 if no event of the load shows it.
        attach_type: u32,
    }

    /// A BPF program that has left the inventory.
    BpfProgramGone {
        id: ProgId,
    }

    /// An attachment in the inventory. It replaces the attachment with the same key.
    #[derive(Hash)]
    BpfAttachment {
        /// A number unique in this trace.
        key: u32,
        /// Whether it appeared or disappeared since the previous inventory, which may be an event.
        news: bool,
        /// Whether it disappeared. Then only `key` is set.
        gone: bool,
        /// 0 if unknown.
        program: ProgId,
        /// 0 without a link.
        link: LinkId,
        /// `BPF_LINK_TYPE_*`. Without a link: BPF_LINK_TYPE_STRUCT_OPS for a function of a table that has a link, else 0.
        link_type: u32,
        via: Via,
        hook: Hook,
        /// The attach point as text: a tracepoint, a file, an interface, a cgroup, a map, an iterator's target.
        target: Vec<u8>,
        /// The kernel function; empty if there is none.
        symbol: Vec<u8>,
        /// The offset in the function or file, in bytes.
        offset: Option<u64>,
        /// 0 if it has none.
        addr: KernelAddr,
        /// The kernel module, or the name of the kernel object that has the function.
        module: Vec<u8>,
        /// How many attach points a link has.
        multi: Option<u32>,
        /// Absent if the kernel does not report it.
        cookie: Option<u64>,
        ifindex: Option<u32>,
        /// The network namespace of the interface.
        netns: Option<NsInum>,
        /// The only process for which it runs.
        only: Option<Tgid>,
        /// Further properties, as words: the mode of XDP, the sharing of cgroups, the direction of tc.
        flags: Vec<u8>,
        /// In a saved state: when it appeared, 0 before the trace.
        came: BootNanos,
        /// The cgroup, without a link; 0 if it is attached elsewhere.
        cgroup: CgroupId,
        /// The perf event, without a link, if it is neither a tracepoint nor a probe (`perf_event.id`); 0 if it is attached
        /// elsewhere.
        event: u32,
        /// How often the kernel skipped the program here. Traces do not have it.
        missed: Option<u64>,
        /// The map that it is in, and the index or key there.
        map: Option<u32>,
        index: Option<u32>,
        /// Whether the program no longer runs here: the link was detached, or its interface, namespace or cgroup was removed. The
        /// kernel then names no place. Traces leave out such attachments.
        detached: bool,
    }

    /// A program or link that one view of the kernel shows and another does not.
    BpfHidden {
        /// 0 for a link without a program.
        id: ProgId,
        /// Its symbol's; empty for a link.
        name: Vec<u8>,
        /// The view that shows it.
        seen_by: View,
        /// The view that does not.
        missing_in: View,
        /// 0 if a program is hidden.
        link: LinkId,
        /// `BPF_LINK_TYPE_*`.
        link_type: u32,
    }

    /// One holder of a program or link.
    BpfHolder {
        by: HeldBy,
        pid: Tgid,
        /// The leader's.
        comm: Vec<u8>,
        fd: u32,
        path: Vec<u8>,
    }

    /// What keeps a program or link in the kernel, besides links. It replaces the holders known before.
    BpfHolders {
        /// 0 for the holders of a link.
        program: ProgId,
        /// 0 for the holders of a program.
        link: LinkId,
        count: u32,
        /// The first 64 of them.
        holders: Vec<BpfHolder>,
    }

    /// The counted runs of a program since its load.
    #[derive(Copy)]
    BpfRuns {
        id: ProgId,
        /// Runs while statistics were on.
        count: u64,
        /// Nanoseconds.
        time: u64,
        /// By the kernel.
        skipped: u64,
    }

    /// The end of a reading of all run counts.
    BpfCounted {
        at: BootNanos,
        /// Whether the kernel still counts.
        on: bool,
    }

    /// The end of an inventory. The frames before it are the differences to the previous inventory.
    BpfInventory {
        from: BootNanos,
        to: BootNanos,
        /// Whether it is the first one.
        whole: bool,
        programs: u32,
        attachments: u32,
        /// Objects that were removed while they were being read.
        vanished: u64,
        /// Whether objects missing from it did not exist when it began.
        complete: bool,
        /// What could not be read, and why.
        unseen: Vec<String>,
    }

    /// A kernel symbol, before the first event that needs it, and again before the first event after its end. It replaces the symbol with
    /// the same address and `from`.
    KernelSymbol {
        addr: KernelAddr,
        size: u64,
        /// Since when it exists; 0 if unknown.
        from: BootNanos,
        /// Until when it existed, or the time of the first event after its end; 0 if it still exists.
        to: BootNanos,
        name: Vec<u8>,
        /// The module, or `bpf`; empty for the kernel itself.
        owner: Vec<u8>,
    }

    /// The next output of COMMAND on its terminal, or a change of the terminal's size.
    CommandOutput {
        /// 0 if unknown.
        columns: u16,
        rows: u16,
        /// As written, at most 64 KiB.
        bytes: Vec<u8>,
        /// Bytes after these that were not recorded.
        missing: u64,
    }

    /// The machine.
    Host {
        /// `uname -n`.
        name: String,
        /// /proc/sys/kernel/random/boot_id.
        boot_id: String,
        /// The kernel release (`uname -r`).
        kernel: String,
        /// `uname -m`.
        arch: String,
        /// tracetui's pid namespace.
        pid_ns: NsInum,
        /// tracetui's process id in the initial pid namespace.
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
    /// Unread bytes of the fullest ring, multiplied by the number of rings.
    pub ring_used: u64,
    /// The size of all rings in bytes.
    pub ring_size: u64,
}

impl StatePart {
    /// The slot in the header of a part with processes, names, BPF programs, symbols or the terminal.
    pub const TABLES: u16 = 1;
}

impl Counters {
    /// Events of a kind that a program saw but could not report.
    pub fn dropped(&self, kind: Kind) -> u64 {
        let losses = |c: &SlotCounters| {
            let losses = Reason::ALL.into_iter().zip(c.dropped).filter(|(reason, _)| reason.is_loss());
            losses.fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
        };
        self.sum(|slot| slot.kind() == kind, losses)
    }

    fn sum(&self, of: impl Fn(Slot) -> bool, count: impl Fn(&SlotCounters) -> u64) -> u64 {
        let slots = || Slot::ALL.into_iter().filter(|slot| of(*slot));
        let all = self.cpus.iter().flat_map(|cpu| slots().filter_map(|slot| cpu.slots.get(slot as usize)));
        all.fold(0, |sum, counters| sum.saturating_add(count(counters)))
    }

    /// How full the ring is, in percent; `None` if its size is not known. A recording may say anything.
    pub fn ring_percent(&self) -> Option<u128> {
        (u128::from(self.ring_used) * 100).checked_div(self.ring_size.into())
    }

    /// Events that did not arrive: without room in the ring, dropped by a program, or skipped by the kernel.
    pub fn lost(&self) -> u64 {
        let rings = self.sum(|slot| !slot.is_request(), |counters| counters.lost_ring);
        let dropped = Kind::PROBED.into_iter().map(|kind| self.dropped(kind));
        let skips = self.programs.iter().map(|program| program.skips);
        dropped.chain(skips).fold(rings, u64::saturating_add)
    }

    /// Records of some slots that found no room in the ring.
    pub fn no_room(&self, of: fn(Slot) -> bool) -> u64 {
        self.sum(of, |counters| counters.lost_ring.saturating_add(counters.lost_bookkeeping))
    }

    /// The changes from these counters to others.
    pub fn changes_to(&self, now: &Counters) -> CounterChanges {
        let mut changes = Vec::new();
        for (cpu, state) in (0u32..).zip(&now.cpus) {
            let known = self.cpus.get(cpu as usize);
            let before = known.unwrap_or(&CpuState::ZERO).words();
            let words = (0u16..).zip(before.into_iter().zip(state.words()));
            // A CPU that is not known yet has at least one entry: CPUs must be complete and in order.
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

/// The first frame of counters: the changes since zero.
impl From<Counters> for CounterChanges {
    fn from(counters: Counters) -> CounterChanges {
        Counters::default().changes_to(&counters)
    }
}

impl Cgroup {
    /// The memory that it takes in [`World`](crate::enrich::World), and in the feed, which tracks the known cgroups.
    pub fn bytes(&self) -> usize {
        let container = self.container.as_ref().map_or(0, |container| {
            let Container { id, runtime, name, image, pod_name, pod_namespace, pod_uid } = container;
            let texts = [id, runtime, name, image, pod_name, pod_namespace, pod_uid];
            size_of::<Container>() + texts.iter().map(|text| text.len() + 16).sum::<usize>()
        });
        cgroup_bytes(self.path.len() + container)
    }
}

impl KernelSymbol {
    /// The memory that it takes in a table, in bytes.
    pub fn bytes(&self) -> usize {
        2 * size_of::<KernelSymbol>() + self.name.len() + self.owner.len()
    }
}

impl Trace {
    pub fn kinds(&self) -> KindSet {
        KindSet::from_bits(self.kinds)
    }

    /// The options of a trace whose frame cannot be read. Any kind may have been requested.
    pub fn unreadable() -> Trace {
        Trace { kinds: u32::MAX, ..Trace::default() }
    }

    /// Whether this is [`Trace::unreadable`].
    pub fn is_unreadable(&self) -> bool {
        self.kinds == u32::MAX
    }
}

frames! {
    HostFrame {
        Host = 64;
        Clock = 65;
        ProcessSeed = 66;
        User = 67;
        Group = 68;
        Cgroup = 69;
        CounterChanges = 70;
        Probe = 71;
        Trace = 72;
        Drained = 73;
        Unreadable = 74;
        StatePart = 75;
        Layout = 76;
        Hole = 77;
        Excerpt = 78;
        Restart = 79;
        Continues = 80;
        Unfinished = 81;
        Window = 82;
        ProgramChange = 83;
        ProgramChangesLost = 84;
        BpfProgram = 85;
        BpfProgramGone = 86;
        BpfAttachment = 87;
        BpfHidden = 88;
        BpfInventory = 89;
        KernelSymbol = 90;
        BpfHolders = 91;
        BpfRuns = 92;
        BpfCounted = 93;
        Settled = 94;
        Scanned = 95;
        CommandOutput = 110;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, FrameRef};
    use super::*;
    use tracetui_shared::header::FrameHeader;

    #[test]
    fn a_host_frame_comes_back_as_it_was_and_an_earlier_or_short_one_has_defaults() {
        let (tgid, start, argv) = (Tgid(7), BootNanos(9), b"a\0b\0".to_vec());
        let seed = HostFrame::ProcessSeed(ProcessSeed { tgid, start, argv, ..ProcessSeed::default() });
        let probe = Probe { name: "sched_exec".into(), attached: true, preemptible: true, ..Probe::default() };
        let mut batch = Batch::default();
        for frame in [seed, HostFrame::Probe(probe.clone())] {
            frame.push(BootNanos(1), &mut batch);
            assert_eq!(HostFrame::decode(&batch.frames().last().expect("a frame")), Some(frame));
        }
        let frame = batch.frames().last().expect("a frame");
        let older = FrameRef { payload: &frame.payload[..frame.payload.len() - 1], ..frame };
        assert_eq!(HostFrame::decode(&older), Some(HostFrame::Probe(Probe { preemptible: false, ..probe })));
        // A payload that ends early reads as defaults but a list has no more elements than bytes.
        let decoded = |kind: u16, payload: &[u8]| {
            let mut batch = Batch::default();
            batch.push(FrameHeader { kind, ..FrameHeader::default() }, payload);
            HostFrame::decode(&batch.frames().next().expect("one frame"))
        };
        let user = User { uid: Uid(5), name: String::new() };
        assert_eq!(decoded(67, &5u32.to_le_bytes()), Some(HostFrame::User(user)));
        for count in [1, 1000, u32::MAX] {
            assert_eq!(decoded(70, &[&[0][..], &count.to_le_bytes()].concat()), None, "{count}");
        }
    }

    fn counting(cpus: &[u64], skips: u64) -> Counters {
        let state = |met: &u64| {
            let mut state = CpuState::ZERO;
            state.slots[Slot::Open as usize].met = *met;
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
        let mut summed = Counters::default();
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
            summed.apply(&read);
            let mut expected = step.clone();
            // Counters that only the probes use are not sent.
            expected.cpus.iter_mut().for_each(|cpu| cpu.credit = 0);
            assert_eq!(summed, expected);
            before = step;
        }
        // Counters of CPUs and words that cannot be are not taken.
        let change = |cpu, word| CounterChange { cpu, word, value: 1 };
        let changes = vec![change(limits::CPUS, 0), change(u32::MAX, 0), change(0, u16::MAX), change(1, 0)];
        let mut counters = Counters::default();
        counters.apply(&CounterChanges { changes, ..CounterChanges::default() });
        assert_eq!((counters.cpus.len(), counters.cpus[0], counters.cpus[1].slots[0].met), (2, CpuState::ZERO, 1));
        // A ring of any size has a percentage.
        let percent = |ring_used, ring_size| Counters { ring_used, ring_size, ..Counters::default() }.ring_percent();
        assert_eq!((percent(5, 0), percent(3, 4), percent(1, u64::MAX)), (None, Some(75), Some(0)));
        assert_eq!(percent(u64::MAX, 1), Some(u128::from(u64::MAX) * 100));
    }
}
