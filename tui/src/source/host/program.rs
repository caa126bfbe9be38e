//! Small programs that query the kernel. They are not attached, except for iterators, which run when they are read.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// An instruction: code, registers (source in the high four bits, destination in the low ones), offset, immediate.
pub(super) type Instruction = (u8, u8, i16, i32);

/// BPF_TRACE_ITER, an attach type.
pub(super) const TRACE_ITER: u32 = 28;

/// The used start of the `BPF_PROG_LOAD` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    /// No log, kernel version or flags.
    log: [u32; 6],
    name: [u8; 16],
    /// No device.
    device: u32,
    attach_type: u32,
    /// No BTF of its own.
    btf: [u32; 9],
    /// The id of the function in the kernel's BTF.
    attach_to: u32,
}

/// Loads a program of the type raw tracepoint. `name` has at most 15 bytes; other tools, and other copies of tracetui, list it.
///
/// # Errors
/// If the kernel rejects it.
pub(super) fn load(name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
    load_as(name, program, LoadAttr { prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT, ..LoadAttr::default() })
}

/// Loads a program for an iterator: `function` is the id of `bpf_iter_NAME` in the kernel's BTF.
///
/// # Errors
/// If the kernel rejects it.
pub(super) fn load_iterator(name: &str, program: &[Instruction], function: u32) -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_TRACING: u32 = 26;
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_TRACING,
        attach_type: TRACE_ITER,
        attach_to: function,
        ..LoadAttr::default()
    };
    load_as(name, program, attr)
}

fn load_as(name: &str, program: &[Instruction], attr: LoadAttr) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|(code, registers, offset, immediate)| {
            let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
            [*code, *registers, a, b, c, d, e, f]
        })
        .collect();
    let mut attr = LoadAttr {
        count: u32::try_from(program.len()).unwrap_or(0),
        instructions: bytes.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..attr
    };
    // A NUL remains at the end.
    attr.name[..15].iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    // SAFETY: `attr` is live, has the layout of the `BPF_PROG_LOAD` member, and `size_of::<LoadAttr>()` is its size.
    // The instructions and the license outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: bpf(2) returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
