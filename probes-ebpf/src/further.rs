//! Long loops on kernels before 6.9, where the verifier walks through every iteration of a loop (see
//! [`may_turn`](crate::read::may_turn)).
//!
//! The verifier checks a global function separately and once, however often it is called. A loop that calls a function
//! that loops thus has the product of their iterations, and the verifier walks through their sum. Such a function has
//! only numbers as arguments and result; its data is in maps.
//!
//! BTF declares a function as global, and the programs that call it then need BTF too. The BTF here contains only that
//! ([`btf!`]). On 6.9 and later the calls are dead code, and the verifier removes the functions, except for those of `scan.rs` and
//! `made.rs`: `may_goto` does not suffice for the longest programs.

/// Iterations of the loop in a function. One of them costs the verifier some thousand instructions; an iteration of the
/// calling loop costs it almost nothing.
pub const TURNS: u32 = 16;
/// Iterations of the loop that calls it.
pub const CALLS: u64 = 256;
/// Upper limit of the iterations of any such loop.
pub const MOST: u64 = CALLS * TURNS as u64;

/// Defines a function that calls another one until that reports the end of the loop (1).
macro_rules! further {
    ($(#[$doc:meta])* $name:ident, $piece:ident: $body:expr) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.further")]
        #[inline(never)]
        pub extern "C" fn $name() -> i32 {
            let mut call = 0;
            while call < $crate::further::CALLS && $piece() == 0 {
                // Otherwise the compiler would unroll the loop.
                call = $crate::read::opaque(call) + 1;
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
pub(crate) use further;

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
    ".text.further" 1:
        walk_further walk_piece arguments_further arguments_piece scan_further scan_pieces scan_piece;
}
