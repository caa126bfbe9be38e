//! Host frames: host data as frames, so that enrichment needs no I/O and a replay gives the same result on another
//! machine.
//!
//! A host frame has the header of every frame, of which only `len`, `kind`, `version` and `time` are used.
//! [`super::wire`] describes the payload.

use super::wire::{frames, wire_list, wire_struct};
use crate::limits;
use tracetui_shared::counters::{CpuState, Reason};
use tracetui_shared::id::{CgroupId, Gid, KernelAddr, LinkId, NsInum, ProgId, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::time::BootNanos;

/// The first kind of host frames. Lower kinds are events.
pub const FIRST_KIND: u16 = 64;

wire_struct! {
    /// A process from the process scan.
    ProcessSeed {
        /// The process id.
        tgid: Tgid,
        /// The start of the process; see `start_exact`.
        start: BootNanos,
        /// Whether `start` is the exact value of the kernel. Otherwise it is rounded down to the clock tick, which is
        /// the resolution of /proc (`tick_ns`).
        start_exact: bool,
        /// Nanoseconds of a clock tick (`1e9 / sysconf(_SC_CLK_TCK)`).
        tick_ns: u64,
        /// The parent process; 0 for none.
        ppid: Tgid,
        /// The parent's start; 0 if unknown. The parent is then the process that has its id.
        parent_start: BootNanos,
        /// The real user.
        uid: Uid,
        /// The real group.
        gid: Gid,
        /// The name of the thread group leader.
        comm: Vec<u8>,
        /// The target of /proc/PID/exe; empty if it cannot be read (kernel threads have none).
        exe: Vec<u8>,
        /// /proc/PID/cmdline: arguments, each followed by NUL.
        argv: Vec<u8>,
        /// The target of /proc/PID/cwd; empty if it cannot be read.
        cwd: Vec<u8>,
        /// The v2 cgroup from /proc/PID/cgroup. If that is only the root, the name=systemd one.
        cgroup: Vec<u8>,
        /// Whether this is a kernel thread (PF_KTHREAD).
        kernel_thread: bool,
    }

    /// A user's name.
    User {
        /// The user id.
        uid: Uid,
        /// The user name.
        name: String,
    }

    /// A group's name.
    Group {
        /// The group id.
        gid: Gid,
        /// The group name.
        name: String,
    }

    /// The offset between the clocks, in force from here on.
    Clock {
        /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds.
        offset_ns: i64,
    }

    /// A cgroup's path.
    Cgroup {
        /// The id of the v2 cgroup (`kernfs_node.id`).
        id: CgroupId,
        /// The path from the root of the v2 hierarchy, as in /proc/PID/cgroup.
        path: Vec<u8>,
    }

    /// The number of times that the kernel skipped a program (`bpf_prog_info.recursion_misses`).
    ProgramSkips {
        /// The name of the program.
        program: String,
        /// The [`tracetui_shared::kind::Slot`]s of the program.
        slots: Vec<u16>,
        /// The number of skips since the program was loaded.
        skips: u64,
    }

    /// A counter of a CPU that has changed.
    CounterChange {
        /// The CPU.
        cpu: u32,
        /// The index of a 64-bit word in the CPU's [`CpuState`].
        word: u16,
        /// The new value.
        value: u64,
    }

    /// The changes of the probes' counters since the previous frame; in the first frame, since zero.
    CounterChanges {
        /// Whether the probes are detached and the ring is drained: these counters are final.
        last: bool,
        /// The changed counters.
        changes: Vec<CounterChange>,
        /// The programs with new skips.
        programs: Vec<ProgramSkips>,
        /// Bytes in the ring that the consumer has not read.
        ring_used: u64,
        /// The size of the ring in bytes.
        ring_size: u64,
    }

    /// The options of the trace. The first frame.
    Trace {
        /// The requested kinds, as a [`KindSet`]. Records of other kinds only update the process table.
        kinds: u32,
        /// The process id of the COMMAND that tracetui started, 0 for none. With a COMMAND, only its events and those
        /// of its descendants are requested.
        command: Tgid,
        /// The capture filter as text; empty for none.
        filter: String,
    }

    /// The ring was empty at this time.
    Drained {
        /// The time (CLOCK_BOOTTIME).
        at: BootNanos,
    }

    /// Every event up to this time was read, or is lost: no probe was between meeting an event and sending it, and then the ring was
    /// emptied.
    Settled {
        /// The time (CLOCK_BOOTTIME).
        at: BootNanos,
    }

    /// Frames are missing here: a part of a recording cannot be read.
    Hole {
        /// Bytes of the recording.
        bytes: u64,
    }

    /// The trace is a part of another one. Its events have [`flag::EXCERPT`](tracetui_shared::header::flag::EXCERPT), and their
    /// numbers are not checked.
    Excerpt {
        /// The filter by which its events were chosen; empty for none.
        filter: String,
    }

    /// The recording ended here, while the trace went on: the counters of the probes are older than the events.
    Unfinished {
        /// The time (CLOCK_BOOTTIME), if it is known.
        at: BootNanos,
    }

    /// A part of a state of a pipeline, which replaces everything before. The parts come one after another, in a batch of their
    /// own, when all events before were delivered.
    Restart {
        /// The number of this part, from 0.
        part: u32,
        /// How many parts there are.
        parts: u32,
        /// Frames in the format of a [`super::Batch`].
        frames: Vec<u8>,
    }

    /// The process scan could not read the arguments of another process.
    Scanned {
        /// The number of such processes so far.
        unread: u64,
    }

    /// A part of a trace that was kept because of what happened in it. What is between two windows was left out on purpose.
    Window {
        /// Where it begins.
        from: BootNanos,
        /// Where it ends; 0 in the frame at its start.
        to: BootNanos,
        /// The events in it that matched.
        matches: u64,
        /// Whether it was to begin earlier, but there was no memory for it.
        short: bool,
    }

    /// The last frame of a file whose trace continues in another one, which begins with the state of the pipeline here. Events
    /// that wait for their place in the order are in that state.
    Continues {
        /// The number of the part of the trace that follows.
        part: u32,
    }

    /// Records from the ring that are not frames: shorter than a header, or with a wrong length.
    Unreadable {
        /// The number of records.
        count: u64,
    }

    /// A kind of record and the length of its fixed part.
    RecordLayout {
        /// [`Kind`].
        kind: u16,
        /// 0 for the first record of an event, 1 for a continuation.
        part: u16,
        /// Bytes of the fixed part.
        fixed: u16,
    }

    /// The layout of the following records ([`super::layout`]). It comes in a batch before the first event. Without it,
    /// records have the layout of this version.
    Layout {
        /// All kinds of records.
        records: Vec<RecordLayout>,
    }

    /// A part of the state of a pipeline, from which another pipeline can continue ([`super::state`]). Other readers
    /// skip it.
    StatePart {
        /// Frames in the format of a [`super::Batch`].
        frames: Vec<u8>,
    }

    /// A probe and its state.
    Probe {
        /// The name of the program.
        name: String,
        /// The [`tracetui_shared::kind::Kind`]s that the program reports.
        kinds: Vec<u16>,
        /// Whether it is attached.
        attached: bool,
        /// The type and the attach point.
        how: String,
        /// The reason if it is not attached.
        why: Option<String>,
        /// The events that are missed if it is not attached.
        missing: String,
        /// The remedy.
        remedy: Option<String>,
        /// Whether the probe can be preempted between taking the time and writing the record. If so, the ring can
        /// deliver its records after those of later events.
        preemptible: bool,
    }

    /// A BPF program came or went, by the kernel's own stream of such changes. The time of the frame is that of the change.
    ProgramChange {
        /// Whether it came.
        loaded: bool,
        /// Its id; 0 if the kernel does not say.
        id: ProgId,
        /// The hash of its instructions, as a big-endian number.
        tag: u64,
        /// Its symbol, as in /proc/kallsyms (`bpf_prog_TAG_NAME`); empty if it has none.
        symbol: Vec<u8>,
        /// The address of its main function; 0 if it has no symbol.
        addr: KernelAddr,
        /// Bytes of the main function.
        len: u32,
        /// The CPU on which it happened.
        cpu: u32,
        /// The process that loaded it; 0 if not known. That of an unload says nothing: it happens in any process.
        tgid: Tgid,
        /// Its thread.
        tid: Tid,
        /// Whether the program belongs to the tracetui that traces.
        own: bool,
    }

    /// Reports of programs that came or went were lost: each is a [`ProgramChange`] or the symbol of a function.
    ProgramChangesLost {
        /// The number.
        count: u64,
        /// The time since which they were lost.
        since: BootNanos,
    }

    /// A BPF program, by the inventory ([`crate::bpf`]). It replaces what was known of the program.
    BpfProgram {
        /// Its id.
        id: ProgId,
        /// `BPF_PROG_TYPE_*`.
        prog_type: u32,
        /// The name of its main function, else the name as loaded.
        name: Vec<u8>,
        /// The hash of its instructions, as a big-endian number.
        tag: u64,
        /// The user who loaded it.
        uid: Uid,
        /// When it was loaded.
        loaded: BootNanos,
        /// Bytes of machine code; 0 if it is interpreted.
        jited_len: u32,
        /// Bytes of instructions after the verifier.
        xlated_len: u32,
        /// The address of its main function; 0 if the kernel hides it.
        addr: KernelAddr,
        /// The helpers that it calls: bits of [`crate::bpf::ALTERING`].
        altering: u32,
        /// Why others may be missing there: 0 all were seen, else the number of a [`crate::bpf::NotScanned`], from 1.
        unknown: u8,
        /// Whether it belongs to the tracetui that traces.
        own: bool,
    }

    /// A BPF program that the inventory does not have any more.
    BpfProgramGone {
        /// Its id.
        id: ProgId,
    }

    /// An attachment, by the inventory. It replaces the one with its key.
    BpfAttachment {
        /// The number that it has in this trace.
        key: u32,
        /// Whether it came or went since the inventory before, which may be an event. Otherwise it existed, or is known better.
        news: bool,
        /// Whether it is gone. Then only its key is set.
        gone: bool,
        /// The program; 0 if the kernel names none.
        program: ProgId,
        /// The link; 0 without one.
        link: LinkId,
        /// `BPF_LINK_TYPE_*`.
        link_type: u32,
        /// The mechanism: 0 link, 1 ioctl, 2 prog_attach, 3 netlink.
        via: u8,
        /// What it hangs on (`tui/src/bpf/frames.rs`).
        hook: u8,
        /// The `BPF_*` attach type, if `hook` is 1.
        attach_type: u32,
        /// The attach point as text.
        target: Vec<u8>,
        /// The kernel function.
        symbol: Vec<u8>,
        /// The offset in the function or file.
        offset: Option<u64>,
        /// The address of the attach point; 0 if it has none.
        addr: KernelAddr,
        /// The kernel module.
        module: Vec<u8>,
        /// The number of attach points of a link with several.
        multi: Option<u32>,
        /// The cookie.
        cookie: Option<u64>,
        /// The network interface.
        ifindex: Option<u32>,
        /// Its network namespace.
        netns: Option<NsInum>,
        /// The only process for which it runs.
        only: Option<Tgid>,
        /// Further properties, as words.
        flags: Vec<u8>,
        /// When it came, in a saved state; 0: before the trace.
        came: BootNanos,
    }

    /// A program or link that one view of the kernel shows and another does not.
    BpfHidden {
        /// The id of the program; 0 if no view shows it.
        id: ProgId,
        /// The address of a function of it; 0 if no view shows it.
        addr: KernelAddr,
        /// The name of its symbol.
        name: Vec<u8>,
        /// The view that shows it: the number of a [`crate::bpf::View`], from 0.
        seen_by: u8,
        /// The view that does not.
        missing_in: u8,
        /// The link; 0 if not a link is hidden, but a program.
        link: LinkId,
        /// `BPF_LINK_TYPE_*`.
        link_type: u32,
    }

    /// What keeps a program or link in the kernel.
    BpfHolder {
        /// 0 a descriptor of a process, 1 a descriptor of a process's perf event, 2 a file of a bpffs.
        by: u8,
        /// The process.
        pid: Tgid,
        /// The name of its leader.
        comm: Vec<u8>,
        /// The number of the descriptor.
        fd: u32,
        /// The path of the file.
        path: Vec<u8>,
    }

    /// What keeps a program or link in the kernel, besides links. It replaces what was known of it.
    BpfHolders {
        /// The program; 0 if it is a link.
        program: ProgId,
        /// The link; 0 if it is a program.
        link: LinkId,
        /// How many there are.
        count: u32,
        /// The first ones.
        holders: Vec<BpfHolder>,
    }

    /// The runs of a program since its load, as far as they were counted. It replaces what was known of them.
    BpfRuns {
        /// The program.
        id: ProgId,
        /// How often it ran while statistics were on.
        count: u64,
        /// How long these runs took, in nanoseconds.
        time: u64,
        /// How often the kernel skipped it.
        skipped: u64,
    }

    /// The runs of all programs were read: those that changed come before.
    BpfCounted {
        /// When.
        at: BootNanos,
        /// Whether the kernel counts them, for tracetui. Otherwise it does not any more.
        on: bool,
    }

    /// The end of an inventory: all before are its differences from the one before.
    BpfInventory {
        /// When it was begun.
        from: BootNanos,
        /// When all was read.
        to: BootNanos,
        /// Whether it is the first one, and whole.
        whole: bool,
        /// Programs.
        programs: u32,
        /// Attachments.
        attachments: u32,
        /// Objects that were removed while they were being read.
        vanished: u64,
        /// Whether what it lacks did not exist when it was begun.
        complete: bool,
        /// What could not be looked at, and why.
        unseen: Vec<String>,
    }

    /// A symbol of the kernel that a stack names, and when it was there. It comes before the first event that needs it, and
    /// replaces the one with the same address and `from`.
    KernelSymbol {
        /// Its first address.
        addr: KernelAddr,
        /// Its size in bytes.
        size: u64,
        /// Since when it is there; 0: as long as is known.
        from: BootNanos,
        /// Until when it was there; 0: it is.
        to: BootNanos,
        /// Its name.
        name: Vec<u8>,
        /// The module, `bpf`, or empty: the kernel itself.
        owner: Vec<u8>,
    }

    /// What COMMAND wrote to its terminal, or a change of the terminal's size. It follows the output before.
    CommandOutput {
        /// The terminal's columns.
        columns: u16,
        /// Its rows.
        rows: u16,
        /// The bytes, as they were written.
        bytes: Vec<u8>,
        /// Bytes after these that were not recorded, since there were too many.
        missing: u64,
    }

    /// The machine.
    Host {
        /// The host name (`uname -n`).
        name: String,
        /// The id of the boot, from /proc/sys/kernel/random/boot_id.
        boot_id: String,
        /// The kernel release (`uname -r`).
        kernel: String,
        /// The architecture (`uname -m`).
        arch: String,
        /// The pid namespace of tracetui. Ids in it are not shown twice.
        pid_ns: NsInum,
        /// The process id of tracetui in the initial pid namespace.
        self_tgid: Tgid,
        /// The number of possible CPUs.
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
    /// Bytes in the ring that the consumer has not read.
    pub ring_used: u64,
    /// The size of the ring in bytes.
    pub ring_size: u64,
}

impl Counters {
    /// Events of a kind that a program saw but could not report.
    pub fn dropped(&self, kind: Kind) -> u64 {
        let slots = || Slot::ALL.into_iter().filter(|slot| slot.kind() == kind);
        let all = self.cpus.iter().flat_map(|cpu| slots().filter_map(|slot| cpu.slots.get(slot as usize)));
        let losses = all.flat_map(|c| Reason::ALL.into_iter().zip(c.dropped).filter(|(reason, _)| reason.is_loss()));
        losses.fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
    }

    /// How full the ring is, in percent; `None` if its size is not known. A recording may say anything.
    pub fn ring_percent(&self) -> Option<u128> {
        (u128::from(self.ring_used) * 100).checked_div(self.ring_size.into())
    }

    /// Events that did not arrive: without room in the ring, dropped by a program, or skipped by the kernel.
    pub fn lost(&self) -> u64 {
        let slots = Slot::ALL.into_iter().filter(|slot| !slot.is_request());
        let lost = |cpu: &CpuState| {
            let rings = slots.clone().filter_map(|slot| cpu.slots.get(slot as usize)).map(|slot| slot.lost_ring);
            rings.fold(0u64, u64::saturating_add)
        };
        let rings = self.cpus.iter().map(lost);
        let dropped = Kind::PROBED.into_iter().map(|kind| self.dropped(kind));
        let skips = self.programs.iter().map(|program| program.skips);
        rings.chain(dropped).chain(skips).fold(0, u64::saturating_add)
    }

    /// Records of some slots that found no room in the ring.
    pub fn no_room(&self, of: fn(Slot) -> bool) -> u64 {
        let slots = || Slot::ALL.into_iter().filter(|slot| of(*slot));
        let all = self.cpus.iter().flat_map(|cpu| slots().filter_map(|slot| cpu.slots.get(slot as usize)));
        all.fold(0, |sum: u64, c| sum.saturating_add(c.lost_ring).saturating_add(c.lost_bookkeeping))
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

impl KernelSymbol {
    /// The memory that it takes in a table, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        2 * size_of::<KernelSymbol>() + self.name.len() + self.owner.len()
    }
}

impl Trace {
    /// The requested kinds.
    pub fn kinds(&self) -> KindSet {
        KindSet::from_bits(self.kinds)
    }
}

wire_list!(String CounterChange ProgramSkips RecordLayout BpfHolder u16);

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
        /// The changes of the probes' counters since the previous frame.
        CounterChanges = 70;
        /// A probe and its state.
        Probe = 71;
        /// The options of the trace.
        Trace = 72;
        /// The ring was empty.
        Drained = 73;
        /// Records that are not frames.
        Unreadable = 74;
        /// A part of the state of the pipeline ([`super::state`]).
        StatePart = 75;
        /// The layout of records.
        Layout = 76;
        /// Frames that cannot be read.
        Hole = 77;
        /// A part of another trace.
        Excerpt = 78;
        /// A state that replaces everything before.
        Restart = 79;
        /// The trace continues in another file.
        Continues = 80;
        /// The recording ended before the trace.
        Unfinished = 81;
        /// A part of a trace that was kept.
        Window = 82;
        /// A BPF program came or went.
        ProgramChange = 83;
        /// Reports of such changes were lost.
        ProgramChangesLost = 84;
        /// A BPF program of the inventory.
        BpfProgram = 85;
        /// A BPF program that it does not have any more.
        BpfProgramGone = 86;
        /// An attachment of the inventory.
        BpfAttachment = 87;
        /// A program or link that is hidden.
        BpfHidden = 88;
        /// The end of an inventory.
        BpfInventory = 89;
        /// A symbol of the kernel that a stack names.
        KernelSymbol = 90;
        /// What holds a program or link of the inventory.
        BpfHolders = 91;
        /// The runs of a program of the inventory.
        BpfRuns = 92;
        /// The runs of all programs were read.
        BpfCounted = 93;
        /// Every event up to a time was read.
        Settled = 94;
        /// What the process scan could not read.
        Scanned = 95;
        /// What COMMAND wrote to its terminal.
        CommandOutput = 110;
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
    fn a_ring_of_any_size_has_a_percentage() {
        let percent = |ring_used, ring_size| Counters { ring_used, ring_size, ..Counters::default() }.ring_percent();
        assert_eq!((percent(5, 0), percent(3, 4), percent(1, u64::MAX)), (None, Some(75), Some(0)));
        assert_eq!(percent(u64::MAX, 1), Some(u128::from(u64::MAX) * 100));
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
