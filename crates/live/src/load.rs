//! Fits the probe object to a kernel: the facts that it needs, the object with these facts, and the errors of the
//! start.

use super::probe_status::ProbeStatus;
use super::{CaptureError, LiveOptions, attach_names};
use aya::maps::MapError;
use aya_obj::generated::bpf_insn;
use rustix::param::page_size;
use std::io;
use std::path::Path;
use tracetui_events::environment::EnvMode;
use tracetui_events::limits;
use tracetui_host::arch::{self, Arch};
use tracetui_host::btf::resolve::{
    KernelConsts, MAY_GOTO_MEMBER, NETLINK_SENDER_MEMBERS, PREEMPTIBLE_TRACEPOINTS_TYPE, TASK_HELPER,
};
use tracetui_host::program::ProgramKind;
use tracetui_host::{btf, own_id};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::offsets::{
    ABSENT, CAST_FUNCTION, CAST_PLACEHOLDER, CONST_COUNT, Const, FIELD_COUNT, FIELDS, Field, MEMBER_COUNT, NEEDED,
    SUMS, TYPE_COUNT, TYPES, carrier, load_placed, move_placed, move_placeholder,
};
use tracetui_shared::record::bpf::message;

/// The probes, built by `scripts/build-probes.sh`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("probes.bpf.o");

/// The function in the kernel's BTF that identifies the iterator over tasks.
pub(super) const ITERATOR: &str = "bpf_iter_task";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BtfOrigin {
    Kernel,
    /// A file. Only offsets and values are taken from it, because its type ids may differ from the kernel's. A minimal
    /// BTF renumbers its types, and a whole one may be of another build.
    File,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// The offset of each field in bytes, or [`ABSENT`].
    pub offsets: [u32; FIELD_COUNT],
    /// Fields that the probes cannot read because of their width or their offset, with the reason. Their offsets are
    /// [`ABSENT`] too.
    pub odd: Vec<(Field, String)>,
    /// Whether the helper
    /// [`bpf_get_current_task_btf`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c) exists
    /// (5.11+).
    pub typed_task: bool,
    pub consts: KernelConsts,
    /// Whether the instruction `may_goto` exists (6.9+). The member `bpf_verifier_state.may_goto_depth` shows this.
    pub may_goto: bool,
    /// The ids for casts of addresses to typed pointers. `None` before 6.2, and with a BTF from a file, whose type ids
    /// are not used.
    pub cast: Option<Cast>,
    /// The functions that programs attach to, as far as the kernel has them.
    pub functions: Vec<&'static str>,
    /// The ids of the attach targets. `None` if the kernel has no BTF of its own. Also `None` with a BTF from a file,
    /// until the ids of the kernel's own BTF are added ([`KernelFacts::with_own`]).
    pub ids: Option<AttachIds>,
    /// The architecture that this binary was built for; `None` if it is not supported.
    pub arch: Option<&'static Arch>,
    /// Whether programs at BTF tracepoints, and at the classic tracepoints of system calls, can be preempted (7.0+,
    /// [`PREEMPTIBLE_TRACEPOINTS_TYPE`]). `None` if the BTF is from a file that lacks the type. This proves nothing,
    /// because the file may be a reduced BTF from any tool.
    ///
    /// The classic ones are preemptible only from 7.1 on
    /// ([`trace_call_bpf_faultable`](https://elixir.bootlin.com/linux/v7.1/source/kernel/trace/bpf_trace.c)). The BTF
    /// does not show the difference, so they are treated as preemptible on 7.0 too.
    pub preemptible_tracepoints: Option<bool>,
    /// Whether the port of a netlink message's sender is where the probe reads it ([`message::SENDER`]).
    pub netlink_sender: bool,
}

/// The ids that a call of [`tracetui_shared::offsets::CAST_FUNCTION`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    pub function: u32,
    /// The BTF ids of [`tracetui_shared::offsets::TYPES`]; 0 for one that the kernel lacks, as it lacks its fields.
    pub types: [u32; TYPE_COUNT],
}

impl Cast {
    fn of(function: Option<u32>, found: &[Option<u32>]) -> Option<Cast> {
        let mut types = [0; TYPE_COUNT];
        for (id, found) in types.iter_mut().zip(found) {
            *id = found.unwrap_or(0);
        }
        Some(Cast { function: function?, types })
    }
}

