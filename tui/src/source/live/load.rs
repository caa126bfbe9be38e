//! Loads the probe object: offsets, constants, map sizes; and the errors if the kernel rejects it.

use super::status::ProbeStatus;
use super::{CaptureError, LiveOptions, attach_names};
use crate::arch::{self, Arch};
use crate::capture;
use crate::source::host::btf::resolve::{
    Absence, MAY_GOTO_MEMBER, PREEMPTIBLE_TRACEPOINTS_TYPE, Resolved, TASK_HELPER,
};
use crate::source::host::maps::freeze;
use crate::source::host::{btf, own_id};
use aya::maps::{Map, MapError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use aya_obj::Object;
use std::io;
use std::os::fd::AsFd as _;
use tracetui_shared::offsets::{
    ABSENT, ARCH_PLACEHOLDER, CAST_FUNCTION, CAST_PLACEHOLDER, CONST_COUNT, CONSTS_SYMBOL, Const, FIELD_COUNT, FIELDS,
    Field, OFFSETS_SYMBOL, TYPE_COUNT, TYPES, TYPES_SYMBOL,
};

/// The probes, built by `scripts/build-probes.sh`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("probes.bpf.o");

/// The per-CPU maps that are used only if the verifier follows every iteration of a loop (`path.rs`).
const FOR_LONG_LOOPS: [&str; 2] = ["DEEP", "DEEP_QUIET"];

/// The origin of a BTF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BtfOrigin {
    /// The BTF of the running kernel.
    Kernel,
    /// A file. Only offsets and values are taken from it. Its type ids may not be those of the kernel: a minimal BTF
    /// renumbers its types, and a whole one may be of another build.
    File,
}

/// The facts that the probes need from the kernel's BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// The offset of each field in bytes, or [`ABSENT`].
    pub offsets: [u32; FIELD_COUNT],
    /// Fields with a width that the probes cannot read, with the reason. Their offsets are [`ABSENT`] too.
    pub odd_widths: Vec<(Field, String)>,
    /// The helper [`bpf_get_current_task_btf`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c)
    /// exists (5.11+).
    pub typed_task: bool,
    /// `btf_trace_sched_process_exit` has two arguments besides the context (6.16+).
    pub exit_has_group_dead: bool,
    /// The size of `dentry.d_shortname` (earlier `d_iname`) in bytes.
    pub inline_name_len: u32,
    /// The value of `TRACE_EVENT_FL_TRACEPOINT`.
    pub trace_flag_tracepoint: u32,
    /// The value of `TRACE_EVENT_FL_KPROBE`; 0 if the kernel does not have it.
    pub trace_flag_kprobe: u32,
    /// The value of `TRACE_EVENT_FL_UPROBE`; 0 if the kernel does not have it.
    pub trace_flag_uprobe: u32,
    /// The value of `BPF_LINK_TYPE_PERF_EVENT`; [`ABSENT`] before 5.15.
    pub link_type_perf: u32,
    /// The value of `BPF_LINK_TYPE_RAW_TRACEPOINT`.
    pub link_type_raw_tp: u32,
    /// The instruction `may_goto` exists (6.9+), as the member `bpf_verifier_state.may_goto_depth` shows.
    pub may_goto: bool,
    /// The ids for casts of addresses to typed pointers. `None` before 6.2, and with a BTF from a file, whose type ids
    /// are not used.
    pub cast: Option<Cast>,
    /// The functions to which programs attach and that the kernel has.
    pub functions: Vec<&'static str>,
    /// The architecture that this binary was built for; `None` if it is not supported.
    pub arch: Option<&'static Arch>,
    /// Whether programs at BTF tracepoints, and at the classic tracepoints of system calls, can be preempted (7.0+,
    /// [`PREEMPTIBLE_TRACEPOINTS_TYPE`]). `None`: the BTF is from a file that lacks the type. This proves nothing,
    /// because the file may be a reduced BTF from any tool.
    ///
    /// The classic ones are preemptible only from 7.1 on
    /// ([`trace_call_bpf_faultable`](https://elixir.bootlin.com/linux/v7.1/source/kernel/trace/bpf_trace.c)), which the
    /// BTF does not show. On 7.0 they are treated as preemptible too.
    pub preemptible_tracepoints: Option<bool>,
}

