//! The probe object in the kernel: creates its maps and loads its programs.
//!
//! This does not use aya's loader, which parses the kernel's BTF itself. That takes longer than anything else but the
//! verifier, and the loader does not support programs at functions (`BPF_TRACE_KPROBE_MULTI`). [`aya_obj`] parses and
//! relocates the object.

use super::LiveOptions;
use super::dead_code;
use super::kinds::uses;
use super::load::{KernelFacts, StartError, absent_member, possible_cpus, with_carrier};
use aya::maps::{Map, MapData};
use aya_obj::generated::{bpf_func_info, bpf_insn};
use aya_obj::{Function, Object};
use rustix::param::page_size;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use tracetui_events::filter::capture;
use tracetui_events::limits;
use tracetui_host::bpf::{Bytes, bpf_fd};
use tracetui_host::maps::{NewMap, freeze, set};
use tracetui_host::program::raise_memlock;
use tracetui_host::program::{NewProgram, ProgramKind};
use tracetui_shared::calls;
use tracetui_shared::offsets::Const;

const RING: &str = "RING";
const RINGS: &str = "RINGS";

/// The large maps: of connections, and of requests to accept them.
const LARGE: [&str; 2] = ["CONNS", "TCP_ACCEPTS"];

/// `BPF_F_NO_PREALLOC` (UAPI).
const NO_PREALLOC: u32 = 1;

/// The declared number of elements of a map with one element for each possible CPU (`per_cpu!` in `maps.rs`).
const PER_CPU: u32 = 0;

const CONSTANTS: &str = ".rodata";

const NETWORK: &str = "NETLINK_NETNS";

/// The maximum size of the verifier's log in bytes. The kernel writes only as much of it as needed.
const LOG: usize = 16 << 20;

/// The object, with the descriptors of the maps in its instructions.
pub(super) struct ProbeObject {
    object: Object,
    /// The BTF of the functions, and of the programs that call them.
    btf: OwnedFd,
}

/// The maps of the object. The instructions of programs contain these descriptors. Drop this only after the programs are loaded.
#[derive(Debug, Default)]
pub(super) struct Maps {
    unused: HashMap<String, OwnedFd>,
    /// The maps for which user space holds another descriptor.
    held: Vec<OwnedFd>,
    /// The rings after the first one.
    rings: Vec<OwnedFd>,
}

impl Maps {
    fn create(object: &mut Object, facts: &KernelFacts, options: &LiveOptions) -> Result<Maps, StartError> {
        if !options.ring_size.is_power_of_two() || options.ring_size < 4096 {
            return Err(StartError::RingSize(options.ring_size));
        }
        if !options.rings.is_power_of_two() || options.rings as usize > limits::RINGS {
            return Err(StartError::Rings(options.rings));
        }
        raise_memlock();
        let cpus = possible_cpus()?;
        let words = |entries: &[u32]| entries.iter().flat_map(|entry| entry.to_ne_bytes()).collect::<Vec<_>>();
        let ends = options.requested().ends();
        let (x86, arm) = (words(&calls::x86(ends)), words(&calls::arm(ends)));
        let tables = [("CALLS_X86", (&x86[..], true)), ("CALLS_ARM", (&arm[..], true))];
        object.patch_map_data(HashMap::from(tables)).map_err(StartError::object)?;
        let mut maps = Maps::default();
        for (name, map) in object.maps.iter().filter(|(name, _)| *name != RINGS) {
            let is_large = LARGE.contains(&name.as_str());
            let elements = match (name.as_str(), map.max_entries()) {
                (RING, _) => ring_bytes(options),
                ("CAPTURE_TREE", _) => options.tree_size,
                ("CAPTURE_CGROUPS", _) => capture::CGROUPS_MAP,
                (_, PER_CPU) => cpus,
                // The processes whose exit was reported, if the kernel does not show which exit of a thread is the last.
                ("EXITED", _) if facts.consts.get(Const::ExitHasGroupDead) == Some(1) => 1,
                (name, _) if !uses(options.kinds, name) => 1,
                ("WRITERS", _) if !options.writes => 1,
                (_, declared) if is_large => declared.min(options.connections),
                (_, declared) => declared,
            };
            // A program may allocate in any context from 6.1 on.
            let flags = if is_large && facts.cast.is_some() { NO_PREALLOC } else { 0 };
            let created = create(name, map, elements, flags);
            let created = created.map_err(|error| StartError::object(format!("map {name}: {error}")))?;
            maps.unused.insert(name.to_owned(), created);
        }
        maps.add_rings(options).map_err(|error| StartError::object(format!("map {RINGS}: {error}")))?;
        Ok(maps)
    }

