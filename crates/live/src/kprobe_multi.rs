//! Programs at the entry and the return of functions, attached to many functions by one link (`BPF_TRACE_KPROBE_MULTI`,
//! 5.18+, CONFIG_FPROBE).

use super::load::Failure;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use tracetui_host::bpf::{Bytes, bpf_fd, info, number};

/// Attaches a program to the entries or the returns of functions; closing the link detaches it.
pub(super) fn attach(program: &OwnedFd, returns: bool, functions: &[&str]) -> Result<OwnedFd, Failure> {
    let names: Vec<CString> = functions.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    let mut attr = Bytes::zeroed().with32(0, number(program)).with32(8, BPF_TRACE_KPROBE_MULTI);
    attr = attr.with32(16, if returns { BPF_F_KPROBE_MULTI_RETURN } else { 0 });
    attr = attr.with32(20, u32::try_from(pointers.len()).unwrap_or_default()).with64(24, pointers.as_ptr() as u64);
    // SAFETY: `attr` has the layout of `BPF_LINK_CREATE`. The names and the array of pointers to them outlive the
    // call.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }.map_err(|error| {
        let none = error.raw_os_error() == Some(libc::EOPNOTSUPP);
        let why = format!("k{}probe.multi link: {error}", if returns { "ret" } else { "" });
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