/// The ids that a call of [`tracetui_shared::offsets::CAST_FUNCTION`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The function's BTF id.
    pub function: u32,
    /// The BTF ids of [`tracetui_shared::offsets::TYPES`].
    pub types: [u32; TYPE_COUNT],
}

impl Cast {
    fn of(btf: &btf::Btf) -> Option<Cast> {
        let function = btf.func(CAST_FUNCTION)?;
        let found = btf.structures(TYPES);
        let mut types = [0; TYPE_COUNT];
        for (id, found) in types.iter_mut().zip(found) {
            *id = found?;
        }
        Some(Cast { function, types })
    }
}

/// The functions that the kernel has.
fn there(btf: &btf::Btf, names: Vec<&'static str>) -> Vec<&'static str> {
    let found = btf.funcs(&names);
    names.into_iter().zip(found).filter_map(|(name, id)| id.map(|_| name)).collect()
}

impl KernelFacts {
    /// Reads the facts from a BTF.
    pub fn of(btf: &btf::Btf, origin: BtfOrigin) -> KernelFacts {
        let Resolved { offsets, consts, decisions } = btf.resolve();
        let odd = decisions.iter().filter_map(|decision| match decision.usable() {
            Err(absence @ Absence::Width { .. }) => {
                Some((decision.field, format!("{absence}, expected {}", decision.spec.width)))
            }
            _ => None,
        });
        let known = |value: Option<u32>| value.unwrap_or(ABSENT);
        KernelFacts {
            offsets,
            odd_widths: odd.collect(),
            // The result of the helper has a type of the kernel's own BTF.
            typed_task: btf.enumerator(TASK_HELPER).is_some() && (origin == BtfOrigin::Kernel || kernel_has_btf()),
            exit_has_group_dead: consts.exit_has_group_dead.unwrap_or(false),
            inline_name_len: known(consts.inline_name_len),
            trace_flag_tracepoint: known(consts.trace_flag_tracepoint),
            trace_flag_kprobe: consts.trace_flag_kprobe.unwrap_or(0),
            trace_flag_uprobe: consts.trace_flag_uprobe.unwrap_or(0),
            link_type_perf: known(consts.link_type_perf),
            link_type_raw_tp: known(consts.link_type_raw_tp),
            may_goto: btf.structures(&[MAY_GOTO_MEMBER.0])[0]
                .is_some_and(|state| btf.has_member(state, MAY_GOTO_MEMBER.1)),
            cast: (origin == BtfOrigin::Kernel).then(|| Cast::of(btf)).flatten(),
            functions: there(btf, attach_names().functions),
            arch: arch::here(),
            preemptible_tracepoints: match btf.typedef_exists(PREEMPTIBLE_TRACEPOINTS_TYPE) {
                false if origin == BtfOrigin::File => None,
                exists => Some(exists),
            },
        }
    }

    /// The first field whose offset differs from that in `other`.
    pub fn differs_from(&self, other: &KernelFacts) -> Option<String> {
        let (_, spec) =
            FIELDS.iter().find(|(field, _)| self.offsets[*field as usize] != other.offsets[*field as usize])?;
        Some(format!("{}.{}", spec.structure, spec.members.join("|")))
    }

    /// The reason for the first of `fields` that cannot be read, as in `this kernel has no structure.member`.
    pub(super) fn lacks(&self, fields: &[&[Field]]) -> Option<String> {
        let field = fields.iter().copied().flatten().find(|field| self.offsets[**field as usize] == ABSENT)?;
        let (_, spec) = FIELDS[*field as usize];
        let name = format!("{}.{}", spec.structure, spec.members.join("|"));
        Some(match self.odd_widths.iter().find(|(odd, _)| odd == field) {
            Some((_, what)) => format!("{name} does not match on this kernel: {what}"),
            None => format!("this kernel has no {name}"),
        })
    }
}

/// The reason why tracing cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The architecture is not supported.
    #[error("cannot trace on {}: only x86-64 and aarch64 are supported", std::env::consts::ARCH)]
    Architecture,
    /// The kernel's BTF cannot be read.
    #[error("cannot read the kernel's BTF (/sys/kernel/btf/vmlinux): {0}")]
    Btf(String),
    /// The kernel does not accept the size of the ring.
    #[error("invalid ring size {0}: must be a power of two, at least 4096")]
    RingSize(u32),
    /// The kernel rejected the object or its maps.
    #[error("cannot load the probes: {0}")]
    Object(Box<dyn std::error::Error + Send + Sync>),
    /// The kernel rejected every program.
    #[error("no probe could be attached:\n{0}")]
    Refused(String),
    /// The capture filter was rejected.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A map cannot be protected against other processes.
    #[error("cannot freeze a map of the probes: {0}")]
    Freeze(io::Error),
    /// A system call failed.
    #[error("{call}: {error}")]
    System {
        /// The system call.
        call: &'static str,
        /// Its error.
        error: io::Error,
    },
}

