//! Long loops on kernels where the verifier walks through every turn of a loop (before 6.9; see
//! [`may_turn`](crate::read::may_turn)).
//!
//! A global function is checked by itself and once, however often it is called. So a loop that calls a function that loops
//! has the product of their turns, and the verifier walks through the sum. Such a function takes and gives numbers only:
//! what it works on lies in maps.
//!
//! What makes a function global is BTF that says so, and then the programs that call it need some too. Ours says only that
//! ([`btf!`]). On 6.9 and later the calls are dead code, and the verifier drops the functions.

use crate::maps::{DEEP, DEEP_QUIET, EXEC_FAIL_TP_SCRATCH, EXEC_SYS_SCRATCH, this_cpu};
use crate::path::{self, NAME_SLACK, Walk};
use crate::probes::exec::{self, ExecScratch};
use crate::read::opaque;
use aya_ebpf::maps::Array;

/// Turns of the loop in a function. A turn of the loop that calls it costs the verifier next to nothing, one of these some
/// thousand instructions.
pub const TURNS: u32 = 16;
/// Turns of the loop that calls it. Together they are as many as any loop here may have.
pub const CALLS: u64 = 256;
const _: () = assert!(CALLS * TURNS as u64 >= path::TURNS && CALLS * TURNS as u64 >= exec::ARGC_MAX);

/// Highest place in [`Deep`]'s buffer where a name may start: that of the largest buffer that names are put into.
pub const MASK: u64 = exec::MASK;

/// A walk that goes on in [`walk_further`]. Programs share it that are not preempted before 6.9: all but `uring_quiet`,
/// which hangs on a trampoline and has one of its own.
#[repr(C)]
pub struct Deep {
    /// The walk's state.
    pub walk: Walk,
    /// Its names, at the places where they stand in the buffer of the program that began it.
    pub buf: [u8; MASK as usize + 1 + NAME_SLACK],
}

/// This CPU's [`Deep`].
#[inline(always)]
pub fn deep(map: &Array<Deep>) -> Option<*mut Deep> {
    map.get_ptr_mut(this_cpu()?.0)
}

/// Makes a function that calls another one until that says that the loop has ended (1).
macro_rules! further {
    ($(#[$doc:meta])* $name:ident, $piece:ident: $body:expr) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.further")]
        #[inline(never)]
        pub extern "C" fn $name() -> i32 {
            let mut call = 0;
            while call < CALLS && $piece() == 0 {
                // Or the compiler would unroll the loop.
                call = opaque(call) + 1;
            }
            0
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.further")]
        #[inline(never)]
        extern "C" fn $piece() -> i32 {
            i32::from($body)
        }
    };
}

further! {
    /// Goes on with the walk in [`Deep`].
    walk_further, walk_piece: walk(&DEEP)
}

further! {
    /// Goes on with the walk in `uring_quiet`'s [`Deep`].
    walk_further_quiet, walk_piece_quiet: walk(&DEEP_QUIET)
}

further! {
    /// Goes on with the arguments of a failed exec of `sys_exit_btf`.
    arguments_btf, arguments_btf_piece: arguments(&EXEC_SYS_SCRATCH)
}

further! {
    /// Goes on with the arguments of a failed exec of `exec_fail_tp`.
    arguments_tp, arguments_tp_piece: arguments(&EXEC_FAIL_TP_SCRATCH)
}

#[inline(always)]
fn walk(map: &Array<Deep>) -> bool {
    // SAFETY: what is there is this CPU's element.
    deep(map).is_none_or(|deep| unsafe { path::piece(&raw mut (*deep).walk, (&raw mut (*deep).buf).cast()) })
}

#[inline(always)]
fn arguments(scratch: &Array<ExecScratch>) -> bool {
    let Some((cpu, _)) = this_cpu() else { return true };
    // SAFETY: what is there is this CPU's element of the map of the program that calls.
    scratch.get_ptr_mut(cpu).is_none_or(|s| unsafe { exec::piece(s) })
}

/// The BTF: `int`, `int (void)`, and a type of that sort for each program and function, by its number.
///
/// In the assembler's words, since only it knows where the functions are. `btf_header` and `btf_ext_header` are six words
/// each. A type is the place of its name, its kind (1 `INT`, 13 `FUNC_PROTO`, 12 `FUNC`, and 1 for global), and another
/// type. In the second section stand the size of an entry, and for each section its name, how many functions are told of,
/// and of each its place and its type. A program is the only one in its section.
macro_rules! btf {
    (
        programs: $($program:literal $id:literal $section:literal,)*
        functions: $count:literal $($function:literal $number:literal,)*
    ) => {
        #[cfg(target_arch = "bpf")]
        core::arch::global_asm!(
            ".section .text.further,\"ax\",@progbits",
            ".Lfurther:",
            ".section .BTF,\"\",@progbits",
            ".long 0x1eb9f, 24, 0, .Lstrings - .Ltypes, .Lstrings - .Ltypes, .Lend - .Lstrings",
            ".Ltypes:",
            ".long .Lint - .Lstrings, 1 << 24, 4, 1 << 24 | 32",
            ".long 0, 13 << 24, 1",
            $(concat!(".long .L", $program, " - .Lstrings, 12 << 24, 2"),)*
            $(concat!(".long .L", $function, " - .Lstrings, 12 << 24 | 1, 2"),)*
            ".Lstrings: .byte 0",
            ".Lint: .asciz \"int\"",
            ".Lin_further: .asciz \".text.further\"",
            $(concat!(".L", $program, ": .asciz \"", $program, "\""),)*
            $(concat!(".Lin_", $program, ": .asciz \"", $section, "\""),)*
            $(concat!(".L", $function, ": .asciz \"", $function, "\""),)*
            ".Lend:",
            ".section .BTF.ext,\"\",@progbits",
            ".long 0x1eb9f, 24, 0, .Lext_end - .Lext, .Lext_end - .Lext, 0",
            ".Lext: .long 8",
            $(concat!(".long .Lin_", $program, " - .Lstrings, 1, 0, ", $id),)*
            concat!(".long .Lin_further - .Lstrings, ", $count),
            $(concat!(".long ", $function, " - .Lfurther, ", $number),)*
            ".Lext_end:",
        );
    };
}

btf! {
    programs:
    "exec_btf" 3 "tp_btf/sched_process_exec",
    "sys_exit_btf" 4 "tp_btf/sys_exit",
    "uring_complete_btf" 5 "tp_btf/io_uring_complete",
    "exec_tp" 6 "tracepoint/sched/sched_process_exec",
    "open_tp" 7 "tracepoint/syscalls/sys_exit_open",
    "exec_fail_tp" 8 "tracepoint/syscalls/sys_exit_execve",
    "uring_complete_tp" 9 "tracepoint/io_uring/io_uring_complete",
    "uring_quiet" 10 "fexit/io_openat2",
    functions: 8
    "walk_further" 11,
    "walk_piece" 12,
    "arguments_btf" 13,
    "arguments_btf_piece" 14,
    "arguments_tp" 15,
    "arguments_tp_piece" 16,
    "walk_further_quiet" 17,
    "walk_piece_quiet" 18,
}
