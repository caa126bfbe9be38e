//! Whether the kernel lets programs read its memory, asked of the kernel itself: /sys/kernel/security/lockdown tells only
//! where securityfs is mounted, which in containers it is not.

use std::os::fd::{FromRawFd, OwnedFd};

/// Whether programs that read the kernel's memory are refused, as they are under `lockdown=confidentiality`. `None` when
/// no program at all may be loaded: then that tells nothing.
pub fn reads_are_refused() -> Option<bool> {
    loads(&DOES_NOTHING).then(|| !loads(&READS))
}

/// An instruction: code, registers (source and destination), offset, immediate.
type Instruction = (u8, u8, i16, i32);

const RETURN: [Instruction; 2] = [(0xb7, 0, 0, 0), (0x95, 0, 0, 0)];
/// `return 0`.
const DOES_NOTHING: [Instruction; 2] = RETURN;
/// `bpf_probe_read_kernel(r10 - 8, 8, 0)`, then `return 0`.
const READS: [Instruction; 7] =
    [(0xbf, 0xa1, 0, 0), (0x07, 1, 0, -8), (0xb7, 2, 0, 8), (0xb7, 3, 0, 0), (0x85, 0, 0, 113), RETURN[0], RETURN[1]];

/// The `BPF_PROG_LOAD` member of `union bpf_attr`, as far as it is used.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    /// Log, kernel version, flags: none.
    rest: [u32; 6],
}

/// Whether the kernel takes a program, which is dropped at once.
fn loads(program: &[Instruction]) -> bool {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|(code, registers, offset, immediate)| {
            let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
            [*code, *registers, a, b, c, d, e, f]
        })
        .collect();
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        count: u32::try_from(program.len()).unwrap_or(0),
        instructions: bytes.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        rest: [0; 6],
    };
    // SAFETY: `attr` is as the command wants it; the instructions and the license live through the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    let Some(fd) = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0) else { return false };
    // SAFETY: a descriptor that the kernel has just given, and nobody else knows of.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}
