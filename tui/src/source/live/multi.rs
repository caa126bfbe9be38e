//! Programs at function entry and return: type kprobe, attached to many functions by one link
//! (`BPF_TRACE_KPROBE_MULTI`, 5.18+, CONFIG_FPROBE).
//!
//! aya 0.14 supports neither this attach type nor such links, so both use raw system calls. The object and the maps are
//! those of aya.

use super::call::{bpf, unless_interrupted};
use super::load::Failure;
use super::loss;
use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// The place in a function where a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    Entry,
    Return,
}

impl At {
    /// The name in bpf tools.
    pub(super) fn name(self) -> &'static str {
        match self {
            At::Entry => "kprobe.multi",
            At::Return => "kretprobe.multi",
        }
    }
}

/// The object and its maps, from which programs for functions are loaded.
pub(super) struct Functions<'a> {
    bytes: &'a [u8],
    maps: Vec<(String, OwnedFd)>,
    /// The parsed object; parsed at the first use.
    object: OnceLock<Result<Object, String>>,
}

/// The maximum size of the verifier's log in bytes.
const LOG: usize = 1 << 20;

impl<'a> Functions<'a> {
    /// Duplicates the descriptors of the maps, before the maps are taken out of the object.
    pub(super) fn of(object: &Ebpf, bytes: &'a [u8]) -> Functions<'a> {
        let maps = object.maps().filter_map(|(name, map)| {
            let fd = data(map)?.fd().as_fd().try_clone_to_owned().ok()?;
            Some((name.to_string(), fd))
        });
        Functions { bytes, maps: maps.collect(), object: OnceLock::new() }
    }

    /// Loads a program.
    ///
    /// # Errors
    /// If the kernel rejects it, with the verifier's log.
    pub(super) fn load(&self, name: &str) -> Result<OwnedFd, (io::Error, String)> {
        let code = self.code(name).map_err(|why| (io::Error::other(why), String::new()))?;
        let mut log = Vec::new();
        unless_interrupted(|| prog_load(name, code, &mut log)).or_else(|_| {
            // A second attempt, with a buffer for the verifier's log.
            log.resize(LOG, 0);
            let result = prog_load(name, code, &mut log);
            let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
            result.map_err(|error| (error, String::from_utf8_lossy(text).into_owned()))
        })
    }

    /// The instructions of a program and the functions that it calls, with the descriptors of the maps.
    fn code(&self, name: &str) -> Result<&[bpf_insn], String> {
        let object = self.object.get_or_init(|| self.relocated().map_err(|error| error.to_string())).as_ref()?;
        let program = object.programs.get(name).ok_or("the object has no such program")?;
        let function = object.functions.get(&program.function_key()).ok_or("the program has no instructions")?;
        Ok(&function.instructions)
    }

    fn relocated(&self) -> Result<Object, Box<dyn std::error::Error>> {
        let mut object = Object::parse(self.bytes)?;
        let maps: Vec<_> = object.maps.drain().collect();
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let fd_of = |wanted: &str| self.maps.iter().find(|(name, _)| name == wanted).map(|(_, fd)| fd.as_raw_fd());
        object
            .relocate_maps(maps.iter().filter_map(|(name, map)| Some((name.as_str(), fd_of(name)?, map))), &sections)?;
        object.relocate_calls(&sections)?;
        Ok(object)
    }

    /// Attaches a program to functions; closing the link detaches it.
    pub(super) fn attach(program: &OwnedFd, at: At, functions: &[&str]) -> Result<OwnedFd, Failure> {
        let names: Vec<CString> = functions.iter().filter_map(|name| CString::new(*name).ok()).collect();
        let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
        let attr = LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_fd: 0,
            attach_type: BPF_TRACE_KPROBE_MULTI,
            flags: 0,
            multi_flags: if at == At::Return { BPF_F_KPROBE_MULTI_RETURN } else { 0 },
            count: u32::try_from(pointers.len()).unwrap_or_default(),
            symbols: pointers.as_ptr() as u64,
            addresses: 0,
            cookies: 0,
        };
        // SAFETY: `attr` has the layout of `BPF_LINK_CREATE`. The names and the array of pointers to them outlive the
        // call.
        unsafe { bpf(BPF_LINK_CREATE, &attr) }.map_err(|error| {
            let none = error.raw_os_error() == Some(libc::EOPNOTSUPP);
            let why = format!("{} link: {error}", at.name());
            Failure { why, remedy: none.then(|| "boot a kernel with CONFIG_FPROBE=y (5.18 or later)".to_string()) }
        })
    }
}

/// The number of calls that a link missed (`fprobe.nmissed`, 6.7+,
/// [kernel/trace/fprobe.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/fprobe.c)): the kernel had no
/// memory to track the return of the function. It does not include skipped programs, which have their own counters.
pub(super) fn missed(link: &OwnedFd) -> u64 {
    let mut info = MultiInfo::default();
    loss::info(link, &mut info);
    info.missed
}

/// `struct bpf_link_info` with `kprobe_multi` up to `missed` (UAPI).
#[repr(C)]
#[derive(Default)]
struct MultiInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    reserved: u32,
    addrs: u64,
    count: u32,
    flags: u32,
    missed: u64,
}

const _: () = assert!(std::mem::offset_of!(MultiInfo, missed) == 32);

/// The map data of the types of maps that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

// `enum bpf_cmd`, `enum bpf_prog_type`, `enum bpf_attach_type` (UAPI).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_TRACE_KPROBE_MULTI: u32 = 42;
const BPF_F_KPROBE_MULTI_RETURN: u32 = 1;

/// `union bpf_attr` of `BPF_PROG_LOAD` up to `expected_attach_type` (UAPI).
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

const _: () = assert!(std::mem::offset_of!(ProgLoad, expected_attach_type) == 68);

/// `union bpf_attr` of `BPF_LINK_CREATE` with `kprobe_multi` (UAPI).
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    multi_flags: u32,
    count: u32,
    symbols: u64,
    addresses: u64,
    cookies: u64,
}

const _: () = assert!(std::mem::offset_of!(LinkCreate, symbols) == 24);

/// Loads instructions as a program for functions. The verifier writes to `log` if `log` is not empty.
fn prog_load(name: &str, code: &[bpf_insn], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut prog_name = [0; 16];
    prog_name.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_KPROBE,
        insn_cnt: u32::try_from(code.len()).unwrap_or_default(),
        insns: code.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).unwrap_or_default(),
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
        prog_ifindex: 0,
        expected_attach_type: BPF_TRACE_KPROBE_MULTI,
    };
    // SAFETY: `attr` has the layout of `BPF_PROG_LOAD`. The instructions, the license and `log` outlive the call.
    unsafe { bpf(BPF_PROG_LOAD, &attr) }
}