    fn add_rings(&mut self, options: &LiveOptions) -> io::Result<()> {
        let Some(first) = self.unused.get(RING) else { return Ok(()) };
        let array = NewMap::array_of(first.as_fd(), options.rings).with_name(RINGS).create()?;
        for index in 1..options.rings {
            let ring = NewMap::ring(ring_bytes(options)).with_name(RING).create()?;
            set_ring(array.as_fd(), index, ring.as_fd())?;
            self.rings.push(ring);
        }
        set_ring(array.as_fd(), 0, first.as_fd())?;
        self.unused.insert(RINGS.to_owned(), array);
        Ok(())
    }

    pub(super) fn take_rings(&mut self) -> Result<Vec<OwnedFd>, StartError> {
        Ok(std::iter::once(self.share(RING)?).chain(self.rings.drain(..)).collect())
    }

    pub(super) fn take_map(&mut self, name: &str) -> Result<Map, StartError> {
        Ok(Map::from_map_data(MapData::from_fd(self.share(name)?)?)?)
    }

    /// A further descriptor of a map, for user space. The map is not among those that [`freeze`](Self::freeze) freezes any more.
    fn share(&mut self, name: &str) -> Result<OwnedFd, StartError> {
        let map = self.unused.remove(name).ok_or_else(|| no_map(name))?;
        let own = map.try_clone().map_err(StartError::object)?;
        self.held.push(map);
        Ok(own)
    }

    /// The descriptor of a map, which stays the programs' own.
    pub(super) fn fd(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.unused.get(name).map(OwnedFd::as_fd)
    }

    /// Writes the number of the network namespace whose changes `bpf_netlink` reports: tracetui's. Without it, the changes have no
    /// process.
    fn begin_network(&self) {
        let netns = fs::metadata("/proc/self/ns/net").map_or(0, |file| file.ino() as u32);
        // SAFETY: the values have four bytes.
        self.fd(NETWORK).map(|map| unsafe { set(map, 0, &netns.to_ne_bytes()) });
    }

    /// Freezes the maps that user space has not taken. Only the programs change these: the maps of records, processes
    /// and requests. The constants are already frozen.
    pub(super) fn freeze(&self) -> Result<(), StartError> {
        self.begin_network();
        let mut maps = self.unused.iter().filter(|(name, _)| *name != CONSTANTS);
        maps.try_for_each(|(_, map)| freeze(map.as_fd())).map_err(StartError::Freeze)
    }
}

fn ring_bytes(options: &LiveOptions) -> u32 {
    options.ring_size.max(u32::try_from(page_size()).unwrap_or(0))
}

fn set_ring(rings: BorrowedFd<'_>, index: u32, ring: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the values of an array of maps are descriptors.
    unsafe { set(rings, index, &ring.as_raw_fd().to_ne_bytes()) }
}

fn no_map(name: &str) -> StartError {
    StartError::object(format!("the object has no map {name}"))
}

#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) error: io::Error,
    /// The verifier's log; empty if the verifier did not run.
    pub(super) log: String,
    /// The member that the program reads and the kernel does not have.
    pub(super) lacks: Option<usize>,
}

impl ProbeObject {
    /// Parses the object that [`for_this_kernel`](super::load::for_this_kernel) made, and creates its maps.
    pub(super) fn new(
        bytes: &[u8],
        facts: &KernelFacts,
        options: &LiveOptions,
    ) -> Result<(ProbeObject, Maps), StartError> {
        let mut object = Object::parse(bytes).map_err(StartError::object)?;
        let maps = Maps::create(&mut object, facts, options)?;
        let parsed = std::mem::take(&mut object.maps);
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let descriptors = parsed.iter().map(|(name, map)| (name.as_str(), maps.unused[name].as_raw_fd(), map));
        object.relocate_maps(descriptors, &sections).map_err(StartError::object)?;
        object.relocate_calls(&sections).map_err(StartError::object)?;
        let btf = object.btf.as_ref().map(|btf| load_btf(&btf.to_bytes()));
        let btf = btf.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        let btf = btf.map_err(|error| StartError::object(format!("BTF of the probes: {error}")))?;
        Ok((ProbeObject { object, btf }, maps))
    }

    /// The number of instructions of a program, including the functions that it calls.
    pub(super) fn instructions(&self, name: &str) -> usize {
        self.function(name).map_or(0, |function| function.instructions.len())
    }