impl From<EbpfError> for StartError {
    fn from(error: EbpfError) -> StartError {
        StartError::Object(error.into())
    }
}

impl From<MapError> for StartError {
    fn from(error: MapError) -> StartError {
        StartError::Object(error.into())
    }
}

/// The reason why a program could not be loaded or attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The kernel's error, with the end of the verifier's log.
    pub(super) why: String,
    /// The remedy, if there is one.
    pub(super) remedy: Option<String>,
}

/// Whether the verifier writes a log. It is off at first: with a log, aya reports a program that is too large as
/// another error, and the log takes time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    Quiet,
    Log,
}

/// Raises RLIMIT_MEMLOCK, against which maps count before 5.11. Later kernels do not need this, so an error is ignored.
pub(crate) fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// Parses the object, creates the maps, and sets the constants for this kernel.
pub(super) fn object(
    options: &LiveOptions,
    facts: &KernelFacts,
    verbosity: Verbosity,
) -> Result<(Ebpf, Option<Btf>), StartError> {
    if !options.ring_size.is_power_of_two() || options.ring_size < 4096 {
        return Err(StartError::RingSize(options.ring_size));
    }
    let cpus = possible_cpus()?;
    let constants = constants(options, facts, cpus);
    let types = facts.cast.as_ref().map_or([0; TYPE_COUNT], |cast| cast.types);
    // `EbpfLoader::new` parses the kernel's BTF for itself. The programs need it too, so both are parsed in parallel.
    let (mut loader, btf) = std::thread::scope(|scope| {
        let btf = scope.spawn(Btf::from_sys_fs);
        (EbpfLoader::new(), btf.join())
    });
    let btf = btf.map_err(|_| StartError::Btf("the parser panicked".into()))?;
    // If the kernel has none, offsets come from a file, and programs that need its type ids do not attach.
    let btf = match btf {
        Ok(btf) => Some(btf),
        Err(_) if !kernel_has_btf() => None,
        Err(error) => return Err(StartError::Btf(error.to_string())),
    };
    loader
        .btf(btf.as_ref())
        .verifier_log_level(match verbosity {
            Verbosity::Quiet => VerifierLogLevel::DISABLE,
            Verbosity::Log => VerifierLogLevel::DEBUG,
        })
        .override_global(OFFSETS_SYMBOL, &facts.offsets[..], true)
        .override_global(CONSTS_SYMBOL, &constants[..], true)
        .override_global(TYPES_SYMBOL, &types[..], true)
        .map_max_entries("RING", options.ring_size)
        .map_max_entries("CAPTURE_TREE", options.tree_size)
        .map_max_entries("CAPTURE_CGROUPS", capture::CGROUPS_MAP);
    let bytes = for_this_kernel(facts);
    let per_cpu = per_cpu_maps(&bytes)?;
    for map in &per_cpu {
        let unused = facts.may_goto && FOR_LONG_LOOPS.contains(&map.as_str());
        loader.map_max_entries(map, if unused { 1 } else { cpus });
    }
    if facts.exit_has_group_dead {
        loader.map_max_entries("EXITED", 1);
    }
    let object = loader.load(&bytes)?;
    drop(loader);
    Ok((object, btf))
}