/// The ids of the attach targets in the kernel's own BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachIds {
    tracepoints: Vec<(&'static str, u32)>,
    functions: Vec<(&'static str, u32)>,
}

impl AttachIds {
    fn of(btf: &btf::Btf, functions: &[(&'static str, u32)]) -> AttachIds {
        let names = attach_names().tracepoints;
        let tracepoints = there(&names, btf.tracepoints(&names));
        AttachIds { tracepoints, functions: functions.to_vec() }
    }

    pub(super) fn tracepoint(&self, name: &str) -> Option<u32> {
        id_of(&self.tracepoints, name)
    }

    pub(super) fn function(&self, name: &str) -> Option<u32> {
        id_of(&self.functions, name)
    }
}

fn id_of(ids: &[(&'static str, u32)], wanted: &str) -> Option<u32> {
    ids.iter().find(|(name, _)| *name == wanted).map(|(_, id)| *id)
}

fn there(names: &[&'static str], ids: Vec<Option<u32>>) -> Vec<(&'static str, u32)> {
    names.iter().zip(ids).filter_map(|(name, id)| Some((*name, id?))).collect()
}

impl KernelFacts {
    pub fn of(btf: &btf::Btf, origin: BtfOrigin) -> KernelFacts {
        let resolved = btf.resolve();
        let (offsets, odd) = resolved.usable();
        let hooked = attach_names().functions;
        let names: Vec<_> = hooked.iter().copied().chain([ITERATOR, CAST_FUNCTION]).collect();
        let functions = there(&names, btf.funcs(&names));
        let types: Vec<_> = TYPES.iter().map(|name| btf.structure(name)).collect();
        KernelFacts {
            offsets,
            odd,
            // The result of the helper has a type of the kernel's own BTF.
            typed_task: btf.enumerator(TASK_HELPER).is_some()
                && (origin == BtfOrigin::Kernel || Path::new(btf::RUNNING).exists()),
            consts: resolved.consts,
            may_goto: btf.structure(MAY_GOTO_MEMBER.0).is_some_and(|state| btf.has_member(state, MAY_GOTO_MEMBER.1)),
            cast: (origin == BtfOrigin::Kernel).then(|| Cast::of(id_of(&functions, CAST_FUNCTION), &types)).flatten(),
            functions: functions.iter().map(|(name, _)| *name).filter(|name| hooked.contains(name)).collect(),
            ids: (origin == BtfOrigin::Kernel).then(|| AttachIds::of(btf, &functions)),
            arch: arch::here(),
            preemptible_tracepoints: match btf.typedef(PREEMPTIBLE_TRACEPOINTS_TYPE).is_some() {
                false if origin == BtfOrigin::File => None,
                exists => Some(exists),
            },
            netlink_sender: sender_offset(btf) == Some(message::SENDER),
        }
    }

    /// The facts from a file, completed with facts that only the kernel's own BTF shows: ids, and anything that a
    /// reduced file may leave out.
    pub fn with_own(self, own: KernelFacts) -> KernelFacts {
        let preemptible_tracepoints = self.preemptible_tracepoints.or(own.preemptible_tracepoints);
        KernelFacts { ids: own.ids, preemptible_tracepoints, netlink_sender: own.netlink_sender, ..self }
    }

    /// The first field whose offset differs from that in `other`.
    pub fn differs_from(&self, other: &KernelFacts) -> Option<String> {
        let (_, spec) =
            FIELDS.iter().find(|(field, _)| self.offsets[*field as usize] != other.offsets[*field as usize])?;
        Some(format!("{}.{}", spec.structure, spec.members.join("|")))
    }

    /// Why a member ([`tracetui_shared::offsets::MEMBER_COUNT`]) cannot be read, as in `this kernel has no structure.member`.
    pub(super) fn lacks(&self, member: usize) -> String {
        let parts = member.checked_sub(FIELD_COUNT).map(|sum| SUMS[sum]);
        let absent = |field: &Field| self.offsets[*field as usize] == ABSENT;
        let index = parts.and_then(|fields| fields.into_iter().find(absent)).map_or(member, |field| field as usize);
        let (field, spec) = FIELDS[index];
        let name = format!("{}.{}", spec.structure, spec.members.join("|"));
        match self.odd.iter().find(|(odd, _)| *odd == field) {
            Some((_, what)) => format!("{name} does not match on this kernel: {what}"),
            None => format!("this kernel has no {name}"),
        }
    }
}

/// Where `struct sk_buff` of a netlink message has the port of its sender: `NETLINK_CB(skb).portid`.
fn sender_offset(btf: &btf::Btf) -> Option<u32> {
    let at = |(structure, member): (&str, &str)| {
        Some(btf.first_path(btf.structure(structure)?, &[member]).ok()?.byte_offset())
    };
    NETLINK_SENDER_MEMBERS.into_iter().map(at).sum()
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot trace on {}: only x86-64 and aarch64 are supported", std::env::consts::ARCH)]
    Architecture,
    #[error("invalid ring size {0}: must be a power of two, at least 4096")]
    RingSize(u32),
    #[error("invalid number of rings {0}: must be a power of two, at most {max}", max = limits::RINGS)]
    Rings(u32),
    #[error("cannot load the probes: {0}")]
    Object(Box<dyn std::error::Error + Send + Sync>),
    #[error("no probe could be attached:\n{0}")]
    Refused(String),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("cannot freeze a map of the probes: {0}")]
    Freeze(io::Error),
    #[error("{call}: {error}")]
    System { call: &'static str, error: io::Error },
}

impl StartError {
    pub(super) fn object(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
        StartError::Object(error.into())
    }
}

impl From<MapError> for StartError {
    fn from(error: MapError) -> StartError {
        StartError::object(error)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The kernel's error, with the end of the verifier's log.
    pub(super) why: String,
    pub(super) remedy: Option<String>,
}

/// The object for this kernel. Offsets, constants and type ids are written into its instructions. Placeholders become
/// calls of the kernel's cast function, or moves if the kernel has no such function. If the kernel lacks `may_goto`, it
/// becomes a jump that is never taken. Programs are arrays of 8-byte instructions in sections aligned to 8 bytes, and
/// no helper has the number of a placeholder.
pub(super) fn for_this_kernel(options: &LiveOptions, facts: &KernelFacts) -> Result<Vec<u8>, StartError> {
    Ok(with_numbers(facts, &numbers(options, facts, possible_cpus()?)))
}

fn with_numbers(facts: &KernelFacts, numbers: &[u32]) -> Vec<u8> {
    const CALL: u8 = 0x85;
    const KERNEL_FUNCTION: u8 = 0x20;
    /// `r0 = r1`.
    const MOVE: [u8; 8] = [0xbf, 0x10, 0, 0, 0, 0, 0, 0];
    let placeholder = instruction(CALL, 0, CAST_PLACEHOLDER);
    let cast = facts.cast.as_ref();
    let wanted = cast.map_or(MOVE, |cast| instruction(CALL, KERNEL_FUNCTION, cast.function.cast_signed()));
    let mut object = OBJECT.to_vec();
    for slot in object.chunks_exact_mut(8) {
        if *slot == placeholder {
            slot.copy_from_slice(&wanted);
        } else if let Some(index) = is_move(slot) {
            let absent = index < MEMBER_COUNT && numbers[index] == ABSENT;
            let number = if absent { move_absent(index) } else { numbers[index].cast_signed() };
            slot[4..].copy_from_slice(&number.to_le_bytes());
        } else if let Some((index, word)) = is_load(slot).filter(|(index, _)| numbers[*index] != ABSENT) {
            slot[2..4].copy_from_slice(&load_offset(numbers[index], word).to_le_bytes());
        } else if !facts.may_goto && is_may_goto(slot) {
            [slot[0], slot[1]] = NEVER;
        }
    }
    object
}

/// The numbers that are written into the probes, by the index of their placeholders.
fn numbers(options: &LiveOptions, facts: &KernelFacts, cpus: u32) -> Vec<u32> {
    let of = |field: Field| Some(facts.offsets[field as usize]).filter(|offset| *offset != ABSENT);
    let sums = SUMS.iter().map(|[outer, inner]| of(*outer).zip(of(*inner)).map_or(ABSENT, |(one, other)| one + other));
    let types = facts.cast.as_ref().map_or([0; TYPE_COUNT], |cast| cast.types);
    facts.offsets.into_iter().chain(sums).chain(constants(options, facts, cpus)).chain(types).collect()
}

/// The instructions of a program with the way in which it is attached ([`Const::Carrier`]).
pub(super) fn with_carrier(code: &[bpf_insn], kind: ProgramKind) -> Vec<bpf_insn> {
    let carrier = match kind {
        ProgramKind::Tracepoint => carrier::CLASSIC,
        ProgramKind::Functions => carrier::FUNCTION,
        _ => carrier::TYPED,
    };
    let mut code = code.to_vec();
    for insn in code.iter_mut().filter(|insn| insn.code == MOVE_NUMBER && insn.imm == CARRIER) {
        insn.imm = carrier.cast_signed();
    }
    code
}

const CARRIER: i32 = move_placeholder(MEMBER_COUNT + Const::Carrier as usize);

/// The member that an instruction reads and the kernel does not have: [`with_numbers`] left a mark.
pub(super) fn absent_member(insn: &bpf_insn) -> Option<usize> {
    match insn.code {
        MOVE_NUMBER => move_placed(insn.imm.wrapping_neg()),
        _ => loaded_member(insn),
    }
}

fn loaded_member(insn: &bpf_insn) -> Option<usize> {
    /// `BPF_LDX`.
    const LDX: u8 = 1;
    load_placed(insn.off).filter(|_| insn.code & 7 == LDX).map(|(index, _)| index)
}

/// The number in a move of the offset of a member that the kernel does not have. It is negative ([`absent_member`]).
fn move_absent(member: usize) -> i32 {
    -move_placeholder(member)
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const MOVE_NUMBER: u8 = 0xb7;

fn load_offset(member: u32, word: usize) -> i16 {
    i16::try_from(member as usize + 8 * word).unwrap_or(-1)
}

/// The index of the number, if these 8 bytes move a placeholder into a register.
fn is_move(slot: &[u8]) -> Option<usize> {
    match *slot {
        [MOVE_NUMBER, 0..=0xf, 0, 0, a, b, c, d] => move_placed(i32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

/// The index of a member and of the word in it, if these 8 bytes load that word. No data of the object looks like such
/// a load, as the test `only_instructions_are_changed` checks.
fn is_load(slot: &[u8]) -> Option<(usize, usize)> {
    /// `BPF_LDX | BPF_MEM` of 1, 2, 4 and 8 bytes.
    const LOADS: [u8; 4] = [0x71, 0x69, 0x61, 0x79];
    match *slot {
        [code, _, low, high, 0, 0, 0, 0] if LOADS.contains(&code) => load_placed(i16::from_le_bytes([low, high])),
        _ => None,
    }
}

/// Whether these 8 bytes are the instruction `may_goto`. No data of the object looks like it, as the test
/// `only_instructions_are_changed` checks.
fn is_may_goto(slot: &[u8]) -> bool {
    matches!(slot, [MAY_GOTO, 0, low, high, 0, 0, 0, 0] if (*low, *high) != (0, 0))
}

/// `BPF_JMP | BPF_JCOND`.
const MAY_GOTO: u8 = 0xe5;
/// `if r10 == 0 goto`. This jump is never taken, but the verifier's control flow check sees both branches.
const NEVER: [u8; 2] = [0x15, 0x0a];

fn instruction(code: u8, registers: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, registers, 0, 0, a, b, c, d]
}

pub(super) fn possible_cpus() -> Result<u32, StartError> {
    let cpus = aya::util::nr_cpus().map_err(|(call, error)| StartError::System { call, error })?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// The constants of the probes. All sizes are in bytes.
fn constants(options: &LiveOptions, facts: &KernelFacts, cpus: u32) -> [u32; CONST_COUNT] {
    const MIB: u32 = 1 << 20;
    let ring = options.ring_size;
    let mut constants = [0; CONST_COUNT];
    let mut put = |constant: Const, value: u32| constants[constant as usize] = value;
    put(Const::SelfTgid, own_id::own_tgid().unwrap_or_default().0);
    put(Const::InspectorTgid, options.inspector.map_or(u32::MAX, |inspector| inspector.tgid.0));
    let start = options.inspector.map_or(0, |inspector| inspector.start.0);
    put(Const::InspectorStart, start as u32);
    put(Const::InspectorStartHigh, (start >> 32) as u32);
    put(Const::ByHelper, u32::from(!facts.typed_task));
    put(Const::MayGoto, u32::from(facts.may_goto));
    put(Const::Cast, u32::from(facts.cast.is_some()));
    put(Const::RingSize, ring);
    put(Const::RingMask, options.rings - 1);
    put(Const::OpenLimit, if ring < MIB { ring / 4 * 3 } else { ring / 8 * 7 });
    // Together, the CPUs that share a ring may exceed the limit by 1/32 of it.
    put(Const::Credit, (ring / (32 * cpus.div_ceil(options.rings))).max(512));
    for (constant, value) in facts.consts.0 {
        let absent = match constant {
            Const::InlineNameLen | Const::TraceFlagTracepoint | Const::LinkTypePerf | Const::LinkTypeRawTp => ABSENT,
            _ => 0,
        };
        put(constant, value.unwrap_or(absent));
    }
    put(Const::Stacks, options.stacks.bits());
    put(Const::Environment, u32::from(options.environment.mode() != EnvMode::Off));
    put(Const::AllFds, u32::from(options.fds));
    put(Const::Identities, u32::from(options.identities));
    let has = |kind: &Kind| NEEDED.iter().all(|(of, field)| of != kind || facts.offsets[*field as usize] != ABSENT);
    put(Const::Kinds, options.kinds.iter().filter(has).collect::<KindSet>().bits());
    // The load of each program replaces it.
    put(Const::Carrier, CARRIER.cast_unsigned());
    put(Const::Arch, facts.arch.map_or(0, |arch| arch.number));
    put(Const::PageSize, u32::try_from(page_size()).unwrap_or(4096));
    constants
}

pub(super) fn why_nothing_attached(probes: &[ProbeStatus]) -> StartError {
    let lines =
        probes.iter().map(|probe| format!("{}: {}", probe.name, probe.why.as_deref().unwrap_or("not attached")));
    StartError::Refused(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_code::reached;
    use aya_obj::{Object, ProgramSection};
    use std::collections::BTreeSet;
    use tracetui_events::environment::Keeper;
    use tracetui_shared::kind::Slot;
    use tracetui_shared::offsets::FARTHEST;
    use tracetui_shared::offsets::NUMBER_COUNT;

    const PSEUDO_CALL: u8 = 1;

    fn facts(cast: Option<Cast>, may_goto: bool) -> KernelFacts {
        KernelFacts {
            offsets: [0; FIELD_COUNT],
            odd: Vec::new(),
            typed_task: true,
            consts: KernelConsts([
                (Const::ExitHasGroupDead, Some(1)),
                (Const::UringCqe, Some(1)),
                (Const::InlineNameLen, Some(40)),
                (Const::TraceFlagTracepoint, Some(8)),
                (Const::TraceFlagKprobe, Some(32)),
                (Const::TraceFlagUprobe, Some(64)),
                (Const::LinkTypePerf, Some(7)),
                (Const::LinkTypeRawTp, Some(1)),
            ]),
            may_goto,
            cast,
            functions: Vec::new(),
            ids: None,
            arch: arch::here(),
            preemptible_tracepoints: Some(false),
            netlink_sender: true,
        }
    }

    fn options(ring_size: u32) -> LiveOptions {
        LiveOptions { ring_size, environment: Keeper::new(EnvMode::Names), ..LiveOptions::default() }
    }

    /// The file ranges of the object's executable sections (ELF64, little-endian).
    fn code(object: &[u8]) -> Vec<std::ops::Range<usize>> {
        let u16_at = |at: usize| u16::from_le_bytes(object[at..at + 2].try_into().unwrap()) as usize;
        let u64_at = |at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap()) as usize;
        let (table, size, count) = (u64_at(0x28), u16_at(0x3a), u16_at(0x3c));
        let sections = (0..count).map(|i| table + i * size).filter(|at| u64_at(at + 8) & 4 != 0);
        sections.map(|at| u64_at(at + 24)..u64_at(at + 24) + u64_at(at + 32)).collect()
    }

    fn changed(object: &[u8]) -> Vec<usize> {
        let pairs = OBJECT.chunks_exact(8).zip(object.chunks_exact(8)).enumerate();
        pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i * 8).collect()
    }

    /// Numbers without repetition. None of them is a placeholder's.
    fn distinct() -> Vec<u32> {
        (0..NUMBER_COUNT as u32).map(|index| 3 + 8 * index).collect()
    }

    #[test]
    fn only_instructions_are_changed() {
        for facts in [facts(None, false), facts(Some(Cast { function: 7, types: [1; TYPE_COUNT] }), true)] {
            let object = with_numbers(&facts, &distinct());
            let (changed, code) = (changed(&object), code(OBJECT));
            assert!(!changed.is_empty());
            for at in changed {
                assert!(code.iter().any(|section| section.contains(&at)), "{at:#x} is no instruction");
            }
        }
        // Nothing is left that an old kernel does not know.
        let object = with_numbers(&facts(None, false), &distinct());
        let left = object.chunks_exact(8).filter(|i| is_may_goto(i) || **i == instruction(0x85, 0, CAST_PLACEHOLDER));
        assert_eq!(left.count(), 0);
        // No placeholder is left.
        let of = |slot: &[u8]| {
            let number = i32::from_le_bytes(slot[4..].try_into().unwrap());
            let offset = i16::from_le_bytes([slot[2], slot[3]]);
            // The second half of a 16-byte instruction has only an immediate.
            (move_placed(number).is_some(), load_placed(offset).is_some() && slot[0] != 0)
        };
        let count = |object: &[u8]| {
            let slots = code(object).into_iter().flat_map(|section| object[section].chunks_exact(8).map(of));
            slots.fold((0, 0), |(moves, loads), (is_move, is_load)| {
                (moves + usize::from(is_move), loads + usize::from(is_load))
            })
        };
        let (moves, loads) = count(OBJECT);
        assert!(moves > 100 && loads > 100, "{moves} {loads}");
        assert_eq!(count(&with_numbers(&facts(None, true), &distinct())), (0, 0));
    }

    #[test]
    fn each_placeholder_gets_its_number_in_every_slot_and_architecture() {
        let numbers = distinct();
        let object = with_numbers(&facts(None, true), &numbers);
        let mut used = BTreeSet::new();
        for (before, after) in OBJECT.chunks_exact(8).zip(object.chunks_exact(8)) {
            if let Some(index) = is_move(before) {
                assert_eq!(after[4..], numbers[index].to_le_bytes());
                used.insert(index);
            }
            if let Some((index, word)) = is_load(before) {
                assert_eq!(after[2..4], (numbers[index] as i16 + 8 * word as i16).to_le_bytes());
                used.insert(index);
            }
        }
        let unused: Vec<_> = FIELDS.iter().filter(|(field, _)| !used.contains(&(*field as usize))).collect();
        // The unused ones are read as parts of sums, or exist only for tests of user space.
        assert!(unused.len() < 12, "{unused:?}");
        // The object serves every slot and architecture.
        let index = FIELD_COUNT + SUMS.len() + Const::Arch as usize;
        for arch in arch::ALL {
            let facts = KernelFacts { arch: Some(arch), ..facts(None, true) };
            assert_eq!(self::numbers(&options(1 << 20), &facts, 2)[index], arch.number, "{}", arch.name);
            assert_eq!(self::numbers(&options(1 << 20), &facts, 2).len(), NUMBER_COUNT);
        }
        for slot in Slot::ALL {
            let symbol = [slot.program().as_bytes(), b"\0"].concat();
            assert!(OBJECT.windows(symbol.len()).any(|bytes| bytes == symbol), "{}", slot.program());
        }
    }

    #[test]
    fn opens_leave_room_for_rare_events_and_programs_have_dead_code() {
        for shift in 12..28 {
            for cpus in [1, 2, 64, 512] {
                let ring = 1 << shift;
                let constants = constants(&options(ring), &facts(None, true), cpus);
                let of = |constant: Const| u64::from(constants[constant as usize]);
                assert!(of(Const::OpenLimit) < u64::from(ring));
                assert!(of(Const::Credit) >= 512);
            }
        }
        let mut object = Object::parse(&with_numbers(&facts(None, true), &distinct())).expect("an object");
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_calls(&sections).expect("calls of functions");
        for (name, program) in &object.programs {
            let function = &object.functions[&program.function_key()];
            let left = reached(&function.instructions, &function.func_info.func_info);
            assert!(left.is_some_and(|left| left.code.len() < function.instructions.len()), "{name}");
        }
    }

    /// The most bytes of stack of the function that begins at `entry`, and of those that it calls, as `check_max_stack_depth`
    /// (kernel/bpf/verifier.c) counts them where no function has a stack of its own (before 6.13, and on aarch64 before 6.17).
    fn stack(code: &[bpf_insn], entries: &BTreeSet<usize>, entry: usize) -> usize {
        let end = entries.range(entry + 1..).next().copied().unwrap_or(code.len());
        let (mut own, mut called) = (1, 0);
        for at in entry..end {
            let insn = &code[at];
            let is_address = at > entry && code[at - 1].code == 0xbf && code[at - 1].src_reg() == 10;
            let below = match insn.code & 7 {
                1 if insn.src_reg() == 10 => -i32::from(insn.off),
                2 | 3 if insn.dst_reg() == 10 => -i32::from(insn.off),
                7 if insn.code == 0x07 && is_address => -insn.imm,
                _ => 0,
            };
            own = own.max(usize::try_from(below).unwrap_or(0));
            if let Some(callee) = callee(code, at) {
                called = called.max(stack(code, entries, callee));
            }
        }
        own.next_multiple_of(32) + called
    }

    /// The function that an instruction calls or passes to a helper.
    fn callee(code: &[bpf_insn], at: usize) -> Option<usize> {
        const PSEUDO_FUNC: u8 = 4;
        let (insn, is) = (&code[at], (code[at].code, code[at].src_reg()));
        matches!(is, (0x85, PSEUDO_CALL) | (0x18, PSEUDO_FUNC)).then(|| at.wrapping_add_signed(insn.imm as isize + 1))
    }

    /// The verifier of most machines on which this is built gives each function a stack of its own, and would not find it.
    #[test]
    fn the_stacks_of_functions_that_call_each_other_fit() {
        const MAX_BPF_STACK: usize = 512;
        let options =
            LiveOptions { kinds: KindSet::ALL, stacks: KindSet::ALL, fds: true, identities: true, ..options(1 << 20) };
        for (arch, may_goto) in arch::ALL.into_iter().flat_map(|arch| [(arch, true), (arch, false)]) {
            let facts = KernelFacts { arch: Some(arch), ..facts(None, may_goto) };
            let mut object = Object::parse(&with_numbers(&facts, &numbers(&options, &facts, 1))).expect("an object");
            let sections = object.functions.keys().map(|(section, _)| *section).collect();
            object.relocate_calls(&sections).expect("calls of functions");
            for (name, program) in &object.programs {
                let function = &object.functions[&program.function_key()];
                for kind in [ProgramKind::BtfTracepoint(1), ProgramKind::Tracepoint, ProgramKind::Functions] {
                    let code = with_carrier(&function.instructions, kind);
                    let code = reached(&code, &function.func_info.func_info).expect("known instructions").code;
                    let entries = (0..code.len()).filter_map(|at| callee(&code, at)).collect();
                    let bytes = stack(&code, &entries, 0);
                    assert!(bytes <= MAX_BPF_STACK, "{} {name}: {bytes} bytes", arch.name);
                }
            }
        }
    }

    /// Before 6.9 the verifier checks a function by itself only if it is global according to BTF. The programs that
    /// call it then need BTF too. Programs at functions are loaded without BTF.
    #[test]
    fn programs_that_call_functions_are_in_the_btf() {
        let object = Object::parse(OBJECT).expect("an object");
        let of = |name: &str| &object.functions[&object.programs[name].function_key()];
        let calls =
            |name: &&String| (0..of(name).instructions.len()).any(|at| callee(&of(name).instructions, at).is_some());
        let has_btf = |name: &&String| !of(name).func_info.func_info.is_empty();
        let at_functions = |name: &&String| matches!(object.programs[*name].section, ProgramSection::KProbe);
        let mut calling: Vec<_> = object.programs.keys().filter(|name| calls(name) && !at_functions(name)).collect();
        let mut named: Vec<_> = object.programs.keys().filter(has_btf).collect();
        calling.sort();
        named.sort();
        assert!(!calling.is_empty());
        assert_eq!(calling, named, "programs that call functions, and those in btf! (functions.rs)");
    }

    /// The first member that a program lacks on a kernel, attached in each way.
    fn lacks(facts: &KernelFacts, program: &str) -> Vec<Option<String>> {
        let bytes = with_numbers(facts, &numbers(&options(1 << 20), facts, 1));
        let mut object = Object::parse(&bytes).expect("an object");
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_calls(&sections).expect("calls of functions");
        let function = &object.functions[&object.programs[program].function_key()];
        let ways = [ProgramKind::BtfTracepoint(1), ProgramKind::Tracepoint, ProgramKind::Functions];
        let lacks = ways.into_iter().map(|kind| {
            let code = with_carrier(&function.instructions, kind);
            let left = reached(&code, &function.func_info.func_info).expect("known instructions");
            left.code.iter().find_map(absent_member).map(|member| facts.lacks(member))
        });
        lacks.collect()
    }

    #[test]
    fn a_program_needs_the_members_that_it_reads() {
        let cast = || Some(Cast { function: 7, types: [1; TYPE_COUNT] });
        let without = |fields: &[Field]| {
            let mut facts = KernelFacts { offsets: [8; FIELD_COUNT], ..facts(cast(), true) };
            fields.iter().for_each(|field| facts.offsets[*field as usize] = ABSENT);
            facts
        };
        let named = |fields: &[Field], program| -> Vec<bool> {
            lacks(&without(fields), program).iter().map(Option::is_some).collect()
        };
        assert_eq!(lacks(&without(&[]), "sys_exit"), [const { None }; 3]);
        assert_eq!(
            lacks(&without(&[Field::TaskUtime]), "sched_exit")[0].as_deref(),
            Some("this kernel has no task_struct.utime")
        );
        assert_eq!(named(&[Field::TaskTgid], "sched_exec"), [true; 3]);
        // Optional ones are tested for.
        assert_eq!(named(&[Field::TaskCgroups, Field::DentryInline, Field::TaskSeccompMode], "sys_exit"), [false; 3]);
        // A kernel without TCP has the other kinds.
        assert_eq!(named(&[Field::SkFamily, Field::SkState, Field::InetSport], "sys_exit"), [false; 3]);
        assert_eq!(named(&[Field::SkFamily], "tcp_state"), [true; 3]);
        // The classic tracepoint has it in its record.
        assert!(!named(&[Field::SkProtocol], "tcp_state")[1]);
        // An absent member cannot be loaded.
        let numbers: Vec<u32> = vec![ABSENT; NUMBER_COUNT];
        let object = with_numbers(&facts(None, true), &numbers);
        for (before, after) in OBJECT.chunks_exact(8).zip(object.chunks_exact(8)) {
            // The verifier refuses the placeholder, which is no offset.
            assert!(is_load(before).is_none() || before == after);
            let absent = is_move(before).filter(|index| *index < MEMBER_COUNT).map(|index| -move_placeholder(index));
            let number = i32::from_le_bytes(after[4..].try_into().unwrap());
            assert!(absent.is_none_or(|absent| absent == number && absent < 0));
        }
        assert_eq!(load_offset(2 * FARTHEST, 7), 2 * FARTHEST as i16 + 56);
        // A lacking field is named.
        let mut facts = facts(None, true);
        facts.offsets[Field::MmExeFile as usize] = ABSENT;
        let lacks = facts.lacks(Field::MmExeFile as usize);
        assert_eq!(lacks, "this kernel has no mm_struct.exe_file");
        facts.odd.push((Field::MmExeFile, "it has 4 bytes, expected 8".into()));
        let differs = "mm_struct.exe_file does not match on this kernel: it has 4 bytes, expected 8";
        assert_eq!(facts.lacks(Field::MmExeFile as usize), differs);
        let sum = SUMS.iter().position(|fields| fields.contains(&Field::TaskComm)).map(|sum| FIELD_COUNT + sum);
        assert!(sum.is_none_or(|sum| facts.lacks(sum).starts_with("this kernel has no ")));
    }
}
