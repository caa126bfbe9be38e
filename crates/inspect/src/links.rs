//! The links, by id: `struct bpf_link_info`. Kernels before 6.6 do not name the target of a link to a perf event, and
//! report zeros.

use super::programs::{Read, btf_of, kernel_btf_name, map_name};
use super::sys::{self, Bytes, ObjectKind};
use foldhash::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tracetui_events::bpf::place::{self, AttachPoint};
use tracetui_events::bpf::{Hook, XDP};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_host::bpf::TRACE_ITER;
use tracetui_host::btf::Btf;
use tracetui_host::{decimal, read_bounded};
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid};
use tracetui_shared::record::bpf::link_type;

/// BPF_PROG_TYPE_RAW_TRACEPOINT and its variant that may write.
const RAW_TRACEPOINT: u32 = 17;
const RAW_TRACEPOINT_WRITABLE: u32 = 24;
const EXT: u32 = 28;
const TRACE_RAW_TP: u32 = 23;
/// BPF_F_KPROBE_MULTI_RETURN, and BPF_F_UPROBE_MULTI_RETURN.
const MULTI_RETURN: u32 = 1;

/// The maximum size of a target's name or path in bytes.
const TEXT: usize = libc::PATH_MAX as usize;

pub(super) struct LookupTables<'a> {
    pub(super) programs: &'a HashMap<u32, Read>,
    pub(super) cgroups: &'a HashMap<u64, Vec<u8>>,
    pub(super) types: &'a mut Types,
}

/// The kernel's own types. They are read at the first lookup of a function's name, and kept.
#[derive(Default)]
pub(super) struct Types {
    vmlinux: Option<Option<Btf>>,
    objects: HashMap<u32, Option<Vec<u8>>>,
}

impl Types {
    /// The name of a function and its module (empty for the kernel itself).
    fn function(&mut self, object: u32, id: u32) -> Option<(Vec<u8>, Vec<u8>)> {
        let object = self.objects.entry(object).or_insert_with(|| kernel_btf_name(object)).clone()?;
        if object != b"vmlinux" {
            // The types of a module extend the kernel's types. Names cannot be looked up in the former alone.
            return Some((Vec::new(), object));
        }
        Some((self.vmlinux()?.name_of(id)?.to_vec(), Vec::new()))
    }

    fn vmlinux(&mut self) -> Option<&Btf> {
        self.vmlinux.get_or_insert_with(|| Btf::running().ok()).as_ref()
    }

    /// The functions in the value of a struct_ops map, by the type of the value: offsets in bytes, and names.
    pub(super) fn callbacks(&mut self, value: u32) -> Vec<(u32, Vec<u8>)> {
        let named = |(at, name): (u32, &[u8])| (at, name.to_vec());
        self.vmlinux().map_or_else(Vec::new, |btf| btf.callbacks(value).into_iter().map(named).collect())
    }
}

pub(super) fn read(id: LinkId, names: &mut LookupTables<'_>) -> io::Result<Option<BpfAttachment>> {
    sys::open(ObjectKind::Link, id.0)?.map(|fd| of(&fd, names)).transpose()
}