/// The maps with one element for each possible CPU: those that are declared without a size (`per_cpu!` in `maps.rs`).
fn per_cpu_maps(object: &[u8]) -> Result<Vec<String>, StartError> {
    let object = Object::parse(object).map_err(|error| StartError::Object(error.into()))?;
    Ok(object.maps.into_iter().filter(|(_, map)| map.max_entries() == 0).map(|(name, _)| name).collect())
}

/// Whether the kernel has its own BTF.
fn kernel_has_btf() -> bool {
    std::path::Path::new(btf::RUNNING).exists()
}

/// The object as this kernel accepts it. Placeholders become calls of the kernel's cast function, or moves if it has
/// none, and the number of the architecture. If the kernel lacks `may_goto`, it becomes a jump that is never taken.
/// Programs are arrays of 8-byte instructions in sections aligned to 8 bytes, and no helper has the number of a
/// placeholder.
pub(super) fn for_this_kernel(facts: &KernelFacts) -> Vec<u8> {
    const CALL: u8 = 0x85;
    const KERNEL_FUNCTION: u8 = 0x20;
    /// `r0 = r1`.
    const MOVE: [u8; 8] = [0xbf, 0x10, 0, 0, 0, 0, 0, 0];
    let placeholder = instruction(CALL, 0, CAST_PLACEHOLDER);
    let cast = facts.cast.as_ref();
    let wanted = cast.map_or(MOVE, |cast| instruction(CALL, KERNEL_FUNCTION, cast.function.cast_signed()));
    let architecture = facts.arch.map_or(0, |arch| arch.number).to_le_bytes();
    let mut object = OBJECT.to_vec();
    for slot in object.chunks_exact_mut(8) {
        if *slot == placeholder {
            slot.copy_from_slice(&wanted);
        } else if is_architecture(slot) {
            slot[4..].copy_from_slice(&architecture);
        } else if !facts.may_goto && is_may_goto(slot) {
            [slot[0], slot[1]] = NEVER;
        }
    }
    object
}

/// Whether these 8 bytes move the placeholder of the architecture into a register.
fn is_architecture(slot: &[u8]) -> bool {
    /// `BPF_ALU64 | BPF_MOV | BPF_K`.
    const MOVE_NUMBER: u8 = 0xb7;
    slot[0] == MOVE_NUMBER && slot[2..4] == [0, 0] && slot[4..] == ARCH_PLACEHOLDER.to_le_bytes()
}

/// Whether these 8 bytes are the instruction `may_goto`. No data of the object looks like it, as the test
/// `only_instructions_are_changed` checks.
fn is_may_goto(slot: &[u8]) -> bool {
    matches!(slot, [MAY_GOTO, 0, low, high, 0, 0, 0, 0] if (*low, *high) != (0, 0))
}

/// `BPF_JMP | BPF_JCOND`.
const MAY_GOTO: u8 = 0xe5;
/// `if r10 == 0 goto`. It is never taken, but the verifier's control flow check sees both branches.
const NEVER: [u8; 2] = [0x15, 0x0a];

fn instruction(code: u8, registers: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, registers, 0, 0, a, b, c, d]
}

