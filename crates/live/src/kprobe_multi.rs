//! Programs at the entry and the return of functions, attached to many functions by one link (`BPF_TRACE_KPROBE_MULTI`,
//! 5.18+, CONFIG_FPROBE).

use super::load::Failure;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use tracetui_host::bpf::{bpf_fd, info};

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

/// Attaches a program to functions; closing the link detaches it.
pub(super) fn attach(program: &OwnedFd, at: At, functions: &[&str]) -> Result<OwnedFd, Failure> {
    let names: Vec<CString> = functions.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    let mut attr = LinkCreate {
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
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }.map_err(|error| {
        let none = error.raw_os_error() == Some(libc::EOPNOTSUPP);
        let why = format!("{} link: {error}", at.name());
        Failure { why, remedy: none.then(|| "boot a kernel with CONFIG_FPROBE=y (5.18 or later)".to_string()) }
    })
}

/// The number of calls that a link missed (`fprobe.nmissed`, 6.7+,
/// [kernel/trace/fprobe.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/fprobe.c)): the kernel had no
/// memory to track the return of the function. It does not include skipped programs, which have their own counters.
pub(super) fn missed(link: &OwnedFd) -> u64 {
    // `struct bpf_link_info` with `kprobe_multi`.
    info(link).map_or(0, |info| info.u64(32))
}

// `enum bpf_cmd`, `enum bpf_attach_type` (UAPI).
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_TRACE_KPROBE_MULTI: u32 = 42;
const BPF_F_KPROBE_MULTI_RETURN: u32 = 1;

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