fn of(fd: &OwnedFd, names: &mut LookupTables<'_>) -> io::Result<BpfAttachment> {
    let first = sys::info(fd.as_fd())?;
    let (link_type, id, program) = (first.u32(0), LinkId(first.u32(4)), ProgId(first.u32(8)));
    let mut facts = BpfAttachment { program, link: id, link_type, ..BpfAttachment::default() };
    let text = |at: usize| text(fd, at).unwrap_or((first, Vec::new()));
    match link_type {
        link_type::RAW_TRACEPOINT => {
            let (_, name) = text(16);
            facts.hook = Hook::RawTracepoint;
            facts.cookie = Some(first.u64(32)).filter(|cookie| *cookie != 0);
            facts.target = name;
            // This is a BTF tracepoint that was opened like a raw one.
            if !matches!(names.prog_type(program), Some(RAW_TRACEPOINT | RAW_TRACEPOINT_WRITABLE) | None) {
                facts.hook = Hook::Type(TRACE_RAW_TP);
            }
        }
        link_type::TRACING => tracing(&first, names, &mut facts),
        link_type::TRACING_MULTI => {
            facts.hook = Hook::Type(first.u32(16));
            facts.multi = Some(first.u32(20));
        }
        link_type::CGROUP => {
            facts.hook = Hook::Type(first.u32(24));
            facts.detached = first.u64(16) == 0;
            facts.target = cgroup_path(names.cgroups, first.u64(16));
        }
        link_type::ITER => {
            facts.hook = Hook::Type(TRACE_ITER);
            facts.target = text(16).1;
        }
        link_type::NETNS => {
            facts.hook = Hook::Type(first.u32(20));
            facts.detached = first.u32(16) == 0;
            facts.netns = Some(NsInum(first.u32(16)));
            facts.target = AttachPoint::Netns(first.u32(16)).to_string().into_bytes();
        }
        link_type::XDP => {
            facts.hook = Hook::Type(XDP);
            facts.detached = first.u32(16) == 0;
            facts.ifindex = Some(first.u32(16));
        }
        link_type::TCX | link_type::NETKIT => {
            facts.hook = Hook::Type(first.u32(20));
            facts.detached = first.u32(16) == 0;
            facts.ifindex = Some(first.u32(16));
        }
        link_type::PERF_EVENT => {
            let (info, name) = text(24);
            perf(&info, name, &mut facts);
        }
        link_type::KPROBE_MULTI => {
            let returns = first.u32(28) & MULTI_RETURN != 0;
            facts.hook = if returns { Hook::Kretprobe } else { Hook::Kprobe };
            facts.multi = Some(first.u32(24));
            facts.missed = Some(first.u64(32));
            facts.addr = first_address(fd, first.u32(24));
        }
        link_type::UPROBE_MULTI => {
            // The length of the path is at another offset.
            let (info, path, offset) = uprobe_multi(fd).unwrap_or((first, Vec::new(), None));
            let returns = info.u32(56) & MULTI_RETURN != 0;
            facts.hook = if returns { Hook::Uretprobe } else { Hook::Uprobe };
            facts.multi = Some(first.u32(52));
            facts.only = Some(Tgid(info.u32(60))).filter(|pid| pid.0 != 0);
            (facts.target, facts.offset) = (path, offset);
        }
        link_type::STRUCT_OPS => {
            facts.hook = Hook::StructOps;
            facts.detached = first.u32(16) == 0;
            facts.map = Some(first.u32(16)).filter(|map| *map != 0);
            facts.target = map_name(first.u32(16));
        }
        link_type::NETFILTER => {
            facts.hook = Hook::Netfilter;
            let (family, hook, priority) = (first.u32(16), first.u32(20), first.u32(24).cast_signed());
            facts.target = AttachPoint::Netfilter { family, hook, priority }.to_string().into_bytes();
        }
        link_type::SOCKMAP => {
            facts.hook = Hook::Type(first.u32(20));
            facts.detached = first.u32(16) == 0;
            facts.map = Some(first.u32(16)).filter(|map| *map != 0);
            facts.target = map_name(first.u32(16));
        }
        _ => {}
    }
    if facts.detached {
        (facts.target, facts.ifindex, facts.netns) = (Vec::new(), None, None);
    }
    Ok(facts)
}

impl LookupTables<'_> {
    fn prog_type(&self, program: ProgId) -> Option<u32> {
        self.programs.get(&program.0).map(|read| read.facts.prog_type)
    }
}

/// The information, with a text whose address and length are at `at`.
fn text(fd: &OwnedFd, at: usize) -> io::Result<(Bytes, Vec<u8>)> {
    let mut name = [0u8; TEXT];
    let info = sys::info_with(fd.as_fd(), [at, at + 8], &mut name)?;
    Ok((info, until_nul(&name).to_vec()))
}

/// Names a function by its type: a function of the kernel, of a module, or of another program.
fn tracing(info: &Bytes, names: &mut LookupTables<'_>, facts: &mut BpfAttachment) {
    let (attach_type, object, id) = (info.u32(16), info.u32(20), info.u32(24));
    let replaces = names.prog_type(facts.program) == Some(EXT);
    facts.hook = if replaces { Hook::Freplace } else { Hook::Type(attach_type) };
    facts.cookie = Some(info.u64(32)).filter(|cookie| *cookie != 0);
    // The object is a BTF of the kernel, or a program. Only the attached program shows which.
    let of_kernel = names.programs.get(&facts.program.0).map(|read| (read.attach_btf_obj, read.attach_btf));
    if !replaces && of_kernel.is_some_and(|(btf, function)| btf == object && function == id) {
        if let Some((symbol, module)) = names.types.function(object, id) {
            facts.target = symbol.clone();
            (facts.symbol, facts.module) = (symbol, module);
        }
        return;
    }
    let Some(target) = names.programs.get(&object) else { return };
    facts.target = target.facts.name.clone();
    facts.module = format!("prog {object}").into_bytes();
    let function = super::sys::open(ObjectKind::Program, object).ok().flatten();
    let btf = function.and_then(|fd| sys::info(fd.as_fd()).ok()).map(|info| info.u32(128));
    let name = btf.and_then(btf_of).and_then(|btf| btf.name_of(id).map(<[u8]>::to_vec));
    facts.symbol = name.unwrap_or_default();
}

