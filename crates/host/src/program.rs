//! Loads programs: those of the probe object, and small ones that query the kernel.

use super::bpf::{Bytes, TRACE_ITER, bpf, bpf_fd};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

/// An instruction: code, registers (source in the high four bits, destination in the low ones), offset, immediate.
pub type Instruction = (u8, u8, i16, i32);

/// The attach target of a program. The numbers are ids in the kernel's own BTF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramKind {
    /// A tracepoint, with untyped arguments.
    RawTracepoint,
    /// A tracepoint, with typed arguments: the typedef `btf_trace_NAME`.
    BtfTracepoint(u32),
    Tracepoint,
    /// The entry or the return of several functions (`BPF_TRACE_KPROBE_MULTI`).
    Functions,
    /// The return of a function (fexit).
    Exit(u32),
    /// An iterator: the function `bpf_iter_NAME`.
    Iterator(u32),
    /// A program that bpf(2) runs, and that may sleep.
    Syscall,
    /// The filter of a socket (`SO_ATTACH_BPF`).
    SocketFilter,
}

impl ProgramKind {
    /// `enum bpf_prog_type`, `enum bpf_attach_type` (UAPI), and the id.
    fn numbers(self) -> (u32, u32, u32) {
        const SOCKET_FILTER: u32 = 1;
        const KPROBE: u32 = 2;
        const TRACEPOINT: u32 = 5;
        const RAW_TRACEPOINT: u32 = 17;
        const TRACING: u32 = 26;
        const TRACE_RAW_TP: u32 = 23;
        const TRACE_FEXIT: u32 = 25;
        const TRACE_KPROBE_MULTI: u32 = 42;
        const SYSCALL: u32 = 31;
        match self {
            ProgramKind::RawTracepoint => (RAW_TRACEPOINT, 0, 0),
            ProgramKind::BtfTracepoint(id) => (TRACING, TRACE_RAW_TP, id),
            ProgramKind::Tracepoint => (TRACEPOINT, 0, 0),
            ProgramKind::Functions => (KPROBE, TRACE_KPROBE_MULTI, 0),
            ProgramKind::Exit(id) => (TRACING, TRACE_FEXIT, id),
            ProgramKind::Iterator(id) => (TRACING, TRACE_ITER, id),
            ProgramKind::Syscall => (SYSCALL, 0, 0),
            ProgramKind::SocketFilter => (SOCKET_FILTER, 0, 0),
        }
    }

    /// `prog_flags` (UAPI).
    fn flags(self) -> u32 {
        const SLEEPABLE: u32 = 1 << 4;
        if self == ProgramKind::Syscall { SLEEPABLE } else { 0 }
    }
}

pub struct NewProgram<'a> {
    /// The name. The kernel keeps at most 15 bytes. Other tools, and other copies of tracetui, list it.
    pub name: &'a str,
    pub kind: ProgramKind,
    /// The instructions, 8 bytes each.
    pub code: &'a [u8],
    /// A BTF, and the `struct bpf_func_info` of the program and the functions that it calls.
    pub functions: Option<(BorrowedFd<'a>, &'a [u8])>,
}

/// The `BPF_PROG_LOAD` member of `union bpf_attr`, up to `attach_btf_id`.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
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
    prog_btf_fd: i32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

const _: () = assert!(std::mem::offset_of!(LoadAttr, attach_btf_id) == 108);

impl NewProgram<'_> {
    /// Loads the program. If `log` is not empty, the verifier writes to it.
    pub fn load(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        const BPF_PROG_LOAD: libc::c_int = 5;
        const INSTRUCTION: usize = 8;
        /// `struct bpf_func_info`.
        const INFO: usize = 8;
        let count = |bytes: &[u8], size| u32::try_from(bytes.len() / size).unwrap_or(0);
        let (prog_type, expected_attach_type, attach_btf_id) = self.kind.numbers();
        let mut attr = LoadAttr {
            prog_type,
            insn_cnt: count(self.code, INSTRUCTION),
            insns: self.code.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            prog_flags: self.kind.flags(),
            expected_attach_type,
            attach_btf_id,
            ..LoadAttr::default()
        };
        // Leave a NUL at the end.
        attr.prog_name[..15].iter_mut().zip(self.name.bytes()).for_each(|(to, byte)| *to = byte);
        if let Some((btf, functions)) = self.functions {
            attr.prog_btf_fd = btf.as_raw_fd();
            attr.func_info_rec_size = INFO as u32;
            (attr.func_info, attr.func_info_cnt) = (functions.as_ptr() as u64, count(functions, INFO));
        }
        if !log.is_empty() {
            attr.log_level = 1;
            (attr.log_buf, attr.log_size) = (log.as_mut_ptr() as u64, u32::try_from(log.len()).unwrap_or(u32::MAX));
        }
        // SAFETY: `attr` has the layout of the `BPF_PROG_LOAD` member. The memory that it points to outlives the call, and has the
        // lengths in `attr`; `log` is writable.
        unsafe { bpf_fd(BPF_PROG_LOAD, &mut attr) }
    }
}

/// Runs a program once, in the calling thread, and returns its result. A program of type syscall may change the
/// context. Makes only one system call, so it is safe after a fork.
/// Fails before 5.10.
pub(super) fn run(program: RawFd, context: &mut [u64]) -> io::Result<u32> {
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    let program = u32::try_from(program).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut attr = Bytes::zeroed().with32(0, program);
    attr.set32(40, u32::try_from(size_of_val(context)).map_err(|_| io::ErrorKind::InvalidInput)?);
    attr.set64(48, if context.is_empty() { 0 } else { context.as_mut_ptr() as u64 });
    // SAFETY: the context is live, writable, and has the length in `attr`. There is no other address.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }.map(|_| attr.u32(4))
}

/// Loads a raw tracepoint program, which is never attached.
pub fn load(name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    load_as(name, program, ProgramKind::RawTracepoint)
}

pub fn load_as(name: &str, program: &[Instruction], kind: ProgramKind) -> io::Result<OwnedFd> {
    let bytes = |(code, registers, offset, immediate): &Instruction| {
        let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
        [*code, *registers, a, b, c, d, e, f]
    };
    let code: Vec<u8> = program.iter().flat_map(bytes).collect();
    NewProgram { name, kind, code: &code, functions: None }.load(&mut [])
}

/// Raises RLIMIT_MEMLOCK, against which maps count before 5.11. Later kernels do not need this, so errors are ignored.
pub fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}
