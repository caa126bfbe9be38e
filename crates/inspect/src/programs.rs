//! The programs, by id.

use super::sys::{self, Bytes, ObjectKind};
use foldhash::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracetui_events::bpf::NotScanned;
use tracetui_events::frame::host::{BpfMap, BpfProgram, BpfRuns};
use tracetui_events::limits;
use tracetui_host::btf::Btf;
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{KernelAddr, ProgId, Uid};
use tracetui_shared::time::BootNanos;

/// The length of the names of programs and maps in bytes, with the final NUL (`BPF_OBJ_NAME_LEN`).
const NAME_LEN: usize = 16;

/// The size of `struct bpf_func_info` in bytes: the offset of an instruction, and the id of a type.
const FUNC_INFO: usize = 8;

/// The maximum number of maps of a program (`MAX_USED_MAPS`).
const MAPS: usize = 64;

/// The offsets of `struct bpf_prog_info` that are used more than once.
mod at {
    pub(super) const XLATED_LEN: usize = 20;
    pub(super) const XLATED: usize = 32;
    pub(super) const MAPS_COUNT: usize = 52;
    pub(super) const MAPS: usize = 56;
    pub(super) const NAME: usize = 64;
    pub(super) const KSYMS_COUNT: usize = 104;
    pub(super) const BTF: usize = 128;
    pub(super) const FUNC_INFO_COUNT: usize = 144;
}

pub(super) struct Read {
    pub(super) facts: BpfProgram,
    pub(super) runs: BpfRuns,
    /// The name as loaded, without BTF.
    pub(super) loaded_as: Vec<u8>,
    /// The BTF with the function that the program attaches to. 0 if that function is in a program, or there is none.
    pub(super) attach_btf_obj: u32,
    pub(super) attach_btf: u32,
    pub(super) called: Result<Called, NotScanned>,
}

/// Reads programs. Keeps the buffers and the names in BTFs from one program to the next.
#[derive(Default)]
pub(super) struct ProgramReader {
    instructions: Vec<u64>,
    /// The names of functions with more than 15 bytes, by BTF and type.
    names: HashMap<(u32, u32), Vec<u8>>,
    /// The maps of the programs, by id. Programs share maps.
    maps: HashMap<u32, BpfMap>,
}

impl ProgramReader {
    pub(super) fn read(&mut self, id: ProgId) -> io::Result<Option<Read>> {
        sys::open(ObjectKind::Program, id.0)?.map(|fd| self.of(&fd, id)).transpose()
    }

    fn of(&mut self, fd: &OwnedFd, id: ProgId) -> io::Result<Read> {
        let first = sys::info(fd.as_fd())?;
        let mut addr = 0u64;
        let mut function = [0u32; FUNC_INFO / 4];
        let mut maps = [0u32; MAPS];
        let mut info = Bytes::zeroed();
        if first.u32(at::KSYMS_COUNT) > 0 {
            info.set32(at::KSYMS_COUNT, 1);
            // `jited_ksyms`
            info.set64(112, &raw mut addr as u64);
        }
        let maps_count = (first.u32(at::MAPS_COUNT) as usize).min(MAPS);
        if maps_count > 0 {
            info.set32(at::MAPS_COUNT, maps_count as u32);
            info.set64(at::MAPS, maps.as_mut_ptr() as u64);
        }
        // Only a program with a cut name gets a buffer for its name. The kernel would refuse a size without a count.
        let name_is_cut = first.0[at::NAME..at::NAME + NAME_LEN - 1].iter().all(|byte| *byte != 0);
        let asks_for_name = name_is_cut && first.u32(at::BTF) != 0 && first.u32(at::FUNC_INFO_COUNT) > 0;
        if asks_for_name {
            // `func_info_rec_size`, `func_info`
            info.set32(132, FUNC_INFO as u32);
            info.set64(136, function.as_mut_ptr() as u64);
            info.set32(at::FUNC_INFO_COUNT, 1);
        }
        let wanted = first.u32(at::XLATED_LEN) as usize / 8;
        let scanned = wanted > 0 && wanted <= limits::BPF_INSTRUCTIONS;
        if scanned {
            self.instructions.clear();
            self.instructions.resize(wanted, 0);
            info.set32(at::XLATED_LEN, (wanted * 8) as u32);
            info.set64(at::XLATED, self.instructions.as_mut_ptr() as u64);
        }
        // SAFETY: the address and the arrays are live and writable, and have the lengths that `info` says: one address,
        // `maps_count` ids, one function, `wanted` instructions.
        unsafe { sys::info_into(fd.as_fd(), &mut info) }?;
        // The kernel clears the address of data that it withholds.
        let called = match scanned {
            true if info.u64(at::XLATED) != 0 => Ok(called(&self.instructions)),
            false if wanted > 0 => Err(NotScanned::TooLong),
            _ => Err(NotScanned::Withheld),
        };
        let loaded_as = name_at(&info, at::NAME);
        let mut name = loaded_as.clone();
        if asks_for_name && let Some(full) = self.name(info.u32(at::BTF), function[1]) {
            name = full;
        }
        let facts = BpfProgram {
            id,
            prog_type: info.u32(0),
            name,
            tag: u64::from_be(info.u64(8)),
            uid: Uid(info.u32(48)),
            loaded: BootNanos(info.u64(40)),
            jited_len: first.u32(16),
            xlated_len: first.u32(at::XLATED_LEN),
            addr: KernelAddr(addr),
            maps: maps.iter().take(maps_count).filter_map(|id| self.map(*id)).collect(),
            ..BpfProgram::default()
        };
        let (attach_btf_obj, attach_btf) = (info.u32(220), info.u32(224));
        Ok(Read { facts, runs: runs_in(&info, id), loaded_as, attach_btf_obj, attach_btf, called })
    }