fn possible_cpus() -> Result<u32, StartError> {
    let cpus = aya::util::nr_cpus().map_err(|(call, error)| StartError::System { call, error })?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// The constants of the probes. All sizes are in bytes.
fn constants(options: &LiveOptions, facts: &KernelFacts, cpus: u32) -> [u32; CONST_COUNT] {
    const MIB: u32 = 1 << 20;
    let ring = options.ring_size;
    let mut constants = [0; CONST_COUNT];
    let mut put = |constant: Const, value: u32| constants[constant as usize] = value;
    put(Const::SelfTgid, own_tgid());
    put(Const::TypedTask, u32::from(facts.typed_task));
    put(Const::MayGoto, u32::from(facts.may_goto));
    put(Const::Cast, u32::from(facts.cast.is_some()));
    put(Const::ExitHasGroupDead, u32::from(facts.exit_has_group_dead));
    put(Const::RingSize, ring);
    put(Const::OpenLimit, if ring < MIB { ring / 4 * 3 } else { ring / 8 * 7 });
    // All CPUs together may exceed the limit by 1/32 of the ring.
    put(Const::Credit, (ring / (32 * cpus)).max(512));
    // All CPUs together wake before a quarter of the ring is full.
    put(Const::WakeBytes, (ring / (4 * cpus)).clamp(1024, MIB));
    put(Const::InlineNameLen, facts.inline_name_len);
    put(Const::TraceFlagTracepoint, facts.trace_flag_tracepoint);
    put(Const::TraceFlagKprobe, facts.trace_flag_kprobe);
    put(Const::TraceFlagUprobe, facts.trace_flag_uprobe);
    put(Const::LinkTypePerf, facts.link_type_perf);
    put(Const::LinkTypeRawTp, facts.link_type_raw_tp);
    put(Const::Stacks, options.stacks.bits());
    constants
}

/// Our own process id as seen by the probes; 0 if unknown.
fn own_tgid() -> u32 {
    own_id::own_tgid().map_or(0, |tgid| tgid.0)
}

/// Freezes the maps that are left in the object, which only the programs change: those of records, of processes, of
/// requests. aya has frozen the constants.
pub(super) fn freeze_maps_of_programs(object: &Ebpf) -> Result<(), StartError> {
    for (name, map) in object.maps() {
        if let Map::Array(map) | Map::HashMap(map) | Map::LruHashMap(map) = map
            && !name.starts_with('.')
        {
            freeze(map.fd().as_fd()).map_err(StartError::Freeze)?;
        }
    }
    Ok(())
}

/// Takes a map from the object.
pub(super) fn map(object: &mut Ebpf, name: &str) -> Result<Map, StartError> {
    object.take_map(name).ok_or_else(|| StartError::Object(format!("the object has no map {name}").into()))
}

/// Returns the memory of the BTF parser, about 30 MB, to the system.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no pointers and is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The error if no probe was attached.
pub(super) fn why_nothing_attached(probes: &[ProbeStatus]) -> StartError {
    let lines =
        probes.iter().map(|probe| format!("{}: {}", probe.name, probe.why.as_deref().unwrap_or("not attached")));
    StartError::Refused(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya_obj::ProgramSection;
    use tracetui_shared::kind::{KindSet, Slot};

    fn facts(cast: Option<Cast>, may_goto: bool) -> KernelFacts {
        KernelFacts {
            offsets: [0; FIELD_COUNT],
            odd_widths: Vec::new(),
            typed_task: true,
            exit_has_group_dead: true,
            inline_name_len: 40,
            trace_flag_tracepoint: 8,
            trace_flag_kprobe: 32,
            trace_flag_uprobe: 64,
            link_type_perf: 7,
            link_type_raw_tp: 1,
            may_goto,
            cast,
            functions: Vec::new(),
            arch: arch::here(),
            preemptible_tracepoints: Some(false),
        }
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

    #[test]
    fn only_instructions_are_changed() {
        for facts in [facts(None, false), facts(Some(Cast { function: 7, types: [1; TYPE_COUNT] }), true)] {
            let object = for_this_kernel(&facts);
            let (changed, code) = (changed(&object), code(OBJECT));
            assert!(!changed.is_empty());
            for at in changed {
                assert!(code.iter().any(|section| section.contains(&at)), "{at:#x} is no instruction");
            }
        }
    }

    #[test]
    fn nothing_is_left_that_an_old_kernel_does_not_know() {
        let object = for_this_kernel(&facts(None, false));
        let left = object.chunks_exact(8).filter(|i| is_may_goto(i) || **i == instruction(0x85, 0, CAST_PLACEHOLDER));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn the_object_serves_every_architecture() {
        let places = |object: &[u8]| -> Vec<i32> {
            let pairs = OBJECT.chunks_exact(8).zip(object.chunks_exact(8));
            let numbers = pairs.filter(|(before, _)| is_architecture(before)).map(|(_, after)| after[4..].try_into());
            numbers.map(|bytes| i32::from_le_bytes(bytes.unwrap())).collect()
        };
        assert!(places(OBJECT).len() > 10, "{}", places(OBJECT).len());
        for arch in arch::ALL {
            let object = for_this_kernel(&KernelFacts { arch: Some(arch), ..facts(None, true) });
            assert!(places(&object).iter().all(|number| *number == arch.number), "{}", arch.name);
        }
        let placeholder = OBJECT.windows(4).filter(|bytes| *bytes == ARCH_PLACEHOLDER.to_le_bytes());
        assert_eq!(placeholder.count(), places(OBJECT).len(), "a placeholder that nothing replaces");
    }

    #[test]
    fn every_slot_has_its_program_in_the_object() {
        for slot in Slot::ALL {
            let symbol = [slot.program().as_bytes(), b"\0"].concat();
            assert!(OBJECT.windows(symbol.len()).any(|bytes| bytes == symbol), "{}", slot.program());
        }
    }

    #[test]
    fn opens_leave_room_for_rare_events() {
        let options = |ring_size| LiveOptions {
            ring_size,
            kinds: KindSet::NONE,
            stacks: KindSet::NONE,
            capture: crate::capture::CaptureFilter::NOTHING,
            tree_size: tracetui_shared::capture::MAX_TREE,
            way: crate::source::live::Way::Auto,
        };
        for shift in 12..28 {
            for cpus in [1, 2, 64, 512] {
                let ring = 1 << shift;
                let constants = constants(&options(ring), &facts(None, true), cpus);
                let of = |constant: Const| u64::from(constants[constant as usize]);
                assert!(of(Const::OpenLimit) < u64::from(ring));
                assert!(of(Const::Credit) >= 512 && of(Const::WakeBytes) >= 1024);
                assert!(of(Const::WakeBytes) <= u64::from(ring));
            }
        }
    }

    #[test]
    fn a_lacking_field_is_named() {
        let mut facts = facts(None, true);
        facts.offsets[Field::MmExeFile as usize] = ABSENT;
        assert_eq!(
            facts.lacks(&[&[Field::TaskTgid], &[Field::MmExeFile]]).as_deref(),
            Some("this kernel has no mm_struct.exe_file")
        );
        facts.odd_widths.push((Field::MmExeFile, "it has 4 bytes, expected 8".into()));
        assert_eq!(
            facts.lacks(&[&[Field::MmExeFile]]).as_deref(),
            Some("mm_struct.exe_file does not match on this kernel: it has 4 bytes, expected 8")
        );
        assert_eq!(facts.lacks(&[&[Field::TaskTgid]]), None);
    }

    /// Before 6.9 the verifier checks a function by itself only if it is global according to BTF. The programs that
    /// call it then need BTF too. Programs at functions are loaded without BTF (`multi.rs`).
    #[test]
    fn programs_that_call_functions_are_in_the_btf() {
        const PSEUDO_CALL: u8 = 1;
        let object = Object::parse(OBJECT).expect("an object");
        let of = |name: &str| &object.functions[&object.programs[name].function_key()];
        let calls = |name: &&String| {
            of(name).instructions.iter().any(|code| code.code == 0x85 && code.src_reg() == PSEUDO_CALL)
        };
        let has_btf = |name: &&String| !of(name).func_info.func_info.is_empty();
        let at_functions = |name: &&String| matches!(object.programs[*name].section, ProgramSection::KProbe);
        let mut calling: Vec<_> = object.programs.keys().filter(|name| calls(name) && !at_functions(name)).collect();
        let mut named: Vec<_> = object.programs.keys().filter(has_btf).collect();
        calling.sort();
        named.sort();
        assert!(!calling.is_empty());
        assert_eq!(calling, named, "programs that call functions, and those in btf! (further.rs)");
    }
}
