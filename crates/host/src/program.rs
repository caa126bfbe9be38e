//! Loads programs: those of the probe object, and small ones that query the kernel.

use super::bpf::{Bytes, TRACE_ITER, bpf, bpf_fd, number};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

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

impl NewProgram<'_> {
    /// Loads the program. If `log` is not empty, the verifier writes to it.
    pub fn load(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        const BPF_PROG_LOAD: libc::c_int = 5;
        const INSTRUCTION: usize = 8;
        /// `struct bpf_func_info`.
        const INFO: usize = 8;
        let count = |bytes: &[u8], size| u32::try_from(bytes.len() / size).unwrap_or(0);
        let (prog_type, expected_attach_type, attach_btf_id) = self.kind.numbers();
        let mut attr = Bytes::zeroed().with32(0, prog_type).with32(4, count(self.code, INSTRUCTION));
        attr = attr.with64(8, self.code.as_ptr() as u64).with64(16, c"Dual MIT/GPL".as_ptr() as u64);
        attr = attr.with32(44, self.kind.flags()).with32(68, expected_attach_type).with32(108, attach_btf_id);
        // `prog_name`. Leave a NUL at the end.
        attr.0[48..63].iter_mut().zip(self.name.bytes()).for_each(|(to, byte)| *to = byte);
        if let Some((btf, functions)) = self.functions {
            attr = attr.with32(72, number(btf)).with32(76, INFO as u32);
            attr = attr.with64(80, functions.as_ptr() as u64).with32(88, count(functions, INFO));
        }
        if !log.is_empty() {
            let size = u32::try_from(log.len()).unwrap_or(u32::MAX);
            attr = attr.with32(24, 1).with32(28, size).with64(32, log.as_mut_ptr() as u64);
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
