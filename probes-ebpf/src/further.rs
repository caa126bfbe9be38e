//! Long loops on kernels where the verifier walks through every turn of a loop (before 6.9; see
//! [`may_turn`](crate::read::may_turn)).
//!
//! A global function is checked by itself and once, however often it is called. So a loop that calls a function that loops
//! has the product of their turns, and the verifier walks through the sum. Such a function takes and gives numbers only:
//! what it works on lies in maps.
//!
//! What makes a function global is BTF that says so, and then the programs that call it need some too. Ours says only that
//! ([`btf!`]). On 6.9 and later the calls are dead code, and the verifier drops the functions.

/// Turns of the loop in a function. A turn of the loop that calls it costs the verifier next to nothing, one of these some
/// thousand instructions.
pub const TURNS: u32 = 16;
/// Turns of the loop that calls it.
pub const CALLS: u64 = 256;
/// As many turns as any loop here may have.
pub const MOST: u64 = CALLS * TURNS as u64;

/// Makes a function that calls another one until that says that the loop has ended (1).
macro_rules! further {
    ($(#[$doc:meta])* $name:ident, $piece:ident: $body:expr) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.further")]
        #[inline(never)]
        pub extern "C" fn $name() -> i32 {
            let mut call = 0;
            while call < $crate::further::CALLS && $piece() == 0 {
                // Or the compiler would unroll the loop.
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

/// The BTF: `int`, `int (void)`, and a type of that sort for each program that calls such a function and for each function.
///
/// In the assembler's words, since only it knows where the functions are. `btf_header` and `btf_ext_header` are six words
/// each. A type is the place of its name, its kind (1 `INT`, 13 `FUNC_PROTO`, 12 `FUNC`, and 1 for global), and another
/// type. In the second section stand the size of an entry, and for each section its name, how many functions are told of,
/// and of each its place and its type. The types are numbered as they come, those of the programs and functions from 3 on.
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
    "tp_btf" 0: exec_btf sys_exit_btf uring_complete_btf;
    "tracepoint" 0: exec_tp open_tp exec_fail_tp uring_complete_tp;
    "fexit" 0: uring_quiet;
    ".text.further" 1:
        walk_further walk_piece walk_further_quiet walk_piece_quiet
        arguments_btf arguments_btf_piece arguments_tp arguments_tp_piece;
}