/// Fills in the facts of a link to a perf event, by its `BPF_PERF_EVENT_*`.
fn perf(info: &Bytes, name: Vec<u8>, facts: &mut BpfAttachment) {
    let offset = Some(u64::from(info.u32(36)));
    let cookie = |at: usize| Some(info.u64(at)).filter(|cookie| *cookie != 0);
    match info.u32(16) {
        kind @ (1 | 2) => {
            facts.hook = if kind == 1 { Hook::Uprobe } else { Hook::Uretprobe };
            (facts.target, facts.offset, facts.cookie) = (name, offset, cookie(40));
        }
        kind @ (3 | 4) => {
            facts.hook = if kind == 3 { Hook::Kprobe } else { Hook::Kretprobe };
            (facts.target, facts.symbol, facts.offset) = (name.clone(), name, offset);
            facts.addr = KernelAddr(info.u64(40));
            (facts.missed, facts.cookie) = (Some(info.u64(48)), cookie(56));
        }
        5 => {
            facts.hook = Hook::Tracepoint;
            (facts.target, facts.cookie) = (name, cookie(40));
        }
        6 => {
            facts.hook = Hook::PerfEvent;
            (facts.target, facts.cookie) = (event_name(info.u32(32), info.u64(24)), cookie(40));
        }
        _ => {}
    }
}

pub(super) fn event_name(event_type: u32, config: u64) -> Vec<u8> {
    let of_pmu = || match (pmu_name(event_type), event_type, config) {
        (Some(pmu), ..) => format!("{pmu} config {config:#x}"),
        // These two have their own units (6.5+), which are registered first and without names.
        (None, 6, 0) => "cpu-clock".to_owned(),
        (None, 7, 1) => "task-clock".to_owned(),
        _ => format!("type {event_type} config {config:#x}"),
    };
    place::perf_event(event_type, config).map_or_else(of_pmu, str::to_owned).into_bytes()
}

fn pmu_name(event_type: u32) -> Option<String> {
    let mut units = fs::read_dir("/sys/bus/event_source/devices").ok()?.flatten();
    let has_type = |dir: &fs::DirEntry| {
        let text = read_bounded(dir.path().join("type"), 16).unwrap_or_default();
        decimal(text.trim_ascii()) == Some(event_type)
    };
    units.find(has_type)?.file_name().into_string().ok()
}

/// The first address of a link with several; 0 if the kernel hides it.
fn first_address(fd: &OwnedFd, count: u32) -> KernelAddr {
    if count == 0 {
        return KernelAddr(0);
    }
    let mut addr = 0u64;
    let mut info = Bytes::zeroed();
    info.set64(16, (&raw mut addr) as u64);
    info.set32(24, 1);
    // SAFETY: `addr` is live and writable, and is the one element that `info` says.
    let read = unsafe { sys::info_into(fd.as_fd(), &mut info) };
    // ENOSPC: there is more than one address.
    match read {
        Err(error) if error.raw_os_error() != Some(libc::ENOSPC) => KernelAddr(0),
        _ => KernelAddr(addr),
    }
}

/// The file and the first offset of a link with several. The kernel returns the path even if there are more offsets
/// than fit.
fn uprobe_multi(fd: &OwnedFd) -> io::Result<(Bytes, Vec<u8>, Option<u64>)> {
    let mut path = [0u8; TEXT];
    let ask = |offset: Option<&mut u64>, path: &mut [u8; TEXT]| {
        let mut info = Bytes::zeroed();
        info.set64(16, path.as_mut_ptr() as u64);
        info.set32(48, TEXT as u32);
        if let Some(offset) = offset {
            info.set64(24, std::ptr::from_mut(offset) as u64);
            info.set32(52, 1);
        }
        // SAFETY: the path and the offset are live and writable, and have the lengths that `info` says.
        let read = unsafe { sys::info_into(fd.as_fd(), &mut info) };
        read.map(|()| info)
    };
    let mut offset = 0u64;
    // ENOSPC: only the one offset was written.
    let some = match ask(Some(&mut offset), &mut path) {
        Err(error) if error.raw_os_error() != Some(libc::ENOSPC) => None,
        _ => Some(offset),
    };
    let info = ask(None, &mut path)?;
    Ok((info, until_nul(&path).to_vec(), some))
}

pub(super) fn cgroup_path(cgroups: &HashMap<u64, Vec<u8>>, id: u64) -> Vec<u8> {
    cgroups.get(&id).cloned().unwrap_or_else(|| format!("cgroup {id}").into_bytes())
}