    /// Loads a program, unless it reads a member that the kernel does not have.
    /// If the kernel rejects it both without and with the instructions that are never executed, it is loaded again for the
    /// verifier's log, which takes time. After EPERM it is not, because the verifier did not run.
    pub(super) fn load(&self, name: &str, kind: ProgramKind) -> Result<OwnedFd, Rejected> {
        let none = || io::Error::other("the object has no such program");
        let function = self.function(name).ok_or_else(none).map_err(Rejected::without_log)?;
        let code = with_carrier(&function.instructions, kind);
        let whole = (&code, &function.func_info.func_info);
        let left = dead_code::reached(whole.0, whole.1);
        if let Some(lacks) = left.as_ref().and_then(|left| left.code.iter().find_map(absent_member)) {
            return Err(Rejected { lacks: Some(lacks), ..Rejected::without_log(io::ErrorKind::Unsupported.into()) });
        }
        let loaded = left.map(|left| self.load_as(name, kind, &left.code, &left.functions, &mut []));
        let loaded = match loaded {
            Some(loaded) if !loaded.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::EPERM)) => loaded,
            // The kernel may accept the whole program even if it rejects the reduced one.
            _ => self.load_as(name, kind, whole.0, whole.1, &mut []),
        };
        loaded.or_else(|error| {
            if error.raw_os_error() == Some(libc::EPERM) {
                return Err(Rejected::without_log(error));
            }
            let mut log = vec![0; LOG];
            self.load_as(name, kind, whole.0, whole.1, &mut log).map_err(|_| {
                let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
                Rejected { log: String::from_utf8_lossy(text).into_owned(), ..Rejected::without_log(error) }
            })
        })
    }

    /// Loads a program with these instructions and with functions that begin at these offsets.
    fn load_as(
        &self,
        name: &str,
        kind: ProgramKind,
        code: &[bpf_insn],
        functions: &[bpf_func_info],
        log: &mut [u8],
    ) -> io::Result<OwnedFd> {
        // The BTF has only the programs that call functions.
        let has_types = functions.first().is_some_and(|first| first.insn_off == 0);
        let types: Vec<u8> =
            functions.iter().flat_map(|info| [info.insn_off, info.type_id]).flat_map(u32::to_ne_bytes).collect();
        let functions = has_types.then_some((self.btf.as_fd(), types.as_slice()));
        let program = NewProgram { name, kind, code: bytes(code), functions };
        unless_interrupted(|| program.load(log))
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.object.functions.get(&self.object.programs.get(name)?.function_key())
    }
}

impl Rejected {
    fn without_log(error: io::Error) -> Rejected {
        Rejected { error, log: String::new(), lacks: None }
    }
}

/// Creates a map. A map of constants gets its content and is frozen, so that the verifier knows the values.
fn create(name: &str, map: &aya_obj::Map, elements: u32, flags: u32) -> io::Result<OwnedFd> {
    let sizes = (map.key_size(), map.value_size());
    let created =
        NewMap::new(map.map_type(), sizes, elements).flags(map.map_flags() | flags).with_name(name).create()?;
    if !map.data().is_empty() {
        // SAFETY: the parser gives the values of such a map the size of its data.
        unsafe { set(created.as_fd(), 0, map.data()) }?;
        freeze(created.as_fd())?;
    }
    Ok(created)
}

/// Loads a program. Retries if a signal interrupted the verifier, which then fails with EAGAIN
/// ([`do_check`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c)).
fn unless_interrupted(mut load: impl FnMut() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let mut loaded = load();
    for _ in 0..INTERRUPTIONS {
        if !loaded.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)) {
            break;
        }
        loaded = load();
    }
    loaded
}

const INTERRUPTIONS: u32 = 20;

fn bytes(code: &[bpf_insn]) -> &[u8] {
    // SAFETY: the structure is `repr(C)` with integers only, and has no padding: one byte twice, two bytes, four bytes.
    unsafe { std::slice::from_raw_parts(code.as_ptr().cast(), size_of_val(code)) }
}

const _: () = assert!(size_of::<bpf_insn>() == 8);

fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    const BPF_BTF_LOAD: libc::c_int = 18;
    let size = u32::try_from(btf.len()).unwrap_or(0);
    let mut attr = Bytes::zeroed().with64(0, btf.as_ptr() as u64).with32(16, size);
    // SAFETY: `attr` has the layout of `BPF_BTF_LOAD`. The BTF outlives the call.
    unsafe { bpf_fd(BPF_BTF_LOAD, &mut attr) }
}
