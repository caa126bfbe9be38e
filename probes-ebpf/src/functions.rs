//! Global functions: the verifier checks each of them separately and once, however often and in whatever state it is called.
//!
//! Such a function has only numbers as arguments and result; its data is in maps.
//!
//! BTF declares a function as global, and the programs that call it then need BTF too. The BTF here contains only that
//! ([`btf!`]).

use crate::read::may_turn;

/// Iterations of a piece ([`in_pieces`]) before 6.9, where the verifier walks through every iteration of a loop
/// ([`may_turn`](crate::read::may_turn)). One of them costs it some thousand instructions.
pub const TURNS: u32 = 16;
/// Pieces before 6.9. One of them costs the verifier almost nothing.
pub const PIECES: u32 = 512;
/// Upper limit of the iterations of all pieces before 6.9.
pub const MOST: u64 = (PIECES * TURNS) as u64;

/// Defines a loop of which each piece reports whether it is the last one: a function for a piece, and one that calls it until the end.
/// From 6.9 on the first piece is the whole loop.
macro_rules! in_pieces {
    ($(#[$doc:meta])* $all:ident, $pieces:ident, $piece:ident: $body:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $all() {
            if $crate::read::konst!(MayGoto) != 0 {
                $piece();
            } else {
                $pieces();
            }
        }

        $crate::functions::function! { $pieces: $crate::functions::repeated($crate::functions::PIECES, || $piece() != 0) }

        $crate::functions::function! { $piece: $body }
    };
}
pub(crate) use in_pieces;

/// Repeats until the end, which `true` reports; `false` if the permitted iterations are used up.
#[inline(always)]
pub fn repeated(most: u32, mut ends: impl FnMut() -> bool) -> bool {
    let mut turn = 0;
    loop {
        may_turn!(turn, most);
        if ends() {
            return true;
        }
    }
    false
}

/// Defines a function.
macro_rules! function {
    ($(#[$doc:meta])* $name:ident: $body:expr) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.functions")]
        #[inline(never)]
        extern "C" fn $name() -> i32 {
            i32::from($body)
        }
    };
}
pub(crate) use function;

/// The BTF: `int`, `int (void)`, and for each function and each program that calls one a type `FUNC` of `int (void)`.
///
/// It is written in assembly, since only the assembler knows the offsets of the functions. `btf_header` and
/// `btf_ext_header` (include/uapi/linux/btf.h, tools/lib/bpf/libbpf_internal.h) have six words each. A type consists of
/// the offset of its name, its kind (1 `INT`, 12 `FUNC`, 13 `FUNC_PROTO`; the lowest bit of `FUNC` means global), and
/// another type.
///
/// The second section starts with the size of an entry. For each section of code it has the name, the number of
/// functions, and the offset and type of each function. Types are numbered in order: those of the programs and
/// functions start at 3.
macro_rules! btf {
    ($($section:literal $linkage:literal: $($function:ident)+;)+) => {
        #[cfg(target_arch = "bpf")]
        core::arch::global_asm!(
            $(
                concat!(".section ", $section, ",\"ax\",@progbits"),
                concat!(".Lstart_", $section, ":"),
            )+
            ".section .BTF,\"\",@progbits",
            ".long 0x1eb9f, 24, 0, .Lstrings - .Ltypes, .Lstrings - .Ltypes, .Lend - .Lstrings",
            ".Ltypes:",
            ".long .Lint - .Lstrings, 1 << 24, 4, 1 << 24 | 32",
            ".long 0, 13 << 24, 1",
            $($(concat!(
                ".long .L", stringify!($function), " - .Lstrings, 12 << 24 | ", $linkage, ", 2"
            ),)+)+
            ".Lstrings: .byte 0",
            ".Lint: .asciz \"int\"",
            $(concat!(".Lin_", $section, ": .asciz \"", $section, "\""),)+
            $($(concat!(".L", stringify!($function), ": .asciz \"", stringify!($function), "\""),)+)+
            ".Lend:",
            ".section .BTF.ext,\"\",@progbits",
            ".long 0x1eb9f, 24, 0, .Lext_end - .Lext, .Lext_end - .Lext, 0",
            ".Lext: .long 8",
            ".set .Ltype, 2",
            $(
                concat!(".long .Lin_", $section, " - .Lstrings, (.Lafter_", $section, " - .Lfirst_", $section, ") / 8"),
                concat!(".Lfirst_", $section, ":"),
                $(
                    ".set .Ltype, .Ltype + 1",
                    concat!(".long ", stringify!($function), " - .Lstart_", $section, ", .Ltype"),
                )+
                concat!(".Lafter_", $section, ":"),
            )+
            ".Lext_end:",
        );
    };
}

btf! {
    "tp_btf" 0: sched_exec sys_exit uring_complete;
    "fexit" 0: file_closed;
    ".text.functions" 1:
        open_walk_pieces open_walk_piece uring_walk_pieces uring_walk_piece file_walk_pieces file_walk_piece file_texts closed_walk_pieces closed_walk_piece
        exec_walk_pieces exec_walk_piece failed_walk_pieces failed_walk_piece arguments_pieces arguments_piece scan_all scan_pieces scan_piece;
}