    /// A map. `None` if it was removed or cannot be read.
    fn map(&mut self, id: u32) -> Option<BpfMap> {
        if let Some(map) = self.maps.get(&id) {
            return Some(map.clone());
        }
        let info = sys::info(sys::open(ObjectKind::Map, id).ok()??.as_fd()).ok()?;
        let (map_type, max_entries) = (info.u32(map_at::TYPE), info.u32(map_at::MAX_ENTRIES));
        let map = BpfMap { id, map_type, name: name_at(&info, map_at::NAME), max_entries };
        if self.maps.len() >= limits::BPF_PROGRAMS {
            self.maps.clear();
        }
        self.maps.insert(id, map.clone());
        Some(map)
    }

    /// The name of a function in a program's BTF. The kernel may change it at the load, so a BTF is read once.
    fn name(&mut self, btf: u32, function: u32) -> Option<Vec<u8>> {
        if let Some(name) = self.names.get(&(btf, function)) {
            return Some(name.clone());
        }
        let name = btf_of(btf)?.name_of(function).map(<[u8]>::to_vec)?;
        if self.names.len() < limits::BPF_PROGRAMS {
            self.names.insert((btf, function), name.clone());
        }
        Some(name)
    }
}

pub fn counters(id: ProgId) -> Option<BpfRuns> {
    let fd = sys::open(ObjectKind::Program, id.0).ok()??;
    Some(runs_in(&sys::info(fd.as_fd()).ok()?, id))
}

fn runs_in(info: &Bytes, id: ProgId) -> BpfRuns {
    BpfRuns { id, count: info.u64(200), time: info.u64(192), skipped: info.u64(208) }
}

/// The offsets of `struct bpf_map_info`.
pub(super) mod map_at {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const VALUE_SIZE: usize = 12;
    pub(crate) const MAX_ENTRIES: usize = 16;
    pub(crate) const NAME: usize = 24;
    pub(crate) const VALUE_TYPE: usize = 44;
}

/// The name and the id of a map, or the id alone.
pub(super) fn map_name(id: u32) -> Vec<u8> {
    let info = sys::open(ObjectKind::Map, id).ok().flatten().and_then(|fd| sys::info(fd.as_fd()).ok());
    let mut text = info.map(|info| name_at(&info, map_at::NAME)).unwrap_or_default();
    text.extend_from_slice(format!("{}map {id}", if text.is_empty() { "" } else { " " }).as_bytes());
    text
}

fn name_at(info: &Bytes, at: usize) -> Vec<u8> {
    until_nul(&info.0[at..at + NAME_LEN]).to_vec()
}

/// BPF_JMP | BPF_CALL.
pub(super) const CALL: u8 = 0x85;

/// The source register of a call of a function of the kernel (`BPF_PSEUDO_KFUNC_CALL`); 0 for a helper.
const KFUNC: u8 = 2;

/// The maximum number of kfuncs of a program that are named. The kernel allows as many (`MAX_KFUNC_DESCS`).
const KFUNCS: usize = 256;

/// What the instructions of a program call: distances from `__bpf_call_base`, each once.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Called {
    pub(super) helpers: Vec<i32>,
    pub(super) kfuncs: Vec<i32>,
}

/// A 64-bit load has two instructions. The code of the second one is 0, so it is never mistaken for a call.
pub(super) fn called(instructions: &[u64]) -> Called {
    let calls = |word: &u64, source: u8| {
        let [code, registers, ..] = word.to_ne_bytes();
        code == CALL && registers >> 4 == source
    };
    let distance = |word: &u64| {
        let [.., a, b, c, d] = word.to_ne_bytes();
        i32::from_ne_bytes([a, b, c, d])
    };
    let [helpers, mut kfuncs] = [0, KFUNC].map(|source| {
        let mut all: Vec<_> = instructions.iter().filter(|word| calls(word, source)).map(distance).collect();
        all.sort_unstable();
        all.dedup();
        all
    });
    kfuncs.truncate(KFUNCS);
    Called { helpers, kfuncs }
}

pub(super) fn instructions(fd: BorrowedFd<'_>) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; sys::info(fd)?.u32(at::XLATED_LEN) as usize];
    sys::info_with(fd, [at::XLATED, at::XLATED_LEN], &mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}

/// The offsets of `struct bpf_btf_info`: data, its length, id.
const BTF_SIZE: usize = 8;

/// The BTF with an id. `None` if it is too large, a module's, or removed.
pub(super) fn btf_of(id: u32) -> Option<Btf> {
    let fd = sys::open(ObjectKind::Btf, id).ok()??;
    let size = sys::info(fd.as_fd()).ok()?.u32(BTF_SIZE) as usize;
    let mut data = vec![0; Some(size).filter(|size| *size <= limits::BPF_BTF)?];
    sys::info_with(fd.as_fd(), [0, BTF_SIZE], &mut data).ok()?;
    Btf::parse(data).ok()
}

/// The name of a kernel BTF (`vmlinux`, or a module). `None` for a program's BTF.
pub(super) fn kernel_btf_name(id: u32) -> Option<Vec<u8>> {
    let fd = sys::open(ObjectKind::Btf, id).ok()??;
    let mut name = [0u8; 64];
    let info = sys::info_with(fd.as_fd(), [16, 24], &mut name).ok()?;
    let is_kernel = info.u32(28) != 0;
    is_kernel.then(|| until_nul(&name).to_vec())
}
